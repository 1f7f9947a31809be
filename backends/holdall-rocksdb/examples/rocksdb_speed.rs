//! Measures the backend beside the rocksdb crate alone, with the same settings on the same disk,
//! in turns.
//!
//! `cargo run --release -p holdall-rocksdb --example rocksdb_speed [folder] [--json]`; without a
//! folder it is a temporary one.
#![allow(clippy::print_stdout, reason = "an example that prints")]

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use holdall_core::{Bytes, Env, async_trait};
use holdall_rocksdb::{Config, RocksDb};
use holdall_testkit::speed::{Contender, Outcome, compare};
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, Options, WriteOptions};

#[tokio::main]
async fn main() -> Outcome<()> {
    let env = holdall_runtime::env();
    let (flags, folders): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument == "--json");
    let folder = match folders.first() {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let ours = RocksDb::open(Config::new(folder.path().join("ours")), &env).await?;
    let raw = Raw { db: Arc::new(open(&folder.path().join("raw"))?), env: env.clone() };
    let others: [(&str, &dyn Contender); 1] = [("rocksdb", &raw)];
    print!("{}", compare(&env, Arc::new(ours), &others, !flags.is_empty()).await);
    Ok(())
}

fn open(path: &Path) -> Outcome<DB> {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_hyper_clock_cache(256 << 20, 0));
    blocks.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_max_write_buffer_number(3);
    options.set_max_background_jobs(4);
    Ok(DB::open(&options, path)?)
}

/// The shortest thing that keeps values in RocksDB: one family, one synced write a call. Each
/// write has a thread, so that RocksDB joins those of many callers by itself.
struct Raw {
    db: Arc<DB>,
    env: Env,
}

#[async_trait]
impl Contender for Raw {
    async fn put(&self, key: &str, value: Bytes) -> Outcome<()> {
        let (db, key) = (Arc::clone(&self.db), key.to_owned());
        let put = move || {
            let mut synced = WriteOptions::default();
            synced.set_sync(true);
            db.put_opt(key.as_bytes(), &value, &synced)
        };
        Ok(self.env.blocking(put).await??)
    }

    async fn get(&self, key: &str, _: Option<Range<u64>>) -> Outcome<usize> {
        Ok(self.db.get(key.as_bytes())?.ok_or("the value is missing")?.len())
    }
}
