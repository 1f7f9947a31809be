//! Segments into which no chunk row points: marked, left alone for the grace, checked, condemned,
//! deleted.
//!
//! A put that comes late may still name a dead segment, which makes it live again; a condemned one
//! it may not. So what is condemned stays so, and its object can be deleted at leisure.

use std::collections::HashSet;

use holdall_core::{BackendExt, ByteRange, Error, ErrorKind, Expect, Key, Operation, Result, Row};

use super::pages::Pages;
use super::{GoOn, Pass, Steps, value};
use crate::commit::Maintain;
use crate::data::read_directory;
use crate::format::chunk::{ChunkId, ChunkRow};
use crate::format::row;
use crate::format::segment::{SegmentId, SegmentRow, SegmentState};

/// How many chunks of a directory are looked up at once.
const CHUNKS_AT_ONCE: usize = 512;

/// Marks segments into which no chunk row points.
pub(super) async fn bury(pass: &mut Pass<'_>) -> Result<GoOn> {
    let mut pages = Pages::rows(pass.context.keys.class('s'));
    let mut steps = Steps::default();
    while let Some(rows) = pages.next(pass.catalog.as_ref()).await? {
        for listed in &rows {
            let Some((id, segment)) = segment_of(pass, listed)? else { continue };
            if segment.state == SegmentState::Live && segment.chunks == 0 {
                pass.report.segments_buried += 1;
                steps.add(pass, Maintain::Bury { id }, 1).await?;
            }
        }
        if !pass.go_on() {
            break;
        }
    }
    steps.commit(pass).await?;
    Ok(pass.go_on())
}

/// Deletes segments that were dead for longer than the grace, and those whose deletion was
/// interrupted.
pub(super) async fn delete(pass: &mut Pass<'_>) -> Result<GoOn> {
    let mut pages = Pages::rows(pass.context.keys.class('s'));
    while let Some(rows) = pages.next(pass.catalog.as_ref()).await? {
        for listed in &rows {
            let Some((id, segment)) = segment_of(pass, listed)? else { continue };
            let due = match segment.state {
                SegmentState::Dead { since } => segment.chunks == 0 && pass.is_over(since),
                SegmentState::Deleting => true,
                SegmentState::Live | SegmentState::Deleted => false,
            };
            if due {
                delete_one(pass, id, &segment).await?;
            }
            if !pass.go_on() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The segment of a row.
pub(super) fn segment_of(pass: &Pass<'_>, listed: &Row) -> Result<Option<(SegmentId, SegmentRow)>> {
    let Some(id) = pass.context.keys.segment_id(&listed.key) else { return Ok(None) };
    Ok(Some((id, row::decode(&listed.key, value(listed)?)?)))
}

async fn delete_one(pass: &mut Pass<'_>, id: SegmentId, segment: &SegmentRow) -> Result<()> {
    let object_key = pass.context.data_keys.segment(id);
    let object = pass.data.get(&object_key, ByteRange::new(0, 1)).await?;
    if object.is_some() && is_named(pass, id).await? {
        // A put that came since the row was read makes it live again; else rows contradict it.
        let key = pass.context.keys.segment(id);
        return if row_of(pass, id).await?.is_some_and(|now| now.state == segment.state) {
            Err(still_named(&key))
        } else {
            Ok(())
        };
    }
    if pass.options.dry_run {
        pass.report.segments_deleted += 1;
        pass.report.bytes_freed += segment.bytes;
        return Ok(());
    }
    if let SegmentState::Dead { since } = segment.state {
        pass.submit(vec![Maintain::Condemn { id, dead_since: since }], Vec::new()).await?;
    }
    // A put may have come in between and named the segment: then it was not condemned.
    if !is_condemned(pass, id).await? {
        return Ok(());
    }
    pass.data.delete(&object_key, Expect::Any).await?;
    pass.submit(vec![Maintain::Deleted { id }], Vec::new()).await?;
    pass.report.segments_deleted += 1;
    pass.report.bytes_freed += object.map_or(0, |object| object.size);
    Ok(())
}

async fn row_of(pass: &Pass<'_>, id: SegmentId) -> Result<Option<SegmentRow>> {
    let key = pass.context.keys.segment(id);
    let found = pass.catalog.get_all(&key).await?;
    found.map(|found| row::decode(&key, &found.value)).transpose()
}

async fn is_condemned(pass: &Pass<'_>, id: SegmentId) -> Result<bool> {
    let Some(segment) = row_of(pass, id).await? else { return Ok(false) };
    if segment.state == SegmentState::Deleting && segment.chunks > 0 {
        return Err(still_named(&pass.context.keys.segment(id)));
    }
    Ok(segment.state == SegmentState::Deleting)
}

/// Compares a segment's directory with the catalog: whether a chunk row points into the segment,
/// whatever the segment's own row says.
pub(super) async fn is_named(pass: &mut Pass<'_>, id: SegmentId) -> Result<bool> {
    let directory = match read_directory(&pass.context, id, None).await {
        Ok(directory) => directory,
        // What cannot say what it holds is compared with every chunk row there is.
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            if pass.pointed_at.is_none() {
                pass.pointed_at = Some(pointed_at(pass).await?);
            }
            return Ok(pass.pointed_at.as_ref().is_some_and(|segments| segments.contains(&id)));
        }
        Err(error) => return Err(error),
    };
    let chunks: Vec<ChunkId> =
        directory.frames.iter().flat_map(|frame| &frame.chunks).map(|(chunk, _)| *chunk).collect();
    for some in chunks.chunks(CHUNKS_AT_ONCE) {
        let found = chunk_rows(pass, some).await?;
        if found.iter().flatten().any(|chunk| chunk.place.segment == id) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The rows of chunks, in this order.
pub(super) async fn chunk_rows(pass: &Pass<'_>, ids: &[ChunkId]) -> Result<Vec<Option<ChunkRow>>> {
    let keys: Vec<Key> = ids.iter().map(|id| pass.context.keys.chunk(id)).collect();
    let found = pass.catalog.get_many(&keys).await?;
    let rows = keys.iter().zip(found);
    rows.map(|(key, found)| found.map(|found| row::decode(key, &found.value)).transpose()).collect()
}

/// The segments into which chunk rows point.
async fn pointed_at(pass: &Pass<'_>) -> Result<HashSet<SegmentId>> {
    let mut segments = HashSet::new();
    let mut pages = Pages::rows(pass.context.keys.class('c'));
    while let Some(rows) = pages.next(pass.catalog.as_ref()).await? {
        for listed in &rows {
            let chunk: ChunkRow = row::decode(&listed.key, value(listed)?)?;
            segments.insert(chunk.place.segment);
        }
    }
    Ok(segments)
}

pub(super) fn still_named(key: &Key) -> Error {
    let message = "chunks lie in a segment that counts as empty or has no row, so it is not \
                   deleted; run `holdall verify --repair`";
    Error::corrupt(Operation::Maintain, message).with_key(key)
}
