//! Whoever does a job ends before or after every write of it; the next process goes on, and nothing
//! is lost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../../holdall-volume/tests/support/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdall_core::{Backend, BackendExt, Bytes, Env, Expect, Key};
use holdall_jobs::{Ran, Runner};
use holdall_testkit::sim::Simulation;
use holdall_testkit::{Crash, CrashPoints, Crashing, Strict};
use holdall_volume::format::keys::VolumeId;
use holdall_volume::format::policy::{LifecycleRule, Policy};
use holdall_volume::{Condition, PutItem, PutOptions, Volume};
use world::{GRACE, Stores, assert_clean, name, noise, present, small_policy};

fn simulate<T, F: Future<Output = T>>(start: impl FnOnce(Env) -> F) -> T {
    let simulation = Simulation::new(7).with_clock_jumps(0);
    simulation.run(start).unwrap_or_else(|stuck| panic!("{stuck}")).0
}

fn strict() -> Arc<dyn Backend> {
    Arc::new(Strict::new().with_value_bytes_max(8 << 20).with_batch_limits(3000, 16 << 20))
}

/// A volume at rest, which every run begins with.
struct Start {
    id: VolumeId,
    catalog: Vec<(Key, Bytes)>,
    data: Vec<(Key, Bytes)>,
    present: BTreeMap<String, Bytes>,
}

async fn everything(backend: &Arc<dyn Backend>) -> Vec<(Key, Bytes)> {
    let rows = backend.list_all("", true).await.unwrap().into_iter();
    rows.map(|row| (row.key, row.object.unwrap().value)).collect()
}

async fn filled(rows: &[(Key, Bytes)]) -> Arc<dyn Backend> {
    let backend = strict();
    for (key, value) in rows {
        backend.put(key, value.clone(), Expect::Any).await.unwrap();
    }
    backend
}

/// Makes the volume: something for every job to do.
async fn start(env: Env) -> Start {
    let stores = Stores { env: env.clone(), catalog: strict(), data: strict() };
    let rule =
        LifecycleRule { prefix: "tmp/".to_owned(), expire: Some(GRACE), ..Default::default() };
    let policy = Policy { lifecycle: vec![rule], ..small_policy() };
    let volume = Volume::create(stores.resources(), "v", policy).await.unwrap();
    let item = |n: u64| PutItem {
        name: name(&format!("many/{n:02}")),
        bytes: noise(10 + n, 9_000),
        options: PutOptions::default(),
    };
    volume.put_many((0..24).map(item).collect()).await.unwrap();
    for n in (0..24).filter(|n| n % 6 != 0 || *n > 14) {
        volume.delete(&name(&format!("many/{n:02}")), Condition::Present).await.unwrap();
    }
    // One that has ended by the time that the jobs run.
    let soon = PutOptions::default().expires(env.now().plus(Duration::from_secs(1)));
    volume.put(&name("ended"), noise(4, 5_000), soon).await.unwrap();
    // Those that a rule has ended by then.
    for n in 0..3 {
        let tmp = name(&format!("tmp/{n}"));
        volume.put(&tmp, noise(20 + n, 600), PutOptions::default()).await.unwrap();
    }
    volume.put(&name("large"), noise(3, 60_000), PutOptions::default()).await.unwrap();
    env.sleep(GRACE * 2).await;
    // Not sealed: its writer was killed.
    volume.put(&name("last"), noise(5, 100), PutOptions::default()).await.unwrap();
    let present = staying(&volume).await;
    assert!(!present.contains_key("ended"));
    let (catalog, data) = (everything(&stores.catalog).await, everything(&stores.data).await);
    Start { id: volume.id(), catalog, data, present }
}

/// What no rule ends.
async fn staying(volume: &Volume) -> BTreeMap<String, Bytes> {
    let mut present = present(volume).await.unwrap();
    present.retain(|name, _| !name.starts_with("tmp/"));
    present
}

/// Runs a job with crash points in its way, and then what the next process does.
async fn run(env: Env, start: &Start, job: &str, points: CrashPoints) -> Vec<String> {
    let calm = Stores {
        env: env.clone(),
        catalog: filled(&start.catalog).await,
        data: filled(&start.data).await,
    };
    let crashing =
        |inner: &Arc<dyn Backend>| Arc::new(Crashing::new(Arc::clone(inner), points.clone()));
    let stores =
        Stores { catalog: crashing(&calm.catalog), data: crashing(&calm.data), ..calm.clone() };
    // The clock of this world begins anew, but what was written stays written.
    env.sleep(GRACE * 4).await;
    if let Ok(volume) = stores.open(start.id).await {
        let first = Runner::new(volume, env.clone(), "first", holdall_jobs::all());
        let ran = first.run(job).await;
        assert!(points.has_crashed() || matches!(ran, Ok(Ran::Done(_))), "{ran:?}");
    }
    let reached = points.reached();
    let volume = calm.open(start.id).await.unwrap();
    let second = Runner::new(volume.clone(), env.clone(), "second", holdall_jobs::all());
    assert_eq!(staying(&volume).await, start.present);
    // What the first has left is taken over, and comes to its end.
    let ran = second.run(job).await.unwrap();
    assert!(matches!(&ran, Ran::Done(run) if !run.findings), "{ran:?}");
    let (row, _) = volume.job(job).await.unwrap().unwrap();
    assert!(row.lease.is_none() && row.begun.is_none() && row.runs >= 1, "{row:?}");
    for other in holdall_jobs::all() {
        let ran = second.run(other.name()).await.unwrap();
        assert!(matches!(&ran, Ran::Done(run) if !run.findings), "{}: {ran:?}", other.name());
    }
    assert_eq!(present(&volume).await.unwrap(), start.present);
    assert_clean(&volume).await;
    reached
}

/// Says at which point a test failed.
struct Show(String);

impl Drop for Show {
    #[allow(clippy::print_stderr, reason = "a failing test says where")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

fn every_point(job: &str, least: usize) {
    let start = simulate(start);
    let points = CrashPoints::never();
    let reached = simulate(|env| run(env, &start, job, points.clone()));
    assert!(reached.len() >= least, "only {} points: {reached:?}", reached.len());
    for (nth, point) in reached.iter().enumerate() {
        let points = CrashPoints::nth(nth as u64 + 1, Crash::Close);
        let at = points.clone();
        let _show = Show(format!("{job} at point {} of {}: {point}", nth + 1, reached.len()));
        simulate(|env| run(env, &start, job, points));
        assert!(at.has_crashed());
    }
}

#[test]
fn sealing() {
    every_point("seal", 8);
}

#[test]
fn collecting() {
    every_point("gc", 20);
}

#[test]
fn ending() {
    every_point("lifecycle", 12);
}

#[test]
fn checkpoints() {
    every_point("checkpoint", 8);
}

#[test]
fn verifying() {
    every_point("verify", 6);
}
