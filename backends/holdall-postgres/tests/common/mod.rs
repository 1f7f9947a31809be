//! What the tests on real servers share.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "the raw client's connection is a task")]

use holdall_core::{Bytes, Error, Key};
use holdall_postgres::{Config, Postgres, Tls};
use holdall_services::{POSTGRES, shared};
use tokio_postgres::NoTls;

/// The database and role of the recipe, on this port, with a schema of its own.
pub(crate) fn config(port: u16) -> Config {
    let random: [u8; 8] = holdall_runtime::env().random();
    Config {
        port,
        schema: format!("test-{:016x}", u64::from_le_bytes(random)),
        tls: Tls::Off,
        max_connections: 8,
        ..Config::new("127.0.0.1", "holdall", "postgres")
    }
}

/// A schema of its own on the server that all tests share.
pub(crate) fn shared_config() -> Config {
    config(shared(&POSTGRES).unwrap().port)
}

pub(crate) async fn open(config: &Config) -> Postgres {
    try_open(config).await.unwrap()
}

pub(crate) async fn try_open(config: &Config) -> Result<Postgres, Error> {
    Postgres::open(config.clone(), &holdall_runtime::env()).await
}

pub(crate) fn key(text: impl AsRef<str>) -> Key {
    Key::parse(text).unwrap()
}

/// Bytes that do not repeat soon and differ by seed.
pub(crate) fn bytes(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// The client library alone, for looking at the server past the backend.
pub(crate) async fn raw(config: &Config) -> tokio_postgres::Client {
    let mut options = tokio_postgres::Config::new();
    options.host(&config.host).port(config.port).user(&config.user).dbname(&config.database);
    if let Some(password) = &config.password {
        options.password(password);
    }
    let (client, connection) = options.connect(NoTls).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    client
}

/// Runs statements in which `SCHEMA` stands for the schema's quoted name.
pub(crate) async fn execute(config: &Config, statements: &str) {
    let statements = statements.replace("SCHEMA", &format!("\"{}\"", config.schema));
    raw(config).await.batch_execute(&statements).await.unwrap();
}

/// The number that a statement gives.
pub(crate) async fn ask(config: &Config, statement: &str) -> i64 {
    let statement = statement.replace("SCHEMA", &format!("\"{}\"", config.schema));
    raw(config).await.query_one(&statement, &[]).await.unwrap().get(0)
}
