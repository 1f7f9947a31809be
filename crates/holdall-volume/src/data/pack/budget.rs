//! A bound on memory: permits that stores wait for before they hold bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;
use holdall_core::{Error, Operation, Result};

/// A number of permits, handed out in the order asked.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    total: usize,
    free: usize,
    waiting: VecDeque<(usize, oneshot::Sender<Permit>)>,
}

/// Some permits, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Budget,
    count: usize,
}

impl Budget {
    pub(crate) fn new(total: usize) -> Self {
        Self(Arc::new(Mutex::new(State { total, free: total, waiting: VecDeque::new() })))
    }

    // Nothing below can panic while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes permits if they are free and nobody waits.
    pub(crate) fn try_acquire(&self, count: usize) -> Option<Permit> {
        let mut state = self.state();
        let count = count.min(state.total);
        if !state.waiting.is_empty() || state.free < count {
            return None;
        }
        state.free -= count;
        Some(Permit { budget: self.clone(), count })
    }

    /// Waits for permits; more than there are at all means all of them.
    pub(crate) async fn acquire(&self, count: usize) -> Result<Permit> {
        let receiver = {
            let mut state = self.state();
            let count = count.min(state.total);
            if state.waiting.is_empty() && state.free >= count {
                state.free -= count;
                return Ok(Permit { budget: self.clone(), count });
            }
            let (sender, receiver) = oneshot::channel();
            state.waiting.push_back((count, sender));
            receiver
        };
        receiver.await.map_err(|_| {
            Error::closed(Operation::Put, "the volume was closed while a store waited for memory")
        })
    }

    /// Hands free permits to those who wait.
    fn hand_out(&self) {
        let mut granted = Vec::new();
        let mut state = self.state();
        while let Some((count, _)) = state.waiting.front()
            && *count <= state.free
        {
            let Some((count, sender)) = state.waiting.pop_front() else {
                break;
            };
            state.free -= count;
            granted.push((sender, Permit { budget: self.clone(), count }));
        }
        drop(state);
        // A receiver that has gone leaves its permit in the error, which gives it back.
        granted.into_iter().for_each(|(sender, permit)| drop(sender.send(permit)));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.state().free += self.count;
        self.budget.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn permits_are_handed_out_in_order_and_never_leak() {
        let budget = Budget::new(3);
        let first = budget.try_acquire(2).unwrap();
        assert!(budget.try_acquire(2).is_none());
        let mut large = Box::pin(budget.acquire(9));
        let mut small = Box::pin(budget.acquire(1));
        assert!(large.as_mut().now_or_never().is_none());
        assert!(small.as_mut().now_or_never().is_none());
        drop(first);
        let all = large.now_or_never().unwrap().unwrap();
        assert!(small.as_mut().now_or_never().is_none());
        let abandoned = budget.acquire(1);
        let mut abandoned = Box::pin(abandoned);
        assert!(abandoned.as_mut().now_or_never().is_none());
        drop(all);
        drop(abandoned);
        drop(small);
        assert!(budget.try_acquire(3).is_some());
    }
}
