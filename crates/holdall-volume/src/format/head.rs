//! The rows that are one of a kind, and the rows of writers.

use holdall_core::Timestamp;
use serde::{Deserialize, Serialize};

/// The newest commit and the counters that change with every commit.
///
/// Every commit expects this row unchanged and writes it anew, which puts all commits of all
/// writers in one order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of the newest commit; 0 before the first.
    pub sequence: u64,
    /// The time of the newest commit. Never earlier than the one before.
    pub time: Timestamp,
    /// The epoch that the next writer gets.
    pub next_epoch: u64,
    /// How many entries there are now.
    pub entries: u64,
    /// The bytes of all entries that there are now.
    pub bytes: u64,
    /// How many superseded versions are kept.
    pub history_entries: u64,
    /// The bytes of all superseded versions that are kept.
    pub history_bytes: u64,
    /// The bytes of uploaded parts that are not yet an entry.
    pub upload_bytes: u64,
    /// How many segments there are, dead ones included.
    pub segments: u64,
    /// The bytes of all segments, dead ones included.
    pub segment_bytes: u64,
    /// The stored bytes of chunks that something names.
    pub live_bytes: u64,
    /// The newest commit that a snapshot pins; 0 if none does.
    pub snapshot_last: u64,
    /// The epoch of the writer that wrote this row.
    pub epoch: u64,
    /// Counts the batches of that writer, so that it recognises its own.
    pub batch: u64,
}

/// How far the commit log and the checkpoints on the data backend reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Every commit up to this one is in the log on the data backend.
    pub upto: u64,
    /// When that was written.
    pub time: Timestamp,
    /// Bytes of log written since the last checkpoint.
    pub log_bytes: u64,
    /// The newest verified checkpoint; 0 if there is none.
    pub checkpoint: u64,
    /// The bytes of that checkpoint.
    pub checkpoint_bytes: u64,
}

/// A writer: an open handle on the volume that may commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterRow {
    /// Who it is, for people: process, command.
    pub holder: String,
    /// When it opened.
    pub opened: Timestamp,
    /// Until when it may be silent before others may end it.
    pub lease_until: Timestamp,
    /// Whether it was ended: by itself, or by others after its lease.
    pub ended: bool,
}
