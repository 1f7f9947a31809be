//! Collecting garbage: what nothing names any more goes, by steps that never lose what something
//! still may name.
//!
//! ```text
//! history   versions older than the policy keeps, ended entries, abandoned uploads
//! idle      chunks that nothing has named for longer than the grace
//! segments  without chunks: dead → (grace) → checked, condemned → object deleted → forgotten
//! repack    living chunks of mostly dead or tiny segments are copied together
//! orphans   segments that no commit names, of writers that have ended
//! log       old rows of the change feed; a checkpoint, if one is due
//! ```
//!
//! Everything that is counted changes through the committer, in steps that look at the rows again
//! and do nothing where they no longer fit: several passes may run at once, and each may be
//! interrupted anywhere. An object is deleted only after a commit has condemned its segment, which
//! no later commit can take back, and after its directory was compared with the catalog. Any error
//! ends the pass with nothing more deleted.

pub(crate) mod history;
mod idle;
mod lifecycle;
mod log;
mod orphans;
pub(crate) mod pages;
mod repack;
mod segments;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use holdall_core::{Backend, BackendExt, Error, Key, Operation, Result, Row, Throttle, Timestamp};
use serde::Serialize;

use crate::commit::{Maintain, Request, Write};
use crate::data::{DataContext, ReadSettings, Reader, StagedSegment};
use crate::format::head::{Head, Sealed};
use crate::format::policy::{Policy, VolumeRow};
use crate::format::row;
use crate::format::segment::SegmentId;
use crate::volume::{Shared, Volume, throttled};

pub use lifecycle::{LifecycleReport, LifecycleState};

/// Tells how far a pass is.
pub type GcProgressFn = dyn Fn(&GcReport) + Send + Sync;

/// How long commits stay in the change feed's rows at the least, unless told otherwise.
const FEED: Duration = Duration::from_secs(24 * 3600);

/// How many rows one request may change, about.
const REQUEST_ROWS_MAX: usize = 2000;

/// What a pass is told to do.
#[derive(Clone)]
pub struct GcOptions {
    /// Only look: nothing is changed, and the report says what would be done now. What would
    /// become possible by doing so is not counted.
    pub dry_run: bool,
    /// How long garbage waits, if longer than the policy says.
    pub grace: Option<Duration>,
    /// How long garbage waits, if shorter than the policy says. No acknowledged write is lost by
    /// it; but reads and writes that are under way, here or elsewhere, may fail because what they
    /// rely on is collected, and must then be tried again.
    pub unsafe_grace: Option<Duration>,
    /// How long the change feed keeps commits in the catalog; a day if not given. Never shorter
    /// than history or a writer's lease.
    pub feed: Option<Duration>,
    /// How many stored bytes may be copied to repack segments; 1 GiB by default, 0 for none.
    pub repack_bytes_max: u64,
    /// Lets only so many bytes a second be read and written.
    pub throttle: Option<Throttle>,
    /// Called now and then.
    pub progress: Option<Arc<GcProgressFn>>,
    /// Set from elsewhere to stop; the report then says what was done so far.
    pub cancel: Arc<AtomicBool>,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self {
            dry_run: false,
            grace: None,
            unsafe_grace: None,
            feed: None,
            repack_bytes_max: 1 << 30,
            throttle: None,
            progress: None,
            cancel: Arc::default(),
        }
    }
}

impl fmt::Debug for GcOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("GcOptions");
        debug.field("dry_run", &self.dry_run).field("grace", &self.grace);
        debug.field("unsafe_grace", &self.unsafe_grace).field("feed", &self.feed);
        debug.field("repack_bytes_max", &self.repack_bytes_max).finish_non_exhaustive()
    }
}

/// What a pass has done; with `dry_run`, what it would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GcReport {
    /// Whether it only looked.
    pub dry_run: bool,
    /// Whether it went through to its end: false if it was cancelled.
    pub complete: bool,
    /// Superseded versions that are no longer kept.
    pub versions_pruned: u64,
    /// Their bytes.
    pub version_bytes_pruned: u64,
    /// Entries that have ended by themselves.
    pub entries_expired: u64,
    /// Uploads that nobody has touched for longer than their lease.
    pub uploads_aborted: u64,
    /// Chunks that nothing names.
    pub chunks_dropped: u64,
    /// Segments without chunks that wait for their deletion from now on.
    pub segments_buried: u64,
    /// Segments that were deleted.
    pub segments_deleted: u64,
    /// Bytes on the data backend that are free again, orphans included.
    pub bytes_freed: u64,
    /// Segments whose living chunks were copied elsewhere.
    pub segments_repacked: u64,
    /// Chunks that were copied.
    pub chunks_moved: u64,
    /// Stored bytes that were read to copy them.
    pub bytes_repacked: u64,
    /// Segments that could not be repacked because they are damaged; `holdall verify` says more.
    pub segments_damaged: u64,
    /// Segments that no commit names.
    pub orphans_deleted: u64,
    /// Writers that were silent for longer than lease and grace, and were ended.
    pub writers_ended: u64,
    /// Writers that had ended, of which nothing is left to clean up.
    pub writers_forgotten: u64,
    /// Rows of the change feed that are older than it is kept.
    pub feed_rows_pruned: u64,
    /// The checkpoint that was made, if one was due: the number of its commit.
    pub checkpoint: Option<u64>,
}

impl Volume {
    /// Collects garbage, in one pass. May run beside reads and writes and other passes.
    ///
    /// What becomes garbage now is deleted by a pass that comes after the grace: chunks go, then
    /// segments without chunks, one grace after the other.
    ///
    /// # Errors
    /// Those of the backends; `Corrupt` if what it should delete is not what the catalog says;
    /// `Invalid` if the grace is too short; `Closed` if the volume was closed. The pass ends there
    /// with nothing more deleted, and may be repeated.
    pub async fn gc(&self, options: GcOptions) -> Result<GcReport> {
        // What lost commits name is no garbage.
        self.shared.check_nothing_lost().await?;
        let policy = current_policy(&self.shared).await?;
        let mut pass = Pass::new(&self.shared, policy, options)?;
        pass.report.complete = pass.run().await?;
        Ok(pass.report)
    }
}

/// Whether to go on; false once it was cancelled.
type GoOn = bool;

/// A pass under way.
struct Pass<'a> {
    shared: &'a Arc<Shared>,
    context: DataContext,
    catalog: Arc<dyn Backend>,
    data: Arc<dyn Backend>,
    reader: Reader,
    policy: Policy,
    grace: Duration,
    options: GcOptions,
    report: GcReport,
    /// The segments that chunk rows point into, once they had to be looked for.
    pointed_at: Option<HashSet<SegmentId>>,
}

impl<'a> Pass<'a> {
    fn new(shared: &'a Arc<Shared>, policy: Policy, options: GcOptions) -> Result<Self> {
        let grace = grace(&policy, &options)?;
        let mut context = shared.data_context();
        context.data = throttled(context.data, options.throttle.as_ref());
        let reader = Reader::new(context.clone(), ReadSettings { cache_bytes: 1 << 20 });
        let report = GcReport { dry_run: options.dry_run, ..GcReport::default() };
        Ok(Self {
            shared,
            catalog: Arc::clone(&context.catalog),
            data: Arc::clone(&context.data),
            context,
            reader,
            policy,
            grace,
            options,
            report,
            pointed_at: None,
        })
    }

    async fn run(&mut self) -> Result<GoOn> {
        Ok(history::prune(self).await?
            && history::expire(self).await?
            && history::abort_uploads(self).await?
            && idle::drop_chunks(self).await?
            && segments::bury(self).await?
            && segments::delete(self).await?
            && repack::repack(self).await?
            && orphans::sweep(self).await?
            && log::prune(self).await?
            && log::checkpoint(self).await?)
    }

    /// Tells how far it is; false if it is to stop.
    fn go_on(&self) -> GoOn {
        if let Some(progress) = &self.options.progress {
            progress(&self.report);
        }
        !self.options.cancel.load(Ordering::Relaxed)
    }

    fn now(&self) -> Timestamp {
        self.context.env.now()
    }

    /// Whether the grace has passed since then.
    fn is_over(&self, since: Timestamp) -> bool {
        self.now().since(since) >= self.grace
    }

    /// Commits steps together, unless this pass only looks.
    async fn submit(&self, steps: Vec<Maintain>, segments: Vec<StagedSegment>) -> Result<()> {
        let writes: Vec<Write> = steps.into_iter().map(Write::Maintain).collect();
        self.submit_writes(writes, segments).await
    }

    async fn submit_writes(&self, writes: Vec<Write>, segments: Vec<StagedSegment>) -> Result<()> {
        if self.options.dry_run || writes.is_empty() {
            return Ok(());
        }
        let request = Request { writes, segments, ..Request::default() };
        self.shared.commit(request).await.map(drop)
    }

    /// How many rows one request may change.
    fn request_rows_max(&self) -> usize {
        REQUEST_ROWS_MAX.min(self.catalog.profile().batch_ops_max / 4).max(1)
    }

    async fn head(&self) -> Result<Head> {
        let key = self.context.keys.head();
        let Some(found) = self.catalog.get_all(&key).await? else {
            let message = "the volume's catalog has no head; run `holdall rebuild`";
            return Err(Error::corrupt(Operation::Maintain, message).with_key(&key));
        };
        row::decode(&key, &found.value)
    }

    async fn sealed(&self) -> Result<Sealed> {
        let key = self.context.keys.sealed();
        let found = self.catalog.get_all(&key).await?;
        let sealed = found.map(|found| row::decode(&key, &found.value)).transpose()?;
        Ok(sealed.unwrap_or_default())
    }
}

/// Steps that wait to be committed together.
#[derive(Debug, Default)]
struct Steps {
    steps: Vec<Maintain>,
    rows: usize,
}

impl Steps {
    /// Adds a step that changes about so many rows, and commits those before if they are many.
    async fn add(&mut self, pass: &Pass<'_>, step: Maintain, rows: usize) -> Result<()> {
        if self.rows + rows > pass.request_rows_max() {
            self.commit(pass).await?;
        }
        self.rows += rows;
        self.steps.push(step);
        Ok(())
    }

    async fn commit(&mut self, pass: &Pass<'_>) -> Result<()> {
        self.rows = 0;
        pass.submit(std::mem::take(&mut self.steps), Vec::new()).await
    }
}

/// The policy as it is now: another handle may have made history longer since this one last saw it.
async fn current_policy(shared: &Shared) -> Result<Policy> {
    let context = shared.data_context();
    let key = context.keys.volume();
    let Some(found) = context.catalog.get_all(&key).await? else {
        let message = "the volume's catalog has no identity; run `holdall rebuild`";
        return Err(Error::corrupt(Operation::Maintain, message).with_key(&key));
    };
    row::decode::<VolumeRow>(&key, &found.value).map(|row| row.policy)
}

/// How long garbage waits in this pass.
fn grace(policy: &Policy, options: &GcOptions) -> Result<Duration> {
    if let Some(grace) = options.unsafe_grace {
        return Ok(grace);
    }
    match options.grace {
        Some(grace) if grace < policy.grace => {
            let message = "the grace is shorter than the policy's, which running reads and writes \
                           rely on; give it as unsafe_grace if none are running";
            Err(Error::invalid(Operation::Maintain, message))
        }
        Some(grace) => Ok(grace),
        None => Ok(policy.grace),
    }
}

/// The value of a row that was listed with values.
fn value(row: &Row) -> Result<&Bytes> {
    row.object.as_ref().map(|object| &object.value).ok_or_else(|| {
        let message = "the catalog listed a row without the value that was asked for";
        Error::corrupt(Operation::List, message).with_key(&row.key)
    })
}

/// The number in hexadecimal at the front of what follows the class in a key, and what follows
/// that.
fn numbered<'k>(key: &'k Key, class: &str) -> Result<(u64, &'k str)> {
    let rest = key.as_str().strip_prefix(class).and_then(|rest| rest.split_once('/'));
    let parsed = rest.and_then(|(hex, rest)| Some((u64::from_str_radix(hex, 16).ok()?, rest)));
    parsed.ok_or_else(|| {
        let message = "an index row's key cannot be read; run `holdall verify`";
        Error::corrupt(Operation::Maintain, message).with_key(key)
    })
}
