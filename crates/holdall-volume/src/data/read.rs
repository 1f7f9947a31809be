//! Reading: a stream of an entry's bytes, or all of a range at once.
//!
//! Windows of a few MiB are fetched side by side, so that reading the next one and checking this
//! one overlap. A reader holds a few windows, whatever the size of the entry.

mod cache;
mod fetch;
mod walk;
mod whole;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use holdall_core::{Error, Operation, Result};

use self::cache::FrameCache;
use self::walk::{Leaf, Step, Walk, check_list};
use self::whole::Whole;
use super::pack::budget::Budget;
use super::{DataContext, tree};
use crate::format::chunk::{Node, decode_list};

/// How many windows of a stream are fetched at once, if there is memory.
const WINDOWS: usize = 3;

/// How many windows all streams of a reader together may fetch ahead of the one each needs.
const WINDOWS_AHEAD: usize = 8;

/// Up to this many bytes are copied out of what was read with them.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Up to this many bytes are taken from memory before the first of them is read.
const TRUSTED_BYTES_MAX: usize = 64 << 20;

/// How a reader uses memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadSettings {
    /// How many bytes of decoded frames of small chunks are kept.
    pub cache_bytes: usize,
}

impl Default for ReadSettings {
    fn default() -> Self {
        Self { cache_bytes: 16 << 20 }
    }
}

/// Reads the bytes under nodes. Cheap to clone; clones share a cache.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    context: DataContext,
    cache: Arc<FrameCache>,
    ahead: Budget,
}

impl Reader {
    pub(crate) fn new(context: DataContext, settings: ReadSettings) -> Self {
        let cache = Arc::new(FrameCache::new(settings.cache_bytes));
        Self { context, cache, ahead: Budget::new(WINDOWS_AHEAD) }
    }

    /// The bytes of the range, in pieces. What is past the end is left out.
    ///
    /// # Errors
    /// The backends'; `Corrupt` if bytes are missing or not what was written. A stream ends with
    /// its first error.
    pub(crate) fn stream(
        &self,
        nodes: Vec<Node>,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes>> + Send + 'static + use<> {
        let ahead: Vec<_> = (1..WINDOWS).map_while(|_| self.ahead.try_acquire(1)).collect();
        let at_once = 1 + ahead.len();
        let state = Arc::new((self.clone(), ahead));
        self.windows(nodes, range)
            .map(move |window| {
                let state = Arc::clone(&state);
                async move { state.0.window(window?).await }
            })
            .buffered(at_once)
            .map_ok(|pieces: VecDeque<Bytes>| stream::iter(pieces.into_iter().map(Ok)))
            .try_flatten()
    }

    /// The bytes of the range in one piece: for ranges that fit into memory.
    ///
    /// # Errors
    /// As [`stream`](Self::stream); `Invalid` if the range ends before it starts.
    pub(crate) async fn read(&self, nodes: Vec<Node>, range: Range<u64>) -> Result<Bytes> {
        if range.end < range.start {
            let message =
                format!("the range ends at {}, before its start {}", range.end, range.start);
            return Err(Error::invalid(Operation::Get, message));
        }
        let length = range.end.min(tree::size(&nodes)).saturating_sub(range.start) as usize;
        let mut pieces = std::pin::pin!(self.stream(nodes, range));
        let Some(first) = pieces.try_next().await? else {
            return Ok(Bytes::new());
        };
        if first.len() >= length {
            // Whoever keeps few bytes should not keep all that was read with them.
            let few = length <= KEPT_BYTES_MAX;
            return Ok(if few { Bytes::copy_from_slice(&first) } else { first });
        }
        // What a damaged row may say is not taken at its word.
        let mut whole = Whole::with_capacity(length.min(TRUSTED_BYTES_MAX));
        whole.push(&first);
        drop(first);
        while let Some(piece) = pieces.try_next().await? {
            whole.push(&piece);
        }
        Ok(whole.finish())
    }

    /// The windows of a walk. Lists are fetched when the walk comes to them.
    fn windows(
        &self,
        nodes: Vec<Node>,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Vec<Leaf>>> + Send + 'static + use<> {
        let reader = self.clone();
        let walk = Walk::new(&nodes, range);
        stream::try_unfold((reader, walk), |(reader, mut walk)| async move {
            loop {
                match walk.next() {
                    Step::End => return Ok(None),
                    Step::Window(window) => return Ok(Some((window, (reader, walk)))),
                    Step::List { node, at } => walk.add(&reader.list(&node).await?, at),
                }
            }
        })
    }

    /// The nodes of a list chunk.
    ///
    /// # Errors
    /// As [`stream`](Self::stream).
    pub(crate) async fn list(&self, node: &Node) -> Result<Vec<Node>> {
        let nodes = decode_list(&self.chunk(node).await?)?;
        check_list(node, &nodes)?;
        Ok(nodes)
    }

    /// The bytes of one chunk, of whatever level.
    ///
    /// # Errors
    /// As [`stream`](Self::stream).
    pub(crate) async fn chunk(&self, node: &Node) -> Result<Bytes> {
        let chunks = fetch::chunks(&self.context, &self.cache, std::slice::from_ref(node)).await?;
        Ok(chunks.into_iter().next().unwrap_or_default())
    }

    async fn window(&self, window: Vec<Leaf>) -> Result<VecDeque<Bytes>> {
        let nodes: Vec<Node> = window.iter().map(|leaf| leaf.node).collect();
        let chunks = fetch::chunks(&self.context, &self.cache, &nodes).await?;
        let mut pieces = VecDeque::with_capacity(chunks.len());
        for (leaf, chunk) in window.into_iter().zip(chunks) {
            if chunk.len() as u64 != leaf.node.bytes {
                let message = format!(
                    "chunk {} has {} bytes and not the {} that are named; run `holdall verify`",
                    leaf.node.id,
                    chunk.len(),
                    leaf.node.bytes
                );
                return Err(Error::corrupt(Operation::Get, message));
            }
            pieces.push_back(chunk.slice(leaf.wanted));
        }
        Ok(pieces)
    }
}
