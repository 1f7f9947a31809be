//! The bytes of one entry: whole, in ranges, as a stream, each checked against its digest.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{Either, ready};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use holdall_core::{Error, Key, Operation, Result};

use super::ReadContext;
use crate::data::tree_size;
use crate::format::chunk::{Content, Digest, Node};
use crate::format::entry::Entry;

/// How many ranges of one entry are read at once.
const RANGES_AT_ONCE: usize = 4;

/// One version of an entry, ready to be read. Cheap to clone.
///
/// It stays readable when the entry is overwritten or deleted meanwhile, for at least the policy's
/// grace.
#[derive(Clone, Debug)]
pub struct Reading {
    context: Arc<ReadContext>,
    key: Key,
    entry: Entry,
}

impl Reading {
    pub(super) fn new(context: Arc<ReadContext>, key: Key, entry: Entry) -> Self {
        Self { context, key, entry }
    }

    /// What is known of the entry.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// What is known of the entry, owned.
    pub fn into_entry(self) -> Entry {
        self.entry
    }

    /// All bytes, in memory.
    ///
    /// # Errors
    /// `Corrupt` if bytes are missing or not what was written; those of the backends.
    pub async fn bytes(&self) -> Result<Bytes> {
        match &self.entry.content {
            Content::Inline => self.inline(),
            Content::Tree(nodes) => self.read(nodes, 0..self.entry.size).await,
        }
    }

    /// The bytes of the range, in memory. What is past the end is left out.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes); `Invalid` if the range ends before it starts.
    pub async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        let range = self.clip(range)?;
        match &self.entry.content {
            Content::Inline => Ok(slice(&self.inline()?, range)),
            Content::Tree(nodes) => self.read(nodes, range).await,
        }
    }

    /// The bytes of several ranges, in memory, in the order asked.
    ///
    /// # Errors
    /// As [`range`](Self::range).
    pub async fn ranges(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>> {
        let ranges: Vec<_> =
            ranges.into_iter().map(|range| self.clip(range)).collect::<Result<_>>()?;
        match &self.entry.content {
            Content::Inline => {
                let inline = self.inline()?;
                Ok(ranges.into_iter().map(|range| slice(&inline, range)).collect())
            }
            Content::Tree(nodes) => {
                let reads = ranges.into_iter().map(|range| self.read(nodes, range));
                stream::iter(reads).buffered(RANGES_AT_ONCE).try_collect().await
            }
        }
    }

    /// All bytes, in pieces, whatever the size. A stream ends with its first error.
    pub fn stream(&self) -> impl Stream<Item = Result<Bytes>> + Send + 'static + use<> {
        self.stream_range(0..u64::MAX)
    }

    /// The bytes of the range, in pieces. What is past the end is left out. A stream ends with its
    /// first error; these are those of [`range`](Self::range).
    pub fn stream_range(
        &self,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes>> + Send + 'static + use<> {
        let at_once = |piece: Result<Bytes>| Either::Left(stream::once(ready(piece)));
        let range = match self.clip(range) {
            Ok(range) => range,
            Err(error) => return at_once(Err(error)),
        };
        match &self.entry.content {
            Content::Inline => at_once(self.inline().map(|inline| slice(&inline, range))),
            Content::Tree(nodes) => match self.check_size(nodes) {
                Ok(()) => {
                    let key = self.key.clone();
                    let pieces = self.context.reader.stream(nodes.clone(), range);
                    Either::Right(pieces.map_err(move |error| about(&key, error)))
                }
                Err(error) => at_once(Err(error)),
            },
        }
    }

    async fn read(&self, nodes: &[Node], range: Range<u64>) -> Result<Bytes> {
        self.check_size(nodes)?;
        let expected = range.end - range.start;
        let bytes = self.context.reader.read(nodes.to_vec(), range).await;
        let bytes = bytes.map_err(|error| about(&self.key, error))?;
        if bytes.len() as u64 == expected {
            return Ok(bytes);
        }
        let message = format!(
            "an entry has {} bytes where {expected} were written; run `holdall verify`",
            bytes.len()
        );
        Err(Error::corrupt(Operation::Get, message).with_key(&self.key))
    }

    /// The inline bytes, checked.
    fn inline(&self) -> Result<Bytes> {
        let inline = &self.entry.inline;
        if inline.len() as u64 != self.entry.size {
            let message = "the entry came without its bytes; look it up by its name and version";
            return Err(Error::invalid(Operation::Get, message).with_key(&self.key));
        }
        if Digest::of(inline) != self.entry.digest {
            let message = "an entry's bytes do not match its digest; run `holdall verify`";
            return Err(Error::corrupt(Operation::Get, message).with_key(&self.key));
        }
        Ok(inline.clone())
    }

    /// Refuses a tree that is not of the entry's size. Under it each chunk is checked.
    fn check_size(&self, nodes: &[Node]) -> Result<()> {
        let bytes = tree_size(nodes);
        if bytes == self.entry.size {
            return Ok(());
        }
        let message = format!(
            "an entry of {} bytes has chunks of {bytes} bytes; run `holdall verify`",
            self.entry.size
        );
        Err(Error::corrupt(Operation::Get, message).with_key(&self.key))
    }

    fn clip(&self, range: Range<u64>) -> Result<Range<u64>> {
        let size = self.entry.size;
        holdall_core::ByteRange::new(range.start, range.end)
            .clip(size)
            .map_err(|error| error.with_key(&self.key))
    }
}

/// A clipped range of bytes that are in memory.
fn slice(bytes: &Bytes, range: Range<u64>) -> Bytes {
    bytes.slice(range.start as usize..range.end as usize)
}

/// Says which entry was read, where the error names nothing nearer.
fn about(key: &Key, error: Error) -> Error {
    if error.key().is_some() { error } else { error.with_key(key) }
}
