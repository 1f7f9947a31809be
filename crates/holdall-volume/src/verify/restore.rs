//! Restores damaged rows of entries from checkpoint, log, and the commits not yet in it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use holdall_core::{BackendExt, Batch, Error, Expect, Key, Operation, Result};

use super::repair::{Moment, apply};
use super::{Pages, Problem, Verifier, damage, damage_of};
use crate::checkpoint::{CheckpointReader, list_checkpoints, verify_checkpoint};
use crate::format::entry::{Entry, Name};
use crate::format::log::{self, Change, Commit};
use crate::log_reader::{LogItem, read_log};

/// How many damaged entries are looked up in the log at once.
const NAMES_MAX: usize = 10_000;

/// Restores damaged rows of entries from checkpoint and log.
pub(super) async fn entries(verifier: &mut Verifier<'_>) -> Result<()> {
    let keys = verifier.context.catalog_keys.clone();
    let damaged = verifier.collector.report.findings.iter();
    let damaged = damaged.filter(|found| found.problem == Problem::DamagedRow);
    let names: BTreeSet<Name> = damaged
        .filter_map(|found| Key::parse(&found.key).ok())
        .filter_map(|key| Name::parse(keys.entry_name(&key)?).ok())
        .take(NAMES_MAX)
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let Some(moment) = Moment::read(verifier, &[]).await? else {
        return Ok(());
    };
    let mut states = HashMap::new();
    let Some(reached) = replay(verifier, &names, &mut states).await? else {
        return Ok(());
    };
    if reached != moment.head.sequence {
        return Ok(());
    }
    let mut revision = moment.revision;
    for name in &names {
        let key = keys.entry(name);
        let mut batch = Batch::new();
        match states.get(name) {
            Some((_, Some(entry))) => {
                batch.put(key.clone(), entry.encode(&key), Expect::Any);
            }
            Some((_, None)) => {
                batch.delete(key.clone(), Expect::Any);
            }
            // Neither checkpoint nor log knows it.
            None => continue,
        }
        let Some(next) = apply(verifier, batch, &moment.head, &revision).await? else {
            return Ok(());
        };
        revision = next;
        verifier.collector.repaired(Problem::DamagedRow, &key);
    }
    Ok(())
}

/// The newest known state of an entry: the commit that made it so, and the entry if there is one.
type States = HashMap<Name, (u64, Option<Entry>)>;

/// The states of entries after the last commit, whose number is returned; nothing if commits are
/// missing.
async fn replay(
    verifier: &Verifier<'_>,
    names: &BTreeSet<Name>,
    states: &mut States,
) -> Result<Option<u64>> {
    let context = verifier.context;
    let keys = (&context.catalog_keys, &context.data_keys);
    let mut from = 1;
    for id in list_checkpoints(context.data.as_ref(), &context.data_keys).await? {
        if damage_of(verify_checkpoint(&context.data, keys, id).await)?.is_err() {
            continue;
        }
        let mut reader = CheckpointReader::open(&context.data, &context.data_keys, id).await?;
        while let Some(rows) = reader.next().await? {
            for found in rows {
                let key = found.check(&context.catalog_keys)?;
                let name = context.catalog_keys.entry_name(&key).map(Name::parse);
                let Some(Ok(name)) = name.filter(|n| n.as_ref().is_ok_and(|n| names.contains(n)))
                else {
                    continue;
                };
                let entry = Entry::decode(&key, &found.value)?;
                states.insert(name, (entry.version, Some(entry)));
            }
        }
        from = id.sequence + 1;
        break;
    }
    let mut reader = read_log(Arc::clone(&context.data), context.data_keys.clone(), from);
    loop {
        match damage_of(reader.next().await)? {
            Ok(None) => break,
            Ok(Some(LogItem::Commits(commits))) => take(names, states, commits),
            Ok(Some(LogItem::Gap { .. })) => return Ok(None),
            // Another run may have the same; if not, a gap follows.
            Ok(Some(LogItem::Missing { .. } | LogItem::Damage { .. })) | Err(_) => {}
        }
    }
    unsealed(verifier, names, states, reader.position()).await
}

/// Replays the commits that are not yet in the log on the data backend.
async fn unsealed(
    verifier: &Verifier<'_>,
    names: &BTreeSet<Name>,
    states: &mut States,
    mut next: u64,
) -> Result<Option<u64>> {
    let context = verifier.context;
    let keys = &context.catalog_keys;
    let mut pages = Pages::new(keys.class('v'));
    while let Some(rows) = pages.next(context.catalog.as_ref()).await? {
        for found in rows {
            let Some(last) = keys.log_sequence(&found.key).filter(|last| *last >= next) else {
                continue;
            };
            let key = keys.log(last);
            let object = context.catalog.get_all(&key).await?;
            let (Some(object), Some(inline)) = (object, found.object) else {
                return Ok(None);
            };
            let decoded = log::decode_commits(&key, &object.value).and_then(|mut commits| {
                log::restore_inline(&found.key, &inline.value, &mut commits)?;
                Ok(commits)
            });
            let Ok(mut commits) = decoded.map_err(damage) else {
                return Ok(None);
            };
            commits.retain(|commit| commit.sequence >= next);
            if commits.first().is_none_or(|commit| commit.sequence != next) {
                return Ok(None);
            }
            take(names, states, commits);
            next = last + 1;
        }
    }
    next.checked_sub(1).map(Some).ok_or_else(|| {
        Error::corrupt(Operation::Maintain, "the commit log has a commit without a number")
    })
}

fn take(names: &BTreeSet<Name>, states: &mut States, commits: Vec<Commit>) {
    for commit in commits {
        for change in commit.changes {
            let (name, entry) = match change {
                Change::Put { name, entry } => (name, Some(entry)),
                Change::Delete { name } => (name, None),
                Change::Snapshot { .. } | Change::Unsnapshot { .. } => continue,
            };
            let newer = states.get(&name).is_none_or(|(version, _)| *version <= commit.sequence);
            if names.contains(&name) && newer {
                states.insert(name, (commit.sequence, entry));
            }
        }
    }
}
