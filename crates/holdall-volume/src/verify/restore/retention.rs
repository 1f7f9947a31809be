//! The index of when versions were superseded: made anew where history has versions that it does
//! not name.

use std::collections::BTreeSet;

use holdall_core::{Batch, Expect, Key, Result, Row};

use super::damaged;
use crate::format::entry::{Name, Version};
use crate::format::history::HistoryRow;
use crate::format::row;
use crate::verify::repair::{Moment, apply};
use crate::verify::{Pages, Problem, Verifier};

/// Adds what is missing, and removes damaged rows that stand for nothing.
pub(super) async fn mend(verifier: &mut Verifier<'_>) -> Result<()> {
    let broken = damaged(verifier, 'r');
    if !verifier.lost.retention && broken.is_empty() {
        return Ok(());
    }
    let mut open: BTreeSet<Key> = broken.into_iter().collect();
    let mut whole = true;
    let mut versions = 0;
    let mut pages = Pages::new(verifier.context.catalog_keys.class('h'));
    while let Some(rows) = pages.next(verifier.context.catalog.as_ref()).await? {
        for found in rows {
            versions += 1;
            match version_of(verifier, &found) {
                Some((name, version, superseded)) => {
                    let named = ensure(verifier, &found.key, (name, version), superseded).await?;
                    open.retain(|key| Some(key) != named.as_ref());
                }
                None => whole = false,
            }
        }
    }
    // What is damaged now names nothing that is there. It is only needless if nothing else is
    // missing, which it could have named.
    let Some(moment) = Moment::read(verifier, &[]).await? else {
        return Ok(());
    };
    if !whole || moment.head.history_entries != versions {
        return Ok(());
    }
    let mut revision = moment.revision;
    for key in open {
        let mut batch = Batch::new();
        batch.delete(key.clone(), Expect::Any);
        let Some(next) = apply(verifier, batch, &moment.head, &revision).await? else {
            return Ok(());
        };
        revision = next;
        verifier.collector.restored(&key);
    }
    let index = verifier.context.catalog_keys.retention(0, 0);
    verifier.collector.repaired(Problem::Index, &index);
    Ok(())
}

fn version_of(verifier: &Verifier<'_>, found: &Row) -> Option<(Name, Version, Version)> {
    let (name, version) = verifier.context.catalog_keys.history_parts(&found.key)?;
    let row = HistoryRow::decode(&found.key, &found.object.as_ref()?.value).ok()?;
    Some((Name::parse(name).ok()?, version, row.superseded))
}

/// Sees to it that the index names a version. Returns the row that was written for it: the first
/// of its commit that is free or damaged, which is the very one if only one was lost.
async fn ensure(
    verifier: &mut Verifier<'_>,
    history: &Key,
    version: (Name, Version),
    superseded: Version,
) -> Result<Option<Key>> {
    let context = verifier.context;
    let keys = &context.catalog_keys;
    // Read first: what is found below must hold until the row is written.
    let Some(moment) = Moment::read(verifier, std::slice::from_ref(history)).await? else {
        return Ok(None);
    };
    let first = keys.retention(superseded, 0);
    let prefix = first.as_str().trim_end_matches("00000000").to_owned();
    let mut taken = BTreeSet::new();
    let mut pages = Pages::new(prefix);
    while let Some(rows) = pages.next(context.catalog.as_ref()).await? {
        for found in rows {
            let bytes = found.object.map(|object| object.value).unwrap_or_default();
            match row::decode::<(Name, Version)>(&found.key, &bytes) {
                Ok(named) if named == version => return Ok(None),
                Ok(_) => drop(taken.insert(found.key)),
                Err(_) => {}
            }
        }
    }
    let mut free = (0..=u32::MAX).map(|ordinal| keys.retention(superseded, ordinal));
    let Some(key) = free.find(|key| !taken.contains(key)) else {
        return Ok(None);
    };
    if !moment.has(0) {
        return Ok(None);
    }
    let mut batch = Batch::new();
    batch.put(key.clone(), row::encode(&key, &version), Expect::Any);
    if apply(verifier, batch, &moment.head, &moment.revision).await?.is_none() {
        return Ok(None);
    }
    verifier.collector.restored(&key);
    Ok(Some(key))
}
