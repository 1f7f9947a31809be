//! What happens to a block of chunks before it is packed: each is hashed and looked up, and what
//! is new is compressed into frames.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{Error, Operation, Result};

use super::compute;
use super::pack::Packer;
use super::pack::budget::Permit;
use super::pack::pending::Placed;
use crate::format::chunk::{ChunkId, ChunkRow, Digest};
use crate::format::frame::{self, FrameKind, FramePlace, HEADER_BYTES, RAW_BYTES_MAX};
use crate::format::policy::Compression;
use crate::format::row;

/// Up to this many bytes of small chunks share a frame: like lies beside like and compresses
/// together.
const FRAME_BYTES: usize = 512 << 10;

/// A chunk of at least this many bytes has its frame to itself.
const LARGE_CHUNK_BYTES: usize = 256 << 10;

/// What to do with chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// 0 for bytes of entries, more for lists.
    pub level: u8,
    /// How to compress them.
    pub compression: Compression,
    /// Whether to store them even if they are stored already.
    pub copy: bool,
}

/// A chunk, named.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hashed {
    pub id: ChunkId,
    pub digest: Digest,
    pub bytes: u64,
}

/// A frame that has no place yet.
#[derive(Debug)]
pub(crate) struct EncodedFrame {
    pub level: u8,
    pub chunks: Vec<(ChunkId, u32)>,
    pub body: Body,
    /// Whether its chunks may be replaced by equal ones stored lately.
    pub copy: bool,
}

/// The bytes of a frame that has no place yet.
#[derive(Debug)]
pub(crate) enum Body {
    /// Stored as they are.
    Plain(Bytes),
    /// A frame encoded for position 0.
    Frame(Box<[u8]>),
}

impl EncodedFrame {
    /// The frame's length in a segment.
    pub(crate) fn frame_bytes(&self) -> usize {
        match &self.body {
            Body::Plain(raw) => HEADER_BYTES + self.chunks.len() * 4 + raw.len(),
            Body::Frame(frame) => frame.len(),
        }
    }
}

/// A block, ready to be packed.
#[derive(Debug)]
pub(crate) struct Processed {
    /// The chunks, in order.
    pub chunks: Vec<Hashed>,
    /// Where those are that need not be stored; nothing for those in the catalog.
    pub known: BTreeMap<ChunkId, Option<Placed>>,
    /// The new ones.
    pub frames: Vec<EncodedFrame>,
    /// Holds memory until the frames are packed.
    pub permit: Option<Permit>,
}

/// Hashes, looks up and compresses chunks.
pub(crate) async fn process(
    packer: Arc<Packer>,
    chunks: Vec<Bytes>,
    order: Order,
    permit: Option<Permit>,
) -> Result<Processed> {
    let bytes: usize = chunks.iter().map(Bytes::len).sum();
    let context = packer.context();
    let secret = context.secret;
    let (chunks, hashed) = compute(&context.env, bytes, move || {
        let hashed: Vec<Hashed> = chunks
            .iter()
            .map(|chunk| {
                let digest = Digest::of(chunk);
                let id = ChunkId::new(&secret, &digest, order.level);
                Hashed { id, digest, bytes: chunk.len() as u64 }
            })
            .collect();
        (chunks, hashed)
    })
    .await?;
    let known = if order.copy { BTreeMap::new() } else { look_up(&packer, &hashed).await? };
    let mut seen = HashSet::new();
    let new: Vec<(ChunkId, Bytes)> = hashed
        .iter()
        .zip(chunks)
        .filter(|(chunk, _)| !known.contains_key(&chunk.id) && seen.insert(chunk.id))
        .map(|(chunk, bytes)| (chunk.id, bytes))
        .collect();
    let bytes = new.iter().map(|(_, chunk)| chunk.len()).sum();
    let place = FramePlace {
        kind: FrameKind::Chunks,
        volume: context.data_keys.volume_id(),
        owner: (0, 0),
        position: 0,
    };
    let frames = compute(&context.env, bytes, move || encode(place, new, order)).await??;
    Ok(Processed { chunks: hashed, known, frames, permit })
}

/// Finds the chunks that need not be stored again. A row that nothing has named for long does not
/// count: it may be collected before the put is committed.
async fn look_up(packer: &Packer, chunks: &[Hashed]) -> Result<BTreeMap<ChunkId, Option<Placed>>> {
    let context = packer.context();
    let mut ids: Vec<ChunkId> = chunks.iter().map(|chunk| chunk.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let keys: Vec<_> = ids.iter().map(|id| context.keys.chunk(id)).collect();
    let rows = context.catalog.get_many(&keys).await?;
    let now = context.env.now();
    let mut known = BTreeMap::new();
    let mut missing = Vec::new();
    for ((id, key), found) in ids.into_iter().zip(&keys).zip(rows) {
        let row = found.map(|found| row::decode::<ChunkRow>(key, &found.value)).transpose()?;
        let idle = row.and_then(|row| row.idle_since).map(|since| now.since(since));
        if row.is_some() && idle.is_none_or(|idle| idle <= packer.idle_max()) {
            known.insert(id, None);
        } else {
            missing.push(id);
        }
    }
    known.extend(packer.pending(&missing).into_iter().map(|(id, placed)| (id, Some(placed))));
    Ok(known)
}

/// Groups chunks into frames and compresses them.
fn encode(
    place: FramePlace,
    chunks: Vec<(ChunkId, Bytes)>,
    order: Order,
) -> Result<Vec<EncodedFrame>> {
    let mut frames = Vec::new();
    let mut group: Vec<(ChunkId, Bytes)> = Vec::new();
    let mut group_bytes = 0;
    for (id, bytes) in chunks {
        let large = bytes.len() >= LARGE_CHUNK_BYTES;
        if !group.is_empty() && (large || group_bytes + bytes.len() > FRAME_BYTES) {
            frames.push(encode_frame(place, std::mem::take(&mut group), order)?);
            group_bytes = 0;
        }
        group_bytes += bytes.len();
        group.push((id, bytes));
        if large {
            frames.push(encode_frame(place, std::mem::take(&mut group), order)?);
            group_bytes = 0;
        }
    }
    if !group.is_empty() {
        frames.push(encode_frame(place, group, order)?);
    }
    Ok(frames)
}

fn encode_frame(
    place: FramePlace,
    mut group: Vec<(ChunkId, Bytes)>,
    order: Order,
) -> Result<EncodedFrame> {
    let chunks: Vec<(ChunkId, u32)> =
        group.iter().map(|(id, bytes)| (*id, bytes.len() as u32)).collect();
    let raw = match group.pop() {
        Some((_, only)) if group.is_empty() => only,
        last => {
            let parts: Vec<Bytes> = group.into_iter().chain(last).map(|(_, b)| b).collect();
            Bytes::from(parts.concat())
        }
    };
    if raw.len() > RAW_BYTES_MAX {
        let message = format!("a chunk has {} bytes; at most {RAW_BYTES_MAX} fit", raw.len());
        return Err(Error::invalid(Operation::Put, message));
    }
    let lengths: Vec<u32> = chunks.iter().map(|(_, bytes)| *bytes).collect();
    let body = if order.compression == Compression::None || looks_random(&raw) {
        Body::Plain(raw)
    } else {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            frame::encode(place, order.level, &lengths, &raw, order.compression, scratch)?;
            let plain = scratch.len() == HEADER_BYTES + lengths.len() * 4 + raw.len();
            Ok(if plain { Body::Plain(raw) } else { Body::Frame(scratch.as_slice().into()) })
        })?
    };
    Ok(EncodedFrame { level: order.level, chunks, body, copy: order.copy })
}

thread_local! {
    /// Where frames are compressed: memory that was used before is much faster.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Below this many bytes trying to compress costs less than looking.
const LOOK_BYTES_MIN: usize = 128 << 10;

/// How many samples are looked at, and the bytes of each.
const SAMPLES: usize = 8;
const SAMPLE_BYTES: usize = 4 << 10;

/// Whether samples look as if no compression could make anything of these bytes, so that it need
/// not be tried: all bytes about equally frequent, and nothing repeated.
fn looks_random(raw: &[u8]) -> bool {
    if raw.len() < LOOK_BYTES_MIN {
        return false;
    }
    let mut samples = Vec::with_capacity(SAMPLES * SAMPLE_BYTES);
    for number in 0..SAMPLES {
        let at = (raw.len() - SAMPLE_BYTES) / (SAMPLES - 1) * number;
        samples.extend_from_slice(&raw[at..at + SAMPLE_BYTES]);
    }
    let mut counts = [0_u64; 256];
    samples.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    // For bytes drawn at random the sum of squares is n²/256 + n, give or take a hundredth.
    let squares: u64 = counts.iter().map(|count| count * count).sum();
    let n = samples.len() as u64;
    let even = n * n / 256 + n;
    if squares > even + even / 32 {
        return false;
    }
    let packed = lz4_flex::block::compress(&samples);
    packed.len() >= samples.len() - samples.len() / 64
}

#[cfg(test)]
mod tests {
    use super::looks_random;

    #[test]
    fn only_what_cannot_be_compressed_looks_random() {
        let mut noise = vec![0; 1 << 20];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        for bytes in [128 << 10, 200_001, 1 << 20] {
            assert!(looks_random(&noise[..bytes]));
        }
        let sixty_four: Vec<u8> = noise.iter().map(|byte| byte & 63).collect();
        let repeating: Vec<u8> = noise[..1000].iter().copied().cycle().take(1 << 20).collect();
        let mut mixed = noise.clone();
        mixed[300_000..600_000].fill(b' ');
        for bytes in [sixty_four, repeating, mixed, vec![0; 1 << 20]] {
            assert!(!looks_random(&bytes));
        }
    }
}
