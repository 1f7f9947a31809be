//! A real process is killed at random moments while eight writers, a sealer and a collector are at
//! work, on the embedded default; the next one goes on where it was.
//!
//! This test program starts itself again as the child: [`child`] is no test of its own.
//! `HOLDALL_CRASH_ROUNDS` says how often.
#![allow(clippy::disallowed_methods, reason = "tests drive real processes")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use holdall_core::{Bytes, Result};
use holdall_file::File;
use holdall_layers::{JournalSettings, Journaled, Stack};
use holdall_lmdb::Lmdb;
use holdall_testkit::Chance;
use holdall_volume::Volume;
use holdall_volume::format::keys::VolumeId;

use crate::killing::{live, round};
use crate::world::{Oracle, Stores, assert_clean, present, small_policy};

const FOLDER: &str = "HOLDALL_TEST_CRASH_FOLDER";
const VOLUME: &str = "HOLDALL_TEST_CRASH_VOLUME";
const ROUND: &str = "HOLDALL_TEST_CRASH_ROUND";

/// Opens the embedded default. The end of an earlier holder may take a moment.
async fn open(folder: &Path) -> (Stores, Arc<Journaled>) {
    let env = holdall_runtime::env();
    let file = holdall_file::Config::new(folder.join("data"));
    let data = Arc::new(File::open(file, &env).await.unwrap());
    let mut attempt = 0;
    loop {
        match journal(folder).await {
            Ok((stack, journal)) => {
                let stores = Stores { env, catalog: stack, data };
                return (stores, journal);
            }
            Err(error) => {
                attempt += 1;
                assert!(attempt < 500, "{error:?}");
                env.sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn journal(folder: &Path) -> Result<(Arc<dyn holdall_core::Backend>, Arc<Journaled>)> {
    let env = holdall_runtime::env();
    let lmdb = Lmdb::open(holdall_lmdb::Config::new(folder.join("catalog")), &env).await?;
    // So small that it turns over, and is flushed, many times.
    let settings = JournalSettings {
        journal_bytes: 1 << 20,
        overlay_bytes: 256 << 10,
        flush_bytes: 64 << 10,
        ..JournalSettings::default()
    };
    let stack = Stack::new(Arc::new(lmdb)).with_journal(&folder.join("journal"), settings);
    let stacked = stack.open(&env).await?;
    Ok((stacked.backend, stacked.journal.unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test of this file as a process of its own"]
async fn child() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let id = VolumeId::parse(&std::env::var(VOLUME).unwrap()).unwrap();
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let (stores, _journal) = open(&folder).await;
    let volume = stores.open(id).await.unwrap();
    live(volume, round).await;
}

fn start(folder: &Path, id: VolumeId, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(VOLUME, id.to_string())
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn killed_at_any_moment() {
    let rounds = std::env::var("HOLDALL_CRASH_ROUNDS");
    let rounds: u64 = rounds.map_or(200, |text| text.parse().expect("a number of rounds"));
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let id = runtime.block_on(async {
        let (stores, journal) = open(folder.path()).await;
        let volume = Volume::create(stores.resources(), "v", small_policy()).await.unwrap();
        journal.close().await.unwrap();
        volume.id()
    });
    let mut chance = Chance::new(1);
    let (mut there, mut acknowledged): (BTreeMap<String, Bytes>, usize) = Default::default();
    for number in 0..rounds {
        let oracle = Oracle::from(&there);
        let life = Duration::from_millis(20 + chance.below(120));
        let child = start(folder.path(), id, number);
        acknowledged += round(child, number, life, &oracle);
        there = runtime.block_on(async {
            let (stores, _journal) = open(folder.path()).await;
            let volume = stores.open(id).await.unwrap();
            oracle.check_all(&volume).await;
            if number % 20 == 19 || number + 1 == rounds {
                assert_clean(&volume).await;
            }
            present(&volume).await.unwrap()
        });
    }
    assert!(acknowledged as u64 > rounds, "only {acknowledged} writes in {rounds} rounds");
}
