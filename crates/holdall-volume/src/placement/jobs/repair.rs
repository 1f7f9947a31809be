//! Repair: every segment back to its copies, after a place was lost, added, drained or emptied.
//!
//! ```text
//! copy     a whole copy is read and checked, and written to where one is missing
//! verify   what was written is read back and compared
//! switch   one commit: the row names the new copies, and no longer those that are left over
//! grace    whoever still reads a copy that is left over may end
//! drop     its object is deleted
//! ```
//!
//! What is to be done follows from the rows of segments alone, whenever it is begun: interrupted
//! anywhere, it is begun again. A copy that is not named yet is found and used by the next repair;
//! one that is left over has a row until it is gone.

mod left_over;
mod log;
mod work;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use holdall_core::{Result, Throttle};
use serde::Serialize;

use self::work::{Job, Made};
use crate::commit::{Maintain, Request, Write};
use crate::format::row;
use crate::format::segment::SegmentRow;
use crate::gc::pages::Pages;
use crate::placement::spread::Spread;
use crate::volume::{Shared, Volume};

/// Tells how far a repair is.
pub type RepairProgressFn = dyn Fn(&RepairReport) + Send + Sync;

/// How many segments' copies are switched in one commit.
const SWITCHES_MAX: usize = 64;

/// The most segments that a report names; the rest is counted.
const NAMED_MAX: usize = 100;

/// What a repair is told to do.
#[derive(Clone)]
pub struct RepairOptions {
    /// Only look: the report says what would be done.
    pub dry_run: bool,
    /// Also bring segments to places that were added, which hold less than their share.
    pub rebalance: bool,
    /// How many bytes of segments may be in memory at once: 64 MiB by default, and at least one
    /// segment.
    pub memory_bytes: usize,
    /// Takes the bytes that are copied; none is no limit.
    pub throttle: Option<Throttle>,
    /// How long copies that are left over are kept for those who still read them; as the policy
    /// says if not given.
    pub grace: Option<Duration>,
    /// Called now and then.
    pub progress: Option<Arc<RepairProgressFn>>,
    /// Set from elsewhere to stop; the report then says what was done so far.
    pub cancel: Arc<AtomicBool>,
}

impl Default for RepairOptions {
    fn default() -> Self {
        Self {
            dry_run: false,
            rebalance: false,
            memory_bytes: 64 << 20,
            throttle: None,
            grace: None,
            progress: None,
            cancel: Arc::default(),
        }
    }
}

impl fmt::Debug for RepairOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RepairOptions");
        debug.field("dry_run", &self.dry_run).field("rebalance", &self.rebalance);
        debug.field("memory_bytes", &self.memory_bytes);
        debug.field("throttle", &self.throttle);
        debug.field("grace", &self.grace).finish_non_exhaustive()
    }
}

/// What a repair has done; with `dry_run`, what it would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepairReport {
    /// Whether it only looked.
    pub dry_run: bool,
    /// Whether it went through to its end: false if it was cancelled.
    pub complete: bool,
    /// Segments that were looked at.
    pub segments: u64,
    /// Those of them whose copies were not as the policy says.
    pub segments_amiss: u64,
    /// Copies that were made.
    pub copies_made: u64,
    /// Bytes that were copied.
    pub bytes_copied: u64,
    /// Copies that rows no longer name, because they are where none should be.
    pub copies_left_over: u64,
    /// Copies that were deleted, the grace being over.
    pub copies_dropped: u64,
    /// Copies that wait for their grace, or for their place to answer.
    pub copies_waiting: u64,
    /// Objects of the log and checkpoints that were copied.
    pub log_objects_copied: u64,
    /// Segments that still lack copies, because there are too few places that take them.
    pub segments_short: u64,
    /// Segments of which no whole copy can be read.
    pub segments_unreadable: u64,
    /// Names of such segments, and why: the first 100.
    pub unreadable: Vec<String>,
}

impl Volume {
    /// Brings every segment, the log and the checkpoints to as many copies as the policy says, and
    /// away from places that are draining. May run beside reads and writes and other repairs.
    ///
    /// Finding out what to do reads rows of segments, and lists no data backend but for the log.
    ///
    /// # Errors
    /// Those of the catalog; `Closed` if the volume was closed. What a place refuses is in the
    /// report. It may be repeated.
    pub async fn repair(&self, options: RepairOptions) -> Result<RepairReport> {
        self.shared.check_nothing_lost().await?;
        if !options.dry_run {
            self.shared.writer().await?;
            self.shared.flush_reports().await?;
        }
        let spread = Arc::clone(&self.shared.spread);
        let report = RepairReport { dry_run: options.dry_run, ..RepairReport::default() };
        let mut repair = Repair { shared: &self.shared, spread, options, report };
        repair.report.complete = repair.run().await?;
        Ok(repair.report)
    }
}

/// A repair under way.
struct Repair<'a> {
    shared: &'a Arc<Shared>,
    spread: Arc<Spread>,
    options: RepairOptions,
    report: RepairReport,
}

impl Repair<'_> {
    async fn run(&mut self) -> Result<bool> {
        Ok(self.segments().await? && left_over::drop_copies(self).await? && log::mend(self).await?)
    }

    /// Tells how far it is; false if it is to stop.
    fn go_on(&self) -> bool {
        if let Some(progress) = &self.options.progress {
            progress(&self.report);
        }
        !self.options.cancel.load(Ordering::Relaxed)
    }

    /// Goes through all segments, with as many copies under way as memory allows.
    async fn segments(&mut self) -> Result<bool> {
        let spread = Arc::clone(&self.spread);
        let mut running = FuturesUnordered::new();
        let (mut memory, mut switches) = (0, Vec::new());
        let mut pages = Pages::rows(spread.keys.class('s'));
        while let Some(rows) = pages.next(spread.catalog.as_ref()).await? {
            for listed in &rows {
                let Some(id) = spread.keys.segment_id(&listed.key) else { continue };
                let Some(object) = &listed.object else { continue };
                let row: SegmentRow = row::decode(&listed.key, &object.value)?;
                self.report.segments += 1;
                let table = spread.table();
                let Some(job) = Job::of(id, &row, &table, self.options.rebalance) else { continue };
                self.report.segments_amiss += 1;
                self.report.segments_short += u64::from(!job.choice.is_whole());
                if self.options.dry_run {
                    self.foresee(&job);
                    continue;
                }
                while memory > 0 && memory + job.bytes > self.options.memory_bytes {
                    let Some((bytes, made)) = running.next().await else { break };
                    memory -= bytes;
                    self.take(made, &mut switches).await?;
                }
                if let Some(throttle) = &self.options.throttle {
                    throttle.take((job.add.len() * job.bytes) as u64).await;
                }
                if !self.go_on() {
                    break;
                }
                memory += job.bytes;
                let spread = Arc::clone(&spread);
                running.push(async move { (job.bytes, work::run(&spread, &table, job).await) });
            }
            if !self.go_on() {
                break;
            }
        }
        // What has begun is ended, so that it need not be done again.
        while let Some((_, made)) = running.next().await {
            self.take(made, &mut switches).await?;
        }
        self.switch(&mut switches).await?;
        Ok(self.go_on())
    }

    fn foresee(&mut self, job: &Job) {
        self.report.copies_made += job.add.len() as u64;
        self.report.bytes_copied += (job.add.len() * job.bytes) as u64;
        self.report.copies_left_over += job.leave.len() as u64;
    }

    async fn take(&mut self, made: Made, switches: &mut Vec<Maintain>) -> Result<()> {
        self.report.copies_made += made.copies;
        self.report.bytes_copied += made.bytes;
        if let Some(why) = made.unreadable {
            self.report.segments_unreadable += 1;
            if self.report.unreadable.len() < NAMED_MAX {
                self.report.unreadable.push(why);
            }
        }
        self.report.segments_short += u64::from(made.short);
        self.report.copies_left_over += made.left_over;
        switches.extend(made.steps);
        if switches.len() >= SWITCHES_MAX { self.switch(switches).await } else { Ok(()) }
    }

    async fn switch(&mut self, switches: &mut Vec<Maintain>) -> Result<()> {
        let steps = std::mem::take(switches);
        self.submit(steps).await
    }

    async fn submit(&self, steps: Vec<Maintain>) -> Result<()> {
        if steps.is_empty() || self.options.dry_run {
            return Ok(());
        }
        let writes = steps.into_iter().map(Write::Maintain).collect();
        self.shared.commit(Request { writes, ..Request::default() }).await.map(drop)
    }
}
