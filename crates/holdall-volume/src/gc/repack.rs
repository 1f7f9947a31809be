//! Repacking: the living chunks of segments that are mostly dead, or tiny, are copied together,
//! read back, and then named by their new places. The old segments die by that.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use futures::TryStreamExt;
use holdall_core::{Error, ErrorKind, Operation, Result};

use super::pages::Pages;
use super::segments::{chunk_rows, segment_of};
use super::{GoOn, Pass};
use crate::commit::Maintain;
use crate::data::{StagedSegment, frames, places, read_directory};
use crate::format::chunk::{ChunkId, Place};
use crate::format::segment::{Directory, DirectoryFrame, SegmentId, SegmentRow, SegmentState};

/// How many bytes of chunks are copied together at the most: they are in memory.
const BATCH_BYTES_MAX: u64 = 16 << 20;

/// How many segments one pass repacks at the most.
const SEGMENTS_MAX: usize = 4096;

/// How many places one commit changes.
const MOVES_MAX: usize = 1000;

/// A segment worth repacking.
struct Candidate {
    id: SegmentId,
    live_bytes: u64,
}

/// Repacks what is worth it, within the budget.
pub(super) async fn repack(pass: &mut Pass<'_>) -> Result<GoOn> {
    if pass.options.repack_bytes_max == 0 {
        return Ok(true);
    }
    let (sparse, tiny) = candidates(pass).await?;
    let tiny = worth_merging(pass, tiny).await?;
    let mut batch = Batch::default();
    for candidate in sparse.into_iter().chain(tiny) {
        let used = pass.report.bytes_repacked + candidate.live_bytes;
        if used > pass.options.repack_bytes_max {
            continue;
        }
        if pass.options.dry_run {
            pass.report.segments_repacked += 1;
            pass.report.bytes_repacked = used;
        } else {
            batch.take(pass, candidate).await?;
        }
        if !pass.go_on() {
            break;
        }
    }
    batch.write(pass).await?;
    // Those from which every chunk has gone need not wait for the next pass.
    let steps = batch.segments.into_iter().map(|id| Maintain::Bury { id }).collect();
    pass.submit(steps, Vec::new()).await?;
    Ok(pass.go_on())
}

/// Segments less than half of which is alive, and tiny ones.
async fn candidates(pass: &Pass<'_>) -> Result<(Vec<Candidate>, Vec<Candidate>)> {
    let full = u64::from(pass.policy.segment_bytes).min(BATCH_BYTES_MAX);
    let (mut sparse, mut tiny) = (Vec::new(), Vec::new());
    let mut pages = Pages::rows(pass.context.keys.class('s'));
    while let Some(rows) = pages.next(pass.catalog.as_ref()).await? {
        for listed in &rows {
            let Some((id, segment)) = segment_of(pass, listed)? else { continue };
            let SegmentRow { bytes, live_bytes, state, created, .. } = segment;
            let enough = sparse.len() + tiny.len() == SEGMENTS_MAX;
            // Other puts may be about to name more of a young one.
            if enough || state != SegmentState::Live || live_bytes == 0 || !pass.is_over(created) {
                continue;
            }
            let candidate = Candidate { id, live_bytes };
            if live_bytes < bytes / 2 {
                sparse.push(candidate);
            } else if bytes < full / 4 {
                tiny.push(candidate);
            }
        }
    }
    Ok((sparse, tiny))
}

/// The tiny segments, if merging them at least halves their number: else each pass would copy the
/// same bytes again for nothing.
async fn worth_merging(pass: &Pass<'_>, tiny: Vec<Candidate>) -> Result<Vec<Candidate>> {
    if tiny.len() < 4 {
        return Ok(Vec::new());
    }
    let mut raw: BTreeMap<u8, u64> = BTreeMap::new();
    for candidate in &tiny {
        // A damaged one counts for nothing here, and is left alone later.
        let directory = match read_directory(&pass.context, candidate.id, None).await {
            Ok(directory) => directory,
            Err(error) if error.kind() == ErrorKind::Corrupt => continue,
            Err(error) => return Err(error),
        };
        for frame in directory.frames {
            let bytes = frame.chunks.iter().map(|(_, bytes)| u64::from(*bytes));
            *raw.entry(frame.level).or_default() += bytes.sum::<u64>();
        }
    }
    let merged: u64 = raw.values().map(|bytes| bytes.div_ceil(BATCH_BYTES_MAX)).sum();
    Ok(if merged * 2 <= tiny.len() as u64 { tiny } else { Vec::new() })
}

/// A living chunk that was read.
struct Found {
    id: ChunkId,
    from: Place,
    bytes: Bytes,
}

/// Chunks that are to be copied together, by level.
#[derive(Default)]
struct Batch {
    chunks: BTreeMap<u8, Vec<Found>>,
    bytes: u64,
    /// The segments from which chunks were taken.
    segments: Vec<SegmentId>,
}

impl Batch {
    /// Takes the living chunks of a segment. Frames that are damaged are left where they are.
    async fn take(&mut self, pass: &mut Pass<'_>, candidate: Candidate) -> Result<()> {
        let id = candidate.id;
        let directory = match read_directory(&pass.context, id, None).await {
            Ok(directory) => directory,
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                pass.report.segments_damaged += 1;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let wanted = living(pass, id, directory).await?;
        let mut found = std::pin::pin!(frames(&pass.context, id, Some(&wanted)));
        let mut damaged = false;
        while let Some(frame) = found.try_next().await? {
            let Some(listed) = frame.listed() else {
                damaged = true;
                continue;
            };
            let Ok(chunks) = frame.found else { continue };
            let ids: Vec<ChunkId> = chunks.chunks.iter().map(|(id, _)| *id).collect();
            let rows = chunk_rows(pass, &ids).await?;
            let here = places(id, &listed).into_iter().zip(chunks.chunks).zip(rows);
            for (((chunk, place), (_, bytes)), row) in here {
                if row.is_some_and(|row| row.references > 0 && row.place == place) {
                    self.bytes += u64::from(place.bytes);
                    // Or a slice would hold all that was read with it.
                    let bytes = Bytes::copy_from_slice(&bytes);
                    let chunks = self.chunks.entry(chunks.level).or_default();
                    chunks.push(Found { id: chunk, from: place, bytes });
                }
            }
            if self.bytes >= BATCH_BYTES_MAX {
                self.write(pass).await?;
            }
        }
        self.segments.push(id);
        pass.report.segments_damaged += u64::from(damaged);
        pass.report.segments_repacked += 1;
        pass.report.bytes_repacked += candidate.live_bytes;
        Ok(())
    }

    /// Writes copies, reads them back, and has the rows point there.
    async fn write(&mut self, pass: &mut Pass<'_>) -> Result<()> {
        self.bytes = 0;
        for (level, chunks) in std::mem::take(&mut self.chunks) {
            let writer = pass.shared.writer().await?;
            let from: Vec<(ChunkId, Place)> = chunks.iter().map(|c| (c.id, c.from)).collect();
            let bytes: Vec<Bytes> = chunks.into_iter().map(|chunk| chunk.bytes).collect();
            if let Some(throttle) = &pass.options.throttle {
                throttle.take(bytes.iter().map(|bytes| bytes.len() as u64).sum()).await;
            }
            let compression = pass.policy.compression;
            let (copies, segments) = writer.packer.copy_chunks(level, bytes, compression).await?;
            read_back(pass, level, &copies).await?;
            let copies: HashMap<ChunkId, Place> = copies.into_iter().collect();
            for some in from.chunks(MOVES_MAX.min(pass.request_rows_max())) {
                let moved = some.iter().filter_map(|(id, from)| Some((id, from, copies.get(id)?)));
                let moves: Vec<Maintain> = moved
                    .map(|(id, from, to)| Maintain::Move { id: *id, from: *from, to: *to })
                    .collect();
                pass.report.chunks_moved += moves.len() as u64;
                pass.submit(moves, named(&segments, some, &copies)).await?;
            }
        }
        Ok(())
    }
}

/// The frames of a directory in which living chunks lie.
async fn living(pass: &Pass<'_>, id: SegmentId, directory: Directory) -> Result<Directory> {
    let mut wanted = Directory::default();
    for frame in directory.frames {
        let ids: Vec<ChunkId> = frame.chunks.iter().map(|(id, _)| *id).collect();
        let rows = chunk_rows(pass, &ids).await?;
        let here = |place: Place| place.segment == id && place.frame_at == frame.at;
        if rows.into_iter().flatten().any(|row| row.references > 0 && here(row.place)) {
            wanted.frames.push(frame);
        }
    }
    Ok(wanted)
}

/// Those of the new segments into which these moves go.
fn named(
    segments: &[StagedSegment],
    moves: &[(ChunkId, Place)],
    copies: &HashMap<ChunkId, Place>,
) -> Vec<StagedSegment> {
    let to = |segment: &&StagedSegment| {
        moves.iter().any(|(id, _)| copies.get(id).is_some_and(|to| to.segment == segment.id))
    };
    segments.iter().filter(to).cloned().collect()
}

/// Reads copies where they are said to lie, and checks them by their names.
async fn read_back(pass: &Pass<'_>, level: u8, copies: &[(ChunkId, Place)]) -> Result<()> {
    let mut segments: BTreeMap<SegmentId, BTreeMap<u32, u32>> = BTreeMap::new();
    let mut expected: HashMap<(ChunkId, SegmentId), Place> = HashMap::new();
    for (id, place) in copies {
        segments.entry(place.segment).or_default().insert(place.frame_at, place.frame_bytes);
        expected.insert((*id, place.segment), *place);
    }
    for (id, listed) in segments {
        let listed = listed.into_iter();
        let listed =
            listed.map(|(at, bytes)| DirectoryFrame { at, bytes, level, chunks: Vec::new() });
        let directory = Directory { frames: listed.collect(), entries: Vec::new() };
        let mut found = std::pin::pin!(frames(&pass.context, id, Some(&directory)));
        while let Some(frame) = found.try_next().await? {
            let listed = frame.listed();
            frame.found?;
            for (chunk, place) in listed.iter().flat_map(|listed| places(id, listed)) {
                if expected.get(&(chunk, id)) == Some(&place) {
                    expected.remove(&(chunk, id));
                }
            }
        }
    }
    if expected.is_empty() {
        return Ok(());
    }
    let message = "copies of chunks do not come back as they were written; check the data backend";
    Err(Error::corrupt(Operation::Maintain, message))
}
