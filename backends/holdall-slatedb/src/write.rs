//! Writing: expectations are checked and rows written in one transaction in memory; then all who
//! wait share one flush.
//!
//! ```text
//!   transaction: read what is expected ─► rows ─► commit ┐
//!   transaction: …                        ─► commit ─────┼─► one log file ─► all are answered
//!   (another has written what was read: begin again)     ┘
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::{Either, select};
use futures::lock::Mutex;
use futures::pin_mut;
use holdall_core::{Bytes, Error, Expect, Op, Operation, Result, Revision};
use slatedb::{Db, ErrorKind as SlateKind, IsolationLevel, WriteBatch};

use crate::read::Engine;
use crate::{SlateDb, error};

/// When the last flush began, held while one goes on.
#[derive(Debug)]
pub(crate) struct Flushes {
    interval: Duration,
    last: Mutex<Option<Duration>>,
}

impl Flushes {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, last: Mutex::new(None) }
    }
}

/// What became of a write in memory.
enum Written {
    /// It is there, and durable with this number.
    At(u64),
    /// There was nothing to write. What it was judged by is durable with this number.
    Nothing(u64),
    /// An expectation does not hold. What it was judged by is durable with this number.
    Refused(u64, Error),
    /// Somebody has written what was read: it is to be begun again.
    Overtaken,
}

impl SlateDb {
    /// Lets the steps happen, all or nothing, and waits until they are durable.
    pub(crate) async fn write(&self, operation: Operation, ops: Vec<Op>) -> Result<Revision> {
        let Engine::Writer(db) = &self.engine else {
            let message = "the store was opened to be read only; open it without read_only to \
                           write";
            return Err(Error::denied(operation, message));
        };
        self.check_open(operation)?;
        let sent = AtomicBool::new(false);
        let work = self.write_to(db, operation, &ops, &sent);
        pin_mut!(work);
        match select(work, self.env.sleep(self.timeout)).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => {
                let late = if sent.load(Ordering::Relaxed) {
                    let message =
                        "the store did not answer in time; look whether the write happened";
                    Error::unknown(operation, message)
                } else {
                    let message = "the store did not answer in time; try again";
                    Error::unavailable(operation, message)
                };
                Err(match self.ask(operation).await {
                    Ok(()) => late,
                    Err(cause) => late.with_source(cause),
                })
            }
        }
    }

    /// Writes, and says meanwhile whether anything may have been written.
    async fn write_to(
        &self,
        db: &Db,
        operation: Operation,
        ops: &[Op],
        sent: &AtomicBool,
    ) -> Result<Revision> {
        let written = loop {
            match self.write_in_memory(db, operation, ops, sent).await? {
                Written::Overtaken => sent.store(false, Ordering::Relaxed),
                written => break written,
            }
        };
        let (Written::At(number) | Written::Nothing(number) | Written::Refused(number, _)) =
            written
        else {
            return Err(Error::unavailable(operation, "others write the same; try again"));
        };
        // Also a refusal waits: what it was judged by may be another's write that is not durable.
        let durable = self.durable(db, number).await;
        match (written, durable) {
            (Written::Refused(_, refusal), Ok(())) => Err(refusal),
            (_, Ok(())) => Ok(Revision::number(number)),
            (Written::At(_), Err(error)) => Err(error::open_outcome(operation, &error)),
            (_, Err(error)) => Err(self.failed(operation, &error)),
        }
    }

    async fn write_in_memory(
        &self,
        db: &Db,
        operation: Operation,
        ops: &[Op],
        sent: &AtomicBool,
    ) -> Result<Written> {
        if ops.iter().all(|op| *op.expect() == Expect::Any) {
            return self.write_anyway(db, operation, ops, sent).await;
        }
        let failed = |error| self.failed(operation, &error);
        let txn = db.begin(IsolationLevel::SerializableSnapshot).map_err(failed)?;
        let now = txn.seqnum();
        for op in ops.iter().filter(|op| *op.expect() != Expect::Any) {
            let row = txn.get_key_value(op.key().as_bytes()).await.map_err(failed)?;
            let current = row.map(|row| Revision::number(row.seq));
            if !op.expect().holds(current.as_ref()) {
                let message = "the key has changed since it was read; read it again";
                let refusal = Error::conflict(operation, message).with_key(op.key());
                return Ok(Written::Refused(now, refusal));
            }
        }
        for op in ops {
            match op {
                Op::Put { key, value, .. } => txn.put(key.as_bytes(), value).map_err(failed)?,
                Op::Delete { key, .. } => txn.delete(key.as_bytes()).map_err(failed)?,
                Op::Check { .. } => {}
            }
        }
        sent.store(ops.iter().any(writes), Ordering::Relaxed);
        match txn.commit().await {
            Ok(Some(handle)) => Ok(Written::At(handle.seqnum())),
            Ok(None) => Ok(Written::Nothing(now)),
            Err(error) if error.kind() == SlateKind::Transaction => Ok(Written::Overtaken),
            Err(error) => Err(self.uncommitted(operation, &error)),
        }
    }

    /// Writes what expects nothing.
    async fn write_anyway(
        &self,
        db: &Db,
        operation: Operation,
        ops: &[Op],
        sent: &AtomicBool,
    ) -> Result<Written> {
        let mut batch = WriteBatch::new();
        for op in ops {
            let key = || Bytes::copy_from_slice(op.key().as_bytes());
            match op {
                Op::Put { value, .. } => batch.put_bytes(key(), value.clone()),
                Op::Delete { .. } => batch.delete(key()),
                Op::Check { .. } => {}
            }
        }
        if batch.is_empty() {
            return Ok(Written::Nothing(db.subscribe().borrow().durable_seq));
        }
        sent.store(true, Ordering::Relaxed);
        let written = db.write(batch).await;
        let handle = written.map_err(|error| self.uncommitted(operation, &error))?;
        Ok(Written::At(handle.seqnum()))
    }

    /// An error of a write that did not get into memory, as far as that is known.
    fn uncommitted(&self, operation: Operation, error: &slatedb::Error) -> Error {
        match error.kind() {
            SlateKind::Closed(_) | SlateKind::Invalid => self.failed(operation, error),
            _ => error::open_outcome(operation, error),
        }
    }

    /// Waits until all up to this number is durable, and sees to it.
    async fn durable(&self, db: &Db, number: u64) -> Result<(), slatedb::Error> {
        let mut status = db.subscribe();
        // Whoever is served by another's flush does not wait for its turn to begin one.
        let served = async {
            let served = status
                .wait_for(|now| now.durable_seq >= number || now.close_reason.is_some())
                .await;
            served.is_ok_and(|now| now.durable_seq >= number)
        };
        let flushed = self.flush(db, number);
        pin_mut!(served, flushed);
        let flushed = match select(served, flushed).await {
            Either::Left((true, _)) => return Ok(()),
            // The store was closed; the flush says why.
            Either::Left((false, flushed)) => flushed.await,
            Either::Right((flushed, _)) => flushed,
        };
        if flushed.as_ref().is_err_and(|error| matches!(error.kind(), SlateKind::Closed(_))) {
            // From the answer on every call is to find the store closed.
            let mut status = db.subscribe();
            let _ = status.wait_for(|now| now.close_reason.is_some()).await;
        }
        flushed
    }

    /// Begins a flush when it is time, one after the other.
    async fn flush(&self, db: &Db, number: u64) -> Result<(), slatedb::Error> {
        let mut last = self.flushes.last.lock().await;
        if db.subscribe().borrow().durable_seq >= number {
            return Ok(());
        }
        if let Some(last) = *last {
            let since = self.env.elapsed().saturating_sub(last);
            let wait = self.flushes.interval.saturating_sub(since);
            if !wait.is_zero() {
                self.env.sleep(wait).await;
            }
        }
        *last = Some(self.env.elapsed());
        db.flush().await
    }
}

fn writes(op: &Op) -> bool {
    !matches!(op, Op::Check { .. })
}
