//! Writing: one value by one statement, a batch by one text that the server runs as a transaction,
//! a large value like a batch.
//!
//! ```text
//!   answered           done, or a conflict
//!   deadlock, lock     rolled back for sure: tried again after a pause, a bounded number of times
//!   no answer          before the commit was sent: nothing is written; behind it: Unknown
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdall_core::{Batch, Error, Expect, Key, Op, Operation, Result, Revision};
use mysql_async as mysql;
use mysql_async::Value;

use crate::describe;
use crate::error;
use crate::parts;
use crate::pool::{Lease, within};
use crate::sql::{self, Columns, PLACE, Step};
use crate::store::Store;

/// How often a write is tried that the server rolls back because of others.
const ATTEMPTS: u32 = 20;
/// The longest pause between two of them, in microseconds.
const PAUSE_MAX_MICROS: u64 = 200_000;

/// Why an attempt did not succeed.
enum Failed {
    /// The server rolled it back because of other writers: it may be tried again.
    Again(Error),
    /// It may not.
    Finally(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Finally(error)
    }
}

/// What became of an attempt.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Done,
    /// Nothing is written: a row in the way has parts, which have to be removed with it.
    Parts,
}

/// What is to be written all or not at all.
struct All<'a> {
    operation: Operation,
    ops: &'a [Op],
    /// In the order of their keys.
    sorted: Vec<&'a Op>,
    steps: Vec<Step>,
    revision: u64,
    over_parts: bool,
}

/// A statement that changes one row.
struct Change<'a> {
    text: &'a str,
    values: Vec<Value>,
    /// Whether it found its row only if the expectation held.
    conditional: bool,
}

impl Store {
    /// Writes or removes one value.
    pub(crate) async fn write(&self, operation: Operation, op: &Op) -> Result<Revision> {
        let revision = self.new_revision();
        if is_foreign(op.expect()) {
            return Err(error::conflict(operation, op.key()));
        }
        if let Op::Delete { key, expect: Expect::Absent } = op {
            return match self.exists(operation, key).await? {
                true => Err(error::conflict(operation, key)),
                false => Ok(Revision::number(revision)),
            };
        }
        if parts::is_large(op)
            || self.insist(|| self.write_once(operation, op, revision)).await? == Outcome::Parts
        {
            self.write_all(operation, std::slice::from_ref(op), revision, true).await?;
        }
        Ok(Revision::number(revision))
    }

    /// Applies a batch.
    pub(crate) async fn apply(&self, mut batch: Batch) -> Result<Revision> {
        const OPERATION: Operation = Operation::Apply;
        // A check that anything is there checks nothing.
        batch.ops.retain(|op| !matches!(op, Op::Check { expect: Expect::Any, .. }));
        let revision = self.new_revision();
        if batch.is_empty() {
            return Ok(Revision::number(revision));
        }
        if batch.ops.iter().any(|op| is_foreign(op.expect())) {
            let conflict = self.conflict_in(OPERATION, &batch.ops).await?;
            return Err(conflict.unwrap_or_else(|| moved(OPERATION)));
        }
        let large = batch.ops.iter().any(parts::is_large);
        if large || self.write_all(OPERATION, &batch.ops, revision, false).await? == Outcome::Parts
        {
            self.write_all(OPERATION, &batch.ops, revision, true).await?;
        }
        Ok(Revision::number(revision))
    }

    /// Writes all or nothing. Only `over_parts` values may be large, or replace such.
    async fn write_all(
        &self,
        operation: Operation,
        ops: &[Op],
        revision: u64,
        over_parts: bool,
    ) -> Result<Outcome> {
        let mut sorted: Vec<&Op> = ops.iter().collect();
        sorted.sort_unstable_by(|left, right| left.key().cmp(right.key()));
        let steps = self.statements.batch(&sorted, revision, self.packet_bytes, over_parts);
        let all = All { operation, ops, sorted, steps, revision, over_parts };
        self.insist(|| self.write_all_once(&all)).await
    }

    /// Tries until it succeeds, fails for good, or has taken too long.
    async fn insist<F>(&self, attempt: impl Fn() -> F) -> Result<Outcome>
    where
        F: Future<Output = Result<Outcome, Failed>>,
    {
        let watch = self.env.stopwatch();
        let mut tries = 0;
        loop {
            let error = match attempt().await {
                Ok(outcome) => return Ok(outcome),
                Err(Failed::Finally(error)) => return Err(error),
                Err(Failed::Again(error)) => error,
            };
            tries += 1;
            if tries == ATTEMPTS || watch.elapsed() > self.statement_timeout {
                return Err(error);
            }
            let most = PAUSE_MAX_MICROS.min(1000 << tries);
            self.env.sleep(Duration::from_micros(self.env.random_below(most))).await;
        }
    }

    async fn write_once(
        &self,
        operation: Operation,
        op: &Op,
        revision: u64,
    ) -> Result<Outcome, Failed> {
        let mut lease = self.pool.lease(operation).await?;
        let change = self.change(op, revision);
        let sent = AtomicBool::new(false);
        let work = async {
            let statement = lease.prepare(change.text).await?;
            sent.store(true, Ordering::Relaxed);
            lease.execute(&statement, change.values, &mut Vec::new()).await
        };
        let answer = within(&self.env, self.statement_timeout, work).await;
        let sent = sent.into_inner();
        match answer {
            None => Err(late(operation, sent).into()),
            Some(Ok(affected)) => {
                lease.done();
                if change.conditional && affected == 0 {
                    return Err(error::conflict(operation, op.key()).into());
                }
                Ok(Outcome::Done)
            }
            Some(Err(source)) if sent && error::leaves_open(&source) => {
                Err(error::unknown(operation, source).into())
            }
            Some(Err(source)) => {
                // An answered statement that fails is undone, and a transaction of its own.
                if !source.is_fatal() {
                    lease.done();
                }
                match error::code(&source) {
                    Some(error::DUPLICATE) => Err(error::conflict(operation, op.key()).into()),
                    Some(error::OUT_OF_RANGE) => Ok(Outcome::Parts),
                    _ => Err(judged(operation, source)),
                }
            }
        }
    }

    async fn write_all_once(&self, all: &All<'_>) -> Result<Outcome, Failed> {
        let operation = all.operation;
        let mut lease = self.pool.lease(operation).await?;
        let sent = AtomicBool::new(false);
        let work = self.run(&mut lease, all, &sent);
        let answer = within(&self.env, self.statement_timeout, work).await;
        let sent = sent.into_inner();
        let source = match answer {
            None => return Err(late(operation, sent).into()),
            Some(Ok(())) => {
                lease.done();
                return Ok(Outcome::Done);
            }
            Some(Err(source)) => source,
        };
        if sent && error::leaves_open(&source) {
            return Err(error::unknown(operation, source).into());
        }
        if !source.is_fatal() {
            self.roll_back(lease).await;
        }
        if error::code(&source) == Some(error::OUT_OF_RANGE) {
            return match self.conflict_in(operation, all.ops).await? {
                Some(conflict) => Err(Failed::Finally(conflict)),
                None if !all.over_parts => Ok(Outcome::Parts),
                // What was in the way has changed again since.
                None => Err(Failed::Again(moved(operation))),
            };
        }
        Err(judged(operation, source))
    }

    /// Sends the steps, one after the other.
    async fn run(&self, lease: &mut Lease, all: &All<'_>, sent: &AtomicBool) -> mysql::Result<()> {
        let sql = &self.statements;
        for (index, step) in all.steps.iter().enumerate() {
            let (text, values) = match step {
                Step::Text(text) => {
                    // Only the last text commits.
                    sent.store(index + 1 == all.steps.len(), Ordering::Relaxed);
                    lease.query(text).await?;
                    continue;
                }
                Step::Row(place) => {
                    let text = if all.over_parts { &sql.row_over_parts } else { &sql.row };
                    (text, all.sorted.get(*place).map(|op| row_values(op, all.revision)))
                }
                Step::Parts(place, group) => {
                    let text = if group.1 == 1 { &sql.insert_part } else { &sql.insert_parts };
                    let op = all.sorted.get(*place);
                    (text, op.map(|op| parts::values(op, all.revision, *group)))
                }
            };
            let statement = lease.prepare(text).await?;
            lease.execute(&statement, values.unwrap_or_default(), &mut Vec::new()).await?;
        }
        Ok(())
    }

    /// Ends a transaction that does not happen. If that fails the connection is closed, and the
    /// server does it.
    async fn roll_back(&self, mut lease: Lease) {
        let rolled_back = within(&self.env, self.statement_timeout, lease.query(b"ROLLBACK")).await;
        if rolled_back.is_some_and(|answer| answer.is_ok()) {
            lease.done();
        }
    }

    /// The conflict of the first operation whose expectation does not hold; none if all hold now.
    async fn conflict_in(&self, operation: Operation, ops: &[Op]) -> Result<Option<Error>> {
        let conditional = || ops.iter().filter(|op| *op.expect() != Expect::Any);
        let keys: Vec<&Key> = conditional().map(Op::key).collect();
        let current = self.revisions(operation, &keys).await?;
        let holds = |op: &&Op| op.expect().holds(current.get(op.key().as_bytes()));
        let broken = conditional().find(|op| !holds(op));
        Ok(broken.map(|op| error::conflict(operation, op.key())))
    }

    fn change(&self, op: &Op, revision: u64) -> Change<'_> {
        let sql = &self.statements;
        let key = Value::Bytes(op.key().as_bytes().to_vec());
        let columns = sql::columns(op, revision);
        let expected = columns.expected.map(Value::UInt);
        let Op::Put { value, expect, .. } = op else {
            let (text, values) = match expected {
                Some(expected) => (&sql.delete_revision, vec![key, expected]),
                None => (&sql.delete, vec![key]),
            };
            return Change { text, conditional: values.len() > 1, values };
        };
        let size = Value::UInt(value.len() as u64);
        let (revision, value) = (Value::UInt(revision), Value::Bytes(value.to_vec()));
        match (expect, expected) {
            (Expect::Revision(_), Some(expected)) => Change {
                text: &sql.update,
                values: vec![size, value, revision, key, expected],
                conditional: true,
            },
            (Expect::Absent, _) => Change {
                text: &sql.insert,
                values: vec![key, size, revision, value],
                conditional: false,
            },
            _ => Change {
                text: &sql.upsert,
                values: vec![key, size, revision, value],
                conditional: false,
            },
        }
    }

    /// A number that no other write has: nobody counts, so nobody waits to be counted, and a key
    /// that was deleted and written anew has a number that it never had.
    fn new_revision(&self) -> u64 {
        loop {
            let number = u64::from_le_bytes(self.env.random());
            if number != PLACE {
                return number;
            }
        }
    }
}

/// Whether no write here ever gave out the revision that is expected.
fn is_foreign(expect: &Expect) -> bool {
    match expect {
        Expect::Revision(revision) => revision.as_number().is_none_or(|number| number == PLACE),
        Expect::Any | Expect::Absent => false,
    }
}

/// The values of [`Statements::row`](sql::Statements).
fn row_values(op: &Op, revision: u64) -> Vec<Value> {
    let Columns { size, revision, expected, value, parts } = sql::columns(op, revision);
    let number = |number: Option<u64>| number.map_or(Value::NULL, Value::UInt);
    let key = Value::Bytes(op.key().as_bytes().to_vec());
    let mut values = vec![key, Value::UInt(size), Value::UInt(revision), number(expected)];
    values.push(Value::Bytes(value.to_vec()));
    values.extend(describe::values(op));
    values.push(number(parts));
    values
}

/// An error of the server after which nothing is written.
fn judged(operation: Operation, source: mysql::Error) -> Failed {
    let again = error::may_be_tried_again(&source);
    let error = error::mysql(operation, source);
    if again { Failed::Again(error) } else { Failed::Finally(error) }
}

fn moved(operation: Operation) -> Error {
    let message = "other writers changed the keys while they were looked at; try again";
    Error::unavailable(operation, message)
}

/// No answer came in time.
fn late(operation: Operation, sent: bool) -> Error {
    if sent {
        let message = "the server did not answer in time, so the write may have happened; read \
                       it back, or raise statement_timeout";
        return Error::unknown(operation, message);
    }
    let message = "the server did not answer in time; try again, or raise statement_timeout";
    Error::unavailable(operation, message)
}
