//! Cuts a stream of bytes into chunks by their content, so that equal stretches of different
//! values become equal chunks.
//!
//! FastCDC in its version of 2020 (Xia, Zou, Jiang, Hua, "The Design of Fast Content-Defined
//! Chunking for Data Deduplication Based Storage Systems", IEEE TPDS 2020) with normalization
//! level 1 and the gear table of the crate `fastcdc`. These constants are part of the format only
//! in that a volume whose writers use others finds no equal chunks: reading never depends on them.

mod gear;

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, ready};
use futures::{Stream, StreamExt};
use holdall_core::{Env, Result};

use super::compute;
use super::pack::buffer::{Buffer, Buffers};
use crate::format::chunk::Digest;

/// The least bytes of a chunk that is not the last of its value.
pub(crate) const CHUNK_BYTES_MIN: usize = 256 << 10;

/// About how many bytes a chunk has.
pub(crate) const CHUNK_BYTES_AVERAGE: usize = 1 << 20;

/// The most bytes of a chunk.
pub(crate) const CHUNK_BYTES_MAX: usize = 4 << 20;

/// After how many bytes a block of chunks is handed on.
pub(crate) const BLOCK_BYTES: usize = 4 << 20;

/// Bytes of any number in pieces of any size.
pub(crate) type Source = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// These bytes as a source.
pub(crate) fn source_of(bytes: Bytes) -> Source {
    futures::stream::iter([Ok(bytes)]).boxed()
}

/// Some chunks of a value, in order.
#[derive(Debug)]
pub(crate) struct Block {
    /// The chunks.
    pub chunks: Vec<Bytes>,
    /// Whether the value ends with this block.
    pub last: bool,
}

/// Cuts one value, and hashes it on the way.
pub(crate) struct Cutter {
    env: Env,
    source: Source,
    buffers: Arc<Buffers>,
    /// Bytes that are not cut yet.
    carry: Bytes,
    /// The piece of the source that follows `carry`.
    rest: Bytes,
    /// Whether the source has no more pieces.
    ended: bool,
    /// Whether the last block was handed on.
    finished: bool,
    size: u64,
    hashing: Option<Hashing>,
}

/// The hasher of the whole value, while a job has it: the next block is cut meanwhile.
type Hashing = BoxFuture<'static, Result<Box<blake3::Hasher>>>;

impl Cutter {
    /// `buffers` must hold [`CHUNK_BYTES_MAX`] bytes.
    pub(crate) fn new(env: Env, source: Source, buffers: Arc<Buffers>) -> Self {
        Self {
            env,
            source,
            buffers,
            carry: Bytes::new(),
            rest: Bytes::new(),
            ended: false,
            finished: false,
            size: 0,
            hashing: None,
        }
    }

    /// How many bytes were handed on.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether all bytes of the source were handed on.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The digest of all bytes that were handed on, unless they were a single chunk.
    pub(crate) async fn digest(&mut self) -> Result<Option<Digest>> {
        let Some(hashing) = self.hashing.take() else {
            return Ok(None);
        };
        let hasher = hashing.await?;
        let digest = Digest(*hasher.finalize().as_bytes());
        self.hashing = Some(Box::pin(ready(Ok(hasher))));
        Ok(Some(digest))
    }

    /// Has a block hashed into the digest of the whole.
    async fn hash(&mut self, chunks: Vec<Bytes>) -> Result<()> {
        let mut hasher = match self.hashing.take() {
            Some(hashing) => hashing.await?,
            None => Box::default(),
        };
        self.hashing = Some(Box::pin(self.env.blocking(move || {
            for chunk in &chunks {
                hasher.update(chunk);
            }
            hasher
        })));
        Ok(())
    }

    /// Reads until there are more bytes than a small value has, or the source ends, and says how
    /// many there are. Only after this may much memory be used, so only for this no permit is
    /// needed.
    pub(crate) async fn peek(&mut self) -> Result<usize> {
        let mut small = Vec::new();
        while self.carry.len().max(small.len()) <= CHUNK_BYTES_MIN && self.pull().await? {
            if self.carry.is_empty() && small.is_empty() {
                self.carry = std::mem::take(&mut self.rest);
            } else {
                small.extend_from_slice(&std::mem::take(&mut self.carry));
                let room = CHUNK_BYTES_MIN * 2 - small.len();
                let piece = self.rest.split_to(self.rest.len().min(room));
                small.extend_from_slice(&piece);
            }
        }
        if !small.is_empty() {
            self.carry = Bytes::from(small);
        }
        Ok(self.carry.len())
    }

    /// The next chunks, about [`BLOCK_BYTES`] of them.
    pub(crate) async fn next(&mut self) -> Result<Option<Block>> {
        if self.finished {
            return Ok(None);
        }
        self.fill().await?;
        let ended = self.ended && self.rest.is_empty();
        if self.carry.is_empty() {
            self.finished = true;
            return Ok(None);
        }
        let carry = std::mem::take(&mut self.carry);
        let (chunks, carry) =
            compute(&self.env, carry.len().min(BLOCK_BYTES), move || cut(carry, ended)).await?;
        let last = ended && carry.is_empty();
        if !(self.size == 0 && last && chunks.len() == 1) {
            self.hash(chunks.clone()).await?;
        }
        (self.carry, self.finished) = (carry, last);
        self.size += chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        Ok(Some(Block { chunks, last }))
    }

    /// Makes sure that `rest` has bytes; false if the source has no more.
    async fn pull(&mut self) -> Result<bool> {
        while self.rest.is_empty() && !self.ended {
            match self.source.next().await {
                Some(piece) => self.rest = piece?,
                None => self.ended = true,
            }
        }
        Ok(!self.rest.is_empty())
    }

    /// Brings the longest chunk's bytes together in `carry`, or all there are. Large pieces of
    /// the source are used where they lie, small ones are copied together.
    async fn fill(&mut self) -> Result<()> {
        let mut buffer: Option<Buffer> = None;
        loop {
            let held = buffer.as_ref().map_or(self.carry.len(), Buffer::len);
            // The last look at the source tells whether this is the end.
            if !self.pull().await? || held >= CHUNK_BYTES_MAX {
                break;
            }
            if held == 0 {
                self.carry = std::mem::take(&mut self.rest);
                continue;
            }
            let buffer = buffer.get_or_insert_with(|| {
                let mut buffer = self.buffers.take();
                buffer.appender().extend_from_slice(&std::mem::take(&mut self.carry));
                buffer
            });
            let piece = self.rest.split_to(self.rest.len().min(CHUNK_BYTES_MAX - held));
            buffer.appender().extend_from_slice(&piece);
        }
        if let Some(buffer) = buffer {
            self.carry = buffer.lend();
        }
        Ok(())
    }
}

impl std::fmt::Debug for Cutter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cutter").field("size", &self.size).finish_non_exhaustive()
    }
}

/// Cuts about [`BLOCK_BYTES`] off the front, and returns what is left. A cut that more bytes could
/// move is not made unless there are no more.
fn cut(mut bytes: Bytes, ended: bool) -> (Vec<Bytes>, Bytes) {
    let mut chunks = Vec::new();
    let mut taken = 0;
    while !bytes.is_empty() && taken < BLOCK_BYTES {
        let end = gear::cut(&bytes);
        if end == bytes.len() && end < CHUNK_BYTES_MAX && !ended {
            break;
        }
        taken += end;
        chunks.push(bytes.split_to(end));
    }
    (chunks, bytes)
}

/// Cuts a whole value.
pub(crate) fn cut_all(mut bytes: Bytes) -> Vec<Bytes> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (chunks, rest) = cut(bytes, true);
        all.extend(chunks);
        bytes = rest;
    }
    all
}
