//! Checkpoints: copies of the rows from which a catalog can be rebuilt without the whole log.

use bytes::Bytes;
use holdall_core::{Error, Key, Operation, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::chunk::Digest;
use super::entry::Version;
use super::frame::{self, FrameKind, FramePlace};
use super::keys::{CatalogKeys, VolumeId};
use super::log::PART_RAW_BYTES_MAX;
use super::policy::Compression;
use super::row;

/// The classes of rows that a checkpoint copies, in the order in which they are read: entries
/// before history, so that a version that is superseded meanwhile is found at least once.
pub const CHECKPOINT_CLASSES: [char; 5] = ['e', 'h', 'p', 'u', 'q'];

/// Names a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckpointId {
    /// The newest commit when its first row was read.
    pub sequence: Version,
    /// The epoch of the writer that made it.
    pub epoch: u64,
}

/// One row of the catalog, as its bytes were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointRow {
    /// The key, without what all keys of the volume's catalog begin with.
    pub key: String,
    /// The row's bytes, shell included.
    pub value: Bytes,
}

impl CheckpointRow {
    /// The row's key in a catalog, if the row is whole and of a class that belongs here.
    ///
    /// # Errors
    /// `Corrupt` if it is not; `Unsupported` if a newer program wrote it.
    pub fn check(&self, keys: &CatalogKeys) -> Result<Key> {
        let mut characters = self.key.chars();
        let class = characters.next().filter(|class| CHECKPOINT_CLASSES.contains(class));
        if class.is_none() || characters.next() != Some('/') {
            return Err(corrupt("has a row of another class"));
        }
        let key = Key::parse(format!("{}{}", keys.root(), self.key))
            .map_err(|e| corrupt("has a row with an impossible key").with_source(e))?;
        row::check(&key, &self.value)?;
        Ok(key)
    }
}

/// What a checkpoint is made of: written last, when all else had been read back whole.
///
/// Its rows are those of no single moment: each is as it was at some time between two commits.
/// With the log's commits between these two they become exact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The newest commit when the first row was read.
    pub first: Version,
    /// The newest commit when the last row had been read.
    pub upto: Version,
    /// When it was made.
    pub created: Timestamp,
    /// How many parts there are.
    pub parts: u32,
    /// How many rows there are.
    pub rows: u64,
    /// The bytes of all parts as stored.
    pub bytes: u64,
    /// The digest of all parts as stored, one after the other.
    pub digest: Digest,
}

/// Encodes a part as the one frame of an object.
///
/// # Errors
/// As [`frame::encode`].
pub fn encode_part(
    volume: VolumeId,
    id: CheckpointId,
    part: u32,
    rows: &[CheckpointRow],
    compression: Compression,
) -> Result<Bytes> {
    encode(place(FrameKind::Checkpoint, volume, id, part), &rows, compression)
}

/// Decodes a part. Each row must still be [checked](CheckpointRow::check).
///
/// # Errors
/// `Corrupt` if it is not the part that was written there.
pub fn decode_part(
    volume: VolumeId,
    id: CheckpointId,
    part: u32,
    bytes: &Bytes,
) -> Result<Vec<CheckpointRow>> {
    decode(place(FrameKind::Checkpoint, volume, id, part), bytes)
}

impl Manifest {
    /// Encodes the manifest as the one frame of an object.
    ///
    /// # Errors
    /// As [`frame::encode`].
    pub fn encode(&self, volume: VolumeId, id: CheckpointId) -> Result<Bytes> {
        encode(place(FrameKind::Manifest, volume, id, 0), self, Compression::None)
    }

    /// Decodes the manifest.
    ///
    /// # Errors
    /// `Corrupt` if it is not the manifest of this checkpoint.
    pub fn decode(volume: VolumeId, id: CheckpointId, bytes: &Bytes) -> Result<Self> {
        let manifest: Self = decode(place(FrameKind::Manifest, volume, id, 0), bytes)?;
        if manifest.first != id.sequence || manifest.upto < manifest.first {
            return Err(corrupt("has a manifest of another"));
        }
        Ok(manifest)
    }
}

fn place(kind: FrameKind, volume: VolumeId, id: CheckpointId, part: u32) -> FramePlace {
    FramePlace { kind, volume, owner: (id.sequence, id.epoch), position: part }
}

fn encode(place: FramePlace, body: &impl Serialize, compression: Compression) -> Result<Bytes> {
    let raw = postcard::to_extend(body, Vec::new())
        .expect("rows are plain data, which postcard writes to a Vec without failing");
    let mut out = Vec::new();
    frame::encode(place, 0, &[], &raw, compression, &mut out)?;
    Ok(Bytes::from(out))
}

fn decode<T: serde::de::DeserializeOwned>(place: FramePlace, bytes: &Bytes) -> Result<T> {
    let frame = frame::decode_whole(place, bytes, PART_RAW_BYTES_MAX)?;
    let (body, rest) = postcard::take_from_bytes(&frame.raw)
        .map_err(|e| corrupt("cannot be decoded").with_source(e))?;
    if rest.is_empty() { Ok(body) } else { Err(corrupt("has bytes behind its body")) }
}

fn corrupt(what: &str) -> Error {
    Error::corrupt(Operation::Decode, format!("a checkpoint {what}"))
}
