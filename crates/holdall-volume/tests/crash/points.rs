//! Every step of every action, in process: the backends are gone before or after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use holdall_core::{Backend, BackendExt, Bytes, Env, ErrorKind, Expect, Key, Result};
use holdall_testkit::sim::Simulation;
use holdall_testkit::{Crash, CrashPoints, Crashing, Strict};
use holdall_volume::format::keys::VolumeId;
use holdall_volume::format::policy::Policy;
use holdall_volume::gc::GcOptions;
use holdall_volume::rebuild::RebuildOptions;
use holdall_volume::verify::Problem;
use holdall_volume::{Condition, PutItem, PutOptions, Volume};

use crate::world::{
    GRACE, Oracle, Stores, assert_clean, faults, name, noise, pieces, present, rebuild,
    small_policy,
};

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

/// Makes the volume: values of every kind, garbage of every kind, a log and a checkpoint.
async fn start(env: Env, policy: Policy) -> Start {
    let stores = Stores { env, catalog: strict(), data: strict() };
    let volume = Volume::create(stores.resources(), "v", policy).await.unwrap();
    let put = |text: &'static str, bytes: Bytes| {
        let volume = volume.clone();
        async move { volume.put(&name(text), bytes, PutOptions::default()).await.unwrap() }
    };
    put("small", noise(1, 100)).await;
    put("large", noise(2, 100_000)).await;
    put("large too", noise(2, 100_000)).await;
    let item = |n: u64| PutItem {
        name: name(&format!("many/{n:02}")),
        bytes: noise(10 + n, 9_000),
        options: PutOptions::default(),
    };
    let results = volume.put_many((0..24).map(item).collect()).await.unwrap();
    assert!(results.iter().all(Result::is_ok));
    volume.checkpoint().await.unwrap();
    // Some segments are left with little that is alive, some with nothing.
    for n in (0..24).filter(|n| n % 6 != 0 || *n > 14) {
        volume.delete(&name(&format!("many/{n:02}")), Condition::Present).await.unwrap();
    }
    put("large", noise(3, 60_000)).await;
    put("empty", Bytes::new()).await;
    assert_clean(&volume).await;
    let present = present(&volume).await.unwrap();
    volume.close().await.unwrap();
    Start {
        id: volume.id(),
        catalog: everything(&stores.catalog).await,
        data: everything(&stores.data).await,
        present,
    }
}

/// What an action works with.
struct Stage {
    env: Env,
    stores: Stores,
    id: VolumeId,
    oracle: Oracle,
}

impl Stage {
    async fn open(&self) -> Result<Volume> {
        self.stores.open(self.id).await
    }

    /// Does one write, and notes how it went.
    async fn write<T>(
        &self,
        changes: &[(&str, Option<Bytes>)],
        write: impl Future<Output = Result<T>>,
    ) -> Option<T> {
        let ticket = self.oracle.begin(changes);
        let result = write.await;
        self.oracle.end(ticket, &result);
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                assert!(is_end(error.kind()), "{error:?}");
                None
            }
        }
    }
}

/// The errors of a process that ends. Bytes that may have been stored, but that no commit names,
/// are `Unavailable`.
fn is_end(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Closed | ErrorKind::Unknown | ErrorKind::Unavailable)
}

type Action = for<'a> fn(&'a Stage) -> BoxFuture<'a, Result<()>>;

fn puts(stage: &Stage) -> BoxFuture<'_, Result<()>> {
    Box::pin(async {
        let volume = stage.open().await?;
        let default = PutOptions::default;
        for (text, bytes) in [
            ("new", noise(100, 50)),
            ("new large", noise(101, 90_000)),
            ("small", noise(102, 20_000)),
            ("large", noise(103, 10)),
            // Known bytes, of which one copy is garbage.
            ("known", noise(2, 100_000)),
            ("known too", noise(11, 9_000)),
        ] {
            let target = name(text);
            let put = volume.put(&target, bytes.clone(), default());
            stage.write(&[(text, Some(bytes.clone()))], put).await;
        }
        Ok(())
    })
}

fn deletes(stage: &Stage) -> BoxFuture<'_, Result<()>> {
    Box::pin(async {
        let volume = stage.open().await?;
        for text in ["small", "large", "many/06"] {
            let (name, condition) = (name(text), Condition::Present);
            stage.write(&[(text, None)], volume.delete(&name, condition)).await;
        }
        let large = noise(2, 100_000);
        let (from, to) = (name("large too"), name("copy"));
        let copy = volume.copy(&from, &to, Condition::Absent);
        if stage.write(&[("copy", Some(large.clone()))], copy).await.is_some() {
            let changes = [("large too", None), ("moved", Some(large))];
            let target = name("moved");
            let rename = volume.rename(&from, &target, Condition::Absent);
            stage.write(&changes, rename).await;
        }
        Ok(())
    })
}

fn transactions(stage: &Stage) -> BoxFuture<'_, Result<()>> {
    Box::pin(async {
        let volume = stage.open().await?;
        let (one, two) = (noise(200, 70), noise(201, 70_000));
        let changes = [("pair/1", Some(one.clone())), ("pair/2", Some(two.clone()))];
        let both = volume
            .transaction()
            .put(&name("pair/1"), one.clone(), PutOptions::default())
            .put(&name("pair/2"), two.clone(), PutOptions::default())
            .delete(&name("small"), Condition::Present);
        let changes = [changes[0].clone(), changes[1].clone(), ("small", None)];
        stage.write(&changes, both.commit()).await;
        let item =
            |text, bytes| PutItem { name: name(text), bytes, options: PutOptions::default() };
        let tickets = [("bulk/1", one), ("bulk/2", two)].map(|(text, bytes)| {
            (stage.oracle.begin(&[(text, Some(bytes.clone()))]), item(text, bytes))
        });
        let (tickets, items): (Vec<_>, Vec<_>) = tickets.into_iter().unzip();
        let results = volume.put_many(items).await;
        let results = results.unwrap_or_else(|error| vec![Err(error.clone()), Err(error)]);
        for (ticket, result) in tickets.into_iter().zip(results) {
            stage.oracle.end(ticket, &result);
        }
        Ok(())
    })
}

fn streams(stage: &Stage) -> BoxFuture<'_, Result<()>> {
    Box::pin(async {
        let volume = stage.open().await?;
        let bytes = noise(300, 200_001);
        let put = [("stream", Some(bytes.clone()))];
        let target = name("stream");
        let stream = volume.put_stream(&target, pieces(bytes), PutOptions::default());
        stage.write(&put, stream).await;
        let (one, two) = (noise(301, 70_000), noise(302, 30));
        let upload = volume.begin_upload(&name("upload"), PutOptions::default()).await?;
        upload.put_part(2, two.clone()).await?;
        upload.put_part(1, two.clone()).await?;
        upload.put_part(1, one.clone()).await?;
        let whole = Bytes::from([one, two].concat());
        let complete = upload.complete(None, Condition::Always);
        stage.write(&[("upload", Some(whole))], complete).await;
        let aborted = volume.begin_upload(&name("aborted"), PutOptions::default()).await?;
        aborted.put_part(1, noise(303, 40_000)).await?;
        aborted.abort().await
    })
}

fn seals(stage: &Stage) -> BoxFuture<'_, Result<()>> {
    Box::pin(async {
        let volume = stage.open().await?;
        for round in 0..3 {
            let (text, bytes) = (format!("sealed/{round}"), noise(400 + round, 200));
            let target = name(&text);
            let put = volume.put(&target, bytes.clone(), PutOptions::default());
            stage.write(&[(&text, Some(bytes.clone()))], put).await;
            match round {
                0 => assert!(volume.seal().await?.upto > 0),
                1 => assert!(volume.checkpoint().await?.is_some()),
                _ => volume.close().await?,
            }
        }
        Ok(())
    })
}

fn snapshots(stage: &Stage) -> BoxFuture<'_, Result<()>> {
    Box::pin(async {
        let volume = stage.open().await?;
        volume.snapshot(&name("one")).await?;
        let target = name("large");
        let delete = volume.delete(&target, Condition::Present);
        stage.write(&[("large", None)], delete).await;
        volume.delete_snapshot(&name("one")).await?;
        stage.env.sleep(GRACE).await;
        volume.gc(GcOptions::default()).await.map(drop)
    })
}

fn settings(stage: &Stage) -> BoxFuture<'_, Result<()>> {
    Box::pin(async {
        let volume = stage.open().await?;
        volume.set_name("another").await?;
        let policy = Policy { quota_bytes: Some(1 << 40), ..volume.policy() };
        volume.set_policy(policy).await
    })
}

fn collects(stage: &Stage) -> BoxFuture<'_, Result<()>> {
    Box::pin(async {
        let (mut deleted, mut repacked) = (0, 0);
        for _ in 0..4 {
            stage.env.sleep(GRACE).await;
            let volume = stage.open().await?;
            let report = volume.gc(GcOptions::default()).await?;
            volume.close().await?;
            deleted += report.segments_deleted;
            repacked += report.segments_repacked;
        }
        assert!(deleted > 0 && repacked > 0, "{deleted} deleted, {repacked} repacked");
        Ok(())
    })
}

fn rebuilds(stage: &Stage) -> BoxFuture<'_, Result<()>> {
    Box::pin(async {
        let options = RebuildOptions { replace: true, ..RebuildOptions::default() };
        let (_, report) = Volume::rebuild(stage.stores.resources(), stage.id, options).await?;
        assert!(report.is_whole(), "{report:#?}");
        Ok(())
    })
}

/// One run of an action that crashes at this point; the names of the points that it reached.
async fn run(env: Env, start: &Start, action: Action, points: CrashPoints) -> Vec<String> {
    // What was garbage then has waited long enough.
    env.sleep(GRACE).await;
    let calm = Stores {
        env: env.clone(),
        catalog: filled(&start.catalog).await,
        data: filled(&start.data).await,
    };
    let crashing =
        |inner: &Arc<dyn Backend>| Arc::new(Crashing::new(Arc::clone(inner), points.clone()));
    let stores =
        Stores { catalog: crashing(&calm.catalog), data: crashing(&calm.data), ..calm.clone() };
    let oracle = Oracle::from(&start.present);
    let stage = Stage { env: env.clone(), stores, id: start.id, oracle };
    if let Err(error) = action(&stage).await {
        assert!(points.has_crashed() && is_end(error.kind()), "{error:?}");
    }
    let reached = points.reached();
    // In a process that has ended, no task goes on.
    let last = reached.len() as u64;
    aftermath(&stage, calm, last).await;
    reached
}

/// What must hold when the next process opens what was left.
async fn aftermath(stage: &Stage, calm: Stores, turn: u64) {
    let mut volume = calm.open(stage.id).await;
    if volume.as_ref().is_err() || volume.as_ref().unwrap().usage().await.is_err() {
        // Only a rebuild may leave no volume; it is begun again.
        let options = RebuildOptions { replace: true, ..RebuildOptions::default() };
        volume = Volume::rebuild(calm.resources(), stage.id, options).await.map(|(v, _)| v);
    }
    let volume = volume.unwrap();
    stage.oracle.check_all(&volume).await;
    let faults = faults(&volume).await;
    if faults.iter().any(|fault| fault.problem == Problem::VolumeObject) {
        // The row was changed, and its copy not yet: whoever seals next writes that anew.
        assert_eq!(faults.len(), 1, "{faults:#?}");
    } else {
        assert!(faults.is_empty(), "{faults:#?}");
    }
    let now = present(&volume).await.unwrap();
    assert_eq!(now.contains_key("pair/1"), now.contains_key("pair/2"), "a torn transaction");
    assert!(!(now.contains_key("pair/1") && now.contains_key("small")), "a torn transaction");
    let bytes = noise(999, 30_000);
    let target = name("afterwards");
    let put = volume.put(&target, bytes.clone(), PutOptions::default());
    stage.write(&[("afterwards", Some(bytes.clone()))], put).await.unwrap();
    for _ in 0..4 {
        stage.env.sleep(GRACE).await;
        volume.gc(GcOptions::default()).await.unwrap();
    }
    stage.oracle.check_all(&volume).await;
    assert_clean(&volume).await;
    if turn.is_multiple_of(4) {
        volume.close().await.unwrap();
        let (rebuilt, report) = rebuild(&calm, strict(), stage.id).await.unwrap();
        assert!(report.is_whole(), "{report:#?}");
        stage.oracle.check_all(&rebuilt).await;
        assert_clean(&rebuilt).await;
    }
}

/// Runs an action once through, then once for each of its points.
fn every_point(action: Action, policy: &Policy, least: usize) {
    let start = simulate(|env| start(env, policy.clone()));
    let points = CrashPoints::never();
    let reached = simulate(|env| run(env, &start, action, points.clone()));
    assert!(reached.len() >= least, "only {} points: {reached:?}", reached.len());
    for (nth, name) in reached.iter().enumerate() {
        let points = CrashPoints::nth(nth as u64 + 1, Crash::Close);
        let at = points.clone();
        let _show = Show(format!("at point {} of {}: {name}", nth + 1, reached.len()));
        let reached_again = simulate(|env| run(env, &start, action, points));
        assert!(at.has_crashed());
        assert_eq!(reached_again, reached[..=nth], "the same steps each time");
    }
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

#[test]
fn putting() {
    every_point(puts, &small_policy(), 20);
}

#[test]
fn deleting_copying_and_renaming() {
    every_point(deletes, &small_policy(), 12);
}

#[test]
fn transactions_and_bulk() {
    every_point(transactions, &small_policy(), 10);
}

#[test]
fn streaming_and_uploading() {
    every_point(streams, &small_policy(), 24);
}

#[test]
fn sealing_and_checkpoints() {
    every_point(seals, &small_policy(), 24);
}

#[test]
fn snapshots_and_history() {
    let policy = Policy { history: Duration::from_secs(100), ..small_policy() };
    every_point(snapshots, &policy, 10);
}

#[test]
fn settings_and_names() {
    every_point(settings, &small_policy(), 10);
}

#[test]
fn collecting_and_repacking() {
    every_point(collects, &small_policy(), 30);
}

#[test]
fn rebuilding() {
    every_point(rebuilds, &small_policy(), 10);
}
