//! RocksDB: sorted files that are written once and merged, held by one process.
//!
//! ```text
//!   read    in the caller's thread what is in memory; where it may block what is on the disk
//!   write   queue ─► one batch for all who wait ─► one sync ─► all are answered
//! ```
//!
//! Reads and writes do not hold each other up. Small values are in their rows; larger ones are in
//! parts, whose bytes lie in blob files that compaction does not copy.

mod config;
mod error;
mod folder;
mod layout;
mod read;
mod store;
#[cfg(test)]
mod tests;
mod tuning;
mod write;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdall_core::waiting::submit;
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Conditions, Env, Error, Expect, Find, Health,
    KEY_BYTES_MAX, Key, List, Location, Object, Op, Operation, Page, Profile, Reach, Result,
    Revision,
};

pub use config::{Compression, Config, OnPowerLoss};

use error::Failure;
use read::Depth;
use store::{Handle, Opened, Store};

/// How long opening waits for the last user of the same folder in this process to go.
const CLOSING: Duration = Duration::from_secs(5);
/// How long it waits between two looks.
const CLOSING_PAUSE: Duration = Duration::from_millis(2);

/// Keeps values in a RocksDB database. One process at a time can have its folder open.
#[derive(Debug)]
pub struct RocksDb {
    profile: Profile,
    handle: Arc<Handle>,
    location: Location,
    env: Env,
}

impl RocksDb {
    /// Opens a database, and makes it and its folder if they are missing. Opening a folder again
    /// in the same process gives another handle on the same database.
    ///
    /// # Errors
    /// `Unavailable`, with its holder's name, if another process has it open; `Denied` if the
    /// folder may not be written; `Invalid` if it holds another program's database or is open in
    /// this process with other options; `Corrupt` if it is damaged; `Closed` if others in this
    /// process hold on to it although a write has failed.
    pub async fn open(config: Config, env: &Env) -> Result<Self> {
        let location = config.location();
        let opened = Self::open_at(config, location.clone(), env).await;
        opened.map_err(|error| error.with_location(&location))
    }

    async fn open_at(config: Config, location: Location, env: &Env) -> Result<Self> {
        config.check()?;
        let profile = Profile {
            engine: "rocksdb",
            key_bytes_max: KEY_BYTES_MAX,
            value_bytes_max: layout::VALUE_BYTES_MAX,
            batch_ops_max: 100_000,
            batch_bytes_max: 256 << 20,
            atomic: true,
            metadata: false,
            conditions: Conditions::Revision,
            reach: Reach::Process,
            durability: config.durability(),
        };
        let waited = env.stopwatch();
        let handle = loop {
            let config = config.clone();
            match env.blocking(move || Handle::open(config)).await.flatten()? {
                Opened::Now(handle) => break handle,
                Opened::Later if waited.elapsed() < CLOSING => env.sleep(CLOSING_PAUSE).await,
                Opened::Later => {
                    let message = "this process has the database open after a failed write; drop \
                        all handles on it, then open it again";
                    return Err(Error::closed(Operation::Open, message));
                }
            }
        };
        Ok(Self { profile, handle, location, env: env.clone() })
    }

    /// Reads here what is in memory, and else where waiting for the disk does no harm.
    async fn read<T: Send + 'static>(
        &self,
        operation: Operation,
        work: impl Fn(&Store, Depth) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let read = match work(self.store(), Depth::Memory) {
            Err(Failure::Cold) => {
                let store = Arc::clone(self.store());
                self.env.blocking(move || work(&store, Depth::Disk)).await?
            }
            read => read,
        };
        read.map_err(|failure| self.located(failure.into_error(operation)))
    }

    async fn write(&self, operation: Operation, ops: Vec<Op>) -> Result<Revision> {
        let written = submit(self.store(), &self.env, operation, ops).await;
        written.map_err(|error| self.located(error))
    }

    fn store(&self) -> &Arc<Store> {
        &self.handle.0
    }

    fn located(&self, error: Error) -> Error {
        error.with_location(&self.location)
    }
}

#[async_trait]
impl Backend for RocksDb {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        let wanted = key.clone();
        let read = self.read(Operation::Get, move |store, depth| store.get(&wanted, range, depth));
        read.await.map_err(|error| error.with_key(key))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        let keys = keys.to_vec();
        self.read(Operation::Get, move |store, depth| store.get_many(&keys, depth)).await
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.check_limits(Operation::Put, key, value.len())?;
        self.write(Operation::Put, vec![Op::put(key.clone(), value, expect)]).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let op = Op::Delete { key: key.clone(), expect };
        self.write(Operation::Delete, vec![op]).await.map(drop)
    }

    async fn list(&self, list: &List) -> Result<Page> {
        let list = list.clone();
        self.read(Operation::List, move |store, depth| store.list(&list, depth)).await
    }

    async fn find(&self, _: &Find) -> Result<Page> {
        Err(self.no_metadata())
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.check_batch(&batch)?;
        self.write(Operation::Apply, batch.ops).await
    }

    async fn health(&self) -> Result<Health> {
        let store = Arc::clone(self.store());
        let health = self.env.blocking(move || store.health()).await;
        health.flatten().map_err(|error| self.located(error))
    }
}
