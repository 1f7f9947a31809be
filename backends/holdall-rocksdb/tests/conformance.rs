//! Every clause of the contract, on a folder of its own: as it comes, and with nearly every value
//! in parts, small buffers, and the weaker promise.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use holdall_core::{Backend, Result, async_trait};
use holdall_rocksdb::{Compression, Config, OnPowerLoss, RocksDb};
use holdall_testkit::conformance::Fixture;

struct Folder(tempfile::TempDir, fn(Config) -> Config);

#[async_trait]
impl Fixture for Folder {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        let config = self.1(Config::new(self.0.path().join("made/on/demand")));
        Ok(Arc::new(RocksDb::open(config, &holdall_runtime::env()).await?))
    }
}

holdall_testkit::conformance!(Folder(tempfile::tempdir().unwrap(), |config| config));

mod in_parts {
    use super::*;

    fn small(config: Config) -> Config {
        Config {
            write_buffer_size: 1 << 20,
            max_write_buffer_number: 2,
            block_cache_size: 1 << 20,
            bloom_filter_bits: 0,
            compression: Compression::Zstd,
            min_blob_size: 64,
            level0_file_num_compaction_trigger: 1,
            max_open_files: 64,
            on_power_loss: OnPowerLoss::LoseLastWrites,
            max_total_wal_size: 1 << 20,
            ..config
        }
    }

    holdall_testkit::conformance!(Folder(tempfile::tempdir().unwrap(), small));
}
