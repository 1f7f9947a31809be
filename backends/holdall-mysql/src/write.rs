//! Writing: one value by one statement, a batch by one text that the server runs as a transaction.
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
use crate::pool::{Lease, within};
use crate::sql::{self, PLACE, Step};
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
        self.insist(|| self.write_once(operation, op, revision)).await?;
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
            let conflict = self.conflict_in(&batch.ops).await?;
            return Err(conflict.unwrap_or_else(|| moved(OPERATION)));
        }
        let mut ops: Vec<&Op> = batch.ops.iter().collect();
        ops.sort_unstable_by(|left, right| left.key().cmp(right.key()));
        let steps = self.statements.batch(&ops, revision, self.packet_bytes);
        self.insist(|| self.apply_once(&batch.ops, &ops, &steps, revision)).await?;
        Ok(Revision::number(revision))
    }

    /// Tries until it succeeds, fails for good, or has taken too long.
    async fn insist<F>(&self, attempt: impl Fn() -> F) -> Result<()>
    where
        F: Future<Output = Result<(), Failed>>,
    {
        let watch = self.env.stopwatch();
        let mut tries = 0;
        loop {
            let error = match attempt().await {
                Ok(()) => return Ok(()),
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

    async fn write_once(&self, operation: Operation, op: &Op, revision: u64) -> Result<(), Failed> {
        let mut lease = self.pool.lease(operation).await?;
        let change = self.change(op, revision);
        let sent = AtomicBool::new(false);
        let work = async {
            let statement = lease.prepare(change.text).await?;
            sent.store(true, Ordering::Relaxed);
            lease.execute(&statement, change.values).await
        };
        let answer = within(&self.env, self.statement_timeout, work).await;
        let sent = sent.into_inner();
        match answer {
            None => Err(late(operation, sent).into()),
            Some(Ok(answer)) => {
                lease.done();
                if change.conditional && answer.affected == 0 {
                    return Err(error::conflict(operation, op.key()).into());
                }
                Ok(())
            }
            Some(Err(source)) if sent && error::leaves_open(&source) => {
                Err(error::unknown(operation, source).into())
            }
            Some(Err(source)) => {
                // An answered statement that fails is undone, and a transaction of its own.
                if !source.is_fatal() {
                    lease.done();
                }
                if error::code(&source) == Some(error::DUPLICATE) {
                    return Err(error::conflict(operation, op.key()).into());
                }
                Err(judged(operation, source))
            }
        }
    }

    async fn apply_once(
        &self,
        ops: &[Op],
        sorted: &[&Op],
        steps: &[Step],
        revision: u64,
    ) -> Result<(), Failed> {
        const OPERATION: Operation = Operation::Apply;
        let mut lease = self.pool.lease(OPERATION).await?;
        let sent = AtomicBool::new(false);
        let work = async {
            for (index, step) in steps.iter().enumerate() {
                match step {
                    Step::Text(text) => {
                        // Only the last text commits.
                        sent.store(index + 1 == steps.len(), Ordering::Relaxed);
                        lease.query(text).await?;
                    }
                    Step::Row(place) => {
                        let statement = lease.prepare(&self.statements.row).await?;
                        let values = sorted.get(*place).map(|op| row_values(op, revision));
                        lease.execute(&statement, values.unwrap_or_default()).await?;
                    }
                }
            }
            Ok(())
        };
        let answer: Option<mysql::Result<()>> =
            within(&self.env, self.statement_timeout, work).await;
        let sent = sent.into_inner();
        let source = match answer {
            None => return Err(late(OPERATION, sent).into()),
            Some(Ok(())) => {
                lease.done();
                return Ok(());
            }
            Some(Err(source)) => source,
        };
        if sent && error::leaves_open(&source) {
            return Err(error::unknown(OPERATION, source).into());
        }
        if !source.is_fatal() {
            self.roll_back(lease).await;
        }
        if error::code(&source) == Some(error::OUT_OF_RANGE) {
            let conflict = self.conflict_in(ops).await?;
            // None: what was in the way has changed again since.
            return Err(conflict.map_or_else(|| Failed::Again(moved(OPERATION)), Failed::Finally));
        }
        Err(judged(OPERATION, source))
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
    async fn conflict_in(&self, ops: &[Op]) -> Result<Option<Error>> {
        const OPERATION: Operation = Operation::Apply;
        let conditional = || ops.iter().filter(|op| *op.expect() != Expect::Any);
        let keys: Vec<&Key> = conditional().map(Op::key).collect();
        let current = self.revisions(OPERATION, &keys).await?;
        let holds = |op: &&Op| op.expect().holds(current.get(op.key().as_bytes()));
        let broken = conditional().find(|op| !holds(op));
        Ok(broken.map(|op| error::conflict(OPERATION, op.key())))
    }

    fn change(&self, op: &Op, revision: u64) -> Change<'_> {
        let sql = &self.statements;
        let key = Value::Bytes(op.key().as_bytes().to_vec());
        let expected = sql::expected(op.expect()).map(Value::UInt);
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
                values: vec![size, revision, value, key, expected],
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
    let (value, revision) = match op {
        Op::Put { value, .. } => (value.to_vec(), revision),
        Op::Delete { .. } | Op::Check { .. } => (Vec::new(), PLACE),
    };
    let expected = sql::expected(op.expect()).map_or(Value::NULL, Value::UInt);
    let key = Value::Bytes(op.key().as_bytes().to_vec());
    let size = Value::UInt(value.len() as u64);
    let mut values = vec![key, size, Value::UInt(revision), expected, Value::Bytes(value)];
    values.extend(describe::values(op));
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
