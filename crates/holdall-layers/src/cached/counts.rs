//! What a cache has done so far, in numbers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a cache has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Reads that were answered from memory.
    pub memory_hits: u64,
    /// Reads that were answered from the disk, or from the backend in front.
    pub kept_hits: u64,
    /// Reads for which the back had to be asked for bytes.
    pub misses: u64,
    /// How many of these shared the answer to another's question.
    pub shared: u64,
    /// Questions to the back whether a copy is still current. They move no bytes of values.
    pub looks: u64,
    /// Values that were kept.
    pub fills: u64,
    /// Values that were not kept because a write came in between.
    pub overtaken: u64,
    /// Failed reads and writes of the disk or the backend in front. The back had the answer.
    pub failures: u64,
    /// Copies in front whose bytes were not those that were kept. They were dropped, and the back
    /// had the answer.
    pub damaged: u64,
    /// Value bytes of the answers that were hits.
    pub hit_bytes: u64,
}

impl CacheCounts {
    /// Which part of the reads needed no bytes of the back, from 0 to 1; `None` before the first.
    pub fn hit_ratio(&self) -> Option<f64> {
        let hits = self.memory_hits + self.kept_hits;
        let reads = hits + self.misses;
        (reads > 0).then(|| hits as f64 / reads as f64)
    }
}

/// The same, while it is being counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) memory_hits: AtomicU64,
    pub(super) kept_hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) shared: AtomicU64,
    pub(super) looks: AtomicU64,
    pub(super) fills: AtomicU64,
    pub(super) overtaken: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) hit_bytes: AtomicU64,
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Counters {
    pub(super) fn snapshot(&self) -> CacheCounts {
        CacheCounts {
            memory_hits: self.memory_hits.load(Relaxed),
            kept_hits: self.kept_hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            shared: self.shared.load(Relaxed),
            looks: self.looks.load(Relaxed),
            fills: self.fills.load(Relaxed),
            overtaken: self.overtaken.load(Relaxed),
            failures: self.failures.load(Relaxed),
            damaged: self.damaged.load(Relaxed),
            hit_bytes: self.hit_bytes.load(Relaxed),
        }
    }
}
