//! The packer: one for each open writer. It owns the open segment, into which all stores append
//! their frames, and has segments written in the background.
//!
//! A store that has appended everything asks for a flush. While one flush is being written, the
//! next open segment collects the frames of all others, so that many small stores share one put.

pub(super) mod budget;
pub(super) mod buffer;
mod finish;
pub(super) mod pending;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::Shared;
use holdall_core::{Error, Operation, Result};

use self::budget::Budget;
use self::buffer::{Buffer, Buffers};
use self::pending::{Pending, Placed};
use super::block::{Body, EncodedFrame};
use super::cut::CHUNK_BYTES_MAX;
use super::segment_file::places;
use super::{DataContext, StagedSegment, compute};
use crate::format::chunk::ChunkId;
use crate::format::frame::{self, FrameKind, FramePlace};
use crate::format::policy::{Compression, Policy};
use crate::format::segment::{Directory, DirectoryEntry, DirectoryFrame, SegmentId};
use crate::placement::Copies;

/// Bytes of segments that may be in memory at once, open or being written; but always two.
const SEGMENT_MEMORY_BYTES: usize = 64 << 20;

/// How many blocks of long values may be worked on at once, by all stores: 8 MiB each.
const BLOCKS_MAX: usize = 10;

/// How many bytes of small values may be worked on at once.
const SMALL_BYTES_MAX: usize = 16 << 20;

/// What a packer takes from the volume's policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackSettings {
    /// When a segment is closed.
    pub segment_bytes: u32,
    /// How long garbage waits before it is deleted.
    pub grace: Duration,
}

impl From<&Policy> for PackSettings {
    fn from(policy: &Policy) -> Self {
        Self { segment_bytes: policy.segment_bytes, grace: policy.grace }
    }
}

/// Puts frames into segments and segments onto the data backend.
#[derive(Debug)]
pub(crate) struct Packer {
    context: DataContext,
    epoch: u64,
    /// When a segment is full.
    segment_bytes: usize,
    /// How long nothing may have named a chunk row for it to count.
    idle_max: Duration,
    writing_max: usize,
    state: Mutex<State>,
    segment_buffers: Arc<Buffers>,
    /// Buffers of the longest chunk's length.
    pub(super) chunk_buffers: Arc<Buffers>,
    /// Bounds the blocks of long values.
    pub(super) blocks: Budget,
    /// Bounds the bytes of small values.
    pub(super) small: Budget,
}

#[derive(Debug)]
struct State {
    counter: u64,
    open: Option<Open>,
    /// How many segments are being written.
    writing: usize,
    /// Whether one of these was closed before it was full.
    flushing: bool,
    pending: Pending,
    /// Segments that are closed, and whether before they were full; counted as being written.
    closed: Vec<(Open, bool)>,
    /// Those who wait for a segment to be written before they may open one.
    waiting: Vec<oneshot::Sender<()>>,
}

impl State {
    fn close(&mut self, open: Open, flush: bool) {
        self.writing += 1;
        self.flushing |= flush;
        self.closed.push((open, flush));
    }

    /// Closes the open segment if a store waits for it and no other flush is under way.
    fn close_wanted(&mut self) {
        if !self.flushing
            && let Some(open) = self.open.take_if(|open| open.wanted)
        {
            self.close(open, true);
        }
    }
}

#[derive(Debug)]
struct Open {
    segment: Segment,
    buffer: Buffer,
    directory: Directory,
    /// Whether a store waits for it.
    wanted: bool,
    outcome: oneshot::Sender<Result<Written>>,
}

/// A segment of this packer, and whether it is durable.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    id: SegmentId,
    outcome: Shared<oneshot::Receiver<Result<Written>>>,
}

impl Segment {
    /// Its name.
    pub(crate) fn id(&self) -> SegmentId {
        self.id
    }

    /// Waits until it is durable.
    async fn durable(self) -> Result<StagedSegment> {
        let outcome = self.outcome.await.unwrap_or_else(|_| {
            let message = "the volume was closed before a segment was written";
            Err(Error::closed(Operation::Put, message))
        });
        let (bytes, copies) = outcome?;
        Ok(StagedSegment { id: self.id, bytes, copies })
    }
}

/// A segment's length and its copies.
type Written = (u64, Copies);

/// What became of frames that were to be appended.
struct Appended {
    placed: Vec<(ChunkId, Placed)>,
    /// Frames for which there was no room yet, and what tells when there may be.
    rest: Option<(VecDeque<EncodedFrame>, oneshot::Receiver<()>)>,
}

impl Packer {
    /// A packer for the writer of this epoch, which must never have had one before.
    pub(crate) fn new(context: DataContext, epoch: u64, settings: PackSettings) -> Arc<Self> {
        // What the backend takes must hold the directory too.
        let value_bytes_max = context.data.profile().value_bytes_max;
        let backend_max = value_bytes_max - value_bytes_max / 16;
        let segment_bytes = backend_max.min(u64::from(settings.segment_bytes)) as usize;
        let writing_max = (SEGMENT_MEMORY_BYTES / segment_bytes.max(1)).clamp(2, 4);
        let state = State {
            counter: 0,
            open: None,
            writing: 0,
            flushing: false,
            closed: Vec::new(),
            pending: Pending::new(settings.grace / 2),
            waiting: Vec::new(),
        };
        Arc::new(Self {
            context,
            epoch,
            segment_bytes,
            idle_max: settings.grace / 2,
            writing_max,
            state: Mutex::new(state),
            // Room for the directory, so that it rarely makes a full segment's buffer move.
            segment_buffers: Buffers::new(segment_bytes + segment_bytes / 16, writing_max),
            chunk_buffers: Buffers::new(CHUNK_BYTES_MAX, 4),
            blocks: Budget::new(BLOCKS_MAX),
            small: Budget::new(SMALL_BYTES_MAX),
        })
    }

    /// What it was made with.
    pub(crate) fn context(&self) -> &DataContext {
        &self.context
    }

    /// How long nothing may have named a chunk row for it to count.
    pub(crate) fn idle_max(&self) -> Duration {
        self.idle_max
    }

    // Nothing that runs under the lock can panic, but for want of memory.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which of these chunks were stored lately.
    pub(crate) fn pending(&self, ids: &[ChunkId]) -> Vec<(ChunkId, Placed)> {
        let now = self.context.env.elapsed();
        let mut state = self.state();
        ids.iter().filter_map(|id| Some((*id, state.pending.get(id, now)?))).collect()
    }

    /// Forgets that chunks were stored in this segment lately: it was collected, so they must be
    /// stored again.
    pub(crate) fn forget(&self, segment: SegmentId) {
        self.state().pending.forget(segment);
    }

    /// Appends frames, in order, and then entries to the directory of the segment that took the
    /// last one. Returns where the chunks are, or where equal ones are that came first.
    pub(crate) async fn append(
        self: &Arc<Self>,
        frames: Vec<EncodedFrame>,
        entries: Vec<DirectoryEntry>,
    ) -> Result<Vec<(ChunkId, Placed)>> {
        let mut frames = VecDeque::from(frames);
        let mut entries = entries;
        let mut placed = Vec::new();
        loop {
            let bytes = frames.iter().map(EncodedFrame::frame_bytes).sum();
            let packer = Arc::clone(self);
            let (appended, left) = compute(&self.context.env, bytes, move || {
                let appended = packer.append_some(frames, &mut entries);
                (appended, entries)
            })
            .await?;
            placed.extend(appended.placed);
            let Some((rest, room)) = appended.rest else {
                return Ok(placed);
            };
            // If the sender has gone there is no use in waiting, but in trying.
            let _ = room.await;
            (frames, entries) = (rest, left);
        }
    }

    fn append_some(
        self: &Arc<Self>,
        mut frames: VecDeque<EncodedFrame>,
        entries: &mut Vec<DirectoryEntry>,
    ) -> Appended {
        let mut placed = Vec::new();
        while let Some(frame) = frames.pop_front() {
            // The lock is taken anew for each frame: others wait no longer than for one.
            let appended = self.append_one(&frame, &mut placed);
            self.write_closed();
            if let Err(room) = appended {
                frames.push_front(frame);
                return Appended { placed, rest: Some((frames, room)) };
            }
        }
        if !entries.is_empty()
            && let Some(open) = &mut self.state().open
        {
            open.directory.entries.append(entries);
        }
        Appended { placed, rest: None }
    }

    /// Appends one frame, unless all its chunks were stored lately; or says when to try again.
    fn append_one(
        &self,
        frame: &EncodedFrame,
        placed: &mut Vec<(ChunkId, Placed)>,
    ) -> Result<(), oneshot::Receiver<()>> {
        let now = self.context.env.elapsed();
        let mut state = self.state();
        if !frame.copy {
            let chunks = frame.chunks.iter();
            let known = chunks.filter_map(|(id, _)| Some((*id, state.pending.get(id, now)?)));
            let known: Vec<(ChunkId, Placed)> = known.collect();
            if known.len() == frame.chunks.len() {
                placed.extend(known);
                return Ok(());
            }
        }
        if !self.make_room(&mut state, frame.frame_bytes()) {
            let (sender, receiver) = oneshot::channel();
            state.waiting.push(sender);
            return Err(receiver);
        }
        let State { open: Some(open), pending, .. } = &mut *state else {
            return Ok(());
        };
        let new = self.push(open, frame);
        if !frame.copy {
            new.iter().for_each(|(id, placed)| pending.insert(*id, placed.clone(), now));
        }
        placed.extend(new);
        Ok(())
    }

    /// Makes sure that the open segment has room for so many bytes; false if that must wait.
    fn make_room(&self, state: &mut State, bytes: usize) -> bool {
        let full = state.open.as_ref().is_some_and(|open| {
            open.buffer.len() > 0 && open.buffer.len() + bytes > self.segment_bytes
        });
        if full && let Some(open) = state.open.take() {
            state.close(open, false);
        }
        if state.open.is_some() {
            return true;
        }
        if state.writing >= self.writing_max {
            return false;
        }
        state.counter += 1;
        let id = SegmentId { epoch: self.epoch, counter: state.counter };
        let (sender, receiver) = oneshot::channel();
        state.open = Some(Open {
            segment: Segment { id, outcome: receiver.shared() },
            buffer: self.segment_buffers.take(),
            directory: Directory::default(),
            wanted: false,
            outcome: sender,
        });
        true
    }

    /// Appends a frame to the open segment.
    fn push(&self, open: &mut Open, frame: &EncodedFrame) -> Vec<(ChunkId, Placed)> {
        let at = open.buffer.len();
        let segment = open.segment.id;
        let place = FramePlace {
            kind: FrameKind::Chunks,
            volume: self.context.data_keys.volume_id(),
            owner: (segment.epoch, segment.counter),
            position: at as u32,
        };
        match &frame.body {
            Body::Plain(raw) => {
                let lengths: Vec<u32> = frame.chunks.iter().map(|(_, bytes)| *bytes).collect();
                let out = open.buffer.appender();
                frame::encode(place, frame.level, &lengths, raw, Compression::None, out)
                    .expect("a frame of a few chunks is far below the limit");
            }
            Body::Frame(bytes) => {
                open.buffer.appender().extend_from_slice(bytes);
                frame::rebind(open.buffer.tail_mut(at), place);
            }
        }
        let bytes = (open.buffer.len() - at) as u32;
        let (at, level, chunks) = (at as u32, frame.level, frame.chunks.clone());
        let frame = DirectoryFrame { at, bytes, level, chunks };
        let placed = places(segment, &frame)
            .into_iter()
            .map(|(id, place)| (id, Placed { place, segment: open.segment.clone() }))
            .collect();
        open.directory.frames.push(frame);
        placed
    }

    /// Waits until all these segments are durable, having the open one written if it is one of
    /// them.
    ///
    /// # Errors
    /// Of the first that could not be written.
    pub(crate) async fn flush(
        self: &Arc<Self>,
        segments: Vec<Segment>,
    ) -> Result<Vec<StagedSegment>> {
        {
            let mut state = self.state();
            if let Some(open) = &mut state.open {
                open.wanted |= segments.iter().any(|segment| segment.id == open.segment.id);
            }
            state.close_wanted();
        }
        self.write_closed();
        futures::future::try_join_all(segments.into_iter().map(Segment::durable)).await
    }

    /// Has closed segments written in the background, so that no store's end can hold them up.
    /// Never under the lock: a runtime that is shutting down drops the task at once.
    fn write_closed(self: &Arc<Self>) {
        let closed = std::mem::take(&mut self.state().closed);
        for (Open { segment, buffer, directory, outcome, .. }, flush) in closed {
            let writing = Writing { packer: Arc::clone(self), id: segment.id, flush, done: false };
            self.context.env.spawn(async move {
                let result = writing.run(buffer, directory).await;
                // Nobody may be waiting any more.
                let _ = outcome.send(result);
            });
        }
    }
}

/// A segment that is being written. However that ends, the next may then follow.
struct Writing {
    packer: Arc<Packer>,
    id: SegmentId,
    flush: bool,
    done: bool,
}

impl Writing {
    async fn run(mut self, buffer: Buffer, directory: Directory) -> Result<Written> {
        let context = self.packer.context.clone();
        let (id, closed) = (self.id, context.env.now());
        // The directory takes about 40 bytes a chunk to encode, and small segments are copied.
        let work = directory.frames.len() * 40;
        let finishing = context.clone();
        let bytes = compute(&context.env, work, move || {
            finish::finish(&finishing, id, buffer, directory, closed)
        })
        .await??;
        let length = bytes.len() as u64;
        let copies = finish::put(&context, self.id, bytes).await?;
        self.done = true;
        Ok((length, copies))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut state = self.packer.state();
        state.writing -= 1;
        if self.flush {
            state.flushing = false;
        }
        if !self.done {
            state.pending.forget(self.id);
        }
        state.close_wanted();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.packer.write_closed();
        // Whoever has gone need not be told.
        for waiting in waiting {
            let _ = waiting.send(());
        }
    }
}
