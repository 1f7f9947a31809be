//! Segments: immutable files of frames with a directory at their end.
//!
//! ```text
//! frame, frame, …, directory frame, footer
//! footer: directory_at u32 LE | directory_bytes u32 LE | magic "HOLDSEG1" | CRC32C u32 LE
//! ```

use std::fmt;

use holdall_core::{Error, Operation, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::chunk::ChunkId;
use super::entry::{Entry, Name};

/// The length of a segment's footer in bytes.
pub const FOOTER_BYTES: usize = 20;

const FOOTER_MAGIC: [u8; 8] = *b"HOLDSEG1";

/// A segment's name: the epoch of the writer that made it, and a counter. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentId {
    /// The writer's epoch.
    pub epoch: u64,
    /// Counts the writer's segments.
    pub counter: u64,
}

impl SegmentId {
    /// Parses what [`Display`](fmt::Display) shows.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, counter) = text.split_once('-')?;
        let number = |hex: &str| {
            let exact = hex.len() == 16 && hex.bytes().all(|b| b"0123456789abcdef".contains(&b));
            exact.then(|| u64::from_str_radix(hex, 16).ok()).flatten()
        };
        Some(Self { epoch: number(epoch)?, counter: number(counter)? })
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.epoch, self.counter)
    }
}

impl fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Whether a segment is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SegmentState {
    /// Chunk rows may point into it.
    Live,
    /// No chunk row points into it since this time; it is deleted after the grace.
    Dead {
        /// When the last chunk row left it.
        since: Timestamp,
    },
    /// Its copies are being deleted; nothing may use it any more.
    Deleting,
    /// Its copies are gone. The row stays until its writer's epoch has ended, so that a commit
    /// that comes very late cannot name what is no longer there.
    Deleted,
}

/// Whether a copy of a segment can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaState {
    /// Written and acknowledged.
    Healthy,
    /// Missing or damaged when it was last read.
    Damaged,
}

/// One copy of a segment on one backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// The backend's number within the volume's policy; 0 is the first data backend.
    pub backend: u16,
    /// Whether it can be relied on.
    pub state: ReplicaState,
    /// When its bytes were last checked whole.
    pub verified: Option<Timestamp>,
}

/// The catalog's row of a copy that the segment's own row no longer names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeftOver {
    /// Since then it is kept for those who still read it, and may be named again.
    Kept(Timestamp),
    /// It is being deleted, and is not named again.
    Dropping,
}

/// The catalog's row of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRow {
    /// When it was committed.
    pub created: Timestamp,
    /// Its length in bytes.
    pub bytes: u64,
    /// Stored bytes of chunks in it that something names.
    pub live_bytes: u64,
    /// How many chunk rows point into it.
    pub chunks: u64,
    /// Which tier it is in; 0 is the first.
    pub tier: u8,
    /// With which key its frames are sealed; 0 is none.
    pub key_id: u32,
    /// Whether it is in use.
    pub state: SegmentState,
    /// Its copies.
    pub replicas: Vec<Replica>,
}

/// What lies in a segment: its last frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// The frames, in order.
    pub frames: Vec<DirectoryFrame>,
    /// Entries whose last bytes went into this segment, for rebuilding from segments alone.
    pub entries: Vec<DirectoryEntry>,
}

/// One frame of a [`Directory`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryFrame {
    /// Where it begins in the segment.
    pub at: u32,
    /// Its length in the segment, header included.
    pub bytes: u32,
    /// The level of its chunks.
    pub level: u8,
    /// Its chunks, in order, with their lengths in bytes.
    pub chunks: Vec<(ChunkId, u32)>,
}

/// One entry of a [`Directory`], as its writer meant it when the segment was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryEntry {
    /// Its name.
    pub name: Name,
    /// The entry; its version is not yet known and 0, `written` is when the segment was closed.
    pub entry: Entry,
}

/// Encodes a segment's footer.
pub fn encode_footer(directory_at: u32, directory_bytes: u32) -> [u8; FOOTER_BYTES] {
    let mut footer = [0; FOOTER_BYTES];
    footer[..4].copy_from_slice(&directory_at.to_le_bytes());
    footer[4..8].copy_from_slice(&directory_bytes.to_le_bytes());
    footer[8..16].copy_from_slice(&FOOTER_MAGIC);
    let checksum = crc32c::crc32c(&footer[..16]);
    footer[16..].copy_from_slice(&checksum.to_le_bytes());
    footer
}

/// Decodes a segment's footer: where its directory frame begins, and how long it is.
///
/// # Errors
/// `Corrupt` if these are not the last bytes of a segment of `segment_bytes` bytes.
pub fn decode_footer(footer: &[u8], segment_bytes: u64) -> Result<(u32, u32)> {
    let corrupt = || Error::corrupt(Operation::Decode, "a segment's footer is damaged");
    let footer: &[u8; FOOTER_BYTES] = footer.try_into().map_err(|_| corrupt())?;
    let word = |at: usize| {
        let mut word = [0; 4];
        word.copy_from_slice(&footer[at..at + 4]);
        u32::from_le_bytes(word)
    };
    let (at, bytes) = (word(0), word(4));
    let whole = u64::from(at) + u64::from(bytes) + FOOTER_BYTES as u64 == segment_bytes;
    if footer[8..16] != FOOTER_MAGIC || word(16) != crc32c::crc32c(&footer[..16]) || !whole {
        return Err(corrupt());
    }
    Ok((at, bytes))
}
