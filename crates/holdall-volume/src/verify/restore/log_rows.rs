//! Rows of the commit log, from the log on the data backend; and the inline bytes that are not yet
//! there, from the entries and versions that hold them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{BackendExt, Key, Result};

use super::{damaged, write};
use crate::format::chunk::{Content, Digest};
use crate::format::entry::{Entry, Name, Version};
use crate::format::history::HistoryRow;
use crate::format::log::{self, Change, Commit};
use crate::log_reader::{LogItem, read_log};
use crate::verify::repair::Moment;
use crate::verify::{Problem, Verifier, damage_of};

/// The most commits of one row.
const COMMITS_MAX: usize = 1024;

/// Restores rows of commits that the log on the data backend has too.
pub(super) async fn commits(verifier: &mut Verifier<'_>) -> Result<()> {
    for (last, first) in std::mem::take(&mut verifier.lost.log) {
        let Some(moment) = Moment::read(verifier, &[]).await? else {
            return Ok(());
        };
        let Some(commits) = sealed(verifier, first, last).await? else {
            continue;
        };
        let mut rows = Vec::new();
        for some in commits.chunks(COMMITS_MAX) {
            let key = some.last().map(|commit| verifier.context.catalog_keys.log(commit.sequence));
            rows.extend(key.map(|key| {
                let value = log::encode_commits(&key, some);
                (key, Some(value))
            }));
        }
        write(verifier, rows, moment).await?;
    }
    Ok(())
}

/// These commits, if the log on the data backend has them all.
async fn sealed(
    verifier: &Verifier<'_>,
    first: Version,
    last: Version,
) -> Result<Option<Vec<Commit>>> {
    let context = verifier.context;
    let mut reader = read_log(Arc::clone(&context.data), context.data_keys.clone(), first);
    let mut commits: Vec<Commit> = Vec::new();
    while reader.position() <= last {
        match damage_of(reader.next().await)? {
            Ok(Some(LogItem::Commits(some))) => {
                commits.extend(some.into_iter().filter(|commit| commit.sequence <= last));
            }
            Ok(None | Some(LogItem::Gap { .. })) => return Ok(None),
            // Another run may have the same; if not, a gap follows.
            Ok(Some(LogItem::Missing { .. } | LogItem::Damage { .. })) | Err(_) => {}
        }
    }
    Ok(Some(commits))
}

/// Restores inline bytes that wait for the log.
pub(super) async fn inline(verifier: &mut Verifier<'_>) -> Result<()> {
    let keys = verifier.context.catalog_keys.clone();
    let broken = damaged(verifier, 'v');
    let mut groups: BTreeSet<Version> = std::mem::take(&mut verifier.lost.inline);
    groups.extend(broken.iter().filter_map(|key| keys.log_sequence(key)));
    for last in groups {
        let (log_key, key) = (keys.log(last), keys.unsealed(last));
        let Some(moment) = Moment::read(verifier, &[]).await? else {
            return Ok(());
        };
        let Some(found) = verifier.context.catalog.get_all(&log_key).await? else {
            continue;
        };
        let Ok(mut commits) = log::decode_commits(&log_key, &found.value) else {
            continue;
        };
        if fill(verifier, &mut commits).await? {
            let value = log::encode_inline(&key, &commits);
            write(verifier, vec![(key.clone(), Some(value))], moment).await?;
            if verifier.collector.is_repaired(&key) {
                verifier.collector.repaired(Problem::MissingRow, &log_key);
            }
        }
    }
    Ok(())
}

/// Gives the commits' entries their inline bytes; false if some are nowhere any more.
async fn fill(verifier: &Verifier<'_>, commits: &mut [Commit]) -> Result<bool> {
    for change in commits.iter_mut().flat_map(|commit| &mut commit.changes) {
        let Change::Put { name, entry } = change else { continue };
        if entry.content != Content::Inline {
            continue;
        }
        let Some(inline) = inline_of(verifier, name, entry.version).await? else {
            return Ok(false);
        };
        if inline.len() as u64 != entry.size || Digest::of(&inline) != entry.digest {
            return Ok(false);
        }
        entry.inline = inline;
    }
    Ok(true)
}

/// The inline bytes of a version that is current or in history.
async fn inline_of(
    verifier: &Verifier<'_>,
    name: &Name,
    version: Version,
) -> Result<Option<Bytes>> {
    let keys = &verifier.context.catalog_keys;
    let wanted: [Key; 2] = [keys.entry(name), keys.history(name, version)];
    let found = verifier.context.catalog.get_many(&wanted).await?;
    let [current, superseded] = found.as_slice() else { return Ok(None) };
    let current = current.as_ref().and_then(|row| Entry::decode(&wanted[0], &row.value).ok());
    if let Some(entry) = current.filter(|entry| entry.version == version) {
        return Ok(Some(entry.inline));
    }
    let superseded = superseded.as_ref();
    let history = superseded.and_then(|row| HistoryRow::decode(&wanted[1], &row.value).ok());
    Ok(history.map(|history| history.entry.inline))
}
