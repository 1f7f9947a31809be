//! Reading values.

use std::ops::RangeBounds;

use futures::{StreamExt, stream};
use holdall_core::{ByteRange, Bytes, Error, Key, Object, Operation, Result};
use opendal::Metadata;

use crate::OpenDal;
use crate::error::{is_absent, reading};
use crate::head::{HEAD_BYTES, Head};
use crate::names;

/// How often a range may find that its value was replaced meanwhile.
const ATTEMPTS: usize = 16;

/// A head, and by what the service tells that its value is still there.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) head: Head,
    pub(crate) identity: Option<String>,
}

impl OpenDal {
    pub(crate) async fn read(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        // Refuses a range that ends before it starts, whatever the size.
        range.clip(0)?;
        let path = names::path(key.as_str());
        let found = match range {
            ByteRange::ALL => self.whole(Operation::Get, &path).await,
            _ => self.part(&path, range).await,
        };
        found.map_err(|error| error.with_key(key))
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

    pub(crate) async fn whole(&self, operation: Operation, path: &str) -> Result<Option<Object>> {
        let Some((bytes, _)) = self.raw(operation, path, ..).await? else { return Ok(None) };
        let head = Head::decode(&bytes).ok_or_else(|| foreign(operation))?;
        let value = bytes.slice(HEAD_BYTES as usize..);
        if value.len() as u64 != head.size {
            let message = "the value is not as long as was written; verify what holds it";
            return Err(Error::corrupt(operation, message));
        }
        Ok(Some(Object { value, revision: head.revision(), size: head.size }))
    }

    /// The head says the size, so that no service is asked for what is past the end; and the range
    /// is taken only if it is known to be of the same value.
    async fn part(&self, path: &str, range: ByteRange) -> Result<Option<Object>> {
        for _ in 0..ATTEMPTS {
            let Some(seen) = self.head(Operation::Get, path).await? else { return Ok(None) };
            let (revision, size) = (seen.head.revision(), seen.head.size);
            let within = range.clip(size)?;
            if within.is_empty() {
                return Ok(Some(Object { value: Bytes::new(), revision, size }));
            }
            let shifted = within.start + HEAD_BYTES..within.end + HEAD_BYTES;
            let read = self.raw(Operation::Get, path, shifted).await;
            if let Ok(Some((value, metadata))) = &read {
                let identity = metadata.as_ref().and_then(|found| self.identity(found));
                let told = identity.is_some() && identity == seen.identity;
                if told || self.is_still(path, seen.head).await? {
                    return Ok(Some(Object { value: value.clone(), revision, size }));
                }
            } else if self.is_still(path, seen.head).await? {
                read?;
            }
        }
        let message = "others write this key all the time; try again";
        Err(Error::unavailable(Operation::Get, message))
    }

    async fn is_still(&self, path: &str, head: Head) -> Result<bool> {
        Ok(self.head(Operation::Get, path).await?.is_some_and(|seen| seen.head == head))
    }

    /// What stands before the value.
    pub(crate) async fn head(&self, operation: Operation, path: &str) -> Result<Option<Seen>> {
        let Some((bytes, metadata)) = self.raw(operation, path, ..HEAD_BYTES).await? else {
            return Ok(None);
        };
        let head = Head::decode(&bytes).ok_or_else(|| foreign(operation))?;
        let identity = metadata.as_ref().and_then(|found| self.identity(found));
        Ok(Some(Seen { head, identity }))
    }

    /// Bytes as they are stored, and what the service says of the whole.
    pub(crate) async fn raw(
        &self,
        operation: Operation,
        path: &str,
        range: impl RangeBounds<u64>,
    ) -> Result<Option<(Bytes, Option<Metadata>)>> {
        let read = async {
            let reader = self.operator.reader(path).await?;
            let bytes = reader.read(range).await?.to_bytes();
            Ok::<_, opendal::Error>((bytes, reader.metadata().cloned()))
        };
        match read.await {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(reading(operation, &error)),
        }
    }
}

fn foreign(operation: Operation) -> Error {
    let message = "what lies here was not written by this adapter, or is damaged; give the \
                   operator a root of its own";
    Error::corrupt(operation, message)
}
