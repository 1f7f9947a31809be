//! What verifying found, in a form for people and programs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdall_core::{Key, Throttle};
use serde::{Deserialize, Serialize};

/// The most findings that a report lists; the rest is counted.
pub const FINDINGS_MAX: usize = 10_000;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing is wrong; worth knowing.
    Notice,
    /// Something is wrong that costs room or time but no data.
    Warning,
    /// Data is damaged, or would be lost if one more thing went wrong.
    Error,
}

/// What kind of thing a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Problem {
    /// A row of the catalog cannot be decoded, or contradicts itself.
    DamagedRow,
    /// A row of the catalog has no meaning here.
    ForeignRow,
    /// A row that must be there is not.
    MissingRow,
    /// An index row is missing, or points at nothing.
    Index,
    /// A counter is not what counting gives.
    Counter,
    /// A segment, or a frame, directory or footer of it, is damaged.
    DamagedSegment,
    /// A segment is not where its row says.
    MissingSegment,
    /// A segment that no row knows.
    Orphan,
    /// A chunk's bytes are damaged or missing.
    LostChunk,
    /// An entry, version or part cannot be read whole, or has another digest.
    UnreadableEntry,
    /// An object of the commit log is damaged or missing.
    DamagedLog,
    /// Commits are missing from the log.
    LogGap,
    /// A checkpoint is damaged.
    DamagedCheckpoint,
    /// The volume's own object on the data backend is missing, damaged or out of date.
    VolumeObject,
    /// An object on the data backend is not the volume's.
    ForeignObject,
    /// Something could not be compared because commits went on.
    Busy,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing it is.
    pub problem: Problem,
    /// How bad it is.
    pub severity: Severity,
    /// The key of the row or object.
    pub key: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it.
    pub advice: &'static str,
    /// Whether it was mended.
    pub repaired: bool,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rows of the catalog.
    pub rows: u64,
    /// Entries, versions and parts that were read whole.
    pub entries_read: u64,
    /// Chunk rows.
    pub chunks: u64,
    /// Segments that were read whole.
    pub segments: u64,
    /// Frames in segments.
    pub frames: u64,
    /// Bytes read from segments, log and checkpoints.
    pub bytes_read: u64,
    /// Bytes in segments of chunks that no row points at.
    pub garbage_bytes: u64,
    /// Commits in the log on the data backend.
    pub log_commits: u64,
    /// Whole checkpoints.
    pub checkpoints: u64,
}

/// What verifying found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The newest commit when it began.
    pub sequence: u64,
    /// Everything that was found, up to [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How many findings more there were.
    pub findings_dropped: u64,
    /// How much was looked at.
    pub counts: Counts,
    /// Whether everything was looked at: false if it was cancelled.
    pub complete: bool,
}

impl Report {
    /// The worst that was found and not mended.
    pub fn worst(&self) -> Option<Severity> {
        let open = self.findings.iter().filter(|finding| !finding.repaired);
        let dropped = (self.findings_dropped > 0).then_some(Severity::Error);
        open.map(|finding| finding.severity).max().max(dropped)
    }

    /// Whether nothing is wrong that costs data, room or time.
    pub fn is_clean(&self) -> bool {
        self.complete && self.worst().is_none_or(|worst| worst == Severity::Notice)
    }
}

/// What verifying is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The catalog's rows.
    Rows,
    /// The segments' bytes.
    Segments,
    /// References and counters.
    Counters,
    /// The entries' bytes.
    Entries,
    /// Log and checkpoints.
    Log,
}

/// Tells how far verifying is.
pub type ProgressFn = dyn Fn(Stage, &Counts) + Send + Sync;

/// What verifying is told to do.
#[derive(Clone)]
pub struct VerifyOptions {
    /// Whether to mend what can be mended.
    pub repair: bool,
    /// Whether to read every entry, version and part by its own tree and compare its digest; the
    /// segments' bytes are read in any case.
    pub entries: bool,
    /// Lets only so many bytes a second be read.
    pub throttle: Option<Throttle>,
    /// Called now and then.
    pub progress: Option<Arc<ProgressFn>>,
    /// Set from elsewhere to stop; the report then says what was found so far.
    pub cancel: Arc<AtomicBool>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            repair: false,
            entries: true,
            throttle: None,
            progress: None,
            cancel: Arc::default(),
        }
    }
}

impl std::fmt::Debug for VerifyOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("VerifyOptions");
        debug.field("repair", &self.repair).field("entries", &self.entries);
        debug.finish_non_exhaustive()
    }
}

/// Collects findings.
#[derive(Debug)]
pub(crate) struct Collector {
    pub(crate) report: Report,
    pub(crate) options: VerifyOptions,
    stage: Stage,
}

impl Collector {
    pub(crate) fn new(options: VerifyOptions) -> Self {
        Self { report: Report::default(), options, stage: Stage::Rows }
    }

    pub(crate) fn find(
        &mut self,
        problem: Problem,
        severity: Severity,
        key: &Key,
        message: impl Into<String>,
        advice: &'static str,
    ) {
        let (key, message) = (key.to_string(), message.into());
        let same = |old: &Finding| old.problem == problem && old.key == key;
        if self.report.findings.iter().rev().take(32).any(|old| same(old) && old.message == message)
        {
            return;
        }
        if self.report.findings.len() == FINDINGS_MAX {
            self.report.findings_dropped += 1;
            return;
        }
        let repaired = false;
        self.report.findings.push(Finding { problem, severity, key, message, advice, repaired });
    }

    pub(crate) fn error(
        &mut self,
        problem: Problem,
        key: &Key,
        message: impl Into<String>,
        advice: &'static str,
    ) {
        self.find(problem, Severity::Error, key, message, advice);
    }

    /// Marks what was found of this kind under this key as mended.
    pub(crate) fn repaired(&mut self, problem: Problem, key: &Key) {
        let findings = self.report.findings.iter_mut();
        findings
            .filter(|found| found.problem == problem && found.key == key.as_str())
            .for_each(|found| found.repaired = true);
    }

    /// Notes that a damaged or missing row is there again.
    pub(crate) fn restored(&mut self, key: &Key) {
        let rows = [Problem::DamagedRow, Problem::MissingRow];
        let mut findings = self.report.findings.iter();
        if !findings.any(|found| rows.contains(&found.problem) && found.key == key.as_str()) {
            let message = "the row was missing";
            self.error(Problem::MissingRow, key, message, super::rows::REBUILD);
        }
        rows.into_iter().for_each(|problem| self.repaired(problem, key));
    }

    /// Whether all that was found under this key was mended.
    pub(crate) fn is_repaired(&self, key: &Key) -> bool {
        let findings = self.report.findings.iter();
        findings.filter(|found| found.key == key.as_str()).all(|found| found.repaired)
    }

    pub(crate) fn counts(&mut self) -> &mut Counts {
        &mut self.report.counts
    }

    pub(crate) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.progress();
    }

    /// Tells how far it is; true if it is to stop.
    pub(crate) fn progress(&self) -> bool {
        if let Some(progress) = &self.options.progress {
            progress(self.stage, &self.report.counts);
        }
        self.options.cancel.load(Ordering::Relaxed)
    }
}
