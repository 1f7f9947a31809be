//! Writing a group of sets in one batch of RocksDB's.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdall_core::waiting::{Group, Queue, Set};
use holdall_core::{Error, Key, Op, Operation, Result, Revision};
use rocksdb::WriteBatch;

use crate::error::{self, Failure};
use crate::layout::{self, Head, PART_BYTES, REVISION_KEY};
use crate::store::Store;

/// The room that sets without a put need, beside their own bytes.
const LEAST_ROOM: u64 = 1 << 20;
/// What a step takes in the log beside its key and value, at the most.
const STEP_BYTES: u64 = 64;

/// What a group will change.
struct Changes<'s> {
    store: &'s Store,
    batch: WriteBatch,
    /// What is under each key that an earlier set of the group writes.
    written: HashMap<Key, Option<Head>>,
    /// The last revision given out.
    revision: u64,
    /// The bytes of the disk that may still be taken.
    free: u64,
}

impl Group for Store {
    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn try_write(&self, sets: &[Set], _: Duration) -> Option<Vec<Result<Revision>>> {
        Some(self.write_group(sets))
    }
}

impl Store {
    /// Writes what can be written, in one batch, and says for each set what became of it. A set
    /// whose expectations do not hold, or that does not fit, changes nothing; the others go on.
    pub(crate) fn write_group(&self, sets: &[Set]) -> Vec<Result<Revision>> {
        let operation = sets.first().map_or(Operation::Apply, |set| set.operation);
        let begun = self
            .check_open(operation)
            .and_then(|()| self.disk_free().map_err(|source| error::os(operation, source)));
        let free = match begun {
            Ok(free) => free,
            Err(error) => return sets.iter().map(|_| Err(error.clone())).collect(),
        };
        let last = self.revision.load(Ordering::Acquire);
        // A batch that grows while large values go into it copies them again and again.
        let step = |set: &Set| set.bytes() + (STEP_BYTES as usize) * set.ops.len();
        let mut changes = Changes {
            store: self,
            batch: WriteBatch::with_capacity_bytes(sets.iter().map(step).sum()),
            written: HashMap::new(),
            revision: last,
            free,
        };
        let outcomes: Vec<_> = sets
            .iter()
            .map(|set| {
                let added = changes.add(set);
                added.map_err(|failure| failure.into_error(set.operation))
            })
            .collect();
        if changes.revision == last {
            return outcomes;
        }
        match self.commit(changes.batch, changes.revision) {
            Ok(()) => outcomes,
            Err(failure) => {
                // RocksDB does not say how far it came: into the log, or not. After a failed sync
                // the system may also have forgotten what it did not write, and the next sync
                // would succeed and mean nothing.
                self.close();
                let source = failure.into_error(operation);
                let message = "the write could not be finished and may have happened; read it back";
                let unknown = Error::unknown(operation, message).with_source(source);
                // What was refused before it began stays refused.
                outcomes.into_iter().map(|outcome| outcome.and(Err(unknown.clone()))).collect()
            }
        }
    }

    fn commit(&self, mut batch: WriteBatch, revision: u64) -> Result<(), Failure> {
        batch.put_cf(self.rows()?, REVISION_KEY, revision.to_le_bytes());
        self.db.write_opt(batch, &self.write_options)?;
        self.revision.store(revision, Ordering::Release);
        Ok(())
    }
}

impl Changes<'_> {
    /// Adds the steps of a set if all that it expects is so and it fits.
    fn add(&mut self, set: &Set) -> Result<Revision, Failure> {
        let found = self.check(set)?;
        if !set.ops.iter().any(|op| !matches!(op, Op::Check { .. })) {
            return Ok(Revision::number(self.revision));
        }
        self.take_room(set)?;
        let revision = self.revision + 1;
        for ((step, op), found) in (0..).zip(&set.ops).zip(found) {
            let head = match op {
                Op::Put { value, .. } => Some(self.put(op.key(), value, revision, step)?),
                Op::Delete { .. } => {
                    if found.is_some() {
                        self.batch.delete_cf(self.store.rows()?, op.key().as_bytes());
                    }
                    None
                }
                Op::Check { .. } => continue,
            };
            if let Some(found) = found {
                for (_, key) in found.parts(0..found.size) {
                    self.batch.delete_cf(self.store.parts()?, key);
                }
            }
            self.written.insert(op.key().clone(), head);
        }
        self.revision = revision;
        Ok(Revision::number(revision))
    }

    /// Whether all that a set expects is so, and then what is under each of its keys; else the
    /// error names the first key that is not as expected.
    fn check(&self, set: &Set) -> Result<Vec<Option<Head>>, Failure> {
        let mut found = Vec::with_capacity(set.ops.len());
        for op in &set.ops {
            let head = self.head(set.operation, op.key())?;
            let current = head.map(|head| Revision::number(head.revision));
            if !op.expect().holds(current.as_ref()) {
                let message = "the key has changed since it was read; read it again";
                return Err(Error::conflict(set.operation, message).with_key(op.key()).into());
            }
            found.push(head);
        }
        Ok(found)
    }

    /// What is under a key, given the sets before.
    fn head(&self, operation: Operation, key: &Key) -> Result<Option<Head>, Failure> {
        if let Some(head) = self.written.get(key) {
            return Ok(*head);
        }
        let row = self.store.db.get_pinned_cf(self.store.rows()?, key.as_bytes())?;
        let split = row.map(|row| layout::split(operation, &row).map(|(head, _)| head));
        Ok(split.transpose().map_err(|error| error.with_key(key))?)
    }

    /// Refuses a set that does not fit on the disk: once in the log, and once where it will be
    /// kept, with what is in the write buffers. RocksDB itself would notice in the middle.
    fn take_room(&mut self, set: &Set) -> Result<(), Failure> {
        let puts = set.ops.iter().any(|op| matches!(op, Op::Put { .. }));
        let reserve = if puts { self.store.reserve() } else { LEAST_ROOM };
        let bytes = 2 * (set.bytes() as u64 + STEP_BYTES * set.ops.len() as u64);
        if self.free < reserve.saturating_add(bytes) {
            let message = "the disk is full; free some room, or give smaller write buffers";
            return Err(Error::full(set.operation, message).into());
        }
        self.free -= bytes;
        Ok(())
    }

    fn put(&mut self, key: &Key, value: &[u8], revision: u64, step: u32) -> Result<Head, Failure> {
        let (rows, parts) = (self.store.rows()?, self.store.parts()?);
        let size = value.len() as u64;
        if size <= self.store.config.min_blob_size {
            self.batch.put_cf(rows, key.as_bytes(), layout::whole(revision, value));
            return Ok(Head { revision, size, step: None });
        }
        let head = Head { revision, size, step: Some(step) };
        for ((_, key), part) in head.parts(0..size).zip(value.chunks(PART_BYTES)) {
            self.batch.put_cf(parts, key, part);
        }
        self.batch.put_cf(rows, key.as_bytes(), layout::in_parts(revision, step, size));
        Ok(head)
    }
}
