//! Tests of the data path, and what they share.
#![allow(clippy::unwrap_used, reason = "tests")]

mod dedup;
mod failure;
mod flush;
mod model;
mod round_trip;
mod segments;
mod simulated;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use holdall_core::{Backend, BackendExt, Env, Error, ErrorKind, Expect, Memory, Result, Timestamp};

use super::{
    DataContext, EntryHint, PackSettings, Packer, ReadSettings, Reader, Source, Stored, tree_size,
};
use crate::format::chunk::{ChunkRow, ChunkSecret, Digest};
use crate::format::entry::Name;
use crate::format::keys::{CatalogKeys, DataKeys, VolumeId};
use crate::format::policy::Compression;
use crate::format::row;

pub(super) const KIB: usize = 1 << 10;
pub(super) const MIB: usize = 1 << 20;
pub(super) const ZSTD: Compression = Compression::Zstd { level: 1 };

pub(super) fn settings() -> PackSettings {
    PackSettings { segment_bytes: 4 << 20, grace: Duration::from_secs(3600) }
}

/// A volume's data path, with a commit that does as little as it must.
pub(super) struct Bed {
    pub context: DataContext,
    pub packer: Arc<Packer>,
    pub reader: Reader,
}

impl Bed {
    pub(super) fn new(env: Env) -> Self {
        Self::on(env, Arc::new(Memory::new()), settings())
    }

    pub(super) fn on(env: Env, data: Arc<dyn Backend>, settings: PackSettings) -> Self {
        let volume = VolumeId::from_random([9; 12]);
        let context = DataContext {
            env,
            catalog: Arc::new(Memory::new()),
            data,
            spread: None,
            keys: CatalogKeys::new(volume),
            data_keys: DataKeys::new(volume),
            secret: ChunkSecret([7; 32]),
        };
        let packer = Packer::new(context.clone(), 5, settings);
        let reader = Reader::new(context.clone(), ReadSettings::default());
        Self { context, packer, reader }
    }

    pub(super) async fn store(&self, bytes: impl Into<Bytes>) -> Result<Stored> {
        self.packer.store(super::source_of(bytes.into()), ZSTD, None).await
    }

    pub(super) async fn store_committed(&self, bytes: impl Into<Bytes>) -> Stored {
        let stored = self.store(bytes).await.unwrap();
        self.commit(&stored).await;
        stored
    }

    /// Writes the rows of new chunks, and checks that all others are there.
    pub(super) async fn commit(&self, stored: &Stored) {
        for chunk in &stored.chunks {
            let key = self.context.keys.chunk(&chunk.id);
            let known = self.context.catalog.get_all(&key).await.unwrap().is_some();
            let Some(place) = chunk.place else {
                assert!(known, "a chunk without a place must be in the catalog");
                continue;
            };
            assert!(stored.segments.iter().any(|segment| segment.id == place.segment));
            if !known {
                let (level, references, idle_since) = (chunk.level, 1, None);
                self.put_row(&chunk.id, &ChunkRow { place, level, references, idle_since }).await;
            }
        }
        for segment in &stored.segments {
            let key = self.context.data_keys.segment(segment.id);
            let found = self.context.data.get_all(&key).await.unwrap().unwrap();
            assert_eq!(found.size, segment.bytes);
        }
    }

    pub(super) async fn put_row(&self, id: &crate::format::chunk::ChunkId, row: &ChunkRow) {
        let key = self.context.keys.chunk(id);
        let value = row::encode(&key, row);
        self.context.catalog.put(&key, value, Expect::Any).await.unwrap();
    }

    pub(super) async fn read(&self, stored: &Stored) -> Result<Bytes> {
        self.reader.read(stored.nodes.clone(), 0..u64::MAX).await
    }

    /// Checks that what is stored is exactly this.
    pub(super) async fn check(&self, stored: &Stored, bytes: &[u8]) {
        assert_eq!((stored.size, stored.digest), (bytes.len() as u64, Digest::of(bytes)));
        assert_eq!(tree_size(&stored.nodes), stored.size);
        assert!(self.read(stored).await.unwrap() == bytes, "the bytes differ");
    }
}

/// Bytes that do not compress and hold nothing twice.
pub(super) fn noise(seed: u64, bytes: usize) -> Bytes {
    let mut out = vec![0; bytes];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut out);
    Bytes::from(out)
}

/// Bytes that compress.
pub(super) fn text(seed: u64, bytes: usize) -> Bytes {
    let mut out = Vec::with_capacity(bytes + 64);
    let mut line = 0_u64;
    while out.len() < bytes {
        let word = seed.wrapping_mul(31).wrapping_add(line * line);
        out.extend_from_slice(format!("line {line} of {seed} says {word:x}\n").as_bytes());
        line += 1;
    }
    out.truncate(bytes);
    Bytes::from(out)
}

/// A source that gives these bytes in pieces of odd sizes.
pub(super) fn in_pieces(bytes: Bytes, mut piece: usize) -> Source {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        pieces.push(Ok(rest.split_to(piece.min(rest.len()))));
        pieces.push(Ok(Bytes::new()));
        piece = (piece * 7 + 13) % 300_007 + 1;
    }
    Box::pin(stream::iter(pieces))
}

pub(super) fn hint(name: &str) -> EntryHint {
    EntryHint {
        name: Name::parse(name).unwrap(),
        content_type: Some("text/plain".to_owned()),
        attributes: BTreeMap::from([("mode".to_owned(), "644".to_owned())]),
        expires: Some(Timestamp::from_micros(77)),
    }
}

pub(super) fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    result.err().map(|e| e.kind())
}
