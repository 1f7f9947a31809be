//! Every clause of the contract, on a folder of its own.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use holdall_core::{Backend, Result, async_trait};
use holdall_lmdb::{Config, Lmdb};
use holdall_testkit::conformance::Fixture;

struct Folder(tempfile::TempDir);

#[async_trait]
impl Fixture for Folder {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        let config = Config::new(self.0.path());
        Ok(Arc::new(Lmdb::open(config, &holdall_runtime::env()).await?))
    }
}

holdall_testkit::conformance!(Folder(tempfile::tempdir().unwrap()));
