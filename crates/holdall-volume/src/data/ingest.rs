//! Storing: a source is cut, its blocks are worked on side by side and packed in order, and what
//! came of it is put together.

use std::sync::Arc;

use futures::future::try_join;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt, select_biased};
use holdall_core::Result;

use super::block::{Order, Processed, process};
use super::cut::{Block, CHUNK_BYTES_MIN, Cutter, Source};
use super::draft::{Draft, directory_entry, nodes_of};
use super::pack::Packer;
use super::{EntryHint, Stored, tree};
use crate::format::chunk::{Digest, Node, ROOT_NODES_MAX};
use crate::format::policy::Compression;

/// How many blocks of one store may be worked on at once.
const LANES: usize = 3;

/// Stores a source part by part, so that what is stored can be committed in between.
#[derive(Debug)]
pub(crate) struct Ingest {
    packer: Arc<Packer>,
    cutter: Cutter,
    compression: Compression,
    /// Taken once it is written; only for a source that is one part.
    hint: Option<EntryHint>,
    /// The digest so far.
    digest: Digest,
}

impl Ingest {
    /// Nothing is read yet. A hint is used only if the first part is the last.
    pub(crate) fn new(
        packer: Arc<Packer>,
        source: Source,
        compression: Compression,
        hint: Option<EntryHint>,
    ) -> Self {
        let env = packer.context().env.clone();
        let cutter = Cutter::new(env, source, Arc::clone(&packer.chunk_buffers));
        Self { packer, cutter, compression, hint, digest: Digest::of(&[]) }
    }

    /// Stores the next bytes: about `bytes_max`, at most a block more. Nothing if there are none.
    ///
    /// # Errors
    /// The source's and the backends'. After an error this must not be used any more.
    pub(crate) async fn next_part(&mut self, bytes_max: u64) -> Result<Option<Stored>> {
        let first_byte = self.cutter.size();
        let mut draft = Draft::default();
        let leaves = if self.cutter.peek().await? <= CHUNK_BYTES_MIN {
            self.small(&mut draft).await?
        } else {
            self.blocks(&mut draft, bytes_max).await?
        };
        if leaves.is_empty() {
            return Ok(None);
        }
        let whole = first_byte == 0 && self.cutter.is_finished();
        let hint = self.hint.take().filter(|_| whole);
        let packed = draft.fold(&self.packer, leaves, self.digest, self.compression, hint).await?;
        let durable = draft.flush(&self.packer).await?;
        Ok(Some(packed.stored(&draft, &durable)))
    }

    /// The size and digest of all bytes that were stored.
    pub(crate) fn finish(self) -> (u64, Digest) {
        (self.cutter.size(), self.digest)
    }

    fn order(&self) -> Order {
        Order { level: 0, compression: self.compression, copy: false }
    }

    /// Packs the last block of a part: now the digest is known, and of a value that is one part
    /// everything is.
    async fn take_in_last(
        &mut self,
        draft: &mut Draft,
        leaves: &mut Vec<Node>,
        block: Processed,
    ) -> Result<()> {
        leaves.extend(nodes_of(&block, 0));
        let single = block.chunks.first().map(|chunk| chunk.digest);
        if let Some(digest) = self.cutter.digest().await?.or(single) {
            self.digest = digest;
        }
        let size = self.cutter.size();
        let whole = self.cutter.is_finished() && tree::size(leaves) == size;
        let mut entries = Vec::new();
        if whole && leaves.len() <= ROOT_NODES_MAX {
            let (hint, nodes) = (self.hint.take(), leaves.clone());
            entries.extend(hint.map(|hint| directory_entry(hint, nodes, size, self.digest)));
        }
        draft.pack(&self.packer, block, entries).await
    }

    /// The rest of the source, which is at most one small chunk.
    async fn small(&mut self, draft: &mut Draft) -> Result<Vec<Node>> {
        let bytes = self.cutter.peek().await?;
        let permit = self.packer.small.acquire(bytes * 2).await?;
        let mut leaves = Vec::new();
        if let Some(block) = self.cutter.next().await? {
            let packer = Arc::clone(&self.packer);
            let block = process(packer, block.chunks, self.order(), Some(permit)).await?;
            self.take_in_last(draft, &mut leaves, block).await?;
        }
        Ok(leaves)
    }

    /// Blocks up to about `bytes_max`. Up to [`LANES`] are worked on at once, as far as there is
    /// memory; one of them may always be, so that stores cannot wait for each other in a ring.
    async fn blocks(&mut self, draft: &mut Draft, bytes_max: u64) -> Result<Vec<Node>> {
        let _base = self.packer.blocks.acquire(1).await?;
        let end = self.cutter.size().saturating_add(bytes_max.max(1));
        let mut leaves = Vec::new();
        let mut lanes = FuturesOrdered::new();
        let mut more = true;
        let mut worked: Option<Processed> = None;
        while more || !lanes.is_empty() {
            let first = lanes.is_empty() && worked.is_none();
            let extra = if first || lanes.len() >= LANES {
                None
            } else {
                self.packer.blocks.try_acquire(1)
            };
            let may_cut = more && (first || extra.is_some());
            // While one block is packed, the next is cut, or those in between are worked on.
            let packing = async {
                match worked.take() {
                    Some(block) => {
                        leaves.extend(nodes_of(&block, 0));
                        draft.pack(&self.packer, block, Vec::new()).await
                    }
                    None => Ok(()),
                }
            };
            let cutting = async {
                if may_cut {
                    cut_beside(&mut self.cutter, &mut lanes).await
                } else {
                    Ok((None, lanes.next().await))
                }
            };
            let ((cut, done), ()) = try_join(cutting, packing).await?;
            worked = done.transpose()?;
            if may_cut {
                more = cut.as_ref().is_some_and(|block| !block.last && self.cutter.size() < end);
            }
            if let Some(block) = cut {
                let packer = Arc::clone(&self.packer);
                lanes.push_back(process(packer, block.chunks, self.order(), extra));
            }
        }
        if let Some(block) = worked {
            self.take_in_last(draft, &mut leaves, block).await?;
        }
        Ok(leaves)
    }
}

/// Cuts the next block while the lanes go on. If one of them is done meanwhile, it is returned too.
async fn cut_beside(
    cutter: &mut Cutter,
    lanes: &mut FuturesOrdered<impl Future<Output = Result<Processed>>>,
) -> Result<(Option<Block>, Option<Result<Processed>>)> {
    let next = cutter.next().fuse();
    futures::pin_mut!(next);
    let mut done = None;
    loop {
        if done.is_some() || lanes.is_empty() {
            return Ok((next.await?, done));
        }
        select_biased! {
            cut = next => return Ok((cut?, done)),
            block = lanes.next() => done = block,
        }
    }
}
