//! Every clause of the contract, on a schema of its own of a real server.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use holdall_core::{Backend, Result, async_trait};
use holdall_postgres::{Config, Postgres, Values};
use holdall_testkit::conformance::Fixture;

struct Schema(Config);

impl Schema {
    fn new(values: Values) -> Self {
        // Small enough for the suite's values to be large.
        Self(Config { values, large_above: 1000, ..common::shared_config() })
    }
}

#[async_trait]
impl Fixture for Schema {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Postgres::open(self.0.clone(), &holdall_runtime::env()).await?))
    }
}

mod bytea {
    holdall_testkit::conformance!(super::Schema::new(super::Values::Bytea));
}

mod chunks {
    holdall_testkit::conformance!(super::Schema::new(super::Values::Chunks));
}

mod large_objects {
    holdall_testkit::conformance!(super::Schema::new(super::Values::LargeObjects));
}
