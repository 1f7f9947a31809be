//! What becomes of the copies of a segment that was just written.

use std::sync::{Arc, Mutex, PoisonError};

use crate::format::segment::{Replica, ReplicaState};

/// Where copies are, by the numbers of their places, and whether each is durable.
type Noted = Mutex<Vec<(u16, bool)>>;

/// The copies of a segment, some of which may still be on their way. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Copies(Option<Arc<Noted>>);

impl Copies {
    /// Copies that are about to be written.
    pub(crate) fn under_way() -> Self {
        Self(Some(Arc::default()))
    }

    /// Notes that a copy is written to this place, or that it is there.
    pub(crate) fn note(&self, place: u16, durable: bool) {
        let Some(state) = &self.0 else { return };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.iter_mut().find(|(number, _)| *number == place) {
            Some((_, known)) => *known |= durable,
            None => state.push((place, durable)),
        }
    }

    /// Notes that this place has no copy.
    pub(crate) fn forget(&self, place: u16) {
        let Some(state) = &self.0 else { return };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.retain(|(number, _)| *number != place);
    }

    /// The copies as a segment's row has them: those that are not there yet count as damaged.
    pub(crate) fn replicas(&self) -> Vec<Replica> {
        let Some(state) = &self.0 else {
            return vec![Replica { backend: 0, state: ReplicaState::Healthy, verified: None }];
        };
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let replica = |(backend, durable): &(u16, bool)| Replica {
            backend: *backend,
            state: if *durable { ReplicaState::Healthy } else { ReplicaState::Damaged },
            verified: None,
        };
        state.iter().map(replica).collect()
    }
}

impl PartialEq for Copies {
    fn eq(&self, other: &Self) -> bool {
        self.replicas() == other.replicas()
    }
}

impl Eq for Copies {}
