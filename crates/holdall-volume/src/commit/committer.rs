//! The queue of requests and the one task that commits them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::Context;
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{BoxFuture, poll_fn};
use holdall_core::{Backend, Batch, Env, Error, ErrorKind, Expect, Operation, Result};

use super::plan::Plan;
use super::request::{Committed, Request, Write};
use super::rows::Wanted;
use super::writer::{Doubt, Writer};
use crate::format::head::{Head, WriterRow};
use crate::format::keys::CatalogKeys;
use crate::format::log;
use crate::format::policy::VolumeRow;
use crate::format::row;

/// The most requests in one batch.
const GROUP_REQUESTS_MAX: usize = 1024;

/// How many inline and row bytes make a batch full.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// How many steps make a batch full, where the catalog takes that many.
const GROUP_STEPS_MAX: usize = 20_000;

/// How often a group is planned again before its callers hear of it.
pub(super) const ATTEMPTS_MAX: u32 = 200;

/// How often a plan may ask for more rows: entry, its chunks, their segments, lists below.
const LOADS_MAX: u32 = 64;

/// What committing works on.
#[derive(Clone, Debug)]
pub(crate) struct CommitContext {
    pub env: Env,
    pub catalog: Arc<dyn Backend>,
    pub keys: CatalogKeys,
    /// Who writes, for people.
    pub holder: String,
}

/// Makes commits. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Committer(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) context: CommitContext,
    queue: Mutex<Queue>,
    pub(super) volume: RwLock<Arc<VolumeRow>>,
    /// What the last batch has left; taken by the task that drives.
    writer: futures::lock::Mutex<Option<Writer>>,
    /// Inline bytes and commits that were committed since the log was last sealed.
    unsealed: Mutex<u64>,
    /// The least epoch that may be taken.
    pub(super) epoch_least: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    driving: bool,
    closed: Option<String>,
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    answer: oneshot::Sender<Result<Committed>>,
}

impl Committer {
    pub(crate) fn new(context: CommitContext, volume: VolumeRow) -> Self {
        Self(Arc::new(Inner {
            context,
            queue: Mutex::default(),
            volume: RwLock::new(Arc::new(volume)),
            writer: futures::lock::Mutex::new(None),
            unsealed: Mutex::new(0),
            epoch_least: AtomicU64::new(0),
        }))
    }

    /// The volume's row as of the last commit that was seen.
    pub(crate) fn volume(&self) -> Arc<VolumeRow> {
        Arc::clone(&self.0.volume.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Bytes committed since this was last asked, as a measure of what is not yet sealed.
    pub(crate) fn take_unsealed(&self, at_least: u64) -> bool {
        let mut unsealed = self.0.unsealed.lock().unwrap_or_else(PoisonError::into_inner);
        let due = *unsealed > 0 && *unsealed >= at_least;
        if due {
            *unsealed = 0;
        }
        due
    }

    /// Notes that what was taken to be sealed was not.
    pub(crate) fn keep_unsealed(&self) {
        let mut unsealed = self.0.unsealed.lock().unwrap_or_else(PoisonError::into_inner);
        *unsealed = (*unsealed).max(1);
    }

    /// Takes no epoch below this one: others have used those, whatever the catalog says.
    pub(crate) fn begin_at_epoch(&self, epoch: u64) {
        self.0.epoch_least.fetch_max(epoch, Ordering::SeqCst);
    }

    /// The epoch of this writer, which it takes now if it has none.
    pub(crate) async fn epoch(&self) -> Result<u64> {
        if let Some(reason) = self.0.queue().closed.clone() {
            return Err(Error::closed(Operation::Commit, reason));
        }
        let mut writer = self.0.writer.lock().await;
        self.0.ensure_writer(&mut writer).await.map(|writer| writer.epoch)
    }

    /// The epoch of this writer, if it has taken one.
    pub(crate) async fn epoch_taken(&self) -> Option<u64> {
        self.0.writer.lock().await.as_ref().map(|writer| writer.epoch)
    }

    /// Whether the writer's lease should be rewritten, or it should learn that it was ended.
    pub(crate) async fn needs_renewal(&self) -> bool {
        let lease = self.volume().policy.lease;
        let soon = self.0.context.env.now().plus(lease / 2);
        let writer = self.0.writer.lock().await;
        writer.as_ref().is_none_or(|writer| writer.row.lease_until < soon)
    }

    /// Commits a request: all of it, or nothing.
    ///
    /// Dropping the future does not take the request back.
    pub(crate) async fn submit(&self, request: Request) -> Result<Committed> {
        let (answer, mut answered) = oneshot::channel();
        let drive = {
            let mut queue = self.0.queue();
            if let Some(reason) = &queue.closed {
                return Err(Error::closed(Operation::Commit, reason.clone()));
            }
            queue.waiting.push_back(Waiting { request, answer });
            !std::mem::replace(&mut queue.driving, true)
        };
        let mut driving = Driving { task: None, env: self.0.context.env.clone() };
        if drive {
            driving.task = Some(Arc::clone(&self.0).drive().boxed());
        }
        let answer = poll_fn(|context| {
            driving.poll(context);
            answered.poll_unpin(context)
        });
        answer.await.unwrap_or_else(|_| {
            Err(Error::closed(Operation::Commit, "the volume's environment has ended"))
        })
    }

    /// Ends this writer: what waits is still committed, what comes later is refused.
    pub(crate) async fn close(&self) -> Result<()> {
        // Behind everything that waits.
        if self.epoch_taken().await.is_some() {
            match self.submit(Request::default()).await {
                Err(error) if error.kind() != ErrorKind::Closed => return Err(error),
                _ => {}
            }
        }
        self.0.close("the volume was closed; open it again");
        let mut writer = self.0.writer.lock().await;
        let Some(writer) = writer.take() else { return Ok(()) };
        let key = self.0.context.keys.writer(writer.epoch);
        let ended = WriterRow { ended: true, ..writer.row };
        let mut batch = Batch::new();
        let value = row::encode(&key, &ended);
        batch.put(key, value, Expect::Revision(writer.row_revision));
        match self.0.context.catalog.apply(batch).await {
            // Ended by others already: that is what was wanted.
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            other => other.map(drop),
        }
    }
}

/// The task that drives the queue, in the hands of the caller that found it idle. A caller alone
/// commits without waking another thread; one that is answered, or dropped, hands the task on.
struct Driving {
    task: Option<BoxFuture<'static, ()>>,
    env: Env,
}

impl Driving {
    fn poll(&mut self, context: &mut Context<'_>) {
        if let Some(task) = &mut self.task
            && task.poll_unpin(context).is_ready()
        {
            self.task = None;
        }
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            self.env.spawn(task);
        }
    }
}

impl Inner {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn close(&self, reason: &str) {
        self.queue().closed.get_or_insert_with(|| reason.to_owned());
    }

    /// Commits what waits, group by group, until nothing does.
    async fn drive(self: Arc<Self>) {
        let mut writer = self.writer.lock().await;
        loop {
            let group = self.take_group();
            if group.is_empty() {
                return;
            }
            let (requests, answers): (Vec<_>, Vec<_>) =
                group.into_iter().map(|waiting| (waiting.request, waiting.answer)).unzip();
            let results = self.commit(&mut writer, &requests).await;
            for (answer, result) in answers.into_iter().zip(results) {
                // A caller that has gone no longer wants the answer.
                let _ = answer.send(result);
            }
        }
    }

    fn take_group(&self) -> Vec<Waiting> {
        let mut queue = self.queue();
        let profile = self.context.catalog.profile();
        let bytes_max = GROUP_BYTES_MAX.min((profile.batch_bytes_max / 2) as usize);
        let (mut steps, mut bytes, mut group) = (0, 0, Vec::new());
        while let Some(next) = queue.waiting.front() {
            let (next_steps, next_bytes) = next.request.weight();
            let full = steps + next_steps > GROUP_STEPS_MAX.min(profile.batch_ops_max / 2)
                || bytes + next_bytes > bytes_max
                || group.len() == GROUP_REQUESTS_MAX;
            if full && !group.is_empty() {
                break;
            }
            steps += next_steps;
            bytes += next_bytes;
            group.extend(queue.waiting.pop_front());
        }
        queue.driving = !group.is_empty();
        group
    }

    /// Commits a group; one result for each request.
    async fn commit(
        &self,
        slot: &mut Option<Writer>,
        requests: &[Request],
    ) -> Vec<Result<Committed>> {
        // What an earlier group left in doubt was told to its callers.
        if let Some(writer) = slot.as_mut() {
            writer.doubts.clear();
        }
        let (mut attempt, mut unavailable, mut reload) = (0, 0, false);
        loop {
            let error = match self.reload_and_attempt(slot, requests, reload).await {
                Ok(results) => return results,
                Err(error) => error,
            };
            reload = true;
            attempt += 1;
            unavailable += u32::from(error.kind() == ErrorKind::Unavailable);
            let in_doubt = slot.as_ref().is_some_and(|writer| !writer.doubts.is_empty());
            let unavailable_max = if in_doubt { 20 } else { 5 };
            let again = match error.kind() {
                ErrorKind::Conflict | ErrorKind::Unknown => attempt < ATTEMPTS_MAX,
                ErrorKind::Unavailable => unavailable < unavailable_max,
                _ => false,
            };
            if !again {
                // Whatever came last, what came before it may have happened.
                let error = if in_doubt { in_doubt_of(error) } else { error };
                return requests.iter().map(|_| Err(error.clone())).collect();
            }
            self.back_off(attempt, error.kind()).await;
        }
    }

    async fn reload_and_attempt(
        &self,
        slot: &mut Option<Writer>,
        requests: &[Request],
        reload: bool,
    ) -> Result<Vec<Result<Committed>>> {
        if reload && let Some(results) = self.reload(slot).await? {
            return Ok(results);
        }
        self.attempt(slot, requests).await
    }

    pub(super) async fn back_off(&self, attempt: u32, kind: ErrorKind) {
        let slots = match kind {
            ErrorKind::Conflict => u64::from(attempt.min(6)) * 100,
            _ => 1000 << attempt.min(7),
        };
        let pause = self.context.env.random_below(slots + 1);
        self.context.env.sleep(Duration::from_micros(pause)).await;
    }

    async fn attempt(
        &self,
        slot: &mut Option<Writer>,
        requests: &[Request],
    ) -> Result<Vec<Result<Committed>>> {
        let context = &self.context;
        let writer = self.ensure_writer(slot).await?;
        let volume = Arc::clone(&self.volume.read().unwrap_or_else(PoisonError::into_inner));
        let now = context.env.now();
        let head = writer.head.clone();
        let mut plan =
            Plan::new(context.keys.clone(), head, Arc::clone(&volume), writer.epoch, now);
        let results = self.plan(&mut plan, &writer.head, &volume, requests).await?;
        let last = plan.commits.last().map(|commit| commit.sequence);
        writer.batch += 1;
        (plan.head.epoch, plan.head.batch) = (writer.epoch, writer.batch);
        let mut batch = plan.batch(writer.head_revision.clone());
        let lease = volume.policy.lease;
        let renewed = (plan.renew || writer.row.lease_until < now.plus(lease / 2))
            .then(|| WriterRow { lease_until: now.plus(lease), ..writer.row.clone() });
        let key = context.keys.writer(writer.epoch);
        let expect = Expect::Revision(writer.row_revision.clone());
        match &renewed {
            Some(row) => {
                let value = row::encode(&key, row);
                batch.put(key, value, expect)
            }
            None => batch.check(key, expect),
        };
        let bytes = batch.bytes() as u64;
        let revision = context.catalog.apply(batch).await.inspect_err(|error| {
            if error.kind() == ErrorKind::Unknown {
                let log = last.map(|last| {
                    let key = context.keys.log(last);
                    let value = log::encode_commits(&key, &plan.commits);
                    (key, value)
                });
                let results = results.clone();
                writer.doubts.push(Doubt { batch: writer.batch, log, results });
            }
        })?;
        if let Some(row) = renewed {
            writer.row = row;
            writer.row_revision = revision.clone();
        }
        writer.head = plan.head;
        writer.head_revision = Some(revision);
        writer.doubts.clear();
        *self.volume.write().unwrap_or_else(PoisonError::into_inner) = plan.volume;
        if last.is_some() {
            *self.unsealed.lock().unwrap_or_else(PoisonError::into_inner) += bytes;
        }
        Ok(results)
    }

    /// Plans a group, loading rows until none is missing.
    async fn plan(
        &self,
        plan: &mut Plan,
        head: &Head,
        volume: &Arc<VolumeRow>,
        requests: &[Request],
    ) -> Result<Vec<Result<Committed>>> {
        let mut wanted = first_wanted(plan, requests);
        for _ in 0..LOADS_MAX {
            if !wanted.is_empty() {
                plan.load(&self.context.catalog, wanted).await?;
            }
            let results = requests.iter().map(|request| plan.add(request)).collect();
            wanted = plan.take_wanted();
            if wanted.is_empty() {
                return Ok(results);
            }
            plan.restart(head.clone(), Arc::clone(volume));
        }
        let message = "a commit needs more rows each time it is planned; split it";
        Err(Error::invalid(Operation::Commit, message))
    }
}

/// What callers hear whose commit may have happened, whatever ended the finding out.
fn in_doubt_of(error: Error) -> Error {
    if error.kind() == ErrorKind::Unknown {
        return error;
    }
    let message = "the commit may have happened, and its outcome could not be read; look again";
    Error::unknown(Operation::Commit, message).with_source(error)
}

/// The rows that the requests name, each once: mostly all that is needed.
fn first_wanted(plan: &Plan, requests: &[Request]) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for request in requests {
        for write in &request.writes {
            if let Write::Put { name, .. } | Write::Delete { name, .. } = write {
                wanted.extend(plan.wants_entry(name));
            }
        }
        wanted.extend(request.chunks.iter().filter_map(|chunk| plan.wants_chunk(&chunk.id)));
        wanted.extend(request.segments.iter().map(|segment| Wanted::Segment(segment.id)));
    }
    let mut seen = std::collections::HashSet::with_capacity(wanted.len());
    wanted.retain(|wanted| seen.insert(wanted.clone()));
    wanted
}
