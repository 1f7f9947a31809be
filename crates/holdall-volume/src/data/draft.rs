//! What a store has come across so far, and how it becomes a [`Stored`].

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{Result, Timestamp};

use super::block::{Order, Processed, process};
use super::pack::Packer;
use super::pack::pending::Placed;
use super::{EntryHint, StagedChunk, StagedSegment, Stored, compute, tree};
use crate::format::chunk::{ChunkId, Content, Digest, Node, Place};
use crate::format::entry::Entry;
use crate::format::policy::Compression;
use crate::format::segment::{DirectoryEntry, SegmentId};

/// How many lists, of at most about 200 KiB, are worked on at once.
const LISTS_AT_ONCE: usize = 16;

/// The chunks that a store has come across, and where they are.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    places: BTreeMap<ChunkId, Option<Placed>>,
}

impl Draft {
    /// Appends a block's new frames and remembers where all its chunks are.
    pub(crate) async fn pack(
        &mut self,
        packer: &Arc<Packer>,
        block: Processed,
        entries: Vec<DirectoryEntry>,
    ) -> Result<()> {
        self.places.extend(block.known);
        let placed = packer.append(block.frames, entries).await?;
        self.places.extend(placed.into_iter().map(|(id, placed)| (id, Some(placed))));
        drop(block.permit);
        Ok(())
    }

    /// Folds the leaves of a value, if they are many, and packs the lists that this makes. A hint
    /// goes to the directory of the segment that takes the last list.
    pub(crate) async fn fold(
        &mut self,
        packer: &Arc<Packer>,
        leaves: Vec<Node>,
        digest: Digest,
        compression: Compression,
        hint: Option<EntryHint>,
    ) -> Result<Packed> {
        let (secret, size) = (packer.context().secret, tree::size(&leaves));
        let work = leaves.len() * std::mem::size_of::<Node>();
        let (leaves, nodes, lists) = compute(&packer.context().env, work, move || {
            let (nodes, lists) = tree::fold(&secret, leaves.clone());
            (leaves, nodes, lists)
        })
        .await?;
        for level in lists.chunk_by(|a, b| a.node.level == b.node.level) {
            for some in level.chunks(LISTS_AT_ONCE) {
                let order = Order { level: some[0].node.level, compression, copy: false };
                let bytes = some.iter().map(|list| list.bytes.clone()).collect();
                let block = process(Arc::clone(packer), bytes, order, None).await?;
                self.pack(packer, block, Vec::new()).await?;
            }
        }
        if let Some(hint) = hint {
            let entry = directory_entry(hint, nodes.clone(), size, digest);
            packer.append(Vec::new(), vec![entry]).await?;
        }
        Ok(Packed { nodes, lists, leaves, size, digest })
    }

    /// The places of all chunks that were packed.
    pub(crate) fn places(&self) -> impl Iterator<Item = (ChunkId, Place)> {
        self.places.iter().filter_map(|(id, placed)| Some((*id, placed.as_ref()?.place)))
    }

    /// Has every segment written that has one of the chunks.
    pub(crate) async fn flush(
        &self,
        packer: &Arc<Packer>,
    ) -> Result<BTreeMap<SegmentId, StagedSegment>> {
        let placed = self.places.values().flatten();
        let segments: BTreeMap<SegmentId, _> =
            placed.map(|placed| (placed.segment.id(), placed.segment.clone())).collect();
        let staged = packer.flush(segments.into_values().collect()).await?;
        Ok(staged.into_iter().map(|segment| (segment.id, segment)).collect())
    }
}

/// A value whose chunks are packed.
#[derive(Debug)]
pub(crate) struct Packed {
    nodes: Vec<Node>,
    lists: Vec<tree::List>,
    leaves: Vec<Node>,
    size: u64,
    digest: Digest,
}

impl Packed {
    pub(crate) fn stored(
        self,
        draft: &Draft,
        durable: &BTreeMap<SegmentId, StagedSegment>,
    ) -> Stored {
        let mut chunks = Vec::with_capacity(self.leaves.len() + self.lists.len());
        let mut seen = HashSet::with_capacity(chunks.capacity());
        let lists = self.lists.into_iter().map(|list| (list.node, list.nodes));
        for (node, children) in self.leaves.iter().map(|node| (*node, Vec::new())).chain(lists) {
            // Nodes of earlier parts are not in the draft: they were staged with their part.
            let Some(found) = draft.places.get(&node.id) else {
                continue;
            };
            if seen.insert(node.id) {
                let place = found.as_ref().map(|placed| placed.place);
                chunks.push(StagedChunk { id: node.id, level: node.level, place, children });
            }
        }
        let mut named: Vec<SegmentId> =
            chunks.iter().filter_map(|chunk| Some(chunk.place?.segment)).collect();
        named.sort_unstable();
        named.dedup();
        let segments = named.iter().filter_map(|id| durable.get(id).cloned()).collect();
        Stored { nodes: self.nodes, size: self.size, digest: self.digest, chunks, segments }
    }
}

/// What a directory says of an entry.
pub(crate) fn directory_entry(
    hint: EntryHint,
    nodes: Vec<Node>,
    size: u64,
    digest: Digest,
) -> DirectoryEntry {
    let entry = Entry {
        version: 0,
        written: Timestamp::EPOCH,
        size,
        digest,
        content_type: hint.content_type,
        attributes: hint.attributes,
        expires: hint.expires,
        content: Content::Tree(nodes),
        inline: Bytes::new(),
    };
    DirectoryEntry { name: hint.name, entry }
}

pub(crate) fn nodes_of(block: &Processed, level: u8) -> impl Iterator<Item = Node> {
    block.chunks.iter().map(move |chunk| Node { id: chunk.id, bytes: chunk.bytes, level })
}
