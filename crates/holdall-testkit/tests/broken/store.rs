//! A memory backend that breaks the contract as one row of the table says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use futures::future::BoxFuture;
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Error, Expect, Find, Health, Key, List, Memory,
    Object, Op, Operation, Page, Profile, Result, Revision, async_trait,
};
use holdall_testkit::conformance::{CLAUSES, Outcome, run_some};
use holdall_testkit::sim::simulate;

/// One way to break the contract, and what the suite must say about it.
pub(crate) struct Breaker {
    pub(crate) name: &'static str,
    /// The numbers of the clauses that it breaks: exactly these.
    pub(crate) breaks: &'static [&'static str],
    /// In how many simulated orders to look for all of them.
    pub(crate) orders: u64,
    /// What is wrong with the profile.
    pub(crate) profile: fn(&mut Profile),
    /// What is wrong with the answers.
    pub(crate) answer: for<'a> fn(&'a Broken, Call) -> BoxFuture<'a, Result<Answer>>,
}

/// One call of the backend.
pub(crate) enum Call {
    Get(Key, ByteRange),
    GetMany(Vec<Key>),
    Put(Key, Bytes, Expect),
    Delete(Key, Expect),
    List(List),
    Find(Find),
    Apply(Batch),
    Health,
}

impl Call {
    /// The same call about other keys.
    pub(crate) fn with_keys(mut self, change: impl Fn(&str) -> String) -> Self {
        let change = |key: &mut Key| *key = Key::parse(change(key.as_str())).unwrap_or(key.clone());
        match &mut self {
            Self::Get(key, _) | Self::Put(key, ..) | Self::Delete(key, _) => change(key),
            Self::GetMany(keys) => keys.iter_mut().for_each(change),
            Self::Apply(batch) => batch.ops.iter_mut().for_each(|op| match op {
                Op::Put { key, .. } | Op::Delete { key, .. } | Op::Check { key, .. } => change(key),
            }),
            Self::List(_) | Self::Find(_) | Self::Health => {}
        }
        self
    }
}

/// What a call returns.
pub(crate) enum Answer {
    Found(Option<Object>),
    FoundMany(Vec<Option<Object>>),
    Written(Revision),
    Deleted,
    Listed(Page),
    Healthy(Health),
}

/// A memory backend with small limits, wrapped in one breaker.
pub(crate) struct Broken {
    breaker: &'static Breaker,
    profiles: [Profile; 2],
    profile: AtomicUsize,
    /// What it holds. Calls made here are not broken and know no limits.
    pub(crate) memory: Memory,
    /// A count for the breaker to use.
    pub(crate) count: AtomicU64,
    notes: Mutex<BTreeMap<Key, Option<Object>>>,
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Broken({})", self.breaker.name)
    }
}

impl Broken {
    pub(crate) fn new(breaker: &'static Breaker) -> Self {
        // It keeps descriptions, whether the profile owns to it or not.
        let memory = Memory::new().with_metadata();
        // All limits differ and can be reached, so that each clause about one is put to the test.
        let mut profile = Profile {
            key_bytes_max: 400,
            value_bytes_max: 400_000,
            batch_ops_max: 64,
            batch_bytes_max: 1_000_000,
            metadata: false,
            ..memory.profile().clone()
        };
        (breaker.profile)(&mut profile);
        let other = Profile { engine: "another", ..profile.clone() };
        Self {
            breaker,
            profiles: [profile, other],
            profile: AtomicUsize::new(0),
            memory,
            count: AtomicU64::new(0),
            notes: Mutex::default(),
        }
    }

    /// What the call returns where nothing is broken.
    pub(crate) async fn honest(&self, call: Call) -> Result<Answer> {
        Ok(match call {
            Call::Get(key, range) => Answer::Found(self.memory.get(&key, range).await?),
            Call::GetMany(keys) => Answer::FoundMany(self.memory.get_many(&keys).await?),
            Call::Put(key, value, expect) => {
                self.check_limits(Operation::Put, &key, value.len())?;
                Answer::Written(self.memory.put(&key, value, expect).await?)
            }
            Call::Delete(key, expect) => {
                self.memory.delete(&key, expect).await?;
                Answer::Deleted
            }
            Call::List(list) => Answer::Listed(self.memory.list(&list).await?),
            Call::Find(_) if !self.profile().metadata => return Err(self.no_metadata()),
            Call::Find(find) => Answer::Listed(self.memory.find(&find).await?),
            Call::Apply(batch) => {
                self.check_batch(&batch)?;
                Answer::Written(self.memory.apply(batch).await?)
            }
            Call::Health => Answer::Healthy(self.memory.health().await?),
        })
    }

    /// What the breaker remembers of keys.
    pub(crate) fn notes(&self) -> MutexGuard<'_, BTreeMap<Key, Option<Object>>> {
        self.notes.lock().unwrap()
    }

    /// Whether the breaker remembers this key.
    pub(crate) fn noted(&self, key: &Key) -> bool {
        self.notes().contains_key(key)
    }

    /// From now on the profile is another one.
    pub(crate) fn change_profile(&self) {
        self.profile.fetch_xor(1, Ordering::Relaxed);
    }

    /// Fails unless the expectation holds now; a write that comes later does not look again.
    pub(crate) async fn check(
        &self,
        operation: Operation,
        key: &Key,
        expect: &Expect,
    ) -> Result<()> {
        let found = self.memory.get_all(key).await?;
        if expect.holds(found.map(|found| found.revision).as_ref()) {
            return Ok(());
        }
        Err(conflict(operation, key))
    }
}

/// A conflict about this key.
pub(crate) fn conflict(operation: Operation, key: &Key) -> Error {
    Error::conflict(operation, "the key is not as expected").with_key(key)
}

/// A refusal of what the contract allows.
pub(crate) fn refusal(operation: Operation) -> Error {
    Error::invalid(operation, "this is refused, though the contract allows it")
}

#[async_trait]
impl Backend for Broken {
    fn profile(&self) -> &Profile {
        &self.profiles[self.profile.load(Ordering::Relaxed)]
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        match (self.breaker.answer)(self, Call::Get(key.clone(), range)).await? {
            Answer::Found(found) => Ok(found),
            _ => unreachable!("a get was answered otherwise"),
        }
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        match (self.breaker.answer)(self, Call::GetMany(keys.to_vec())).await? {
            Answer::FoundMany(found) => Ok(found),
            _ => unreachable!("a get_many was answered otherwise"),
        }
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        match (self.breaker.answer)(self, Call::Put(key.clone(), value, expect)).await? {
            Answer::Written(revision) => Ok(revision),
            _ => unreachable!("a put was answered otherwise"),
        }
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        match (self.breaker.answer)(self, Call::Delete(key.clone(), expect)).await? {
            Answer::Deleted => Ok(()),
            _ => unreachable!("a delete was answered otherwise"),
        }
    }

    async fn list(&self, list: &List) -> Result<Page> {
        match (self.breaker.answer)(self, Call::List(list.clone())).await? {
            Answer::Listed(page) => Ok(page),
            _ => unreachable!("a listing was answered otherwise"),
        }
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        match (self.breaker.answer)(self, Call::Find(find.clone())).await? {
            Answer::Listed(page) => Ok(page),
            _ => unreachable!("a find was answered otherwise"),
        }
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        match (self.breaker.answer)(self, Call::Apply(batch)).await? {
            Answer::Written(revision) => Ok(revision),
            _ => unreachable!("a batch was answered otherwise"),
        }
    }

    async fn health(&self) -> Result<Health> {
        match (self.breaker.answer)(self, Call::Health).await? {
            Answer::Healthy(health) => Ok(health),
            _ => unreachable!("health was answered otherwise"),
        }
    }
}

/// Runs the whole suite against the breaker, each clause on a backend of its own: it must report
/// exactly the clauses that the breaker says it breaks. Where that needs a race, simulated orders
/// are tried until all have shown.
#[track_caller]
pub(crate) fn is_found_out(breaker: &'static Breaker) {
    let mut found = BTreeSet::new();
    let mut reasons = String::new();
    let wanted = BTreeSet::from_iter(breaker.breaks.iter().copied());
    for order in 0..breaker.orders {
        for clause in CLAUSES {
            let mut report = simulate(order, |env| async move {
                let backend = Arc::new(Broken::new(breaker));
                run_some(backend, "broken/", &env, &[clause.id]).await
            });
            let finding = report.findings.remove(0);
            if matches!(finding.outcome, Outcome::Failed(_)) && found.insert(clause.id) {
                reasons.push_str(&format!("\n{finding}"));
            }
        }
        if found.is_superset(&wanted) {
            break;
        }
    }
    let name = breaker.name;
    assert_eq!(found, wanted, "{name} (left) breaks other clauses than stated:{reasons}");
}
