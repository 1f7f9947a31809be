//! One sample of every form that each target decodes: the corpus grows from them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use holdall_core::Timestamp;
use holdall_fuzz::targets::{CHECKPOINT, RUN, key, volume};
use holdall_volume::format::checkpoint::{self, CheckpointRow, Manifest};
use holdall_volume::format::chunk::{
    ChunkId, ChunkRow, ChunkSecret, Content, Digest, Node, Place, encode_list,
};
use holdall_volume::format::entry::{Entry, Name};
use holdall_volume::format::frame::{self, FrameKind, FramePlace};
use holdall_volume::format::head::{Head, Sealed, WriterRow};
use holdall_volume::format::history::{HistoryRow, SnapshotRow};
use holdall_volume::format::log::{self, Change, Commit, LogPart};
use holdall_volume::format::policy::{
    Compression, JobError, JobLease, JobRow, JobRun, Policy, VolumeRow,
};
use holdall_volume::format::segment::{
    Directory, DirectoryEntry, DirectoryFrame, LeftOver, Replica, ReplicaState, SegmentId,
    SegmentRow, SegmentState, encode_footer,
};
use holdall_volume::format::upload::{PartRow, UploadRow};
use serde::Serialize;

type Samples = Vec<(String, Vec<u8>)>;

/// The samples of a target: whole inputs, and contents of shells.
pub(crate) fn of(target: &str) -> Samples {
    let samples: Vec<Vec<u8>> = match target {
        "frame" => frames(),
        "footer" => vec![encode_footer(0, 0).to_vec(), encode_footer(5, 7).to_vec()],
        "directory" => vec![plain(&Directory::default()), plain(&directory())],
        "list-chunk" => vec![encode_list(&[]), encode_list(&[node(0), node(1)])],
        "log-part" => log_parts(),
        "checkpoint-part" => checkpoint_parts(),
        "manifest" => {
            vec![plain(&manifest()), manifest().encode(volume(), CHECKPOINT).unwrap().to_vec()]
        }
        "volume-object" => {
            vec![plain(&volume_row()), volume_row().encode_object(volume()).unwrap().to_vec()]
        }
        "row-volume" => vec![plain(&volume_row())],
        "row-head" => vec![plain(&Head { sequence: u64::MAX, ..Head::default() })],
        "row-sealed" => vec![plain(&Sealed { upto: 300, ..Sealed::default() })],
        "row-retention" => vec![plain(&(name(), 300_u64))],
        "row-chunk" => chunk_rows().iter().map(plain).collect(),
        "row-segment" => segment_rows().iter().map(plain).collect(),
        "row-left-over" => vec![plain(&LeftOver::Kept(time())), plain(&LeftOver::Dropping)],
        "row-writer" => vec![plain(&writer())],
        "row-snapshot" => vec![plain(&snapshot())],
        "row-upload" => vec![plain(&upload())],
        "row-job" => jobs().iter().map(|row| bare(&row.encode(&key()))).collect(),
        "row-entry" => entries().iter().map(|e| bare(&e.encode(&key()))).collect(),
        "row-history" => entries().into_iter().map(|e| bare(&history(e).encode(&key()))).collect(),
        "row-part" => entries().into_iter().map(|e| bare(&part(e).encode(&key()))).collect(),
        "row-log" => vec![
            bare(&log::encode_commits(&key(), &commits())),
            bare(&log::encode_commits(&key(), &vec![commits(); 20].concat())),
            plain(&commits()),
        ],
        "names" => names(),
        "location" => locations(),
        other => panic!("there are no samples for {other}; write one of each form"),
    };
    let numbered = samples.into_iter().enumerate();
    numbered.map(|(number, sample)| (format!("sample-{number}"), sample)).collect()
}

fn plain(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap()
}

/// A row without its version and checksum, which the target puts on again.
fn bare(row: &Bytes) -> Vec<u8> {
    row[1..row.len() - 4].to_vec()
}

fn name() -> Name {
    Name::parse("a/ü b").unwrap()
}

fn time() -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000)
}

fn node(level: u8) -> Node {
    Node { id: ChunkId([level + 1; 32]), bytes: 1 << 20, level }
}

fn attributes() -> BTreeMap<String, String> {
    [("colour".to_owned(), "red".to_owned()), ("k".to_owned(), String::new())].into()
}

fn entries() -> Vec<Entry> {
    let inline = Entry {
        version: 3,
        written: time(),
        size: 5,
        digest: Digest::of(b"bytes"),
        content_type: Some("text/plain".to_owned()),
        attributes: attributes(),
        expires: Some(time()),
        content: Content::Inline,
        inline: Bytes::from_static(b"bytes"),
    };
    let tree = Entry {
        size: 2 << 20,
        content_type: None,
        expires: None,
        attributes: BTreeMap::new(),
        content: Content::Tree(vec![node(0), node(1)]),
        inline: Bytes::new(),
        ..inline.clone()
    };
    vec![inline, tree]
}

fn history(entry: Entry) -> HistoryRow {
    HistoryRow { entry, superseded: 4, superseded_time: time() }
}

fn part(entry: Entry) -> PartRow {
    PartRow {
        size: entry.size,
        digest: entry.digest,
        content: entry.content,
        written: time(),
        inline: entry.inline,
    }
}

fn snapshot() -> SnapshotRow {
    SnapshotRow { sequence: 2, time: time(), created: time() }
}

fn commits() -> Vec<Commit> {
    let changes = vec![
        vec![
            Change::Put { name: name(), entry: entries()[0].clone() },
            Change::Delete { name: name() },
        ],
        vec![Change::Put { name: name(), entry: entries()[1].clone() }],
        vec![
            Change::Snapshot { name: name(), snapshot: snapshot() },
            Change::Unsnapshot { name: name() },
        ],
    ];
    let commit = |(sequence, changes)| Commit { sequence, time: time(), epoch: 1, changes };
    (1..).zip(changes).map(commit).collect()
}

fn log_parts() -> Vec<Vec<u8>> {
    let whole = LogPart::new(RUN, 0, 1, commits());
    let begun = LogPart { unfinished: true, ..LogPart::new(RUN, 0, 2, commits()) };
    let encoded = whole.encode(volume(), Compression::Zstd { level: 1 }).unwrap();
    vec![plain(&whole), plain(&begun), encoded.to_vec()]
}

fn checkpoint_parts() -> Vec<Vec<u8>> {
    let row = |entry: &Entry| CheckpointRow {
        key: "e/some name".to_owned(),
        value: entry.encode(&key()),
    };
    let rows: Vec<CheckpointRow> = entries().iter().map(row).collect();
    let encoded =
        checkpoint::encode_part(volume(), CHECKPOINT, 0, &rows, Compression::Lz4).unwrap();
    vec![plain(&rows), encoded.to_vec()]
}

fn manifest() -> Manifest {
    Manifest {
        first: CHECKPOINT.sequence,
        upto: 9,
        created: time(),
        parts: 2,
        rows: 300,
        bytes: 1 << 23,
        digest: Digest::of(b""),
    }
}

fn jobs() -> Vec<JobRow> {
    let (renewed, lasts) = (time(), Duration::from_secs(15));
    let lease = JobLease { holder: "me".to_owned(), token: u64::MAX, beat: 7, lasts, renewed };
    let run = JobRun { summary: "done".to_owned(), ended: time(), ..JobRun::default() };
    let error = JobError { at: time(), message: "no room".to_owned() };
    let running = JobRow {
        lease: Some(lease),
        begun: Some(time()),
        cursor: Some("far".to_owned()),
        memory: Some("{}".to_owned()),
        last: Some(run),
        error: Some(error),
        retry: Some(time()),
        ..JobRow::default()
    };
    vec![JobRow::default(), running]
}

fn volume_row() -> VolumeRow {
    let policy = Policy {
        quota_bytes: Some(1 << 40),
        history: Duration::from_millis(1500),
        indexed: ["colour".to_owned()].into(),
        ..Policy::default()
    };
    VolumeRow::new("default", time(), ChunkSecret([5; 32]), policy)
}

fn chunk_rows() -> Vec<ChunkRow> {
    let segment = SegmentId { epoch: 1, counter: 2 };
    let place =
        Place { segment, frame_at: 300, frame_bytes: 70_000, at: 0, bytes: 90_000, stored: 69_000 };
    let named = ChunkRow { place, level: 0, references: 2, idle_since: None };
    vec![named, ChunkRow { level: 1, references: 0, idle_since: Some(time()), ..named }]
}

fn segment_rows() -> Vec<SegmentRow> {
    let row = SegmentRow {
        created: time(),
        bytes: 16 << 20,
        live_bytes: 1 << 20,
        chunks: 12,
        tier: 1,
        key_id: 7,
        state: SegmentState::Live,
        replicas: vec![
            Replica { backend: 0, state: ReplicaState::Healthy, verified: Some(time()) },
            Replica { backend: 1, state: ReplicaState::Damaged, verified: None },
        ],
    };
    let dead = SegmentState::Dead { since: time() };
    let states = [SegmentState::Live, dead, SegmentState::Deleting, SegmentState::Deleted];
    states.into_iter().map(|state| SegmentRow { state, ..row.clone() }).collect()
}

fn writer() -> WriterRow {
    let holder = "holdall import, process 77".to_owned();
    WriterRow { holder, opened: time(), lease_until: time(), ended: true }
}

fn upload() -> UploadRow {
    UploadRow {
        name: name(),
        content_type: Some("text/plain".to_owned()),
        attributes: attributes(),
        expires: Some(time()),
        begun: time(),
        lease_until: time(),
    }
}

fn directory() -> Directory {
    let chunks = vec![(ChunkId([1; 32]), 1000), (ChunkId([2; 32]), 2000)];
    let frames = vec![DirectoryFrame { at: 0, bytes: 3068, level: 0, chunks }];
    let entries = entries().into_iter().map(|entry| DirectoryEntry { name: name(), entry });
    Directory { frames, entries: entries.collect() }
}

fn frames() -> Vec<Vec<u8>> {
    let raw: Vec<u8> = (0..3000_u32).map(|number| (number / 100) as u8).collect();
    let codecs = [Compression::None, Compression::Lz4, Compression::Zstd { level: 3 }];
    let frame = |compression| {
        let kind = FrameKind::Chunks;
        let place = FramePlace { kind, volume: volume(), owner: (1, 2), position: 0 };
        let mut out = Vec::new();
        frame::encode(place, 0, &[1000, 2000], &raw, compression, &mut out).unwrap();
        out
    };
    codecs.into_iter().map(frame).collect()
}

fn names() -> Vec<Vec<u8>> {
    let long = "n".repeat(900);
    let texts = [
        "a/ü b",
        &long,
        "0000000000000001-000000000000000f",
        "abcdefghijkm",
        "h/some name\x00000000000000000a",
        "iiiiiiiiiiii/segment/0000000000000001-000000000000000f",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn locations() -> Vec<Vec<u8>> {
    let texts = [
        "file:///var/lib/a%20b",
        "s3://user:word@host/bucket?region=eu&session_token=x%26y",
        "journal+lmdb:///x?map_size=1",
        "memory://",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
