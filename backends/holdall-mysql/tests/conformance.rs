//! Every clause of the contract, each on a database of its own.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use holdall_core::{Backend, Result, async_trait};
use holdall_mysql::Mysql;
use holdall_testkit::conformance::Fixture;
use support::Database;

#[async_trait]
impl Fixture for Database {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Mysql::open(self.config(), &holdall_runtime::env()).await?))
    }
}

holdall_testkit::conformance!(Database::shared());
