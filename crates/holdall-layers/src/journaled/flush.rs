//! Moving a generation into the inner backend, in the background.
//!
//! The rows go in sorted batches, and the marker row that says that the generation is applied goes
//! in the last one. A crash anywhere before that replays the whole file, which changes nothing:
//! the same rows with the same revisions. A failed batch is tried again, for as long as it takes:
//! the rows stay in memory and in the journal, and reads stay right.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdall_core::{Batch, Expect, Key, Op, Result};

use super::file::JournalFile;
use super::format::Marker;
use super::overlay::{Generation, Stored};
use super::{MARKER_ROW_BYTES, Shared, marker_key, spare};

const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Steps in one batch at the most, whatever the inner backend takes.
const BATCH_OPS_MAX: usize = 50_000;

/// A generation on its way.
#[derive(Debug)]
pub(crate) struct Flush {
    pub(crate) generation: Arc<Generation>,
    pub(crate) marker: Marker,
    /// The journal files that hold it.
    pub(crate) files: Vec<JournalFile>,
}

impl Flush {
    /// Runs to its end, or until the journal is dropped.
    pub(crate) async fn run(self, shared: Arc<Shared>) {
        let mut wait = RETRY_FIRST;
        while let Err(error) = self.apply(&shared).await {
            if shared.abandoned.load(Ordering::Relaxed) {
                return;
            }
            shared.flush_failed(&error);
            shared.env.sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
        if shared.abandoned.load(Ordering::Relaxed) {
            return;
        }
        let files = self.files.into_iter().map(|file| (file.number(), file.into_file()));
        let files: Vec<(u64, File)> = files.collect();
        let owner = Arc::clone(&shared);
        let recycled = shared.env.blocking(move || {
            files.into_iter().for_each(|(number, file)| spare::recycle(&owner, number, file));
        });
        // A file that is not recycled is found and recycled when the journal is opened again.
        drop(recycled.await);
        shared.flushed(self.generation.number());
    }

    async fn apply(&self, shared: &Shared) -> Result<()> {
        let mut batch = Batch::new();
        let limits = Limits::of(shared);
        let mut bytes = 0;
        for (key, stored) in self.generation.iter() {
            let op = step(key.clone(), stored.clone());
            if limits.reached(&batch, bytes, op.bytes()) {
                if shared.abandoned.load(Ordering::Relaxed) {
                    return Ok(());
                }
                shared.inner.apply(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            bytes += op.bytes();
            batch.ops.push(op);
        }
        batch.put(marker_key(), self.marker.encode(), Expect::Any);
        shared.inner.apply(batch).await.map(drop)
    }
}

fn step(key: Key, stored: Stored) -> Op {
    match stored {
        Some(value) => Op::put(key, value, Expect::Any),
        None => Op::Delete { key, expect: Expect::Any },
    }
}

/// How large one batch to the inner backend may be; there is always room for the marker.
struct Limits {
    ops: usize,
    bytes_wanted: usize,
    bytes_max: usize,
}

impl Limits {
    fn of(shared: &Shared) -> Self {
        let inner = shared.inner.profile();
        let bytes_max = usize::try_from(inner.batch_bytes_max).unwrap_or(usize::MAX);
        Self {
            ops: inner.batch_ops_max.saturating_sub(1).clamp(1, BATCH_OPS_MAX),
            bytes_wanted: shared.settings.flush_bytes,
            bytes_max: bytes_max.saturating_sub(MARKER_ROW_BYTES),
        }
    }

    fn reached(&self, batch: &Batch, bytes: usize, more: usize) -> bool {
        !batch.is_empty()
            && (batch.len() >= self.ops
                || bytes >= self.bytes_wanted
                || bytes + more > self.bytes_max)
    }
}
