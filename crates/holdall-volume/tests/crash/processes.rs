//! Several writers of one volume: two processes side by side, and one that was silent for too long.
//!
//! This test program starts itself again as the child: [`child`] is no test of its own.
#![allow(clippy::disallowed_methods, reason = "tests drive real processes")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use futures::future::join_all;
use holdall_core::{Backend, ErrorKind, Memory};
use holdall_file::File;
use holdall_lmdb::Lmdb;
use holdall_testkit::{Fault, Faulty, Method, Plan, sim};
use holdall_volume::format::keys::VolumeId;
use holdall_volume::gc::GcOptions;
use holdall_volume::{Condition, PutOptions, Volume};

use crate::world::{GRACE, Stores, assert_clean, name, noise, present, read, small_policy};

const FOLDER: &str = "HOLDALL_TEST_SIDE_FOLDER";
const VOLUME: &str = "HOLDALL_TEST_SIDE_VOLUME";
const WHO: &str = "HOLDALL_TEST_SIDE_WHO";
const COUNTS: usize = 40;
const WRITES: u64 = 60;

async fn open(folder: &Path) -> Stores {
    let env = holdall_runtime::env();
    let lmdb = holdall_lmdb::Config::new(folder.join("catalog"));
    let file = holdall_file::Config::new(folder.join("data"));
    let catalog = Arc::new(Lmdb::open(lmdb, &env).await.unwrap());
    let data = Arc::new(File::open(file, &env).await.unwrap());
    Stores { env, catalog, data }
}

/// Adds one to a number that both processes count, as often as it must.
async fn count(volume: &Volume) {
    let shared = name("shared");
    let mut done = 0;
    while done < COUNTS {
        let (number, condition) = match volume.get(&shared).await.unwrap() {
            Some(reading) => {
                let bytes = reading.bytes().await.unwrap();
                let number: usize = std::str::from_utf8(&bytes).unwrap().parse().unwrap();
                (number, Condition::Version(reading.entry().version))
            }
            None => (0, Condition::Absent),
        };
        let options = PutOptions::default().condition(condition);
        match volume.put(&shared, (number + 1).to_string(), options).await {
            Ok(_) => done += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
        }
    }
}

/// Values of which half are the same in both processes.
fn written(who: u64, n: u64) -> (String, bytes::Bytes) {
    let seed = if n.is_multiple_of(2) { n } else { n + 1000 * who };
    let size = if n.is_multiple_of(3) { 20_000 } else { 100 };
    (format!("p{who}/{n:03}"), noise(seed, size))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test of this file as a process of its own"]
async fn child() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let id = VolumeId::parse(&std::env::var(VOLUME).unwrap()).unwrap();
    let who: u64 = std::env::var(WHO).unwrap().parse().unwrap();
    let volume = open(&folder).await.open(id).await.unwrap();
    let write = |n| {
        let (volume, (target, bytes)) = (volume.clone(), written(who, n));
        async move { volume.put(&name(&target), bytes, PutOptions::default()).await.unwrap() }
    };
    let look_after = async {
        for _ in 0..5 {
            volume.gc(GcOptions::default()).await.unwrap();
            volume.checkpoint().await.unwrap();
        }
    };
    futures::join!(count(&volume), join_all((0..WRITES).map(write)), look_after);
    volume.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_write_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let stores = open(folder.path()).await;
    let volume = Volume::create(stores.resources(), "v", small_policy()).await.unwrap();
    let child = |who: u64| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::child", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(VOLUME, volume.id().to_string())
            .env(WHO, who.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    for child in [child(1), child(2)] {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
    let mut present = present(&volume).await.unwrap();
    assert_eq!(present.remove("shared").unwrap(), (2 * COUNTS).to_string());
    for (target, bytes) in (1..=2).flat_map(|who| (0..WRITES).map(move |n| written(who, n))) {
        assert_eq!(present.remove(&target), Some(bytes), "{target}");
    }
    assert!(present.is_empty(), "{:?}", present.keys());
    let usage = volume.usage().await.unwrap();
    assert_eq!(usage.entries, 2 * WRITES + 1);
    assert_eq!(usage.sequence, 2 * (WRITES + COUNTS as u64));
    assert_clean(&volume).await;
}

/// A writer that nobody heard of for lease and grace is ended by another's collection. What it does
/// later fails, changes nothing, and says what to do.
#[test]
fn a_writer_that_was_ended_fails_cleanly() {
    sim::Simulation::new(3)
        .with_clock_jumps(0)
        .run(|env| async move {
            let memory: Arc<dyn Backend> = Arc::new(Memory::new());
            let data: Arc<dyn Backend> = Arc::new(Memory::new());
            let stores = Stores { env: env.clone(), catalog: Arc::clone(&memory), data };
            let other = Volume::create(stores.resources(), "v", small_policy()).await.unwrap();
            let away = Plan::new(1).chance(Method::Apply, Fault::FailBefore, 1000);
            let away = Faulty::new(memory, env.clone(), away);
            away.pause();
            let stalled = Stores { catalog: Arc::new(away.clone()), ..stores.clone() };
            let stalled = stalled.open(other.id()).await.unwrap();
            let put = |volume: &Volume, bytes| {
                let volume = volume.clone();
                let options = PutOptions::default();
                async move { volume.put(&name("entry"), noise(1, bytes), options).await }
            };
            put(&stalled, 100).await.unwrap();
            // From here on it is not heard of.
            away.resume();
            env.sleep(GRACE / 2).await;
            let early = other.gc(GcOptions::default()).await.unwrap();
            assert_eq!(early.writers_ended, 0);
            env.sleep(2 * GRACE).await;
            let ended = other.gc(GcOptions::default()).await.unwrap();
            assert_eq!(ended.writers_ended, 1);
            put(&other, 200).await.unwrap();
            away.pause();
            for bytes in [300, 30_000] {
                let error = put(&stalled, bytes).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
                assert!(error.to_string().contains("open the volume again"), "{error}");
            }
            let found = read(&stalled, &name("entry")).await.unwrap();
            assert_eq!(found, Some(noise(1, 200)), "reading goes on");
            assert_clean(&other).await;
            let again = stores.open(other.id()).await.unwrap();
            put(&again, 400).await.unwrap();
            // What the ended one has stored without a commit is collected.
            env.sleep(2 * GRACE).await;
            let swept = other.gc(GcOptions::default()).await.unwrap();
            assert_eq!((swept.orphans_deleted, swept.writers_forgotten), (2, 1));
            assert_clean(&other).await;
        })
        .unwrap();
}
