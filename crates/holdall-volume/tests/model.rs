//! A volume answers as a `BTreeMap` of versions would, whatever is done and asked: on memory, on
//! files, on LMDB, and on the embedded default.
//!
//! `HOLDALL_SEED=17 cargo test -p holdall-volume --test model` replays a seed;
//! `HOLDALL_SIM_SEEDS=60s` runs more of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/model.rs"]
mod driver;
#[path = "support/world.rs"]
mod world;

use std::path::Path;
use std::sync::Arc;

use driver::run;
use holdall_core::{Backend, Memory};
use holdall_file::File;
use holdall_layers::{JournalSettings, Stack};
use holdall_lmdb::Lmdb;
use holdall_testkit::sim;
use world::Stores;

/// Runs seeds, one runtime each, on backends made in a folder of its own.
fn seeds<F: Future<Output = Stores>>(
    count: u64,
    steps: usize,
    open: impl Fn(std::path::PathBuf) -> F,
) {
    sim::seeds(count, |seed| {
        let folder = tempfile::tempdir().unwrap();
        let _show = Show(seed);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let stores = open(folder.path().to_owned()).await;
            run(stores, seed, steps).await;
        });
    });
}

/// Says which seed failed.
struct Show(u64);

impl Drop for Show {
    #[allow(clippy::print_stderr, reason = "a failing test says how to replay it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay it with HOLDALL_SEED={}", self.0);
        }
    }
}

async fn file(folder: &Path) -> Arc<dyn Backend> {
    let config = holdall_file::Config::new(folder.join("data"));
    Arc::new(File::open(config, &holdall_runtime::env()).await.unwrap())
}

async fn lmdb(folder: &Path) -> Arc<dyn Backend> {
    let config = holdall_lmdb::Config::new(folder.join("catalog"));
    Arc::new(Lmdb::open(config, &holdall_runtime::env()).await.unwrap())
}

#[test]
fn on_memory() {
    seeds(25, 150, |_| async {
        let memory = || Arc::new(Memory::new()) as Arc<dyn Backend>;
        Stores { env: holdall_runtime::env(), catalog: memory(), data: memory() }
    });
}

#[test]
fn on_memory_and_files() {
    seeds(4, 150, |folder| async move {
        let catalog: Arc<dyn Backend> = Arc::new(Memory::new());
        Stores { env: holdall_runtime::env(), catalog, data: file(&folder).await }
    });
}

#[test]
fn on_lmdb_and_files() {
    seeds(4, 150, |folder| async move {
        let (catalog, data) = (lmdb(&folder).await, file(&folder).await);
        Stores { env: holdall_runtime::env(), catalog, data }
    });
}

#[test]
fn on_a_journal_lmdb_and_files() {
    seeds(4, 150, |folder| async move {
        let env = holdall_runtime::env();
        let settings = JournalSettings {
            journal_bytes: 1 << 20,
            overlay_bytes: 64 << 10,
            ..JournalSettings::default()
        };
        let stack = Stack::new(lmdb(&folder).await).with_journal(&folder.join("journal"), settings);
        let catalog = stack.open(&env).await.unwrap().backend;
        Stores { env, catalog, data: file(&folder).await }
    });
}
