//! Reads the commit log on the data backend: for rebuilding, verifying, and the change feed where
//! the catalog no longer has the rows.

use std::collections::VecDeque;
use std::sync::Arc;

use holdall_core::{Backend, BackendExt, Error, ErrorKind, Key, List, Operation, Result};

use crate::format::entry::Version;
use crate::format::keys::DataKeys;
use crate::format::log::{Commit, LogPart, RUN_COMMITS_MAX};

/// What [`LogReader::next`] comes upon.
#[derive(Debug)]
pub enum LogItem {
    /// The next commits, in order, each whole, with their inline bytes.
    Commits(Vec<Commit>),
    /// No readable run holds these commits. Reading goes on behind them.
    Gap {
        /// The first that is missing.
        first: Version,
        /// The last that is missing.
        last: Version,
    },
    /// A run lacks this object: its writer was interrupted, or it was lost. Another run may hold
    /// the same commits; if none does, a gap follows.
    Missing {
        /// The object.
        key: Key,
    },
    /// An object of the log is damaged. Another run may hold the same commits; if none does, a
    /// gap follows.
    Damage {
        /// The object.
        key: Key,
        /// What is wrong with it.
        error: Error,
    },
}

/// A run of the log, as the names of its parts tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first commit.
    pub first: Version,
    /// The last commit.
    pub last: Version,
    /// The epoch of the writer that wrote it.
    pub epoch: u64,
}

/// Reads every commit from a number on, in order, each once, whatever runs overlap.
///
/// Holds the commits of one part in memory, and those of one commit that spans several.
#[derive(Debug)]
pub struct LogReader {
    data: Arc<dyn Backend>,
    keys: DataKeys,
    next: Version,
    /// Runs not yet looked at, in order of their first commit.
    runs: Runs,
    /// Runs that may hold `next`, best first.
    candidates: VecDeque<Run>,
    /// The run being read.
    open: Option<OpenRun>,
}

#[derive(Debug)]
struct OpenRun {
    run: Run,
    part: u32,
    parts: u32,
    /// The first commit of the next part.
    expected: Version,
    /// The last commit read, where it goes on in the next part.
    held: Option<Commit>,
}

/// Begins to read the log at commit `from`.
pub fn read_log(data: Arc<dyn Backend>, keys: DataKeys, from: Version) -> LogReader {
    let runs = Runs::from(Arc::clone(&data), keys.clone(), from);
    LogReader { data, keys, next: from, runs, candidates: VecDeque::new(), open: None }
}

impl LogReader {
    /// The first commit that has not been returned or reported missing: at the end, one more than
    /// the last that the log has.
    pub fn position(&self) -> Version {
        self.next
    }

    /// Goes on; nothing at the end of the log. After an error it may be called again.
    ///
    /// # Errors
    /// Those of the backend, and `Unsupported` if a newer program wrote the log. Damage is no
    /// error but an item.
    pub async fn next(&mut self) -> Result<Option<LogItem>> {
        loop {
            if let Some(open) = self.open.take() {
                if let Some(item) = self.read_part(open).await? {
                    return Ok(Some(item));
                }
                continue;
            }
            while let Some(run) = self.runs.peek().await?
                && run.first <= self.next
            {
                self.runs.take();
                self.candidates.push_back(run);
            }
            self.candidates.retain(|run| run.last >= self.next);
            if let Some(run) = self.candidates.pop_front() {
                self.open =
                    Some(OpenRun { run, part: 0, parts: 1, expected: run.first, held: None });
                continue;
            }
            let Some(run) = self.runs.peek().await? else {
                return Ok(None);
            };
            let (first, last) = (self.next, run.first - 1);
            self.next = run.first;
            return Ok(Some(LogItem::Gap { first, last }));
        }
    }

    /// Reads the next part of a run. The run stays open while it has more.
    async fn read_part(&mut self, mut open: OpenRun) -> Result<Option<LogItem>> {
        let run = open.run;
        let key = self.keys.log(run.first, run.last, run.epoch, open.part);
        let object = match self.data.get_all(&key).await {
            Ok(object) => object,
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                return Ok(Some(LogItem::Damage { key, error }));
            }
            Err(error) => {
                self.open = Some(open);
                return Err(error);
            }
        };
        let Some(object) = object else {
            return Ok(Some(LogItem::Missing { key }));
        };
        let volume = self.keys.volume_id();
        let decoded = LogPart::decode(volume, (run.first, run.last), open.part, &object.value);
        let joined = decoded.and_then(|part| join(&mut open, part));
        let mut commits = match joined {
            Ok(commits) => commits,
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                return Err(error.with_key(&key));
            }
            Err(error) => return Ok(Some(LogItem::Damage { key, error })),
        };
        commits.retain(|commit| commit.sequence >= self.next);
        if let Some(last) = commits.last() {
            self.next = last.sequence + 1;
        }
        if open.part < open.parts {
            self.open = Some(open);
        }
        Ok(if commits.is_empty() { None } else { Some(LogItem::Commits(commits)) })
    }
}

/// Puts a part behind what was read of its run, and returns the commits that are whole now.
fn join(open: &mut OpenRun, part: LogPart) -> Result<Vec<Commit>> {
    let wrong = || {
        let message = "a part of the commit log does not follow the one before it";
        Err(Error::corrupt(Operation::Decode, message))
    };
    if open.part > 0 && open.parts != part.parts {
        return wrong();
    }
    let mut commits = part.commits;
    let first = commits.first().map_or(0, |commit| commit.sequence);
    if first != open.expected {
        return wrong();
    }
    if let Some(mut held) = open.held.take() {
        held.changes.append(&mut commits[0].changes);
        commits[0] = held;
    }
    open.parts = part.parts;
    open.part += 1;
    let last = commits.last().map_or(0, |commit| commit.sequence);
    let ends = open.part == open.parts;
    if ends && (part.unfinished || last != open.run.last) {
        return wrong();
    }
    open.expected = if part.unfinished { last } else { last.saturating_add(1) };
    if part.unfinished {
        open.held = commits.pop();
    }
    Ok(commits)
}

/// Lists the runs of the log in order of their first commit, page by page.
#[derive(Debug)]
pub struct Runs {
    data: Arc<dyn Backend>,
    keys: DataKeys,
    after: Option<String>,
    more: bool,
    found: VecDeque<Run>,
    latest: Option<Run>,
}

impl Runs {
    /// All runs of the log that may hold this commit or a later one.
    pub fn from(data: Arc<dyn Backend>, keys: DataKeys, commit: Version) -> Self {
        let (found, latest) = (VecDeque::new(), None);
        // No run's key ends here, so listing behind it is listing from it.
        let first = commit.saturating_sub(RUN_COMMITS_MAX);
        let after = Some(format!("{}{first:016x}", keys.logs()));
        Self { data, keys, after, more: true, found, latest }
    }

    /// The next run, without going on.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn peek(&mut self) -> Result<Option<Run>> {
        while self.found.is_empty() && self.more {
            let mut list = List::prefix(self.keys.logs());
            if let Some(after) = &self.after {
                list = list.after(after);
            }
            let page = self.data.list(&list).await?;
            for row in &page.rows {
                self.after = Some(row.key.as_str().to_owned());
                // Objects of other names are not the log's; verify reports them.
                let Some((run, _)) = parse_key(&self.keys, &row.key) else {
                    continue;
                };
                if self.latest != Some(run) {
                    self.latest = Some(run);
                    self.found.push_back(run);
                }
            }
            self.more = page.more;
        }
        Ok(self.found.front().copied())
    }

    /// Goes on to the next run, and returns the one that [`peek`](Self::peek) showed.
    pub fn take(&mut self) -> Option<Run> {
        self.found.pop_front()
    }
}

/// The run and part that an object of the log is named for.
pub(crate) fn parse_key(keys: &DataKeys, key: &Key) -> Option<(Run, u32)> {
    let (run, part) = key.as_str().strip_prefix(&keys.logs())?.split_once('/')?;
    let mut numbers = run.split('-').map(|hex| u64::from_str_radix(hex, 16));
    let (first, last, epoch) =
        (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
    let part = u32::from_str_radix(part, 16).ok()?;
    let parsed = Run { first, last, epoch };
    // Only names that we would give: no signs, no other lengths, no empty runs.
    let ours = keys.log(first, last, epoch, part) == *key && (1..=last).contains(&first);
    ours.then_some((parsed, part))
}

/// Removes the runs whose last commit is at or before `upto`.
///
/// # Errors
/// Those of the backend.
pub(crate) async fn delete_log(data: &dyn Backend, keys: &DataKeys, upto: Version) -> Result<u64> {
    let mut list = List::prefix(keys.logs());
    let mut deleted = 0;
    loop {
        let page = data.list(&list).await?;
        for row in &page.rows {
            let Some((run, _)) = parse_key(keys, &row.key) else {
                continue;
            };
            if run.last <= upto {
                data.delete(&row.key, holdall_core::Expect::Any).await?;
                deleted += 1;
            }
        }
        match page.rows.last() {
            Some(last) if page.more => list = list.after(last.key.as_str()),
            _ => return Ok(deleted),
        }
    }
}
