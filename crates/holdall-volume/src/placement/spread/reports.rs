//! What reads and late writes have found out about copies, until it is written into their rows.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::format::segment::{ReplicaState, SegmentId};

/// The most reports that wait. What finds no room is found again by a scrub.
const REPORTS_MAX: usize = 4096;

/// A copy: of which segment, in which place.
pub(crate) type CopyId = (SegmentId, u16);

/// Reports that wait, the last for each copy.
#[derive(Debug, Default)]
pub(crate) struct Reports(Mutex<BTreeMap<CopyId, ReplicaState>>);

impl Reports {
    pub(crate) fn add(&self, copy: CopyId, state: ReplicaState) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < REPORTS_MAX || waiting.contains_key(&copy) {
            waiting.insert(copy, state);
        }
    }

    /// Takes them all.
    pub(crate) fn take(&self) -> Vec<(CopyId, ReplicaState)> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting).into_iter().collect()
    }
}
