//! LMDB alone, through heed: one transaction a group, its default of a sync at every commit.

use std::ops::Bound;
use std::path::Path;

use bytes::Bytes;
use heed::types::Bytes as Raw;
use heed::{Database, Env, EnvOpenOptions, WithoutTls};

use super::group::{Engine, Record};
use crate::Result;

const MAP_BYTES: usize = 64 << 30;

/// An LMDB database of names and bytes.
#[derive(Clone)]
pub struct Lmdb {
    env: Env<WithoutTls>,
    rows: Database<Raw, Raw>,
}

impl Lmdb {
    /// A new database in this folder.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(folder: &Path) -> Result<Self> {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(MAP_BYTES);
        // SAFETY: nothing else opens the file, which lies in a folder of this run's own, and none
        // of the flags that weaken LMDB's locks or syncs is set.
        #[allow(unsafe_code, reason = "a memory map is unsafe to open")]
        let env = unsafe { options.open(folder)? };
        let mut txn = env.write_txn()?;
        let rows = env.create_database(&mut txn, None)?;
        txn.commit()?;
        Ok(Self { env, rows })
    }

    /// Reads one record where it lies, in a transaction of its own, and hands it to `look`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn look<T>(&self, name: &str, look: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        let txn = self.env.read_txn()?;
        Ok(self.rows.get(&txn, name.as_bytes())?.map(look))
    }

    /// Reads all names and bytes in pages of `limit`, a transaction and a search each, into
    /// memory of the caller's own; says how many there are.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn list(&self, limit: usize) -> Result<u64> {
        let (mut after, mut count) = (Vec::new(), 0);
        loop {
            let txn = self.env.read_txn()?;
            let start = match after.as_slice() {
                [] => (Bound::Unbounded, Bound::Unbounded),
                after => (Bound::Excluded(after), Bound::Unbounded),
            };
            let mut page: Vec<(Vec<u8>, Vec<u8>)> = Vec::with_capacity(limit);
            for row in self.rows.range(&txn, &start)?.take(limit) {
                let (name, bytes) = row?;
                page.push((name.to_vec(), bytes.to_vec()));
            }
            count += page.len() as u64;
            match page.pop() {
                Some((name, _)) => after = name,
                None => return Ok(count),
            }
        }
    }
}

impl Engine for Lmdb {
    const NAME: &'static str = "raw LMDB";
    const DURABILITY: &'static str = "one transaction a group, fdatasync at its commit";

    fn commit(&mut self, records: &[Record]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for (name, bytes) in records {
            self.rows.put(&mut txn, name.as_bytes(), bytes)?;
        }
        Ok(txn.commit()?)
    }

    fn get(&mut self, name: &str) -> Result<Option<Bytes>> {
        self.look(name, Bytes::copy_from_slice)
    }
}
