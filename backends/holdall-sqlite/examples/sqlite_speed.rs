//! Measures the backend beside rusqlite alone, with the same settings on the same disk, in turns.
//!
//! `cargo run --release -p holdall-sqlite --example sqlite_speed [folder] [--json]`; without a
//! folder it is a temporary one.
#![allow(clippy::print_stdout, reason = "an example that prints")]

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use holdall_core::{Bytes, async_trait};
use holdall_sqlite::{Config, Sqlite};
use holdall_testkit::speed::{Contender, Outcome, compare};
use rusqlite::{Connection, OptionalExtension};

#[tokio::main]
async fn main() -> Outcome<()> {
    let env = holdall_runtime::env();
    let (flags, folders): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument == "--json");
    let folder = match folders.first() {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let ours = Sqlite::open(Config::new(folder.path().join("ours.db")), &env).await?;
    let raw = Raw::open(&folder.path().join("raw.db"))?;
    let others: [(&str, &dyn Contender); 1] = [("rusqlite", &raw)];
    print!("{}", compare(&env, Arc::new(ours), &others, !flags.is_empty()).await);
    Ok(())
}

/// The shortest thing that keeps values in SQLite: one table, one statement a call.
struct Raw(Mutex<Connection>);

impl Raw {
    fn open(path: &Path) -> Outcome<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = wal; PRAGMA synchronous = full; PRAGMA cache_size = -16384;
            CREATE TABLE raw (key TEXT PRIMARY KEY, value BLOB NOT NULL)",
        )?;
        Ok(Self(Mutex::new(connection)))
    }
}

#[async_trait]
impl Contender for Raw {
    async fn put(&self, key: &str, value: Bytes) -> Outcome<()> {
        let put = "INSERT INTO raw VALUES (?1, ?2)
            ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        connection.prepare_cached(put)?.execute((key, &value[..]))?;
        Ok(())
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Outcome<usize> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found: Option<Vec<u8>> = match range {
            None => {
                let mut get = connection.prepare_cached("SELECT value FROM raw WHERE key = ?1")?;
                get.query_row([key], |row| row.get(0)).optional()?
            }
            Some(range) => {
                let part = "SELECT substr(value, ?2, ?3) FROM raw WHERE key = ?1";
                let mut part = connection.prepare_cached(part)?;
                let (start, length) = (range.start as i64 + 1, (range.end - range.start) as i64);
                part.query_row((key, start, length), |row| row.get(0)).optional()?
            }
        };
        Ok(found.ok_or("the value is missing")?.len())
    }
}
