//! What happened, once more: a checkpoint's rows, and the commits of the log over them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use holdall_core::{Key, Result, Timestamp};

use super::segments::directory;
use super::{LISTED_MAX, Rebuild, RebuildSource, is_damage};
use crate::checkpoint::{CheckpointReader, list_checkpoints, verify_checkpoint};
use crate::format::checkpoint::{CheckpointId, Manifest};
use crate::format::entry::{Entry, Name, Version};
use crate::format::history::{HistoryRow, SnapshotRow};
use crate::format::log::{Change, Commit, encode_commits, encode_inline};
use crate::format::row;
use crate::format::segment::{DirectoryEntry, SegmentId};
use crate::log_reader::{LogItem, read_log};

/// How many changes are made at once.
const CHANGES_AT_ONCE: usize = 512;

/// How many entries of directories make a commit.
const ENTRIES_AT_ONCE: usize = 64;

/// Makes the rows of entries, history, snapshots and uploads.
pub(super) async fn replay(rebuild: &mut Rebuild) -> Result<()> {
    let mut from = 1;
    if let Some((id, manifest)) = choose(rebuild).await? {
        rebuild.report.source = RebuildSource::Checkpoint { sequence: id.sequence };
        rebuild.sealed.checkpoint = id.sequence;
        rebuild.sealed.checkpoint_bytes = manifest.bytes;
        rebuild.survey.last = rebuild.survey.last.max(manifest.upto);
        load(rebuild, id).await?;
        from = id.sequence + 1;
    }
    let last = log(rebuild, from).await?;
    rebuild.sealed.log_bytes = rebuild.survey.log_bytes;
    if last < rebuild.survey.last {
        // Their numbers are taken, also where nobody can read them any more.
        let named = rebuild.survey.last;
        rebuild.report.note_missing(last + 1, named);
    }
    let sequence = last.max(rebuild.survey.last);
    (rebuild.head.sequence, rebuild.sealed.upto) = (sequence, sequence);
    if rebuild.report.source == RebuildSource::Segments && last == 0 {
        entries_as_commits(rebuild).await?;
    }
    rebuild.report.sequence = rebuild.head.sequence;
    let first_missing = rebuild.report.missing.iter().map(|(first, _)| first - 1).min();
    rebuild.report.recoverable_upto = match rebuild.report.source {
        RebuildSource::Segments => 0,
        _ => first_missing.unwrap_or(last),
    };
    rebuild.rows.flush().await
}

/// The newest checkpoint that is whole, with all commits that were made while it was written.
async fn choose(rebuild: &mut Rebuild) -> Result<Option<(CheckpointId, Manifest)>> {
    let keys = (rebuild.keys.clone(), rebuild.data_keys.clone());
    for id in list_checkpoints(rebuild.data.as_ref(), &keys.1).await? {
        let why = match verify_checkpoint(&rebuild.data, (&keys.0, &keys.1), id).await {
            Ok(manifest) if log_covers(rebuild, manifest.first + 1, manifest.upto).await? => {
                return Ok(Some((id, manifest)));
            }
            Ok(manifest) => {
                rebuild.survey.last = rebuild.survey.last.max(manifest.upto);
                "the log lacks commits that were made meanwhile".to_owned()
            }
            Err(error) if is_damage(&error) => error.to_string(),
            Err(error) => return Err(error),
        };
        if rebuild.report.checkpoints_skipped.len() < LISTED_MAX {
            let why = format!("checkpoint of commit {}: {why}", id.sequence);
            rebuild.report.checkpoints_skipped.push(why);
        }
    }
    Ok(None)
}

/// Whether the log has all these commits.
async fn log_covers(rebuild: &Rebuild, first: Version, last: Version) -> Result<bool> {
    let mut reader = read_log(Arc::clone(&rebuild.data), rebuild.data_keys.clone(), first);
    while reader.position() <= last {
        match reader.next().await {
            Ok(None) => return Ok(false),
            Ok(Some(LogItem::Gap { first, .. })) if first <= last => return Ok(false),
            Ok(Some(_)) => {}
            Err(error) if is_damage(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Takes over the rows of a checkpoint.
async fn load(rebuild: &mut Rebuild, id: CheckpointId) -> Result<()> {
    let mut reader = CheckpointReader::open(&rebuild.data, &rebuild.data_keys, id).await?;
    let snapshots = rebuild.keys.class('p');
    while let Some(rows) = reader.next().await? {
        for found in rows {
            let key = found.check(&rebuild.keys)?;
            if key.as_str().starts_with(&snapshots) {
                let snapshot: SnapshotRow = row::decode(&key, &found.value)?;
                note_snapshot(rebuild, &snapshot);
            }
            rebuild.rows.set(key, Some(found.value));
        }
        rebuild.rows.settle().await?;
        rebuild.progress();
    }
    rebuild.note_time(reader.manifest().created);
    Ok(())
}

fn note_snapshot(rebuild: &mut Rebuild, snapshot: &SnapshotRow) {
    rebuild.head.snapshot_last = rebuild.head.snapshot_last.max(snapshot.sequence);
    rebuild.note_time(snapshot.created);
}

/// Replays the log from a commit on, and returns the number of the last; 0 if there is none.
async fn log(rebuild: &mut Rebuild, from: Version) -> Result<Version> {
    let mut reader = read_log(Arc::clone(&rebuild.data), rebuild.data_keys.clone(), from);
    let mut last = from - 1;
    loop {
        match reader.next().await {
            Ok(None) => return Ok(last),
            Ok(Some(LogItem::Commits(commits))) => {
                last = commits.last().map_or(last, |commit| commit.sequence);
                if rebuild.report.source == RebuildSource::Segments
                    && commits.first().is_some_and(|commit| commit.sequence == 1)
                {
                    rebuild.report.source = RebuildSource::Log;
                }
                replay_commits(rebuild, commits).await?;
            }
            Ok(Some(LogItem::Gap { first, last: before })) => {
                if first == 1 {
                    // There is nothing before the log, so what the segments say goes first.
                    entries_before(rebuild, before).await?;
                }
                rebuild.report.note_missing(first, before);
                last = before;
            }
            Ok(Some(LogItem::Missing { .. } | LogItem::Damage { .. })) => {
                rebuild.report.log_damaged += 1;
            }
            Err(error) if is_damage(&error) => rebuild.report.log_damaged += 1,
            Err(error) => return Err(error),
        }
        rebuild.progress();
    }
}

async fn replay_commits(rebuild: &mut Rebuild, commits: Vec<Commit>) -> Result<()> {
    let mut changes: Vec<(Version, Timestamp, Change)> = Vec::new();
    for commit in commits {
        rebuild.report.commits += 1;
        rebuild.survey.epoch = rebuild.survey.epoch.max(commit.epoch);
        rebuild.note_time(commit.time);
        let (version, time) = (commit.sequence, commit.time);
        changes.extend(commit.changes.into_iter().map(|change| (version, time, change)));
    }
    let mut changes = changes.into_iter().peekable();
    while changes.peek().is_some() {
        replay_changes(rebuild, changes.by_ref().take(CHANGES_AT_ONCE).collect()).await?;
    }
    Ok(())
}

/// Replays changes over rows that may be newer already: those are left as they are.
async fn replay_changes(
    rebuild: &mut Rebuild,
    changes: Vec<(Version, Timestamp, Change)>,
) -> Result<()> {
    let mut entries = current(rebuild, &changes).await?;
    for (version, time, change) in changes {
        match change {
            Change::Put { name, entry } => {
                let old = entries.get(&name).cloned().flatten();
                if old.as_ref().is_some_and(|old| old.version >= version) {
                    continue;
                }
                supersede(rebuild, &name, old, version, time);
                let key = rebuild.keys.entry(&name);
                rebuild.rows.set(key.clone(), Some(entry.encode(&key)));
                entries.insert(name, Some(entry));
            }
            Change::Delete { name } => {
                let old = entries.get(&name).cloned().flatten();
                if old.as_ref().is_some_and(|old| old.version > version) {
                    continue;
                }
                supersede(rebuild, &name, old, version, time);
                rebuild.rows.set(rebuild.keys.entry(&name), None);
                entries.insert(name, None);
            }
            Change::Snapshot { name, snapshot } => {
                note_snapshot(rebuild, &snapshot);
                let key = rebuild.keys.snapshot(&name);
                let value = row::encode(&key, &snapshot);
                rebuild.rows.set(key, Some(value));
            }
            Change::Unsnapshot { name } => {
                rebuild.rows.set(rebuild.keys.snapshot(&name), None);
            }
        }
    }
    rebuild.rows.settle().await
}

/// The entries that changes are about, as they are now.
async fn current(
    rebuild: &Rebuild,
    changes: &[(Version, Timestamp, Change)],
) -> Result<HashMap<Name, Option<Entry>>> {
    let mut names: Vec<Name> = Vec::with_capacity(changes.len());
    for (.., change) in changes {
        if let Change::Put { name, .. } | Change::Delete { name } = change {
            names.push(name.clone());
        }
    }
    names.sort_unstable();
    names.dedup();
    let keys: Vec<Key> = names.iter().map(|name| rebuild.keys.entry(name)).collect();
    let rows = rebuild.rows.get(&keys).await?;
    let mut entries = HashMap::with_capacity(names.len());
    for ((name, key), row) in names.into_iter().zip(&keys).zip(rows) {
        entries.insert(name, row.map(|row| Entry::decode(key, &row)).transpose()?);
    }
    Ok(entries)
}

/// Keeps what an entry was, as the policy says.
fn supersede(
    rebuild: &mut Rebuild,
    name: &Name,
    old: Option<Entry>,
    superseded: Version,
    superseded_time: Timestamp,
) {
    let Some(entry) = old else { return };
    let pinned = entry.version <= rebuild.head.snapshot_last;
    if !pinned && rebuild.volume.policy.history.is_zero() {
        return;
    }
    let key = rebuild.keys.history(name, entry.version);
    let value = HistoryRow { entry, superseded, superseded_time }.encode(&key);
    rebuild.rows.set(key, Some(value));
}

/// The entries that the directories of segments name and whose chunks are there, in the order in
/// which the segments were made, of some of the segments.
async fn entries_of(rebuild: &Rebuild, id: SegmentId) -> Result<Vec<DirectoryEntry>> {
    let Some(directory) = directory(rebuild, id).await? else { return Ok(Vec::new()) };
    let mut entries = Vec::with_capacity(directory.entries.len());
    for found in directory.entries {
        let nodes = found.entry.content.nodes().iter();
        let keys: Vec<Key> = nodes.map(|node| rebuild.keys.chunk(&node.id)).collect();
        if rebuild.rows.get(&keys).await?.iter().all(Option::is_some) {
            entries.push(found);
        }
    }
    Ok(entries)
}

/// Writes the entries that segments name as if one commit had, before all that the log has.
async fn entries_before(rebuild: &mut Rebuild, version: Version) -> Result<()> {
    let ids: Vec<SegmentId> = rebuild.segments.found.keys().copied().collect();
    for id in ids {
        for DirectoryEntry { name, entry } in entries_of(rebuild, id).await? {
            rebuild.note_time(entry.written);
            let key = rebuild.keys.entry(&name);
            let value = Entry { version, ..entry }.encode(&key);
            rebuild.rows.set(key, Some(value));
        }
        rebuild.rows.settle().await?;
        rebuild.progress();
    }
    Ok(())
}

/// Writes the entries that segments name as new commits, which are sealed like all others.
async fn entries_as_commits(rebuild: &mut Rebuild) -> Result<()> {
    let ids: Vec<SegmentId> = rebuild.segments.found.keys().copied().collect();
    for id in ids {
        let mut entries = entries_of(rebuild, id).await?.into_iter().peekable();
        while entries.peek().is_some() {
            let some: BTreeMap<Name, Entry> = entries
                .by_ref()
                .take(ENTRIES_AT_ONCE)
                .map(|found| (found.name, found.entry))
                .collect();
            commit(rebuild, id.epoch, some).await?;
        }
        rebuild.progress();
    }
    Ok(())
}

async fn commit(rebuild: &mut Rebuild, epoch: u64, entries: BTreeMap<Name, Entry>) -> Result<()> {
    let version = rebuild.head.sequence + 1;
    rebuild.head.sequence = version;
    for entry in entries.values() {
        rebuild.note_time(entry.written);
    }
    let put = |(name, entry)| Change::Put { name, entry: Entry { version, ..entry } };
    let changes = entries.into_iter().map(put).collect();
    let commit = Commit { sequence: version, time: rebuild.head.time, epoch, changes };
    let commits = [commit];
    let (log, inline) = (rebuild.keys.log(version), rebuild.keys.unsealed(version));
    rebuild.rows.set(log.clone(), Some(encode_commits(&log, &commits)));
    rebuild.rows.set(inline.clone(), Some(encode_inline(&inline, &commits)));
    replay_commits(rebuild, commits.into()).await
}
