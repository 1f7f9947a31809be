//! A distributed store: three nodes of Garage on loopback, of which one is killed while a volume
//! keeps its segments there. Garage takes minutes to build, so `cargo x test --distributed` alone
//! runs this.
#![allow(clippy::print_stderr, reason = "says what it has seen")]

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use holdall::{Backend, ErrorKind, PutOptions, Result, Volume};
use holdall_core::{Conditions, List, async_trait};
use holdall_services::Garage;
use holdall_testkit::conformance::{Fixture, Outcome, random_prefix, run_fixture};
use holdall_volume::gc::GcOptions;

use crate::places::SQLITE;
use crate::world::{assert_clean, name, noise, present, small_policy};

/// A location that nothing uses yet, asked for by way of a node.
fn location(garage: &Garage, node: usize, more: &str) -> String {
    let (port, prefix) = (garage.port(node), random_prefix(&holdall::env()));
    let Garage { key_id, secret, .. } = garage;
    format!(
        "s3://holdall/{prefix}?preset=garage&endpoint=http://127.0.0.1:{port}\
         &access_key_id={key_id}&secret_access_key={secret}{more}"
    )
}

async fn open(location: &str) -> Result<Arc<dyn Backend>> {
    Ok(crate::open("memory:", location).await?.data())
}

struct Prefix(String);

#[async_trait]
impl Fixture for Prefix {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        open(&self.0).await
    }
}

/// Every clause holds, or is refused because the probe has found that Garage ignores conditions.
async fn conforms(garage: &Garage) {
    let store = open(&location(garage, 0, "")).await.unwrap();
    assert_eq!(store.profile().conditions, Conditions::None);
    let notes = store.health().await.unwrap().notes.join("; ");
    assert!(notes.contains("overwrites where it was told to create"), "{notes}");
    let asked = open(&location(garage, 0, "&conditional=absent")).await.unwrap_err();
    assert_eq!(asked.kind(), ErrorKind::Unsupported, "{asked:?}");
    let known = || Prefix(location(garage, 0, "&probe=off&conditional=none"));
    let report = run_fixture(known, &holdall::env()).await.unwrap();
    let mut counts = [0; 3];
    for finding in &report.findings {
        match finding.outcome {
            Outcome::Failed(_) => panic!("{finding}"),
            Outcome::Passed => counts[0] += 1,
            Outcome::Refused(_) => counts[1] += 1,
            _ => counts[2] += 1,
        }
    }
    eprintln!("{} clauses kept, {} refused, {} untested", counts[0], counts[1], counts[2]);
}

/// What was put with success, and how often a put was refused.
async fn put_all(volume: &Volume, round: u64, count: u64) -> (Vec<(String, u64)>, usize) {
    let put = |n: u64| async move {
        let (text, seed) = (format!("{round}/{n:03}"), round * 1000 + n);
        let bytes = noise(seed, 30_000);
        let done = volume.put(&name(&text), bytes, PutOptions::default()).await;
        done.map(|_| (text, seed))
    };
    let (mut done, mut refused) = (Vec::new(), 0);
    for result in join_all((0..count).map(put)).await {
        match result {
            Ok(entry) => done.push(entry),
            Err(error) => {
                let kinds = [ErrorKind::Unavailable, ErrorKind::Unknown];
                assert!(kinds.contains(&error.kind()), "{error:?}");
                refused += 1;
            }
        }
    }
    (done, refused)
}

/// Waits until the node has found the others again: it looks for them every minute or so.
async fn reconnected(store: &dyn Backend) {
    for _ in 0..100 {
        match store.list(&List::prefix("").limit(1)).await {
            Ok(_) => return,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
        }
        holdall::env().sleep(Duration::from_secs(2)).await;
    }
    panic!("the nodes do not find each other");
}

async fn survives(garage: &mut Garage) {
    let folder = tempfile::tempdir().unwrap();
    let data = location(garage, 1, "&probe=off&conditional=none&timeout=5s");
    let engine = crate::open(&SQLITE(folder.path()), &data).await.unwrap();
    let resources = crate::stores(&engine).resources();
    let volume = Volume::create(resources, "v", small_policy()).await.unwrap();
    let mut there = put_all(&volume, 0, 40).await.0;
    // One of three is killed in the middle, and is away for a while.
    let (writing, killing) = (put_all(&volume, 1, 80), async {
        holdall::env().sleep(Duration::from_millis(100)).await;
        garage.kill(2).unwrap();
    });
    let ((done, refused), ()) = futures::join!(writing, killing);
    eprintln!("while a node was killed: {} puts, {refused} refused", done.len());
    there.extend(done);
    let (done, refused) = put_all(&volume, 2, 40).await;
    assert_eq!(refused, 0, "two of three nodes are enough");
    there.extend(done);
    volume.seal().await.unwrap();
    volume.checkpoint().await.unwrap();
    assert_clean(&volume).await;
    // Without two of three nothing is taken, and nothing is said to be.
    garage.kill(0).unwrap();
    let (done, refused) = put_all(&volume, 3, 4).await;
    assert!(done.is_empty() && refused == 4, "{done:?}");
    garage.restart(0).unwrap();
    garage.restart(2).unwrap();
    reconnected(engine.data().as_ref()).await;
    let (done, refused) = put_all(&volume, 4, 40).await;
    assert_eq!(refused, 0, "all nodes are back");
    there.extend(done);
    volume.gc(GcOptions::default()).await.unwrap();
    let held = present(&volume).await.unwrap();
    for (text, seed) in &there {
        assert!(held.get(text) == Some(&noise(*seed, 30_000)), "{text}");
    }
    assert_clean(&volume).await;
    eprintln!("{} entries there, of which {} were acknowledged", held.len(), there.len());
    // The node that was away answers for what was written meanwhile.
    drop(volume);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "Garage takes minutes to build: cargo x test --distributed"]
async fn three_nodes_of_garage() {
    let mut garage = Garage::start().unwrap();
    conforms(&garage).await;
    survives(&mut garage).await;
}
