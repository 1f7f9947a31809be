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
use super::zstd_context;

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

/// The body of a row of changes. Those of many entries say the same names and attributes again and
/// again, so they are compressed; those of few would not get shorter.
#[derive(Debug, Serialize, Deserialize)]
enum LogRow<C> {
    /// The commits.
    Plain(C),
    /// One zstd frame, which holds the commits in postcard.
    Zstd {
        /// How many bytes it decodes to.
        raw_bytes: u32,
        /// The frame.
        packed: Bytes,
    },
}

impl row::Body for LogRow<Vec<Commit>> {}

/// From this size in bytes on a row of changes is compressed.
const COMPRESSED_ROW_BYTES_MIN: usize = 4 << 10;

/// The most bytes that a compressed row of changes may decode to: a bound on the memory that a
/// hostile row could take. A larger one, of a huge transaction, is stored as it is.
const COMPRESSED_ROW_RAW_BYTES_MAX: usize = 16 << 20;

/// Encodes the changes of consecutive commits, without inline bytes.
pub fn encode_commits(key: &Key, commits: &[Commit]) -> Bytes {
    let plain = row::encode(key, &LogRow::Plain(commits));
    if plain.len() < COMPRESSED_ROW_BYTES_MIN {
        return plain;
    }
    let raw = postcard::to_extend(&commits, Vec::with_capacity(plain.len()))
        .expect("commits are plain data, which postcard writes to a Vec without failing");
    if raw.len() > COMPRESSED_ROW_RAW_BYTES_MAX {
        return plain;
    }
    // As with a frame, what is not shorter by at least a 32nd is stored as it is.
    let mut packed = vec![0; raw.len() - raw.len() / 32];
    match zstd_context::compress(&raw, &mut packed, 1) {
        Some(bytes) => {
            packed.truncate(bytes);
            let (raw_bytes, packed) = (raw.len() as u32, Bytes::from(packed));
            row::encode(key, &LogRow::<&[Commit]>::Zstd { raw_bytes, packed })
        }
        None => plain,
    }
}

/// Decodes the changes of consecutive commits; inline bytes are missing.
///
/// # Errors
/// As [`row::decode`]; `Corrupt` too if a compressed row is not what its length says, or is longer
/// than any that is written.
pub fn decode_commits(key: &Key, bytes: &Bytes) -> Result<Vec<Commit>> {
    let (raw_bytes, packed) = match row::decode(key, bytes)? {
        LogRow::Plain(commits) => return Ok(commits),
        LogRow::Zstd { raw_bytes, packed } => (raw_bytes as usize, packed),
    };
    if raw_bytes > COMPRESSED_ROW_RAW_BYTES_MAX {
        return Err(row::corrupt(key, "has an impossible length"));
    }
    let raw = zstd_context::decompress(&packed, raw_bytes)
        .map_err(|e| row::corrupt(key, "cannot be decompressed").with_source(e))?;
    if raw.len() != raw_bytes {
        return Err(row::corrupt(key, "decompresses to another length"));
    }
    let (commits, rest) = postcard::take_from_bytes(&raw)
        .map_err(|e| row::corrupt(key, "cannot be decoded").with_source(e))?;
    if rest.is_empty() {
        Ok(commits)
    } else {
        Err(row::corrupt(key, "has bytes behind its commits"))
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeMap;

    use super::*;
    use crate::format::chunk::{ChunkId, Content, Digest, Node};

    fn key() -> Key {
        Key::parse("volume/00/l/0000000000000001").unwrap()
    }

    /// A commit of so many entries with attributes, as an import makes it.
    fn import(entries: usize) -> Vec<Commit> {
        let put = |number: usize| {
            let attributes = [("mode", "100644"), ("owner", "someone"), ("group", "everyone")];
            let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            let entry = Entry {
                version: 1,
                written: Timestamp::EPOCH,
                size: 4,
                digest: Digest::of(&number.to_le_bytes()),
                content_type: Some("text/plain".to_owned()),
                attributes: attributes.map(own).into_iter().collect::<BTreeMap<_, _>>(),
                expires: None,
                content: Content::Inline,
                inline: Bytes::new(),
            };
            Change::Put { name: Name::parse(format!("folder/file {number}")).unwrap(), entry }
        };
        let changes = (0..entries).map(put).collect();
        vec![Commit { sequence: 1, time: Timestamp::EPOCH, epoch: 1, changes }]
    }

    #[test]
    fn rows_of_many_changes_are_compressed_and_rows_of_few_are_not() {
        for entries in [0, 1, 2, 20, 30, 40, 200, 5000] {
            let commits = import(entries);
            let raw = postcard::to_allocvec(&commits).unwrap();
            let bytes = encode_commits(&key(), &commits);
            // Version, choice and checksum.
            if raw.len() + 6 < 4096 {
                assert_eq!(bytes.len(), raw.len() + 6, "{entries} entries");
            } else {
                assert!(bytes.len() < raw.len() * 2 / 3, "{entries}: {} bytes", bytes.len());
            }
            assert_eq!(decode_commits(&key(), &bytes).unwrap(), commits);
        }
    }

    #[test]
    fn rows_that_would_not_shrink_or_are_huge_are_stored_as_they_are() {
        let node = |number: u64| {
            let noise = Digest::of(&number.to_le_bytes()).0;
            let bytes = u64::from_le_bytes(noise[..8].try_into().unwrap());
            Node { id: ChunkId(noise), bytes, level: noise[9] }
        };
        let mut dense = import(1);
        if let Change::Put { entry, .. } = &mut dense[0].changes[0] {
            entry.content = Content::Tree((0..200).map(node).collect());
        }
        let mut huge = import(0);
        let name = |number: u64| Name::parse(format!("{number:0900}")).unwrap();
        huge[0].changes = (0..19_000).map(|n| Change::Delete { name: name(n) }).collect();
        for (commits, bytes_min) in
            [(dense, COMPRESSED_ROW_BYTES_MIN), (huge, COMPRESSED_ROW_RAW_BYTES_MAX)]
        {
            let raw = postcard::to_allocvec(&commits).unwrap();
            assert!(raw.len() > bytes_min);
            let bytes = encode_commits(&key(), &commits);
            assert_eq!(bytes.len(), raw.len() + 6);
            assert_eq!(decode_commits(&key(), &bytes).unwrap(), commits);
        }
    }

    #[test]
    fn a_compressed_row_that_nobody_wrote_is_corrupt() {
        let refused = |raw_bytes: usize, packed: &[u8], why: &str| {
            let (raw_bytes, packed) = (raw_bytes as u32, Bytes::copy_from_slice(packed));
            let bytes = row::encode(&key(), &LogRow::<&[Commit]>::Zstd { raw_bytes, packed });
            let error = decode_commits(&key(), &bytes).unwrap_err();
            assert_eq!(error.kind(), holdall_core::ErrorKind::Corrupt);
            assert!(error.message().contains(why), "{why}: {error}");
        };
        let raw = postcard::to_allocvec(&import(200)).unwrap();
        let pack = |raw: &[u8]| zstd::bulk::compress(raw, 1).unwrap();
        let packed = pack(&raw);
        refused(raw.len() - 1, &packed, "cannot be decompressed");
        refused(raw.len() + 1, &packed, "decompresses to another length");
        refused(raw.len(), &packed[..packed.len() - 1], "cannot be decompressed");
        refused(raw.len() - 1, &pack(&raw[..raw.len() - 1]), "cannot be decoded");
        let longer = [&raw[..], &[0]].concat();
        refused(longer.len(), &pack(&longer), "has bytes behind its commits");
        let bomb = vec![0; COMPRESSED_ROW_RAW_BYTES_MAX + 1];
        refused(bomb.len(), &pack(&bomb), "has an impossible length");
        refused(COMPRESSED_ROW_RAW_BYTES_MAX, &pack(&bomb), "cannot be decompressed");
    }

    #[test]
    fn every_flip_and_cut_of_a_compressed_row_is_noticed() {
        let bytes = encode_commits(&key(), &import(60));
        for position in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[position] ^= 4;
            assert!(decode_commits(&key(), &Bytes::from(damaged)).is_err(), "flip at {position}");
            assert!(decode_commits(&key(), &bytes.slice(..position)).is_err(), "cut at {position}");
        }
    }
}
