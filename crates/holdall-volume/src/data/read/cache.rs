//! A small cache of decoded frames that hold several chunks, so that reading small values that
//! were packed together decodes their frame once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::format::segment::SegmentId;

/// A frame: its segment, and where it begins in it.
pub(crate) type FrameKey = (SegmentId, u32);

/// Decoded frames, those used last.
#[derive(Debug)]
pub(crate) struct FrameCache {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    frames: HashMap<FrameKey, (Bytes, u64)>,
    /// By when they were used.
    order: BTreeMap<u64, FrameKey>,
    bytes: usize,
    clock: u64,
}

impl FrameCache {
    /// A cache of at most so many decoded bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, state: Mutex::default() }
    }

    /// The decoded bytes of a frame.
    pub(crate) fn get(&self, key: FrameKey) -> Option<Bytes> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { frames, order, clock, .. } = &mut *state;
        let (bytes, used) = frames.get_mut(&key)?;
        order.remove(used);
        *clock += 1;
        *used = *clock;
        order.insert(*clock, key);
        Some(bytes.clone())
    }

    /// Keeps a frame, at the cost of those that were not used for the longest time.
    pub(crate) fn insert(&self, key: FrameKey, bytes: Bytes) {
        if bytes.len() > self.bytes_max {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.remove(key);
        state.clock += 1;
        let now = state.clock;
        state.bytes += bytes.len();
        state.frames.insert(key, (bytes, now));
        state.order.insert(now, key);
        while state.bytes > self.bytes_max
            && let Some((_, oldest)) = state.order.pop_first()
        {
            state.remove(oldest);
        }
    }
}

impl State {
    fn remove(&mut self, key: FrameKey) {
        if let Some((bytes, used)) = self.frames.remove(&key) {
            self.order.remove(&used);
            self.bytes -= bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first() {
        let cache = FrameCache::new(30);
        let key = |n: u32| (SegmentId { epoch: 1, counter: 1 }, n);
        for n in 0..3 {
            cache.insert(key(n), Bytes::from(vec![n as u8; 10]));
        }
        assert!(cache.get(key(0)).is_some());
        cache.insert(key(3), Bytes::from(vec![3; 10]));
        cache.insert(key(3), Bytes::from(vec![4; 10]));
        assert!(cache.get(key(1)).is_none());
        assert!(cache.get(key(0)).is_some() && cache.get(key(2)).is_some());
        assert_eq!(cache.get(key(3)).unwrap(), vec![4; 10]);
        cache.insert(key(9), Bytes::from(vec![0; 31]));
        assert!(cache.get(key(9)).is_none());
        assert_eq!(cache.state.lock().unwrap().bytes, 30);
    }
}
