//! What a volume is told to do: settings that are stored with it.
//!
//! They are stored as JSON, so that a program can be given new ones without a new version of the
//! format: one that is not there has its default, and one that a program does not know makes it
//! refuse the volume rather than not do what it was told.

mod jobs;
mod lifecycle;
mod places;
mod version_1;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use holdall_core::{Error, Operation, Result, Timestamp};
use places::{are_default_tiers, default_tiers, is_only_place, only_place};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

pub use jobs::{JobError, JobLease, JobPolicy, JobProgress, JobRow, JobRun};
pub use lifecycle::{LifecycleRule, end_by};
pub use places::{Acknowledge, PlaceRow, PlaceState, Tier, check_places};

use super::chunk::ChunkSecret;
use super::frame::{self, FrameKind, FramePlace};
use super::keys::VolumeId;
use super::row::{self, Body};

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
#[serde(default, deny_unknown_fields)]
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
    // What follows is not written where it is as by default, so that programs of before can read a
    // volume that does not use it.
    /// When and how fast its jobs run, where not as they have it themselves; by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub jobs: BTreeMap<String, JobPolicy>,
    /// Rules by which entries end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lifecycle: Vec<LifecycleRule>,
    /// From how many hundredths of the quota on its owner is told; none for never.
    #[serde(skip_serializing_if = "is_default_alert")]
    pub alert_percent: Option<u8>,
    /// Where segments go, and in how many copies. They are made in the first.
    #[serde(skip_serializing_if = "are_default_tiers")]
    pub tiers: Vec<Tier>,
}

/// From how much of a quota on its owner is told, unless told otherwise.
const ALERT_PERCENT: Option<u8> = Some(90);

fn is_default_alert(percent: &Option<u8>) -> bool {
    *percent == ALERT_PERCENT
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
            jobs: BTreeMap::new(),
            lifecycle: Vec::new(),
            alert_percent: ALERT_PERCENT,
            tiers: default_tiers(),
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
        if self.alert_percent.is_some_and(|percent| !(1..=100).contains(&percent)) {
            return invalid("alert must be from 1% to 100%, or none");
        }
        lifecycle::check(&self.lifecycle)?;
        self.jobs.iter().try_for_each(|(name, job)| job.check(name))?;
        if self.tiers.is_empty() {
            return invalid("there must be a tier");
        }
        self.tiers.iter().try_for_each(Tier::check)
    }
}

/// A volume's identity, stored in the catalog and on the data backend.
///
/// As text it is JSON, and that text is its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
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
    /// Where its data lies.
    #[serde(default = "only_place", skip_serializing_if = "is_only_place")]
    pub places: Vec<PlaceRow>,
    /// How often this was changed: of two copies, the one with more changes is the newer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub changes: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(changes: &u64) -> bool {
    *changes == 0
}

impl Serialize for VolumeRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut json = Vec::new();
        Self::serialize(self, &mut serde_json::Serializer::new(&mut json))
            .map_err(ser::Error::custom)?;
        let json = String::from_utf8(json).map_err(ser::Error::custom)?;
        serializer.serialize_str(&json)
    }
}

impl<'de> Deserialize<'de> for VolumeRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let json = String::deserialize(deserializer)?;
        Self::parse(&json).map_err(de::Error::custom)
    }
}

impl Body for VolumeRow {
    fn take(version: u8, bytes: &[u8]) -> Result<(Self, &[u8])> {
        if version == 1 {
            let (row, rest): (version_1::VolumeRow, _) = row::take(bytes)?;
            return Ok((row.into(), rest));
        }
        let (json, rest): (String, _) = row::take(bytes)?;
        let row = Self::parse(&json).map_err(|source| {
            // What its checksum has let pass is what was written.
            let message = "a volume's settings hold something that this program does not know; \
                           update holdall";
            Error::unsupported(Operation::Decode, message).with_source(source)
        })?;
        Ok((row, rest))
    }
}

impl VolumeRow {
    /// A volume whose data lies in one place.
    pub fn new(name: &str, created: Timestamp, secret: ChunkSecret, policy: Policy) -> Self {
        let (name, history_from, places) = (name.to_owned(), created, only_place());
        Self { name, created, secret, history_from, policy, places, changes: 0 }
    }

    fn parse(json: &str) -> serde_json::Result<Self> {
        let mut json = serde_json::Deserializer::from_str(json);
        let row = Self::deserialize(&mut json)?;
        json.end()?;
        Ok(row)
    }

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
        let (row, rest) = <Self as Body>::take(frame.version, &frame.raw)?;
        if !rest.is_empty() {
            let message = "a volume's identity has bytes behind it; restore it from another copy";
            return Err(Error::corrupt(Operation::Decode, message));
        }
        Ok(row)
    }

    fn place(volume: VolumeId) -> FramePlace {
        FramePlace { kind: FrameKind::Volume, volume, owner: (0, 0), position: 0 }
    }
}

#[cfg(test)]
mod tests {
    use holdall_core::{ErrorKind, Key};

    use super::*;

    fn sample() -> VolumeRow {
        let policy = Policy { quota_bytes: Some(5), ..Policy::default() };
        let (created, secret) = (Timestamp::from_micros(7), ChunkSecret([9; 32]));
        let row = VolumeRow::new("photos", created, secret, policy);
        VolumeRow { history_from: Timestamp::from_micros(8), ..row }
    }

    fn decode(json: &str) -> Result<VolumeRow> {
        let key = Key::parse("some/row").unwrap();
        row::decode(&key, &row::encode(&key, &json))
    }

    #[test]
    fn settings_that_are_not_there_have_their_defaults() {
        let json = postcard::to_allocvec(&sample()).unwrap();
        let json: String = postcard::from_bytes(&json).unwrap();
        assert_eq!(decode(&json).unwrap(), sample());
        let at = json.find(r#""policy""#).unwrap();
        let older = format!("{}\"policy\":{{\"quota_bytes\":5}}}}", &json[..at]);
        assert_eq!(decode(&older).unwrap(), sample());
    }

    #[test]
    fn settings_that_are_not_known_are_refused() {
        let json = postcard::to_allocvec(&sample()).unwrap();
        let json: String = postcard::from_bytes(&json).unwrap();
        for newer in [
            json.replace(r#""policy":{"#, r#""policy":{"teleport":true,"#),
            json.replace(r#""name":"#, r#""nickname":"p","name":"#),
            format!("{json} {{}}"),
        ] {
            let error = decode(&newer).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{newer}");
        }
    }
}
