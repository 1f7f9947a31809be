//! An environment whose work a test does by hand.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};

use crate::{Environment, Timestamp};

/// Runs nothing by itself, and takes no time.
#[derive(Clone, Debug, Default)]
pub(super) struct ByHand(pub(super) Arc<Work>);

#[derive(Default)]
pub(super) struct Work {
    pub(super) jobs: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
    pub(super) tasks: Mutex<Vec<BoxFuture<'static, ()>>>,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Work")
    }
}

impl ByHand {
    /// Runs what there is to do, and what comes of it.
    pub(super) fn run(&self) {
        loop {
            let jobs = mem::take(&mut *self.0.jobs.lock().unwrap());
            let tasks = mem::take(&mut *self.0.tasks.lock().unwrap());
            if jobs.is_empty() && tasks.is_empty() {
                return;
            }
            jobs.into_iter().for_each(|job| job());
            for task in tasks {
                task.now_or_never().unwrap();
            }
        }
    }
}

impl Environment for ByHand {
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH
    }
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
    fn random(&self, _: &mut [u8]) {}
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.tasks.lock().unwrap().push(task);
    }
    fn blocking(&self, job: Box<dyn FnOnce() + Send + 'static>) {
        self.0.jobs.lock().unwrap().push(job);
    }
}
