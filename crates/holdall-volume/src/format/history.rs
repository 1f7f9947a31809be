//! Superseded versions and snapshots.

use bytes::Bytes;
use holdall_core::{Key, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Version};
use super::row;

/// A superseded version of an entry: it held from its own version up to but without
/// `superseded`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// The entry as it was.
    pub entry: Entry,
    /// The commit that overwrote or deleted it.
    pub superseded: Version,
    /// When that was.
    pub superseded_time: Timestamp,
}

impl HistoryRow {
    /// Encodes the row.
    pub fn encode(&self, key: &Key) -> Bytes {
        row::encode_with_tail(key, self, &self.entry.inline)
    }

    /// Decodes the row.
    ///
    /// # Errors
    /// As [`Entry::decode`].
    pub fn decode(key: &Key, bytes: &Bytes) -> Result<Self> {
        let (mut history, inline): (Self, Bytes) = row::decode_with_tail(key, bytes)?;
        history.entry.restore_inline(key, inline)?;
        Ok(history)
    }
}

/// A named commit whose entries are kept until the snapshot is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRow {
    /// The commit that is pinned.
    pub sequence: Version,
    /// The time of that commit.
    pub time: Timestamp,
    /// When the snapshot was made.
    pub created: Timestamp,
}
