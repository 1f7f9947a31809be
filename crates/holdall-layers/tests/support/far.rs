//! A store that others can reach too, or whose answers take their time.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use holdall_core::{
    Backend, Batch, ByteRange, Bytes, Env, Expect, Find, Health, Key, List, Object, Page, Profile,
    Reach, Result, Revision, async_trait,
};

/// A backend whose reach is the network, or whose answers to `get` arrive later than they are true.
#[derive(Clone, Debug)]
pub(crate) struct Far {
    inner: Arc<dyn Backend>,
    profile: Profile,
    late: Option<(Env, Duration)>,
}

impl Far {
    /// The same store, of which others can have handles too.
    pub(crate) fn shared(inner: Arc<dyn Backend>) -> Self {
        let profile = Profile { reach: Reach::Network, ..inner.profile().clone() };
        Self { inner, profile, late: None }
    }

    /// The same store, whose answers to `get` take so long on their way back.
    pub(crate) fn late(inner: Arc<dyn Backend>, env: &Env, time: Duration) -> Self {
        let profile = inner.profile().clone();
        Self { inner, profile, late: Some((env.clone(), time)) }
    }
}

#[async_trait]
impl Backend for Far {
    fn profile(&self) -> &Profile {
        &self.profile
    }
    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        let answer = self.inner.get(key, range).await;
        if let Some((env, time)) = &self.late {
            env.sleep(*time).await;
        }
        answer
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.inner.get_many(keys).await
    }
    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
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
        self.inner.apply(batch).await
    }
    async fn health(&self) -> Result<Health> {
        self.inner.health().await
    }
}
