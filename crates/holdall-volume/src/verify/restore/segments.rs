//! Rows of segments: made anew from the segment's object and from the chunks that lie in it.

use std::collections::{BTreeSet, HashMap};

use holdall_core::{Batch, ByteRange, Expect, Key, Result};

use super::damaged;
use crate::format::chunk::ChunkRow;
use crate::format::row;
use crate::format::segment::{Replica, ReplicaState, SegmentId, SegmentRow, SegmentState};
use crate::verify::repair::{Moment, apply};
use crate::verify::{Pages, Verifier};

/// Restores rows of segments. When they were made is not known any more: it is now.
pub(super) async fn mend(verifier: &mut Verifier<'_>) -> Result<()> {
    let context = verifier.context;
    let broken = damaged(verifier, 's');
    let broken = broken.iter().filter_map(|key| context.catalog_keys.segment_id(key));
    let ids: BTreeSet<SegmentId> = broken.chain(verifier.lost.segments.iter().copied()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    // Read first: what is counted must hold until the rows are written.
    let Some(moment) = Moment::read(verifier, &[]).await? else {
        return Ok(());
    };
    let counted = count(verifier, &ids).await?;
    let mut revision = moment.revision;
    for id in ids {
        let key = context.catalog_keys.segment(id);
        let (chunks, live_bytes) = counted.get(&id).copied().unwrap_or_default();
        let Some(row) = made_anew(verifier, id, chunks, live_bytes).await? else {
            continue;
        };
        let mut batch = Batch::new();
        batch.put(key.clone(), row::encode(&key, &row), Expect::Any);
        let Some(next) = apply(verifier, batch, &moment.head, &revision).await? else {
            return Ok(());
        };
        revision = next;
        verifier.collector.restored(&key);
    }
    Ok(())
}

/// How many chunks lie in segments, and how many stored bytes of them something names.
async fn count(
    verifier: &Verifier<'_>,
    ids: &BTreeSet<SegmentId>,
) -> Result<HashMap<SegmentId, (u64, u64)>> {
    let context = verifier.context;
    let mut counted: HashMap<SegmentId, (u64, u64)> = HashMap::new();
    let mut pages = Pages::new(context.catalog_keys.class('c'));
    while let Some(rows) = pages.next(context.catalog.as_ref()).await? {
        for found in rows {
            let (key, bytes): (Key, _) = match found.object {
                Some(object) => (found.key, object.value),
                None => continue,
            };
            let Ok(chunk) = row::decode::<ChunkRow>(&key, &bytes) else {
                continue;
            };
            if ids.contains(&chunk.place.segment) {
                let (chunks, live_bytes) = counted.entry(chunk.place.segment).or_default();
                *chunks += 1;
                *live_bytes += if chunk.references > 0 { u64::from(chunk.place.stored) } else { 0 };
            }
        }
    }
    Ok(counted)
}

/// The row of a segment; nothing if chunks lie in it and its object is gone.
///
/// A segment in which no chunk lies may have been condemned, and its object be about to go. So it
/// must not be named again: it is condemned, or deleted already.
async fn made_anew(
    verifier: &Verifier<'_>,
    id: SegmentId,
    chunks: u64,
    live_bytes: u64,
) -> Result<Option<SegmentRow>> {
    let context = verifier.context;
    let key = context.data_keys.segment(id);
    let object = context.data.get(&key, ByteRange::new(0, 0)).await?;
    let state = match (&object, chunks) {
        (Some(_), 0) => SegmentState::Deleting,
        (Some(_), _) => SegmentState::Live,
        (None, 0) => SegmentState::Deleted,
        (None, _) => return Ok(None),
    };
    // Of several places, which have a copy is not known: a repair finds out.
    let only = Replica { backend: 0, state: ReplicaState::Healthy, verified: None };
    let replicas = if verifier.volume.places.len() == 1 { vec![only] } else { Vec::new() };
    Ok(Some(SegmentRow {
        created: context.env.now(),
        bytes: object.map_or(0, |object| object.size),
        live_bytes,
        chunks,
        tier: 0,
        key_id: 0,
        state,
        replicas,
    }))
}
