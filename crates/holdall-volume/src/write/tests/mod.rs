//! Tests of writing in which something happens between two calls of the catalog.
#![allow(clippy::unwrap_used, reason = "tests")]

mod background;
mod collected;
mod uploads;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::future::BoxFuture;
use holdall_core::{
    Backend, Batch, ByteRange, Bytes, Error, Expect, Find, Health, Key, List, Object, Page,
    Profile, Result, Revision,
};
use holdall_testkit::Method;

use crate::gc::tests::bed::Bed;
use crate::volume::{Resources, Volume};

/// What happens at a call, once.
struct Trap {
    method: Method,
    /// The first call of the method that names such a key.
    part: String,
    /// Whether it happens behind the call, before its answer.
    after: bool,
    event: BoxFuture<'static, ()>,
    /// What is answered then, whatever the call has done.
    answer: Option<Error>,
}

/// A backend at whose calls something else happens.
#[derive(Clone)]
struct Trapped {
    inner: Arc<dyn Backend>,
    trap: Arc<Mutex<Option<Trap>>>,
}

impl std::fmt::Debug for Trapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl Trapped {
    fn on(inner: &Arc<dyn Backend>) -> Self {
        Self { inner: Arc::clone(inner), trap: Arc::default() }
    }

    /// The volume of a bed, opened on a catalog that can be trapped.
    async fn open(bed: &Bed) -> (Self, Volume) {
        let trapped = Self::on(&bed.catalog);
        let catalog = Arc::new(trapped.clone());
        let volume = Volume::open(Resources { catalog, ..bed.resources() }, bed.id).await.unwrap();
        (trapped, volume)
    }

    fn set(
        &self,
        (method, part): (Method, &str),
        after: bool,
        event: impl Future<Output = ()> + Send + 'static,
        answer: Option<Error>,
    ) {
        let trap = Trap { method, part: part.to_owned(), after, event: Box::pin(event), answer };
        *self.trap.lock().unwrap() = Some(trap);
    }

    fn before(&self, at: (Method, &str), event: impl Future<Output = ()> + Send + 'static) {
        self.set(at, false, event, None);
    }

    fn after(&self, at: (Method, &str), event: impl Future<Output = ()> + Send + 'static) {
        self.set(at, true, event, None);
    }

    fn assert_sprung(&self) {
        assert!(self.trap.lock().unwrap().is_none(), "what was to happen has not");
    }

    async fn call<T: Send>(
        &self,
        method: Method,
        keys: &[&str],
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let trap = self.trap.lock().unwrap().take_if(|trap| {
            trap.method == method && keys.iter().any(|key| key.contains(&trap.part))
        });
        let Some(trap) = trap else { return work.await };
        if !trap.after {
            trap.event.await;
            return work.await;
        }
        let result = work.await;
        trap.event.await;
        trap.answer.map_or(result, Err)
    }
}

#[async_trait]
impl Backend for Trapped {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }
    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.call(Method::Get, &[key.as_str()], self.inner.get(key, range)).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        let names: Vec<&str> = keys.iter().map(Key::as_str).collect();
        self.call(Method::GetMany, &names, self.inner.get_many(keys)).await
    }
    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.call(Method::Put, &[key.as_str()], self.inner.put(key, value, expect)).await
    }
    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.call(Method::Delete, &[key.as_str()], self.inner.delete(key, expect)).await
    }
    async fn list(&self, list: &List) -> Result<Page> {
        self.call(Method::List, &[list.prefix.as_str()], self.inner.list(list)).await
    }
    async fn find(&self, find: &Find) -> Result<Page> {
        self.call(Method::Find, &[find.list.prefix.as_str()], self.inner.find(find)).await
    }
    async fn apply(&self, batch: Batch) -> Result<Revision> {
        let keys: Vec<String> = batch.ops.iter().map(|op| op.key().as_str().to_owned()).collect();
        let names: Vec<&str> = keys.iter().map(String::as_str).collect();
        self.call(Method::Apply, &names, self.inner.apply(batch)).await
    }
    async fn health(&self) -> Result<Health> {
        self.inner.health().await
    }
}
