//! redb: one transaction a group, its default of immediate durability.

use std::path::Path;

use bytes::Bytes;
use redb::{Database, ReadableDatabase, TableDefinition};

use super::group::{Engine, Record};
use crate::Result;

const ROWS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("rows");

/// A redb database of names and bytes.
pub struct Redb(Database);

impl Redb {
    /// A new database in this folder.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(folder: &Path) -> Result<Self> {
        let database = Database::create(folder.join("redb"))?;
        let txn = database.begin_write()?;
        txn.open_table(ROWS)?;
        txn.commit()?;
        Ok(Self(database))
    }
}

impl Engine for Redb {
    const NAME: &'static str = "redb";
    const DURABILITY: &'static str = "one transaction a group, fdatasync at its commit";

    fn commit(&mut self, records: &[Record]) -> Result<()> {
        let txn = self.0.begin_write()?;
        {
            let mut rows = txn.open_table(ROWS)?;
            for (name, bytes) in records {
                rows.insert(name.as_str(), bytes.as_ref())?;
            }
        }
        Ok(txn.commit()?)
    }

    fn get(&mut self, name: &str) -> Result<Option<Bytes>> {
        let rows = self.0.begin_read()?.open_table(ROWS)?;
        Ok(rows.get(name)?.map(|bytes| Bytes::copy_from_slice(bytes.value())))
    }
}
