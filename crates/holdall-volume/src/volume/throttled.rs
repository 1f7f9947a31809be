//! A data backend through which only so many bytes a second go: for jobs.

use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{
    Backend, Batch, ByteRange, Expect, Find, Health, Key, List, Object, Page, Profile, Result,
    Revision, Throttle, async_trait,
};

/// Lets only so many bytes a second through, if there is a throttle.
pub(crate) fn throttled(inner: Arc<dyn Backend>, throttle: Option<&Throttle>) -> Arc<dyn Backend> {
    match throttle {
        Some(throttle) => Arc::new(Throttled { inner, throttle: throttle.clone() }),
        None => inner,
    }
}

#[derive(Debug)]
struct Throttled {
    inner: Arc<dyn Backend>,
    throttle: Throttle,
}

#[async_trait]
impl Backend for Throttled {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        let found = self.inner.get(key, range).await?;
        self.throttle.take(found.as_ref().map_or(0, |object| object.value.len() as u64)).await;
        Ok(found)
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        let found = self.inner.get_many(keys).await?;
        let bytes = found.iter().flatten().map(|object| object.value.len() as u64).sum();
        self.throttle.take(bytes).await;
        Ok(found)
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.throttle.take(value.len() as u64).await;
        self.inner.put(key, value, expect).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.inner.delete(key, expect).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.inner.list(list).await
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        self.inner.find(find).await
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.throttle.take(batch.bytes() as u64).await;
        self.inner.apply(batch).await
    }

    async fn health(&self) -> Result<Health> {
        self.inner.health().await
    }
}
