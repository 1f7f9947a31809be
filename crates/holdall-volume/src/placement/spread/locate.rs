//! Where segments lie, as rows of the catalog said a short while ago.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::format::segment::{Replica, SegmentId};

/// The most segments that are remembered: some 10 MiB.
const SEGMENTS_MAX: usize = 64 << 10;

/// The copies of segments. What is wrong here costs a second look, never a wrong answer: every
/// copy is checked where it is read.
#[derive(Debug, Default)]
pub(crate) struct Located(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    segments: HashMap<SegmentId, Vec<Replica>>,
    order: VecDeque<SegmentId>,
}

impl Located {
    pub(crate) fn get(&self, id: SegmentId) -> Option<Vec<Replica>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).segments.get(&id).cloned()
    }

    pub(crate) fn insert(&self, id: SegmentId, replicas: Vec<Replica>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.segments.insert(id, replicas).is_none() {
            state.order.push_back(id);
        }
        if state.order.len() > SEGMENTS_MAX
            && let Some(oldest) = state.order.pop_front()
        {
            state.segments.remove(&oldest);
        }
    }

    pub(crate) fn forget(&self, id: SegmentId) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Its place in the order stays: should it come again, it only goes a little sooner.
        state.segments.remove(&id);
    }
}
