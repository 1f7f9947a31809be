//! Tries again what surely did not happen, and finds out what perhaps did.
//!
//! Above: [`Limited`], whose deadline covers all attempts. Below: an engine across a network.
//!
//! - A call that is `Unavailable` has done nothing and is made again, after a pause that doubles
//!   and is drawn at random between nothing and its length ("full jitter", AWS Architecture Blog,
//!   *Exponential Backoff And Jitter*), so that those who were refused together do not come back
//!   together.
//! - A write that is `Unknown` is looked for. If what it wrote is there, it is written once more,
//!   expecting what was found: what can be read back may be in one memory alone, and only a write
//!   that is answered is as durable as the profile says. If it is not there, it is made again, for
//!   with the same expectation it cannot happen twice. Whatever comes of that, short of success, is
//!   reported as `Unknown`: a conflict may then be with itself.
//! - Everything else is reported as it is, and so is the last attempt.
//!
//! Looking is comparing values, and so a caller that writes with conditions must write values that
//! nobody else writes: with a nonce in them, as a volume's commits have (clause P6). A backend that
//! cannot expect a revision cannot confirm one; there the look alone counts, unless durability is
//! the machine's.
//!
//! [`Limited`]: crate::Limited

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Conditions, Durability, Env, Error, ErrorKind, Expect,
    Find, Health, Key, List, Object, Op, Operation, Page, Profile, Result, Revision, async_trait,
};

/// How often and after which pauses [`Retrying`] tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How often a call is made at the most; at least once.
    pub attempts_max: u32,
    /// The longest pause after the first attempt; it doubles with each.
    pub pause_first: Duration,
    /// No pause is longer.
    pub pause_max: Duration,
}

impl Default for Retries {
    /// Six attempts in at most some 6 seconds: a server that is started again is back by then.
    fn default() -> Self {
        let pause_first = Duration::from_millis(100);
        Self { attempts_max: 6, pause_first, pause_max: Duration::from_secs(3) }
    }
}

/// A backend whose calls are made again where that is safe.
#[derive(Debug)]
pub struct Retrying {
    inner: Arc<dyn Backend>,
    env: Env,
    retries: Retries,
}

/// What may be done after a write whose outcome is not known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// Make it again: it cannot happen twice, or that makes no difference.
    Again,
    /// Nothing: only whoever made it can tell.
    Nothing,
}

/// What shows that a write that can be read back is there for good.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Confirms {
    /// Writing the same once more, where nobody has written since.
    Write,
    /// Seeing it.
    Look,
    /// Nothing.
    Nothing,
}

impl Retrying {
    /// Tries calls to `inner` again.
    ///
    /// # Errors
    /// `Invalid` if no attempt is allowed.
    pub fn new(inner: Arc<dyn Backend>, retries: Retries, env: &Env) -> Result<Self> {
        if retries.attempts_max == 0 {
            let message = "attempts_max is 0; allow at least 1 attempt";
            return Err(Error::invalid(Operation::Configure, message));
        }
        Ok(Self { inner, env: env.clone(), retries })
    }

    /// Waits before the next attempt; false if there is none.
    async fn pause(&self, attempts: u32) -> bool {
        if attempts >= self.retries.attempts_max {
            return false;
        }
        let factor = 1_u32.checked_shl(attempts - 1).unwrap_or(u32::MAX);
        let longest = self.retries.pause_first.saturating_mul(factor).min(self.retries.pause_max);
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        let pause = Duration::from_micros(self.env.random_below(micros.saturating_add(1)));
        self.env.sleep(pause).await;
        true
    }

    async fn read<'a, T>(&'a self, call: impl Fn() -> BoxFuture<'a, Result<T>>) -> Result<T> {
        let mut attempts = 1;
        loop {
            match call().await {
                Err(e) if e.kind() == ErrorKind::Unavailable && self.pause(attempts).await => {
                    attempts += 1;
                }
                result => return result,
            }
        }
    }

    /// `look` tells whether the write is there for good, where that can be told.
    async fn write<'a, T>(
        &'a self,
        after: After,
        call: impl Fn() -> BoxFuture<'a, Result<T>>,
        look: impl Fn() -> BoxFuture<'a, Result<Option<T>>>,
    ) -> Result<T> {
        // The first attempt whose outcome is not known.
        let mut open: Option<Error> = None;
        let mut attempts = 1;
        loop {
            let error = match call().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let mut kind = error.kind();
            let error = match open.take() {
                Some(earlier) => earlier,
                None => error,
            };
            if error.kind() == ErrorKind::Unknown {
                match look().await {
                    Ok(Some(done)) => return Ok(done),
                    Ok(None) => {}
                    Err(look) if is_passing(look.kind()) => kind = look.kind(),
                    Err(_) => {}
                }
                if after == After::Nothing {
                    return Err(error);
                }
            }
            if !is_passing(kind) || !self.pause(attempts).await {
                return Err(error);
            }
            attempts += 1;
            open = Some(error).filter(|error| error.kind() == ErrorKind::Unknown);
        }
    }

    /// What confirms a write that was found.
    fn confirms(&self) -> Confirms {
        let profile = self.inner.profile();
        match (profile.conditions, profile.durability) {
            (Conditions::Revision, _) => Confirms::Write,
            (_, Durability::Machine) => Confirms::Nothing,
            _ => Confirms::Look,
        }
    }

    /// The revision under which these bytes are there for good, unless it is the one that was
    /// expected.
    async fn find(&self, key: &Key, value: &Bytes, expect: &Expect) -> Result<Option<Revision>> {
        let confirms = self.confirms();
        if confirms == Confirms::Nothing {
            return Ok(None);
        }
        let found = self.inner.get_all(key).await?;
        let found = found.filter(|found| found.value == *value).map(|found| found.revision);
        let Some(found) = found.filter(|revision| is_new(expect, revision)) else {
            return Ok(None);
        };
        if confirms == Confirms::Look {
            return Ok(Some(found));
        }
        self.inner.put(key, value.clone(), Expect::Revision(found)).await.map(Some)
    }

    /// The revision under which all that a batch writes is there for good.
    async fn find_all(&self, batch: &Batch) -> Result<Option<Revision>> {
        let confirms = self.confirms();
        if confirms == Confirms::Nothing {
            return Ok(None);
        }
        let keys: Vec<Key> = batch.ops.iter().map(|op| op.key().clone()).collect();
        let found = self.inner.get_many(&keys).await?;
        let mut common: Option<Revision> = None;
        for (op, found) in batch.ops.iter().zip(found) {
            match (op, found) {
                (Op::Put { value, expect, .. }, Some(object))
                    if object.value == *value && is_new(expect, &object.revision) =>
                {
                    if common.get_or_insert_with(|| object.revision.clone()) != &object.revision {
                        return Ok(None);
                    }
                }
                (Op::Delete { .. }, None) | (Op::Check { .. }, _) => {}
                _ => return Ok(None),
            }
        }
        match common {
            Some(found) if confirms == Confirms::Write => {
                self.inner.apply(confirming(batch, &found)).await.map(Some)
            }
            common => Ok(common),
        }
    }
}

/// Writes what a batch has written once more, if nobody has changed it since.
fn confirming(batch: &Batch, found: &Revision) -> Batch {
    let mut again = batch.clone();
    again.ops.retain(|op| !matches!(op, Op::Check { .. }));
    for op in &mut again.ops {
        match op {
            Op::Put { expect, .. } => *expect = Expect::Revision(found.clone()),
            Op::Delete { expect, .. } | Op::Check { expect, .. } => *expect = Expect::Absent,
        }
    }
    again
}

/// Whether the same call may go better a little later.
fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unavailable | ErrorKind::Unknown)
}

fn is_new(expect: &Expect, revision: &Revision) -> bool {
    !matches!(expect, Expect::Revision(expected) if expected == revision)
}

#[async_trait]
impl Backend for Retrying {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.read(|| self.inner.get(key, range)).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.read(|| self.inner.get_many(keys)).await
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        let call = || self.inner.put(key, value.clone(), expect.clone());
        let look = || -> BoxFuture<'_, _> { Box::pin(self.find(key, &value, &expect)) };
        self.write(After::Again, call, look).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        // Whether this call or another removed a revision cannot be seen afterwards.
        let after = match expect {
            Expect::Revision(_) => After::Nothing,
            Expect::Any | Expect::Absent => After::Again,
        };
        let look = || -> BoxFuture<'_, _> { Box::pin(async { Ok(None) }) };
        self.write(after, || self.inner.delete(key, expect.clone()), look).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.read(|| self.inner.list(list)).await
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        self.read(|| self.inner.find(find)).await
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        let puts = batch.ops.iter().any(|op| matches!(op, Op::Put { .. }));
        let free = batch.ops.iter().all(|op| *op.expect() == Expect::Any);
        let after = if puts || free { After::Again } else { After::Nothing };
        let look = || -> BoxFuture<'_, _> { Box::pin(self.find_all(&batch)) };
        self.write(after, || self.inner.apply(batch.clone()), look).await
    }

    async fn health(&self) -> Result<Health> {
        // Whoever asks wants to know how it is now.
        self.inner.health().await
    }
}
