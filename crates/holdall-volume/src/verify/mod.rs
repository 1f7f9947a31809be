//! Verifying: reads every row and every stored byte, counts everything again, and says what is
//! wrong. It never stops at the first fault.
//!
//! ```text
//! rows       every row decodes; indexes agree with their rows both ways
//! segments   every frame, directory and footer; every chunk by its name
//! counters   references, live bytes and totals, by counting
//! entries    every entry, version and part by its own tree
//! log        log, checkpoints and the volume's object on the data backend
//! ```
//!
//! Commits may go on meanwhile. What looks wrong is looked at again at one moment before it is
//! reported, and counters are compared only if no commit came in between.
//!
//! Memory does not grow with the volume, but for two numbers a segment: references are counted for
//! about a million chunks at a time, and everything else goes page by page.

mod claims;
mod counters;
mod entries;
mod fetch;
mod log;
mod repair;
mod report;
mod restore;
pub(crate) mod rewrite;
mod rows;
mod segments;
mod snapshots;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use holdall_core::{
    Backend, BackendExt, Env, Error, ErrorKind, Key, List, Operation, Result, Row, Timestamp,
};

use serde::{Deserialize, Serialize};

pub use report::{
    Counts, FINDINGS_MAX, Finding, Problem, ProgressFn, Report, Severity, Stage, VerifyOptions,
};

use crate::format::chunk::ChunkId;
use crate::format::head::Head;
use crate::format::keys::{CatalogKeys, DataKeys};
use crate::format::policy::VolumeRow;
use crate::format::row;
use crate::format::segment::SegmentId;
use report::Collector;

/// What verifying works on.
#[derive(Clone, Debug)]
pub struct VerifyContext {
    /// Time and background work.
    pub env: Env,
    /// Where the rows are.
    pub catalog: Arc<dyn Backend>,
    /// Where segments, log and checkpoints are.
    pub data: Arc<dyn Backend>,
    /// The keys of the catalog's rows.
    pub catalog_keys: CatalogKeys,
    /// The keys of the data backend's objects.
    pub data_keys: DataKeys,
}

/// How many rows are read at once: with rows of at most some 80 KiB this bounds memory.
const PAGE_ROWS: usize = if cfg!(test) { 3 } else { 128 };

/// How many damaged chunks are remembered for mending.
const DAMAGED_MAX: usize = 100_000;

/// Verifies a volume, and mends what can be mended if it is told to.
///
/// # Errors
/// Only what keeps it from looking at all: the backends' own errors, `Unsupported` if a newer
/// program wrote the volume, and `Corrupt` if neither catalog nor data backend says who the volume
/// is, without which no chunk can be checked. Everything else is in the report.
pub async fn verify(context: &VerifyContext, options: VerifyOptions) -> Result<Report> {
    let mut verifier = Verifier::open(context, options).await?;
    let done = verifier.run().await?;
    verifier.collector.report.complete = done;
    Ok(verifier.collector.report)
}

/// Where to go on with verifying by slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyCursor {
    /// The stage.
    pub stage: Stage,
    /// The last segment that was read in it.
    pub segment: Option<SegmentId>,
}

/// Verifies one slice of a volume: a stage, or of the segments so many bytes that at least
/// `bytes_max` are read. Mends nothing, and does not read every entry by its own tree. Returns
/// where to go on; nothing once all was verified, or as the cursor was if it was cancelled.
///
/// # Errors
/// As [`verify`].
pub async fn verify_slice(
    context: &VerifyContext,
    cursor: Option<VerifyCursor>,
    options: VerifyOptions,
    bytes_max: u64,
) -> Result<(Report, Option<VerifyCursor>)> {
    let start = VerifyCursor { stage: Stage::Rows, segment: None };
    let VerifyCursor { stage, segment } = cursor.unwrap_or(start);
    let options = VerifyOptions { repair: false, ..options };
    let mut verifier = Verifier::open(context, options).await?;
    verifier.collector.enter(stage);
    let at = |stage| Some(VerifyCursor { stage, segment: None });
    let (done, next) = match stage {
        Stage::Rows => (rows::verify(&mut verifier).await?, at(Stage::Segments)),
        Stage::Segments => match segments::verify_some(&mut verifier, segment, bytes_max).await? {
            Some(last) => (true, Some(VerifyCursor { stage, segment: Some(last) })),
            None => (!verifier.collector.progress(), at(Stage::Counters)),
        },
        Stage::Counters => (counters::verify(&mut verifier).await?, at(Stage::Log)),
        Stage::Entries | Stage::Log => (log::verify(&mut verifier).await?, None),
    };
    verifier.collector.report.complete = done;
    Ok((verifier.collector.report, if done { next } else { Some(cursor.unwrap_or(start)) }))
}

/// What is known while verifying.
struct Verifier<'a> {
    context: &'a VerifyContext,
    volume: VolumeRow,
    collector: Collector,
    /// For each segment: chunk rows whose bytes were found there, while reading it.
    found: HashMap<SegmentId, u64>,
    /// Chunks whose bytes are damaged or missing where their row says.
    damaged: HashSet<ChunkId>,
    /// Chunks whose rows are lost and of which it is known that nothing names them, and since when.
    idle: HashMap<ChunkId, Timestamp>,
    /// How indexes can be mended.
    index_fixes: Vec<claims::IndexFix>,
    /// Whether a list chunk could not be read, so that counts of references are too low.
    lists_missing: bool,
    /// Rows that are missing, as far as reading them all has shown.
    lost: restore::Lost,
}

/// Whether to go on; false once it was cancelled.
type GoOn = bool;

impl<'a> Verifier<'a> {
    async fn open(context: &'a VerifyContext, options: VerifyOptions) -> Result<Self> {
        let mut collector = Collector::new(options);
        let volume = log::volume_row(context, &mut collector).await?;
        let key = context.catalog_keys.head();
        let head = context.catalog.get_all(&key).await?;
        let head = head.map(|object| row::decode::<Head>(&key, &object.value)).transpose();
        collector.report.sequence = match head {
            Ok(head) => head.map_or(0, |head| head.sequence),
            Err(error) if error.kind() == ErrorKind::Corrupt => 0,
            Err(error) => return Err(error),
        };
        let (found, damaged) = (HashMap::new(), HashSet::new());
        Ok(Self {
            context,
            volume,
            collector,
            found,
            damaged,
            idle: HashMap::new(),
            index_fixes: Vec::new(),
            lists_missing: false,
            lost: restore::Lost::default(),
        })
    }

    async fn run(&mut self) -> Result<GoOn> {
        self.collector.enter(Stage::Rows);
        if self.collector.options.repair {
            restore::own(self).await?;
        }
        if !rows::verify(self).await? {
            return Ok(false);
        }
        if self.collector.options.repair {
            restore::rows(self).await?;
            repair::indexes(self).await?;
        }
        self.collector.enter(Stage::Segments);
        if !segments::verify(self).await? {
            return Ok(false);
        }
        if self.collector.options.repair {
            repair::copies(self).await?;
        }
        self.collector.enter(Stage::Counters);
        if !counters::verify(self).await? {
            return Ok(false);
        }
        self.collector.enter(Stage::Entries);
        if self.collector.options.entries && !entries::verify(self).await? {
            return Ok(false);
        }
        self.collector.enter(Stage::Log);
        log::verify(self).await
    }

    fn note_index(&mut self, fix: claims::IndexFix) {
        if self.index_fixes.len() < FINDINGS_MAX {
            self.index_fixes.push(fix);
        }
    }

    fn note_damaged(&mut self, id: ChunkId) {
        if self.damaged.len() < DAMAGED_MAX {
            self.damaged.insert(id);
        }
    }
}

/// Reads rows page by page.
struct Pages {
    list: Option<List>,
}

impl Pages {
    /// All rows under a prefix, with their values.
    fn new(prefix: String) -> Self {
        Self { list: Some(List::prefix(prefix).with_values().limit(PAGE_ROWS)) }
    }

    /// Those of them behind this key.
    fn behind(prefix: String, key: &Key) -> Self {
        let list = List::prefix(prefix).after(key.as_str());
        Self { list: Some(list.with_values().limit(PAGE_ROWS)) }
    }

    /// All keys under a prefix, without values.
    fn keys(prefix: String) -> Self {
        Self { list: Some(List::prefix(prefix)) }
    }

    /// Whether the last page was the last.
    fn is_at_end(&self) -> bool {
        self.list.is_none()
    }

    async fn next(&mut self, backend: &dyn Backend) -> Result<Option<Vec<Row>>> {
        let Some(list) = self.list.take() else {
            return Ok(None);
        };
        let page = backend.list(&list).await?;
        if let Some(last) = page.rows.last().filter(|_| page.more) {
            self.list = Some(list.after(last.key.as_str()));
        }
        Ok(Some(page.rows))
    }
}

/// The error as something to report: only damage is. One flipped bit can make a frame look as if a
/// newer program wrote it, which must not end verifying; a row's checksum is looked at first.
fn damage(error: Error) -> Result<String> {
    let newer = error.kind() == ErrorKind::Unsupported && error.operation() == Operation::Decode;
    if newer || error.kind() == ErrorKind::Corrupt {
        return Ok(error.message().to_owned());
    }
    Err(error)
}

/// The damage of a row. One that a newer program wrote is no damage, and ends verifying.
fn row_damage_of<T>(result: Result<T>) -> Result<std::result::Result<T, String>> {
    match result {
        Err(error) if error.kind() == ErrorKind::Unsupported => Err(error),
        result => damage_of(result),
    }
}

/// The error of a result, if it is damage.
fn damage_of<T>(result: Result<T>) -> Result<std::result::Result<T, String>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) => damage(error).map(Err),
    }
}

fn unreadable(what: &str) -> Error {
    Error::corrupt(Operation::Maintain, what.to_owned())
}

#[cfg(test)]
mod tests;
