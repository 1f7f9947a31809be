//! Holding a job: its row with a lease in it, which only its holder changes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::lock::Mutex;
use holdall_core::{Env, Error, ErrorKind, Expect, Result, Revision};
use holdall_volume::Volume;
use holdall_volume::format::policy::{JobLease, JobRow};

/// How often a row is written again of which it is not known whether it was.
const ATTEMPTS_MAX: u32 = 8;

/// A job that is held.
#[derive(Debug)]
pub(crate) struct Hold {
    volume: Volume,
    env: Env,
    name: &'static str,
    token: u64,
    state: Mutex<State>,
    /// When it must be let go if it was not renewed before, in microseconds of [`Env::elapsed`].
    deadline: AtomicU64,
}

#[derive(Debug)]
struct State {
    row: JobRow,
    revision: Revision,
}

/// Why a row was not written.
#[derive(Debug)]
pub(crate) enum Unsaved {
    /// Somebody else has the job, or it was let go.
    Lost,
    /// The catalog's error.
    Failed(Error),
}

/// Somebody else has the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Busy(pub(crate) JobLease);

impl Hold {
    /// Takes a job, unless it has a lease of which `has_ended` does not know that it is over.
    pub(crate) async fn take(
        volume: &Volume,
        env: &Env,
        name: &'static str,
        (holder, lasts): (&str, Duration),
        has_ended: impl Fn(&JobLease) -> bool,
    ) -> Result<std::result::Result<Self, Busy>> {
        let token = u64::from_le_bytes(env.random());
        let mut attempts = 0;
        loop {
            let (mut row, revision) = match volume.job(name).await? {
                Some((row, revision)) => (row, Some(revision)),
                None => (JobRow::default(), None),
            };
            if let Some(lease) = row.lease.as_ref().filter(|lease| lease.token != token)
                && !has_ended(lease)
            {
                return Ok(Err(Busy(lease.clone())));
            }
            let now = env.now();
            if row.begun.is_none() {
                (row.begun, row.progress) = (Some(now), Default::default());
            }
            let holder = holder.to_owned();
            attempts += 1;
            let beat = u64::from(attempts);
            row.lease = Some(JobLease { holder, token, beat, lasts, renewed: now });
            let before = env.elapsed();
            match volume.put_job(name, &row, Expect::from(revision)).await {
                Ok(revision) => {
                    let hold = Self {
                        volume: volume.clone(),
                        env: env.clone(),
                        name,
                        token,
                        state: Mutex::new(State { row, revision }),
                        deadline: AtomicU64::new(0),
                    };
                    hold.renewed(before, lasts);
                    return Ok(Ok(hold));
                }
                // Who was quicker is seen in the row.
                Err(error)
                    if attempts < ATTEMPTS_MAX
                        && matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unknown) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What is remembered of the job.
    pub(crate) async fn row(&self) -> JobRow {
        self.state.lock().await.row.clone()
    }

    /// Whether it may no longer be believed that nobody else has the job.
    pub(crate) fn is_over(&self) -> bool {
        self.env.elapsed().as_micros() >= u128::from(self.deadline.load(Ordering::Relaxed))
    }

    /// How long a renewal lasts.
    pub(crate) async fn lasts(&self) -> Duration {
        self.state.lock().await.row.lease.as_ref().map_or(Duration::ZERO, |lease| lease.lasts)
    }

    /// Lets go earlier than others may take it.
    fn renewed(&self, before: Duration, lasts: Duration) {
        let deadline = before.saturating_add(lasts * 2 / 3);
        self.deadline.store(u64::try_from(deadline.as_micros()).unwrap_or(0), Ordering::Relaxed);
    }

    /// Changes the row, which also renews the lease. What could not be written now is written with
    /// the next change.
    pub(crate) async fn save(
        &self,
        change: impl FnOnce(&mut JobRow),
    ) -> std::result::Result<(), Unsaved> {
        let mut state = self.state.lock().await;
        if state.row.lease.is_none() {
            return Err(Unsaved::Lost);
        }
        change(&mut state.row);
        self.write(&mut state).await
    }

    /// Lets the job go, with this last change.
    pub(crate) async fn release(
        &self,
        change: impl FnOnce(&mut JobRow),
    ) -> std::result::Result<(), Unsaved> {
        self.save(|row| {
            change(row);
            row.lease = None;
        })
        .await
    }

    async fn write(&self, state: &mut State) -> std::result::Result<(), Unsaved> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let now = self.env.now();
            let mut lasts = None;
            if let Some(lease) = &mut state.row.lease {
                lease.beat += 1;
                lease.renewed = now;
                lasts = Some(lease.lasts);
            }
            let before = self.env.elapsed();
            let expect = Expect::Revision(state.revision.clone());
            let error = match self.volume.put_job(self.name, &state.row, expect).await {
                Ok(revision) => {
                    state.revision = revision;
                    if let Some(lasts) = lasts {
                        self.renewed(before, lasts);
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            if !matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unknown) {
                return Err(Unsaved::Failed(error));
            }
            // A write of this holder's may have happened after all, or still will.
            let found = self.volume.job(self.name).await.map_err(Unsaved::Failed)?;
            let Some((row, revision)) = found else { return Err(Unsaved::Lost) };
            if row == state.row && row.lease.is_none() {
                state.revision = revision;
                return Ok(());
            }
            if row.lease.as_ref().is_none_or(|lease| lease.token != self.token) {
                return Err(Unsaved::Lost);
            }
            state.revision = revision;
            if attempts == ATTEMPTS_MAX {
                return Err(Unsaved::Failed(error));
            }
        }
    }
}
