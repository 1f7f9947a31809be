//! The targets: one a decoder.
//!
//! Checksums would keep nearly every made input from the code behind them. So where one guards a
//! decoder, the input is given to it twice: as it is, and as the content of a shell whose checksum
//! is right, as a hostile store could make it.

use bytes::Bytes;
use holdall_core::{Key, Location};
use holdall_volume::format::checkpoint::{CheckpointId, Manifest, decode_part};
use holdall_volume::format::chunk::{ChunkRow, decode_list, encode_list};
use holdall_volume::format::entry::{Entry, Name, Version};
use holdall_volume::format::frame::{self, FrameKind, FramePlace, Header};
use holdall_volume::format::head::{Head, Sealed, WriterRow};
use holdall_volume::format::history::{HistoryRow, SnapshotRow};
use holdall_volume::format::keys::{CatalogKeys, DataKeys, VolumeId};
use holdall_volume::format::log::{self, Commit, LogPart};
use holdall_volume::format::policy::{Compression, JobRow, VolumeRow};
use holdall_volume::format::row;
use holdall_volume::format::segment::{Directory, LeftOver, SegmentId, SegmentRow, decode_footer};
use holdall_volume::format::upload::{PartRow, UploadRow};
use serde::{Serialize, de::DeserializeOwned};

/// A decoder that is given bytes that nobody wrote.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// Gives it an input. Panics if a promise is broken that bytes alone can show.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "frame", run: frame },
    Target { name: "footer", run: footer },
    Target { name: "directory", run: directory },
    Target { name: "list-chunk", run: list_chunk },
    Target { name: "log-part", run: log_part },
    Target { name: "checkpoint-part", run: checkpoint_part },
    Target { name: "manifest", run: manifest },
    Target { name: "volume-object", run: volume_object },
    Target { name: "row-volume", run: plain_row::<VolumeRow> },
    Target { name: "row-head", run: plain_row::<Head> },
    Target { name: "row-sealed", run: plain_row::<Sealed> },
    Target { name: "row-entry", run: entry_row },
    Target { name: "row-history", run: history_row },
    Target { name: "row-retention", run: plain_row::<(Name, Version)> },
    Target { name: "row-log", run: log_row },
    Target { name: "row-chunk", run: plain_row::<ChunkRow> },
    Target { name: "row-segment", run: plain_row::<SegmentRow> },
    Target { name: "row-left-over", run: plain_row::<LeftOver> },
    Target { name: "row-writer", run: plain_row::<WriterRow> },
    Target { name: "row-snapshot", run: plain_row::<SnapshotRow> },
    Target { name: "row-upload", run: plain_row::<UploadRow> },
    Target { name: "row-part", run: part_row },
    Target { name: "row-job", run: job_row },
    Target { name: "names", run: names },
    Target { name: "location", run: location },
];

/// The place of the log parts and checkpoints of the corpus.
pub const RUN: (u64, u64) = (1, 3);

/// The volume of the corpus.
pub fn volume() -> VolumeId {
    VolumeId::from_random([7; 12])
}

/// The checkpoint of the corpus.
pub const CHECKPOINT: CheckpointId = CheckpointId { sequence: 1, epoch: 3 };

/// The key of the rows of the corpus.
pub fn key() -> Key {
    CatalogKeys::new(volume()).entry(&Name::parse("some name").expect("it is a name"))
}

/// The input in a frame of the kind, whose checksum is right.
fn framed(kind: FrameKind, input: &[u8]) -> Bytes {
    let owner = match kind {
        FrameKind::Log => RUN,
        FrameKind::Volume => (0, 0),
        _ => (CHECKPOINT.sequence, CHECKPOINT.epoch),
    };
    let place = FramePlace { kind, volume: volume(), owner, position: 0 };
    let mut out = Vec::new();
    frame::encode(place, 0, &[], input, Compression::None, &mut out)
        .expect("inputs are far below the limit");
    Bytes::from(out)
}

/// The input as the body and tail of a row whose checksum is right.
fn rowed(input: &[u8]) -> Bytes {
    row::encode_with_tail(&key(), &(), input)
}

fn frame(input: &[u8]) {
    let whole = Bytes::copy_from_slice(input);
    let Ok(header) = Header::parse(&whole) else {
        return;
    };
    let mut bound = input.to_vec();
    let length = header.frame_bytes();
    if let Some(front) = bound.get_mut(..length) {
        // Puts the right checksum on it.
        frame::rebind(front, header.place);
    }
    for bytes in [whole, Bytes::from(bound)] {
        if let Ok(frame) = frame::decode(header.place, &bytes) {
            let total: u64 = frame.chunks.iter().map(|length| u64::from(*length)).sum();
            assert!(frame.chunks.is_empty() || total == frame.raw.len() as u64);
            assert!(frame.raw.len() <= frame::RAW_BYTES_MAX);
        }
        // Without the checksum anything may come out, but nothing may go wrong.
        if let Ok(frame) = frame::decode_unchecked(header.place, &bytes) {
            assert!(frame.raw.len() <= frame::RAW_BYTES_MAX);
        }
    }
}

fn footer(input: &[u8]) {
    for segment_bytes in [input.len() as u64, 20, u64::MAX, 1 << 33] {
        if let Ok((at, bytes)) = decode_footer(input, segment_bytes) {
            assert!(u64::from(at) + u64::from(bytes) <= segment_bytes);
        }
    }
}

fn directory(input: &[u8]) {
    plain::<Directory>(input);
}

/// What decodes must encode to something that decodes to the same.
fn plain<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(input: &[u8]) {
    if let Ok(value) = postcard::from_bytes::<T>(input) {
        let again = postcard::to_allocvec(&value).expect("what was decoded can be encoded");
        assert_eq!(postcard::from_bytes::<T>(&again).ok().as_ref(), Some(&value));
    }
}

fn list_chunk(input: &[u8]) {
    if let Ok(nodes) = decode_list(input) {
        assert_eq!(decode_list(&encode_list(&nodes)).ok(), Some(nodes));
    }
}

fn log_part(input: &[u8]) {
    for bytes in [Bytes::copy_from_slice(input), framed(FrameKind::Log, input)] {
        if let Ok(part) = LogPart::decode(volume(), RUN, 0, &bytes) {
            let inline = |commit: &Commit| commit.changes.len();
            assert!(part.commits.iter().map(inline).sum::<usize>() <= input.len());
            let again = part.encode(volume(), Compression::None);
            let again = again.and_then(|again| LogPart::decode(volume(), RUN, 0, &again));
            assert_eq!(again.ok(), Some(part));
        }
    }
}

fn checkpoint_part(input: &[u8]) {
    let keys = CatalogKeys::new(volume());
    for bytes in [Bytes::copy_from_slice(input), framed(FrameKind::Checkpoint, input)] {
        for row in decode_part(volume(), CHECKPOINT, 0, &bytes).into_iter().flatten() {
            if let Ok(key) = row.check(&keys) {
                assert!(key.as_str().starts_with(keys.root()));
            }
        }
    }
}

fn manifest(input: &[u8]) {
    for bytes in [Bytes::copy_from_slice(input), framed(FrameKind::Manifest, input)] {
        if let Ok(manifest) = Manifest::decode(volume(), CHECKPOINT, &bytes) {
            assert!(manifest.first == CHECKPOINT.sequence && manifest.first <= manifest.upto);
        }
    }
}

fn volume_object(input: &[u8]) {
    for bytes in [Bytes::copy_from_slice(input), framed(FrameKind::Volume, input)] {
        if let Ok(row) = VolumeRow::decode_object(volume(), &bytes) {
            // Checking settings that nobody made must end, whatever it says.
            let _ = row.policy.check();
        }
    }
}

fn plain_row<T: row::Body + Serialize + PartialEq + std::fmt::Debug>(input: &[u8]) {
    let key = key();
    for bytes in [Bytes::copy_from_slice(input), rowed(input)] {
        if let Ok(value) = row::decode::<T>(&key, &bytes) {
            let again = row::decode::<T>(&key, &row::encode(&key, &value));
            assert_eq!(again.ok(), Some(value));
        }
    }
}

fn entry_row(input: &[u8]) {
    let key = key();
    for bytes in [Bytes::copy_from_slice(input), rowed(input)] {
        if let Ok(entry) = Entry::decode(&key, &bytes) {
            assert_eq!(Entry::decode(&key, &entry.encode(&key)).ok(), Some(entry));
        }
    }
}

fn history_row(input: &[u8]) {
    let key = key();
    for bytes in [Bytes::copy_from_slice(input), rowed(input)] {
        if let Ok(row) = HistoryRow::decode(&key, &bytes) {
            assert_eq!(HistoryRow::decode(&key, &row.encode(&key)).ok(), Some(row));
        }
    }
}

fn job_row(input: &[u8]) {
    let key = key();
    for bytes in [Bytes::copy_from_slice(input), rowed(input)] {
        if let Ok(row) = JobRow::decode(&key, &bytes) {
            assert_eq!(JobRow::decode(&key, &row.encode(&key)).ok(), Some(row));
        }
    }
}

fn part_row(input: &[u8]) {
    let key = key();
    for bytes in [Bytes::copy_from_slice(input), rowed(input)] {
        if let Ok(part) = PartRow::decode(&key, &bytes) {
            assert_eq!(PartRow::decode(&key, &part.encode(&key)).ok(), Some(part));
        }
    }
}

/// Commits, then as many inline bytes as they ask for, or not.
fn log_row(input: &[u8]) {
    let key = key();
    for bytes in [Bytes::copy_from_slice(input), rowed(input)] {
        let Ok(commits) = log::decode_commits(&key, &bytes) else {
            continue;
        };
        let again = log::encode_commits(&key, &commits);
        assert_eq!(log::decode_commits(&key, &again).ok().as_ref(), Some(&commits));
        for inline in [rowed(&[]), rowed(&input[..input.len() / 2]), bytes.clone()] {
            let mut commits = commits.clone();
            if log::restore_inline(&key, &inline, &mut commits).is_ok() {
                let again = log::encode_inline(&key, &commits);
                let mut bare = commits.clone();
                assert!(log::restore_inline(&key, &again, &mut bare).is_ok());
                assert_eq!(bare, commits);
            }
        }
    }
}

/// Names, and what is read out of keys.
fn names(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (catalog, data) = (CatalogKeys::new(volume()), DataKeys::new(volume()));
    if let Ok(name) = Name::parse(text) {
        assert_eq!(catalog.entry_name(&catalog.entry(&name)), Some(text));
        let key = catalog.history(&name, 5);
        assert_eq!(catalog.history_parts(&key), Some((text, 5)));
    }
    if let Some(id) = SegmentId::parse(text) {
        assert_eq!(id.to_string(), text);
    }
    if let Some(id) = VolumeId::parse(text) {
        assert_eq!(id.as_str(), text);
    }
    for key in [Key::parse(text), Key::parse(format!("{}{text}", catalog.root()))] {
        let Ok(key) = key else { continue };
        let _ = (catalog.log_sequence(&key), catalog.writer_epoch(&key), catalog.chunk_id(&key));
        let _ = (catalog.entry_name(&key), catalog.history_parts(&key));
        if let Some(id) = data.segment_id(&key) {
            assert_eq!(data.segment(id), key);
        }
    }
}

fn location(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Ok(location) = Location::parse(text) {
        let again = Location::parse(&location.expose());
        assert_eq!(again.ok().as_ref(), Some(&location));
        let _ = location.allow_options(&["region", "map_size"]);
        let shown = location.to_string();
        assert!(Location::parse(&shown).is_ok(), "{shown:?}");
    }
}
