//! Reads chunks by where their rows say they are.

use bytes::Bytes;
use holdall_core::{BackendExt, ByteRange, ErrorKind, Result};

use super::{VerifyContext, unreadable};
use crate::format::chunk::{ChunkId, ChunkRow, ChunkSecret, Digest, Place};
use crate::format::frame::{self, Frame, FrameKind, FramePlace};
use crate::format::row;
use crate::format::segment::SegmentId;

/// Reads chunks, and remembers the last frame, because neighbours often share one.
#[derive(Default)]
pub(super) struct Fetcher {
    last: Option<(SegmentId, u32, Frame)>,
    /// Bytes that were read.
    pub(super) bytes: u64,
}

impl Fetcher {
    /// The bytes of a chunk by its row, and the row.
    ///
    /// # Errors
    /// `Corrupt` if row or bytes are damaged or missing; those of the backends.
    pub(super) async fn chunk(
        &mut self,
        context: &VerifyContext,
        secret: &ChunkSecret,
        id: &ChunkId,
    ) -> Result<(ChunkRow, Bytes)> {
        let key = context.catalog_keys.chunk(id);
        let mut before = None;
        loop {
            let Some(object) = context.catalog.get_all(&key).await? else {
                return Err(unreadable("it names a chunk that has no row").with_key(&key));
            };
            let chunk: ChunkRow = row::decode(&key, &object.value)?;
            match self.place(context, secret, id, chunk.level, chunk.place).await {
                Ok(bytes) => return Ok((chunk, bytes)),
                // A repack may have moved it between the two reads.
                Err(error) if error.kind() == ErrorKind::Corrupt && before != Some(chunk.place) => {
                    before = Some(chunk.place);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The bytes at a place, if they are this chunk's.
    pub(super) async fn place(
        &mut self,
        context: &VerifyContext,
        secret: &ChunkSecret,
        id: &ChunkId,
        level: u8,
        place: Place,
    ) -> Result<Bytes> {
        let cached = self.last.as_ref();
        let cached = cached.is_some_and(|(s, at, _)| (*s, *at) == (place.segment, place.frame_at));
        if !cached {
            let frame = self.read(context, place).await?;
            self.last = Some((place.segment, place.frame_at, frame));
        }
        let frame = self.last.as_ref().map(|(.., frame)| frame);
        let (at, bytes) = (place.at as usize, place.bytes as usize);
        let raw = frame.filter(|frame| frame.level == level).map(|frame| &frame.raw);
        let raw = raw.filter(|raw| raw.len() >= at + bytes);
        let Some(raw) = raw else {
            return Err(unreadable("a chunk's row points beside its frame"));
        };
        let bytes = raw.slice(at..at + bytes);
        if ChunkId::new(secret, &Digest::of(&bytes), level) != *id {
            return Err(unreadable("the bytes of a chunk are not those of its name"));
        }
        Ok(bytes)
    }

    async fn read(&mut self, context: &VerifyContext, place: Place) -> Result<Frame> {
        let (start, length) = (u64::from(place.frame_at), u64::from(place.frame_bytes));
        let key = context.data_keys.segment(place.segment);
        let object = context.data.get(&key, ByteRange::new(start, start + length)).await?;
        let Some(object) = object else {
            return Err(unreadable("the segment of a chunk is missing").with_key(&key));
        };
        self.bytes += object.value.len() as u64;
        let place = chunk_frame(context, place.segment, place.frame_at);
        frame::decode_whole(place, &object.value, frame::RAW_BYTES_MAX)
            .map_err(|e| e.with_key(&key))
    }
}

/// Where a frame of chunks belongs.
pub(super) fn chunk_frame(context: &VerifyContext, id: SegmentId, at: u32) -> FramePlace {
    FramePlace {
        kind: FrameKind::Chunks,
        volume: context.data_keys.volume_id(),
        owner: (id.epoch, id.counter),
        position: at,
    }
}
