//! A wrapper that remembers every call, so that a test can assert how many an action cost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdall_core::{
    Backend, Batch, ByteRange, Bytes, ErrorKind, Expect, Find, Health, Key, List, Object, Op, Page,
    Profile, Result, Revision, async_trait,
};

use crate::method::Method;

/// One call and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which method.
    pub method: Method,
    /// The keys it named; for `list` and `find`, none.
    pub keys: Vec<Key>,
    /// For `list` and `find`, the prefix; otherwise empty.
    pub prefix: String,
    /// Value bytes that went in.
    pub bytes_in: u64,
    /// Value bytes that came out.
    pub bytes_out: u64,
    /// The kind of its error, if it failed.
    pub error: Option<ErrorKind>,
}

/// Remembers every call that is made through it. Cloning gives another handle on the same memory.
#[derive(Clone, Debug)]
pub struct Recording {
    inner: Arc<dyn Backend>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Recording {
    /// Wraps a backend.
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        Self { inner, calls: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All calls so far, in the order in which they ended.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().clone()
    }

    /// All calls so far, and forgets them.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.lock())
    }

    /// How many calls of this method there were.
    pub fn count(&self, method: Method) -> usize {
        self.lock().iter().filter(|call| call.method == method).count()
    }

    /// How many calls of each method there were; methods without calls are left out.
    pub fn counts(&self) -> BTreeMap<Method, usize> {
        let mut counts = BTreeMap::new();
        for call in self.lock().iter() {
            *counts.entry(call.method).or_default() += 1;
        }
        counts
    }

    /// Asserts that since the last time exactly these calls were made, and forgets them. Methods
    /// that are not named must not have been called.
    ///
    /// # Panics
    /// Panics with both counts and all calls if they differ.
    #[track_caller]
    pub fn assert_calls(&self, wanted: &[(Method, usize)]) {
        let found = self.counts();
        let wanted: BTreeMap<Method, usize> =
            wanted.iter().copied().filter(|(_, count)| *count > 0).collect();
        let calls = self.take();
        assert_eq!(found, wanted, "the calls were {calls:#?}");
    }

    fn record<T>(&self, call: Call, answer: Result<T>, bytes_out: impl Fn(&T) -> u64) -> Result<T> {
        let (bytes_out, error) = match &answer {
            Ok(value) => (bytes_out(value), None),
            Err(error) => (0, Some(error.kind())),
        };
        self.lock().push(Call { bytes_out, error, ..call });
        answer
    }
}

fn call(method: Method, keys: &[Key], bytes_in: u64) -> Call {
    let prefix = String::new();
    Call { method, keys: keys.to_vec(), prefix, bytes_in, bytes_out: 0, error: None }
}

fn bytes_of(object: &Option<Object>) -> u64 {
    object.as_ref().map_or(0, |object| object.value.len() as u64)
}

fn page_bytes(page: &Page) -> u64 {
    page.rows.iter().map(|row| bytes_of(&row.object)).sum()
}

#[async_trait]
impl Backend for Recording {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        let answer = self.inner.get(key, range).await;
        self.record(call(Method::Get, std::slice::from_ref(key), 0), answer, bytes_of)
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        let answer = self.inner.get_many(keys).await;
        let bytes = |found: &Vec<Option<Object>>| found.iter().map(bytes_of).sum();
        self.record(call(Method::GetMany, keys, 0), answer, bytes)
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        let call = call(Method::Put, std::slice::from_ref(key), value.len() as u64);
        let answer = self.inner.put(key, value, expect).await;
        self.record(call, answer, |_| 0)
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let answer = self.inner.delete(key, expect).await;
        self.record(call(Method::Delete, std::slice::from_ref(key), 0), answer, |()| 0)
    }

    async fn list(&self, list: &List) -> Result<Page> {
        let answer = self.inner.list(list).await;
        let call = Call { prefix: list.prefix.clone(), ..call(Method::List, &[], 0) };
        self.record(call, answer, page_bytes)
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        let answer = self.inner.find(find).await;
        let call = Call { prefix: find.list.prefix.clone(), ..call(Method::Find, &[], 0) };
        self.record(call, answer, page_bytes)
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        let keys: Vec<Key> = batch.ops.iter().map(|op| op.key().clone()).collect();
        let values = batch.ops.iter().map(|op| match op {
            Op::Put { value, .. } => value.len() as u64,
            Op::Delete { .. } | Op::Check { .. } => 0,
        });
        let call = call(Method::Apply, &keys, values.sum());
        let answer = self.inner.apply(batch).await;
        self.record(call, answer, |_| 0)
    }

    async fn health(&self) -> Result<Health> {
        let answer = self.inner.health().await;
        self.record(call(Method::Health, &[], 0), answer, |_| 0)
    }
}
