//! MySQL and MariaDB: a table of keys and values, shared by all who reach the server.
//!
//! ```text
//!   read    one statement: the server cuts ranges and bounds pages
//!   write   one statement for one value; one text for a batch, run by the server as a transaction
//!   large   a transaction: that text, then the parts of the value
//! ```
//!
//! `sql.rs` says how a batch is checked and written in one round trip, `parts.rs` how large values
//! are cut, `pool.rs` how connections are handed out, `server.rs` which servers are taken.

mod config;
mod describe;
mod error;
mod parts;
mod pool;
mod read;
mod server;
mod sql;
mod store;
mod write;

use async_trait::async_trait;
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Conditions, Env, Error, Expect, Find, Health,
    KEY_BYTES_MAX, Key, List, Location, Object, Op, Operation, Page, Profile, Reach, Result,
    Revision,
};

pub use config::{Config, Tls};

use pool::Pool;
use sql::Statements;
use store::Store;

/// The largest value, whatever the server takes: larger ones are cut before they come here.
const VALUE_BYTES_MAX: u64 = 128 << 20;

/// Keeps values in a table of a MySQL or MariaDB server.
#[derive(Debug)]
pub struct Mysql {
    profile: Profile,
    store: Store,
    notes: Vec<String>,
    location: Location,
}

impl Mysql {
    /// Connects, judges the server, and makes its tables if they are missing.
    ///
    /// # Errors
    /// `Unavailable` if the server is not reached, `Denied` if it does not let the user in or make
    /// the table, `Invalid` if the database is missing or the table of another program,
    /// `Unsupported` if the server is too old or can lose what it has acknowledged.
    pub async fn open(config: Config, env: &Env) -> Result<Self> {
        let location = config.location();
        let opened = Self::connect(config, env, &location).await;
        opened.map_err(|error| error.with_location(&location))
    }

    async fn connect(config: Config, env: &Env, location: &Location) -> Result<Self> {
        const OPERATION: Operation = Operation::Open;
        if matches!(config.tls, Tls::Require { .. }) {
            // Refused if the process has chosen one already; then that one is used.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let connections = (config.min_connections, config.max_connections);
        let pool = Pool::new(server::opts(&config), env, config.connect_timeout, connections);
        let statements = Statements::new(&config.table);
        let mut lease = pool.lease(OPERATION).await?;
        let ask = async {
            let server = server::ask(&mut lease, config.allow_unsafe_server).await?;
            server::tables(&mut lease, &config.table, &statements).await?;
            Ok(server)
        };
        let Some(server) = pool::within(env, config.statement_timeout, ask).await else {
            let message = "the server did not answer in time; look at it and open again";
            return Err(Error::unavailable(OPERATION, message));
        };
        let server = server?;
        lease.done();
        pool.fill(OPERATION).await?;
        let room = server.packet_bytes - sql::ROW_BYTES;
        let profile = Profile {
            engine: "mysql",
            key_bytes_max: KEY_BYTES_MAX,
            value_bytes_max: room.min(VALUE_BYTES_MAX),
            batch_ops_max: 20_000,
            batch_bytes_max: room.min(VALUE_BYTES_MAX),
            atomic: true,
            metadata: true,
            conditions: Conditions::Revision,
            reach: Reach::Network,
            durability: server.durability,
        };
        let store = Store {
            pool,
            statements,
            env: env.clone(),
            statement_timeout: config.statement_timeout,
            packet_bytes: usize::try_from(server.packet_bytes).unwrap_or(usize::MAX),
        };
        Ok(Self { profile, store, notes: server.notes, location: location.clone() })
    }

    fn located(&self, error: Error) -> Error {
        error.with_location(&self.location)
    }
}

#[async_trait]
impl Backend for Mysql {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.store.get(key, range).await.map_err(|error| self.located(error))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.store.get_many(keys).await.map_err(|error| self.located(error))
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.check_limits(Operation::Put, key, value.len())?;
        let op = Op::put(key.clone(), value, expect);
        self.store.write(Operation::Put, &op).await.map_err(|error| self.located(error))
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let op = Op::Delete { key: key.clone(), expect };
        let deleted = self.store.write(Operation::Delete, &op).await;
        deleted.map(drop).map_err(|error| self.located(error))
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.store.list(list).await.map_err(|error| self.located(error))
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        self.store.find(find).await.map_err(|error| self.located(error))
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.check_batch(&batch)?;
        self.store.apply(batch).await.map_err(|error| self.located(error))
    }

    async fn health(&self) -> Result<Health> {
        let (used, read_only) = self.store.health().await.map_err(|error| self.located(error))?;
        let mut notes = self.notes.clone();
        if read_only {
            notes.push("the server is read-only now".to_owned());
        }
        Ok(Health { bytes_used: used, bytes_free: None, notes })
    }
}
