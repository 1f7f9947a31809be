//! What a volume is told to do: settings that are stored with it.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use holdall_core::{Error, Operation, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::chunk::ChunkSecret;
use super::frame::{self, FrameKind, FramePlace};
use super::keys::VolumeId;

/// The most bytes that a volume's object may decode to.
const OBJECT_RAW_BYTES_MAX: usize = 1 << 20;

/// How chunks are compressed. Frames carry their own, so it may be changed at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4: fastest.
    Lz4,
    /// Zstandard, at this level.
    Zstd {
        /// 1 (fastest) to 19 (smallest).
        level: u8,
    },
}

/// What a volume is told to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The most logical bytes of all entries; none is no limit.
    pub quota_bytes: Option<u64>,
    /// How long superseded versions are kept; zero is not at all.
    pub history: Duration,
    /// How chunks are compressed.
    pub compression: Compression,
    /// Entries up to this size are kept in the catalog itself.
    pub inline_bytes_max: u32,
    /// When a segment is closed.
    pub segment_bytes: u32,
    /// How long garbage waits before it is deleted: longer than any reader or upload may need.
    pub grace: Duration,
    /// How long a writer may be silent before others may end it.
    pub lease: Duration,
    /// Attributes that `find` looks up in an index.
    pub indexed: BTreeSet<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            quota_bytes: None,
            history: Duration::ZERO,
            compression: Compression::Zstd { level: 1 },
            inline_bytes_max: 16 << 10,
            segment_bytes: 16 << 20,
            grace: Duration::from_secs(3600),
            lease: Duration::from_secs(30),
            indexed: BTreeSet::new(),
        }
    }
}

impl Policy {
    /// Refuses settings that cannot work.
    ///
    /// # Errors
    /// `Invalid`, naming the setting and its limits.
    pub fn check(&self) -> Result<()> {
        let invalid = |message: &str| Err(Error::invalid(Operation::Configure, message));
        if let Compression::Zstd { level } = self.compression
            && !(1..=19).contains(&level)
        {
            return invalid("the zstd level must be from 1 to 19");
        }
        if self.inline_bytes_max > 64 << 10 {
            return invalid("inline_bytes_max must be at most 64 KiB");
        }
        if !(64 << 10..=256 << 20).contains(&self.segment_bytes) {
            return invalid("segment_bytes must be from 64 KiB to 256 MiB");
        }
        if self.grace < self.lease.saturating_mul(2) {
            return invalid("grace must be at least twice the lease");
        }
        if self.indexed.iter().any(|name| name.is_empty() || name.contains('\0')) {
            return invalid("an indexed attribute's name is empty or holds a NUL character");
        }
        Ok(())
    }
}

/// A volume's identity, stored in the catalog and on the data backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRow {
    /// The name people use.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// From which chunk names are made.
    pub secret: ChunkSecret,
    /// What was superseded before this was kept for a shorter time than the policy says now.
    pub history_from: Timestamp,
    /// What it is told to do.
    pub policy: Policy,
}

impl VolumeRow {
    /// Encodes the volume's object on a data backend, from which a rebuild begins.
    ///
    /// # Errors
    /// As [`frame::encode`].
    pub fn encode_object(&self, volume: VolumeId) -> Result<Bytes> {
        let raw = postcard::to_extend(self, Vec::new())
            .expect("a volume's row is plain data, which postcard writes to a Vec");
        let mut out = Vec::new();
        frame::encode(Self::place(volume), 0, &[], &raw, Compression::None, &mut out)?;
        Ok(Bytes::from(out))
    }

    /// Decodes the volume's object on a data backend.
    ///
    /// # Errors
    /// `Corrupt` if it is not the object of this volume; `Unsupported` if a newer program wrote
    /// it.
    pub fn decode_object(volume: VolumeId, bytes: &Bytes) -> Result<Self> {
        let frame = frame::decode_whole(Self::place(volume), bytes, OBJECT_RAW_BYTES_MAX)?;
        postcard::from_bytes(&frame.raw).map_err(|e| {
            let message = "a volume's identity cannot be decoded; restore it from another copy";
            Error::corrupt(Operation::Decode, message).with_source(e)
        })
    }

    fn place(volume: VolumeId) -> FramePlace {
        FramePlace { kind: FrameKind::Volume, volume, owner: (0, 0), position: 0 }
    }
}
