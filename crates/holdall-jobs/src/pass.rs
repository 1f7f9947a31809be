//! One run of one job that is held: step after step, while the lease is kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{Either, select};
use holdall_core::{Env, Error, Throttle};
use holdall_volume::format::policy::{JobError, JobProgress, JobRow, JobRun, Policy};

use crate::due::backoff;
use crate::hold::{Hold, Unsaved};
use crate::job::{Job, Next, Step};
use crate::runner::{LOOK, Ran, Runner};

/// How long a step that was told to stop may take to say where it is; then it is dropped.
const LAST_WORDS: Duration = Duration::from_millis(400);

/// How long taking a job, or letting go of it, may take when the process ends.
const LETTING_GO: Duration = Duration::from_millis(300);

/// After so many failures in a row a pass begins anew: perhaps it is its cursor that is wrong.
const FAILURES_TO_BEGIN_ANEW: u32 = 3;

/// Over how long bytes a second are measured, once it was at it for so long; at most twice that.
const MEASURED: Duration = Duration::from_secs(10);

impl Runner {
    /// Does a job that is held, and lets it go.
    pub(crate) async fn run_held(&self, job: &Arc<dyn Job>, hold: &Hold, policy: Policy) -> Ran {
        let cancel = Arc::new(AtomicBool::new(false));
        let rate_bytes = policy.jobs.get(job.name()).and_then(|settings| settings.rate_bytes);
        let throttle = Throttle::new(self.env.clone(), rate_bytes, Arc::clone(&cancel));
        let row = hold.row().await;
        let step = Step {
            volume: self.volume.clone(),
            policy,
            cursor: row.cursor.clone(),
            memory: row.memory.clone(),
            throttle,
            progress: Arc::new(Mutex::new(row.progress.clone())),
        };
        let measure = Measure::new(&self.env, &step, &row);
        let work = Box::pin(self.steps(job, hold, step, &measure));
        // Looked at first, so that a process that slept does nothing more once its lease is over.
        let keep = Box::pin(self.keep(hold, &measure));
        let ended = match select(keep, work).await {
            Either::Right((ended, _)) => ended,
            Either::Left((Kept::Lost, _)) => return Ran::Lost,
            Either::Left((Kept::Cancelled, work)) => {
                cancel.store(true, Ordering::Relaxed);
                match select(work, self.env.sleep(LAST_WORDS)).await {
                    Either::Left((ended, _)) => ended,
                    Either::Right(_) => Ok(None),
                }
            }
        };
        match ended {
            Ok(Some(done)) => self.done(hold, done, &measure).await,
            Ok(None) => {
                // If it cannot be let go now, its lease ends.
                let letting_go = hold.release(|row| row.progress = measure.progress());
                let _ = self.unless_stopped(letting_go).await;
                Ran::Stopped
            }
            Err(Unsaved::Lost) => Ran::Lost,
            Err(Unsaved::Failed(error)) => self.failed(hold, error).await,
        }
    }

    /// Does step after step. Nothing if it was told to stop.
    async fn steps(
        &self,
        job: &Arc<dyn Job>,
        hold: &Hold,
        mut step: Step,
        measure: &Measure,
    ) -> std::result::Result<Option<Next>, Unsaved> {
        loop {
            match job.step(&step).await {
                Ok(Next::More { cursor, memory }) => {
                    step.cursor.clone_from(&cursor);
                    step.memory = memory.or(step.memory);
                    let memory = step.memory.clone();
                    let saved = hold.save(|row| {
                        (row.cursor, row.memory) = (cursor, memory);
                        row.progress = measure.progress();
                    });
                    saved.await?;
                }
                Ok(done) => return Ok(Some(done)),
                Err(_) if step.throttle.is_cancelled() => return Ok(None),
                Err(error) => return Err(Unsaved::Failed(error)),
            }
            if step.throttle.is_cancelled() {
                return Ok(None);
            }
        }
    }

    /// Renews the lease until that fails, or until told to stop.
    async fn keep(&self, hold: &Hold, measure: &Measure) -> Kept {
        let lasts = hold.lasts().await;
        let renew = Box::pin(async {
            loop {
                self.env.sleep(lasts / 5).await;
                // What failed is tried again, until the deadline.
                if let Err(Unsaved::Lost) = hold.save(|row| row.progress = measure.progress()).await
                {
                    return Kept::Lost;
                }
            }
        });
        let watch = Box::pin(async {
            loop {
                if hold.is_over() {
                    return Kept::Lost;
                }
                if self.is_cancelled() {
                    return Kept::Cancelled;
                }
                self.env.sleep(LOOK).await;
            }
        });
        select(watch, renew).await.factor_first().0
    }

    /// Waits for something, but no longer than a moment once told to stop.
    pub(crate) async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let stop = Box::pin(async {
            self.until_cancelled().await;
            self.env.sleep(LETTING_GO).await;
        });
        match select(Box::pin(future), stop).await {
            Either::Left((value, _)) => Some(value),
            Either::Right(_) => None,
        }
    }

    async fn done(&self, hold: &Hold, done: Next, measure: &Measure) -> Ran {
        let Next::Done { summary, findings, memory } = done else { return Ran::Stopped };
        let (row, ended) = (hold.row().await, self.env.now());
        let progress = measure.progress();
        let begun = row.begun.unwrap_or(ended);
        let run = JobRun { begun, ended, summary, findings, bytes: progress.bytes };
        let last = run.clone();
        let saved = hold.release(move |row| {
            let memory = memory.or(row.memory.take());
            let runs = row.runs + 1;
            *row = JobRow { lease: row.lease.take(), memory, runs, ..JobRow::default() };
            (row.progress, row.last) = (progress, Some(last));
        });
        match self.unless_stopped(saved).await {
            Some(Ok(())) => Ran::Done(run),
            Some(Err(Unsaved::Lost)) => Ran::Lost,
            Some(Err(Unsaved::Failed(error))) => Ran::Failed(error),
            None => Ran::Stopped,
        }
    }

    async fn failed(&self, hold: &Hold, error: Error) -> Ran {
        let now = self.env.now();
        let message = error.message().to_owned();
        let saved = hold.release(move |row| {
            row.failures += 1;
            row.error = Some(JobError { at: now, message });
            row.retry = Some(now.plus(backoff(row.failures)));
            if row.failures % FAILURES_TO_BEGIN_ANEW == 0 {
                (row.cursor, row.begun) = (None, None);
            }
        });
        // If even this cannot be written, the lease ends and others try.
        let _ = self.unless_stopped(saved).await;
        Ran::Failed(error)
    }
}

/// Why a lease is no longer kept.
enum Kept {
    Lost,
    Cancelled,
}

/// How far a pass is, with the bytes that went through its throttle.
struct Measure {
    env: Env,
    step: Step,
    bytes_before: u64,
    /// The last two times to measure from, and how many bytes there were.
    marks: Mutex<[(Duration, u64); 2]>,
}

impl Measure {
    fn new(env: &Env, step: &Step, row: &JobRow) -> Self {
        let bytes_before = row.progress.bytes;
        let marks = Mutex::new([(env.elapsed(), bytes_before); 2]);
        Self { env: env.clone(), step: step.clone(), bytes_before, marks }
    }

    fn progress(&self) -> JobProgress {
        let told = self.step.progress.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let bytes = self.bytes_before + self.step.throttle.taken();
        let now = self.env.elapsed();
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let [(from, before), (latest, _)] = *marks;
        if now.saturating_sub(latest) >= MEASURED {
            *marks = [marks[1], (now, bytes)];
        }
        let moved = u128::from(bytes.saturating_sub(before)) * 1_000_000;
        let rate = moved / now.saturating_sub(from).as_micros().max(1_000_000);
        let bytes_a_second = u64::try_from(rate).unwrap_or(u64::MAX);
        JobProgress { bytes, bytes_a_second, ..told }
    }
}
