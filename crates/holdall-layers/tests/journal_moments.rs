//! A whole flush between two steps of one call: the rare moments, made certain.
//!
//! The inner backend writes to the journal in front of it and flushes it, just before or after it
//! answers a read. So what the call took from the overlay and what it got from the inner backend
//! are of different times, and the journal must notice.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, ErrorKind, Expect, Find, Health, Key, List,
    Memory, Object, Page, Profile, Result, Revision, async_trait,
};
use holdall_layers::Journaled;
use support::{bytes, env, key, roomy, text};

#[derive(Debug, Default)]
struct Meddling {
    memory: Memory,
    journal: OnceLock<Weak<Journaled>>,
    armed: AtomicBool,
}

impl Meddling {
    /// Once, if armed: both keys get the value `new`, and everything is flushed.
    async fn meddle(&self) {
        if self.armed.swap(false, Ordering::SeqCst) {
            let journal = self.journal.get().unwrap().upgrade().unwrap();
            let mut batch = Batch::new();
            batch.put(key("a"), "new", Expect::Any).put(key("b"), "new", Expect::Any);
            journal.apply(batch).await.unwrap();
            journal.flush().await.unwrap();
        }
    }
}

#[async_trait]
impl Backend for Meddling {
    fn profile(&self) -> &Profile {
        self.memory.profile()
    }
    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        let found = self.memory.get(key, range).await;
        self.meddle().await;
        found
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.meddle().await;
        self.memory.get_many(keys).await
    }
    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.memory.put(key, value, expect).await
    }
    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.memory.delete(key, expect).await
    }
    async fn list(&self, list: &List) -> Result<Page> {
        self.meddle().await;
        self.memory.list(list).await
    }
    async fn find(&self, find: &Find) -> Result<Page> {
        self.memory.find(find).await
    }
    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.memory.apply(batch).await
    }
    async fn health(&self) -> Result<Health> {
        self.memory.health().await
    }
}

/// `b` lies in the inner backend and `a` in the overlay; the meddling begins with the next read.
async fn scene() -> (Arc<Journaled>, Arc<Meddling>, tempfile::TempDir) {
    let inner = Arc::new(Meddling::default());
    let folder = tempfile::tempdir().unwrap();
    let shared: Arc<dyn Backend> = Arc::<Meddling>::clone(&inner);
    let journal = Journaled::open(shared, folder.path(), roomy(), &env()).await.unwrap();
    inner.journal.set(Arc::downgrade(&journal)).unwrap();
    journal.put(&key("b"), bytes("old"), Expect::Any).await.unwrap();
    journal.flush().await.unwrap();
    journal.put(&key("a"), bytes("old"), Expect::Any).await.unwrap();
    inner.armed.store(true, Ordering::SeqCst);
    (journal, inner, folder)
}

fn values(objects: impl IntoIterator<Item = Option<Object>>) -> Vec<Bytes> {
    objects.into_iter().map(|object| object.unwrap().value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn get_many_is_of_one_moment() {
    let (journal, inner, _folder) = scene().await;
    let found = journal.get_many(&[key("a"), key("b")]).await.unwrap();
    assert!(!inner.armed.load(Ordering::SeqCst), "the moment came");
    assert_eq!(values(found), ["new", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_of_one_moment() {
    let (journal, inner, _folder) = scene().await;
    let page = journal.list(&List::prefix("").with_values()).await.unwrap();
    assert!(!inner.armed.load(Ordering::SeqCst), "the moment came");
    assert_eq!(values(page.rows.into_iter().map(|row| row.object)), ["new", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expectation_is_never_decided_on_what_was_there_before() {
    let (journal, inner, _folder) = scene().await;
    inner.armed.store(false, Ordering::SeqCst);
    let seen = journal.get_all(&key("b")).await.unwrap().unwrap().revision;
    inner.armed.store(true, Ordering::SeqCst);
    let expect = Expect::Revision(seen);
    let error = journal.put(&key("b"), bytes("lost"), expect).await.unwrap_err();
    assert!(!inner.armed.load(Ordering::SeqCst), "the moment came");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(text(journal.as_ref(), "b").await.as_deref(), Some("new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expectation_that_holds_all_along_is_looked_at_again_and_taken() {
    let (journal, inner, _folder) = scene().await;
    journal.put(&key("c"), bytes("first"), Expect::Absent).await.unwrap();
    assert!(!inner.armed.load(Ordering::SeqCst), "the moment came");
    assert_eq!(text(journal.as_ref(), "c").await.as_deref(), Some("first"));
}
