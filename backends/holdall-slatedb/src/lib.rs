//! SlateDB: a log-structured tree whose files lie in a bucket or a directory. One writes, and is
//! fenced off when another opens the store to write; any number read beside it.
//!
//! ```text
//!   write   expectations, rows ─► memory ─► one log file for all who wait ─► all are answered
//!   read    what is in the log files and tables, never what is in memory alone
//! ```
//!
//! A row is its key and its value as they are. Its revision is the number that SlateDB gives to
//! the batch that wrote it, which is kept with the row.

mod config;
mod error;
mod open;
mod probe;
mod read;
mod store;
mod write;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{Either, select};
use futures::pin_mut;
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Env, Error, Expect, Find, Health, Key, List,
    Location, Object, Op, Operation, Page, Profile, Result, Revision,
};

pub use config::{Cloud, Compression, Config, Place};

use read::Engine;
use store::Store;
use write::Flushes;

/// The version of the library, which is pinned.
const VERSION: &str = "0.18.0";

/// Keeps values in a SlateDB store: as its only writer, or as one of its readers.
pub struct SlateDb {
    profile: Profile,
    engine: Engine,
    store: Store,
    flushes: Flushes,
    timeout: Duration,
    location: Location,
    env: Env,
}

impl SlateDb {
    /// Opens a store, and makes it and its directory if they are missing. Whoever had it open to
    /// write is fenced off: its writes fail with `Closed` from now on. With
    /// [`read_only`](Config::read_only) it must exist, nobody is fenced off, and writes are
    /// `Denied`.
    ///
    /// # Errors
    /// `Invalid` for a missing bucket or a store of another version, `Denied` for credentials
    /// that do not suffice, `Unavailable` if the bucket cannot be reached, `Unsupported` if it
    /// does not keep the conditions by which a writer is fenced off.
    pub async fn open(config: Config, env: &Env) -> Result<Self> {
        let location = config.location();
        let opened = open::open(config, env).await;
        opened.map_err(|error| error.with_location(&location))
    }

    /// Waits for this, but not for longer than the timeout. The error that ends the waiting says
    /// what the store underneath answers to a question of its own.
    async fn within<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        pin_mut!(work);
        match select(work, self.env.sleep(self.timeout)).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => {
                let message = "the store did not answer in time; try again, with a longer timeout \
                               if it is far away";
                let late = Error::unavailable(operation, message);
                Err(match self.ask(operation).await {
                    Ok(()) => late,
                    Err(error) => error,
                })
            }
        }
    }

    /// Asks the store underneath, but not for longer than the timeout.
    async fn ask(&self, operation: Operation) -> Result<()> {
        let asked = self.store.ask(operation);
        pin_mut!(asked);
        match select(asked, self.env.sleep(self.timeout)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                let message = "the store did not answer in time; look at it and the network";
                Err(Error::unavailable(operation, message))
            }
        }
    }

    fn located(&self, error: Error) -> Error {
        error.with_location(&self.location)
    }
}

#[async_trait]
impl Backend for SlateDb {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        let read = self.within(Operation::Get, self.read(key, range)).await;
        read.map_err(|error| self.located(error))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        let read = self.within(Operation::Get, self.read_many(keys)).await;
        read.map_err(|error| self.located(error))
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.check_limits(Operation::Put, key, value.len())?;
        let op = Op::put(key.clone(), value, expect);
        let written = self.write(Operation::Put, vec![op]).await;
        written.map_err(|error| self.located(error.with_key(key)))
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let op = Op::Delete { key: key.clone(), expect };
        let written = self.write(Operation::Delete, vec![op]).await;
        written.map(drop).map_err(|error| self.located(error.with_key(key)))
    }

    async fn list(&self, list: &List) -> Result<Page> {
        let page = self.within(Operation::List, self.page(list)).await;
        page.map_err(|error| self.located(error))
    }

    async fn find(&self, _: &Find) -> Result<Page> {
        let message = "SlateDB keeps no metadata beside its rows; list them and look at each";
        Err(self.located(Error::unsupported(Operation::List, message)))
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.check_batch(&batch)?;
        let written = self.write(Operation::Apply, batch.ops).await;
        written.map_err(|error| self.located(error))
    }

    async fn health(&self) -> Result<Health> {
        let known = self.check_open(Operation::Health);
        known.map_err(|error| self.located(error))?;
        self.ask(Operation::Health).await.map_err(|error| self.located(error))?;
        let role = match self.engine {
            Engine::Writer(_) => "the one writer of this store",
            Engine::Reader(_) => "a reader beside the writer, which it follows",
        };
        let notes = vec![
            format!("SlateDB {VERSION} on {}", self.store.asking),
            role.to_owned(),
            format!("tables and logs of {} are in use", self.tables()),
        ];
        Ok(Health { notes, ..Health::default() })
    }
}

impl fmt::Debug for SlateDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlateDb({})", self.location)
    }
}

impl Drop for SlateDb {
    /// Ends the library's tasks. All that was answered is durable already.
    fn drop(&mut self) {
        let engine = self.engine.clone();
        self.env.spawn(async move { engine.close().await });
    }
}
