//! Every clause of the contract, on locations of their own of a real server: as they are by
//! themselves, spread over partitions, and with every batch of more than one step carried by
//! marks.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use holdall_core::{Backend, Result, async_trait};
use holdall_dynamodb::{Config, DynamoDb};
use holdall_testkit::conformance::Fixture;
use support::fresh;

struct Location(Config);

#[async_trait]
impl Fixture for Location {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(DynamoDb::open(self.0.clone(), &holdall_runtime::env()).await?))
    }
}

mod plain {
    holdall_testkit::conformance!(super::Location(super::fresh()));
}

mod spread {
    use super::Config;
    holdall_testkit::conformance!(super::Location(Config { spread: 7, ..super::fresh() }));
}

mod marks {
    use super::Config;
    holdall_testkit::conformance!(super::Location(Config {
        transaction_steps: 1,
        ..super::fresh()
    }));
}
