//! Counts what goes through: calls, errors by kind, bytes, and how long each call took.
//!
//! Above: callers, if this is the outermost layer, as `stack.rs` puts it. Below: [`Limited`], so
//! that what is measured is what the caller feels, waiting included. Nothing on the path takes a
//! lock: a call costs two looks at the clock and a handful of atomic additions.
//!
//! [`Limited`]: crate::Limited

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use holdall_core::{
    Backend, Batch, ByteRange, Env, ErrorKind, Expect, Find, Health, Key, List, Object, Operation,
    Page, Profile, Result, Revision, Stopwatch, async_trait,
};

use crate::histogram::{Histogram, Latency, Times};

/// The calls that are told apart, in the order of the trait. `get_many` counts as a get of its
/// own kind, because one call may read thousands of keys.
const CALLS: [Call; 8] = [
    Call::Get,
    Call::GetMany,
    Call::Put,
    Call::Delete,
    Call::List,
    Call::Find,
    Call::Apply,
    Call::Health,
];

const KINDS: [ErrorKind; 9] = [
    ErrorKind::Invalid,
    ErrorKind::Conflict,
    ErrorKind::Full,
    ErrorKind::Unavailable,
    ErrorKind::Unknown,
    ErrorKind::Corrupt,
    ErrorKind::Denied,
    ErrorKind::Unsupported,
    ErrorKind::Closed,
];

/// A method of [`Backend`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// `get`
    Get,
    /// `get_many`
    GetMany,
    /// `put`
    Put,
    /// `delete`
    Delete,
    /// `list`
    List,
    /// `find`
    Find,
    /// `apply`
    Apply,
    /// `health`
    Health,
}

impl Call {
    /// The call as one lower-case word, as in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => Operation::Get.as_str(),
            Self::GetMany => "get_many",
            Self::Put => Operation::Put.as_str(),
            Self::Delete => Operation::Delete.as_str(),
            Self::List => Operation::List.as_str(),
            Self::Find => Operation::Find.as_str(),
            Self::Apply => Operation::Apply.as_str(),
            Self::Health => Operation::Health.as_str(),
        }
    }
}

/// A backend whose calls are counted.
#[derive(Debug)]
pub struct Metered {
    inner: Arc<dyn Backend>,
    env: Env,
    metrics: Metrics,
}

impl Metered {
    /// Counts what goes through to `inner`.
    pub fn new(inner: Arc<dyn Backend>, env: &Env) -> Self {
        Self { inner, env: env.clone(), metrics: Metrics::default() }
    }

    /// A handle on the counts, which goes on working when the layer is boxed away.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    fn begin(&self, call: Call, bytes_in: usize) -> Measure<'_> {
        let counters = &self.metrics.calls[call as usize];
        counters.bytes_in.fetch_add(bytes_in as u64, Relaxed);
        Measure { counters, watch: self.env.stopwatch(), ended: false }
    }
}

/// A handle on a [`Metered`] layer's counts, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    calls: Arc<[Counters; CALLS.len()]>,
}

#[derive(Debug, Default)]
struct Counters {
    count: AtomicU64,
    errors: [AtomicU64; KINDS.len()],
    dropped: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    times: Histogram,
}

impl Metrics {
    /// The counts at this moment, one place for each call in the order of the trait.
    pub fn snapshot(&self) -> Vec<CallMetrics> {
        CALLS
            .iter()
            .zip(self.calls.iter())
            .map(|(call, counters)| counters.snapshot(*call))
            .collect()
    }

    /// The counts of one call at this moment.
    pub fn of(&self, call: Call) -> CallMetrics {
        self.calls[call as usize].snapshot(call)
    }
}

/// What one call has done so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallMetrics {
    /// Which call.
    pub call: Call,
    /// How many have ended, errors included.
    pub count: u64,
    /// How many of these ended with an error, by its kind; kinds that did not happen are left out.
    pub errors: Vec<(ErrorKind, u64)>,
    /// How many futures were dropped before they ended. They are in no other count.
    pub dropped: u64,
    /// Value bytes that callers handed in to be written, with their keys.
    pub bytes_in: u64,
    /// Value bytes that callers got.
    pub bytes_out: u64,
    /// How long the calls took that ended.
    pub times: Times,
}

impl CallMetrics {
    /// Mean and quantiles of how long the calls took.
    pub fn latency(&self) -> Latency {
        self.times.latency()
    }
}

impl Counters {
    fn snapshot(&self, call: Call) -> CallMetrics {
        let errors =
            KINDS.iter().zip(&self.errors).map(|(kind, count)| (*kind, count.load(Relaxed)));
        CallMetrics {
            call,
            count: self.count.load(Relaxed),
            errors: errors.filter(|(_, count)| *count > 0).collect(),
            dropped: self.dropped.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            times: self.times.times(),
        }
    }
}

/// One call under way.
struct Measure<'a> {
    counters: &'a Counters,
    watch: Stopwatch,
    ended: bool,
}

impl Measure<'_> {
    fn end<T>(mut self, result: Result<T>, bytes_out: impl FnOnce(&T) -> usize) -> Result<T> {
        self.ended = true;
        self.counters.times.add(self.watch.elapsed());
        self.counters.count.fetch_add(1, Relaxed);
        match &result {
            Ok(value) => {
                self.counters.bytes_out.fetch_add(bytes_out(value) as u64, Relaxed);
            }
            Err(error) => {
                // A kind that is newer than this list is counted as a call and not by kind.
                let kind = KINDS.iter().position(|kind| *kind == error.kind());
                if let Some(kind) = kind {
                    self.counters.errors[kind].fetch_add(1, Relaxed);
                }
            }
        }
        result
    }
}

impl Drop for Measure<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.counters.dropped.fetch_add(1, Relaxed);
        }
    }
}

fn size(object: &Option<Object>) -> usize {
    object.as_ref().map_or(0, |object| object.value.len())
}

fn page_bytes(page: &Page) -> usize {
    page.rows.iter().map(|row| size(&row.object)).sum()
}

fn nothing<T>(_: &T) -> usize {
    0
}

#[async_trait]
impl Backend for Metered {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        let measure = self.begin(Call::Get, 0);
        measure.end(self.inner.get(key, range).await, size)
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        let measure = self.begin(Call::GetMany, 0);
        measure.end(self.inner.get_many(keys).await, |found| found.iter().map(size).sum())
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        let measure = self.begin(Call::Put, key.as_bytes().len() + value.len());
        measure.end(self.inner.put(key, value, expect).await, nothing)
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let measure = self.begin(Call::Delete, key.as_bytes().len());
        measure.end(self.inner.delete(key, expect).await, nothing)
    }

    async fn list(&self, list: &List) -> Result<Page> {
        let measure = self.begin(Call::List, 0);
        measure.end(self.inner.list(list).await, page_bytes)
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        let measure = self.begin(Call::Find, 0);
        measure.end(self.inner.find(find).await, page_bytes)
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        let measure = self.begin(Call::Apply, batch.bytes());
        measure.end(self.inner.apply(batch).await, nothing)
    }

    async fn health(&self) -> Result<Health> {
        let measure = self.begin(Call::Health, 0);
        measure.end(self.inner.health().await, nothing)
    }
}

const _: () = {
    // Counters are found by the call's number.
    let mut at = 0;
    while at < CALLS.len() {
        assert!(CALLS[at] as usize == at, "calls are listed in their own order");
        at += 1;
    }
};
