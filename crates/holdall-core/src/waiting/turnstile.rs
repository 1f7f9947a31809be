//! Lets a number of callers in at once, and the others in the order in which they came.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;

/// Hands out permits.
#[derive(Clone, Debug)]
pub struct Turnstile(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    waiting: VecDeque<oneshot::Sender<Permit>>,
}

/// Leave to be inside, given back when it is dropped.
#[derive(Debug)]
pub struct Permit(Option<Turnstile>);

impl Turnstile {
    /// For so many at once.
    pub fn new(permits: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: permits, waiting: VecDeque::new() })))
    }

    /// Waits for its turn. Dropping the future gives up the place.
    pub async fn enter(&self) -> Permit {
        let receiver = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Permit(Some(self.clone()));
            }
            let (sender, receiver) = oneshot::channel();
            state.waiting.push_back(sender);
            receiver
        };
        // The sender lies in the state that this handle keeps, and is only ever used.
        receiver.await.expect("a place in the queue is not forgotten")
    }

    fn leave(&self) {
        loop {
            let next = {
                let mut state = self.state();
                let next = state.waiting.pop_front();
                state.free += usize::from(next.is_none());
                next
            };
            let Some(next) = next else { return };
            match next.send(Permit(Some(self.clone()))) {
                Ok(()) => return,
                // That one has gone. Its permit must not come back here by being dropped.
                Err(mut permit) => drop(permit.0.take()),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(turnstile) = self.0.take() {
            turnstile.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::pin::pin;

    use futures::executor::block_on;
    use futures::poll;

    use super::*;

    #[test]
    fn callers_enter_in_the_order_in_which_they_came() {
        block_on(async {
            let turnstile = Turnstile::new(1);
            let first = turnstile.enter().await;
            let (mut second, mut third) = (pin!(turnstile.enter()), pin!(turnstile.enter()));
            assert!(poll!(&mut second).is_pending());
            assert!(poll!(&mut third).is_pending());
            drop(first);
            assert!(poll!(&mut third).is_pending(), "the second is before the third");
            let second = second.await;
            assert!(poll!(&mut third).is_pending());
            drop(second);
            drop(third.await);
            assert_eq!(turnstile.state().free, 1);
        });
    }

    #[test]
    fn who_goes_away_loses_no_permit() {
        block_on(async {
            let turnstile = Turnstile::new(1);
            let first = turnstile.enter().await;
            let mut gone = Box::pin(turnstile.enter());
            let mut told = Box::pin(turnstile.enter());
            assert!(poll!(&mut gone).is_pending());
            assert!(poll!(&mut told).is_pending());
            drop(gone);
            // The permit is sent to the other, who drops it unseen.
            drop(first);
            drop(told);
            assert_eq!(turnstile.state().free, 1);
            drop(turnstile.enter().await);
        });
    }
}
