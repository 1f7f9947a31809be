//! Every clause of the contract, each on a store of its own: in a directory, and on S3.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use holdall_core::{Backend, Location, Result, async_trait};
use holdall_services::{MOTO, shared};
use holdall_slatedb::{Config, SlateDb};
use holdall_testkit::conformance::{Fixture, random_prefix};

mod directory {
    use super::*;

    struct Directory(tempfile::TempDir);

    #[async_trait]
    impl Fixture for Directory {
        async fn open(&self) -> Result<Arc<dyn Backend>> {
            let config = Config::directory(self.0.path());
            Ok(Arc::new(SlateDb::open(config, &holdall_runtime::env()).await?))
        }
    }

    holdall_testkit::conformance!(Directory(tempfile::tempdir().unwrap()));
}

mod s3 {
    use super::*;

    struct Prefix(Location);

    impl Prefix {
        fn new() -> Self {
            let port = shared(&MOTO).unwrap().port;
            let prefix = random_prefix(&holdall_runtime::env());
            let location = format!(
                "slatedb+s3://holdall/{prefix}?endpoint=http://127.0.0.1:{port}&access_key_id=any\
                 &secret_access_key=any&flush_interval=0s"
            );
            Self(Location::parse(&location).unwrap())
        }
    }

    #[async_trait]
    impl Fixture for Prefix {
        async fn open(&self) -> Result<Arc<dyn Backend>> {
            let config = Config::from_location(&self.0)?;
            Ok(Arc::new(SlateDb::open(config, &holdall_runtime::env()).await?))
        }
    }

    holdall_testkit::conformance!(Prefix::new());
}
