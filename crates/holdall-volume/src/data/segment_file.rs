//! Reading a segment as what it is: a file of frames with a directory, also where it is damaged.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::{Stream, stream};
use holdall_core::{ByteRange, Error, ErrorKind, Key, Operation, Result};

use super::{DataContext, compute};
use crate::format::chunk::{ChunkId, Digest, Place};
use crate::format::frame::{self, FrameKind, FramePlace, HEADER_BYTES, Header, RAW_BYTES_MAX};
use crate::format::segment::{Directory, DirectoryFrame, FOOTER_BYTES, SegmentId, decode_footer};

/// How many bytes of a segment are read at once.
const READ_BYTES: u64 = 4 << 20;

/// How many of a segment's last bytes are read in the hope that its directory is among them.
const TAIL_BYTES: u64 = 64 << 10;

const MAGIC: &[u8] = b"HFRM";

/// The chunks of a frame, checked, and named anew from their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FrameChunks {
    /// 0 for bytes of entries, more for lists.
    pub level: u8,
    /// The chunks with their names, in order.
    pub chunks: Vec<(ChunkId, Bytes)>,
}

/// One frame of a segment, or a stretch of it in which none can be read.
#[derive(Clone, Debug)]
pub(crate) struct FrameFound {
    /// Where it begins.
    pub at: u32,
    /// How long it is.
    pub bytes: u32,
    /// What it holds, or why it cannot be read.
    pub found: Result<FrameChunks>,
}

impl FrameFound {
    /// What a directory says of this frame; nothing if it cannot be read.
    pub(crate) fn listed(&self) -> Option<DirectoryFrame> {
        let found = self.found.as_ref().ok()?;
        let chunks = found.chunks.iter().map(|(id, bytes)| (*id, bytes.len() as u32)).collect();
        Some(DirectoryFrame { at: self.at, bytes: self.bytes, level: found.level, chunks })
    }
}

/// The places of a frame's chunks. Each gets its share of the frame's stored bytes, rounded down.
pub(crate) fn places(segment: SegmentId, frame: &DirectoryFrame) -> Vec<(ChunkId, Place)> {
    let raw_bytes: u64 = frame.chunks.iter().map(|(_, bytes)| u64::from(*bytes)).sum();
    let mut at = 0;
    let place = |(id, bytes): &(ChunkId, u32)| {
        let stored = u64::from(frame.bytes) * u64::from(*bytes) / raw_bytes.max(1);
        let (frame_at, frame_bytes, stored) = (frame.at, frame.bytes, stored as u32);
        let place = Place { segment, frame_at, frame_bytes, at, bytes: *bytes, stored };
        at = at.saturating_add(*bytes);
        (*id, place)
    };
    frame.chunks.iter().map(place).collect()
}

/// Reads a segment's directory. Its size is looked up if it is not given.
///
/// # Errors
/// `Corrupt` if the segment is missing, or its footer or directory is damaged: its frames may
/// still be whole, see [`frames`].
pub(crate) async fn read_directory(
    context: &DataContext,
    id: SegmentId,
    size: Option<u64>,
) -> Result<Directory> {
    let mut file = SegmentFile::new(context, id);
    loop {
        let error = match file.directory(size).await {
            Ok(directory) => return Ok(directory),
            Err(error) => error,
        };
        if !file.step_past(&error) {
            return Err(error);
        }
    }
}

/// All frames of a segment that hold chunks, in order; one frame and a few MiB are in memory. With
/// the directory each frame is looked for where that says. Without, frame follows on frame, and
/// behind a damaged one the next is searched for.
///
/// # Errors
/// `Corrupt` if the segment is missing, and the backend's errors; these end the stream. A damaged
/// frame is no error of the stream.
pub(crate) fn frames(
    context: &DataContext,
    id: SegmentId,
    directory: Option<&Directory>,
) -> impl Stream<Item = Result<FrameFound>> + Send + 'static {
    let listed = directory.map(|directory| {
        directory.frames.iter().map(|frame| (frame.at, frame.bytes)).collect::<VecDeque<_>>()
    });
    let file = SegmentFile::new(context, id);
    stream::try_unfold((file, listed, 0), |(mut file, mut listed, at)| async move {
        let found = match &mut listed {
            Some(listed) => match listed.pop_front() {
                Some((at, bytes)) => Some(file.listed(at, bytes).await?),
                None => None,
            },
            None => file.following(at).await?,
        };
        Ok(found.map(|found| {
            let next = found.at.saturating_add(found.bytes);
            (found, (file, listed, next))
        }))
    })
}

/// A segment, and the part of it that was read last.
struct SegmentFile {
    context: DataContext,
    id: SegmentId,
    key: Key,
    size: Option<u64>,
    window_at: u64,
    window: Bytes,
    /// Where the window was read from, and which copies are damaged.
    from: Option<u16>,
    damaged: Vec<u16>,
}

impl SegmentFile {
    fn new(context: &DataContext, id: SegmentId) -> Self {
        let key = context.data_keys.segment(id);
        let context = context.clone();
        let (window, from, damaged) = (Bytes::new(), None, Vec::new());
        Self { context, id, key, size: None, window_at: 0, window, from, damaged }
    }

    async fn size(&mut self) -> Result<u64> {
        if self.size.is_none() {
            self.get(0, 1).await?;
        }
        Ok(self.size.unwrap_or(0))
    }

    /// The directory, of the copy that is read now.
    async fn directory(&mut self, size: Option<u64>) -> Result<Directory> {
        let size = match size {
            Some(size) => size,
            None => self.size().await?,
        };
        let tail_at = size.saturating_sub(TAIL_BYTES);
        let tail = self.read(tail_at, size - tail_at).await?;
        let footer_at = tail.len().saturating_sub(FOOTER_BYTES);
        let footer = decode_footer(&tail[footer_at..], tail_at + tail.len() as u64);
        let (at, bytes) = footer.map_err(|e| e.with_key(&self.key))?;
        let frame = self.read(u64::from(at), u64::from(bytes)).await?;
        let raw = self.decode(FrameKind::Directory, at, &frame)?.raw;
        postcard::from_bytes(&raw).map_err(|e| {
            let message = "a segment's directory cannot be decoded; run `holdall verify`";
            Error::corrupt(Operation::Decode, message).with_key(&self.key).with_source(e)
        })
    }

    /// Goes over to another copy, if there is one that was not read yet.
    fn step_past(&mut self, error: &Error) -> bool {
        let from = self.from.take();
        if !self.context.steps_past(self.id, error, from) {
            return false;
        }
        self.damaged.extend(from);
        (self.size, self.window_at, self.window) = (None, 0, Bytes::new());
        true
    }

    async fn get(&mut self, at: u64, bytes: u64) -> Result<Bytes> {
        let range = ByteRange::new(at, at.saturating_add(bytes));
        let read = self.context.read_segment(self.id, range, &self.damaged).await?;
        self.from = read.1;
        let Some(found) = read.0 else {
            let message = "a segment is missing; run `holdall verify`";
            return Err(Error::corrupt(Operation::Get, message).with_key(&self.key));
        };
        self.size = Some(found.size);
        Ok(found.value)
    }

    /// These bytes, or as many of them as there are.
    async fn read(&mut self, at: u64, bytes: u64) -> Result<Bytes> {
        let held = self.window_at..self.window_at + self.window.len() as u64;
        let end = at.saturating_add(bytes);
        let whole = self.size.is_some_and(|size| size <= held.end);
        if !held.contains(&at) || (end > held.end && !whole) {
            self.window = self.get(at, bytes.max(READ_BYTES)).await?;
            self.window_at = at;
        }
        let start = ((at - self.window_at) as usize).min(self.window.len());
        let end = start.saturating_add(bytes as usize).min(self.window.len());
        Ok(self.window.slice(start..end))
    }

    fn place(&self, kind: FrameKind, position: u32) -> FramePlace {
        let owner = (self.id.epoch, self.id.counter);
        FramePlace { kind, volume: self.context.data_keys.volume_id(), owner, position }
    }

    fn decode(&self, kind: FrameKind, at: u32, frame: &Bytes) -> Result<frame::Frame> {
        frame::decode(self.place(kind, at), frame).map_err(|e| {
            let message = format!("{} at {at} of its segment; run `holdall verify`", e.message());
            Error::new(e.kind(), Operation::Decode, message).with_key(&self.key)
        })
    }

    /// The frame that should be here.
    async fn listed(&mut self, at: u32, bytes: u32) -> Result<FrameFound> {
        let mut first = None;
        loop {
            let frame = match self.read(u64::from(at), u64::from(bytes)).await {
                Ok(frame) => frame,
                // There is no other copy.
                Err(e) if first.is_some() && e.kind() == ErrorKind::Corrupt => Bytes::new(),
                Err(error) => return Err(error),
            };
            let error = match self.decode(FrameKind::Chunks, at, &frame) {
                Ok(frame) => {
                    let found = Ok(self.name(frame).await?);
                    return Ok(FrameFound { at, bytes, found });
                }
                Err(error) => error,
            };
            if !self.step_past(&error) {
                // The frames behind may be whole in copies that have damage here.
                self.damaged.clear();
                return Ok(FrameFound { at, bytes, found: Err(first.unwrap_or(error)) });
            }
            first.get_or_insert(error);
        }
    }

    async fn name(&self, frame: frame::Frame) -> Result<FrameChunks> {
        let secret = self.context.secret;
        compute(&self.context.env, frame.raw.len(), move || {
            let mut raw = frame.raw;
            let level = frame.level;
            let chunks = frame.chunks.into_iter().map(|bytes| {
                let chunk = raw.split_to(bytes as usize);
                (ChunkId::new(&secret, &Digest::of(&chunk), level), chunk)
            });
            FrameChunks { level, chunks: chunks.collect() }
        })
        .await
    }

    /// The frame that begins here, or the stretch up to the next that can be found.
    async fn following(&mut self, at: u32) -> Result<Option<FrameFound>> {
        let start = u64::from(at);
        let size = self.size().await?;
        if start + FOOTER_BYTES as u64 >= size {
            return Ok(None);
        }
        let header = self.read(start, HEADER_BYTES as u64).await?;
        if let Some((kind, bytes)) = self.header(start, &header, size) {
            if kind == FrameKind::Directory {
                return Ok(None);
            }
            let found = self.listed(at, bytes).await?;
            if found.found.is_ok() {
                return Ok(Some(found));
            }
        }
        let next = self.search(start + 1, size).await?;
        let bytes = (next - start) as u32;
        let message =
            format!("{bytes} bytes at {at} of a segment are damaged; run `holdall verify`");
        let error = Error::corrupt(Operation::Decode, message).with_key(&self.key);
        Ok(Some(FrameFound { at, bytes, found: Err(error) }))
    }

    /// Kind and length of the frame whose header this is, if it can belong here.
    fn header(&self, at: u64, bytes: &[u8], size: u64) -> Option<(FrameKind, u32)> {
        let header = Header::parse(bytes).ok()?;
        let length = header.frame_bytes() as u64;
        let kind = header.place.kind;
        let here = header.place == self.place(kind, u32::try_from(at).ok()?);
        let known = matches!(kind, FrameKind::Chunks | FrameKind::Directory);
        let fits = at + length <= size && length <= 2 * RAW_BYTES_MAX as u64;
        (here && known && fits).then_some((kind, length as u32))
    }

    /// Where the next header lies, from here on; the segment's end if there is none.
    async fn search(&mut self, from: u64, size: u64) -> Result<u64> {
        let mut at = from;
        while at + (HEADER_BYTES as u64) < size {
            let bytes = self.read(at, READ_BYTES).await?;
            let starts = bytes.windows(MAGIC.len()).enumerate();
            for (start, _) in starts.filter(|(_, window)| *window == MAGIC) {
                let position = at + start as u64;
                let header = self.read(position, HEADER_BYTES as u64).await?;
                if self.header(position, &header, size).is_some() {
                    return Ok(position);
                }
            }
            at += (bytes.len() as u64).saturating_sub(MAGIC.len() as u64 - 1).max(1);
        }
        Ok(size)
    }
}
