//! What the tests on real servers share.
#![allow(dead_code, reason = "each test program uses a part of it")]

use holdall_postgres::{Config, Tls};
use holdall_services::{POSTGRES, shared};

/// The database and role of the recipe, on this port.
pub(crate) fn config(port: u16) -> Config {
    Config {
        port,
        schema: fresh_schema(),
        tls: Tls::Off,
        max_connections: 8,
        ..Config::new("127.0.0.1", "holdall", "postgres")
    }
}

/// A schema of its own on the server that all tests share.
pub(crate) fn shared_config() -> Config {
    config(shared(&POSTGRES).unwrap().port)
}

/// A name that no earlier schema had.
pub(crate) fn fresh_schema() -> String {
    let random: [u8; 8] = holdall_runtime::env().random();
    format!("test-{:016x}", u64::from_le_bytes(random))
}
