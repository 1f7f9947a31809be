//! Chunks that this writer stored a short while ago and that may not be committed yet: another put
//! may name them instead of storing them again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::Segment;
use crate::format::chunk::{ChunkId, Place};
use crate::format::segment::SegmentId;

/// The most chunks that are remembered: about 16 MiB.
const CHUNKS_MAX: usize = 64 << 10;

/// Where a new chunk lies, and the segment that must become durable before it may be named.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub place: Place,
    pub segment: Segment,
}

/// The chunks stored lately. A chunk is forgotten after `age_max`: by then it may have been
/// committed, deleted and collected, and must not be named by its old place.
#[derive(Debug)]
pub(crate) struct Pending {
    chunks: HashMap<ChunkId, Placed>,
    order: VecDeque<(Duration, ChunkId, SegmentId)>,
    age_max: Duration,
}

impl Pending {
    pub(crate) fn new(age_max: Duration) -> Self {
        Self { chunks: HashMap::new(), order: VecDeque::new(), age_max }
    }

    /// Where a chunk lies, if it was stored lately.
    pub(crate) fn get(&mut self, id: &ChunkId, now: Duration) -> Option<Placed> {
        self.expire(now);
        self.chunks.get(id).cloned()
    }

    pub(crate) fn insert(&mut self, id: ChunkId, placed: Placed, now: Duration) {
        self.expire(now);
        self.order.push_back((now, id, placed.place.segment));
        self.chunks.insert(id, placed);
    }

    /// Forgets the chunks of a segment that could not be written.
    pub(crate) fn forget(&mut self, segment: SegmentId) {
        self.chunks.retain(|_, placed| placed.place.segment != segment);
    }

    fn expire(&mut self, now: Duration) {
        while let Some((stored, id, segment)) = self.order.front() {
            if now.saturating_sub(*stored) <= self.age_max && self.order.len() < CHUNKS_MAX {
                break;
            }
            if self.chunks.get(id).is_some_and(|placed| placed.place.segment == *segment) {
                self.chunks.remove(id);
            }
            self.order.pop_front();
        }
    }
}
