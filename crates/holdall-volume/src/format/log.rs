//! The commit log: what every commit changed, in order.
//!
//! The catalog keeps two rows a group of commits: the changes without inline bytes, which the
//! change feed reads and which are kept as long as history; and the inline bytes, which are kept
//! until the log on the data backend has them.

use bytes::Bytes;
use holdall_core::{Error, Key, Operation, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Name, Version};
use super::frame::{self, FrameKind, FramePlace};
use super::history::SnapshotRow;
use super::keys::VolumeId;
use super::policy::Compression;
use super::row;

/// One commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its number. Numbers have no gaps.
    pub sequence: Version,
    /// When it was made. Never earlier than the one before.
    pub time: Timestamp,
    /// The epoch of the writer that made it.
    pub epoch: u64,
    /// What it changed, each name at most once.
    pub changes: Vec<Change>,
}

/// One change of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// An entry was written.
    Put {
        /// Its name.
        name: Name,
        /// The entry as it is now.
        entry: Entry,
    },
    /// An entry was deleted.
    Delete {
        /// Its name.
        name: Name,
    },
    /// A snapshot was made.
    Snapshot {
        /// Its name.
        name: Name,
        /// What it pins.
        snapshot: SnapshotRow,
    },
    /// A snapshot was deleted.
    Unsnapshot {
        /// Its name.
        name: Name,
    },
}

impl Change {
    fn inline(&self) -> Option<&Bytes> {
        match self {
            Self::Put { entry, .. } if !entry.inline.is_empty() => Some(&entry.inline),
            _ => None,
        }
    }
}

/// Encodes the changes of consecutive commits, without inline bytes.
pub fn encode_commits(key: &Key, commits: &[Commit]) -> Bytes {
    row::encode(key, &commits)
}

/// Decodes the changes of consecutive commits; inline bytes are missing.
///
/// # Errors
/// As [`row::decode`].
pub fn decode_commits(key: &Key, bytes: &Bytes) -> Result<Vec<Commit>> {
    row::decode(key, bytes)
}

/// Encodes the inline bytes of consecutive commits, one after the other.
pub fn encode_inline(key: &Key, commits: &[Commit]) -> Bytes {
    let inline = || commits.iter().flat_map(|commit| &commit.changes).filter_map(Change::inline);
    let mut tail = Vec::with_capacity(inline().map(Bytes::len).sum());
    inline().for_each(|bytes| tail.extend_from_slice(bytes));
    row::encode_with_tail(key, &(), &tail)
}

/// Puts the inline bytes back into the commits they were taken from.
///
/// # Errors
/// As [`row::decode`]; `Corrupt` too if there are more or fewer bytes than the commits name.
pub fn restore_inline(key: &Key, bytes: &Bytes, commits: &mut [Commit]) -> Result<()> {
    let ((), mut tail): ((), Bytes) = row::decode_with_tail(key, bytes)?;
    split_inline(commits, &mut tail)?;
    if tail.is_empty() { Ok(()) } else { Err(wrong_length(key)) }
}

/// Gives the commits' entries their inline bytes from the front of `tail`.
///
/// # Errors
/// `Corrupt` if there are too few.
pub fn split_inline(commits: &mut [Commit], tail: &mut Bytes) -> Result<()> {
    for change in commits.iter_mut().flat_map(|commit| &mut commit.changes) {
        let Change::Put { entry, .. } = change else {
            continue;
        };
        if entry.content != super::chunk::Content::Inline {
            continue;
        }
        let bytes = usize::try_from(entry.size).unwrap_or(usize::MAX);
        if bytes > tail.len() {
            let message = "the commit log has fewer inline bytes than its commits name";
            return Err(Error::corrupt(Operation::Decode, message));
        }
        entry.inline = tail.split_to(bytes);
    }
    Ok(())
}

fn wrong_length(key: &Key) -> Error {
    let message = "the commit log has more inline bytes than its commits name";
    Error::corrupt(Operation::Decode, message).with_key(key)
}

/// One object of the log on the data backend. A run of parts holds every commit from `first` to
/// `last`. A commit that does not fit into one part goes on in the next, which begins with a
/// commit of the same number that holds the further changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPart {
    /// The first commit of the run.
    pub first: Version,
    /// The last commit of the run.
    pub last: Version,
    /// Which part of the run this is, from 0.
    pub part: u32,
    /// How many parts the run has.
    pub parts: u32,
    /// Whether the last commit goes on in the next part.
    pub unfinished: bool,
    /// The commits of this part, without inline bytes.
    pub commits: Vec<Commit>,
    /// The inline bytes of the commits, one after the other.
    pub inline: Bytes,
}

/// The most bytes that a part of log or checkpoint may decode to: more than is ever written, and
/// a bound on the memory that a hostile part could take.
pub const PART_RAW_BYTES_MAX: usize = 9 << 20;

/// The most commits of one run, so that those that may hold a commit are found without listing
/// the log from its beginning.
pub const RUN_COMMITS_MAX: u64 = 1 << 20;

impl LogPart {
    /// Where the frame of a part belongs.
    pub fn place(volume: VolumeId, run: (Version, Version), part: u32) -> FramePlace {
        FramePlace { kind: FrameKind::Log, volume, owner: run, position: part }
    }

    /// The finished part of these commits, whose inline bytes are taken along.
    pub fn new(run: (Version, Version), part: u32, parts: u32, commits: Vec<Commit>) -> Self {
        let inline =
            || commits.iter().flat_map(|commit| &commit.changes).filter_map(Change::inline);
        let mut bytes = Vec::with_capacity(inline().map(Bytes::len).sum());
        inline().for_each(|piece| bytes.extend_from_slice(piece));
        let inline = Bytes::from(bytes);
        Self { first: run.0, last: run.1, part, parts, unfinished: false, commits, inline }
    }

    /// Encodes the part as the one frame of an object.
    ///
    /// # Errors
    /// As [`frame::encode`].
    pub fn encode(&self, volume: VolumeId, compression: Compression) -> Result<Bytes> {
        let raw = postcard::to_extend(self, Vec::new())
            .expect("commits are plain data, which postcard writes to a Vec without failing");
        let mut out = Vec::with_capacity(raw.len() / 2);
        let place = Self::place(volume, (self.first, self.last), self.part);
        frame::encode(place, 0, &[], &raw, compression, &mut out)?;
        Ok(Bytes::from(out))
    }

    /// Decodes an object of the log. The commits have their inline bytes again.
    ///
    /// # Errors
    /// `Corrupt` if it is not the part that was written there, or commits are out of order.
    pub fn decode(
        volume: VolumeId,
        run: (Version, Version),
        part: u32,
        bytes: &Bytes,
    ) -> Result<Self> {
        let corrupt = |what: &str| {
            Error::corrupt(Operation::Decode, format!("a part of the commit log {what}"))
        };
        let place = Self::place(volume, run, part);
        let frame = frame::decode_whole(place, bytes, PART_RAW_BYTES_MAX)?;
        let (mut decoded, rest): (Self, _) = postcard::take_from_bytes(&frame.raw)
            .map_err(|e| corrupt("cannot be decoded").with_source(e))?;
        let named = (decoded.first, decoded.last, decoded.part) == (run.0, run.1, part);
        let too_long = run.1.saturating_sub(run.0) >= RUN_COMMITS_MAX;
        if !rest.is_empty() || !named || too_long || part >= decoded.parts {
            return Err(corrupt("is not the one that its name says"));
        }
        let inside = |commit: &Commit| (run.0..=run.1).contains(&commit.sequence);
        let in_order = decoded.commits.windows(2).all(|two| {
            two[0].sequence.checked_add(1) == Some(two[1].sequence) && two[0].time <= two[1].time
        });
        if decoded.commits.is_empty() || !decoded.commits.iter().all(inside) || !in_order {
            return Err(corrupt("has commits out of order"));
        }
        let mut inline = decoded.inline.clone();
        split_inline(&mut decoded.commits, &mut inline)?;
        if inline.is_empty() { Ok(decoded) } else { Err(corrupt("has too many inline bytes")) }
    }
}
