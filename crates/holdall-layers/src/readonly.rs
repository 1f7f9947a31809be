//! A backend that is only read: whatever would change it is refused before it gets there.

use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{
    Backend, Batch, ByteRange, Error, Expect, Find, Health, Key, List, Object, Operation, Page,
    Profile, Result, Revision, async_trait,
};

/// A backend that refuses writes.
#[derive(Debug)]
pub struct Readonly {
    inner: Arc<dyn Backend>,
}

impl Readonly {
    /// Lets only reads through to `inner`.
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        Self { inner }
    }
}

fn refused<T>(operation: Operation) -> Result<T> {
    let message = "this backend was opened to be read only; open it without `readonly` to write";
    Err(Error::denied(operation, message))
}

#[async_trait]
impl Backend for Readonly {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.inner.get(key, range).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.inner.get_many(keys).await
    }

    async fn put(&self, key: &Key, _: Bytes, _: Expect) -> Result<Revision> {
        refused(Operation::Put).map_err(|error: Error| error.with_key(key))
    }

    async fn delete(&self, key: &Key, _: Expect) -> Result<()> {
        refused(Operation::Delete).map_err(|error: Error| error.with_key(key))
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.inner.list(list).await
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        self.inner.find(find).await
    }

    async fn apply(&self, _: Batch) -> Result<Revision> {
        refused(Operation::Apply)
    }

    async fn health(&self) -> Result<Health> {
        self.inner.health().await
    }
}
