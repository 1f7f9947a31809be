//! What was measured, and whether it reaches its target.

use serde::Serialize;

use crate::contenders::ours;
use crate::medium::Medium;
use crate::others::QUIET_MAX;
use crate::statistics::{median, median_quotient, spread};

/// What a figure counts, and so which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Done so often a second.
    PerSecond,
    /// Bytes a second.
    BytesPerSecond,
    /// Seconds that it took.
    Seconds,
    /// Bytes that it takes.
    Bytes,
}

impl Unit {
    fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond | Self::BytesPerSecond)
    }

    fn show(self, figure: f64) -> String {
        match self {
            Self::PerSecond if figure >= 1e6 => format!("{:.2} M/s", figure / 1e6),
            Self::PerSecond if figure >= 1e3 => format!("{:.1} k/s", figure / 1e3),
            Self::PerSecond => format!("{figure:.0} /s"),
            Self::BytesPerSecond => format!("{:.0} MB/s", figure / 1e6),
            Self::Seconds if figure < 1.0 => format!("{:.1} ms", figure * 1e3),
            Self::Seconds => format!("{figure:.2} s"),
            Self::Bytes => format!("{:.1} MiB", figure / f64::from(1 << 20)),
        }
    }
}

/// One contender's figures.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// Who.
    pub name: String,
    /// What it does before it says that something is written; empty for reads.
    pub durability: String,
    /// One figure a round.
    pub figures: Vec<f64>,
}

impl Series {
    /// A contender that has not had its turn.
    pub fn new(name: &str, durability: &str) -> Self {
        Self { name: name.to_owned(), durability: durability.to_owned(), figures: Vec::new() }
    }
}

/// What is to be reached.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// As good as another, or this part of it, or so many times better.
    Times {
        /// This part, or so many times.
        factor: f64,
        /// The other.
        of: String,
    },
    /// At least this figure, or where less is better at most this.
    Figure {
        /// In the unit of the row.
        figure: f64,
    },
}

/// How a target is met.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// What was to be reached.
    pub target: Target,
    /// What was: times the other, or the median figure.
    pub measured: f64,
    /// Whether that is enough.
    pub reached: bool,
}

/// One work, measured.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The row of the target table that it belongs to.
    pub row: &'static str,
    /// What was done, with its sizes.
    pub work: String,
    /// What the figures count.
    pub unit: Unit,
    /// The volume first, then its peers.
    pub series: Vec<Series>,
    /// What is to be reached.
    pub targets: Vec<Target>,
    /// What a reader must know to judge the figures.
    pub notes: Vec<String>,
    /// The part of all processors that other programs took meanwhile.
    pub others: f64,
}

impl Measured {
    /// A work that nobody has done yet.
    pub fn new(row: &'static str, work: impl Into<String>, unit: Unit) -> Self {
        let (series, targets, notes) = Default::default();
        Self { row, work: work.into(), unit, series, targets, notes, others: 0.0 }
    }

    /// Adds a target: so many times as good as another.
    #[must_use]
    pub fn times(mut self, factor: f64, of: &str) -> Self {
        self.targets.push(Target::Times { factor, of: of.to_owned() });
        self
    }

    /// Adds a target: ahead of another.
    #[must_use]
    pub fn ahead(self, of: &str) -> Self {
        self.times(1.0, of)
    }

    /// Adds a target: a figure.
    #[must_use]
    pub fn figure(mut self, figure: f64) -> Self {
        self.targets.push(Target::Figure { figure });
        self
    }

    /// Adds a note.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds a contender's figure. The volume is the one that is judged, whoever was first.
    pub fn add(&mut self, name: &str, durability: &str, figure: f64) {
        let known = self.series.iter().position(|series| series.name == name);
        let at = known.unwrap_or_else(|| {
            let at = if name == ours::NAME { 0 } else { self.series.len() };
            self.series.insert(at, Series::new(name, durability));
            at
        });
        self.series[at].figures.push(figure);
    }

    /// How many times as good as `other` the first contender is: the median of the rounds.
    fn times_as_good(&self, other: &Series) -> Option<f64> {
        let ours = &self.series.first()?.figures;
        if self.unit.more_is_better() {
            median_quotient(ours, &other.figures)
        } else {
            median_quotient(&other.figures, ours)
        }
    }

    /// How each target is met. One that could not be measured is not met.
    pub fn verdicts(&self) -> Vec<Verdict> {
        let judge = |target: &Target| {
            let (measured, reached) = match target {
                Target::Times { factor, of } => {
                    let other = self.series.iter().find(|series| series.name == *of);
                    let times = other.and_then(|other| self.times_as_good(other));
                    (times, times.is_some_and(|times| times >= *factor))
                }
                Target::Figure { figure } => {
                    let ours = self.series.first().and_then(|series| median(&series.figures));
                    let enough = |ours: f64| match self.unit.more_is_better() {
                        true => ours >= *figure,
                        false => ours <= *figure,
                    };
                    (ours, ours.is_some_and(enough))
                }
            };
            Verdict { target: target.clone(), measured: measured.unwrap_or(f64::NAN), reached }
        };
        self.targets.iter().map(judge).collect()
    }

    /// The work as a table of its contenders, with its targets below.
    pub fn table(&self) -> String {
        let mut lines = vec![[
            "contender".to_owned(),
            "median".to_owned(),
            "least".to_owned(),
            "greatest".to_owned(),
            "holdall is".to_owned(),
            "durability".to_owned(),
        ]];
        for (place, series) in self.series.iter().enumerate() {
            let show = |figure: Option<f64>| {
                figure.map_or("-".to_owned(), |figure| self.unit.show(figure))
            };
            let ends = spread(&series.figures);
            let times = self.times_as_good(series).filter(|_| place > 0);
            lines.push([
                series.name.clone(),
                show(median(&series.figures)),
                show(ends.map(|ends| ends.0)),
                show(ends.map(|ends| ends.1)),
                times.map_or(String::new(), |times| format!("{times:.2} x")),
                series.durability.clone(),
            ]);
        }
        let mut text = format!("{}: {}\n", self.row, self.work);
        text.push_str(&columns(&lines));
        for verdict in self.verdicts() {
            text.push_str(&self.sentence(&verdict));
        }
        if self.others > QUIET_MAX {
            let percent = self.others * 100.0;
            text.push_str(&format!(
                "  DO NOT TRUST: other programs took {percent:.0} % of the processors meanwhile\n"
            ));
        }
        for note in &self.notes {
            text.push_str(&format!("  note: {note}\n"));
        }
        text
    }

    fn sentence(&self, verdict: &Verdict) -> String {
        let end = if verdict.reached { "reached" } else { "NOT reached" };
        match &verdict.target {
            Target::Times { factor, of } => {
                format!("  target: {factor:.2} x {of}: {:.2} x, {end}\n", verdict.measured)
            }
            Target::Figure { figure } => {
                let bound = if self.unit.more_is_better() { "at least" } else { "at most" };
                let (wanted, had) = (self.unit.show(*figure), self.unit.show(verdict.measured));
                format!("  target: {bound} {wanted}: {had}, {end}\n")
            }
        }
    }
}

/// Lines of cells, each column as wide as its widest cell; the first and last to the left, the
/// others to the right.
fn columns<const N: usize>(lines: &[[String; N]]) -> String {
    let width = |column: usize| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 || column == N - 1 {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        let joined = cells.collect::<Vec<_>>().join("  ");
        text.push_str(&format!("  {}\n", joined.trim_end()));
    }
    text
}

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What it was measured on.
    pub medium: Medium,
    /// How often every contender had its turn.
    pub rounds: usize,
    /// What was measured.
    pub measured: Vec<Measured>,
    /// Rows that could not be measured, and why.
    pub failures: Vec<(String, String)>,
}

impl Report {
    /// All targets in one table, and what could not be measured.
    pub fn summary(&self) -> String {
        let mut lines = vec![["work", "target", "measured", ""].map(str::to_owned)];
        for measured in &self.measured {
            for verdict in measured.verdicts() {
                let (target, had) = match &verdict.target {
                    Target::Times { factor, of } => {
                        (format!("{factor:.2} x {of}"), format!("{:.2} x", verdict.measured))
                    }
                    Target::Figure { figure } => {
                        (measured.unit.show(*figure), measured.unit.show(verdict.measured))
                    }
                };
                let reached = if verdict.reached { "reached" } else { "NOT reached" };
                let busy = if measured.others > QUIET_MAX { ", but NOT QUIET" } else { "" };
                let end = format!("{reached}{busy}");
                let work = format!("{}: {}", measured.row, measured.work);
                lines.push([work, target, had, end]);
            }
        }
        let mut text = columns(&lines);
        for (row, why) in &self.failures {
            text.push_str(&format!("  {row}: COULD NOT BE MEASURED: {why}\n"));
        }
        text
    }

    /// Everything that was measured, with the verdicts, for programs.
    pub fn json(&self) -> serde_json::Value {
        let mut whole = serde_json::json!(self);
        if let Some(list) = whole["measured"].as_array_mut() {
            for (value, measured) in list.iter_mut().zip(&self.measured) {
                value["verdicts"] = serde_json::json!(measured.verdicts());
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests;
