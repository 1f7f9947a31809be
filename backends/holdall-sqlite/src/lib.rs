//! SQLite: one file, shared by the processes of one machine.
//!
//! ```text
//!   read    in the caller's thread, each on a connection of its own
//!   write   queue ─► one transaction for all who wait ─► one sync ─► all are answered
//! ```
//!
//! With a write-ahead log, which is the default, reads and writes do not hold each other up.
//! Writers of several processes take turns.

mod config;
mod connection;
mod error;
mod find;
mod layout;
mod read;
mod store;
#[cfg(test)]
mod tests;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use holdall_core::waiting::{pause, submit};
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Conditions, Env, Error, Expect, Find, Health,
    KEY_BYTES_MAX, Key, List, Location, Object, Op, Operation, Page, Profile, Reach, Result,
    Revision,
};
use rusqlite::Connection;

pub use config::{Config, JournalMode, Synchronous, TempStore};

use error::Failure;
use store::Store;

/// Keeps values in an SQLite database. Processes of one machine can share the file.
#[derive(Debug)]
pub struct Sqlite {
    profile: Profile,
    store: Arc<Store>,
    location: Location,
    env: Env,
}

impl Sqlite {
    /// Opens a database, and makes its file, folder and tables if they are missing.
    ///
    /// # Errors
    /// `Invalid` if the settings do not fit together, or the file is not SQLite's or is another
    /// program's database; `Denied` if it may not be written; `Corrupt` if it is damaged;
    /// `Unavailable` if it is locked for all of `busy_timeout`, or open elsewhere with another
    /// `journal_mode`.
    pub async fn open(config: Config, env: &Env) -> Result<Self> {
        let location = config.location();
        let opened = Self::open_at(config, location.clone(), env).await;
        opened.map_err(|error| error.with_location(&location))
    }

    async fn open_at(config: Config, location: Location, env: &Env) -> Result<Self> {
        config.check()?;
        let durability = config.durability()?;
        let busy_timeout = config.busy_timeout;
        let waited = env.stopwatch();
        let store = loop {
            let config = config.clone();
            match env.blocking(move || Store::open(config)).await? {
                Ok(store) => break store,
                Err(failure) if failure.is_busy() && waited.elapsed() < busy_timeout => {
                    env.sleep(pause(env)).await;
                }
                Err(failure) if failure.is_busy() => {
                    let message = "the database was locked for all of busy_timeout, or is open \
                        elsewhere with another journal_mode; try again, with that one";
                    let source = failure.into_error(Operation::Open);
                    return Err(Error::unavailable(Operation::Open, message).with_source(source));
                }
                Err(failure) => return Err(failure.into_error(Operation::Open)),
            }
        };
        let profile = Profile {
            engine: "sqlite",
            key_bytes_max: KEY_BYTES_MAX,
            value_bytes_max: layout::VALUE_BYTES_MAX,
            batch_ops_max: 100_000,
            batch_bytes_max: 256 << 20,
            atomic: true,
            metadata: true,
            conditions: Conditions::Revision,
            reach: Reach::Machine,
            durability,
        };
        Ok(Self { profile, store: Arc::new(store), location, env: env.clone() })
    }

    async fn read<T>(
        &self,
        operation: Operation,
        work: impl Fn(&Connection) -> Result<T, Failure>,
    ) -> Result<T> {
        let read = self.store.read_patiently(&self.env, operation, work).await;
        read.map_err(|error| error.with_location(&self.location))
    }

    async fn write(&self, operation: Operation, ops: Vec<Op>) -> Result<Revision> {
        let written = submit(&self.store, &self.env, operation, ops).await;
        written.map_err(|error| error.with_location(&self.location))
    }
}

#[async_trait]
impl Backend for Sqlite {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        let read = self.read(Operation::Get, |connection| read::get(connection, key, range));
        read.await.map_err(|error| error.with_key(key))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.read(Operation::Get, |connection| read::get_many(connection, keys)).await
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.check_limits(Operation::Put, key, value.len())?;
        let op = Op::put(key.clone(), value, expect);
        self.write(Operation::Put, vec![op]).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let op = Op::Delete { key: key.clone(), expect };
        self.write(Operation::Delete, vec![op]).await.map(drop)
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.read(Operation::List, |connection| read::list(connection, list)).await
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        self.read(Operation::List, |connection| find::find(connection, find)).await
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.check_batch(&batch)?;
        self.write(Operation::Apply, batch.ops).await
    }

    async fn health(&self) -> Result<Health> {
        self.read(Operation::Health, |connection| self.store.health(connection)).await
    }
}
