//! Rebuilding: a catalog from what the data backend holds, when the catalog is lost.
//!
//! ```text
//! wipe      the head first: from here on there is no volume until its new head is written
//! segments  a chunk row for every chunk that a directory names
//! replay    the newest whole checkpoint and the log behind it; else the log from its beginning;
//!           else the entries that the segments' directories name
//! count     references, indexes, live bytes and totals, from the rows that there are now
//! head      last, with the volume's own row and the log's
//! ```
//!
//! Interrupted anywhere, it is begun again. In memory are a few MiB of rows, one part of log or
//! checkpoint, and two numbers for each segment.

mod count;
mod replay;
mod rows;
mod salvage;
mod segments;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use holdall_core::{Backend, Batch, Env, Error, ErrorKind, Expect, Operation, Result, Timestamp};
use serde::Serialize;

use crate::checkpoint;
use crate::data::{DataContext, ReadSettings, Reader};
use crate::format::entry::Version;
use crate::format::head::{Head, Sealed};
use crate::format::keys::{CatalogKeys, DataKeys, VolumeId};
use crate::format::policy::VolumeRow;
use crate::format::row;
use crate::gc::pages::Pages;
use crate::log_reader;
use crate::placement::{Spread, VolumeRowSource};
use crate::volume::{Resources, Volume, describing};
use rows::Rows;
use segments::Segments;

/// Tells how far a rebuild is.
pub type RebuildProgressFn = dyn Fn(&RebuildReport) + Send + Sync;

/// The most gaps, names and messages of each kind that a report lists; the rest is counted.
const LISTED_MAX: usize = 1000;

/// How far above every epoch that is seen the next one is: others may have taken an epoch and not
/// have written anything yet.
pub(crate) const EPOCHS_AHEAD: u64 = 1024;

/// What a rebuild is told to do.
#[derive(Clone, Default)]
pub struct RebuildOptions {
    /// Rebuild although the catalog still has the volume. Its commits that are not yet in the log
    /// on the data backend are brought there first, if they can be read. Nobody else may have the
    /// volume open.
    pub replace: bool,
    /// Called now and then.
    pub progress: Option<Arc<RebuildProgressFn>>,
}

impl fmt::Debug for RebuildOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RebuildOptions").field("replace", &self.replace).finish_non_exhaustive()
    }
}

/// From what a catalog was rebuilt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RebuildSource {
    /// From a checkpoint, and the log behind it.
    Checkpoint {
        /// The commit of the checkpoint.
        sequence: Version,
    },
    /// From the log, from its first commit on.
    Log,
    /// From what the segments say of their entries, and what there was of the log. Entries that
    /// were kept in the catalog itself are missing where the log has them not; deleted and
    /// unfinished ones may have come back; versions have new numbers.
    #[default]
    Segments,
}

/// What a rebuild has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RebuildReport {
    /// From what the catalog was rebuilt.
    pub source: RebuildSource,
    /// Everything up to this commit is as it was.
    pub recoverable_upto: Version,
    /// The newest commit; the next has a higher number than any that there ever was.
    pub sequence: Version,
    /// Commits that are in no readable part of the log, first and last of each gap.
    pub missing: Vec<(Version, Version)>,
    /// How many commits are missing in all.
    pub commits_missing: u64,
    /// Checkpoints that could not be used, and why.
    pub checkpoints_skipped: Vec<String>,
    /// Objects of the log that are damaged or missing. Others may have had the same commits.
    pub log_damaged: u64,
    /// Why commits of the old catalog could not be brought into the log, if they could not.
    pub not_salvaged: Option<String>,
    /// How many commits were replayed.
    pub commits: u64,
    /// Entries that there are now.
    pub entries: u64,
    /// Superseded versions that there are now.
    pub versions: u64,
    /// Snapshots that there are now.
    pub snapshots: u64,
    /// Uploads that there are now. Parts that came after the checkpoint must be uploaded again.
    pub uploads: u64,
    /// Segments that were found.
    pub segments: u64,
    /// Segments whose directory is damaged, so that they were read frame by frame.
    pub segments_damaged: u64,
    /// Stretches of such segments in which no frame can be read.
    pub frames_damaged: u64,
    /// Chunks that something names.
    pub chunks: u64,
    /// How often a chunk is named that is in no segment.
    pub chunks_missing: u64,
    /// Lists of chunks that cannot be read.
    pub lists_damaged: u64,
    /// Entries that cannot be read whole, because chunks are missing; up to 1,000.
    pub incomplete: Vec<String>,
}

impl RebuildReport {
    /// Whether nothing was missing and nothing damaged.
    pub fn is_whole(&self) -> bool {
        self.source != RebuildSource::Segments
            && self.commits_missing == 0
            && self.chunks_missing == 0
            && self.lists_damaged == 0
            && self.not_salvaged.is_none()
    }

    fn note_missing(&mut self, first: Version, last: Version) {
        self.commits_missing += last - first + 1;
        if self.missing.len() < LISTED_MAX {
            self.missing.push((first, last));
        }
    }

    fn note_incomplete(&mut self, name: &str) {
        if self.incomplete.len() < LISTED_MAX {
            self.incomplete.push(name.to_owned());
        }
    }
}

impl Volume {
    /// Makes the volume's catalog anew from what the data backend holds, and opens it.
    ///
    /// # Errors
    /// `Invalid` if the catalog still has the volume and `replace` is not set; `Corrupt` if the
    /// data backend does not say who the volume is, without which no chunk can be named; those of
    /// the backends. It may be called again after any error.
    pub async fn rebuild(
        resources: Resources,
        id: VolumeId,
        options: RebuildOptions,
    ) -> Result<(Self, RebuildReport)> {
        let mut rebuild = Rebuild::begin(&resources, id, options).await?;
        rebuild.run().await?;
        let report = rebuild.report;
        let volume = Self::open(resources, id).await?;
        if report.source == RebuildSource::Segments || report.commits_missing > 0 {
            // What the log lacks must not be missing again the next time.
            volume.checkpoint().await?;
        }
        Ok((volume, report))
    }
}

/// What the names of all objects tell.
#[derive(Debug, Default)]
struct Survey {
    /// The highest epoch.
    epoch: u64,
    /// The highest number of a commit that log and checkpoints name, whether it can be read or not.
    last: Version,
    /// Objects of the log: the last commit of each and its bytes, by run.
    log_bytes: u64,
}

/// A rebuild under way.
struct Rebuild {
    env: Env,
    keys: CatalogKeys,
    data_keys: DataKeys,
    data: Arc<dyn Backend>,
    context: DataContext,
    reader: Reader,
    volume: VolumeRow,
    options: RebuildOptions,
    report: RebuildReport,
    rows: Rows,
    survey: Survey,
    segments: Segments,
    /// Counted from the rows that there are.
    head: Head,
    sealed: Sealed,
}

impl Rebuild {
    async fn begin(resources: &Resources, id: VolumeId, options: RebuildOptions) -> Result<Self> {
        let (keys, data_keys) = (CatalogKeys::new(id), DataKeys::new(id));
        let catalog = describing(Arc::clone(&resources.catalog), id);
        let volume = Spread::discover(&resources.env, &resources.data, id).await?;
        let row = VolumeRowSource::Fixed(Arc::new(volume.clone()));
        let env = resources.env.clone();
        let spread = Spread::new(env, Arc::clone(&catalog), id, &resources.data, row);
        let (data, spread) = spread.as_data();
        let report = RebuildReport {
            not_salvaged: salvage::salvage(resources, &volume, id, &options).await?,
            ..RebuildReport::default()
        };
        let context = DataContext {
            env: resources.env.clone(),
            catalog: Arc::clone(&catalog),
            data: Arc::clone(&data),
            spread,
            keys: keys.clone(),
            data_keys: data_keys.clone(),
            secret: volume.secret,
        };
        let reader = Reader::new(context.clone(), ReadSettings { cache_bytes: 1 << 20 });
        Ok(Self {
            env: resources.env.clone(),
            keys,
            data_keys,
            data,
            context,
            reader,
            volume,
            options,
            report,
            rows: Rows::new(catalog),
            survey: Survey::default(),
            segments: Segments::default(),
            head: Head::default(),
            sealed: Sealed::default(),
        })
    }

    async fn run(&mut self) -> Result<()> {
        self.wipe().await?;
        self.survey().await?;
        segments::scan(self).await?;
        replay::replay(self).await?;
        count::count(self).await?;
        self.finish().await
    }

    fn progress(&self) {
        if let Some(progress) = &self.options.progress {
            progress(&self.report);
        }
    }

    /// No commit, and so no time of one, is earlier than this.
    fn note_time(&mut self, time: Timestamp) {
        self.head.time = self.head.time.max(time);
    }

    /// Removes all rows of the volume, the head first: half a catalog must not be taken for one.
    async fn wipe(&mut self) -> Result<()> {
        self.rows.set(self.keys.head(), None);
        self.rows.flush().await?;
        let mut pages = Pages::keys(self.keys.root());
        while let Some(rows) = pages.next(self.rows.catalog()).await? {
            for listed in rows {
                self.rows.set(listed.key, None);
            }
            self.rows.flush().await?;
        }
        Ok(())
    }

    async fn survey(&mut self) -> Result<()> {
        let mut pages = Pages::keys(self.data_keys.root());
        while let Some(objects) = pages.next(self.data.as_ref()).await? {
            for object in objects {
                let survey = &mut self.survey;
                if let Some(id) = self.data_keys.segment_id(&object.key) {
                    survey.epoch = survey.epoch.max(id.epoch);
                } else if let Some((run, _)) = log_reader::parse_key(&self.data_keys, &object.key) {
                    survey.epoch = survey.epoch.max(run.epoch);
                    survey.last = survey.last.max(run.last);
                    survey.log_bytes += object.size;
                } else if let Some((id, _)) = checkpoint::parse_key(&self.data_keys, &object.key) {
                    survey.epoch = survey.epoch.max(id.epoch);
                    survey.last = survey.last.max(id.sequence);
                }
            }
        }
        Ok(())
    }

    /// Writes what makes it a volume again.
    async fn finish(&mut self) -> Result<()> {
        self.rows.flush().await?;
        self.head.next_epoch = self.survey.epoch + EPOCHS_AHEAD;
        self.sealed.time = self.env.now();
        let (volume, head, sealed) = (self.keys.volume(), self.keys.head(), self.keys.sealed());
        let mut batch = Batch::new();
        batch.put(volume.clone(), row::encode(&volume, &self.volume), Expect::Absent);
        batch.put(sealed.clone(), row::encode(&sealed, &self.sealed), Expect::Absent);
        batch.put(head.clone(), row::encode(&head, &self.head), Expect::Absent);
        self.rows.catalog().apply(batch).await?;
        self.progress();
        Ok(())
    }
}

/// Whether it is the stored bytes that are wrong: one flipped bit can make them look as if a newer
/// program wrote them.
fn is_damage(error: &Error) -> bool {
    let newer = error.kind() == ErrorKind::Unsupported && error.operation() == Operation::Decode;
    newer || error.kind() == ErrorKind::Corrupt
}
