//! What a catalog has lost, as its volume's data shows: a server that did not keep all that it had
//! acknowledged, or a copy that took over, is behind commits that log and checkpoints name.
//!
//! Going on from there would give the numbers of those commits again, to other commits: the log
//! would say two things at once. So such a volume is read, and written again once it was rebuilt,
//! which brings back what the log has.

use std::fmt;
use std::sync::Arc;

use holdall_core::{Backend, Error, Key, List, Operation, Reach, Result};
use serde::Serialize;

use super::Shared;
use crate::checkpoint;
use crate::format::entry::Version;
use crate::format::head::{Head, Sealed};
use crate::format::keys::{CatalogKeys, DataKeys, VolumeId};
use crate::format::row;
use crate::log_reader;

/// A catalog that is behind its volume's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// The newest commit that the catalog has.
    pub catalog: Version,
    /// The newest commit that log and checkpoints on the data backend name.
    pub data: Version,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { catalog, data } = self;
        write!(
            f,
            "the catalog has lost commits: its newest is {catalog}, and the log on the data \
             backend has commits up to {data}; until `holdall rebuild --replace` has brought them \
             back the volume can be read and not written"
        )
    }
}

/// What there is on the data backend behind the catalog's newest commit and writer.
#[derive(Debug, Default)]
struct Seen {
    last: Version,
    epoch: u64,
}

impl Shared {
    /// Looks for commits that the catalog has lost, where it can lose some without the volume's
    /// doing: an engine across a network may be another than before. Once is enough, because a
    /// handle that is open then learns of it from the head, or ends.
    pub(super) async fn look_for_lost(&self) -> Result<Option<Lost>> {
        if let Some(lost) = self.lost.get() {
            return Ok(*lost);
        }
        let resources = &self.resources;
        if resources.catalog.profile().reach != Reach::Network {
            return Ok(*self.lost.get_or_init(|| None));
        }
        let (lost, epoch) = look(&resources.catalog, &self.data, self.id).await?;
        self.committer.begin_at_epoch(epoch);
        Ok(*self.lost.get_or_init(|| lost))
    }

    /// For a rebuild, which first brings into the log what there still is.
    pub(crate) fn nothing_lost(&self) {
        self.lost.get_or_init(|| None);
    }

    /// Refuses to write a volume whose catalog has lost commits.
    pub(crate) async fn check_nothing_lost(&self) -> Result<()> {
        match self.look_for_lost().await? {
            None => Ok(()),
            Some(lost) => Err(Error::corrupt(Operation::Commit, lost.to_string())),
        }
    }
}

/// What the catalog has lost, and the least epoch that nobody has used yet.
async fn look(
    catalog: &Arc<dyn Backend>,
    data: &Arc<dyn Backend>,
    id: VolumeId,
) -> Result<(Option<Lost>, u64)> {
    let (head, sealed) = rows(catalog, id).await?;
    let seen = seen(data, &DataKeys::new(id), &head, &sealed).await?;
    if seen.last <= head.sequence && seen.epoch < head.next_epoch {
        return Ok((None, 0));
    }
    // Others may have gone on since it was read.
    let (head, _) = rows(catalog, id).await?;
    let lost = Lost { catalog: head.sequence, data: seen.last };
    Ok(((lost.data > lost.catalog).then_some(lost), seen.epoch + 1))
}

async fn rows(catalog: &Arc<dyn Backend>, id: VolumeId) -> Result<(Head, Sealed)> {
    let keys = CatalogKeys::new(id);
    let wanted = [keys.head(), keys.sealed()];
    let found = catalog.get_many(&wanted).await?;
    let [Some(head), sealed] = found.as_slice() else {
        let message = "the volume's catalog has no head; run `holdall rebuild`";
        return Err(Error::corrupt(Operation::Open, message).with_key(&wanted[0]));
    };
    let sealed = sealed.as_ref().map(|row| row::decode(&wanted[1], &row.value)).transpose()?;
    Ok((row::decode(&wanted[0], &head.value)?, sealed.unwrap_or_default()))
}

/// Lists what only lost commits and writers can have left: a run that was sealed behind what this
/// catalog has begins behind what it knows to be sealed.
async fn seen(
    data: &Arc<dyn Backend>,
    keys: &DataKeys,
    head: &Head,
    sealed: &Sealed,
) -> Result<Seen> {
    let mut seen = Seen::default();
    for key in behind(data, &keys.logs(), sealed.upto.saturating_add(1)).await? {
        if let Some((run, _)) = log_reader::parse_key(keys, &key) {
            seen.last = seen.last.max(run.last);
            seen.epoch = seen.epoch.max(run.epoch);
        }
    }
    for key in behind(data, &keys.checkpoints(), head.sequence.saturating_add(1)).await? {
        if let Some((id, _)) = checkpoint::parse_key(keys, &key) {
            seen.last = seen.last.max(id.sequence);
            seen.epoch = seen.epoch.max(id.epoch);
        }
    }
    for key in behind(data, &keys.segments(), head.next_epoch).await? {
        seen.epoch = seen.epoch.max(keys.segment_id(&key).map_or(0, |id| id.epoch));
    }
    Ok(seen)
}

/// The keys of this prefix whose first number is this or higher.
async fn behind(data: &Arc<dyn Backend>, prefix: &str, first: u64) -> Result<Vec<Key>> {
    // No key ends here, so behind it is from it on.
    let mut list = List::prefix(prefix).after(format!("{prefix}{first:016x}"));
    let mut keys = Vec::new();
    loop {
        let page = data.list(&list).await?;
        keys.extend(page.rows.into_iter().map(|row| row.key));
        match keys.last() {
            Some(last) if page.more => list = list.after(last.as_str()),
            _ => return Ok(keys),
        }
    }
}

#[cfg(test)]
#[path = "lost_tests.rs"]
mod tests;
