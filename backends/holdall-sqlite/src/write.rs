//! Writing a group of sets in one transaction.

use std::ops::Range;
use std::time::Duration;

use holdall_core::waiting::{Group, Queue, Set};
use holdall_core::{Description, Error, Expect, Key, Op, Operation, Result, Revision};
use rusqlite::{Connection, params};

use crate::connection::check_in_place;
use crate::error::Failure;
use crate::find;
use crate::layout::{INLINE_BYTES_MAX, PART_BYTES};
use crate::read::{self, Present};
use crate::store::Store;

const PUT_ROW: &str = "
    INSERT INTO holdall_rows (key, revision, size, part, value) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, size = excluded.size,
    part = excluded.part, value = excluded.value";
/// The same with what is told of the row, or with nothing where something was told of the one
/// before. Rows of which nothing is ever told cost no more than if nothing could be.
const PUT_DESCRIBED: &str = "
    INSERT INTO holdall_rows (key, revision, size, part, value,
        volume, name, bytes, written, expires, content_type, attributes)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
    ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, size = excluded.size,
    part = excluded.part, value = excluded.value, volume = excluded.volume, name = excluded.name,
    bytes = excluded.bytes, written = excluded.written, expires = excluded.expires,
    content_type = excluded.content_type, attributes = excluded.attributes";
const DELETE_ROW: &str = "DELETE FROM holdall_rows WHERE key = ?1";
const NEXT_PART: &str = "SELECT coalesce(max(id), 0) + 1 FROM holdall_parts";
const PUT_PART: &str = "INSERT INTO holdall_parts (id, data) VALUES (?1, ?2)
    ON CONFLICT (id) DO UPDATE SET data = excluded.data";
const DELETE_PARTS: &str = "DELETE FROM holdall_parts WHERE id >= ?1 AND id < ?2";
const PUT_REVISION: &str = "UPDATE holdall_state SET revision = ?1";

/// What became of each set of a group.
pub(crate) type Outcomes = Vec<Result<Revision>>;

/// Why a whole group failed.
pub(crate) enum Failed {
    /// Somebody else is writing. Nothing has begun.
    Busy(Error),
    /// It does not fit, and was not written. Each set may be tried by itself.
    Full(Error),
    /// What its sets are told.
    All(Error),
}

impl Group for Store {
    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn try_write(&self, sets: &[Set], waited: Duration) -> Option<Outcomes> {
        match self.write_group(sets) {
            Ok(outcomes) => Some(outcomes),
            Err(_) if waited < self.config.busy_timeout => None,
            Err(busy) => Some(sets.iter().map(|_| Err(busy.clone())).collect()),
        }
    }

    fn answered(&self) {
        self.bound_log();
    }
}

impl Store {
    /// Writes what can be written, in one transaction, and says for each set what became of it.
    /// A set whose expectations do not hold changes nothing; the others go on. If somebody else is
    /// writing, that is the answer, at once.
    pub(crate) fn write_group(&self, sets: &[Set]) -> Result<Outcomes, Error> {
        match self.try_group(sets, Duration::ZERO) {
            Ok(outcomes) => Ok(outcomes),
            Err(Failed::Busy(error)) => Err(error),
            // One set that does not fit must not take the others down with it.
            Err(Failed::Full(_)) if sets.len() > 1 => {
                Ok(sets.iter().map(|set| self.write_one(set)).collect())
            }
            Err(Failed::Full(error) | Failed::All(error)) => {
                Ok(sets.iter().map(|_| Err(error.clone())).collect())
            }
        }
    }

    fn write_one(&self, set: &Set) -> Result<Revision> {
        match self.try_group(std::slice::from_ref(set), self.config.busy_timeout) {
            Ok(outcomes) => outcomes.into_iter().next().unwrap_or_else(|| {
                let message = "the write has no outcome; read it back";
                Err(Error::unknown(set.operation, message))
            }),
            Err(Failed::Busy(error) | Failed::Full(error) | Failed::All(error)) => Err(error),
        }
    }

    fn try_group(&self, sets: &[Set], patience: Duration) -> Result<Outcomes, Failed> {
        let operation = sets.first().map_or(Operation::Apply, |set| set.operation);
        self.check_open(operation).map_err(Failed::All)?;
        let writer = self.writer();
        self.roll_back(&writer);
        begin(&writer, patience, self.config.busy_timeout).map_err(|failure| {
            self.roll_back(&writer);
            let busy = failure.is_busy();
            let error = failure.into_error(operation);
            if busy { Failed::Busy(error) } else { Failed::All(error) }
        })?;
        let written = write_sets(&writer, operation, sets);
        let (outcomes, changed) = written.map_err(|failure| {
            self.roll_back(&writer);
            failed(operation, failure)
        })?;
        if !changed {
            self.roll_back(&writer);
            return Ok(outcomes);
        }
        match writer.execute_batch("COMMIT") {
            Ok(()) => Ok(outcomes),
            Err(source) => {
                let failed = self.judge(operation, source.into());
                self.roll_back(&writer);
                Err(failed)
            }
        }
    }

    /// What a failed commit means. Where there was no room, or a reader held the last lock, SQLite
    /// did not get to the point from which on a commit counts. Anything else may have happened
    /// behind it.
    fn judge(&self, operation: Operation, failure: Failure) -> Failed {
        if failure.is_full() || failure.is_busy() {
            return failed(operation, failure);
        }
        // After a failed sync the system may have forgotten what it did not write, and the next
        // sync would succeed and mean nothing.
        self.close();
        let message = "the write could not be synced and may have happened; read it back";
        let source = failure.into_error(operation);
        Failed::All(Error::unknown(operation, message).with_source(source))
    }

    /// Ends a transaction that is still open, with nothing changed.
    fn roll_back(&self, writer: &Connection) {
        if writer.is_autocommit() {
            return;
        }
        if writer.execute_batch("ROLLBACK").is_err() && !writer.is_autocommit() {
            self.close();
        }
    }
}

fn failed(operation: Operation, failure: Failure) -> Failed {
    let full = failure.is_full();
    let error = failure.into_error(operation);
    if full { Failed::Full(error) } else { Failed::All(error) }
}

/// Begins to write; from then on no other connection can. Without a write-ahead log the commit may
/// still have to wait for readers.
fn begin(writer: &Connection, patience: Duration, busy_timeout: Duration) -> Result<(), Failure> {
    writer.busy_timeout(patience)?;
    writer.execute_batch("BEGIN IMMEDIATE")?;
    writer.busy_timeout(busy_timeout)?;
    check_in_place(writer)
}

/// Writes those sets whose expectations hold, and says whether anything has changed.
fn write_sets(
    writer: &Connection,
    operation: Operation,
    sets: &[Set],
) -> Result<(Outcomes, bool), Failure> {
    let last = read::last_revision(writer, operation)?;
    let mut revision = last;
    let mut outcomes = Vec::with_capacity(sets.len());
    for set in sets {
        // All is checked before anything is written, so a conflict has nothing to undo.
        let found = match check(writer, set)? {
            Ok(found) => found,
            Err(conflict) => {
                outcomes.push(Err(conflict));
                continue;
            }
        };
        if set.ops.iter().any(|op| !matches!(op, Op::Check { .. })) {
            revision += 1;
            write_set(writer, set, &found, revision)?;
        }
        outcomes.push(Ok(Revision::number(revision)));
    }
    if revision != last {
        writer.prepare_cached(PUT_REVISION)?.execute([revision])?;
    }
    Ok((outcomes, revision != last))
}

/// Whether all that a set expects is so, and then what is under each of its keys; else the error
/// names the first key that is not as expected.
fn check(writer: &Connection, set: &Set) -> Result<Result<Vec<Option<Present>>>, Failure> {
    let mut found = Vec::with_capacity(set.ops.len());
    for op in &set.ops {
        if matches!(op, Op::Check { expect: Expect::Any, .. }) {
            found.push(None);
            continue;
        }
        let present = read::present(writer, set.operation, op.key())?;
        let current = present.map(|present| Revision::number(present.head.revision));
        if !op.expect().holds(current.as_ref()) {
            let message = "the key has changed since it was read; read it again";
            return Ok(Err(Error::conflict(set.operation, message).with_key(op.key())));
        }
        found.push(present);
    }
    Ok(Ok(found))
}

/// Writes the steps of a set in the order of their keys, in which neighbours share pages.
fn write_set(
    writer: &Connection,
    set: &Set,
    found: &[Option<Present>],
    revision: u64,
) -> Result<(), Failure> {
    let mut steps: Vec<_> = set.ops.iter().zip(found).collect();
    steps.sort_unstable_by(|(left, _), (right, _)| left.key().cmp(right.key()));
    for (op, found) in steps {
        match op {
            Op::Put { key, value, description, .. } => {
                let row =
                    Row { key, revision, size: value.len(), description: description.as_deref() };
                put(writer, &row, found.as_ref(), value)?;
            }
            Op::Delete { key, .. } if found.is_some() => {
                delete_parts(writer, parts_of(found.as_ref()))?;
                writer.prepare_cached(DELETE_ROW)?.execute([key.as_bytes()])?;
            }
            Op::Delete { .. } | Op::Check { .. } => {}
        }
    }
    Ok(())
}

/// A row that is to be written, without where its value is.
struct Row<'a> {
    key: &'a Key,
    revision: u64,
    size: usize,
    description: Option<&'a Description>,
}

impl Row<'_> {
    /// Writes it; `described` says whether something is told of the one that is there now.
    fn write(
        &self,
        writer: &Connection,
        described: bool,
        part: Option<i64>,
        value: Option<&[u8]>,
    ) -> Result<(), Failure> {
        let (key, revision, size) = (self.key.as_bytes(), self.revision, self.size);
        if self.description.is_none() && !described {
            let mut statement = writer.prepare_cached(PUT_ROW)?;
            statement.execute(params![key, revision, size, part, value])?;
            return Ok(());
        }
        let told = self.description;
        let mut statement = writer.prepare_cached(PUT_DESCRIBED)?;
        statement.execute(params![
            key,
            revision,
            size,
            part,
            value,
            told.map(|told| &told.volume),
            told.map(|told| &told.name),
            told.map(|told| find::number(told.size)),
            told.map(|told| find::time(told.written)),
            told.and_then(|told| told.expires).map(find::time),
            told.and_then(|told| told.content_type.as_ref()),
            told.map(find::attributes).transpose()?.flatten(),
        ])?;
        Ok(())
    }
}

fn put(
    writer: &Connection,
    row: &Row<'_>,
    found: Option<&Present>,
    value: &[u8],
) -> Result<(), Failure> {
    let described = found.is_some_and(|present| present.described);
    let before = parts_of(found);
    if value.len() <= INLINE_BYTES_MAX {
        delete_parts(writer, before)?;
        return row.write(writer, described, None, Some(value));
    }
    let first = put_parts(writer, before, value)?;
    row.write(writer, described, Some(first), None)
}

/// Writes the parts of a value, and says which is the first. Where there are enough of the value
/// before, they are written over: that leaves their pages where they are, and is much
/// quicker than giving them back and taking others.
fn put_parts(writer: &Connection, before: Range<i64>, value: &[u8]) -> Result<i64, Failure> {
    let count = value.len().div_ceil(PART_BYTES) as i64;
    let first = if count <= before.end - before.start {
        delete_parts(writer, before.start + count..before.end)?;
        before.start
    } else {
        delete_parts(writer, before)?;
        writer.prepare_cached(NEXT_PART)?.query_row([], |row| row.get(0))?
    };
    let mut part = writer.prepare_cached(PUT_PART)?;
    for (id, data) in (first..).zip(value.chunks(PART_BYTES)) {
        part.execute(params![id, data])?;
    }
    Ok(first)
}

/// The parts of what is under a key now.
fn parts_of(found: Option<&Present>) -> Range<i64> {
    found.map(|present| present.head.parts()).unwrap_or_default()
}

fn delete_parts(writer: &Connection, parts: Range<i64>) -> Result<(), Failure> {
    if !parts.is_empty() {
        let mut statement = writer.prepare_cached(DELETE_PARTS)?;
        statement.execute([parts.start, parts.end])?;
    }
    Ok(())
}
