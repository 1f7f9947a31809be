//! What went through backends over their whole life, whichever process it was.
//!
//! Each process adds what is new to a small file for each backend, every few seconds and when it
//! closes its engine. Nothing depends on these files: who cannot write them goes on without, and
//! who loses them loses figures.
//!
//! ```text
//!   engine ── metered layer ── counts ──▶ keeper ── what is new ──▶ folder: one file a backend
//! ```

mod folder;
mod keeper;

use std::collections::BTreeMap;

use holdall_core::Timestamp;
use holdall_layers::{CallMetrics, Latency, Times};
use serde::{Deserialize, Serialize};

pub use folder::{KeptStats, read_stats};
pub(crate) use keeper::{Keeper, Source};

/// Processes that a backend's figures name one by one; of earlier ones only the sum is kept.
const PROCESSES_MAX: usize = 8;

/// What went through a backend in its life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendStats {
    /// Where it is, without secrets.
    pub location: String,
    /// When its first figures were kept.
    pub since: Timestamp,
    /// When the newest were.
    pub updated: Timestamp,
    /// If figures from before `since` were lost because their file was damaged.
    pub lost: bool,
    /// All calls of all processes.
    pub calls: Vec<CallStats>,
    /// The newest processes, the newest last.
    pub processes: Vec<ProcessStats>,
}

/// What one process did with a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStats {
    /// A random word that is its own.
    pub id: String,
    /// What it is called, such as `holdall import`.
    pub holder: String,
    /// What it uses the backend for: `catalog` or `data`.
    pub role: String,
    /// When it opened the backend.
    pub started: Timestamp,
    /// When it last wrote its figures.
    pub updated: Timestamp,
    /// Whether it came to an orderly end.
    pub ended: bool,
    /// Its calls.
    pub calls: Vec<CallStats>,
}

/// What one call has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallStats {
    /// Which call, such as `get_many`.
    pub call: String,
    /// How many ended, errors included.
    pub requests: u64,
    /// How many of these ended with an error, by its kind.
    pub errors: BTreeMap<String, u64>,
    /// How many nobody waited for to the end. They are in no other figure.
    pub dropped: u64,
    /// Bytes of values that were read.
    pub bytes_read: u64,
    /// Bytes of values and keys that were handed in to be written.
    pub bytes_written: u64,
    nanos_sum: u64,
    nanos_max: u64,
    /// How many took how long, by the number of a bucket.
    buckets: BTreeMap<u16, u64>,
}

impl CallStats {
    /// How many ended with an error.
    pub fn errors(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Mean and quantiles of how long the calls took.
    pub fn latency(&self) -> Latency {
        let buckets = self.buckets.iter().map(|(bucket, count)| (*bucket, *count)).collect();
        let times = Times { buckets, nanos_sum: self.nanos_sum, nanos_max: self.nanos_max };
        times.latency()
    }

    fn is_empty(&self) -> bool {
        self.requests == 0 && self.dropped == 0 && self.bytes_written == 0
    }

    fn add(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add);
        self.nanos_max = self.nanos_max.max(other.nanos_max);
    }

    /// What came to this since it was `earlier`.
    fn since(&self, earlier: Option<&Self>) -> Self {
        let mut new = self.clone();
        if let Some(earlier) = earlier {
            new.combine(earlier, u64::saturating_sub);
        }
        new
    }

    fn combine(&mut self, other: &Self, with: fn(u64, u64) -> u64) {
        for (mine, theirs) in [
            (&mut self.requests, other.requests),
            (&mut self.dropped, other.dropped),
            (&mut self.bytes_read, other.bytes_read),
            (&mut self.bytes_written, other.bytes_written),
            (&mut self.nanos_sum, other.nanos_sum),
        ] {
            *mine = with(*mine, theirs);
        }
        for (kind, count) in &other.errors {
            let mine = self.errors.entry(kind.clone()).or_default();
            *mine = with(*mine, *count);
        }
        for (bucket, count) in &other.buckets {
            let mine = self.buckets.entry(*bucket).or_default();
            *mine = with(*mine, *count);
        }
        self.errors.retain(|_, count| *count > 0);
        self.buckets.retain(|_, count| *count > 0);
    }
}

impl ProcessStats {
    /// All its calls together.
    pub fn total(&self) -> CallStats {
        total(&self.calls)
    }
}

fn total(calls: &[CallStats]) -> CallStats {
    let mut total = CallStats { call: "total".to_owned(), ..CallStats::default() };
    calls.iter().for_each(|call| total.add(call));
    total
}

impl From<&CallMetrics> for CallStats {
    fn from(metrics: &CallMetrics) -> Self {
        let errors = metrics.errors.iter();
        Self {
            call: metrics.call.as_str().to_owned(),
            requests: metrics.count,
            errors: errors.map(|(kind, count)| (kind.as_str().to_owned(), *count)).collect(),
            dropped: metrics.dropped,
            bytes_read: metrics.bytes_out,
            bytes_written: metrics.bytes_in,
            nanos_sum: metrics.times.nanos_sum,
            nanos_max: metrics.times.nanos_max,
            buckets: metrics.times.buckets.iter().copied().collect(),
        }
    }
}

/// The calls that happened at all.
fn of_metrics(metrics: &[CallMetrics]) -> Vec<CallStats> {
    metrics.iter().map(CallStats::from).filter(|call| !call.is_empty()).collect()
}

/// What came to these calls since they were `earlier`.
fn news(now: &[CallStats], earlier: &[CallStats]) -> Vec<CallStats> {
    let before = |call: &CallStats| earlier.iter().find(|before| before.call == call.call);
    let news = now.iter().map(|call| call.since(before(call)));
    news.filter(|call| !call.is_empty()).collect()
}

impl BackendStats {
    /// All calls together.
    pub fn total(&self) -> CallStats {
        total(&self.calls)
    }

    /// Adds what is new of one process.
    fn merge(&mut self, news: &[CallStats], process: ProcessStats) {
        for call in news {
            match self.calls.iter_mut().find(|known| known.call == call.call) {
                Some(known) => known.add(call),
                None => self.calls.push(call.clone()),
            }
        }
        if self.since == Timestamp::EPOCH {
            self.since = process.started;
        }
        self.updated = self.updated.max(process.updated);
        self.processes.retain(|known| known.id != process.id);
        self.processes.push(process);
        while self.processes.len() > PROCESSES_MAX {
            // Those that ended go first, the oldest of them before the others.
            let ended = self.processes.iter().position(|process| process.ended);
            self.processes.remove(ended.unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests;
