//! Writing a group of sets in one transaction.

use std::io::{self, Write};
use std::time::Duration;

use heed::RwTxn;
use holdall_core::waiting::{Group, Queue, Set};
use holdall_core::{Error, ErrorKind, Key, Op, Operation, Result, Revision};

use crate::error;
use crate::row::{self, REVISION_BYTES, REVISION_KEY};
use crate::store::Store;

/// Room on the disk under which an unclear write error is taken for a full disk.
const ROOM_BYTES: u64 = 16 << 20;

/// Why a whole group failed.
struct Failed {
    error: Error,
    /// Whether each of its sets may be tried by itself.
    again: bool,
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
    /// Writes what can be written, in one transaction, and says for each set what became of it.
    /// A set whose expectations do not hold changes nothing; the others go on.
    pub(crate) fn write_group(&self, sets: &[Set]) -> Vec<Result<Revision>> {
        let failed = match self.try_group(sets) {
            Ok(results) => return results,
            Err(failed) => failed,
        };
        if failed.again && sets.len() > 1 {
            // One set that does not fit must not take the others down with it.
            return sets
                .iter()
                .flat_map(|set| self.write_group(std::slice::from_ref(set)))
                .collect();
        }
        sets.iter().map(|_| Err(failed.error.clone())).collect()
    }

    fn try_group(&self, sets: &[Set]) -> Result<Vec<Result<Revision>>, Failed> {
        let operation = sets.first().map_or(Operation::Apply, |set| set.operation);
        let refused = |error| Failed { error, again: false };
        let failed = |source| {
            let error = error::lmdb(operation, source);
            Failed { again: error.kind() == ErrorKind::Full, error }
        };
        self.check_open(operation).map_err(refused)?;
        let mut txn = self.env.write_txn().map_err(failed)?;
        let last = match self.rows.get(&txn, REVISION_KEY).map_err(failed)? {
            Some(row) => row::split(operation, row).map_err(refused)?.0,
            None => 0,
        };
        let mut revision = last;
        let mut results = Vec::with_capacity(sets.len());
        for set in sets {
            match self.check(&txn, set) {
                Ok(()) => {
                    if set.ops.iter().any(writes) {
                        revision += 1;
                        self.write(&mut txn, set, revision).map_err(failed)?;
                    }
                    results.push(Ok(Revision::number(revision)));
                }
                Err(error) => results.push(Err(error)),
            }
        }
        if revision == last {
            txn.abort();
            return Ok(results);
        }
        if sets.iter().flat_map(|set| &set.ops).any(|op| matches!(op, Op::Put { .. }))
            && self.rows_bytes(&txn).map_err(failed)? > self.rows_bytes_max
        {
            return Err(failed(heed::Error::Mdb(heed::MdbError::MapFull)));
        }
        self.rows.put(&mut txn, REVISION_KEY, &revision.to_le_bytes()).map_err(failed)?;
        txn.commit().map_err(|source| self.judge(operation, sets, source))?;
        Ok(results)
    }

    /// Whether all that a set expects is so; else the error names the first key that is not.
    fn check(&self, txn: &RwTxn<'_>, set: &Set) -> Result<()> {
        for op in &set.ops {
            if *op.expect() == holdall_core::Expect::Any {
                continue;
            }
            let current = self.current(txn, set.operation, op.key())?;
            if !op.expect().holds(current.as_ref()) {
                let message = "the key has changed since it was read; read it again";
                return Err(Error::conflict(set.operation, message).with_key(op.key()));
            }
        }
        Ok(())
    }

    fn current(
        &self,
        txn: &RwTxn<'_>,
        operation: Operation,
        key: &Key,
    ) -> Result<Option<Revision>> {
        let found = self.rows.get(txn, key.as_bytes());
        let Some(found) = found.map_err(|source| error::lmdb(operation, source))? else {
            return Ok(None);
        };
        let (revision, _) = row::split(operation, found).map_err(|error| error.with_key(key))?;
        Ok(Some(Revision::number(revision)))
    }

    /// Writes the steps of a set in the order of their keys, in which neighbours share pages.
    fn write(&self, txn: &mut RwTxn<'_>, set: &Set, revision: u64) -> heed::Result<()> {
        let mut ops: Vec<&Op> = set.ops.iter().collect();
        ops.sort_unstable_by(|left, right| left.key().cmp(right.key()));
        for op in ops {
            match op {
                Op::Put { key, value, .. } => {
                    let size = REVISION_BYTES + value.len();
                    self.rows.put_reserved(txn, key.as_bytes(), size, |space| {
                        space.write_all(&revision.to_le_bytes())?;
                        space.write_all(value)
                    })?;
                }
                Op::Delete { key, .. } => {
                    self.rows.delete(txn, key.as_bytes())?;
                }
                Op::Check { .. } => {}
            }
        }
        Ok(())
    }

    /// What a failed commit means. LMDB writes the pages, syncs, and last of all writes the page
    /// that makes them current: if it did not get there, nothing has happened. If it failed in
    /// that very page it refuses all further use.
    fn judge(&self, operation: Operation, sets: &[Set], source: heed::Error) -> Failed {
        let broken = matches!(self.env.read_txn(), Err(heed::Error::Mdb(heed::MdbError::Panic)));
        let needed = ROOM_BYTES + sets.iter().map(Set::bytes).sum::<usize>() as u64;
        // LMDB reports a write that was cut short, as on a disk that is nearly full, as this.
        let cut_short = matches!(&source, heed::Error::Io(source)
            if source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()));
        let no_room = cut_short && self.disk_free().is_ok_and(|free| free < needed);
        let source = match source {
            _ if !broken && no_room => heed::Error::Io(io::ErrorKind::StorageFull.into()),
            source => source,
        };
        let error = error::lmdb(operation, source);
        if !broken && error.kind() == ErrorKind::Full {
            return Failed { error, again: true };
        }
        // After a failed sync the system may have forgotten what it did not write, and the next
        // sync would succeed and mean nothing.
        self.close();
        let message = "the write could not be synced and may have happened; read it back";
        let error = Error::unknown(operation, message).with_source(error);
        Failed { error, again: false }
    }
}

fn writes(op: &Op) -> bool {
    !matches!(op, Op::Check { .. })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::Arc;

    use holdall_core::waiting::submit;
    use holdall_core::{ByteRange, Bytes, Expect};
    use rustix::io::Errno;

    use super::*;
    use crate::config::Config;
    use crate::store::Handle;

    fn put(value: &'static str) -> Vec<Op> {
        vec![Op::put(Key::parse("a").unwrap(), Bytes::from(value), Expect::Any)]
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_commit_without_room_is_full_and_writes_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let env = holdall_runtime::env();
        let handle = Handle::open(Config::new(folder.path())).unwrap();
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            let source = heed::Error::Io(io::Error::from(errno));
            let failed = handle.0.judge(Operation::Put, &[], source);
            assert!(failed.again);
            assert_eq!(failed.error.kind(), ErrorKind::Full);
        }
        let failed = handle.0.judge(Operation::Put, &[], heed::Error::Mdb(heed::MdbError::MapFull));
        assert_eq!(failed.error.kind(), ErrorKind::Full);
        submit(&handle.0, &env, Operation::Put, put("1")).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn after_a_failed_sync_no_write_is_taken_until_all_have_closed() {
        let folder = tempfile::tempdir().unwrap();
        let env = holdall_runtime::env();
        let handle = Handle::open(Config::new(folder.path())).unwrap();
        submit(&handle.0, &env, Operation::Put, put("1")).await.unwrap();

        let source = heed::Error::Io(io::Error::from(Errno::IO));
        let failed = handle.0.judge(Operation::Put, &[], source);
        assert!(!failed.again);
        assert_eq!(failed.error.kind(), ErrorKind::Unknown);
        let refused = submit(&handle.0, &env, Operation::Put, put("2")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Closed);
        assert_eq!(handle.0.health().unwrap_err().kind(), ErrorKind::Closed);
        let key = Key::parse("a").unwrap();
        assert_eq!(handle.0.get(&key, ByteRange::ALL).unwrap().unwrap().value, "1");

        let refused = Handle::open(Config::new(folder.path())).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Closed);
        assert_eq!(Arc::strong_count(&handle), 1);
        drop(handle);
        let handle = Handle::open(Config::new(folder.path())).unwrap();
        submit(&handle.0, &env, Operation::Put, put("3")).await.unwrap();
    }
}
