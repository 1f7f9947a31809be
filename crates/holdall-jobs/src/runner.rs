//! Running jobs: one, those that are due, or all of them for ever.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use holdall_core::{Env, Error, ErrorKind, Operation, Result, units};
use holdall_volume::Volume;
use holdall_volume::format::policy::{JobLease, JobRow, JobRun, Policy};

use crate::due;
use crate::hold::Hold;
use crate::job::Job;
use crate::schedule::Schedule;
use crate::status::{JobState, JobStatus};

/// How long a lease lasts, unless told otherwise.
const LEASE: Duration = Duration::from_secs(15);

/// How often those who wait look whether they should stop.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// How often it is looked which jobs are due.
const POLL: Duration = Duration::from_secs(5);

/// What a run of a job came to.
#[derive(Clone, Debug)]
pub enum Ran {
    /// It came to its end.
    Done(JobRun),
    /// It failed, and is tried again later.
    Failed(Error),
    /// It was told to stop; whoever comes next goes on there.
    Stopped,
    /// Somebody else is at it.
    Busy(JobLease),
    /// It could not keep its lease, so that somebody else may be at it by now.
    Lost,
}

/// Something that whoever serves a volume may want to tell.
#[derive(Clone, Debug)]
pub enum Event {
    /// A job begins, or goes on.
    Began(String),
    /// A run of a job has ended.
    Ended(String, Ran),
    /// So much of the quota is in use that its owner should know. Told once, until it is less.
    Alert(String),
    /// What is due could not be found out; it is tried again.
    Trouble(Error),
}

/// Runs the jobs of a volume.
pub struct Runner {
    pub(crate) volume: Volume,
    pub(crate) env: Env,
    holder: String,
    jobs: Vec<Arc<dyn Job>>,
    lease: Duration,
    cancel: Arc<AtomicBool>,
    /// Leases of others, and since when they were seen unchanged, by [`Env::elapsed`].
    seen: Mutex<HashMap<&'static str, (u64, u64, Duration)>>,
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("holder", &self.holder).finish_non_exhaustive()
    }
}

impl Runner {
    /// Runs these jobs of this volume, in the name of `holder`.
    pub fn new(
        volume: Volume,
        env: Env,
        holder: impl Into<String>,
        jobs: Vec<Arc<dyn Job>>,
    ) -> Self {
        let (cancel, seen) = (Arc::default(), Mutex::default());
        Self { volume, env, holder: holder.into(), jobs, lease: LEASE, cancel, seen }
    }

    /// With leases that last so long.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Stops within a second once this is set.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Arc<AtomicBool>) -> Self {
        self.cancel = cancel;
        self
    }

    /// The volume.
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    fn job(&self, name: &str) -> Result<&Arc<dyn Job>> {
        self.jobs.iter().find(|job| job.name() == name).ok_or_else(|| {
            let names: Vec<&str> = self.jobs.iter().map(|job| job.name()).collect();
            let hint = units::nearest(name, names.iter().copied()).map_or_else(
                || format!("there are {}", names.join(", ")),
                |nearest| format!("did you mean `{nearest}`?"),
            );
            Error::invalid(Operation::Maintain, format!("there is no job `{name}`; {hint}"))
        })
    }

    /// All jobs, those too that only another program knows.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn statuses(&self) -> Result<Vec<JobStatus>> {
        let policy = self.volume.read_policy().await?;
        let mut rows: HashMap<String, JobRow> = HashMap::new();
        rows.extend(self.volume.jobs().await?.into_iter().map(|(name, row, _)| (name, row)));
        let known = self.jobs.iter().map(|job| {
            let row = rows.remove(job.name()).unwrap_or_default();
            self.status(job.as_ref(), &policy, row)
        });
        let mut statuses: Vec<JobStatus> = known.collect();
        let unknown = rows.into_iter().map(|(name, row)| JobStatus {
            name,
            about: "another program's".to_owned(),
            state: if row.lease.is_some() { JobState::Running } else { JobState::Off },
            schedule: String::new(),
            rate_bytes: None,
            next: None,
            row,
        });
        statuses.extend(unknown);
        Ok(statuses)
    }

    fn status(&self, job: &dyn Job, policy: &Policy, row: JobRow) -> JobStatus {
        let settings = policy.jobs.get(job.name()).cloned().unwrap_or_default();
        let schedule = Schedule::new(&settings, job.every());
        let now = self.env.now();
        let (state, next, schedule) = match schedule {
            Err(error) => (JobState::Wrong, None, error.message().to_owned()),
            Ok(schedule) => {
                let next = due::next(&schedule, &row, self.volume.created(), now);
                (due::state(&row, next, now), next, schedule.as_str().to_owned())
            }
        };
        JobStatus {
            name: job.name().to_owned(),
            about: job.about().to_owned(),
            state,
            schedule,
            rate_bytes: settings.rate_bytes,
            next,
            row,
        }
    }

    /// The names of the jobs that should be run now, in order.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn due(&self) -> Result<Vec<String>> {
        let statuses = self.statuses().await?;
        // Read afterwards: what should go on at once is due at the moment at which that was seen.
        let now = self.env.now();
        let is_due = |status: &JobStatus| {
            self.jobs.iter().any(|job| job.name() == status.name)
                && status.next.is_some_and(|next| next <= now)
        };
        Ok(statuses.into_iter().filter(is_due).map(|status| status.name).collect())
    }

    /// Runs everything that is due once, one after the other. Where whoever was at one seems to
    /// be gone, this waits until that is known.
    ///
    /// # Errors
    /// Those of the catalog while looking what is due; what becomes of each job is in the answer.
    pub async fn run_due(&self) -> Result<Vec<(String, Ran)>> {
        let mut ran = Vec::new();
        let due = match select(Box::pin(self.due()), Box::pin(self.until_cancelled())).await {
            Either::Left((due, _)) => due?,
            Either::Right(_) => return Ok(ran),
        };
        for name in due {
            if self.is_cancelled() {
                break;
            }
            let outcome = self.run(&name).await?;
            ran.push((name, outcome));
        }
        Ok(ran)
    }

    /// Runs one job, due or not, from where it was left. Where whoever was at it seems to be gone,
    /// this waits until that is known.
    ///
    /// # Errors
    /// `Invalid` if there is no such job.
    pub async fn run(&self, name: &str) -> Result<Ran> {
        let job = Arc::clone(self.job(name)?);
        let mut first: Option<JobLease> = None;
        loop {
            let lease = match self.run_once(&job).await {
                Ran::Busy(lease) => lease,
                ran => return Ok(ran),
            };
            let alive = first.as_ref().is_some_and(|first| *first != lease);
            if alive || self.is_cancelled() {
                return Ok(Ran::Busy(lease));
            }
            self.pause(lease.lasts / 5).await;
            first = first.or(Some(lease));
        }
    }

    /// Runs every job whenever it is due, until told to stop, or until the volume's handle was
    /// closed: then the volume must be opened again.
    ///
    /// # Errors
    /// `Closed` if the handle was closed.
    pub async fn serve(&self, tell: &(dyn Fn(Event) + Send + Sync)) -> Result<()> {
        let mut running = FuturesUnordered::new();
        let mut names: Vec<String> = Vec::new();
        let (mut alerted, mut pause) = (false, Duration::ZERO);
        while !self.is_cancelled() {
            // Those that run go on while it is looked for others.
            let mut looking = Some(Box::pin(self.look(pause, alerted, tell)));
            let mut due = Vec::new();
            while let Some(look) = looking.take() {
                if running.is_empty() {
                    (due, alerted) = look.await?;
                    continue;
                }
                match select(running.next(), look).await {
                    Either::Left((Some((name, ran)), look)) => {
                        names.retain(|other| *other != name);
                        self.told(name, ran, tell)?;
                        looking = Some(look);
                    }
                    Either::Left((None, look)) => looking = Some(look),
                    Either::Right((found, _)) => (due, alerted) = found?,
                }
            }
            for name in due {
                if !names.contains(&name) {
                    let job = Arc::clone(self.job(&name)?);
                    names.push(name.clone());
                    running.push(async move { (name, self.run_telling(&job, tell).await) });
                }
            }
            pause = POLL;
        }
        // Each of them stops by itself now.
        while let Some((name, ran)) = running.next().await {
            self.told(name, ran, tell)?;
        }
        Ok(())
    }

    /// Waits, and then looks which jobs are due and whether the quota is nearly full, of which it
    /// tells unless it was told `before`. Nothing is due once told to stop.
    async fn look(
        &self,
        pause: Duration,
        before: bool,
        tell: &(dyn Fn(Event) + Send + Sync),
    ) -> Result<(Vec<String>, bool)> {
        self.pause(pause).await;
        let asking = Box::pin(async { (self.volume.usage().await, self.due().await) });
        let stopped = Box::pin(self.until_cancelled());
        let (usage, due) = match select(asking, stopped).await {
            Either::Left((found, _)) => found,
            Either::Right(_) => return Ok((Vec::new(), before)),
        };
        // Where the catalog cannot be asked, finding out what is due says so.
        let alert = usage.map_or(None, |usage| usage.alert());
        let is_over = alert.is_some();
        if let Some(alert) = alert.filter(|_| !before) {
            tell(Event::Alert(alert));
        }
        match due {
            Ok(due) => Ok((due, is_over)),
            Err(error) if error.kind() == ErrorKind::Closed => Err(error),
            Err(error) => {
                tell(Event::Trouble(error));
                Ok((Vec::new(), before))
            }
        }
    }

    /// Tells how a run has ended; the error if it was because the volume's handle was closed.
    fn told(&self, name: String, ran: Ran, tell: &(dyn Fn(Event) + Send + Sync)) -> Result<()> {
        let closed = match &ran {
            Ran::Failed(error) if error.kind() == ErrorKind::Closed => Some(error.clone()),
            _ => None,
        };
        if !matches!(ran, Ran::Busy(_)) {
            tell(Event::Ended(name, ran));
        }
        closed.map_or(Ok(()), Err)
    }

    async fn run_telling(&self, job: &Arc<dyn Job>, tell: &(dyn Fn(Event) + Send + Sync)) -> Ran {
        match self.take(job).await {
            Ok((hold, policy)) => {
                tell(Event::Began(job.name().to_owned()));
                self.run_held(job, &hold, policy).await
            }
            Err(Ran::Busy(lease)) => {
                // Not again at once: whoever has it is at it.
                self.pause(POLL).await;
                Ran::Busy(lease)
            }
            Err(ran) => ran,
        }
    }

    async fn run_once(&self, job: &Arc<dyn Job>) -> Ran {
        match self.take(job).await {
            Ok((hold, policy)) => self.run_held(job, &hold, policy).await,
            Err(ran) => ran,
        }
    }

    /// Returns once told to stop.
    pub(crate) async fn until_cancelled(&self) {
        while !self.is_cancelled() {
            self.env.sleep(LOOK).await;
        }
    }

    /// Waits, but not once told to stop.
    async fn pause(&self, duration: Duration) {
        let end = self.env.elapsed().saturating_add(duration);
        loop {
            let now = self.env.elapsed();
            if now >= end || self.is_cancelled() {
                return;
            }
            self.env.sleep((end - now).min(LOOK)).await;
        }
    }

    /// Takes a job, with the policy by which it is done; or says what became of that.
    async fn take(&self, job: &Arc<dyn Job>) -> std::result::Result<(Hold, Policy), Ran> {
        let who = (self.holder.as_str(), self.lease);
        let has_ended = |lease: &JobLease| self.has_ended(job.name(), lease);
        let taking = Box::pin(async {
            let policy = self.volume.read_policy().await?;
            let taken = Hold::take(&self.volume, &self.env, job.name(), who, has_ended).await?;
            Ok::<_, Error>(taken.map(|hold| (hold, policy)))
        });
        match self.unless_stopped(taking).await {
            Some(Ok(Ok((hold, _)))) if self.is_cancelled() => {
                let _ = self.unless_stopped(hold.release(|_| {})).await;
                Err(Ran::Stopped)
            }
            Some(Ok(Ok(taken))) => Ok(taken),
            Some(Ok(Err(busy))) => Err(Ran::Busy(busy.0)),
            Some(Err(error)) => Err(Ran::Failed(error)),
            // If it was taken after all, its lease ends.
            None => Err(Ran::Stopped),
        }
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<&'static str, (u64, u64, Duration)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this lease was seen unchanged for as long as it lasts.
    fn has_ended(&self, name: &'static str, lease: &JobLease) -> bool {
        let now = self.env.elapsed();
        let mut seen = self.seen();
        let first = seen.entry(name).or_insert((lease.token, lease.beat, now));
        if (first.0, first.1) != (lease.token, lease.beat) {
            *first = (lease.token, lease.beat, now);
        }
        now.saturating_sub(first.2) >= lease.lasts
    }
}
