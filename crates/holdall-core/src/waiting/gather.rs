//! Gathering: single writes that wait at the same time share one round trip and one commit of a
//! server.
//!
//! ```text
//!   writers ──► queue ──► leader: all that wait, as one batch ──► answer all
//!                └──────► another leader, so that one gathers while the other's is on its way
//! ```
//!
//! A write that nobody waits beside goes alone, as soon as it comes. Leaders run in the background
//! and belong to nobody: a writer that stops waiting holds nobody up.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::channel::oneshot;

use crate::{Env, Error, ErrorKind, Key, Op, Operation, Result, Revision};

/// How many batches are on their way at once.
const LEADERS_MAX: usize = 2;
/// Bounds of one batch.
const OPS_MAX: usize = 512;
const BYTES_MAX: usize = 1 << 20;

/// A write with more bytes than this gains nothing by company.
pub const GATHERED_BYTES_MAX: usize = 32 << 10;

/// A store in which several writes cost about what one does.
#[async_trait]
pub trait Gather: Send + Sync + 'static {
    /// Those who wait for it.
    fn gathering(&self) -> &Gathering;

    /// Lets these happen, all or nothing. Each has another key, and expects nothing.
    async fn write_together(&self, operation: Operation, ops: &[Op]) -> Result<Revision>;
}

/// Those who wait for the next batch.
#[derive(Debug, Default)]
pub struct Gathering(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    leaders: usize,
}

#[derive(Debug)]
struct Waiting {
    op: Op,
    answer: oneshot::Sender<Result<Revision>>,
}

impl Gathering {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the queue, so a poisoned lock still guards a whole one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets one write happen that expects nothing, and waits until it has.
///
/// # Errors
/// Those of the store; `Unknown` if it was begun and given up.
pub async fn gather<G: Gather>(
    store: &Arc<G>,
    env: &Env,
    operation: Operation,
    op: Op,
) -> Result<Revision> {
    let (answer, answered) = oneshot::channel();
    let leads = {
        let mut state = store.gathering().state();
        state.waiting.push_back(Waiting { op, answer });
        let leads = state.leaders < LEADERS_MAX;
        state.leaders += usize::from(leads);
        leads
    };
    if leads {
        let leader = Leader { store: Arc::clone(store), done: false };
        env.spawn(leader.lead(operation));
    }
    answered.await.unwrap_or_else(|_| {
        let message = "the write was given up half-way and may have happened; read it back";
        Err(Error::unknown(operation, message))
    })
}

/// The right, and the duty, to serve the queue.
struct Leader<G: Gather> {
    store: Arc<G>,
    /// Set once it found nobody waiting: from then on somebody else may lead.
    done: bool,
}

impl<G: Gather> Leader<G> {
    async fn lead(mut self, operation: Operation) {
        loop {
            let group = self.next_group();
            if group.is_empty() {
                return;
            }
            self.write(operation, group).await;
        }
    }

    /// Takes those who wait. One whose key is among them already waits for the next group. If
    /// nobody waits, this one leads no more.
    fn next_group(&mut self) -> Vec<Waiting> {
        let mut state = self.store.gathering().state();
        let mut group: Vec<Waiting> = Vec::new();
        let mut keys: HashSet<Key> = HashSet::new();
        let mut bytes = 0;
        let mut kept = VecDeque::new();
        while let Some(next) = state.waiting.pop_front() {
            bytes += next.op.bytes();
            let full = group.len() == OPS_MAX || (bytes > BYTES_MAX && !group.is_empty());
            if full {
                kept.push_back(next);
                break;
            }
            if keys.insert(next.op.key().clone()) { group.push(next) } else { kept.push_back(next) }
        }
        kept.append(&mut state.waiting);
        state.waiting = kept;
        self.done = group.is_empty();
        state.leaders -= usize::from(self.done);
        group
    }

    async fn write(&self, operation: Operation, group: Vec<Waiting>) {
        let (ops, answers): (Vec<Op>, Vec<_>) =
            group.into_iter().map(|waiting| (waiting.op, waiting.answer)).unzip();
        let together = self.store.write_together(operation, &ops).await;
        let alone = matches!(&together, Err(error) if ops.len() > 1 && is_of_one(error.kind()));
        for (op, answer) in ops.iter().zip(answers) {
            let result = match alone {
                // What is wrong with one of them must not be said of the others.
                true => self.store.write_together(operation, std::slice::from_ref(op)).await,
                false => together.clone(),
            };
            // A writer that has gone no longer wants the answer.
            let _ = answer.send(result);
        }
    }
}

impl<G: Gather> Drop for Leader<G> {
    /// If it ended before its work, because its environment did or by a panic, and nobody else
    /// leads, those who wait are told that nothing was written.
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut state = self.store.gathering().state();
        state.leaders -= 1;
        if state.leaders > 0 {
            return;
        }
        for waiting in state.waiting.drain(..) {
            let message = "the environment ended before the write began; open again";
            let _ = waiting.answer.send(Err(Error::closed(Operation::Put, message)));
        }
    }
}

/// Whether such an error may be about one of several writes, none of which has happened.
fn is_of_one(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Unknown | ErrorKind::Unavailable | ErrorKind::Denied | ErrorKind::Closed => {
            false
        }
        ErrorKind::Invalid
        | ErrorKind::Conflict
        | ErrorKind::Corrupt
        | ErrorKind::Unsupported
        | ErrorKind::Full => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::executor::block_on;
    use futures::future::join_all;
    use futures::poll;

    use super::super::by_hand::ByHand;
    use super::*;
    use crate::{Bytes, Expect};

    /// Notes the batches, and refuses those with a key that begins with `bad`.
    #[derive(Default)]
    struct Store {
        gathering: Gathering,
        batches: Mutex<Vec<Vec<String>>>,
        down: AtomicBool,
    }

    #[async_trait]
    impl Gather for Store {
        fn gathering(&self) -> &Gathering {
            &self.gathering
        }

        async fn write_together(&self, operation: Operation, ops: &[Op]) -> Result<Revision> {
            let keys: Vec<String> = ops.iter().map(|op| op.key().to_string()).collect();
            let bad = keys.iter().any(|key| key.starts_with("bad"));
            let mut batches = self.batches.lock().unwrap();
            batches.push(keys);
            if self.down.load(Ordering::Relaxed) {
                return Err(Error::unavailable(operation, "down"));
            }
            match bad {
                true => Err(Error::invalid(operation, "a bad key")),
                false => Ok(Revision::number(batches.len() as u64)),
            }
        }
    }

    fn op(key: &str) -> Op {
        Op::put(Key::parse(key).unwrap(), Bytes::from_static(b"value"), Expect::Any)
    }

    /// Puts all keys while two leaders are there that have not begun.
    fn put_all(store: &Arc<Store>, keys: &[&str]) -> Vec<Result<Revision>> {
        block_on(async {
            let hand = ByHand::default();
            let env = Env::new(hand.clone());
            let puts = keys.iter().map(|key| gather(store, &env, Operation::Put, op(key)));
            let mut puts = Box::pin(join_all(puts));
            assert!(poll!(&mut puts).is_pending());
            assert_eq!(store.gathering.state().leaders, LEADERS_MAX.min(keys.len()));
            hand.run();
            assert_eq!(store.gathering.state().leaders, 0);
            puts.await
        })
    }

    #[test]
    fn those_who_wait_share_a_batch_but_no_key_is_in_it_twice() {
        let store = Arc::new(Store::default());
        let results = put_all(&store, &["a", "b", "a", "c", "a"]);
        assert!(results.iter().all(Result::is_ok));
        let batches = store.batches.lock().unwrap().clone();
        assert_eq!(batches, [vec!["a", "b", "c"], vec!["a"], vec!["a"]]);
    }

    #[test]
    fn what_is_wrong_with_one_is_not_said_of_the_others() {
        let store = Arc::new(Store::default());
        let results = put_all(&store, &["a", "bad", "b"]);
        let kinds: Vec<_> = results.iter().map(|r| r.as_ref().err().map(Error::kind)).collect();
        assert_eq!(kinds, [None, Some(ErrorKind::Invalid), None]);
    }

    #[test]
    fn a_store_that_is_down_is_asked_once() {
        let store = Arc::new(Store { down: true.into(), ..Store::default() });
        let results = put_all(&store, &["a", "b", "c"]);
        let unavailable = |r: &Result<Revision>| {
            r.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable)
        };
        assert!(results.iter().all(unavailable));
        assert_eq!(store.batches.lock().unwrap().len(), 1);
    }

    #[test]
    fn those_who_wait_are_told_when_their_environment_ends() {
        let store = Arc::new(Store::default());
        let hand = ByHand::default();
        let env = Env::new(hand.clone());
        let results = block_on(async {
            let keys = ["a", "b", "c"];
            let puts = keys.iter().map(|key| gather(&store, &env, Operation::Put, op(key)));
            let mut puts = Box::pin(join_all(puts));
            assert!(poll!(&mut puts).is_pending());
            hand.0.tasks.lock().unwrap().clear();
            puts.await
        });
        let closed =
            |r: &Result<Revision>| r.as_ref().is_err_and(|error| error.kind() == ErrorKind::Closed);
        assert!(results.iter().all(closed), "{results:?}");
        assert!(store.batches.lock().unwrap().is_empty());
        assert!(put_all(&store, &["a"])[0].is_ok(), "the next writer leads again");
    }

    #[test]
    fn batches_are_bounded() {
        let store = Arc::new(Store::default());
        let keys: Vec<String> = (0..OPS_MAX + 10).map(|number| format!("k{number}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        assert!(put_all(&store, &keys).iter().all(Result::is_ok));
        let sizes: Vec<usize> = store.batches.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(sizes, [OPS_MAX, 10]);
    }
}
