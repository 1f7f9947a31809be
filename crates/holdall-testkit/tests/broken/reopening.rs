//! Chapter S can pass and can fail: a backend whose "disk" outlives it, sound and unsound.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Durability, Expect, Find, Health, Key, List,
    Memory, Object, Page, Profile, Result, Revision, async_trait,
};
use holdall_testkit::conformance::{CLAUSES, Fixture, Outcome, run_fixture};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// The newest put is lost at closing.
    LosesTheNewest,
    /// Revisions count from 0 again.
    CountsAnew,
    /// Deletes are forgotten.
    Resurrects,
}

/// Every flaw, and the numbers of exactly the clauses that it breaks.
pub(crate) const FLAWS: &[(Flaw, &[&str])] = &[
    (Flaw::None, &[]),
    (Flaw::LosesTheNewest, &["S2"]),
    (Flaw::CountsAnew, &["S2", "S3"]),
    (Flaw::Resurrects, &["S1"]),
];

/// What outlives the backend.
struct Disk {
    stored: Arc<Memory>,
    flaw: Flaw,
    newest: Arc<Mutex<Option<Key>>>,
    deleted: Arc<Mutex<Vec<(Key, Bytes)>>>,
    opened: AtomicU64,
}

impl Disk {
    fn new(flaw: Flaw) -> Self {
        let opened = AtomicU64::new(0);
        let stored = Arc::new(Memory::new());
        Self { stored, flaw, newest: Arc::default(), deleted: Arc::default(), opened }
    }
}

#[derive(Debug)]
struct Opened {
    stored: Arc<Memory>,
    profile: Profile,
    flaw: Flaw,
    newest: Arc<Mutex<Option<Key>>>,
    deleted: Arc<Mutex<Vec<(Key, Bytes)>>>,
}

#[async_trait]
impl Fixture for Disk {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        let again = self.opened.fetch_add(1, Ordering::Relaxed) > 0;
        let newest = self.newest.lock().unwrap().take();
        let deleted = std::mem::take(&mut *self.deleted.lock().unwrap());
        let mut stored = Arc::clone(&self.stored);
        match self.flaw {
            Flaw::LosesTheNewest if again => {
                if let Some(key) = newest {
                    stored.delete(&key, Expect::Any).await?;
                }
            }
            Flaw::Resurrects => {
                for (key, value) in deleted {
                    stored.put(&key, value, Expect::Any).await?;
                }
            }
            Flaw::CountsAnew if again => {
                stored = Arc::new(Memory::new());
                for row in self.stored.list_all("", true).await? {
                    stored.put(&row.key, row.object.unwrap().value, Expect::Any).await?;
                }
            }
            _ => {}
        }
        let profile = Profile { durability: Durability::Machine, ..self.stored.profile().clone() };
        let (newest, deleted) = (Arc::clone(&self.newest), Arc::clone(&self.deleted));
        Ok(Arc::new(Opened { stored, profile, flaw: self.flaw, newest, deleted }))
    }
}

#[async_trait]
impl Backend for Opened {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.stored.get(key, range).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.stored.get_many(keys).await
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        *self.newest.lock().unwrap() = Some(key.clone());
        self.stored.put(key, value, expect).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        if let (Flaw::Resurrects, Some(object)) = (self.flaw, self.stored.get_all(key).await?) {
            self.deleted.lock().unwrap().push((key.clone(), object.value));
        }
        self.stored.delete(key, expect).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.stored.list(list).await
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        self.stored.find(find).await
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.stored.apply(batch).await
    }

    async fn health(&self) -> Result<Health> {
        self.stored.health().await
    }
}

/// The numbers of the clauses that a disk with this flaw breaks.
async fn broken_by(flaw: Flaw) -> Vec<&'static str> {
    let report = run_fixture(|| Disk::new(flaw), &holdall_runtime::env()).await.unwrap();
    assert_eq!(report.findings.len(), CLAUSES.len());
    let reopening = report.findings.iter().filter(|finding| finding.clause.id.starts_with('S'));
    for finding in reopening {
        let tested = matches!(finding.outcome, Outcome::Passed | Outcome::Failed(_));
        assert!(tested, "{finding}");
    }
    report.failures().map(|finding| finding.clause.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flaw_is_found_by_the_chapter_about_reopening_alone() {
    for (flaw, breaks) in FLAWS {
        assert_eq!(broken_by(*flaw).await, *breaks, "{flaw:?}");
    }
}
