//! Lines for people, objects for programs, and nothing at all for a pipe that was closed.

use std::borrow::Cow;
use std::io::{BufWriter, IsTerminal, Stdout, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdall::{Error, Operation};
use serde::Serialize;

use crate::failure::{Failure, Result};

/// Standard output.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    terminal: bool,
    stdout: Mutex<BufWriter<Stdout>>,
}

impl Output {
    /// Lines for people, or objects for programs.
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let stdout = std::io::stdout();
        let terminal = stdout.is_terminal();
        Self {
            json,
            quiet,
            terminal,
            stdout: Mutex::new(BufWriter::with_capacity(64 << 10, stdout)),
        }
    }

    /// Whether programs read this.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// One line, or object.
    pub(crate) fn row(&self, object: &impl Serialize, line: impl FnOnce() -> String) -> Result<()> {
        if self.json { self.object(object) } else { self.line(&line()) }
    }

    /// As [`row`](Self::row), for what only says that something was done.
    pub(crate) fn summary(
        &self,
        object: &impl Serialize,
        line: impl FnOnce() -> String,
    ) -> Result<()> {
        if self.quiet { Ok(()) } else { self.row(object, line) }
    }

    /// One line for people.
    pub(crate) fn line(&self, line: &str) -> Result<()> {
        let mut stdout = self.stdout();
        written(writeln!(stdout, "{line}"))?;
        if self.terminal { written(stdout.flush()) } else { Ok(()) }
    }

    /// One object for programs.
    pub(crate) fn object(&self, object: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(object).map_err(|error| {
            let message = "a result cannot be written as JSON; leave out --json";
            Error::invalid(Operation::Configure, message).with_source(error)
        })?;
        self.line(&line)
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<()> {
        written(self.stdout().write_all(bytes))
    }

    /// Lets go of everything that was written.
    pub(crate) fn flush(&self) -> Result<()> {
        written(self.stdout().flush())
    }

    fn stdout(&self) -> MutexGuard<'_, BufWriter<Stdout>> {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn written(result: std::io::Result<()>) -> Result<()> {
    result.map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::Pipe,
        _ => Error::io(Operation::Get, "cannot write to standard output", error).into(),
    })
}

/// One line to standard error; if nobody reads that, nobody can be told.
pub(crate) fn complain(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// A text without control characters, which a terminal would obey.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

/// `1 file`, `2 files`.
pub(crate) fn counted(count: u64, word: &str) -> String {
    match (count, word.strip_suffix('y')) {
        (1, _) => format!("1 {word}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {word}s"),
    }
}

/// Columns of text, each as wide as it needs to be; the last is not filled up.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Begins with the names of the columns.
    pub(crate) fn new(heads: &[&str]) -> Self {
        Self { rows: vec![heads.iter().map(|head| (*head).to_owned()).collect()] }
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().collect());
    }

    /// The rows as lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        self.rows.iter().map(move |row| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            line.trim_end().to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_not_shown() {
        assert_eq!(shown("plain ü"), "plain ü");
        assert_eq!(shown("a\nb\u{1b}[2J"), "a\\nb\\u{1b}[2J");
    }

    #[test]
    fn words_agree_with_their_numbers() {
        assert_eq!(counted(1, "file"), "1 file");
        assert_eq!(counted(0, "entry"), "0 entries");
    }

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let mut table = Table::new(&["a", "name"]);
        table.add(["long".to_owned(), "x".to_owned()]);
        assert_eq!(table.lines().collect::<Vec<_>>(), ["a     name", "long  x"]);
    }
}
