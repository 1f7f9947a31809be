//! Sealing: every commit also goes into the log on the data backend, so that losing the catalog
//! loses nothing.
//!
//! A run of consecutive commits is written first, create-only; then one batch moves `m/sealed`
//! and removes the inline bytes that the catalog had kept for the log. A crash between the two
//! leaves a run that is written again under the same or a longer name: runs may overlap, and all
//! that overlap say the same.

use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{
    Backend, BackendExt, Batch, Conditions, Durability, Env, Error, ErrorKind, Expect, Key, List,
    Operation, Result, Revision,
};

use crate::format::entry::Version;
use crate::format::head::{Head, Sealed};
use crate::format::keys::{CatalogKeys, DataKeys};
use crate::format::log::{self, Change, Commit, LogPart, RUN_COMMITS_MAX};
use crate::format::policy::Compression;
use crate::format::row;

/// The most bytes of one part of log or checkpoint before compression.
pub const PART_BYTES_MAX: usize = 8 << 20;

/// What a part's frame and its own fields take at the most.
const PART_OVERHEAD: u64 = 1024;

/// The smallest values that a data backend must take: the largest single change, with room.
const VALUE_BYTES_MIN: u64 = 256 << 10;

/// The most groups of commits in one run, which bounds the keys asked for at once.
const RUN_GROUPS_MAX: usize = 512;

/// How often somebody else may move `m/sealed` without anything getting sealed.
const ATTEMPTS_MAX: usize = 64;

/// What sealing works on.
#[derive(Clone, Debug)]
pub struct SealContext {
    /// Time and background work.
    pub env: Env,
    /// Where the commits are.
    pub catalog: Arc<dyn Backend>,
    /// Where the log goes.
    pub data: Arc<dyn Backend>,
    /// The keys of the catalog's rows.
    pub catalog_keys: CatalogKeys,
    /// The keys of the log.
    pub data_keys: DataKeys,
    /// The epoch of the writer that seals. No two writers seal under one epoch.
    pub epoch: u64,
    /// How the log is compressed.
    pub compression: Compression,
}

/// Writes every commit that there was when this was called into the log on the data backend, and
/// says how far the log reaches now.
///
/// Holds at most one run in memory: 8 MiB of commits, or one group of commits if that is larger.
/// May be repeated after any error, also one of kind `Unknown`.
///
/// # Errors
/// Those of the backends; `Corrupt` if the catalog's log has a gap; `Unsupported` if the data
/// backend takes only tiny values.
pub async fn seal(context: &SealContext) -> Result<Sealed> {
    let part_bytes = part_bytes_max(context.data.as_ref())?;
    let mut target = None;
    let (mut stuck, mut upto) = (0, 0);
    loop {
        let state = State::read(context).await?;
        if state.sealed.upto > upto {
            // Others seal the same commits step by step with this one: that is progress too.
            (stuck, upto) = (0, state.sealed.upto);
        }
        let target = *target.get_or_insert(state.head.sequence);
        if state.sealed.upto >= target {
            return Ok(state.sealed);
        }
        let moved = match step(context, &state, part_bytes).await {
            Ok(()) => continue,
            Err(error) => error,
        };
        // Another writer may have sealed the same commits and taken the rows away meanwhile; a
        // batch whose outcome is not known may have moved the row itself.
        let doubtful = [ErrorKind::Conflict, ErrorKind::Unknown, ErrorKind::Corrupt];
        stuck += 1;
        let elsewhere = doubtful.contains(&moved.kind()) && stuck < ATTEMPTS_MAX;
        if !elsewhere || State::read(context).await?.revision == state.revision {
            return Err(moved);
        }
    }
}

/// How many bytes a part may have before compression.
pub(crate) fn part_bytes_max(data: &dyn Backend) -> Result<usize> {
    let max = data.profile().value_bytes_max;
    if max < VALUE_BYTES_MIN {
        let message = format!(
            "the data backend takes values of {max} bytes; the commit log needs {VALUE_BYTES_MIN}"
        );
        return Err(Error::unsupported(Operation::Maintain, message));
    }
    Ok((max - PART_OVERHEAD).min(PART_BYTES_MAX as u64) as usize)
}

/// How far commits and log reach.
pub(crate) struct State {
    pub(crate) head: Head,
    pub(crate) sealed: Sealed,
    /// The revision of `m/sealed`, if that row is there.
    pub(crate) revision: Option<Revision>,
}

impl State {
    pub(crate) async fn read(context: &SealContext) -> Result<Self> {
        let keys = [context.catalog_keys.head(), context.catalog_keys.sealed()];
        let rows = context.catalog.get_many(&keys).await?;
        let [Some(head), sealed] = rows.as_slice() else {
            let message = "the volume's catalog has no head; run `holdall rebuild`";
            return Err(Error::corrupt(Operation::Maintain, message).with_key(&keys[0]));
        };
        let head = row::decode(&keys[0], &head.value)?;
        let sealed_row =
            sealed.as_ref().map(|row| row::decode(&keys[1], &row.value)).transpose()?;
        let revision = sealed.as_ref().map(|row| row.revision.clone());
        Ok(Self { head, sealed: sealed_row.unwrap_or_default(), revision })
    }

    /// Writes `m/sealed` anew, if it is still what was read.
    pub(crate) fn replace(&self, keys: &CatalogKeys, sealed: &Sealed, batch: &mut Batch) {
        let key = keys.sealed();
        let value = row::encode(&key, sealed);
        batch.put(key, value, Expect::from(self.revision.clone()));
    }
}

/// Seals one run.
async fn step(context: &SealContext, state: &State, part_bytes: usize) -> Result<()> {
    let groups = next_groups(context, state.sealed.upto).await?;
    let commits = read_groups(context, state.sealed.upto, &groups).await?;
    let last = commits.last().map_or(state.sealed.upto, |commit| commit.sequence);
    let written = write_run(context, commits, part_bytes).await?;
    let mut batch = Batch::new();
    for group in &groups {
        batch.delete(context.catalog_keys.unsealed(*group), Expect::Any);
    }
    let sealed = Sealed {
        upto: last,
        time: context.env.now(),
        log_bytes: state.sealed.log_bytes.saturating_add(written),
        ..state.sealed.clone()
    };
    state.replace(&context.catalog_keys, &sealed, &mut batch);
    context.catalog.apply(batch).await.map(drop)
}

/// The numbers of the groups that make up the next run: as many as fit, at least one.
async fn next_groups(context: &SealContext, upto: Version) -> Result<Vec<Version>> {
    let keys = &context.catalog_keys;
    let profile = context.catalog.profile();
    // One step of the batch is `m/sealed`; its size and that of its key are far below a KiB.
    let bytes =
        profile.batch_bytes_max.saturating_sub(1024) / keys.unsealed(0).as_bytes().len() as u64;
    let ops = profile.batch_ops_max.saturating_sub(1).min(bytes as usize);
    let limit = ops.clamp(1, RUN_GROUPS_MAX);
    let list =
        |class, after: Key| List::prefix(keys.class(class)).after(after.as_str()).limit(limit);
    let commits = context.catalog.list(&list('l', keys.log(upto))).await?;
    let inline = context.catalog.list(&list('v', keys.unsealed(upto))).await?;
    let mut total = 0;
    let mut groups = Vec::new();
    for (commits, inline) in commits.rows.iter().zip(&inline.rows) {
        let (Some(group), beside) =
            (keys.log_sequence(&commits.key), keys.log_sequence(&inline.key))
        else {
            return Err(gap(upto).with_key(&commits.key));
        };
        if beside != Some(group) {
            break;
        }
        total += commits.size + inline.size;
        // No catalog takes a batch of so many commits that one group alone would be too long.
        let long = total > PART_BYTES_MAX as u64 || group - upto > RUN_COMMITS_MAX;
        if long && !groups.is_empty() {
            break;
        }
        groups.push(group);
    }
    if groups.is_empty() { Err(gap(upto)) } else { Ok(groups) }
}

/// The commits of these groups, with their inline bytes, in order and without a gap.
async fn read_groups(
    context: &SealContext,
    upto: Version,
    groups: &[Version],
) -> Result<Vec<Commit>> {
    let keys = &context.catalog_keys;
    let log_keys: Vec<Key> = groups.iter().map(|group| keys.log(*group)).collect();
    let inline_keys: Vec<Key> = groups.iter().map(|group| keys.unsealed(*group)).collect();
    let all: Vec<Key> = log_keys.iter().chain(&inline_keys).cloned().collect();
    let rows = context.catalog.get_many(&all).await?;
    let (log_rows, inline_rows) = rows.split_at(groups.len());
    let mut commits: Vec<Commit> = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let (Some(row), Some(inline)) = (&log_rows[index], &inline_rows[index]) else {
            return Err(gap(upto).with_key(&log_keys[index]));
        };
        let mut decoded = log::decode_commits(&log_keys[index], &row.value)?;
        log::restore_inline(&inline_keys[index], &inline.value, &mut decoded)?;
        let ends = decoded.last().is_some_and(|commit| commit.sequence == *group);
        commits.append(&mut decoded);
        if !ends {
            return Err(gap(upto).with_key(&log_keys[index]));
        }
    }
    let numbers = commits.iter().map(|commit| commit.sequence);
    if !numbers.eq((upto + 1..).take(commits.len())) {
        return Err(gap(upto));
    }
    Ok(commits)
}

fn gap(upto: Version) -> Error {
    let message =
        format!("the catalog's commit log has a gap behind commit {upto}; run `holdall verify`");
    Error::corrupt(Operation::Maintain, message)
}

/// Writes a run of commits; returns how many bytes it has on the data backend.
async fn write_run(context: &SealContext, commits: Vec<Commit>, part_bytes: usize) -> Result<u64> {
    let (Some(first), Some(last)) = (commits.first(), commits.last()) else {
        return Ok(0);
    };
    let run = (first.sequence, last.sequence);
    let mut parts = split(commits, part_bytes).into_iter().peekable();
    let (mut number, count) = (0, parts.len() as u32);
    let mut written = 0;
    while let Some(commits) = parts.next() {
        let next = parts.peek().and_then(|commits| commits.first());
        let ends = commits.last();
        let unfinished = next.is_some_and(|n| ends.is_some_and(|e| e.sequence == n.sequence));
        let part = LogPart { unfinished, ..LogPart::new(run, number, count, commits) };
        number += 1;
        let (volume, compression) = (context.data_keys.volume_id(), context.compression);
        let encoding = context.env.blocking(move || {
            let bytes = part.encode(volume, compression)?;
            Ok::<_, Error>((part, bytes))
        });
        let (part, bytes) = encoding.await??;
        written += bytes.len() as u64;
        write_part(context, part, bytes).await?;
    }
    Ok(written)
}

/// Cuts commits into parts that are at most this long, and a commit in two where it must be.
fn split(commits: Vec<Commit>, part_bytes: usize) -> Vec<Vec<Commit>> {
    // What a commit takes without its changes, and a number of a length, at the most.
    const COMMIT_BYTES: usize = 48;
    let mut parts = vec![Vec::new()];
    let mut used = 0;
    for commit in commits {
        let mut open = Commit { changes: Vec::new(), ..commit };
        used += COMMIT_BYTES;
        for change in commit.changes {
            let bytes = change_bytes(&change);
            if used + bytes > part_bytes && used > COMMIT_BYTES {
                let rest = Commit { changes: Vec::new(), ..open };
                let begun = std::mem::replace(&mut open, rest);
                if !begun.changes.is_empty() {
                    parts.last_mut().expect("there is always a part").push(begun);
                }
                parts.push(Vec::new());
                used = COMMIT_BYTES;
            }
            open.changes.push(change);
            used += bytes;
        }
        parts.last_mut().expect("there is always a part").push(open);
    }
    parts
}

fn change_bytes(change: &Change) -> usize {
    let inline = match change {
        Change::Put { entry, .. } => entry.inline.len(),
        _ => 0,
    };
    let body = postcard::experimental::serialized_size(change)
        .expect("changes are plain data, whose size postcard can tell");
    body + inline
}

/// Writes one part, unless an earlier attempt of the same writer did.
async fn write_part(context: &SealContext, part: LogPart, bytes: Bytes) -> Result<()> {
    let run = (part.first, part.last);
    let key = context.data_keys.log(run.0, run.1, context.epoch, part.part);
    let conditions = context.data.profile().conditions;
    let expect = if conditions == Conditions::None { Expect::Any } else { Expect::Absent };
    let error = match context.data.put(&key, bytes.clone(), expect).await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    if !matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unknown) {
        return Err(error);
    }
    let Some(found) = context.data.get_all(&key).await? else {
        return Err(error);
    };
    let volume = context.data_keys.volume_id();
    let same = LogPart::decode(volume, run, part.part, &found.value).is_ok_and(|f| f == part);
    // On one machine, bytes that can be read back may still be in memory alone.
    if same && context.data.profile().durability != Durability::Machine {
        return Ok(());
    }
    // An attempt under this writer's own name, perhaps torn, on which nothing relies yet:
    // `m/sealed` was still before it when the run was begun.
    let expect = match conditions {
        Conditions::Revision => Expect::Revision(found.revision),
        Conditions::None => Expect::Any,
        Conditions::Absent => {
            context.data.delete(&key, Expect::Any).await?;
            Expect::Absent
        }
    };
    context.data.put(&key, bytes, expect).await.map(drop)
}

#[cfg(test)]
pub(crate) mod tests;
