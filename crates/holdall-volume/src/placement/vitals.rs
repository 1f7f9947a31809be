//! How a place does, as its calls show: whether it answers, how fast, and whether it has room.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdall_core::{ErrorKind, Result};

/// When a place counts as healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceHealth {
    /// For how long a place that has failed is left alone before it is tried again.
    pub interval: Duration,
    /// How long a call may take, and a second more for each MiB it writes.
    pub timeout: Duration,
    /// How many calls in a row must fail.
    pub failures: u32,
}

impl Default for PlaceHealth {
    fn default() -> Self {
        let (interval, timeout) = (Duration::from_secs(10), Duration::from_secs(30));
        Self { interval, timeout, failures: 3 }
    }
}

impl PlaceHealth {
    /// How long a call that writes so many bytes may take.
    pub(crate) fn deadline(&self, bytes: u64) -> Duration {
        self.timeout + Duration::from_secs(bytes >> 20)
    }
}

/// What is known of a place.
#[derive(Debug, Default)]
pub(crate) struct Vitals(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// When a place that has failed may be tried again, on the clock that never goes back.
    retry_at: Duration,
    /// Until when it counts as full.
    full_until: Duration,
    /// How long reads take, smoothed.
    latency: Option<Duration>,
    /// Bytes of copies that are being written.
    writing: u64,
}

impl Vitals {
    // Nothing below can panic while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is worth asking.
    pub(crate) fn is_up(&self, health: &PlaceHealth, now: Duration) -> bool {
        let state = self.state();
        state.failures < health.failures || now >= state.retry_at
    }

    /// Whether it has not said lately that it is full.
    pub(crate) fn has_room(&self, now: Duration) -> bool {
        now >= self.state().full_until
    }

    /// How long its reads take; nothing before the first.
    pub(crate) fn latency(&self) -> Option<Duration> {
        self.state().latency
    }

    /// Bytes of copies that are being written.
    pub(crate) fn writing(&self) -> u64 {
        self.state().writing
    }

    pub(crate) fn begin_write(&self, bytes: u64) {
        self.state().writing += bytes;
    }

    pub(crate) fn end_write(&self, bytes: u64) {
        let mut state = self.state();
        state.writing = state.writing.saturating_sub(bytes);
    }

    /// Notes how a call went.
    pub(crate) fn note<T>(&self, health: &PlaceHealth, now: Duration, result: &Result<T>) {
        let kind = result.as_ref().err().map(holdall_core::Error::kind);
        let mut state = self.state();
        match kind {
            Some(ErrorKind::Full) => state.full_until = now + health.interval,
            Some(
                ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Denied | ErrorKind::Closed,
            ) => {
                state.failures = state.failures.saturating_add(1);
                state.retry_at = now + health.interval;
            }
            // Whatever else it says, it answers.
            _ => state.failures = 0,
        }
    }

    /// Notes how long a read took.
    pub(crate) fn note_latency(&self, took: Duration) {
        let mut state = self.state();
        state.latency = Some(state.latency.map_or(took, |before| before * 7 / 8 + took / 8));
    }
}

#[cfg(test)]
mod tests {
    use holdall_core::{Error, Operation};

    use super::*;

    #[test]
    fn a_place_is_left_alone_after_some_failures_and_tried_again_later() {
        let (health, vitals) = (PlaceHealth::default(), Vitals::default());
        let at = Duration::from_secs;
        let failed: Result<()> = Err(Error::unavailable(Operation::Get, "gone"));
        for _ in 0..2 {
            vitals.note(&health, at(1), &failed);
            assert!(vitals.is_up(&health, at(1)));
        }
        vitals.note(&health, at(1), &failed);
        assert!(!vitals.is_up(&health, at(10)));
        assert!(vitals.is_up(&health, at(11)));
        vitals.note(&health, at(11), &failed);
        assert!(!vitals.is_up(&health, at(12)));
        vitals.note(&health, at(21), &Ok(()));
        assert!(vitals.is_up(&health, at(21)));
    }

    #[test]
    fn a_full_place_is_up_and_has_no_room_for_a_while() {
        let (health, vitals) = (PlaceHealth::default(), Vitals::default());
        let full: Result<()> = Err(Error::full(Operation::Put, "full"));
        vitals.note(&health, Duration::from_secs(1), &full);
        assert!(vitals.is_up(&health, Duration::from_secs(1)));
        assert!(!vitals.has_room(Duration::from_secs(10)));
        assert!(vitals.has_room(Duration::from_secs(11)));
    }
}
