//! Who waits to be committed, and who leads.
//!
//! Writers put themselves into one queue. The first who finds no leader starts one, a blocking job
//! that belongs to nobody's future, so that dropping a future holds up no other. The leader takes
//! all who wait, commits them with one write and one sync, answers them, and goes on until nobody
//! waits. Where the next generation cannot begin before the last is flushed, the leader stops and
//! the flush starts another at its end: that is the back-pressure.

use std::collections::VecDeque;

use futures::channel::oneshot;
use holdall_core::{Error, Op, Operation, Result, Revision};

use super::format;

/// What a waiting writer gets to know.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Done, as this revision.
    Done(Revision),
    /// What was seen of the inner backend is too old to decide on: look again.
    Stale(Vec<Op>),
}

/// What somebody waits for.
#[derive(Debug)]
pub(crate) enum Request {
    /// An op-set to commit.
    Write(Write),
    /// That the active generation be flushed; the answer is the number of the generation to wait
    /// for, if any rows are not in the inner backend.
    Flush(oneshot::Sender<Result<Option<u64>>>),
}

/// An op-set to commit.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) operation: Operation,
    pub(crate) ops: Vec<Op>,
    pub(crate) seen: Seen,
    pub(crate) answer: oneshot::Sender<Result<Verdict>>,
}

/// What the writer saw in the inner backend, of the keys that the overlay did not have.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The active generation before the inner backend was asked. While the overlay still has it,
    /// no row that the overlay lacks can have changed in the inner backend.
    pub(crate) generation: u64,
    /// One place for each op: nothing if it was not asked for, else the revision, if there is one.
    /// Empty where no op has a condition.
    pub(crate) revisions: Vec<Option<Option<u64>>>,
}

impl Request {
    fn bytes(&self) -> usize {
        match self {
            Self::Write(write) => format::set_bytes(&write.ops),
            Self::Flush(_) => 0,
        }
    }

    /// Answers with an error.
    pub(crate) fn refuse(self, error: &Error) {
        // Who has gone no longer wants the answer.
        match self {
            Self::Write(write) => drop(write.answer.send(Err(error.clone()))),
            Self::Flush(answer) => drop(answer.send(Err(error.clone()))),
        }
    }
}

/// What the leader works on at once.
#[derive(Debug)]
pub(crate) enum Group {
    /// Op-sets, with the size of their payload.
    Writes(Vec<Write>, usize),
    /// A flush.
    Flush(oneshot::Sender<Result<Option<u64>>>),
}

/// The queue. All its methods are short: it is behind one lock.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Request>,
    leading: bool,
    stalled: bool,
    refusal: Option<Error>,
}

impl Queue {
    /// Joins the queue. `true` if the caller must start a leader.
    ///
    /// # Errors
    /// What all writers get, if no more are taken.
    pub(crate) fn join(&mut self, request: Request) -> Result<bool> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        self.waiting.push_back(request);
        Ok(self.start())
    }

    fn start(&mut self) -> bool {
        let start = !self.leading && !self.stalled && !self.waiting.is_empty();
        self.leading |= start;
        start
    }

    /// The leader takes the next group, if anybody waits.
    pub(crate) fn next(&mut self, bytes_max: usize) -> Option<Group> {
        let mut writes = Vec::new();
        let mut bytes = 0;
        while let Some(request) = self.waiting.pop_front() {
            let more = request.bytes();
            match request {
                Request::Write(write) if writes.is_empty() || bytes + more <= bytes_max => {
                    bytes += more;
                    writes.push(write);
                }
                Request::Flush(answer) if writes.is_empty() => return Some(Group::Flush(answer)),
                request => {
                    self.waiting.push_front(request);
                    break;
                }
            }
        }
        (!writes.is_empty()).then_some(Group::Writes(writes, bytes))
    }

    /// The leader ends, unless somebody has come: whoever comes after this starts another.
    pub(crate) fn end_leading(&mut self) -> bool {
        self.leading = !self.waiting.is_empty();
        !self.leading
    }

    /// The leader puts back what must wait for a flush, and stops.
    pub(crate) fn stall(&mut self, group: Group) {
        match group {
            Group::Writes(writes, _) => {
                for write in writes.into_iter().rev() {
                    self.waiting.push_front(Request::Write(write));
                }
            }
            Group::Flush(answer) => self.waiting.push_front(Request::Flush(answer)),
        }
        self.stalled = true;
        self.leading = false;
    }

    /// A flush has ended. `true` if the caller must start a leader.
    pub(crate) fn resume(&mut self) -> bool {
        self.stalled = false;
        self.start()
    }

    /// Takes no more: all later ones get this. Those who wait are given back to be told.
    pub(crate) fn refuse(&mut self, refusal: Error) -> VecDeque<Request> {
        self.refusal.get_or_insert(refusal);
        std::mem::take(&mut self.waiting)
    }

    /// What all writers get, if no more are taken.
    pub(crate) fn refusal(&self) -> Option<&Error> {
        self.refusal.as_ref()
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}
