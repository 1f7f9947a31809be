//! Fetches chunks by their names: places from the catalog, frames from the data backend in as few
//! reads as possible, every chunk checked against its name.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use holdall_core::{ByteRange, Error, ErrorKind, Object, Operation, Result};

use super::cache::FrameCache;
use crate::data::{DataContext, compute};
use crate::format::chunk::{ChunkId, ChunkRow, ChunkSecret, Digest, Node, Place};
use crate::format::frame::{self, FrameKind, FramePlace};
use crate::format::keys::VolumeId;
use crate::format::row;
use crate::format::segment::SegmentId;

/// The most bytes of one read.
const READ_BYTES_MAX: u64 = 8 << 20;

/// Frames that lie at most so far apart are read together.
const GAP_BYTES_MAX: u64 = 64 << 10;

/// How many reads of one window are under way at once.
const READS_MAX: usize = 4;

/// A chunk that is wanted, and where it lies.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// Its number in the answer.
    number: usize,
    node: Node,
    place: Place,
}

/// Frames of one segment that are read together.
#[derive(Debug)]
struct Run {
    segment: SegmentId,
    range: Range<u64>,
    /// The chunks of each frame, by where the frame begins.
    frames: Vec<Vec<Wanted>>,
}

/// Fetches the chunks of these nodes. The answer has one place for each node.
///
/// # Errors
/// `Corrupt` if a chunk is not in the catalog, or its bytes are missing or damaged, also after
/// looking again: it may have been moved meanwhile.
pub(crate) async fn chunks(
    context: &DataContext,
    cache: &Arc<FrameCache>,
    nodes: &[Node],
) -> Result<Vec<Bytes>> {
    let places = look_up(context, nodes).await?;
    match gather(context, cache, nodes, &places).await {
        Err(e) if matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => {
            let again = look_up(context, nodes).await?;
            if again == places { Err(e) } else { gather(context, cache, nodes, &again).await }
        }
        result => result,
    }
}

async fn look_up(context: &DataContext, nodes: &[Node]) -> Result<Vec<Place>> {
    let keys: Vec<_> = nodes.iter().map(|node| context.keys.chunk(&node.id)).collect();
    let rows = context.catalog.get_many(&keys).await?;
    let mut places = Vec::with_capacity(nodes.len());
    for ((node, key), found) in nodes.iter().zip(&keys).zip(rows) {
        let Some(found) = found else {
            let message = format!("chunk {} is not in the catalog; run `holdall verify`", node.id);
            return Err(Error::corrupt(Operation::Get, message).with_key(key));
        };
        let row: ChunkRow = row::decode(key, &found.value)?;
        places.push(row.place);
    }
    Ok(places)
}

async fn gather(
    context: &DataContext,
    cache: &Arc<FrameCache>,
    nodes: &[Node],
    places: &[Place],
) -> Result<Vec<Bytes>> {
    let mut frames: BTreeMap<(SegmentId, u32), Vec<Wanted>> = BTreeMap::new();
    for (number, (node, place)) in nodes.iter().zip(places).enumerate() {
        let wanted = Wanted { number, node: *node, place: *place };
        frames.entry((place.segment, place.frame_at)).or_default().push(wanted);
    }
    let mut found = vec![Bytes::new(); nodes.len()];
    let mut fill = |chunks: Vec<(usize, Bytes)>| {
        chunks.into_iter().for_each(|(number, bytes)| found[number] = bytes);
    };
    let mut missing = BTreeMap::new();
    for (key, wanted) in frames {
        match cache.get(key) {
            Some(raw) => fill(take_chunks(&context.secret, &raw, &wanted)?),
            None => drop(missing.insert(key, wanted)),
        }
    }
    let reads = runs(missing).into_iter().map(|run| read(context.clone(), Arc::clone(cache), run));
    stream::iter(reads)
        .buffer_unordered(READS_MAX)
        .try_for_each(|chunks| {
            fill(chunks);
            futures::future::ready(Ok(()))
        })
        .await?;
    Ok(found)
}

/// Puts neighbouring frames together.
fn runs(frames: BTreeMap<(SegmentId, u32), Vec<Wanted>>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for ((segment, at), wanted) in frames {
        let start = u64::from(at);
        let bytes = wanted.iter().map(|wanted| wanted.place.frame_bytes).max().unwrap_or(0);
        let end = start + u64::from(bytes);
        match runs.last_mut() {
            Some(run)
                if run.segment == segment
                    && start <= run.range.end + GAP_BYTES_MAX
                    && end - run.range.start <= READ_BYTES_MAX =>
            {
                run.range.end = run.range.end.max(end);
                run.frames.push(wanted);
            }
            _ => runs.push(Run { segment, range: start..end, frames: vec![wanted] }),
        }
    }
    runs
}

/// Reads a run of frames and takes the wanted chunks out of them, from another copy if one is
/// damaged.
async fn read(
    context: DataContext,
    cache: Arc<FrameCache>,
    run: Run,
) -> Result<Vec<(usize, Bytes)>> {
    let (segment, run) = (run.segment, Arc::new(run));
    let range = ByteRange::new(run.range.start, run.range.end);
    let (mut damaged, mut first) = (Vec::new(), None);
    loop {
        let read = context.read_segment(segment, range, &damaged).await;
        let (found, from) = match (read, first.take()) {
            // What was wrong with a copy says more than that there is no other.
            (Ok((None, _)), Some(error)) => return Err(error),
            (Err(error), _) => return Err(error),
            (Ok(found), error) => {
                first = error;
                found
            }
        };
        let error = match take_run(&context, &cache, &run, found).await {
            Ok(chunks) => return Ok(chunks),
            Err(error) => error.with_key(&context.data_keys.segment(segment)),
        };
        if !context.steps_past(segment, &error, from) {
            return Err(error);
        }
        damaged.extend(from);
        first.get_or_insert(error);
    }
}

/// Takes the wanted chunks out of a run that was read.
async fn take_run(
    context: &DataContext,
    cache: &Arc<FrameCache>,
    run: &Arc<Run>,
    found: Option<Object>,
) -> Result<Vec<(usize, Bytes)>> {
    let (secret, volume) = (context.secret, context.data_keys.volume_id());
    let (cache, run) = (Arc::clone(cache), Arc::clone(run));
    let work = run.frames.iter().flatten().map(|wanted| wanted.place.bytes as usize).sum();
    let chunks = compute(&context.env, work, move || {
        let bytes = found.map(|found| found.value);
        let mut chunks = Vec::new();
        for wanted in &run.frames {
            let raw =
                decode(volume, &run, wanted, bytes.as_ref()).map_err(|e| damaged(&wanted[0], e))?;
            chunks.extend(take_chunks(&secret, &raw, wanted)?);
            keep(&cache, wanted[0].place, raw);
        }
        Ok(chunks)
    });
    chunks.await?
}

/// Keeps a frame of several chunks for the next that wants one of them.
fn keep(cache: &FrameCache, place: Place, raw: Bytes) {
    if (place.bytes as usize) < raw.len() {
        // A frame that was not compressed is a slice of all that was read with it.
        let plain = raw.len() < place.frame_bytes as usize;
        let raw = if plain { Bytes::copy_from_slice(&raw) } else { raw };
        cache.insert((place.segment, place.frame_at), raw);
    }
}

/// Decodes one frame of a run.
fn decode(volume: VolumeId, run: &Run, wanted: &[Wanted], bytes: Option<&Bytes>) -> Result<Bytes> {
    let corrupt = |what: &str| Err(Error::corrupt(Operation::Get, what));
    let Some(bytes) = bytes else {
        return corrupt("the segment is missing");
    };
    let place = wanted[0].place;
    let start = (u64::from(place.frame_at) - run.range.start) as usize;
    let end = start + place.frame_bytes as usize;
    if end > bytes.len() {
        return corrupt("the segment is cut short");
    }
    let owner = (place.segment.epoch, place.segment.counter);
    let position = place.frame_at;
    let expected = FramePlace { kind: FrameKind::Chunks, volume, owner, position };
    // Each chunk is about to be checked against its name.
    Ok(frame::decode_unchecked(expected, &bytes.slice(start..end))?.raw)
}

/// Takes chunks out of a decoded frame, and checks each against its name.
fn take_chunks(
    secret: &ChunkSecret,
    raw: &Bytes,
    wanted: &[Wanted],
) -> Result<Vec<(usize, Bytes)>> {
    let mut chunks: Vec<(usize, Bytes)> = Vec::with_capacity(wanted.len());
    let mut checked: Option<(ChunkId, Bytes)> = None;
    for one in wanted {
        // The same chunk many times, as in a file of zeros, is checked once.
        if let Some((id, bytes)) = &checked
            && *id == one.node.id
        {
            chunks.push((one.number, bytes.clone()));
            continue;
        }
        let start = one.place.at as usize;
        let end = start + one.place.bytes as usize;
        let fits = end <= raw.len();
        let bytes = if fits { raw.slice(start..end) } else { Bytes::new() };
        let id = ChunkId::new(secret, &Digest::of(&bytes), one.node.level);
        if id != one.node.id {
            let cause = Error::corrupt(Operation::Get, "its bytes do not have its digest");
            return Err(damaged(one, cause));
        }
        chunks.push((one.number, bytes.clone()));
        checked = Some((id, bytes));
    }
    Ok(chunks)
}

fn damaged(wanted: &Wanted, cause: Error) -> Error {
    let (id, segment, at) = (wanted.node.id, wanted.place.segment, wanted.place.frame_at);
    let what = cause.message();
    let message = format!(
        "chunk {id} cannot be read from segment {segment} at {at}: {what}; run `holdall verify`"
    );
    Error::new(cause.kind(), Operation::Get, message)
}
