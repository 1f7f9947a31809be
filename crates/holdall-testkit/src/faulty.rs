//! A wrapper that makes the faults of real stores happen, by a seed or by a script.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdall_core::{
    Backend, Batch, ByteRange, Bytes, Env, Error, ErrorKind, Expect, Find, Health, Key, List,
    Object, Page, Profile, Result, Revision, async_trait,
};

use crate::Chance;
use crate::method::Method;

/// How long a caller waits for a request or reply that was lost.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// What can go wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nothing happens; `Unavailable`.
    FailBefore,
    /// The call happens, then fails at once: a write is `Unknown`, a read `Unavailable`.
    FailAfter,
    /// A write never arrives; after 30 s it is `Unknown`.
    RequestLost,
    /// A write happens, but nobody answers; after 30 s it is `Unknown`.
    ReplyLost,
    /// A write is `Unknown` at once and happens so many calls later, if its expectation still
    /// holds then.
    LandsLate(u32),
    /// A batch is refused when half of it was looked at: nothing happens; `Unavailable`.
    BatchRefused,
    /// A page ends early and says that there is more.
    ShortList,
    /// Part of a put's value is written; `Unknown`. Breaks the contract, as a failing disk does.
    TornWrite,
    /// There is no room: `Full`.
    NoSpace,
    /// A write may have happened or not: `Unknown`, and from then on everything is `Closed`.
    FailedFsync,
    /// The call takes so much longer.
    Slow(Duration),
    /// One bit of a value that is read is wrong. Breaks the contract, as a failing disk does.
    FlippedRead,
}

impl Fault {
    /// Whether this can happen to this method.
    pub fn fits(self, method: Method) -> bool {
        match self {
            Self::FailBefore | Self::FailAfter | Self::Slow(_) => true,
            Self::RequestLost | Self::ReplyLost | Self::LandsLate(_) | Self::FailedFsync => {
                method.writes()
            }
            Self::NoSpace => matches!(method, Method::Put | Method::Apply),
            Self::BatchRefused => method == Method::Apply,
            Self::ShortList => matches!(method, Method::List | Method::Find),
            Self::TornWrite => method == Method::Put,
            Self::FlippedRead => method == Method::Get,
        }
    }
}

/// Which faults happen when.
#[derive(Clone, Debug)]
pub struct Plan {
    seed: u64,
    chances: Vec<(Method, Fault, u32)>,
    script: Vec<(Method, u64, Fault)>,
}

impl Plan {
    /// No faults yet; those that are added by chance are drawn from this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, chances: Vec::new(), script: Vec::new() }
    }

    /// Every fault that the contract allows, now and then; none that closes the backend for good.
    pub fn stormy(seed: u64) -> Self {
        Self::new(seed)
            .everywhere(Fault::FailBefore, 20)
            .everywhere(Fault::FailAfter, 15)
            .everywhere(Fault::RequestLost, 5)
            .everywhere(Fault::ReplyLost, 10)
            .everywhere(Fault::LandsLate(3), 10)
            .everywhere(Fault::BatchRefused, 15)
            .everywhere(Fault::ShortList, 200)
            .everywhere(Fault::NoSpace, 5)
            .everywhere(Fault::Slow(Duration::from_millis(300)), 30)
    }

    /// This fault in so many of a thousand calls of this method.
    #[must_use]
    pub fn chance(mut self, method: Method, fault: Fault, per_mille: u32) -> Self {
        self.chances.push((method, fault, per_mille));
        self
    }

    /// This fault in so many of a thousand calls of every method that it fits.
    #[must_use]
    pub fn everywhere(mut self, fault: Fault, per_mille: u32) -> Self {
        let fits = Method::ALL.into_iter().filter(|method| fault.fits(*method));
        self.chances.extend(fits.map(|method| (method, fault, per_mille)));
        self
    }

    /// This fault at the `nth` call of this method; the first is 1.
    #[must_use]
    pub fn at(mut self, method: Method, nth: u64, fault: Fault) -> Self {
        self.script.push((method, nth, fault));
        self
    }
}

/// A fault that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injected {
    /// To which method.
    pub method: Method,
    /// At its which call; the first is 1.
    pub nth: u64,
    /// What happened.
    pub fault: Fault,
}

#[derive(Debug)]
enum Late {
    Put(Key, Bytes, Expect),
    Delete(Key, Expect),
    Apply(Batch),
}

#[derive(Debug)]
struct State {
    plan: Plan,
    chance: Chance,
    calls: BTreeMap<Method, u64>,
    injected: Vec<Injected>,
    late: Vec<(u32, Late)>,
    closed: bool,
    paused: bool,
}

/// Makes faults happen to the calls that go through it. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Faulty {
    inner: Arc<dyn Backend>,
    env: Env,
    state: Arc<Mutex<State>>,
}

fn unknown(method: Method) -> Error {
    let message = "an injected fault left the outcome of this write open; look before trying again";
    Error::unknown(method.operation(), message)
}

fn closed(method: Method) -> Error {
    Error::closed(
        method.operation(),
        "an injected fsync failure closed this backend; open it again",
    )
}

impl Faulty {
    /// Wraps a backend.
    pub fn new(inner: Arc<dyn Backend>, env: Env, plan: Plan) -> Self {
        let state = State {
            chance: Chance::new(plan.seed),
            plan,
            calls: BTreeMap::new(),
            injected: Vec::new(),
            late: Vec::new(),
            closed: false,
            paused: false,
        };
        Self { inner, env, state: Arc::new(Mutex::new(state)) }
    }

    // Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops making faults; calls are still counted, and late writes still land.
    pub fn pause(&self) {
        self.lock().paused = true;
    }

    /// Goes on making faults.
    pub fn resume(&self) {
        self.lock().paused = false;
    }

    /// Everything that went wrong so far, in order.
    pub fn injected(&self) -> Vec<Injected> {
        self.lock().injected.clone()
    }

    /// Serves again after a failed fsync, as after opening anew.
    pub fn reopen(&self) {
        self.lock().closed = false;
    }

    /// Lets every write that is still under way land now.
    pub async fn land(&self) {
        let late = std::mem::take(&mut self.lock().late);
        for (_, write) in late {
            self.land_one(write).await;
        }
    }

    async fn land_one(&self, write: Late) {
        // Its caller has long gone with `Unknown`; whether it still holds is nobody's to hear.
        let _ = match write {
            Late::Put(key, value, expect) => self.inner.put(&key, value, expect).await.map(drop),
            Late::Delete(key, expect) => self.inner.delete(&key, expect).await,
            Late::Apply(batch) => self.inner.apply(batch).await.map(drop),
        };
    }

    /// Counts the call, lands what is due, and draws this call's fault.
    async fn begin(&self, method: Method) -> Result<Option<Fault>> {
        let (fault, due, is_closed) = {
            let mut state = self.lock();
            (state.draw(method), state.take_due(), state.closed)
        };
        for write in due {
            self.land_one(write).await;
        }
        if is_closed {
            return Err(closed(method));
        }
        match fault {
            Some(Fault::FailBefore | Fault::BatchRefused) => {
                let message = "an injected fault refused this call; try again";
                Err(Error::unavailable(method.operation(), message))
            }
            Some(Fault::NoSpace) => {
                Err(Error::full(method.operation(), "an injected fault says there is no room"))
            }
            Some(Fault::RequestLost) => {
                self.env.sleep(LOST_AFTER).await;
                Err(unknown(method))
            }
            Some(Fault::Slow(time)) => {
                self.env.sleep(time).await;
                Ok(None)
            }
            other => Ok(other),
        }
    }

    /// Leaves out rows at the page's end, as a backend may.
    fn cut_short(&self, page: &mut Page) {
        if page.rows.len() > 1 {
            let kept = 1 + self.lock().chance.index(page.rows.len() - 1);
            page.rows.truncate(kept);
            page.more = true;
        }
    }

    fn read<T>(&self, method: Method, fault: Option<Fault>, answer: Result<T>) -> Result<T> {
        match fault {
            Some(Fault::FailAfter) => {
                let message = "an injected fault lost the answer; try again";
                Err(Error::unavailable(method.operation(), message))
            }
            _ => answer,
        }
    }

    /// Makes the write, or what its fault leaves of it.
    async fn write<T>(
        &self,
        method: Method,
        fault: Option<Fault>,
        late: impl FnOnce() -> Late,
        write: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        match fault {
            Some(Fault::LandsLate(calls)) => {
                self.lock().late.push((calls, late()));
                Err(unknown(method))
            }
            Some(Fault::FailedFsync) => {
                let happens = {
                    let mut state = self.lock();
                    state.closed = true;
                    state.chance.happens(500)
                };
                if happens {
                    let _ = write.await;
                }
                Err(unknown(method))
            }
            Some(Fault::FailAfter | Fault::ReplyLost) => {
                let answer = write.await;
                if fault == Some(Fault::ReplyLost) {
                    self.env.sleep(LOST_AFTER).await;
                }
                // A refusal writes nothing, but a caller who hears nothing cannot know that.
                drop(answer);
                Err(unknown(method))
            }
            _ => write.await,
        }
    }
}

impl State {
    fn draw(&mut self, method: Method) -> Option<Fault> {
        let nth = self.calls.entry(method).or_default();
        *nth += 1;
        let nth = *nth;
        if self.paused || self.closed {
            return None;
        }
        let scripted = self.plan.script.iter().find(|(of, at, _)| *of == method && *at == nth);
        let mut fault = scripted.map(|(_, _, fault)| *fault);
        for (of, drawn, per_mille) in &self.plan.chances {
            if *of == method && fault.is_none() && self.chance.happens(*per_mille) {
                fault = Some(*drawn);
            }
        }
        let fault = fault.filter(|fault| fault.fits(method))?;
        self.injected.push(Injected { method, nth, fault });
        Some(fault)
    }

    fn take_due(&mut self) -> Vec<Late> {
        let mut due = Vec::new();
        for (calls, write) in std::mem::take(&mut self.late) {
            match calls.checked_sub(1) {
                Some(left) => self.late.push((left, write)),
                None => due.push(write),
            }
        }
        due
    }
}

#[async_trait]
impl Backend for Faulty {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        let fault = self.begin(Method::Get).await?;
        let mut answer = self.inner.get(key, range).await;
        if let (Some(Fault::FlippedRead), Ok(Some(object))) = (fault, &mut answer) {
            let mut bytes = object.value.to_vec();
            let at = self.lock().chance.index(bytes.len() * 8);
            if let Some(byte) = bytes.get_mut(at / 8) {
                *byte ^= 1 << (at % 8);
            }
            object.value = bytes.into();
        }
        self.read(Method::Get, fault, answer)
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        let fault = self.begin(Method::GetMany).await?;
        let answer = self.inner.get_many(keys).await;
        self.read(Method::GetMany, fault, answer)
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        let fault = self.begin(Method::Put).await?;
        if fault == Some(Fault::TornWrite) {
            let part = self.lock().chance.index(value.len());
            self.inner.put(key, value.slice(..part), expect).await?;
            return Err(unknown(Method::Put).with_key(key));
        }
        let late = || Late::Put(key.clone(), value.clone(), expect.clone());
        let write = self.inner.put(key, value.clone(), expect.clone());
        self.write(Method::Put, fault, late, write).await.map_err(|error| name(error, key))
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let fault = self.begin(Method::Delete).await?;
        let late = || Late::Delete(key.clone(), expect.clone());
        let write = self.inner.delete(key, expect.clone());
        self.write(Method::Delete, fault, late, write).await.map_err(|error| name(error, key))
    }

    async fn list(&self, list: &List) -> Result<Page> {
        let fault = self.begin(Method::List).await?;
        let mut answer = self.inner.list(list).await;
        if let (Some(Fault::ShortList), Ok(page)) = (fault, &mut answer) {
            self.cut_short(page);
        }
        self.read(Method::List, fault, answer)
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        let fault = self.begin(Method::Find).await?;
        let mut answer = self.inner.find(find).await;
        if let (Some(Fault::ShortList), Ok(page)) = (fault, &mut answer) {
            self.cut_short(page);
        }
        self.read(Method::Find, fault, answer)
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        let fault = self.begin(Method::Apply).await?;
        let late = || Late::Apply(batch.clone());
        self.write(Method::Apply, fault, late, self.inner.apply(batch.clone())).await
    }

    async fn health(&self) -> Result<Health> {
        let fault = self.begin(Method::Health).await?;
        let answer = self.inner.health().await;
        self.read(Method::Health, fault, answer)
    }
}

/// Only injected errors lack their key; the backend's own are passed on as they are.
fn name(error: Error, key: &Key) -> Error {
    if error.key().is_none() && error.kind() == ErrorKind::Unknown {
        error.with_key(key)
    } else {
        error
    }
}
