//! What checkpoint, log, and the commits not yet in it say of some names, up to the newest commit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{BackendExt, Key, Result, Timestamp};

use super::NAMES_MAX;
use crate::checkpoint::{CheckpointReader, list_checkpoints, verify_checkpoint};
use crate::format::entry::{Entry, Name, Version};
use crate::format::history::HistoryRow;
use crate::format::keys::CatalogKeys;
use crate::format::log::{self, Change, Commit};
use crate::log_reader::{LogItem, read_log};
use crate::verify::{PAGE_ROWS, Pages, VerifyContext, damage, damage_of};

/// What is looked for, and what was found.
pub(super) struct Replay<'a> {
    context: &'a VerifyContext,
    /// Whether entries are followed that have no whole row.
    discovers: bool,
    /// Names that are followed, as they are after the commits so far.
    entries: HashMap<Name, Option<Entry>>,
    /// Versions that are looked for, with their rows once these are known.
    histories: BTreeMap<(Name, Version), Option<Bytes>>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(
        context: &'a VerifyContext,
        discovers: bool,
        histories: BTreeSet<(Name, Version)>,
    ) -> Self {
        let entries = histories.iter().map(|(name, _)| (name.clone(), None)).collect();
        let histories = histories.into_iter().map(|version| (version, None)).collect();
        Self { context, discovers, entries, histories }
    }

    /// Follows the entry of this name.
    pub(super) fn follow(&mut self, name: Name) {
        self.entries.entry(name).or_default();
    }

    /// The names that were followed, as they are after the last commit.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Name, Option<&Entry>)> {
        self.entries.iter().map(|(name, entry)| (name, entry.as_ref()))
    }

    /// The rows of versions that were looked for and found.
    pub(super) fn histories(&self) -> impl Iterator<Item = (&Name, Version, &Bytes)> {
        let found = self.histories.iter();
        found.filter_map(|((name, version), row)| Some((name, *version, row.as_ref()?)))
    }

    /// Goes through everything. Returns the number of the last commit; nothing if commits are
    /// missing, and then nothing that was found may be used.
    pub(super) async fn run(&mut self) -> Result<Option<Version>> {
        let context = self.context;
        let from = self.checkpoint().await? + 1;
        let mut reader = read_log(Arc::clone(&context.data), context.data_keys.clone(), from);
        loop {
            match damage_of(reader.next().await)? {
                Ok(None) => break,
                Ok(Some(LogItem::Commits(commits))) => self.commits(commits).await?,
                Ok(Some(LogItem::Gap { .. })) => return Ok(None),
                // Another run may have the same; if not, a gap follows.
                Ok(Some(LogItem::Missing { .. } | LogItem::Damage { .. })) | Err(_) => {}
            }
        }
        self.unsealed(reader.position()).await
    }

    /// Takes over the rows of the newest whole checkpoint, and returns its number.
    async fn checkpoint(&mut self) -> Result<Version> {
        let context = self.context;
        let keys = (&context.catalog_keys, &context.data_keys);
        for id in list_checkpoints(context.data.as_ref(), &context.data_keys).await? {
            if damage_of(verify_checkpoint(&context.data, keys, id).await)?.is_err() {
                continue;
            }
            let mut reader = CheckpointReader::open(&context.data, &context.data_keys, id).await?;
            while let Some(rows) = reader.next().await? {
                let mut entries = Vec::new();
                for found in rows {
                    let key = found.check(keys.0)?;
                    if let Some(name) = keys.0.entry_name(&key) {
                        entries.push((Name::parse(name)?, key, found.value));
                    } else if let Some((name, version)) = keys.0.history_parts(&key) {
                        let version = (Name::parse(name)?, version);
                        if let Some(row) = self.histories.get_mut(&version) {
                            *row = Some(found.value);
                        }
                    }
                }
                self.discover(entries.iter().map(|(name, ..)| name)).await?;
                for (name, key, value) in entries {
                    if let Some(known) = self.entries.get_mut(&name) {
                        *known = Some(Entry::decode(&key, &value)?);
                    }
                }
            }
            return Ok(id.sequence);
        }
        Ok(0)
    }

    /// Follows those of the names that have no whole row of an entry.
    async fn discover(&mut self, names: impl Iterator<Item = &Name>) -> Result<()> {
        if !self.discovers {
            return Ok(());
        }
        let names: BTreeSet<&Name> = names.filter(|n| !self.entries.contains_key(*n)).collect();
        let keys: &CatalogKeys = &self.context.catalog_keys;
        let names: Vec<(Name, Key)> =
            names.into_iter().map(|name| (name.clone(), keys.entry(name))).collect();
        for some in names.chunks(PAGE_ROWS * 4) {
            let wanted: Vec<Key> = some.iter().map(|(_, key)| key.clone()).collect();
            let rows = self.context.catalog.get_many(&wanted).await?;
            for ((name, key), row) in some.iter().zip(rows) {
                let whole = row.is_some_and(|row| Entry::decode(key, &row.value).is_ok());
                if !whole && self.entries.len() < NAMES_MAX {
                    self.entries.insert(name.clone(), None);
                }
            }
        }
        Ok(())
    }

    async fn commits(&mut self, commits: Vec<Commit>) -> Result<()> {
        let changes = || commits.iter().flat_map(|commit| &commit.changes);
        self.discover(changes().filter_map(put_name)).await?;
        for commit in commits {
            for change in commit.changes {
                match change {
                    Change::Put { name, entry } => {
                        let version = entry.version;
                        self.change(name, Some(entry), version, commit.time);
                    }
                    Change::Delete { name } => {
                        self.change(name, None, commit.sequence, commit.time);
                    }
                    Change::Snapshot { .. } | Change::Unsnapshot { .. } => {}
                }
            }
        }
        Ok(())
    }

    /// Changes an entry that is followed. Rows of a checkpoint may be newer than the commit.
    fn change(&mut self, name: Name, new: Option<Entry>, commit: Version, time: Timestamp) {
        let Some(known) = self.entries.get_mut(&name) else { return };
        let newer = match (&known, &new) {
            (Some(old), Some(_)) => old.version >= commit,
            (Some(old), None) => old.version > commit,
            (None, _) => false,
        };
        if newer {
            return;
        }
        let Some(old) = std::mem::replace(known, new) else { return };
        let key = self.context.catalog_keys.history(&name, old.version);
        if let Some(row @ None) = self.histories.get_mut(&(name, old.version)) {
            let history = HistoryRow { entry: old, superseded: commit, superseded_time: time };
            *row = Some(history.encode(&key));
        }
    }

    /// Replays the commits that are not yet in the log on the data backend.
    async fn unsealed(&mut self, mut next: Version) -> Result<Option<Version>> {
        let context = self.context;
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
                self.commits(commits).await?;
                next = last + 1;
            }
        }
        Ok(next.checked_sub(1))
    }
}

fn put_name(change: &Change) -> Option<&Name> {
    match change {
        Change::Put { name, .. } => Some(name),
        _ => None,
    }
}
