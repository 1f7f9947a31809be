//! Every segment: footer, directory, every frame, every chunk by its name, and whether the
//! chunk rows point at what is there.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use holdall_core::{BackendExt, ByteRange, Error, Key, Result};

use super::fetch::{Fetcher, chunk_frame};
use super::{GoOn, Pages, Problem, Severity, Verifier, damage, damage_of, unreadable};
use crate::format::chunk::{ChunkId, ChunkRow, Digest, Place};
use crate::format::frame::{self, Frame, FrameKind, FramePlace, HEADER_BYTES, Header};
use crate::format::row;
use crate::format::segment::{
    Directory, DirectoryFrame, FOOTER_BYTES, SegmentId, SegmentRow, SegmentState, decode_footer,
};

const COPIES: &str = "run `holdall verify --repair`, which looks for other copies of its chunks";

/// How much of a segment is read at once.
const WINDOW_BYTES: u64 = 8 << 20;

/// Reads all segments.
pub(super) async fn verify(verifier: &mut Verifier<'_>) -> Result<GoOn> {
    let context = verifier.context;
    let mut pages = Pages::new(context.catalog_keys.class('s'));
    while let Some(rows) = pages.next(context.catalog.as_ref()).await? {
        for found in rows {
            let Some(id) = context.catalog_keys.segment_id(&found.key) else {
                continue;
            };
            // A row that does not decode was reported with the rows.
            let bytes = found.object.map(|object| object.value).unwrap_or_default();
            let Ok(segment) = row::decode::<SegmentRow>(&found.key, &bytes) else {
                continue;
            };
            if matches!(segment.state, SegmentState::Live | SegmentState::Dead { .. }) {
                verifier.found.insert(id, 0);
                Walk::new(verifier, id).run(&segment).await?;
            }
            if verifier.collector.progress() {
                return Ok(false);
            }
        }
    }
    orphans(verifier).await?;
    lost_chunks(verifier).await
}

/// Reads segments behind this one, until so many bytes were read; the last one, if there are more.
pub(super) async fn verify_some(
    verifier: &mut Verifier<'_>,
    after: Option<SegmentId>,
    bytes_max: u64,
) -> Result<Option<SegmentId>> {
    let context = verifier.context;
    let class = context.catalog_keys.class('s');
    let mut pages = match after {
        Some(id) => Pages::behind(class, &context.catalog_keys.segment(id)),
        None => Pages::new(class),
    };
    let (mut short, mut last) = (HashSet::new(), None);
    'pages: while let Some(rows) = pages.next(context.catalog.as_ref()).await? {
        for found in rows {
            if verifier.collector.counts().bytes_read >= bytes_max || verifier.collector.progress()
            {
                last = last.or(after);
                break 'pages;
            }
            let Some(id) = context.catalog_keys.segment_id(&found.key) else {
                continue;
            };
            last = Some(id);
            // A row that does not decode was reported with the rows.
            let bytes = found.object.map(|object| object.value).unwrap_or_default();
            let Ok(segment) = row::decode::<SegmentRow>(&found.key, &bytes) else {
                continue;
            };
            if matches!(segment.state, SegmentState::Live | SegmentState::Dead { .. }) {
                verifier.found.insert(id, 0);
                Walk::new(verifier, id).run(&segment).await?;
                if verifier.found.get(&id).is_none_or(|found| *found < segment.chunks) {
                    short.insert(id);
                }
            }
        }
        if pages.is_at_end() {
            last = None;
        }
    }
    look_for_chunks(verifier, &short).await?;
    if last.is_none() {
        orphans(verifier).await?;
    }
    Ok(last)
}

/// Reading one segment.
struct Walk<'v, 'a> {
    verifier: &'v mut Verifier<'a>,
    id: SegmentId,
    key: Key,
    /// The bytes read last, and where they begin.
    window: (u64, Bytes),
    /// Chunks whose rows are not yet looked at.
    chunks: Vec<(ChunkId, Place)>,
    /// Whether the segment was there at first, and then was not.
    is_gone: bool,
}

impl<'v, 'a> Walk<'v, 'a> {
    fn new(verifier: &'v mut Verifier<'a>, id: SegmentId) -> Self {
        let key = verifier.context.data_keys.segment(id);
        let window = (0, Bytes::new());
        Self { verifier, id, key, window, chunks: Vec::new(), is_gone: false }
    }

    /// Reports an error, but not of what could not be read because the segment is gone.
    fn error(&mut self, problem: Problem, message: impl Into<String>) {
        if !self.is_gone {
            self.verifier.collector.error(problem, &self.key, message, COPIES);
        }
    }

    async fn run(&mut self, segment: &SegmentRow) -> Result<()> {
        let from = segment.bytes.saturating_sub(FOOTER_BYTES as u64);
        let found = self.verifier.context.data.get(&self.key, ByteRange::from(from)).await;
        let footer = match damage_of(found)? {
            Ok(Some(footer)) => footer,
            Ok(None) => return self.missing().await,
            Err(message) => {
                self.error(Problem::DamagedSegment, message);
                return Ok(());
            }
        };
        if footer.size != segment.bytes {
            let message = format!(
                "the segment has {} bytes where its row says {}",
                footer.size, segment.bytes
            );
            self.error(Problem::DamagedSegment, message);
        }
        let size = footer.size;
        let directory = self.directory(&footer.value, size).await;
        let (end, directory) = match damage_of(directory)? {
            Ok((at, directory)) => (u64::from(at), Some(directory)),
            Err(message) => {
                self.error(Problem::DamagedSegment, message);
                (size.saturating_sub(FOOTER_BYTES as u64), None)
            }
        };
        self.frames(end, directory.as_ref()).await?;
        if self.is_gone {
            // Most likely it was collected meanwhile.
            self.is_gone = false;
            return self.missing().await;
        }
        self.look_up().await?;
        self.verifier.collector.counts().segments += 1;
        Ok(())
    }

    /// The segment is not there: unless its row has changed, that is an error.
    async fn missing(&mut self) -> Result<()> {
        let key = self.verifier.context.catalog_keys.segment(self.id);
        let object = self.verifier.context.catalog.get_all(&key).await?;
        let now = object.and_then(|object| row::decode::<SegmentRow>(&key, &object.value).ok());
        let gone = |state| matches!(state, SegmentState::Deleting | SegmentState::Deleted);
        if now.is_some_and(|now| !gone(now.state)) {
            self.error(Problem::MissingSegment, "the segment is missing");
        }
        Ok(())
    }

    async fn directory(&mut self, footer: &[u8], size: u64) -> Result<(u32, Directory)> {
        let footer = &footer[footer.len().saturating_sub(FOOTER_BYTES)..];
        let (at, bytes) = decode_footer(footer, size)?;
        let place = FramePlace {
            kind: FrameKind::Directory,
            ..chunk_frame(self.verifier.context, self.id, at)
        };
        let bytes = self.read(u64::from(at), u64::from(bytes)).await?;
        let frame = frame::decode_whole(place, &bytes, frame::RAW_BYTES_MAX)?;
        let directory = postcard::from_bytes(&frame.raw)
            .map_err(|e| unreadable("a segment's directory cannot be decoded").with_source(e))?;
        Ok((at, directory))
    }

    /// Bytes of the segment; fewer only at its end.
    async fn read(&mut self, at: u64, bytes: u64) -> Result<Bytes> {
        let (start, window) = &self.window;
        let end = start + window.len() as u64;
        if !(*start <= at && at + bytes <= end) {
            let range = ByteRange::new(at, at + bytes.max(WINDOW_BYTES));
            let object = self.verifier.context.data.get(&self.key, range).await?;
            self.is_gone |= object.is_none();
            let value = object.map(|object| object.value).unwrap_or_default();
            self.verifier.collector.counts().bytes_read += value.len() as u64;
            self.window = (at, value);
        }
        let (start, window) = &self.window;
        let from = ((at - start) as usize).min(window.len());
        Ok(window.slice(from..(from + bytes as usize).min(window.len())))
    }

    /// All frames up to the directory. Behind a damaged one, the directory says where to go on.
    async fn frames(&mut self, end: u64, directory: Option<&Directory>) -> Result<()> {
        let mut listed = directory.map(|directory| directory.frames.iter().peekable());
        let mut at = 0;
        while at < end && !self.is_gone {
            let next = listed.as_mut().and_then(|listed| {
                while listed.next_if(|frame| u64::from(frame.at) < at).is_some() {}
                listed.peek().copied()
            });
            let frame = self.frame(at, end).await;
            match damage_of(frame)? {
                Ok((bytes, _)) if directory.is_none() && bytes == 0 => break,
                Ok((bytes, frame)) => {
                    self.chunks_of(at, bytes, &frame, directory.map(|_| next)).await?;
                    at += bytes;
                }
                Err(message) => {
                    self.error(Problem::DamagedSegment, format!("{message}, at byte {at}"));
                    let later = listed
                        .as_mut()
                        .and_then(|listed| listed.find(|frame| u64::from(frame.at) > at));
                    let Some(later) = later else { break };
                    at = u64::from(later.at);
                    // Look at it again at the head of the loop.
                    listed = directory.map(|directory| directory.frames.iter().peekable());
                }
            }
        }
        Ok(())
    }

    /// The frame at a position, and its length; length 0 is the directory's frame.
    async fn frame(&mut self, at: u64, end: u64) -> Result<(u64, Frame)> {
        let header = Header::parse(&self.read(at, HEADER_BYTES as u64).await?)?;
        let bytes = header.frame_bytes() as u64;
        if at + bytes > end {
            return Err(unreadable("a frame is longer than its segment"));
        }
        let place = chunk_frame(self.verifier.context, self.id, at as u32);
        let directory = FramePlace { kind: FrameKind::Directory, ..place };
        let data = self.read(at, bytes).await?;
        if header.place == directory {
            return Ok((0, frame::decode(directory, &data)?));
        }
        Ok((bytes, frame::decode(place, &data)?))
    }

    /// Names the chunks of a frame and compares them with the directory; `listed` is its frame
    /// there, where there is a directory.
    async fn chunks_of(
        &mut self,
        at: u64,
        bytes: u64,
        frame: &Frame,
        listed: Option<Option<&DirectoryFrame>>,
    ) -> Result<()> {
        self.verifier.collector.counts().frames += 1;
        let (secret, level) = (self.verifier.volume.secret, frame.level);
        let (raw, lengths) = (frame.raw.clone(), frame.chunks.clone());
        let naming = self.verifier.context.env.blocking(move || {
            let mut from = 0;
            let name = |bytes: u32| {
                let chunk = &raw[from..from + bytes as usize];
                from += bytes as usize;
                (ChunkId::new(&secret, &Digest::of(chunk), level), bytes)
            };
            lengths.into_iter().map(name).collect::<Vec<_>>()
        });
        let chunks = naming.await?;
        if let Some(listed) = listed {
            let same = listed.is_some_and(|listed| {
                let place = (u64::from(listed.at), u64::from(listed.bytes), listed.level);
                place == (at, bytes, level) && listed.chunks == chunks
            });
            if !same {
                let message = format!("the directory does not fit to the frame at byte {at}");
                self.error(Problem::DamagedSegment, message);
            }
        }
        let mut from = 0;
        for (id, length) in chunks {
            self.chunks.push((id, place_of(self.id, (at, bytes), from, length, frame.raw.len())));
            from += length;
        }
        if self.chunks.len() >= super::PAGE_ROWS { self.look_up().await } else { Ok(()) }
    }

    /// Looks whether the chunks' rows point here.
    async fn look_up(&mut self) -> Result<()> {
        let chunks = std::mem::take(&mut self.chunks);
        for some in chunks.chunks(super::PAGE_ROWS * 4) {
            let keys = &self.verifier.context.catalog_keys;
            let keys: Vec<Key> = some.iter().map(|(id, _)| keys.chunk(id)).collect();
            let rows = self.verifier.context.catalog.get_many(&keys).await?;
            for (((_, place), key), object) in some.iter().zip(&keys).zip(rows) {
                let found = object.and_then(|o| row::decode::<ChunkRow>(key, &o.value).ok());
                if found
                    .is_some_and(|found| Place { stored: place.stored, ..found.place } == *place)
                {
                    *self.verifier.found.entry(self.id).or_default() += 1;
                } else {
                    self.verifier.collector.counts().garbage_bytes += u64::from(place.stored);
                }
            }
        }
        Ok(())
    }
}

/// The place of a chunk in a frame, with its share of the frame's stored bytes.
pub(super) fn place_of(
    segment: SegmentId,
    (at, frame_bytes): (u64, u64),
    from: u32,
    bytes: u32,
    raw_bytes: usize,
) -> Place {
    Place {
        segment,
        frame_at: at as u32,
        frame_bytes: frame_bytes as u32,
        at: from,
        bytes,
        stored: (frame_bytes * u64::from(bytes) / (raw_bytes as u64).max(1)) as u32,
    }
}

/// Reads the directory of a segment.
pub(super) async fn read_directory(
    verifier: &mut Verifier<'_>,
    id: SegmentId,
) -> Result<Directory> {
    let mut walk = Walk::new(verifier, id);
    let size = walk.verifier.context.data.get(&walk.key, ByteRange::new(0, 0)).await?;
    let size = size.map_or(0, |object| object.size);
    let from = size.saturating_sub(FOOTER_BYTES as u64);
    let footer = walk.read(from, FOOTER_BYTES as u64).await?;
    walk.directory(&footer, size).await.map(|(_, directory)| directory)
}

/// Segments on the data backend that have no row.
async fn orphans(verifier: &mut Verifier<'_>) -> Result<()> {
    let context = verifier.context;
    let mut pages = Pages::keys(context.data_keys.segments());
    while let Some(objects) = pages.next(context.data.as_ref()).await? {
        let ids = objects
            .iter()
            .filter_map(|object| Some((object, context.data_keys.segment_id(&object.key)?)));
        let (objects, keys): (Vec<_>, Vec<Key>) =
            ids.map(|(object, id)| (object, context.catalog_keys.segment(id))).unzip();
        let rows = context.catalog.get_many(&keys).await?;
        for (object, _) in objects.iter().zip(rows).filter(|(_, row)| row.is_none()) {
            let message = "no commit names the segment: its writer is about to, or was interrupted";
            let advice = "nothing; `holdall gc` deletes it once its writer has ended";
            let (problem, severity) = (Problem::Orphan, Severity::Notice);
            verifier.collector.find(problem, severity, &object.key, message, advice);
        }
    }
    Ok(())
}

/// Finds the chunk rows whose bytes were not come upon while reading the segments.
async fn lost_chunks(verifier: &mut Verifier<'_>) -> Result<GoOn> {
    let context = verifier.context;
    let mut counted: HashMap<SegmentId, u64> = HashMap::new();
    let mut pages = Pages::new(context.catalog_keys.class('c'));
    while let Some(rows) = pages.next(context.catalog.as_ref()).await? {
        for (_, chunk) in rows.iter().filter_map(chunk_of) {
            *counted.entry(chunk.place.segment).or_default() += 1;
        }
    }
    let found = &verifier.found;
    let short = counted.into_iter().filter(|(id, rows)| found.get(id).is_none_or(|f| f < rows));
    let short: HashSet<SegmentId> = short.map(|(id, _)| id).collect();
    look_for_chunks(verifier, &short).await
}

/// Fetches every chunk that lies in one of these segments.
async fn look_for_chunks(verifier: &mut Verifier<'_>, short: &HashSet<SegmentId>) -> Result<GoOn> {
    if short.is_empty() {
        return Ok(true);
    }
    let context = verifier.context;
    let mut fetcher = Fetcher::default();
    let mut pages = Pages::new(context.catalog_keys.class('c'));
    while let Some(rows) = pages.next(context.catalog.as_ref()).await? {
        for (key, chunk) in rows.iter().filter_map(chunk_of) {
            let Some(id) = context.catalog_keys.chunk_id(key) else {
                continue;
            };
            if !short.contains(&chunk.place.segment) {
                continue;
            }
            let fetched = fetcher.chunk(context, &verifier.volume.secret, &id).await;
            if let Err(error) = fetched {
                lost(verifier, key, id, error).await?;
            }
        }
        if verifier.collector.progress() {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn lost(verifier: &mut Verifier<'_>, key: &Key, id: ChunkId, error: Error) -> Result<()> {
    let message = damage(error)?;
    // A chunk that is no longer named may have gone meanwhile.
    if verifier.context.catalog.get_all(key).await?.is_some() {
        verifier.collector.error(Problem::LostChunk, key, message, COPIES);
        verifier.note_damaged(id);
    }
    Ok(())
}

/// A chunk's key and row, if it is whole.
pub(super) fn chunk_of(found: &holdall_core::Row) -> Option<(&Key, ChunkRow)> {
    let object = found.object.as_ref()?;
    Some((&found.key, row::decode(&found.key, &object.value).ok()?))
}
