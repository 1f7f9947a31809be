//! Segments that no commit names: those of puts that were interrupted.
//!
//! Only a writer that has ended can no longer name its segments, because every commit expects its
//! row unchanged. One that was silent for long is ended first, by changing its row; a grace later
//! what it left behind is deleted, and what lands later still by the next pass. Before an object
//! goes its directory is compared with the catalog: a lost segment row must not cost its chunks.

use std::collections::BTreeSet;

use holdall_core::{Batch, ErrorKind, Expect, Result, Revision, Row};

use super::pages::Pages;
use super::segments::{is_named, segment_of, still_named};
use super::{GoOn, Pass, Steps, value};
use crate::commit::Maintain;
use crate::format::head::WriterRow;
use crate::format::row;
use crate::format::segment::SegmentState;

/// Ends writers that are long silent, and cleans up behind those that have ended.
pub(super) async fn sweep(pass: &mut Pass<'_>) -> Result<GoOn> {
    let own = pass.shared.committer.epoch_taken().await;
    // Read before the writers: one that comes after this has an epoch that is not below it.
    let next_epoch = pass.head().await?.next_epoch;
    let mut known = BTreeSet::new();
    let mut gone: Vec<(u64, Revision)> = Vec::new();
    let mut pages = Pages::rows(pass.context.keys.class('w'));
    while let Some(rows) = pages.next(pass.catalog.as_ref()).await? {
        for listed in &rows {
            let Some(epoch) = pass.context.keys.writer_epoch(&listed.key) else { continue };
            let writer: WriterRow = row::decode(&listed.key, value(listed)?)?;
            known.insert(epoch);
            if Some(epoch) == own {
                continue;
            }
            if !writer.ended {
                if writer.lease_until < pass.now() && pass.is_over(writer.lease_until) {
                    end(pass, listed, writer).await?;
                }
            } else if pass.is_over(writer.lease_until) {
                gone.extend(listed.object.as_ref().map(|o| (epoch, o.revision.clone())));
            }
        }
    }
    for (epoch, _) in &gone {
        known.remove(epoch);
    }
    let ended = Ended { next_epoch, known };
    if !delete_orphans(pass, &ended).await? {
        return Ok(false);
    }
    forget_deleted(pass, &ended).await?;
    for (epoch, revision) in gone {
        forget(pass, epoch, revision).await?;
    }
    Ok(pass.go_on())
}

/// Which epochs have ended, so that no commit can name a segment of theirs any more.
///
/// Those of writers that ended a grace ago, and those whose writer has no row: a row comes with
/// its epoch, no commit succeeds without it, and once it is gone it never comes back.
struct Ended {
    next_epoch: u64,
    /// Writers that have not ended, or not for long enough.
    known: BTreeSet<u64>,
}

impl Ended {
    fn contains(&self, epoch: u64) -> bool {
        epoch < self.next_epoch && !self.known.contains(&epoch)
    }
}

/// Ends a silent writer: its next commit fails.
async fn end(pass: &mut Pass<'_>, listed: &Row, writer: WriterRow) -> Result<()> {
    // From now on a grace must pass, so the row says when this was.
    let ended = WriterRow { ended: true, lease_until: pass.now(), ..writer };
    let Some(object) = &listed.object else { return Ok(()) };
    let mut batch = Batch::new();
    let expect = Expect::Revision(object.revision.clone());
    batch.put(listed.key.clone(), row::encode(&listed.key, &ended), expect);
    if apply(pass, batch).await? {
        pass.report.writers_ended += 1;
    }
    Ok(())
}

/// Applies a change of a writer's row; false if that has changed meanwhile.
async fn apply(pass: &Pass<'_>, batch: Batch) -> Result<bool> {
    if pass.options.dry_run {
        return Ok(true);
    }
    match pass.catalog.apply(batch).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes the segments of epochs that have ended which have no row. All segments are listed: one
/// may land long after its writer was forgotten.
async fn delete_orphans(pass: &mut Pass<'_>, ended: &Ended) -> Result<GoOn> {
    let mut pages = Pages::keys(pass.context.data_keys.segments());
    while let Some(objects) = pages.next(pass.data.as_ref()).await? {
        let ids: Vec<_> = objects
            .iter()
            .filter_map(|object| Some((object, pass.context.data_keys.segment_id(&object.key)?)))
            .filter(|(_, id)| ended.contains(id.epoch))
            .collect();
        let keys: Vec<_> = ids.iter().map(|(_, id)| pass.context.keys.segment(*id)).collect();
        let rows = pass.catalog.get_many(&keys).await?;
        for ((object, id), _) in ids.iter().zip(rows).filter(|(_, row)| row.is_none()) {
            if is_named(pass, *id).await? {
                return Err(still_named(&pass.context.keys.segment(*id)));
            }
            if !pass.options.dry_run {
                pass.data.delete(&object.key, Expect::Any).await?;
            }
            pass.report.orphans_deleted += 1;
            pass.report.bytes_freed += object.size;
        }
        if !pass.go_on() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Forgets deleted segments of epochs that have ended.
async fn forget_deleted(pass: &Pass<'_>, ended: &Ended) -> Result<()> {
    let mut pages = Pages::rows(pass.context.keys.class('s'));
    let mut steps = Steps::default();
    while let Some(rows) = pages.next(pass.catalog.as_ref()).await? {
        for listed in &rows {
            let Some((id, segment)) = segment_of(pass, listed)? else { continue };
            if segment.state == SegmentState::Deleted && ended.contains(id.epoch) {
                steps.add(pass, Maintain::Forget { id }, 1).await?;
            }
        }
    }
    steps.commit(pass).await
}

/// Forgets a writer.
async fn forget(pass: &mut Pass<'_>, epoch: u64, revision: Revision) -> Result<()> {
    let mut batch = Batch::new();
    batch.delete(pass.context.keys.writer(epoch), Expect::Revision(revision));
    if apply(pass, batch).await? {
        pass.report.writers_forgotten += 1;
    }
    Ok(())
}
