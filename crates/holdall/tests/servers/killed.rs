//! A process is killed at random moments while it writes; the next one goes on where it was.
//!
//! This test program starts itself again as the child: [`child`] is no test of its own.
#![allow(clippy::disallowed_methods, reason = "tests drive real processes")]

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use holdall::{Bytes, Engine, VolumeId};
use holdall_testkit::Chance;
use holdall_volume::Volume;

use crate::killing::{live, round};
use crate::places::Place;
use crate::world::{Oracle, assert_clean, present, small_policy};

const CATALOG: &str = "HOLDALL_TEST_CATALOG";
const DATA: &str = "HOLDALL_TEST_DATA";
const VOLUME: &str = "HOLDALL_TEST_VOLUME";
const ROUND: &str = "HOLDALL_TEST_ROUND";
const ROUNDS: u64 = 6;

/// Opens what a process held that was just killed: its end may take a moment.
async fn open(catalog: &str, data: &str) -> Engine {
    for _ in 0..200 {
        if let Ok(engine) = crate::open(catalog, data).await {
            return engine;
        }
        holdall::env().sleep(Duration::from_millis(20)).await;
    }
    crate::open(catalog, data).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test of this file as a process of its own"]
async fn child() {
    let variable = |name| std::env::var(name).unwrap();
    let engine = open(&variable(CATALOG), &variable(DATA)).await;
    let id = VolumeId::parse(&variable(VOLUME)).unwrap();
    let volume = crate::stores(&engine).open(id).await.unwrap();
    live(volume, variable(ROUND).parse().unwrap()).await;
}

fn start(catalog: &str, data: &str, id: VolumeId, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::child", "--ignored", "--nocapture"])
        .env(CATALOG, catalog)
        .env(DATA, data)
        .env(VOLUME, id.to_string())
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

pub(crate) fn survives(catalog: Place, data: Place) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (catalog, data, id) = runtime.block_on(async {
        let (catalog, data) = (catalog(folder.path()), data(folder.path()));
        let engine = crate::open(&catalog, &data).await.unwrap();
        let resources = crate::stores(&engine).resources();
        let volume = Volume::create(resources, "v", small_policy()).await.unwrap();
        engine.close().await.unwrap();
        (catalog, data, volume.id())
    });
    let mut chance = Chance::new(1);
    let (mut there, mut acknowledged): (BTreeMap<String, Bytes>, usize) = Default::default();
    for number in 0..ROUNDS {
        let oracle = Oracle::from(&there);
        let life = Duration::from_millis(300 + chance.below(700));
        let child = start(&catalog, &data, id, number);
        acknowledged += round(child, number, life, &oracle);
        there = runtime.block_on(async {
            let engine = open(&catalog, &data).await;
            let volume = crate::stores(&engine).open(id).await.unwrap();
            oracle.check_all(&volume).await;
            if number % 3 == 2 {
                assert_clean(&volume).await;
            }
            let there = present(&volume).await.unwrap();
            engine.close().await.unwrap();
            there
        });
    }
    assert!(acknowledged as u64 > ROUNDS, "only {acknowledged} writes in {ROUNDS} rounds");
}
