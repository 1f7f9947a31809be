//! What a job is: a name, an interval, and steps that may be interrupted and repeated.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use holdall_core::{Result, Throttle};
use holdall_volume::Volume;
use holdall_volume::format::policy::{JobProgress, Policy};

/// Work that looks after a volume.
///
/// It is done in steps. Each must be safe to interrupt anywhere, to repeat, and to do at the same
/// time as another process does it: a lease keeps that from happening, but nothing may hang on it.
#[async_trait]
pub trait Job: Send + Sync + fmt::Debug {
    /// Its name: `a` to `z`, `0` to `9` and `-`.
    fn name(&self) -> &'static str;

    /// What it does, in a line for people.
    fn about(&self) -> &'static str;

    /// How long from the beginning of one pass to that of the next, unless the policy says
    /// otherwise.
    fn every(&self) -> Duration;

    /// Does one step. One that is told to stop returns soon, with where to go on.
    ///
    /// # Errors
    /// Whatever keeps it from going on. The step is tried again later.
    async fn step(&self, step: &Step) -> Result<Next>;
}

/// What a step works with.
#[derive(Clone, Debug)]
pub struct Step {
    /// The volume.
    pub volume: Volume,
    /// What the volume is told to do, as it was when the pass began or was gone on with.
    pub policy: Policy,
    /// Where the step before has left off; nothing in the first step of a pass.
    pub cursor: Option<String>,
    /// What the job has kept since an earlier step or pass.
    pub memory: Option<String>,
    /// Takes the bytes that are moved.
    pub throttle: Throttle,
    pub(crate) progress: Arc<Mutex<JobProgress>>,
}

impl Step {
    /// Tells how far the pass is.
    pub fn tell(&self, stage: impl Into<String>, done: u64, total: Option<u64>) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        (progress.stage, progress.done, progress.total) = (stage.into(), done, total);
    }

    /// A handle to tell how far the pass is from within other work.
    pub fn teller(&self) -> impl Fn(String, u64, Option<u64>) + Send + Sync + 'static {
        let step = Arc::clone(&self.progress);
        move |stage, done, total| {
            let mut progress = step.lock().unwrap_or_else(PoisonError::into_inner);
            (progress.stage, progress.done, progress.total) = (stage, done, total);
        }
    }

    /// Set once the step is to stop.
    pub fn cancel(&self) -> Arc<AtomicBool> {
        self.throttle.cancel_flag()
    }
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// There is more to do.
    More {
        /// Where to go on; nothing at the beginning.
        cursor: Option<String>,
        /// What to keep, also beyond this pass.
        memory: Option<String>,
    },
    /// The pass is at its end.
    Done {
        /// What it did, in a line.
        summary: String,
        /// Whether it has found something that a person should look at.
        findings: bool,
        /// What to keep for the next pass.
        memory: Option<String>,
    },
}

impl Next {
    /// The end of a pass that keeps nothing.
    pub fn done(summary: impl Into<String>) -> Self {
        Self::Done { summary: summary.into(), findings: false, memory: None }
    }

    /// More to do, from here on.
    pub fn more(cursor: Option<String>) -> Self {
        Self::More { cursor, memory: None }
    }
}
