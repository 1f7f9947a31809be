//! Makes a small volume by hand, with a row and an object of every kind, out of the format's own
//! encodings: for the tests of verifying, and for the golden volume.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{BackendExt, Batch, Expect, Key, Memory, Timestamp};
use holdall_volume::checkpoint::checkpoint;
use holdall_volume::format::chunk::{
    ChunkId, ChunkRow, ChunkSecret, Content, Digest, Node, Place, encode_list,
};
use holdall_volume::format::entry::{Entry, Name};
use holdall_volume::format::frame::{self, FrameKind, FramePlace};
use holdall_volume::format::head::{Head, WriterRow};
use holdall_volume::format::history::{HistoryRow, SnapshotRow};
use holdall_volume::format::keys::{CatalogKeys, DataKeys, VolumeId};
use holdall_volume::format::log::{self as log_format, Change, Commit};
use holdall_volume::format::policy::{Compression, Policy, VolumeRow};
use holdall_volume::format::row;
use holdall_volume::format::segment::{
    Directory, DirectoryFrame, Replica, ReplicaState, SegmentId, SegmentRow, SegmentState,
    encode_footer,
};
use holdall_volume::format::upload::{PartRow, UploadRow};
use holdall_volume::seal::{SealContext, seal};
use holdall_volume::verify::VerifyContext;

fn chunk_frame(context: &VerifyContext, id: SegmentId, at: u32) -> FramePlace {
    FramePlace {
        kind: FrameKind::Chunks,
        volume: context.data_keys.volume_id(),
        owner: (id.epoch, id.counter),
        position: at,
    }
}

pub const SECRET: ChunkSecret = ChunkSecret([9; 32]);

/// A volume that is being made.
pub struct Maker {
    pub context: VerifyContext,
    pub batch: Batch,
    pub head: Head,
    pub references: BTreeMap<ChunkId, u64>,
    pub chunks: BTreeMap<ChunkId, (Place, u8)>,
    pub commits: Vec<Commit>,
}

fn time(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

impl Maker {
    pub fn new() -> Self {
        let volume = VolumeId::from_random([8; 12]);
        let context = VerifyContext {
            env: holdall_runtime::env(),
            catalog: Arc::new(Memory::new()),
            data: Arc::new(Memory::new()),
            catalog_keys: CatalogKeys::new(volume),
            data_keys: DataKeys::new(volume),
        };
        let (references, chunks) = (BTreeMap::new(), BTreeMap::new());
        let head = Head { next_epoch: 3, ..Head::default() };
        Self { context, batch: Batch::new(), head, references, chunks, commits: Vec::new() }
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
            let place = chunk_frame(&self.context, id, at);
            let lengths: Vec<u32> = chunks.iter().map(|chunk| chunk.len() as u32).collect();
            let raw = chunks.concat();
            let compression = Compression::Zstd { level: 1 };
            let bytes =
                frame::encode(place, *level, &lengths, &raw, compression, &mut out).unwrap();
            let mut frame = DirectoryFrame { at, bytes, level: *level, chunks: Vec::new() };
            let mut from = 0;
            for chunk in *chunks {
                let chunk_id = ChunkId::new(&SECRET, &Digest::of(chunk), *level);
                let length = chunk.len() as u32;
                let share = u64::from(bytes) * u64::from(length) / raw.len() as u64;
                let place = Place {
                    segment: id,
                    frame_at: at,
                    frame_bytes: bytes,
                    at: from,
                    bytes: length,
                    stored: share as u32,
                };
                from += length;
                frame.chunks.push((chunk_id, length));
                self.chunks.entry(chunk_id).or_insert((place, *level));
            }
            directory.frames.push(frame);
        }
        let at = out.len() as u32;
        let kind = FrameKind::Directory;
        let place = FramePlace { kind, ..chunk_frame(&self.context, id, at) };
        let raw = postcard::to_allocvec(&directory).unwrap();
        let bytes = frame::encode(place, 0, &[], &raw, Compression::None, &mut out).unwrap();
        out.extend_from_slice(&encode_footer(at, bytes));
        let key = self.context.data_keys.segment(id);
        self.segment_row(id, out.len() as u64);
        self.context.data.put(&key, out.into(), Expect::Absent).await.unwrap();
        id
    }

    /// Writes the row of a segment of so many bytes.
    pub fn segment_row(&mut self, id: SegmentId, bytes: u64) {
        self.head.segments += 1;
        self.head.segment_bytes += bytes;
        let row = SegmentRow {
            created: time(1),
            bytes,
            live_bytes: 0,
            chunks: 0,
            tier: 0,
            key_id: 0,
            state: SegmentState::Live,
            replicas: vec![Replica { backend: 0, state: ReplicaState::Healthy, verified: None }],
        };
        self.put(self.context.catalog_keys.segment(id), row);
    }

    pub fn entry(&mut self, version: u64, content: Content, whole: &[u8]) -> Entry {
        for node in content.nodes() {
            *self.references.entry(node.id).or_default() += 1;
        }
        let inline = if content == Content::Inline { whole.to_vec() } else { Vec::new() };
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

    pub fn put_entry(&mut self, text: &str, entry: Entry) {
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
        self.commits.push(Commit { sequence, time: time(sequence), epoch: 1, changes });
        let keys = &self.context.catalog_keys;
        let (log, inline) = (keys.log(sequence), keys.unsealed(sequence));
        let commits = &self.commits[self.commits.len() - 1..];
        self.batch.put(log.clone(), log_format::encode_commits(&log, commits), Expect::Any);
        self.batch.put(inline.clone(), log_format::encode_inline(&inline, commits), Expect::Any);
    }

    fn node(&self, chunk: &[u8], level: u8, bytes: u64) -> Node {
        Node { id: ChunkId::new(&SECRET, &Digest::of(chunk), level), bytes, level }
    }

    async fn apply(&mut self) {
        let keys = self.context.catalog_keys.clone();
        self.put(keys.head(), self.head.clone());
        let batch = std::mem::take(&mut self.batch);
        self.context.catalog.apply(batch).await.unwrap();
    }

    /// Writes chunk rows, and what is counted.
    pub async fn finish(&mut self) {
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
            *live += if references > 0 { u64::from(place.stored) } else { 0 };
            self.put(keys.chunk(&id), ChunkRow { place, level, references, idle_since });
        }
        self.head.live_bytes = counted.values().map(|(_, live)| live).sum();
        self.apply().await;
        for (id, (chunks, live_bytes)) in counted {
            let key = keys.segment(id);
            let found = self.context.catalog.get_all(&key).await.unwrap().unwrap();
            let row: SegmentRow = row::decode(&key, &found.value).unwrap();
            self.put(key, SegmentRow { chunks, live_bytes, ..row });
        }
        self.apply().await;
    }
}

pub fn noise(seed: u64, bytes: usize) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    let mut out = vec![0; bytes];
    hasher.finalize_xof().fill(&mut out);
    out.into()
}

pub async fn people(maker: &mut Maker) {
    let keys = maker.context.catalog_keys.clone();
    let policy = Policy { indexed: ["colour".to_owned()].into(), ..Policy::default() };
    let row = VolumeRow::new("test", time(1), SECRET, policy);
    maker.put(keys.volume(), row.clone());
    let object = row.encode_object(maker.context.data_keys.volume_id()).unwrap();
    let key = maker.context.data_keys.volume();
    maker.context.data.put(&key, object, Expect::Absent).await.unwrap();
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

fn entries(maker: &mut Maker, chunks: &[Bytes], list: &Bytes) {
    let mut small = maker.entry(1, Content::Inline, b"few bytes");
    small.expires = Some(time(900));
    small.attributes.insert("colour".to_owned(), "red".to_owned());
    maker.put_entry("small", small);
    let nodes = vec![
        maker.node(&chunks[0], 0, chunks[0].len() as u64),
        maker.node(&chunks[3], 0, chunks[3].len() as u64),
    ];
    let whole = [&chunks[0][..], &chunks[3][..]].concat();
    let plain = maker.entry(2, Content::Tree(nodes), &whole);
    maker.put_entry("plain", plain);
    let whole = chunks[1..3].concat();
    let nodes = vec![maker.node(list, 1, whole.len() as u64)];
    let deep = maker.entry(3, Content::Tree(nodes), &whole);
    maker.put_entry("deep", deep);
}

/// A superseded version and a snapshot.
fn past(maker: &mut Maker) {
    let keys = maker.context.catalog_keys.clone();
    let entry = maker.entry(2, Content::Inline, b"as it was");
    let history = HistoryRow { entry, superseded: 3, superseded_time: time(3) };
    maker.head.history_entries += 1;
    maker.head.history_bytes += history.entry.size;
    let key = keys.history(&name("small"), 2);
    maker.batch.put(key.clone(), history.encode(&key), Expect::Any);
    maker.put(keys.retention(3, 0), (name("small"), 2_u64));
    maker.put(
        keys.snapshot(&name("pin")),
        SnapshotRow { sequence: 2, time: time(2), created: time(3) },
    );
    maker.head.snapshot_last = 2;
}

/// A volume with a row and an object of every kind.
pub async fn make() -> (VerifyContext, SealContext) {
    let mut maker = Maker::new();
    people(&mut maker).await;
    let chunks: Vec<Bytes> = (0..6).map(|seed| noise(seed, 3000 + seed as usize)).collect();
    let leaves: Vec<Node> = chunks[1..3].iter().map(|c| maker.node(c, 0, c.len() as u64)).collect();
    let list = Bytes::from(encode_list(&leaves));
    maker.segment(1, &[(0, &chunks[..2]), (0, &chunks[2..4])]).await;
    // A second copy of one chunk, and a chunk that nothing names.
    maker
        .segment(2, &[(1, std::slice::from_ref(&list)), (0, &chunks[4..]), (0, &chunks[..1])])
        .await;
    for leaf in &leaves {
        *maker.references.entry(leaf.id).or_default() += 1;
    }
    entries(&mut maker, &chunks, &list);
    past(&mut maker);
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
        let mut entry = maker.entry(version, Content::Inline, text.as_bytes());
        if seal_it {
            // So much that the row in the catalog's log is compressed.
            entry.attributes.insert("note".to_owned(), "again ".repeat(800));
        }
        maker.put_entry(text, entry);
        maker.apply().await;
        if seal_it {
            seal(&sealing).await.unwrap();
        }
    }
    (context, sealing)
}
