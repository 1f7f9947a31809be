//! Snapshots that there must be, by what checkpoint and log say, and whether their rows are there.
//!
//! Nothing in the catalog counts them, but every commit that made or removed one is in the log.

use std::collections::BTreeMap;

use holdall_core::{Batch, Expect, Key, Result};

use super::repair::{Moment, apply};
use super::{Pages, Problem, Verifier};
use crate::format::entry::{Name, Version};
use crate::format::history::SnapshotRow;
use crate::format::log::{self, Change, Commit};
use crate::format::row;

const REBUILD: &str = "run `holdall verify --repair`; if that does not mend it, run `holdall \
                       rebuild`, or take a new snapshot of that name";

/// How often this is tried while commits go on.
const ATTEMPTS_MAX: usize = 3;

/// The snapshots that there must be after some commit.
#[derive(Debug, Default)]
pub(super) struct Expected {
    rows: BTreeMap<Name, SnapshotRow>,
    /// The commit of the checkpoint that they are from; 0 if they are from the log alone.
    base: Version,
    /// Whether commits are missing behind it: then nothing is known.
    unknown: bool,
}

impl Expected {
    /// Begins with the rows of a checkpoint.
    pub(super) fn new(base: Version, rows: BTreeMap<Name, SnapshotRow>) -> Self {
        Self { rows, base, unknown: false }
    }

    /// Notes that commits up to this one are missing.
    pub(super) fn gap(&mut self, last: Version) {
        self.unknown |= last > self.base;
    }

    /// Takes in what commits have changed. Those before the checkpoint are in its rows already.
    pub(super) fn commits(&mut self, commits: &[Commit]) {
        for commit in commits.iter().filter(|commit| commit.sequence > self.base) {
            for change in &commit.changes {
                match change {
                    Change::Snapshot { name, snapshot } => {
                        self.rows.insert(name.clone(), snapshot.clone());
                    }
                    Change::Unsnapshot { name } => {
                        self.rows.remove(name);
                    }
                    Change::Put { .. } | Change::Delete { .. } => {}
                }
            }
        }
    }
}

/// Compares the rows with what they must be. The log on the data backend was read up to but
/// without `next`; the rest is in the catalog.
pub(super) async fn verify(
    verifier: &mut Verifier<'_>,
    mut expected: Expected,
    mut next: Version,
) -> Result<()> {
    for _ in 0..ATTEMPTS_MAX {
        let Some(moment) = Moment::read(verifier, &[]).await? else {
            return Ok(());
        };
        next = unsealed(verifier, &mut expected, next).await?;
        let missing = missing(verifier, &expected).await?;
        let after = Moment::read(verifier, &[]).await?;
        if after.is_none_or(|after| after.revision != moment.revision) {
            continue;
        }
        // Where log rows are missing, which was reported with the rows, too little is known.
        if !expected.unknown && next == moment.head.sequence + 1 {
            return compare(verifier, missing, moment).await;
        }
        return Ok(());
    }
    Ok(())
}

/// Takes in the commits that only the catalog has. Returns the number behind the last.
async fn unsealed(
    verifier: &Verifier<'_>,
    expected: &mut Expected,
    mut next: Version,
) -> Result<Version> {
    let keys = &verifier.context.catalog_keys;
    let mut pages = Pages::behind(keys.class('l'), &keys.log(next.saturating_sub(1)));
    while let Some(rows) = pages.next(verifier.context.catalog.as_ref()).await? {
        for found in rows {
            let bytes = found.object.map(|object| object.value).unwrap_or_default();
            let Ok(mut commits) = log::decode_commits(&found.key, &bytes) else {
                return Ok(next);
            };
            commits.retain(|commit| commit.sequence >= next);
            if commits.first().is_none_or(|commit| commit.sequence != next) {
                return Ok(next);
            }
            expected.commits(&commits);
            next = commits.last().map_or(next, |commit| commit.sequence + 1);
        }
    }
    Ok(next)
}

/// The snapshots whose rows are not there, or damaged.
async fn missing(
    verifier: &Verifier<'_>,
    expected: &Expected,
) -> Result<BTreeMap<Key, SnapshotRow>> {
    let keys = &verifier.context.catalog_keys;
    let rows = expected.rows.iter().map(|(name, row)| (keys.snapshot(name), row.clone()));
    let mut missing: BTreeMap<Key, SnapshotRow> = rows.collect();
    let mut pages = Pages::new(keys.class('p'));
    while let Some(rows) = pages.next(verifier.context.catalog.as_ref()).await? {
        for found in rows {
            let bytes = found.object.map(|object| object.value).unwrap_or_default();
            if row::decode::<SnapshotRow>(&found.key, &bytes).is_ok() {
                missing.remove(&found.key);
            }
        }
    }
    Ok(missing)
}

async fn compare(
    verifier: &mut Verifier<'_>,
    missing: BTreeMap<Key, SnapshotRow>,
    moment: Moment,
) -> Result<()> {
    let mut revision = moment.revision.clone();
    for (key, snapshot) in missing {
        let message =
            format!("the snapshot's row is missing; it pins commit {}", snapshot.sequence);
        verifier.collector.error(Problem::MissingRow, &key, message, REBUILD);
        if !verifier.collector.options.repair || !is_whole(verifier, &snapshot, &moment) {
            continue;
        }
        let mut batch = Batch::new();
        batch.put(key.clone(), row::encode(&key, &snapshot), Expect::Any);
        let Some(next) = apply(verifier, batch, &moment.head, &revision).await? else {
            return Ok(());
        };
        revision = next;
        verifier.collector.restored(&key);
    }
    Ok(())
}

/// Whether everything that the snapshot pins is surely still there. While its row was lost, what
/// it alone pins may have been pruned; then a snapshot that shows too little would be made up.
///
/// Nothing was pruned if the policy keeps history for longer than the snapshot is old. Nor if the
/// head still knows the snapshot's commit as the newest that is pinned: pruning lowers that first.
fn is_whole(verifier: &Verifier<'_>, snapshot: &SnapshotRow, moment: &Moment) -> bool {
    let now = verifier.context.env.now();
    let volume = &verifier.volume;
    let kept =
        now.since(snapshot.time) < volume.policy.history && snapshot.time >= volume.history_from;
    kept || moment.head.snapshot_last == snapshot.sequence
}
