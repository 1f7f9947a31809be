//! The data path: bytes to chunks to frames to segments, and back.
//!
//! ```text
//! write  source → cut → block (digest, known?, compress) → pack (open segment, flush) → backend
//! read   backend → fetch (frames of a window, checked) → walk (tree, range) → stream
//! ```
//!
//! Nothing here commits: a write returns what lies safely on the data backend as [`Stored`], and
//! the commit that names it follows. What is never named is garbage that the sweep finds.

mod block;
mod cut;
mod draft;
mod ingest;
mod pack;
mod read;
mod segment_file;
mod store;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use holdall_core::{Backend, ByteRange, Env, Error, ErrorKind, Object, Result, Timestamp};

pub(crate) use cut::{Source, source_of};
pub(crate) use ingest::Ingest;
pub(crate) use pack::{PackSettings, Packer};
pub(crate) use read::{ReadSettings, Reader};
#[cfg(test)]
pub(crate) use segment_file::FrameFound;
pub(crate) use segment_file::{frames, places, read_directory};
pub(crate) use tree::size as tree_size;

use crate::format::chunk::{ChunkId, ChunkSecret, Digest, Node, Place};
use crate::format::entry::Name;
use crate::format::keys::{CatalogKeys, DataKeys};
use crate::format::segment::SegmentId;
use crate::placement::{Copies, Spread};

/// What the data path needs of an open volume. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct DataContext {
    /// Time, chance and threads.
    pub env: Env,
    /// Where chunk rows are.
    pub catalog: Arc<dyn Backend>,
    /// Where segments are.
    pub data: Arc<dyn Backend>,
    /// The same, copy by copy, where data lies in several places.
    pub spread: Option<Arc<Spread>>,
    /// The keys of the catalog's rows.
    pub keys: CatalogKeys,
    /// The keys of the data backend's objects.
    pub data_keys: DataKeys,
    /// From which chunk names are made.
    pub secret: ChunkSecret,
}

/// A chunk that a put names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StagedChunk {
    /// Its name.
    pub id: ChunkId,
    /// 0 for bytes of entries, more for lists of nodes.
    pub level: u8,
    /// Where it lies; nothing if the catalog had it already when we looked.
    pub place: Option<Place>,
    /// The nodes of a list chunk; else empty.
    pub children: Vec<Node>,
}

/// A segment in which staged chunks lie. Other puts may name the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StagedSegment {
    /// Its name.
    pub id: SegmentId,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its copies.
    pub copies: Copies,
}

/// Bytes that lie safely on the data backend but are not yet named by a commit.
///
/// It should be committed within the volume's grace: then nothing that it relies on is collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The top of the tree; none for no bytes.
    pub nodes: Vec<Node>,
    /// How many bytes there are.
    pub size: u64,
    /// The digest of all bytes; for a part of a stream, of all bytes up to the part's end.
    pub digest: Digest,
    /// Every chunk of the tree, each once.
    pub chunks: Vec<StagedChunk>,
    /// Every segment that a place of `chunks` names, each once, all durable.
    pub segments: Vec<StagedSegment>,
}

impl DataContext {
    /// Reads a part of a segment, but not from these places. Also says from which it was read,
    /// where there are several.
    ///
    /// # Errors
    /// Those of the backends.
    async fn read_segment(
        &self,
        id: SegmentId,
        range: ByteRange,
        without: &[u16],
    ) -> Result<(Option<Object>, Option<u16>)> {
        let Some(spread) = &self.spread else {
            return Ok((self.data.get(&self.data_keys.segment(id), range).await?, None));
        };
        let found = spread.get_segment(id, range, without).await?;
        Ok(found.map_or((None, None), |(object, place)| (Some(object), Some(place))))
    }

    /// Whether a damaged copy is one of several: it is noted, and another is tried.
    fn steps_past(&self, id: SegmentId, error: &Error, from: Option<u16>) -> bool {
        match (&self.spread, from) {
            (Some(spread), Some(place)) if error.kind() == ErrorKind::Corrupt => {
                spread.damaged(id, place);
                true
            }
            _ => false,
        }
    }
}

impl Stored {
    /// A value without bytes.
    pub(crate) fn empty() -> Self {
        Self {
            nodes: Vec::new(),
            size: 0,
            digest: Digest::of(&[]),
            chunks: Vec::new(),
            segments: Vec::new(),
        }
    }
}

/// What a segment's directory should say of the entry whose bytes it holds, so that a volume can
/// be rebuilt from segments alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntryHint {
    /// Its name.
    pub name: Name,
    /// Its media type.
    pub content_type: Option<String>,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
}

/// Work on fewer bytes than this is done at once: handing it to another thread would cost more.
const INLINE_BYTES: usize = 64 << 10;

/// Runs a job on about `bytes` bytes where it does not hold up other tasks.
async fn compute<T: Send + 'static>(
    env: &Env,
    bytes: usize,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    if bytes < INLINE_BYTES { Ok(job()) } else { env.blocking(job).await }
}
