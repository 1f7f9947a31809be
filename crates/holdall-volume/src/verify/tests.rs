//! A volume made by hand is clean; every damage to it is reported, and mended where it can be.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::FutureExt;
use holdall_core::{Batch, Expect, Key, Memory, Timestamp};

use super::*;
use crate::checkpoint::checkpoint;
use crate::format::chunk::{ChunkRow, ChunkSecret, Content, Digest, Node, Place, encode_list};
use crate::format::entry::{Entry, Name};
use crate::format::frame::{self, FrameKind, FramePlace};
use crate::format::head::WriterRow;
use crate::format::history::{HistoryRow, SnapshotRow};
use crate::format::keys::VolumeId;
use crate::format::log::{self as log_format, Change, Commit};
use crate::format::policy::{Compression, Policy};
use crate::format::segment::{
    Directory, DirectoryFrame, Replica, ReplicaState, SegmentRow, SegmentState, encode_footer,
};
use crate::format::upload::{PartRow, UploadRow};
use crate::seal::{SealContext, seal};

const SECRET: ChunkSecret = ChunkSecret([9; 32]);

/// A volume that is being made.
struct Maker {
    context: VerifyContext,
    batch: Batch,
    head: Head,
    references: BTreeMap<ChunkId, u64>,
    chunks: BTreeMap<ChunkId, (Place, u8)>,
    commits: Vec<Commit>,
}

fn time(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

impl Maker {
    fn new() -> Self {
        let volume = VolumeId::from_random([8; 12]);
        let context = VerifyContext {
            env: holdall_runtime::env(),
            catalog: Arc::new(Memory::new()),
            data: Arc::new(Memory::new()),
            catalog_keys: CatalogKeys::new(volume),
            data_keys: DataKeys::new(volume),
        };
        let (references, chunks) = (BTreeMap::new(), BTreeMap::new());
        let head = Head {
            next_epoch: 3,
            ..Head::default()
        };
        Self {
            context,
            batch: Batch::new(),
            head,
            references,
            chunks,
            commits: Vec::new(),
        }
    }

    fn put(&mut self, key: Key, value: impl serde::Serialize) {
        let value = row::encode(&key, &value);
        self.batch.put(key, value, Expect::Any);
    }

    /// Writes a segment of frames of chunks, and its row.
    async fn segment(&mut self, counter: u64, frames: &[(u8, &[Bytes])]) -> SegmentId {
        let id = SegmentId { epoch: 1, counter };
        let (mut out, mut directory) = (Vec::new(), Directory::default());
        for (level, chunks) in frames {
            let at = out.len() as u32;
            let place = fetch::chunk_frame(&self.context, id, at);
            let lengths: Vec<u32> = chunks.iter().map(|chunk| chunk.len() as u32).collect();
            let raw = chunks.concat();
            let compression = Compression::Zstd { level: 1 };
            let bytes =
                frame::encode(place, *level, &lengths, &raw, compression, &mut out).unwrap();
            let mut frame = DirectoryFrame {
                at,
                bytes,
                level: *level,
                chunks: Vec::new(),
            };
            let mut from = 0;
            for chunk in *chunks {
                let chunk_id = ChunkId::new(&SECRET, &Digest::of(chunk), *level);
                let length = chunk.len() as u32;
                let span = (u64::from(at), u64::from(bytes));
                let place = segments::place_of(id, span, from, length, raw.len());
                from += length;
                frame.chunks.push((chunk_id, length));
                self.chunks.entry(chunk_id).or_insert((place, *level));
            }
            directory.frames.push(frame);
        }
        let at = out.len() as u32;
        let kind = FrameKind::Directory;
        let place = FramePlace {
            kind,
            ..fetch::chunk_frame(&self.context, id, at)
        };
        let raw = postcard::to_allocvec(&directory).unwrap();
        let bytes = frame::encode(place, 0, &[], &raw, Compression::None, &mut out).unwrap();
        out.extend_from_slice(&encode_footer(at, bytes));
        let key = self.context.data_keys.segment(id);
        self.head.segments += 1;
        self.head.segment_bytes += out.len() as u64;
        let row = SegmentRow {
            created: time(1),
            bytes: out.len() as u64,
            live_bytes: 0,
            chunks: 0,
            tier: 0,
            key_id: 0,
            state: SegmentState::Live,
            replicas: vec![Replica {
                backend: 0,
                state: ReplicaState::Healthy,
                verified: None,
            }],
        };
        self.put(self.context.catalog_keys.segment(id), row);
        self.context
            .data
            .put(&key, out.into(), Expect::Absent)
            .await
            .unwrap();
        id
    }

    fn entry(&mut self, version: u64, content: Content, whole: &[u8]) -> Entry {
        for node in content.nodes() {
            *self.references.entry(node.id).or_default() += 1;
        }
        let inline = if content == Content::Inline {
            whole.to_vec()
        } else {
            Vec::new()
        };
        Entry {
            version,
            written: time(version),
            size: whole.len() as u64,
            digest: Digest::of(whole),
            content_type: None,
            attributes: BTreeMap::new(),
            expires: None,
            content,
            inline: inline.into(),
        }
    }

    fn put_entry(&mut self, text: &str, entry: Entry) {
        let keys = self.context.catalog_keys.clone();
        let (key, name) = (keys.entry(&name(text)), name(text));
        self.head.entries += 1;
        self.head.bytes += entry.size;
        if let Some(expires) = entry.expires {
            self.put(keys.expiry(expires, &name), ());
        }
        for (attribute, value) in entry.attributes.iter().filter(|(a, _)| *a == "colour") {
            self.put(keys.attribute(attribute, value, &name).unwrap(), ());
        }
        self.batch.put(key.clone(), entry.encode(&key), Expect::Any);
        self.commit(Change::Put { name, entry });
    }

    fn commit(&mut self, change: Change) {
        self.head.sequence += 1;
        let sequence = self.head.sequence;
        let changes = vec![change];
        self.commits.push(Commit {
            sequence,
            time: time(sequence),
            epoch: 1,
            changes,
        });
        let keys = &self.context.catalog_keys;
        let (log, inline) = (keys.log(sequence), keys.unsealed(sequence));
        let commits = &self.commits[self.commits.len() - 1..];
        self.batch.put(
            log.clone(),
            log_format::encode_commits(&log, commits),
            Expect::Any,
        );
        self.batch.put(
            inline.clone(),
            log_format::encode_inline(&inline, commits),
            Expect::Any,
        );
    }

    fn node(&self, chunk: &[u8], level: u8, bytes: u64) -> Node {
        Node {
            id: ChunkId::new(&SECRET, &Digest::of(chunk), level),
            bytes,
            level,
        }
    }

    async fn apply(&mut self) {
        let keys = self.context.catalog_keys.clone();
        self.put(keys.head(), self.head.clone());
        let batch = std::mem::take(&mut self.batch);
        self.context.catalog.apply(batch).await.unwrap();
    }

    /// Writes chunk rows, and what is counted.
    async fn finish(&mut self) {
        let keys = self.context.catalog_keys.clone();
        let mut counted: BTreeMap<SegmentId, (u64, u64)> = BTreeMap::new();
        for (id, (place, level)) in self.chunks.clone() {
            let references = self.references.get(&id).copied().unwrap_or(0);
            let idle_since = (references == 0).then(|| time(77));
            if let Some(since) = idle_since {
                self.put(keys.idle(since, &id), ());
            }
            let (chunks, live) = counted.entry(place.segment).or_default();
            *chunks += 1;
            *live += if references > 0 {
                u64::from(place.stored)
            } else {
                0
            };
            self.put(
                keys.chunk(&id),
                ChunkRow {
                    place,
                    level,
                    references,
                    idle_since,
                },
            );
        }
        self.head.live_bytes = counted.values().map(|(_, live)| live).sum();
        self.apply().await;
        for (id, (chunks, live_bytes)) in counted {
            let key = keys.segment(id);
            let found = self.context.catalog.get_all(&key).await.unwrap().unwrap();
            let row: SegmentRow = row::decode(&key, &found.value).unwrap();
            self.put(
                key,
                SegmentRow {
                    chunks,
                    live_bytes,
                    ..row
                },
            );
        }
        self.apply().await;
    }
}

fn noise(seed: u64, bytes: usize) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    let mut out = vec![0; bytes];
    hasher.finalize_xof().fill(&mut out);
    out.into()
}

async fn people(maker: &mut Maker) {
    let keys = maker.context.catalog_keys.clone();
    let row = VolumeRow {
        name: "test".to_owned(),
        created: time(1),
        secret: SECRET,
        policy: Policy {
            indexed: ["colour".to_owned()].into(),
            ..Policy::default()
        },
    };
    maker.put(keys.volume(), row.clone());
    let object = row
        .encode_object(maker.context.data_keys.volume_id())
        .unwrap();
    let key = maker.context.data_keys.volume();
    maker
        .context
        .data
        .put(&key, object, Expect::Absent)
        .await
        .unwrap();
    for epoch in [1, 2] {
        let writer = WriterRow {
            holder: "test".to_owned(),
            opened: time(1),
            lease_until: time(2),
            ended: epoch == 1,
        };
        maker.put(keys.writer(epoch), writer);
    }
}

async fn uploads(maker: &mut Maker, chunk: &Bytes) {
    let keys = maker.context.catalog_keys.clone();
    let upload = UploadRow {
        name: name("upload"),
        content_type: None,
        attributes: BTreeMap::new(),
        expires: None,
        begun: time(1),
        lease_until: time(2),
    };
    maker.put(keys.upload("some"), upload);
    let node = maker.node(chunk, 0, chunk.len() as u64);
    *maker.references.entry(node.id).or_default() += 1;
    let part = PartRow {
        size: node.bytes,
        digest: Digest::of(chunk),
        content: Content::Tree(vec![node]),
        written: time(3),
        inline: Bytes::new(),
    };
    maker.head.upload_bytes += part.size;
    let key = keys.part("some", 1);
    maker.batch.put(key.clone(), part.encode(&key), Expect::Any);
}

/// A volume with a row and an object of every kind.
async fn make() -> (VerifyContext, SealContext) {
    let mut maker = Maker::new();
    let keys = maker.context.catalog_keys.clone();
    people(&mut maker).await;
    let chunks: Vec<Bytes> = (0..6)
        .map(|seed| noise(seed, 3000 + seed as usize))
        .collect();
    let leaves: Vec<Node> = chunks[1..3]
        .iter()
        .map(|c| maker.node(c, 0, c.len() as u64))
        .collect();
    let list = Bytes::from(encode_list(&leaves));
    maker
        .segment(1, &[(0, &chunks[..2]), (0, &chunks[2..4])])
        .await;
    // A second copy of one chunk, and a chunk that nothing names.
    maker
        .segment(
            2,
            &[
                (1, std::slice::from_ref(&list)),
                (0, &chunks[4..]),
                (0, &chunks[..1]),
            ],
        )
        .await;
    for leaf in &leaves {
        *maker.references.entry(leaf.id).or_default() += 1;
    }
    let mut small = maker.entry(1, Content::Inline, b"few bytes");
    small.expires = Some(time(900));
    small
        .attributes
        .insert("colour".to_owned(), "red".to_owned());
    maker.put_entry("small", small);
    let nodes = vec![
        maker.node(&chunks[0], 0, chunks[0].len() as u64),
        maker.node(&chunks[3], 0, chunks[3].len() as u64),
    ];
    let whole = [&chunks[0][..], &chunks[3][..]].concat();
    let plain = maker.entry(2, Content::Tree(nodes), &whole);
    maker.put_entry("plain", plain);
    let whole = chunks[1..3].concat();
    let nodes = vec![maker.node(&list, 1, whole.len() as u64)];
    let deep = maker.entry(3, Content::Tree(nodes), &whole);
    maker.put_entry("deep", deep);
    let entry = maker.entry(2, Content::Inline, b"as it was");
    let history = HistoryRow {
        entry,
        superseded: 3,
        superseded_time: time(3),
    };
    maker.head.history_entries += 1;
    maker.head.history_bytes += history.entry.size;
    let key = keys.history(&name("small"), 2);
    maker
        .batch
        .put(key.clone(), history.encode(&key), Expect::Any);
    maker.put(keys.retention(3, 0), (name("small"), 2_u64));
    maker.put(
        keys.snapshot(&name("pin")),
        SnapshotRow {
            sequence: 2,
            time: time(2),
            created: time(3),
        },
    );
    maker.head.snapshot_last = 2;
    uploads(&mut maker, &chunks[4]).await;
    maker.finish().await;
    let context = maker.context.clone();
    let sealing = SealContext {
        env: context.env.clone(),
        catalog: Arc::clone(&context.catalog),
        data: Arc::clone(&context.data),
        catalog_keys: context.catalog_keys.clone(),
        data_keys: context.data_keys.clone(),
        epoch: 1,
        compression: Compression::Lz4,
    };
    checkpoint(&sealing).await.unwrap();
    // One commit behind the checkpoint is sealed, one is not.
    for (text, seal_it) in [("sealed", true), ("open", false)] {
        let version = maker.head.sequence + 1;
        let entry = maker.entry(version, Content::Inline, text.as_bytes());
        maker.put_entry(text, entry);
        maker.apply().await;
        if seal_it {
            seal(&sealing).await.unwrap();
        }
    }
    (context, sealing)
}

async fn check(context: &VerifyContext, repair: bool) -> Report {
    let options = VerifyOptions {
        repair,
        ..VerifyOptions::default()
    };
    verify(context, options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_volume_is_clean() {
    let (context, _) = make().await;
    let report = check(&context, false).await;
    assert!(report.is_clean(), "{report:#?}");
    assert!(report.findings.is_empty(), "{report:#?}");
    let counts = report.counts;
    assert_eq!((counts.segments, counts.frames, counts.chunks), (2, 5, 7));
    assert_eq!(
        (counts.entries_read, counts.checkpoints, counts.log_commits),
        (7, 1, 4)
    );
    assert!(
        counts.garbage_bytes > 3000 && counts.garbage_bytes < 3200,
        "{counts:?}"
    );
}

/// Every row or object of a backend.
async fn everything(backend: &Arc<dyn Backend>) -> Vec<(Key, Bytes)> {
    let rows = backend.list_all("", true).await.unwrap();
    rows.into_iter()
        .map(|row| (row.key, row.object.unwrap().value))
        .collect()
}

/// Puts a backend back as it was.
async fn restore(backend: &Arc<dyn Backend>, was: &[(Key, Bytes)]) {
    for (key, bytes) in everything(backend).await {
        if !was.contains(&(key.clone(), bytes)) {
            backend.delete(&key, Expect::Any).await.unwrap();
        }
    }
    for (key, bytes) in was {
        backend.put(key, bytes.clone(), Expect::Any).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flip_and_cut_is_reported() {
    let (context, _) = make().await;
    for backend in [&context.catalog, &context.data] {
        for (key, whole) in everything(backend).await {
            let mut damages: Vec<Bytes> = vec![whole.slice(..whole.len() - 1), Bytes::new()];
            for position in [0, 1, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
                let mut flipped = whole.to_vec();
                flipped[position] ^= 0x10;
                damages.push(flipped.into());
            }
            for damaged in damages {
                backend
                    .put(&key, damaged.clone(), Expect::Any)
                    .await
                    .unwrap();
                let report = match verify(&context, VerifyOptions::default()).await {
                    Ok(report) => report,
                    // A flip of the version looks like a newer program's frame.
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                        continue;
                    }
                };
                assert!(!report.is_clean(), "{key} {}", damaged.len());
            }
            backend.put(&key, whole, Expect::Any).await.unwrap();
        }
    }
    assert!(check(&context, false).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_deletion_and_swap_is_reported() {
    let (context, _) = make().await;
    for backend in [&context.catalog, &context.data] {
        let all = everything(backend).await;
        for (index, (key, whole)) in all.iter().enumerate() {
            let other = &all[(index + 1) % all.len()].1;
            backend.put(key, other.clone(), Expect::Any).await.unwrap();
            let report = check(&context, false).await;
            assert!(!report.is_clean(), "swapped {key}");
            backend.delete(key, Expect::Any).await.unwrap();
            // Nothing else tells that a snapshot or a writer was there, and the front of the
            // sealed log looks as if pruned.
            let silent = ["/00/p/", "/00/w/", "/00/l/0000000000000001"];
            let silent = silent.iter().any(|part| key.as_str().contains(part));
            let report = check(&context, false).await;
            assert_eq!(report.is_clean(), silent, "deleted {key}: {report:#?}");
            backend.put(key, whole.clone(), Expect::Any).await.unwrap();
        }
    }
    assert!(check(&context, false).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_rows_and_objects_and_orphans_are_named() {
    let (context, _) = make().await;
    let row = Key::parse(format!("{}z/what", context.catalog_keys.root())).unwrap();
    context
        .catalog
        .put(&row, Bytes::from("x"), Expect::Absent)
        .await
        .unwrap();
    let object = Key::parse(format!("{}notes.txt", context.data_keys.root())).unwrap();
    context
        .data
        .put(&object, Bytes::from("x"), Expect::Absent)
        .await
        .unwrap();
    let orphan = context.data_keys.segment(SegmentId {
        epoch: 2,
        counter: 9,
    });
    context
        .data
        .put(&orphan, Bytes::from("x"), Expect::Absent)
        .await
        .unwrap();
    let report = check(&context, true).await;
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|f| (f.problem, f.key.as_str()))
        .collect();
    let expected = [
        (Problem::DamagedRow, row.as_str()),
        (Problem::Orphan, orphan.as_str()),
        (Problem::ForeignObject, object.as_str()),
    ];
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_mended_from_another_copy() {
    let (context, _) = make().await;
    let key = context.data_keys.segment(SegmentId {
        epoch: 1,
        counter: 1,
    });
    let mut bytes = context
        .data
        .get_all(&key)
        .await
        .unwrap()
        .unwrap()
        .value
        .to_vec();
    bytes[200] ^= 1;
    context
        .data
        .put(&key, bytes.into(), Expect::Any)
        .await
        .unwrap();
    let report = check(&context, true).await;
    let lost: Vec<_> = report
        .findings
        .iter()
        .filter(|f| f.problem == Problem::LostChunk)
        .collect();
    // The frame holds two chunks, of which one has a copy elsewhere.
    assert_eq!(lost.iter().filter(|f| f.repaired).count(), 1, "{report:#?}");
    assert_eq!(lost.len(), 2);
    let unreadable = |report: &Report| -> Vec<String> {
        let found = report
            .findings
            .iter()
            .filter(|f| f.problem == Problem::UnreadableEntry);
        found
            .map(|f| f.key.rsplit_once('/').unwrap().1.to_owned())
            .collect()
    };
    assert_eq!(unreadable(&report), ["deep"]);
    let again = check(&context, false).await;
    assert!(
        !again.findings.iter().any(|f| f.problem == Problem::Counter),
        "{again:#?}"
    );
    assert_eq!(unreadable(&again), ["deep"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_and_counters_are_mended_by_counting() {
    let (context, _) = make().await;
    let keys = &context.catalog_keys;
    let was = everything(&context.catalog).await;
    let class = |key: &Key| key.as_str().as_bytes()[keys.root().len()];
    // Each index row deleted, and for each another that points at nothing.
    for (key, _) in was.iter().filter(|(key, _)| b"iax".contains(&class(key))) {
        context.catalog.delete(key, Expect::Any).await.unwrap();
        let wrong = Key::parse(key.as_str().replace("/00000000", "/10000000")).unwrap();
        let wrong = if wrong == *key {
            Key::parse(format!("{key}s")).unwrap()
        } else {
            wrong
        };
        context
            .catalog
            .put(&wrong, row::encode(&wrong, &()), Expect::Any)
            .await
            .unwrap();
    }
    for (key, bytes) in &was {
        let wrong = match class(key) {
            b'c' => {
                let chunk: ChunkRow = row::decode(key, bytes).unwrap();
                if chunk.references == 0 {
                    continue;
                }
                row::encode(
                    key,
                    &ChunkRow {
                        references: chunk.references + 5,
                        ..chunk
                    },
                )
            }
            b's' => {
                let segment: SegmentRow = row::decode(key, bytes).unwrap();
                row::encode(
                    key,
                    &SegmentRow {
                        live_bytes: 1,
                        chunks: 99,
                        ..segment
                    },
                )
            }
            b'm' if *key == keys.head() => {
                let head: Head = row::decode(key, bytes).unwrap();
                let (next_epoch, bytes) = (0, head.bytes + 1);
                row::encode(
                    key,
                    &Head {
                        next_epoch,
                        bytes,
                        entries: 0,
                        ..head
                    },
                )
            }
            _ => continue,
        };
        context.catalog.put(key, wrong, Expect::Any).await.unwrap();
    }
    let report = check(&context, true).await;
    assert!(report.findings.len() > 10, "{report:#?}");
    assert!(
        report.findings.iter().all(|found| found.repaired),
        "{report:#?}"
    );
    assert_eq!(everything(&context.catalog).await, was);
    assert!(check(&context, false).await.findings.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_entry_is_restored_from_checkpoint_and_log() {
    let (context, _) = make().await;
    let was = everything(&context.catalog).await;
    for text in ["small", "plain", "deep", "sealed", "open"] {
        let key = context.catalog_keys.entry(&name(text));
        context
            .catalog
            .put(&key, Bytes::from("nonsense"), Expect::Any)
            .await
            .unwrap();
    }
    let report = check(&context, true).await;
    let damaged = report
        .findings
        .iter()
        .filter(|f| f.problem == Problem::DamagedRow);
    assert!(damaged.clone().all(|found| found.repaired), "{report:#?}");
    assert_eq!(damaged.count(), 5);
    assert_eq!(everything(&context.catalog).await, was);
    assert!(check(&context, false).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_in_between_raise_no_false_alarm() {
    let (context, _) = make().await;
    let was = everything(&context.catalog).await;
    restore(&context.catalog, &was).await;
    // Every progress call commits: the head's revision never stays the same.
    let (catalog, keys) = (Arc::clone(&context.catalog), context.catalog_keys.clone());
    let progress: Arc<ProgressFn> = Arc::new(move |_: Stage, _: &Counts| {
        let key = keys.head();
        // Memory answers at once.
        let head = catalog
            .get_all(&key)
            .now_or_never()
            .unwrap()
            .unwrap()
            .unwrap();
        catalog
            .put(&key, head.value, Expect::Any)
            .now_or_never()
            .unwrap()
            .unwrap();
    });
    let options = VerifyOptions {
        progress: Some(progress),
        ..VerifyOptions::default()
    };
    let report = verify(&context, options).await.unwrap();
    let problems: Vec<Problem> = report.findings.iter().map(|found| found.problem).collect();
    assert_eq!(problems, [Problem::Busy], "{report:#?}");
    assert!(report.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_with_what_was_found() {
    let (context, _) = make().await;
    let options = VerifyOptions::default();
    options.cancel.store(true, Ordering::Relaxed);
    let report = verify(&context, options).await.unwrap();
    assert!(!report.complete && !report.is_clean());
    assert!(
        serde_json::to_string(&report)
            .unwrap()
            .contains("\"complete\":false")
    );
}
