//! PostgreSQL: a table of keys and values in a schema of its own.
//!
//! ```text
//!   get, get_many, list     one SELECT: one moment, one round trip
//!   put, delete, apply      one call of the schema's function `write`: one transaction, which
//!                           locks, checks and writes; one round trip
//! ```
//!
//! Puts that wait at the same time and expect nothing share one such call.
//!
//! A write is one statement that commits by itself, so there is no transaction that a lost client
//! could leave open, and a dropped future leaves nothing behind. Its locks are advisory ones of
//! the transaction, on the keys' hashes and in their order: writers do not deadlock, and a check
//! of a key that is missing holds until the batch has committed.

mod call;
mod config;
mod error;
mod find;
mod lock;
mod pool;
mod read;
mod setup;
mod statements;
mod tls;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use holdall_core::waiting::{GATHERED_BYTES_MAX, gather};
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Conditions, Durability, Env, Error, Expect, Find,
    Health, KEY_BYTES_MAX, Key, List, Location, Object, Op, Operation, Page, Profile, Reach,
    Result, Revision,
};

pub use config::{Config, Tls, Values};

use call::Server;

/// The largest value and the largest batch, in bytes: what a server of a few GiB of memory takes
/// from many clients at once.
pub(crate) const VALUE_BYTES_MAX: usize = 64 << 20;
const BATCH_OPS_MAX: usize = 50_000;

/// Keeps values in a PostgreSQL database, for everyone who can reach it.
pub struct Postgres {
    profile: Profile,
    server: Arc<Server>,
    location: Location,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The location hides what is secret.
        write!(f, "Postgres({})", self.location)
    }
}

impl Postgres {
    /// Opens a schema of a database, and makes what is missing in it. Many may do so at once.
    ///
    /// # Errors
    /// `Unavailable` if the server cannot be reached or does not answer in time, `Denied` if it
    /// refuses the user, the password or the rights, or the certificate is not trusted, `Invalid`
    /// if there is no such database or the schema belongs to another program, `Unsupported` if the
    /// server is too old or does not sync what it commits.
    pub async fn open(config: Config, env: &Env) -> Result<Self> {
        let location = config.location();
        let opened = setup::open(&config, env).await;
        let (server, facts) = opened.map_err(|error| error.with_location(&location))?;
        let profile = Profile {
            engine: "postgres",
            key_bytes_max: KEY_BYTES_MAX,
            value_bytes_max: VALUE_BYTES_MAX as u64,
            batch_ops_max: BATCH_OPS_MAX,
            batch_bytes_max: VALUE_BYTES_MAX as u64,
            atomic: true,
            metadata: facts.utf8,
            conditions: Conditions::Revision,
            reach: Reach::Network,
            durability: if facts.fsync { Durability::Store } else { Durability::Process },
        };
        Ok(Self { profile, server: Arc::new(server), location })
    }

    async fn write(&self, operation: Operation, ops: &[Op]) -> Result<Revision> {
        self.server.write(operation, ops).await.map_err(|error| self.located(error))
    }

    fn located(&self, error: Error) -> Error {
        error.with_location(&self.location)
    }
}

#[async_trait]
impl Backend for Postgres {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.server.get(key, range).await.map_err(|error| self.located(error))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.server.get_many(keys).await.map_err(|error| self.located(error))
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.check_limits(Operation::Put, key, value.len())?;
        let small = value.len() <= GATHERED_BYTES_MAX;
        let op = Op::put(key.clone(), value, expect);
        if small && *op.expect() == Expect::Any {
            let server = &self.server;
            let put = gather(server, &server.env, Operation::Put, op);
            return put.await.map_err(|error| self.located(error));
        }
        self.write(Operation::Put, &[op]).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let op = Op::Delete { key: key.clone(), expect };
        self.write(Operation::Delete, &[op]).await.map(drop)
    }

    async fn list(&self, list: &List) -> Result<Page> {
        list.check()?;
        self.server.list(list).await.map_err(|error| self.located(error))
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        if !self.profile.metadata {
            return Err(self.no_metadata());
        }
        find.list.check()?;
        self.server.find(find).await.map_err(|error| self.located(error))
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.check_batch(&batch)?;
        self.write(Operation::Apply, &batch.ops).await
    }

    async fn health(&self) -> Result<Health> {
        self.server.health().await.map_err(|error| self.located(error))
    }
}
