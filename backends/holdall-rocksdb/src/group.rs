//! Group commit: writers that wait at the same time share one batch and one sync.
//!
//! ```text
//!   writers ──► queue ──► leader: check each set in turn, write all (one sync), answer all
//! ```
//!
//! Whoever finds no leader starts one. It runs where it may block, belongs to nobody, and goes on
//! until the queue is empty: a writer that stops waiting holds nobody up.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, MutexGuard, PoisonError};

use futures::channel::oneshot;
use holdall_core::{Env, Error, Op, Operation, Result, Revision};

use crate::store::Store;

/// Bounds of what is written in one batch, which is in memory before it is written.
const GROUP_BYTES_MAX: usize = 64 << 20;
const GROUP_OPS_MAX: usize = 100_000;

/// What one writer wants to happen, all or nothing.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) operation: Operation,
    pub(crate) ops: Vec<Op>,
    answer: oneshot::Sender<Result<Revision>>,
}

impl Set {
    pub(crate) fn bytes(&self) -> usize {
        self.ops.iter().map(Op::bytes).sum()
    }
}

/// Those who wait for the next batch.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Set>,
    led: bool,
}

impl Store {
    /// Lets the steps happen, all or nothing, and waits until they are synced.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        env: &Env,
        operation: Operation,
        ops: Vec<Op>,
    ) -> Result<Revision> {
        self.check_open(operation)?;
        let (answer, answered) = oneshot::channel();
        let led = {
            let mut queue = self.queue();
            queue.waiting.push_back(Set { operation, ops, answer });
            mem::replace(&mut queue.led, true)
        };
        if !led {
            let leader = Leader { store: Arc::clone(self), done: false };
            // The job runs though nobody waits for it; each set has an answer of its own.
            drop(env.blocking(move || leader.lead()));
        }
        answered.await.unwrap_or_else(|_| {
            let message = "the write was given up half-way and may have happened; read it back";
            Err(Error::unknown(operation, message))
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it holds the queue, so a poisoned lock still guards a whole one.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right, and the duty, to serve the queue.
struct Leader {
    store: Arc<Store>,
    /// Set once the queue was found empty: from then on somebody else may lead.
    done: bool,
}

impl Leader {
    fn lead(mut self) {
        while let Some(group) = self.next_group() {
            let results = self.store.write_group(&group);
            for (set, result) in group.into_iter().zip(results) {
                // A writer that has gone no longer wants the answer.
                let _ = set.answer.send(result);
            }
        }
        self.done = true;
    }

    /// The sets of the next batch; none if nobody waits, and then nobody leads any more.
    fn next_group(&self) -> Option<Vec<Set>> {
        let mut queue = self.store.queue();
        let mut group = Vec::new();
        let (mut bytes, mut ops) = (0, 0);
        while let Some(set) = queue.waiting.pop_front() {
            bytes += set.bytes();
            ops += set.ops.len();
            if !group.is_empty() && (bytes > GROUP_BYTES_MAX || ops > GROUP_OPS_MAX) {
                queue.waiting.push_front(set);
                break;
            }
            group.push(set);
        }
        queue.led = !group.is_empty();
        (!group.is_empty()).then_some(group)
    }
}

impl Drop for Leader {
    /// If the job ended before its work, because its environment did or by a panic, the next
    /// writer starts a new one, and those who wait are told that nothing was written.
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut queue = self.store.queue();
        queue.led = false;
        for set in queue.waiting.drain(..) {
            let message = "the environment ended before the write began; open again";
            let _ = set.answer.send(Err(Error::closed(set.operation, message)));
        }
    }
}
