//! Reading values.

use futures::StreamExt;
use futures::stream;
use holdall_core::{ByteRange, Bytes, Key, Object, Operation, Result};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta};

use crate::ObjectBackend;
use crate::error::Reason;
use crate::revision::{MARK_BYTES, is_mark};

impl ObjectBackend {
    pub(crate) async fn read(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        // Refuses a range that ends before it starts, whatever the size.
        range.clip(0)?;
        let Some(path) = self.names.place(key) else { return Ok(None) };
        let found = self.fetch(&path, range).await;
        found.map_err(|error| self.failed_reading(Operation::Get, error).with_key(key))
    }

    pub(crate) async fn read_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        let read = async |key: Key| self.read(&key, ByteRange::ALL).await;
        let mut found =
            stream::iter(keys.to_vec()).map(read).buffered(self.options.concurrency).boxed();
        let mut objects = Vec::with_capacity(keys.len());
        while let Some(object) = found.next().await {
            objects.push(object?);
        }
        Ok(objects)
    }

    /// What is under a path; a mark is nothing.
    pub(crate) async fn fetch(
        &self,
        path: &Path,
        range: ByteRange,
    ) -> object_store::Result<Option<Object>> {
        let (value, meta) = match self.fetch_raw(path, range).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            // Past the end, which the stores call an error; or a server that cannot do such a
            // range; or something else.
            Err(error) if range != ByteRange::ALL => match self.head(path).await? {
                Some(meta) if meta.size <= range.start => (Bytes::new(), meta),
                Some(_) if Reason::of(&error).is_about_ranges() => {
                    let Some((whole, meta)) = self.fetch_raw(path, ByteRange::ALL).await? else {
                        return Ok(None);
                    };
                    (clipped(&whole, range), meta)
                }
                Some(_) => return Err(error),
                None => return Ok(None),
            },
            Err(error) => return Err(error),
        };
        if meta.size == MARK_BYTES as u64 {
            let whole = if value.len() == MARK_BYTES {
                Some(value.clone())
            } else {
                self.fetch_raw(path, ByteRange::ALL).await?.map(|(whole, _)| whole)
            };
            if whole.is_none_or(|whole| is_mark(&whole)) {
                return Ok(None);
            }
        }
        let revision = self.by.of_meta(&meta).ok_or_else(no_revision)?;
        Ok(Some(Object { value, revision, size: meta.size }))
    }

    /// What is under a path, marks included.
    pub(crate) async fn fetch_raw(
        &self,
        path: &Path,
        range: ByteRange,
    ) -> object_store::Result<Option<(Bytes, ObjectMeta)>> {
        let range = match range {
            ByteRange { start, end: Some(end) } if start == end => {
                return Ok(self.head(path).await?.map(|meta| (Bytes::new(), meta)));
            }
            ByteRange { start: 0, end: None } => None,
            ByteRange { start, end: None } => Some(GetRange::Offset(start)),
            ByteRange { start, end: Some(end) } => Some(GetRange::Bounded(start..end)),
        };
        let options = GetOptions { range, ..GetOptions::default() };
        let Some(result) = found(self.reads.get_opts(path, options).await)? else {
            return Ok(None);
        };
        let meta = result.meta.clone();
        Ok(Some((result.bytes().await?, meta)))
    }

    pub(crate) async fn head(&self, path: &Path) -> object_store::Result<Option<ObjectMeta>> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        Ok(found(self.reads.get_opts(path, options).await)?.map(|result| result.meta))
    }
}

/// The range's bytes of a whole value.
fn clipped(whole: &Bytes, range: ByteRange) -> Bytes {
    let position = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(whole.len());
    let start = position(range.start);
    whole.slice(start..range.end.map_or(whole.len(), position).max(start))
}

/// A missing object is `None`; a missing bucket stays an error.
fn found<T>(answer: object_store::Result<T>) -> object_store::Result<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error @ object_store::Error::NotFound { .. }) if !Reason::of(&error).is_no_bucket() => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A store that gives neither ETags nor versions.
fn no_revision() -> object_store::Error {
    object_store::Error::NotSupported { source: "the store says no revision of a value".into() }
}
