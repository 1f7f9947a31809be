//! Copies that are left over go when their grace is over.

use std::sync::Arc;
use std::time::Duration;

use holdall_core::{ErrorKind, Key, Result, Row};

use super::Repair;
use crate::commit::Maintain;
use crate::format::policy::PlaceState;
use crate::format::row;
use crate::format::segment::{LeftOver, SegmentId};
use crate::gc::pages::Pages;

/// Deletes them: first a commit says so, so that no switch names one again that is about to go.
pub(super) async fn drop_copies(repair: &mut Repair<'_>) -> Result<bool> {
    let spread = Arc::clone(&repair.spread);
    let policy = repair.shared.committer.volume().policy.grace;
    let grace = repair.options.grace.unwrap_or(policy);
    let mut pages = Pages::rows(spread.keys.class('d'));
    while let Some(rows) = pages.next(spread.catalog.as_ref()).await? {
        let due = decide(repair, &rows, grace).await?;
        let mut steps = Vec::new();
        for (id, place) in due {
            match delete(repair, id, place).await {
                Ok(()) => {
                    repair.report.copies_dropped += 1;
                    steps.push(Maintain::CopyDropped { id, place });
                }
                Err(error) if error.kind() == ErrorKind::Closed => return Err(error),
                Err(_) => repair.report.copies_waiting += 1,
            }
        }
        repair.submit(steps).await?;
        if !repair.go_on() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The copies of a page that are to be deleted now, and can no longer be named.
async fn decide(
    repair: &mut Repair<'_>,
    rows: &[Row],
    grace: Duration,
) -> Result<Vec<(SegmentId, u16)>> {
    let spread = Arc::clone(&repair.spread);
    let (mut steps, mut keys): (Vec<Maintain>, Vec<Key>) = (Vec::new(), Vec::new());
    for listed in rows {
        let Some((id, place)) = spread.keys.left_over_parts(&listed.key) else { continue };
        let Some(object) = &listed.object else { continue };
        let left: LeftOver = row::decode(&listed.key, &object.value)?;
        let over = match left {
            LeftOver::Kept(since) => spread.env.now().since(since) >= grace,
            LeftOver::Dropping => true,
        };
        if !over || repair.options.dry_run {
            repair.report.copies_waiting += 1;
            continue;
        }
        if let LeftOver::Kept(left) = left {
            steps.push(Maintain::DropCopy { id, place, left });
        }
        keys.push(listed.key.clone());
    }
    repair.submit(steps).await?;
    let found = spread.catalog.get_many(&keys).await?;
    let mut due = Vec::new();
    for (key, found) in keys.iter().zip(found) {
        let Some(found) = found else { continue };
        if row::decode::<LeftOver>(key, &found.value)? == LeftOver::Dropping {
            due.extend(spread.keys.left_over_parts(key));
        }
    }
    Ok(due)
}

async fn delete(repair: &Repair<'_>, id: SegmentId, place: u16) -> Result<()> {
    let (spread, table) = (&repair.spread, repair.spread.table());
    let seat = table.seat(place).filter(|seat| seat.row.state != PlaceState::Lost);
    // Nobody can reach what is in a place that is lost.
    let Some(seat) = seat else { return Ok(()) };
    seat.member()?.delete(&spread.data_keys.segment(id)).await
}
