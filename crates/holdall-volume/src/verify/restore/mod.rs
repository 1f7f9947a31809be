//! Restores rows that are damaged or missing, exactly as they were, from what else says the same:
//! checkpoint, log, and the commits not yet in it.

mod log_rows;
mod own;
mod replay;
mod retention;
mod segments;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holdall_core::{Batch, Expect, Key, Result};

use super::repair::{Moment, apply};
use super::{Problem, Verifier};
use crate::format::entry::{Name, Version};
use crate::format::segment::SegmentId;
use replay::Replay;

/// How many damaged or missing entries are looked up in the log at once.
const NAMES_MAX: usize = 10_000;

/// Which rows are missing or disagree, as far as reading them all has shown.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// There are fewer entries than the head says.
    pub(super) entries: bool,
    /// Superseded versions that the index of retention names and that are not there.
    pub(super) histories: BTreeSet<(Name, Version)>,
    /// Segments in which chunks lie and that have no row.
    pub(super) segments: BTreeSet<SegmentId>,
    /// Commits whose rows are lost, though they are in the log on the data backend: the first, by
    /// the last of each row.
    pub(super) log: BTreeMap<Version, Version>,
    /// Groups of commits whose inline bytes are lost before they were in that log.
    pub(super) inline: BTreeSet<Version>,
    /// History and the index of its retention do not name the same versions.
    pub(super) retention: bool,
}

/// Restores what the meaning of all other rows depends on. Comes before they are looked at.
pub(super) async fn own(verifier: &mut Verifier<'_>) -> Result<()> {
    own::volume(verifier).await?;
    own::sealed(verifier).await
}

/// Restores what can be restored.
pub(super) async fn rows(verifier: &mut Verifier<'_>) -> Result<()> {
    own::head(verifier).await?;
    own::writers(verifier).await?;
    segments::mend(verifier).await?;
    log_rows::commits(verifier).await?;
    log_rows::inline(verifier).await?;
    entries(verifier).await?;
    retention::mend(verifier).await
}

/// The rows of a class that were found to be damaged.
fn damaged(verifier: &Verifier<'_>, class: char) -> Vec<Key> {
    let class = verifier.context.catalog_keys.class(class);
    let found = verifier.collector.report.findings.iter().filter(|found| {
        found.problem == Problem::DamagedRow && !found.repaired && found.key.starts_with(&class)
    });
    found.filter_map(|found| Key::parse(&found.key).ok()).take(NAMES_MAX).collect()
}

/// Restores rows of entries and of superseded versions from checkpoint and log.
async fn entries(verifier: &mut Verifier<'_>) -> Result<()> {
    let context = verifier.context;
    let keys = &context.catalog_keys;
    let discovers = verifier.lost.entries;
    let names = damaged(verifier, 'e');
    let versions = damaged(verifier, 'h');
    let versions = versions.iter().filter_map(|key| {
        let (name, version) = keys.history_parts(key)?;
        Some((Name::parse(name).ok()?, version))
    });
    let missing = verifier.lost.histories.iter().take(NAMES_MAX).cloned();
    let histories: BTreeSet<(Name, Version)> = versions.chain(missing).collect();
    if names.is_empty() && histories.is_empty() && !discovers {
        return Ok(());
    }
    let mut replay = Replay::new(context, discovers, histories);
    let names = names.iter().filter_map(|key| Name::parse(keys.entry_name(key)?).ok());
    let names: BTreeSet<Name> = names.collect();
    names.iter().cloned().for_each(|name| replay.follow(name));
    let Some(moment) = Moment::read(verifier, &[]).await? else {
        return Ok(());
    };
    if replay.run().await? != Some(moment.head.sequence) {
        return Ok(());
    }
    let mut rows: Vec<(Key, Option<Bytes>)> = Vec::new();
    for (name, entry) in replay.entries() {
        let key = keys.entry(name);
        let value = entry.map(|entry| entry.encode(&key));
        // A damaged row of what was deleted since goes too.
        if value.is_some() || names.contains(name) {
            rows.push((key, value));
        }
    }
    let histories = replay.histories();
    rows.extend(
        histories.map(|(name, version, row)| (keys.history(name, version), Some(row.clone()))),
    );
    write(verifier, rows, moment).await
}

/// Writes rows where they are not whole, while no commit comes in between.
async fn write(
    verifier: &mut Verifier<'_>,
    rows: Vec<(Key, Option<Bytes>)>,
    moment: Moment,
) -> Result<()> {
    let mut revision = moment.revision;
    for (key, value) in rows {
        let now =
            holdall_core::BackendExt::get_all(verifier.context.catalog.as_ref(), &key).await?;
        if now.is_some_and(|now| crate::format::row::check(&key, &now.value).is_ok()) {
            continue;
        }
        let mut batch = Batch::new();
        match value {
            Some(value) => batch.put(key.clone(), value, Expect::Any),
            None => batch.delete(key.clone(), Expect::Any),
        };
        let Some(next) = apply(verifier, batch, &moment.head, &revision).await? else {
            return Ok(());
        };
        revision = next;
        verifier.collector.restored(&key);
    }
    Ok(())
}
