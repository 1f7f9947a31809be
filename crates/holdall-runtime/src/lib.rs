//! The real clock, chance and threads behind [`Env`], on tokio.
//!
//! The one place in the house that may read a clock, roll a die or start a thread.
#![allow(
    clippy::disallowed_methods,
    reason = "this crate is the door behind which the real clock, chance and threads are"
)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use holdall_core::{Env, Environment, Timestamp};
use tokio::runtime::Handle;

/// The real environment, on a tokio runtime.
#[derive(Debug)]
struct Real {
    runtime: Handle,
    started: Instant,
}

/// The real environment, on the tokio runtime that this is called in.
///
/// # Panics
/// Panics outside a tokio runtime, as [`Handle::current`] does.
pub fn env() -> Env {
    Env::new(Real { runtime: Handle::current(), started: Instant::now() })
}

impl Environment for Real {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH.plus(since)
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let _inside = self.runtime.enter();
        Box::pin(tokio::time::sleep(duration))
    }

    fn random(&self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.runtime.spawn(task);
    }

    fn blocking(&self, job: Box<dyn FnOnce() + Send + 'static>) {
        self.runtime.spawn_blocking(job);
    }
}
