//! Which keys wait for the back, in memory: the rows themselves lie in the front.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;
use holdall_core::{Error, Key, Operation, Result};

use super::settings::BehindSettings;

/// How much waits for the back.
#[derive(Clone, Debug, Default)]
pub struct Backlog {
    /// How many keys.
    pub rows: usize,
    /// How many bytes of keys and values.
    pub bytes: u64,
    /// Why the back did not take the last write that it was asked for, if it did not.
    pub failure: Option<Error>,
}

#[derive(Debug)]
pub(super) struct Queue {
    settings: BehindSettings,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    places: HashMap<Key, Place>,
    order: BTreeMap<u64, Key>,
    clock: u64,
    bytes: u64,
    /// Rows and bytes of writes that are on their way to the front.
    coming: (usize, u64),
    draining: bool,
    failure: Option<Error>,
    /// Why no write is taken any more.
    closed: Option<Error>,
    /// Who waits for room, for an empty queue, and for the end of the drain.
    for_room: Vec<oneshot::Sender<()>>,
    for_news: Vec<oneshot::Sender<()>>,
}

#[derive(Clone, Debug)]
struct Place {
    number: u64,
    /// Moves with each write of the key.
    stamp: u64,
    bytes: u64,
}

/// A key that is to be written to the back, and the write of it that was known then.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) key: Key,
    stamp: u64,
}

/// Room in the queue for one write on its way to the front.
#[derive(Debug)]
pub(super) struct Room {
    queue: Arc<Queue>,
    bytes: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.coming.0 -= 1;
        state.coming.1 -= self.bytes;
        wake(&mut state.for_room);
    }
}

fn wake(waiting: &mut Vec<oneshot::Sender<()>>) {
    // Whoever has gone needs no waking.
    for waiting in waiting.drain(..) {
        let _ = waiting.send(());
    }
}

impl State {
    fn ended(&mut self) {
        self.draining = false;
        wake(&mut self.for_news);
    }
}

impl Queue {
    pub(super) fn new(settings: BehindSettings) -> Self {
        Self { settings, state: Mutex::default() }
    }

    // Nothing panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room. One write has it always where nothing else waits.
    ///
    /// # Errors
    /// `Closed` after [`Queue::close`]; `Unavailable` if there is no room and the back refuses.
    pub(super) async fn room(self: &Arc<Self>, operation: Operation, bytes: u64) -> Result<Room> {
        loop {
            let receiver = {
                let mut state = self.state();
                if let Some(closed) = &state.closed {
                    return Err(closed.clone());
                }
                let rows = state.places.len() + state.coming.0;
                let all = state.bytes.saturating_add(state.coming.1).saturating_add(bytes);
                let fits = rows < self.settings.rows_max && all <= self.settings.bytes_max;
                if fits || rows == 0 {
                    state.coming.0 += 1;
                    state.coming.1 += bytes;
                    return Ok(Room { queue: Arc::clone(self), bytes });
                }
                if let Some(failure) = &state.failure {
                    let message = format!(
                        "{rows} writes wait for a backend that does not take them, and there is \
                         no room for more; look after that backend, and try again"
                    );
                    return Err(Error::unavailable(operation, message).with_source(failure.clone()));
                }
                let (sender, receiver) = oneshot::channel();
                state.for_room.push(sender);
                receiver
            };
            // An end without a word is looked into like a word.
            let _ = receiver.await;
        }
    }

    /// A write of this key lies in the front. True if a drain must be started.
    pub(super) fn add(&self, key: Key, bytes: u64) -> bool {
        let mut state = self.state();
        state.clock += 1;
        let stamp = state.clock;
        let number = state.places.get(&key).map_or(stamp, |place| place.number);
        if number == stamp {
            state.order.insert(number, key.clone());
        }
        let old = state.places.insert(key, Place { number, stamp, bytes });
        state.bytes = state.bytes + bytes - old.map_or(0, |old| old.bytes);
        !std::mem::replace(&mut state.draining, true)
    }

    /// A row was found in the front. True if nobody knew of it and a drain must be started.
    pub(super) fn found(&self, key: &Key, bytes: u64) -> bool {
        !self.state().places.contains_key(key) && self.add(key.clone(), bytes)
    }

    /// The keys that have waited longest; none ends the drain.
    pub(super) fn take(&self) -> Vec<Taken> {
        let mut state = self.state();
        let taken: Vec<Taken> = state
            .order
            .values()
            .take(self.settings.calls_max)
            .filter_map(|key| Some(Taken { key: key.clone(), stamp: state.places.get(key)?.stamp }))
            .collect();
        if taken.is_empty() || state.closed.is_some() {
            state.ended();
            return Vec::new();
        }
        taken
    }

    /// The drain ends, whatever still waits.
    pub(super) fn stop(&self) {
        self.state().ended();
    }

    /// The back has what was known of this key when it was taken.
    pub(super) fn done(&self, taken: &Taken) {
        let mut state = self.state();
        if state.places.get(&taken.key).is_some_and(|place| place.stamp == taken.stamp)
            && let Some(place) = state.places.remove(&taken.key)
        {
            state.order.remove(&place.number);
            state.bytes -= place.bytes;
        }
        state.failure = None;
        wake(&mut state.for_room);
        if state.places.is_empty() {
            wake(&mut state.for_news);
        }
    }

    /// The back did not take this key's write: others go first.
    pub(super) fn failed(&self, taken: &Taken, error: Error) {
        let mut state = self.state();
        state.clock += 1;
        let number = state.clock;
        if let Some(place) = state.places.get_mut(&taken.key) {
            let old = std::mem::replace(&mut place.number, number);
            state.order.remove(&old);
            state.order.insert(number, taken.key.clone());
        }
        state.failure = Some(error);
        wake(&mut state.for_room);
        wake(&mut state.for_news);
    }

    /// Takes no more writes.
    pub(super) fn close(&self, why: Error) {
        let mut state = self.state();
        state.closed.get_or_insert(why);
        wake(&mut state.for_room);
        wake(&mut state.for_news);
    }

    pub(super) fn backlog(&self) -> Backlog {
        let state = self.state();
        Backlog { rows: state.places.len(), bytes: state.bytes, failure: state.failure.clone() }
    }

    /// Waits until nothing waits for the back.
    ///
    /// # Errors
    /// What the back answers if it does not take a write, or why nothing is written any more.
    pub(super) async fn empty(&self) -> Result<()> {
        loop {
            let receiver = {
                let mut state = self.state();
                if state.places.is_empty() {
                    return Ok(());
                }
                let failure = state.failure.as_ref().or(state.closed.as_ref());
                if let Some(failure) = failure {
                    return Err(failure.clone());
                }
                let (sender, receiver) = oneshot::channel();
                state.for_news.push(sender);
                receiver
            };
            let _ = receiver.await;
        }
    }

    /// Waits until no drain runs.
    pub(super) async fn still(&self) {
        loop {
            let receiver = {
                let mut state = self.state();
                if !state.draining {
                    return;
                }
                let (sender, receiver) = oneshot::channel();
                state.for_news.push(sender);
                receiver
            };
            let _ = receiver.await;
        }
    }
}
