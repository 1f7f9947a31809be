//! SQLite: one transaction a group, a write-ahead log that is synced at every commit.

use std::path::Path;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};

use super::group::{Engine, Record};
use crate::Result;

/// An SQLite database of names and bytes.
pub struct Sqlite(Connection);

impl Sqlite {
    /// A new database in this folder.
    ///
    /// # Errors
    /// If it cannot be made, or does not take the settings.
    pub fn create(folder: &Path) -> Result<Self> {
        let connection = Connection::open(folder.join("sqlite"))?;
        let mode: String =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(format!("SQLite did not take the write-ahead log, but {mode}").into());
        }
        connection.execute_batch(
            "PRAGMA synchronous = FULL;
             CREATE TABLE rows (name TEXT PRIMARY KEY, bytes BLOB NOT NULL)",
        )?;
        Ok(Self(connection))
    }
}

impl Engine for Sqlite {
    const NAME: &'static str = "SQLite";
    const DURABILITY: &'static str = "WAL, synchronous FULL, one transaction a group";

    fn commit(&mut self, records: &[Record]) -> Result<()> {
        let txn = self.0.transaction()?;
        {
            let mut put = txn.prepare("INSERT OR REPLACE INTO rows VALUES (?1, ?2)")?;
            for (name, bytes) in records {
                put.execute((name, bytes.as_ref()))?;
            }
        }
        Ok(txn.commit()?)
    }

    fn get(&mut self, name: &str) -> Result<Option<Bytes>> {
        let mut get = self.0.prepare("SELECT bytes FROM rows WHERE name = ?1")?;
        let bytes: Option<Vec<u8>> = get.query_row([name], |row| row.get(0)).optional()?;
        Ok(bytes.map(Bytes::from))
    }
}
