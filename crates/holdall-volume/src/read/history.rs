//! The past of one name.

use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{BackendExt, Key, List, Result, Timestamp};

use super::merge::history_parts;
use super::scan::no_value;
use super::{ReadContext, Reading};
use crate::format::entry::{Entry, Name, Version};
use crate::format::history::HistoryRow;

/// How many rows are read at once: each may carry inline bytes.
const ROWS: usize = 256;

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

/// The versions of a name that are kept, newest first.
pub(super) async fn versions(context: &ReadContext, name: &Name) -> Result<Vec<VersionInfo>> {
    // The present first: a version that is superseded meanwhile is then found in history.
    let newest = present(context, name).await?;
    let mut found = Vec::new();
    let mut list = List::prefix(context.keys.history_of(name)).limit(ROWS).with_values();
    loop {
        let page = context.catalog.list(&list).await?;
        for row in &page.rows {
            let Some(object) = &row.object else { return Err(no_value(row)) };
            let mut history = HistoryRow::decode(&row.key, &object.value)?;
            history.entry.inline = Bytes::new();
            found.push(VersionInfo {
                entry: history.entry,
                superseded: Some((history.superseded, history.superseded_time)),
                current: false,
            });
        }
        match page.rows.last() {
            Some(last) if page.more => list = list.after(last.key.as_str()),
            _ => break,
        }
    }
    if let Some((_, mut entry)) = newest
        && found.iter().all(|older| older.entry.version != entry.version)
    {
        entry.inline = Bytes::new();
        let current = entry.expires.is_none() || !entry.is_expired(context.env.now());
        found.push(VersionInfo { entry, superseded: None, current });
    }
    // What was written and superseded between the two readings is newer still.
    found.sort_unstable_by_key(|version| std::cmp::Reverse(version.entry.version));
    Ok(found)
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
