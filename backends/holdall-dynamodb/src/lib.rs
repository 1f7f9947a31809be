//! DynamoDB: values as items of a table, ordered by a binary sort key.
//!
//! ```text
//!   get      one item                put      one item, if it is as expected
//!   get_many one transaction, or     apply    one transaction, or marks that one
//!            all rows twice                   write decides about
//!   list     a query of each partition, merged
//! ```
//!
//! `names.rs` shows where items lie, `row.rs` what they hold, `carry.rs` how batches happen that
//! are larger than a transaction of the store.

mod call;
mod carry;
mod config;
mod error;
mod list;
mod names;
mod read;
mod row;
mod setup;
mod value;
mod write;

use std::fmt;

use async_trait::async_trait;
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Conditions, Durability, Env, Error, Expect, Find,
    Health, KEY_BYTES_MAX, Key, List, Location, Object, Op, Operation, Page, Profile, Reach,
    Result, Revision,
};

pub use config::{Billing, Config, Credentials};

use call::Store;
use error::Failure;
use names::Names;
use row::revision;

const PROFILE: Profile = Profile {
    engine: "dynamodb",
    key_bytes_max: KEY_BYTES_MAX,
    value_bytes_max: 16 << 20,
    batch_ops_max: 10_000,
    batch_bytes_max: 32 << 20,
    atomic: true,
    metadata: false,
    conditions: Conditions::Revision,
    reach: Reach::Network,
    durability: Durability::Store,
};

/// Keeps values in a table of DynamoDB.
pub struct DynamoDb {
    store: Store,
    location: Location,
}

impl fmt::Debug for DynamoDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynamoDb({})", self.location)
    }
}

impl DynamoDb {
    /// Looks at the table, and makes it if it is missing and the configuration says so.
    ///
    /// # Errors
    /// `Denied` for credentials that are missing, wrong or lack a permission, `Unavailable` if the
    /// store cannot be reached or the table is not ready, `Invalid` if the table is missing, is for
    /// something else, or the location was made with another spread.
    pub async fn open(config: Config, env: &Env) -> Result<Self> {
        let location = config.location();
        let config = config.checked().map_err(|error| error.with_location(&location))?;
        let opened = Self::connect(&config, env).await;
        let store =
            opened.map_err(|failure| failure.at(Operation::Open).with_location(&location))?;
        Ok(Self { store, location })
    }

    async fn connect(config: &Config, env: &Env) -> Result<Store, Failure> {
        let store = Store {
            client: setup::client(config).await?,
            table: config.table.clone(),
            names: Names::new(&config.prefix, config.spread),
            env: env.clone(),
            timeout: config.timeout,
            lock_wait: config.lock_wait,
            transaction_steps: config.transaction_steps,
        };
        store.open_table(config).await?;
        store.open_form(config.spread).await?;
        Ok(store)
    }

    fn failed(&self, operation: Operation, failure: Failure) -> Error {
        failure.at(operation).with_location(&self.location)
    }

    async fn write(&self, operation: Operation, ops: &[Op]) -> Result<Revision> {
        let written = self.store.write(ops).await;
        written.map(|nonce| revision(&nonce)).map_err(|failure| self.failed(operation, failure))
    }
}

#[async_trait]
impl Backend for DynamoDb {
    fn profile(&self) -> &Profile {
        &PROFILE
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        range.clip(u64::MAX).map_err(|e| e.with_key(key).with_location(&self.location))?;
        let found = self.store.get(key, range).await;
        found.map_err(|failure| self.failed(Operation::Get, failure).with_key(key))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.store.get_many(keys).await;
        found.map_err(|failure| self.failed(Operation::Get, failure))
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.check_limits(Operation::Put, key, value.len())?;
        self.write(Operation::Put, &[Op::put(key.clone(), value, expect)]).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.write(Operation::Delete, &[Op::Delete { key: key.clone(), expect }]).await.map(drop)
    }

    async fn list(&self, list: &List) -> Result<Page> {
        list.check()?;
        let page = self.store.list(list).await;
        page.map_err(|failure| self.failed(Operation::List, failure))
    }

    async fn find(&self, _: &Find) -> Result<Page> {
        Err(self.no_metadata())
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.check_batch(&batch)?;
        self.write(Operation::Apply, &batch.ops).await
    }

    async fn health(&self) -> Result<Health> {
        let health = self.store.health().await;
        health.map_err(|failure| self.failed(Operation::Health, failure))
    }
}
