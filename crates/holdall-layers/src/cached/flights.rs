//! One read of the back for all who miss the same key at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, FutureExt, Shared, WeakShared};
use holdall_core::{Key, Result};

use super::held::Held;

/// What a read of the back answers.
pub(super) type Answer = Result<Option<Held>>;

type Flight = Shared<BoxFuture<'static, Answer>>;

/// The reads that are under way. Each goes on for as long as one of its readers waits.
#[derive(Debug, Default)]
pub(super) struct Flights {
    under_way: Mutex<UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    number: u64,
    flights: HashMap<Key, Place>,
}

#[derive(Debug)]
struct Place {
    number: u64,
    /// The version of the key's stripe when it began.
    version: u64,
    flight: WeakShared<BoxFuture<'static, Answer>>,
}

/// Takes the flight out of the list when it has landed, or when all its readers have gone.
struct Landing {
    flights: Arc<Flights>,
    key: Key,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut under_way = self.flights.lock();
        if under_way.flights.get(&self.key).is_some_and(|place| place.number == self.number) {
            under_way.flights.remove(&self.key);
        }
    }
}

impl Flights {
    // Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the read of this key that is under way, or starts it with `read`. True if it was
    /// started: an answer to somebody who joined may be older than his question, but not older
    /// than a write that moved the stripe's version.
    pub(super) fn board(
        self: &Arc<Self>,
        key: &Key,
        version: u64,
        read: impl Future<Output = Answer> + Send + 'static,
    ) -> (Flight, bool) {
        let mut under_way = self.lock();
        if let Some(place) = under_way.flights.get(key)
            && place.version == version
            && let Some(flight) = place.flight.upgrade()
        {
            return (flight, false);
        }
        under_way.number += 1;
        let number = under_way.number;
        let landing = Landing { flights: Arc::clone(self), key: key.clone(), number };
        let landed = async move {
            let answer = read.await;
            drop(landing);
            answer
        };
        let flight = landed.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            under_way.flights.insert(key.clone(), Place { number, version, flight: weak });
        }
        (flight, true)
    }

    /// How many reads are under way.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().flights.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::channel::oneshot;
    use futures::executor::block_on;
    use futures::poll;

    use super::*;

    fn key() -> Key {
        Key::parse("a").unwrap()
    }

    #[test]
    fn who_comes_meanwhile_shares_the_read_and_may_outlive_its_starter() {
        block_on(async {
            let (flights, reads) = (Arc::new(Flights::default()), Arc::new(AtomicUsize::new(0)));
            let (open, gate) = oneshot::channel::<()>();
            let counted = Arc::clone(&reads);
            let read = async move {
                counted.fetch_add(1, Ordering::SeqCst);
                gate.await.unwrap();
                Ok(None)
            };
            let (mut first, led) = flights.board(&key(), 0, read);
            assert!(led && poll!(&mut first).is_pending());
            let (second, led) = flights.board(&key(), 0, async { unreachable!() });
            assert!(!led);
            drop(first);
            open.send(()).unwrap();
            assert_eq!(second.await.unwrap(), None);
            assert_eq!((reads.load(Ordering::SeqCst), flights.count()), (1, 0));
        });
    }

    #[test]
    fn who_comes_after_a_write_reads_anew_and_abandoned_reads_leave_nothing() {
        let flights = Arc::new(Flights::default());
        let old = flights.board(&key(), 0, async { Ok(None) });
        let new = flights.board(&key(), 1, async { Ok(None) });
        assert!(old.1 && new.1);
        drop(old);
        assert_eq!(flights.count(), 1, "the newer one stays");
        drop(new);
        assert_eq!(flights.count(), 0);
    }
}
