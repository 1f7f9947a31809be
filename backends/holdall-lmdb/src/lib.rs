//! LMDB: a memory-mapped tree of pages, shared by the processes of one machine.
//!
//! ```text
//!   read    in the caller's thread, from the map: no lock, no thread hop
//!   write   queue ─► one transaction for all who wait ─► one sync ─► all are answered
//! ```
//!
//! Reads and writes do not hold each other up. A returned write survives a loss of power: LMDB
//! syncs every commit and none of the flags that weaken this is used.

mod config;
mod error;
mod read;
mod row;
mod store;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use holdall_core::waiting::submit;
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Conditions, Durability, Env, Error, Expect, Find,
    Health, KEY_BYTES_MAX, Key, List, Object, Op, Operation, Page, Profile, Reach, Result,
    Revision,
};

pub use config::Config;

use store::{Handle, Store};

/// Keeps values in an LMDB database. Processes of one machine can share the folder.
#[derive(Debug)]
pub struct Lmdb {
    profile: Profile,
    handle: Arc<Handle>,
    location: holdall_core::Location,
    env: Env,
}

impl Lmdb {
    /// Opens a database, and makes it and its folder if they are missing. Opening a folder again
    /// in the same process gives another handle on the same database.
    ///
    /// # Errors
    /// `Denied` if the folder may not be written, `Invalid` if it holds another program's
    /// database or is open in this process with other options, `Corrupt` if it is damaged.
    pub async fn open(config: Config, env: &Env) -> Result<Self> {
        let location = config.location();
        let handle = env.blocking(move || Handle::open(config)).await;
        let handle = handle.flatten().map_err(|error| error.with_location(&location))?;
        let profile = Profile {
            engine: "lmdb",
            key_bytes_max: KEY_BYTES_MAX,
            value_bytes_max: 128 << 20,
            batch_ops_max: 100_000,
            batch_bytes_max: 256 << 20,
            atomic: true,
            metadata: false,
            conditions: Conditions::Revision,
            reach: Reach::Machine,
            durability: Durability::Machine,
        };
        Ok(Self { profile, handle, location, env: env.clone() })
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
impl Backend for Lmdb {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.store().get(key, range).map_err(|error| self.located(error))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.store().get_many(keys).map_err(|error| self.located(error))
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
        self.store().list(list).map_err(|error| self.located(error))
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
