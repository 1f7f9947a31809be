//! At most so many calls at once, in the order in which they came, and none without an end.
//!
//! Above: [`Metered`], which counts the waiting too. Below: [`Journaled`], or an engine: the
//! deadline covers all that happens there.
//!
//! A call that has not begun by its deadline is `Unavailable`: nothing was written. A read that
//! has begun is given up and `Unavailable`. A write that has begun is `Unknown`, and is never
//! given up half-way: it goes on in the background, keeps its place among the calls that are
//! under way until it ends, and only its answer is lost. So a store that hangs is not buried under
//! ever more writes.
//!
//! [`Metered`]: crate::Metered
//! [`Journaled`]: crate::Journaled

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, Either, select};
use futures::poll;
use holdall_core::{
    Backend, Batch, ByteRange, Env, Error, Expect, Find, Health, Key, List, Object, Operation,
    Page, Profile, Result, Revision, Stopwatch, async_trait,
};

use holdall_core::waiting::{Permit, Turnstile};

/// What [`Limited`] holds calls to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many calls are under way at once; at least one.
    pub calls_max: usize,
    /// How long a call may take, waiting for its turn included; `None` is for ever.
    pub deadline: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { calls_max: 1024, deadline: Some(Duration::from_secs(60)) }
    }
}

/// A backend whose calls are limited in number and time.
#[derive(Debug)]
pub struct Limited {
    inner: Arc<dyn Backend>,
    env: Env,
    limits: Limits,
    turnstile: Turnstile,
}

/// One call: its turn, and the time it has.
struct Turn {
    permit: Permit,
    watch: Option<Stopwatch>,
}

impl Limited {
    /// Limits the calls to `inner`.
    ///
    /// # Errors
    /// `Invalid` if no call is allowed.
    pub fn new(inner: Arc<dyn Backend>, limits: Limits, env: &Env) -> Result<Self> {
        if limits.calls_max == 0 {
            let message = "calls_max is 0; allow at least 1 call at once";
            return Err(Error::invalid(Operation::Configure, message));
        }
        let turnstile = Turnstile::new(limits.calls_max);
        Ok(Self { inner, env: env.clone(), limits, turnstile })
    }

    async fn turn(&self, operation: Operation) -> Result<Turn> {
        let watch = self.limits.deadline.map(|_| self.env.stopwatch());
        let mut entering = Box::pin(self.turnstile.enter());
        let permit = match poll!(&mut entering) {
            std::task::Poll::Ready(permit) => permit,
            std::task::Poll::Pending => match self.left(watch.as_ref()) {
                None => entering.await,
                Some(left) => match select(entering, self.env.sleep(left)).await {
                    Either::Left((permit, _)) => permit,
                    Either::Right(_) => {
                        let message = format!(
                            "{} calls were under way until the deadline of {:?}, so this one did \
                             not begin; try again when there is less to do",
                            self.limits.calls_max,
                            self.limits.deadline.unwrap_or_default()
                        );
                        return Err(Error::unavailable(operation, message));
                    }
                },
            },
        };
        Ok(Turn { permit, watch })
    }

    fn left(&self, watch: Option<&Stopwatch>) -> Option<Duration> {
        Some(self.limits.deadline?.saturating_sub(watch?.elapsed()))
    }

    async fn read<'a, T>(
        &'a self,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        let turn = self.turn(operation).await?;
        let mut call = Box::pin(call);
        // Most reads end at once and need no clock to be set.
        if let std::task::Poll::Ready(result) = poll!(&mut call) {
            return result;
        }
        let Some(left) = self.left(turn.watch.as_ref()) else {
            return call.await;
        };
        match select(call, self.env.sleep(left)).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => {
                let message = format!(
                    "the backend did not answer by the deadline of {:?}; try again",
                    self.limits.deadline.unwrap_or_default()
                );
                Err(Error::unavailable(operation, message))
            }
        }
    }

    /// The call owns all that it needs, so that it can go on when nobody waits any more.
    async fn write<T: Send + 'static>(
        &self,
        operation: Operation,
        call: impl FnOnce(Arc<dyn Backend>) -> BoxFuture<'static, Result<T>>,
    ) -> Result<T> {
        let Turn { permit, watch } = self.turn(operation).await?;
        let call = call(Arc::clone(&self.inner));
        let Some(left) = self.left(watch.as_ref()) else {
            return call.await;
        };
        match select(call, self.env.sleep(left)).await {
            Either::Left((result, _)) => result,
            Either::Right((_, call)) => {
                self.env.spawn(async move {
                    drop(call.await);
                    drop(permit);
                });
                let message = format!(
                    "the backend did not answer by the deadline of {:?}, so this write may have \
                     happened, or still may; look before writing again",
                    self.limits.deadline.unwrap_or_default()
                );
                Err(Error::unknown(operation, message))
            }
        }
    }
}

#[async_trait]
impl Backend for Limited {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.read(Operation::Get, self.inner.get(key, range)).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.read(Operation::Get, self.inner.get_many(keys)).await
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        let key = key.clone();
        let call = |inner: Arc<dyn Backend>| -> BoxFuture<'static, Result<Revision>> {
            Box::pin(async move { inner.put(&key, value, expect).await })
        };
        self.write(Operation::Put, call).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let key = key.clone();
        let call = |inner: Arc<dyn Backend>| -> BoxFuture<'static, Result<()>> {
            Box::pin(async move { inner.delete(&key, expect).await })
        };
        self.write(Operation::Delete, call).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.read(Operation::List, self.inner.list(list)).await
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        self.read(Operation::Find, self.inner.find(find)).await
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        let call = |inner: Arc<dyn Backend>| -> BoxFuture<'static, Result<Revision>> {
            Box::pin(async move { inner.apply(batch).await })
        };
        self.write(Operation::Apply, call).await
    }

    async fn health(&self) -> Result<Health> {
        self.read(Operation::Health, self.inner.health()).await
    }
}
