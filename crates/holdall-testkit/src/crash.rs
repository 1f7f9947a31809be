//! Crash points: the process ends at a chosen step of a chosen action.
//!
//! Every write that goes through [`Crashing`] has two points, before and after it happens:
//! `put.before`, `put.after`, `delete.before`, …. A first run counts them; then one run for each
//! point ends there, either really (a child process is aborted, its point given by
//! `HOLDALL_CRASH_POINT`) or as good as (the backend is `Closed` for ever, and the test opens the
//! inner one anew).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdall_core::{
    Backend, Batch, ByteRange, Bytes, Error, Expect, Find, Health, Key, List, Object, Page,
    Profile, Result, Revision, async_trait,
};

use crate::method::Method;

/// The point at which a child process is to abort: `17` is the 17th that is reached,
/// `apply.after:3` the third of that name.
pub const CRASH_VARIABLE: &str = "HOLDALL_CRASH_POINT";

/// How a crash is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process is aborted: nothing is flushed, nothing is dropped.
    Abort,
    /// From then on every call is `Closed` and does nothing.
    Close,
}

#[derive(Debug)]
struct State {
    /// Empty stands for any name.
    name: String,
    /// How many more such points are passed before the crash; `None` never crashes.
    left: Option<u64>,
    crash: Crash,
    crashed: bool,
    reached: Vec<String>,
}

/// Counts the points that are reached, and crashes at one of them. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct CrashPoints(Arc<Mutex<State>>);

impl CrashPoints {
    fn new(name: &str, left: Option<u64>, crash: Crash) -> Self {
        let reached = Vec::new();
        let state = State { name: name.to_owned(), left, crash, crashed: false, reached };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Never crashes, only counts.
    pub fn never() -> Self {
        Self::new("", None, Crash::Close)
    }

    /// Crashes at the `nth` point that is reached, whatever its name; the first is 1.
    pub fn nth(nth: u64, crash: Crash) -> Self {
        Self::new("", Some(nth.saturating_sub(1)), crash)
    }

    /// Crashes at the `nth` point of this name; the first is 1.
    pub fn named(name: &str, nth: u64, crash: Crash) -> Self {
        Self::new(name, Some(nth.saturating_sub(1)), crash)
    }

    /// Aborts the process where `HOLDALL_CRASH_POINT` says; never, if it is not set.
    ///
    /// # Panics
    /// Panics if the variable cannot be read: a crash test must not pass for a slip of the pen.
    #[allow(clippy::disallowed_methods, reason = "a child process is told from outside")]
    pub fn from_environment() -> Self {
        match std::env::var(CRASH_VARIABLE) {
            Ok(text) => {
                let parsed = Self::parse(&text);
                parsed.expect("HOLDALL_CRASH_POINT is a number, or a name, a colon and a number")
            }
            Err(_) => Self::never(),
        }
    }

    /// Reads `17` or `apply.after:3`.
    fn parse(text: &str) -> Option<Self> {
        let (name, nth) = text.rsplit_once(':').unwrap_or(("", text));
        let nth: u64 = nth.parse().ok().filter(|nth| *nth > 0)?;
        Some(Self::named(name, nth, Crash::Abort))
    }

    // Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of all points that were reached, in order: the list to crash at in later runs.
    pub fn reached(&self) -> Vec<String> {
        self.lock().reached.clone()
    }

    /// How often each name was reached.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for name in &self.lock().reached {
            *counts.entry(name.clone()).or_default() += 1;
        }
        counts
    }

    /// Whether it has crashed.
    pub fn has_crashed(&self) -> bool {
        self.lock().crashed
    }

    /// Passes a point of this name: in processes that are to abort there, this does not return.
    /// True if it was the crash, or if that was before.
    #[allow(clippy::disallowed_methods, reason = "aborting is what a crash point is for")]
    pub fn reach(&self, name: &str) -> bool {
        let mut state = self.lock();
        if state.crashed {
            return true;
        }
        state.reached.push(name.to_owned());
        if !state.name.is_empty() && state.name != name {
            return false;
        }
        match state.left {
            Some(0) if state.crash == Crash::Abort => std::process::abort(),
            Some(0) => state.crashed = true,
            Some(left) => state.left = Some(left - 1),
            None => {}
        }
        state.crashed
    }
}

/// Passes a crash point before and after every write.
#[derive(Clone, Debug)]
pub struct Crashing {
    inner: Arc<dyn Backend>,
    points: CrashPoints,
}

impl Crashing {
    /// Wraps a backend.
    pub fn new(inner: Arc<dyn Backend>, points: CrashPoints) -> Self {
        Self { inner, points }
    }

    fn alive(&self, method: Method) -> Result<()> {
        if self.points.has_crashed() { Err(gone(method)) } else { Ok(()) }
    }

    async fn write<T>(
        &self,
        method: Method,
        write: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        if self.points.reach(&format!("{method}.before")) {
            return Err(gone(method));
        }
        let answer = write.await;
        if self.points.reach(&format!("{method}.after")) {
            let message = "the simulated process ended before it could hear the answer";
            return Err(Error::unknown(method.operation(), message));
        }
        answer
    }
}

fn gone(method: Method) -> Error {
    Error::closed(method.operation(), "the simulated process has ended; open the backend anew")
}

#[async_trait]
impl Backend for Crashing {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.alive(Method::Get)?;
        self.inner.get(key, range).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.alive(Method::GetMany)?;
        self.inner.get_many(keys).await
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.write(Method::Put, self.inner.put(key, value, expect)).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.write(Method::Delete, self.inner.delete(key, expect)).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.alive(Method::List)?;
        self.inner.list(list).await
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        self.alive(Method::Find)?;
        self.inner.find(find).await
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.write(Method::Apply, self.inner.apply(batch)).await
    }

    async fn health(&self) -> Result<Health> {
        self.alive(Method::Health)?;
        self.inner.health().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read_as_they_are_written() {
        for text in ["0", "", "apply.after:", "apply.after:0", "apply.after", "-1"] {
            assert!(CrashPoints::parse(text).is_none(), "{text:?}");
        }
        assert_eq!(CrashPoints::parse("17").unwrap().lock().left, Some(16));
        let named = CrashPoints::parse("apply.after:3").unwrap();
        let state = named.lock();
        assert_eq!((state.name.as_str(), state.left), ("apply.after", Some(2)));
    }

    #[test]
    fn crashes_at_the_named_point_and_stays_so() {
        let points = CrashPoints::named("put.after", 2, Crash::Close);
        let passed: Vec<bool> = ["put.after", "put.before", "put.after", "put.before"]
            .iter()
            .map(|name| points.reach(name))
            .collect();
        assert_eq!(passed, [false, false, true, true]);
        assert_eq!(points.reached(), ["put.after", "put.before", "put.after"]);
    }
}
