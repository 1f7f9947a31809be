//! Group commit: writers that wait at the same time share one transaction and one sync.
//!
//! ```text
//!   writers ──► queue ──► leader: each set in turn, one commit (one sync), answer all
//!                           └─ another process is writing: wait a moment, try again
//! ```
//!
//! Whoever finds no leader starts one. It runs where it may block, belongs to nobody, and goes on
//! until the queue is empty: a writer that stops waiting holds nobody up.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::oneshot;

use crate::{Env, Error, Op, Operation, Result, Revision, Stopwatch};

/// Bounds of what is written at once, which engines hold in memory until it is.
const GROUP_BYTES_MAX: usize = 64 << 20;
const GROUP_OPS_MAX: usize = 100_000;

/// What one writer wants to happen, all or nothing.
#[derive(Debug)]
pub struct Set {
    /// What the writer has called.
    pub operation: Operation,
    /// The steps.
    pub ops: Vec<Op>,
    answer: oneshot::Sender<Result<Revision>>,
}

impl Set {
    /// The bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.ops.iter().map(Op::bytes).sum()
    }
}

/// Those who wait for the next group.
#[derive(Debug, Default)]
pub struct Queue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Set>,
    led: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the queue, so a poisoned lock still guards a whole one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An opened store that writes for several at once.
pub trait Group: Send + Sync + 'static {
    /// Those who wait for it.
    fn queue(&self) -> &Queue;

    /// Writes these sets, each all or nothing, and says for each what became of it; it may block.
    /// Nothing if another process is writing, so that the same sets come again a little later;
    /// `waited` is how long they have been coming.
    fn try_write(&self, sets: &[Set], waited: Duration) -> Option<Vec<Result<Revision>>>;

    /// Called when all were answered: for what nobody needs to wait for.
    fn answered(&self) {}
}

/// Lets the steps happen, all or nothing, and waits until they have.
///
/// # Errors
/// Those of the store; `Unknown` if the write was begun and given up; `Closed` if the environment
/// ended before it was begun.
pub async fn submit<G: Group>(
    store: &Arc<G>,
    env: &Env,
    operation: Operation,
    ops: Vec<Op>,
) -> Result<Revision> {
    let (answer, answered) = oneshot::channel();
    let led = {
        let mut queue = store.queue().state();
        queue.waiting.push_back(Set { operation, ops, answer });
        mem::replace(&mut queue.led, true)
    };
    if !led {
        let leader = Leader {
            store: Arc::clone(store),
            env: env.clone(),
            group: Vec::new(),
            waited: env.stopwatch(),
            done: false,
        };
        // The job runs though nobody waits for it; each set has an answer of its own.
        drop(env.blocking(move || leader.lead()));
    }
    answered.await.unwrap_or_else(|_| {
        let message = "the write was given up half-way and may have happened; read it back";
        Err(Error::unknown(operation, message))
    })
}

/// How long to wait before a lock of another process is asked for again: short, so that between
/// two of its commits there is a chance, and never in step with it.
pub fn pause(env: &Env) -> Duration {
    Duration::from_micros(500 + env.random_below(1000))
}

/// The right, and the duty, to serve the queue.
struct Leader<G: Group> {
    store: Arc<G>,
    env: Env,
    /// The sets that are being written.
    group: Vec<Set>,
    /// How long they have waited for another process.
    waited: Stopwatch,
    /// Set once the queue was found empty: from then on somebody else may lead.
    done: bool,
}

impl<G: Group> Leader<G> {
    fn lead(mut self) {
        while !self.group.is_empty() || self.next_group() {
            let Some(results) = self.store.try_write(&self.group, self.waited.elapsed()) else {
                return self.lead_later();
            };
            for (set, result) in self.group.drain(..).zip(results) {
                // A writer that has gone no longer wants the answer.
                let _ = set.answer.send(result);
            }
            self.store.answered();
        }
        self.done = true;
    }

    /// Goes on in a moment, when the other process may have finished.
    fn lead_later(self) {
        let env = self.env.clone();
        self.env.clone().spawn(async move {
            env.sleep(pause(&env)).await;
            drop(env.blocking(move || self.lead()));
        });
    }

    /// Takes the sets of the next group; if nobody waits, nobody leads any more.
    fn next_group(&mut self) -> bool {
        let mut queue = self.store.queue().state();
        let (mut bytes, mut ops) = (0, 0);
        while let Some(set) = queue.waiting.pop_front() {
            bytes += set.bytes();
            ops += set.ops.len();
            if !self.group.is_empty() && (bytes > GROUP_BYTES_MAX || ops > GROUP_OPS_MAX) {
                queue.waiting.push_front(set);
                break;
            }
            self.group.push(set);
        }
        queue.led = !self.group.is_empty();
        self.waited = self.env.stopwatch();
        queue.led
    }
}

impl<G: Group> Drop for Leader<G> {
    /// If the job ended before its work, because its environment did or by a panic, the next
    /// writer starts a new one, and those who wait are told that nothing was written.
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut queue = self.store.queue().state();
        queue.led = false;
        for set in queue.waiting.drain(..) {
            let message = "the environment ended before the write began; open again";
            let _ = set.answer.send(Err(Error::closed(set.operation, message)));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use futures::executor::block_on;
    use futures::poll;

    use super::super::by_hand::ByHand;
    use super::*;
    use crate::{ErrorKind, Expect, Key};

    /// Notes how many sets came at once.
    #[derive(Default)]
    struct Store {
        queue: Queue,
        groups: Mutex<Vec<usize>>,
        /// How often another process is still found writing.
        busy: Mutex<u32>,
    }

    impl Group for Store {
        fn queue(&self) -> &Queue {
            &self.queue
        }
        fn try_write(&self, sets: &[Set], _: Duration) -> Option<Vec<Result<Revision>>> {
            self.groups.lock().unwrap().push(sets.len());
            let mut busy = self.busy.lock().unwrap();
            if let Some(left) = busy.checked_sub(1) {
                *busy = left;
                return None;
            }
            Some(sets.iter().map(|set| Ok(Revision::number(set.bytes() as u64))).collect())
        }
    }

    fn put(bytes: usize) -> Vec<Op> {
        vec![Op::put(Key::parse("k").unwrap(), vec![0; bytes].into(), Expect::Any)]
    }

    #[test]
    fn who_waits_at_the_same_time_shares_a_write() {
        block_on(async {
            let (hand, store) = (ByHand::default(), Arc::new(Store::default()));
            let env = Env::new(hand.clone());
            let write = |bytes| Box::pin(submit(&store, &env, Operation::Put, put(bytes)));
            let (mut first, mut gone, mut large) = (write(1), write(2), write(GROUP_BYTES_MAX));
            assert!(poll!(&mut first).is_pending());
            assert!(poll!(&mut gone).is_pending());
            assert!(poll!(&mut large).is_pending());
            drop(gone);
            *store.busy.lock().unwrap() = 2;
            hand.run();
            assert_eq!(first.await.unwrap(), Revision::number(2));
            assert_eq!(large.await.unwrap(), Revision::number(GROUP_BYTES_MAX as u64 + 1));
            // The first two twice in vain; the large one does not fit with them.
            assert_eq!(*store.groups.lock().unwrap(), [2, 2, 2, 1]);
        });
    }

    #[test]
    fn who_waits_when_the_environment_ends_hears_what_was_written() {
        block_on(async {
            let (hand, store) = (ByHand::default(), Arc::new(Store::default()));
            let env = Env::new(hand.clone());
            let write = || Box::pin(submit(&store, &env, Operation::Put, put(1)));
            let mut early = write();
            assert!(poll!(&mut early).is_pending());
            hand.0.jobs.lock().unwrap().clear();
            assert_eq!(early.await.unwrap_err().kind(), ErrorKind::Closed);
            // The next one finds no leader, and begins anew.
            let (mut begun, mut behind) = (write(), write());
            assert!(poll!(&mut begun).is_pending());
            *store.busy.lock().unwrap() = 1;
            hand.0.jobs.lock().unwrap().pop().unwrap()();
            assert!(poll!(&mut behind).is_pending());
            hand.0.tasks.lock().unwrap().clear();
            assert_eq!(begun.await.unwrap_err().kind(), ErrorKind::Unknown);
            assert_eq!(behind.await.unwrap_err().kind(), ErrorKind::Closed);
        });
    }
}
