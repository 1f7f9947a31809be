//! The past of one name.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{BackendExt, Key, List, Result, Timestamp};

use super::merge::history_parts;
use super::{ReadContext, Reading};
use crate::format::entry::{Entry, Name, Version};
use crate::format::history::HistoryRow;

/// How many rows are read at once: each may carry inline bytes.
const ROWS: usize = 256;

/// How many keys are read at once.
const KEYS: usize = 1000;

/// The first stretch of commits that is searched for versions is so many times as long as the
/// page, and each further one so many times as long as the one before.
const STRETCH: u64 = 16;

/// One version of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// The entry, without inline bytes.
    pub entry: Entry,
    /// The commit that overwrote or deleted it, and when; nothing if it is the newest version and
    /// was not deleted.
    pub superseded: Option<(Version, Timestamp)>,
    /// Whether it is what reading the name gives now: neither superseded nor ended.
    pub current: bool,
}

/// Some versions of a name, newest first, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionPage {
    /// The versions.
    pub versions: Vec<VersionInfo>,
    /// Pass this as `after` to go on; nothing if this is the last page.
    pub next: Option<Version>,
}

/// One page of the versions of a name that are kept, newest first.
pub(super) async fn versions(
    context: &ReadContext,
    name: &Name,
    after: Option<Version>,
    limit: usize,
) -> Result<VersionPage> {
    super::list::check(limit, None)?;
    let end = after.unwrap_or(Version::MAX);
    // The present first: a version that is superseded meanwhile is then found in history.
    let newest = present(context, name).await?;
    let (kept, mut more) = newest_before(context, name, end, limit).await?;
    let mut versions = Vec::with_capacity(kept.len() + 1);
    for some in kept.chunks(ROWS) {
        let keys: Vec<Key> =
            some.iter().map(|version| context.keys.history(name, *version)).collect();
        let rows = context.catalog.get_many(&keys).await?;
        for (key, object) in keys.iter().zip(rows) {
            // Nothing if it was forgotten meanwhile.
            let Some(object) = object else { continue };
            let mut history = HistoryRow::decode(key, &object.value)?;
            history.entry.inline = Bytes::new();
            versions.push(VersionInfo {
                entry: history.entry,
                superseded: Some((history.superseded, history.superseded_time)),
                current: false,
            });
        }
    }
    if let Some((_, mut entry)) = newest
        && entry.version < end
        && versions.iter().all(|older| older.entry.version != entry.version)
    {
        entry.inline = Bytes::new();
        let current = entry.expires.is_none() || !entry.is_expired(context.env.now());
        versions.push(VersionInfo { entry, superseded: None, current });
    }
    // What was written and superseded between the two readings is newer still.
    versions.sort_unstable_by_key(|version| std::cmp::Reverse(version.entry.version));
    let mut last = kept.first().copied();
    if versions.len() > limit {
        versions.truncate(limit);
        (more, last) = (true, versions.last().map(|version| version.entry.version));
    }
    Ok(VersionPage { versions, next: last.filter(|_| more) })
}

/// The newest superseded versions of a name before this one, at most `limit`, in ascending order,
/// and whether there are older ones.
///
/// Backends list forward only. So this lists ever longer stretches that end there, until one has
/// enough: of a name with a long history only its end is read.
async fn newest_before(
    context: &ReadContext,
    name: &Name,
    end: Version,
    limit: usize,
) -> Result<(Vec<Version>, bool)> {
    let head = context.head().await?.sequence;
    let end = end.min(head.saturating_add(1));
    let mut stretch = (limit as u64).saturating_mul(STRETCH);
    loop {
        let from = end.saturating_sub(stretch);
        let mut found = VecDeque::new();
        let mut list = List::prefix(context.keys.history_of(name))
            .at(context.keys.history(name, from).as_str())
            .limit(KEYS);
        'pages: loop {
            let page = context.catalog.list(&list).await?;
            for row in &page.rows {
                let (_, version) = history_parts(context, row)?;
                if version >= end {
                    break 'pages;
                }
                found.push_back(version);
                if found.len() > limit.saturating_add(1) {
                    found.pop_front();
                }
            }
            match page.rows.last() {
                Some(last) if page.more => list = list.after(last.key.as_str()),
                _ => break,
            }
        }
        let more = found.len() > limit;
        if more {
            found.pop_front();
        }
        if more || from == 0 {
            return Ok((found.into(), more));
        }
        stretch = stretch.saturating_mul(STRETCH);
    }
}

/// Looks up one version, current or superseded.
pub(super) async fn get_version(
    context: &Arc<ReadContext>,
    name: &Name,
    version: Version,
) -> Result<Option<Reading>> {
    let reading = |(key, entry)| Reading::new(Arc::clone(context), key, entry);
    let newest = present(context, name).await?;
    if let Some(newest) = newest.filter(|(_, entry)| entry.version == version) {
        return Ok(Some(reading(newest)));
    }
    Ok(superseded(context, name, version).await?.map(|(key, row)| reading((key, row.entry))))
}

/// The version of a name that held at a commit and was superseded since.
pub(super) async fn held_at(
    context: &ReadContext,
    name: &Name,
    commit: Version,
) -> Result<Option<(Key, Entry)>> {
    let mut newest = None;
    let mut list = List::prefix(context.keys.history_of(name));
    'pages: loop {
        let page = context.catalog.list(&list).await?;
        for row in &page.rows {
            let (_, version) = history_parts(context, row)?;
            if version > commit {
                break 'pages;
            }
            newest = Some(version);
        }
        match page.rows.last() {
            Some(last) if page.more => list = list.after(last.key.as_str()),
            _ => break,
        }
    }
    let Some(version) = newest else { return Ok(None) };
    let found = superseded(context, name, version).await?;
    Ok(found.filter(|(_, row)| row.superseded > commit).map(|(key, row)| (key, row.entry)))
}

async fn present(context: &ReadContext, name: &Name) -> Result<Option<(Key, Entry)>> {
    let key = context.keys.entry(name);
    let found = context.catalog.get_all(&key).await?;
    let entry = found.map(|found| Entry::decode(&key, &found.value)).transpose()?;
    Ok(entry.map(|entry| (key, entry)))
}

async fn superseded(
    context: &ReadContext,
    name: &Name,
    version: Version,
) -> Result<Option<(Key, HistoryRow)>> {
    let key = context.keys.history(name, version);
    let found = context.catalog.get_all(&key).await?;
    let row = found.map(|found| HistoryRow::decode(&key, &found.value)).transpose()?;
    Ok(row.map(|row| (key, row)))
}
