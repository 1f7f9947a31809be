//! The ways to store: one source, many values at once, a tree of parts, copies of chunks.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use holdall_core::Result;

use super::block::{Order, Processed, process};
use super::cut::{CHUNK_BYTES_MIN, Source, cut_all};
use super::draft::{Draft, Packed, directory_entry, nodes_of};
use super::pack::Packer;
use super::{EntryHint, Ingest, StagedSegment, Stored, compute};
use crate::format::chunk::{ChunkId, Digest, Node, Place, ROOT_NODES_MAX};
use crate::format::policy::Compression;
use crate::format::segment::DirectoryEntry;

/// How many bytes of many values make a block.
const BLOCK_BYTES: usize = 2 << 20;

/// How many blocks of many values are worked on at once, if there is memory.
const LANES: usize = 4;

impl Packer {
    /// Stores a source: when this returns, its bytes are durable.
    ///
    /// # Errors
    /// The source's and the backends'. Nothing that was written is named then.
    pub(crate) async fn store(
        self: &Arc<Self>,
        source: Source,
        compression: Compression,
        hint: Option<EntryHint>,
    ) -> Result<Stored> {
        let mut ingest = Ingest::new(Arc::clone(self), source, compression, hint);
        Ok(ingest.next_part(u64::MAX).await?.unwrap_or_else(Stored::empty))
    }

    /// Stores many values, several small ones to a frame in the order given, with one flush for
    /// all. Returns them in this order.
    ///
    /// # Errors
    /// As [`store`](Self::store).
    pub(crate) async fn store_many(
        self: &Arc<Self>,
        values: Vec<(Option<EntryHint>, Bytes)>,
        compression: Compression,
    ) -> Result<Vec<Stored>> {
        let _base = self.blocks.acquire(1).await?;
        let extra: Vec<_> = (1..LANES).map_while(|_| self.blocks.try_acquire(1)).collect();
        let mut hints = Vec::with_capacity(values.len());
        let mut sizes = Vec::with_capacity(values.len());
        let mut bytes = VecDeque::with_capacity(values.len());
        for (hint, value) in values {
            hints.push(hint);
            sizes.push(value.len() as u64);
            bytes.push_back(value);
        }
        let mut many = Many { draft: Draft::default(), values: Vec::new(), hints };
        many.values.extend(sizes.into_iter().map(|size| Value { size, ..Value::default() }));
        let order = Order { level: 0, compression, copy: false };
        let mut blocks = blocks(Arc::clone(self), bytes)
            .map(|block| work(Arc::clone(self), block, order))
            .buffered(1 + extra.len())
            .boxed();
        while let Some(block) = blocks.next().await {
            many.take_in(self, block?).await?;
        }
        drop(blocks);
        many.finish(self, compression).await
    }

    /// Makes one tree of nodes that were stored before, such as those of an upload's parts in
    /// order. What is returned names the new list chunks only.
    ///
    /// # Errors
    /// As [`store`](Self::store).
    pub(crate) async fn join(
        self: &Arc<Self>,
        nodes: Vec<Node>,
        digest: Digest,
        compression: Compression,
        hint: Option<EntryHint>,
    ) -> Result<Stored> {
        let mut draft = Draft::default();
        let packed = draft.fold(self, nodes, digest, compression, hint).await?;
        let durable = draft.flush(self).await?;
        Ok(packed.stored(&draft, &durable))
    }

    /// Stores copies of chunks of one level, whether they are stored already or not: so are the
    /// living ones of a segment brought elsewhere.
    ///
    /// # Errors
    /// As [`store`](Self::store).
    pub(crate) async fn copy_chunks(
        self: &Arc<Self>,
        level: u8,
        chunks: Vec<Bytes>,
        compression: Compression,
    ) -> Result<(Vec<(ChunkId, Place)>, Vec<StagedSegment>)> {
        let permit = self.blocks.acquire(1).await?;
        let order = Order { level, compression, copy: true };
        let block = process(Arc::clone(self), chunks, order, Some(permit)).await?;
        let mut draft = Draft::default();
        draft.pack(self, block, Vec::new()).await?;
        let segments = draft.flush(self).await?.into_values().collect();
        Ok((draft.places().collect(), segments))
    }
}

/// Chunks of several values.
#[derive(Default)]
struct ManyBlock {
    /// The chunks, each with the number of its value.
    chunks: Vec<(usize, Bytes)>,
    /// The digests of values that are not one chunk.
    digests: Vec<(usize, Digest)>,
}

/// Cuts values, where they are large, and gathers their chunks into blocks.
fn blocks(packer: Arc<Packer>, values: VecDeque<Bytes>) -> impl Stream<Item = Result<ManyBlock>> {
    struct State {
        packer: Arc<Packer>,
        values: VecDeque<Bytes>,
        number: usize,
        chunks: VecDeque<(usize, Bytes)>,
    }
    let state = State { packer, values, number: 0, chunks: VecDeque::new() };
    stream::try_unfold(state, |mut state| async move {
        let mut block = ManyBlock::default();
        let mut bytes = 0;
        while bytes < BLOCK_BYTES {
            if let Some((number, chunk)) = state.chunks.pop_front() {
                bytes += chunk.len();
                block.chunks.push((number, chunk));
                continue;
            }
            let Some(value) = state.values.pop_front() else {
                break;
            };
            let number = state.number;
            state.number += 1;
            if value.len() <= CHUNK_BYTES_MIN {
                // A value without bytes has no chunk.
                state.chunks.extend((!value.is_empty()).then_some((number, value)));
                continue;
            }
            let env = state.packer.context().env.clone();
            let (chunks, digest) = compute(&env, value.len(), move || {
                let digest = Digest::of(&value);
                (cut_all(value), digest)
            })
            .await?;
            state.chunks.extend(chunks.into_iter().map(|chunk| (number, chunk)));
            block.digests.push((number, digest));
        }
        Ok((!block.chunks.is_empty()).then_some((block, state)))
    })
}

/// A block whose chunks are hashed, looked up and compressed.
struct Worked {
    numbers: Vec<usize>,
    digests: Vec<(usize, Digest)>,
    block: Processed,
}

async fn work(packer: Arc<Packer>, block: Result<ManyBlock>, order: Order) -> Result<Worked> {
    let block = block?;
    let (numbers, chunks) = block.chunks.into_iter().unzip();
    let processed = process(packer, chunks, order, None).await?;
    Ok(Worked { numbers, digests: block.digests, block: processed })
}

#[derive(Debug, Default)]
struct Value {
    size: u64,
    packed: u64,
    leaves: Vec<Node>,
    digest: Option<Digest>,
}

/// Many values that are being stored together.
#[derive(Debug)]
struct Many {
    draft: Draft,
    values: Vec<Value>,
    hints: Vec<Option<EntryHint>>,
}

impl Many {
    async fn take_in(&mut self, packer: &Arc<Packer>, worked: Worked) -> Result<()> {
        for (number, digest) in worked.digests {
            self.values[number].digest = Some(digest);
        }
        let mut entries: Vec<DirectoryEntry> = Vec::new();
        let nodes = nodes_of(&worked.block, 0).zip(&worked.block.chunks);
        for (number, (node, chunk)) in worked.numbers.into_iter().zip(nodes) {
            let value = &mut self.values[number];
            value.leaves.push(node);
            value.packed += node.bytes;
            let digest = *value.digest.get_or_insert(chunk.digest);
            if value.packed == value.size && value.leaves.len() <= ROOT_NODES_MAX {
                let hint = self.hints[number].take();
                let (nodes, size) = (value.leaves.clone(), value.size);
                entries.extend(hint.map(|hint| directory_entry(hint, nodes, size, digest)));
            }
        }
        self.draft.pack(packer, worked.block, entries).await
    }

    async fn finish(
        mut self,
        packer: &Arc<Packer>,
        compression: Compression,
    ) -> Result<Vec<Stored>> {
        let mut packed: Vec<Option<Packed>> = Vec::with_capacity(self.values.len());
        for (value, hint) in std::mem::take(&mut self.values).into_iter().zip(self.hints) {
            packed.push(match value.digest {
                None => None,
                Some(digest) => {
                    let leaves = value.leaves;
                    Some(self.draft.fold(packer, leaves, digest, compression, hint).await?)
                }
            });
        }
        let durable = self.draft.flush(packer).await?;
        let stored = |packed: Packed| packed.stored(&self.draft, &durable);
        Ok(packed.into_iter().map(|packed| packed.map_or_else(Stored::empty, stored)).collect())
    }
}
