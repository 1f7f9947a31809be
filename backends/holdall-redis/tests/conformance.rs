//! Every clause of the contract, on the real server, under a prefix of its own.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use holdall_core::{Backend, Result, async_trait};
use holdall_redis::{Config, Redis};
use holdall_services::{REDIS, shared};
use holdall_testkit::conformance::{Fixture, random_prefix};

struct Prefix(Config);

#[async_trait]
impl Fixture for Prefix {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Redis::open(self.0.clone(), &holdall_runtime::env()).await?))
    }
}

fn fresh() -> Prefix {
    let server = shared(&REDIS).unwrap();
    let prefix = random_prefix(&holdall_runtime::env());
    Prefix(Config { prefix, ..Config::new("127.0.0.1", server.port) })
}

holdall_testkit::conformance!(fresh());
