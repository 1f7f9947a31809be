//! The only door to time, chance and other threads.
//!
//! Everything in the house gets an [`Env`] from its caller. The real one is in `holdall-runtime`;
//! the simulated one, which replays a seed exactly, is in `holdall-testkit`.

mod throttle;
mod time;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::BoxFuture;

use crate::{Error, Operation, Result};

pub use throttle::Throttle;
pub use time::Timestamp;

/// What an environment provides. Users hold an [`Env`].
pub trait Environment: Send + Sync + Debug + 'static {
    /// The wall clock. It may jump; nothing's safety may depend on it.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment. It never goes back.
    fn elapsed(&self) -> Duration;

    /// Waits.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Fills the buffer with random bytes, good enough for names and nonces.
    fn random(&self, bytes: &mut [u8]);

    /// Runs a future in the background.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Runs something that computes or blocks where it does not hold up other tasks.
    fn blocking(&self, job: Box<dyn FnOnce() + Send + 'static>);
}

/// A handle on an [`Environment`], cheap to clone.
#[derive(Clone, Debug)]
pub struct Env(Arc<dyn Environment>);

impl Env {
    /// Wraps an environment.
    pub fn new(environment: impl Environment) -> Self {
        Self(Arc::new(environment))
    }

    /// The wall clock. It may jump; nothing's safety may depend on it.
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }

    /// Time since some fixed moment. It never goes back.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Starts measuring.
    pub fn stopwatch(&self) -> Stopwatch {
        Stopwatch { started: self.elapsed(), env: self.clone() }
    }

    /// Waits.
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }

    /// Random bytes, good enough for names and nonces.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.random(&mut bytes);
        bytes
    }

    /// A random number below `bound` (0 if the bound is 0). The bias of the remainder is far
    /// below anything this is used for: jitter and sampling.
    pub fn random_below(&self, bound: u64) -> u64 {
        u64::from_le_bytes(self.random()).checked_rem(bound).unwrap_or(0)
    }

    /// Runs a future in the background. It ends on its own; nobody waits for it.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(Box::pin(task));
    }

    /// Runs something that computes or blocks, and waits for what it returns. The job starts at
    /// once, also if the returned future is never awaited.
    ///
    /// # Errors
    /// `Closed` if the environment ended before the job did, or the job panicked.
    pub fn blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send + 'static {
        let (sender, receiver) = oneshot::channel();
        self.0.blocking(Box::new(move || {
            // A receiver that has gone no longer wants the answer.
            let _ = sender.send(job());
        }));
        async move {
            receiver.await.map_err(|_| {
                Error::closed(Operation::Compute, "a background job ended without an answer")
            })
        }
    }
}

/// Measures how long something takes.
#[derive(Clone, Debug)]
pub struct Stopwatch {
    started: Duration,
    env: Env,
}

impl Stopwatch {
    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.env.elapsed().saturating_sub(self.started)
    }
}
