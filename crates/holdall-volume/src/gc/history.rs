//! What the policy no longer keeps: old versions, entries that have ended, uploads that nobody
//! goes on with.

use std::collections::BTreeSet;

use holdall_core::{Backend, Result, Timestamp};

use super::pages::Pages;
use super::{GoOn, Pass, Steps, numbered, value};
use crate::commit::{Maintain, Write};
use crate::format::entry::{Entry, Name, Version};
use crate::format::history::{HistoryRow, SnapshotRow};
use crate::format::keys::CatalogKeys;
use crate::format::row;
use crate::format::upload::UploadRow;

/// How many parts of an upload are removed together: each may name many chunks.
const PARTS_AT_ONCE: usize = 8;

/// Forgets superseded versions that are older than the policy keeps and that no snapshot pins.
pub(super) async fn prune(pass: &mut Pass<'_>) -> Result<GoOn> {
    // In this order: a snapshot that is made meanwhile changes the head's number, so that lowering
    // it does nothing; and it pins only what is current then, nothing that was found below.
    let before = pass.head().await?;
    let pinned = pinned_commits(pass.catalog.as_ref(), &pass.context.keys).await?;
    let last = pinned.last().copied().unwrap_or(0);
    let mut steps = Steps::default();
    if last < before.snapshot_last {
        let step = Maintain::LowerSnapshots { from: before.snapshot_last, to: last };
        steps.add(pass, step, 1).await?;
    }
    let class = pass.context.keys.class('r');
    let mut pages = Pages::rows(class.clone());
    'pages: while let Some(rows) = pages.next(pass.catalog.as_ref()).await? {
        let mut found = Vec::with_capacity(rows.len());
        for listed in &rows {
            let (superseded, ordinal) = numbered(&listed.key, &class)?;
            let ordinal = u32::from_str_radix(ordinal, 16).unwrap_or(0);
            let (name, version): (Name, Version) = row::decode(&listed.key, value(listed)?)?;
            if superseded > before.sequence {
                break;
            }
            found.push((name, version, superseded, ordinal));
        }
        let keys: Vec<_> = found
            .iter()
            .map(|(name, version, ..)| pass.context.keys.history(name, *version))
            .collect();
        let histories = pass.catalog.get_many(&keys).await?;
        for ((name, version, superseded, ordinal), (key, object)) in
            found.into_iter().zip(keys.iter().zip(histories))
        {
            // Without the version its index row is of no use; another pass may be at it too.
            let history = object.map(|o| HistoryRow::decode(key, &o.value)).transpose()?;
            let mut nodes = 0;
            if let Some(history) = history {
                // Times never go back from one commit to the next, so those behind are younger.
                if pass.now().since(history.superseded_time) < pass.policy.history {
                    break 'pages;
                }
                if is_pinned(&pinned, version, superseded) {
                    continue;
                }
                nodes = history.entry.content.nodes().len();
                pass.report.versions_pruned += 1;
                pass.report.version_bytes_pruned += history.entry.size;
            }
            let step = Maintain::Prune { name, version, superseded, ordinal };
            steps.add(pass, step, 2 + 2 * nodes).await?;
        }
        if !pass.go_on() {
            steps.commit(pass).await?;
            return Ok(false);
        }
    }
    steps.commit(pass).await?;
    Ok(pass.go_on())
}

/// The commits that snapshots pin, in order.
pub(crate) async fn pinned_commits(
    catalog: &dyn Backend,
    keys: &CatalogKeys,
) -> Result<Vec<Version>> {
    let mut pinned = BTreeSet::new();
    let mut pages = Pages::rows(keys.class('p'));
    while let Some(rows) = pages.next(catalog).await? {
        for listed in &rows {
            let snapshot: SnapshotRow = row::decode(&listed.key, value(listed)?)?;
            pinned.insert(snapshot.sequence);
        }
    }
    Ok(pinned.into_iter().collect())
}

/// Whether a snapshot shows what held from `version` up to but without `superseded`.
pub(crate) fn is_pinned(pinned: &[Version], version: Version, superseded: Version) -> bool {
    let first = pinned.partition_point(|commit| *commit < version);
    pinned.get(first).is_some_and(|commit| *commit < superseded)
}

/// Removes entries that have ended.
pub(super) async fn expire(pass: &mut Pass<'_>) -> Result<GoOn> {
    let class = pass.context.keys.class('x');
    let mut pages = Pages::rows(class.clone());
    let mut steps = Steps::default();
    'pages: while let Some(rows) = pages.next(pass.catalog.as_ref()).await? {
        let mut due = Vec::with_capacity(rows.len());
        for listed in &rows {
            let (expires, name) = numbered(&listed.key, &class)?;
            due.push((Timestamp::from_micros(expires), Name::parse(name)?));
        }
        let keys: Vec<_> = due.iter().map(|(_, name)| pass.context.keys.entry(name)).collect();
        let entries = pass.catalog.get_many(&keys).await?;
        for ((expires, name), (key, object)) in due.into_iter().zip(keys.iter().zip(entries)) {
            if expires > pass.now() {
                break 'pages;
            }
            let entry = object.map(|o| Entry::decode(key, &o.value)).transpose()?;
            // An entry that was written anew meanwhile has another index row.
            let Some(entry) = entry.filter(|entry| entry.expires == Some(expires)) else {
                continue;
            };
            pass.report.entries_expired += 1;
            let changed = 6 + entry.attributes.len() + 2 * entry.content.nodes().len();
            steps.add(pass, Maintain::Expire { name, expires }, changed).await?;
        }
        if !pass.go_on() {
            break;
        }
    }
    steps.commit(pass).await?;
    Ok(pass.go_on())
}

/// Forgets uploads past their lease, and parts whose upload is gone.
pub(super) async fn abort_uploads(pass: &mut Pass<'_>) -> Result<GoOn> {
    let class = pass.context.keys.class('u');
    let mut pages = Pages::rows(class.clone());
    while let Some(rows) = pages.next(pass.catalog.as_ref()).await? {
        for listed in &rows {
            let upload: UploadRow = row::decode(&listed.key, value(listed)?)?;
            if upload.lease_until <= pass.now() {
                let id = listed.key.as_str().strip_prefix(&class).unwrap_or_default();
                abort(pass, id).await?;
                pass.report.uploads_aborted += 1;
            }
        }
        if !pass.go_on() {
            return Ok(false);
        }
    }
    // What an interrupted abort has left.
    let class = pass.context.keys.class('q');
    let mut pages = Pages::keys(class.clone());
    while let Some(rows) = pages.next(pass.catalog.as_ref()).await? {
        let ids = rows.iter().filter_map(|row| row.key.as_str().strip_prefix(&class));
        let ids: BTreeSet<&str> = ids.filter_map(|rest| Some(rest.rsplit_once('/')?.0)).collect();
        let keys: Vec<_> = ids.iter().map(|id| pass.context.keys.upload(id)).collect();
        let uploads = pass.catalog.get_many(&keys).await?;
        for (id, _) in ids.into_iter().zip(uploads).filter(|(_, upload)| upload.is_none()) {
            abort(pass, id).await?;
        }
        if !pass.go_on() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Forgets an upload with its first parts, after which no part can be added, and then the others.
async fn abort(pass: &Pass<'_>, id: &str) -> Result<()> {
    let mut first = true;
    loop {
        let list = holdall_core::List::prefix(pass.context.keys.parts(id)).limit(PARTS_AT_ONCE);
        let page = pass.catalog.list(&list).await?;
        let numbers = page.rows.iter().filter_map(|row| row.key.as_str().rsplit_once('/'));
        let parts: Vec<u32> =
            numbers.filter_map(|(_, hex)| u32::from_str_radix(hex, 16).ok()).collect();
        if pass.options.dry_run || (parts.is_empty() && !first) {
            return Ok(());
        }
        first = false;
        let write = Write::AbortUpload { id: id.to_owned(), parts };
        pass.submit_writes(vec![write], Vec::new()).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::is_pinned;

    #[test]
    fn a_snapshot_pins_what_it_shows() {
        let pinned = [3, 8];
        assert!(is_pinned(&pinned, 3, 4));
        assert!(is_pinned(&pinned, 1, 4));
        assert!(is_pinned(&pinned, 4, 9));
        assert!(!is_pinned(&pinned, 1, 3));
        assert!(!is_pinned(&pinned, 4, 8));
        assert!(!is_pinned(&pinned, 9, 20));
        assert!(!is_pinned(&[], 1, 2));
    }
}
