//! Every step of writing, scrubbing and repairing a volume in several places, in process: catalog
//! and places are gone before or after it, and the next process begins again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use holdall_core::{Bytes, Env, ErrorKind, Memory, Result};
use holdall_testkit::sim::Simulation;
use holdall_testkit::{Crash, CrashPoints};
use holdall_volume::format::keys::VolumeId;
use holdall_volume::format::policy::{Acknowledge, PlaceState, Policy, Tier};
use holdall_volume::rebuild::RebuildOptions;
use holdall_volume::{PutOptions, RepairOptions, Resources, ScrubOptions, Volume};

use crate::site::{Land, Mood};
use crate::world::{GRACE, Oracle, assert_clean, name, noise, present, small_policy};

/// The place that is lost, and the one that is emptied.
const LOST: &str = "c";
const DRAINED: &str = "d";

fn simulate<T, F: Future<Output = T>>(start: impl FnOnce(Env) -> F) -> T {
    let simulation = Simulation::new(7).with_clock_jumps(0);
    simulation.run(start).unwrap_or_else(|stuck| panic!("{stuck}")).0
}

/// A volume at rest, which every run begins with.
struct Start {
    land: Land,
    id: VolumeId,
    present: BTreeMap<String, Bytes>,
}

async fn start(env: Env, tier: Tier, sites: &[(&'static str, &'static str)]) -> Start {
    let land = Land::new(&env, sites);
    let policy = Policy { tiers: vec![tier], ..small_policy() };
    let volume = Volume::create(land.resources(), "v", policy).await.unwrap();
    for n in 0..6 {
        let target = name(&format!("x{n}"));
        volume.put(&target, noise(n, 40_000), PutOptions::default()).await.unwrap();
    }
    volume.checkpoint().await.unwrap();
    let present = present(&volume).await.unwrap();
    volume.close().await.unwrap();
    // Copies that the last writes did not wait for.
    env.sleep(Duration::from_secs(60)).await;
    Start { land, id: volume.id(), present }
}

/// What an action works with.
struct Stage {
    env: Env,
    resources: Resources,
    id: VolumeId,
    oracle: Oracle,
}

type Action = for<'a> fn(&'a Stage) -> BoxFuture<'a, Result<()>>;

fn writes(stage: &Stage) -> BoxFuture<'_, Result<()>> {
    Box::pin(async {
        let volume = Volume::open(stage.resources.clone(), stage.id).await?;
        for (text, bytes) in
            [("new", noise(100, 90_000)), ("small", noise(101, 50)), ("x1", noise(102, 30_000))]
        {
            let ticket = stage.oracle.begin(&[(text, Some(bytes.clone()))]);
            let result = volume.put(&name(text), bytes, PutOptions::default()).await;
            stage.oracle.end(ticket, &result);
            result?;
        }
        volume.seal().await?;
        volume.close().await
    })
}

async fn say(volume: &Volume, name: &str, state: PlaceState) -> Result<()> {
    let mut places = volume.places();
    places.iter_mut().filter(|place| place.name == name).for_each(|place| place.state = state);
    volume.set_places(places, volume.policy().tiers).await
}

fn scrub() -> ScrubOptions {
    ScrubOptions { period: Duration::ZERO, ..ScrubOptions::default() }
}

/// Finds what is damaged, makes up for the place that is lost, and empties another.
fn mends(stage: &Stage) -> BoxFuture<'_, Result<()>> {
    Box::pin(async {
        let volume = Volume::open(stage.resources.clone(), stage.id).await?;
        let scrubbed = volume.scrub(scrub()).await?;
        assert_eq!(scrubbed.copies_damaged, 1, "{scrubbed:?}");
        say(&volume, LOST, PlaceState::Lost).await?;
        let repaired = volume.repair(RepairOptions::default()).await?;
        say(&volume, DRAINED, PlaceState::Draining).await?;
        let emptied = volume.repair(RepairOptions::default()).await?;
        stage.env.sleep(GRACE + Duration::from_secs(1)).await;
        let dropped = volume.repair(RepairOptions::default()).await?;
        let done = (repaired.copies_made, emptied.copies_left_over, dropped.copies_dropped);
        assert!(done.0 > 1 && done.1 > 0 && done.2 > 0, "{done:?}");
        volume.close().await
    })
}

/// One run of an action that crashes at this point; the names of the points that it reached.
async fn run(env: Env, start: &Start, action: Action, points: CrashPoints) -> Vec<String> {
    let land = start.land.copy(&env).await;
    land.env.sleep(Duration::from_secs(1)).await;
    start.land.sites.iter().zip(&land.sites).for_each(|(was, now)| now.is(was.mood()));
    let oracle = Oracle::from(&start.present);
    let stage = Stage { env, resources: land.crashing(&points), id: start.id, oracle };
    if let Err(error) = action(&stage).await {
        let ended = [ErrorKind::Closed, ErrorKind::Unknown, ErrorKind::Unavailable];
        assert!(points.has_crashed() && ended.contains(&error.kind()), "{error:?}");
    }
    let reached = points.reached();
    // A process that has ended writes nothing more.
    drop(stage.resources);
    assert_nothing_lost(&land, start.id, &stage.oracle).await;
    assert_mended(&land, start.id, &stage.oracle, reached.len()).await;
    reached
}

/// Before anything is repaired: what was acknowledged is there, also without any one place.
async fn assert_nothing_lost(land: &Land, id: VolumeId, oracle: &Oracle) {
    oracle.check_all(&Volume::open(land.resources(), id).await.unwrap()).await;
    if land.sites.iter().any(|site| site.mood() != Mood::Well) {
        return;
    }
    for site in &land.sites {
        site.is(Mood::CutOff);
        oracle.check_all(&Volume::open(land.resources(), id).await.unwrap()).await;
        site.is(Mood::Well);
    }
}

/// Whoever does the same again brings everything back to its copies.
async fn assert_mended(land: &Land, id: VolumeId, oracle: &Oracle, turn: usize) {
    let volume = Volume::open(land.resources(), id).await.unwrap();
    let gone = land.sites.iter().find(|site| site.mood() != Mood::Well).map(|site| site.name);
    if gone.is_some() {
        say(&volume, LOST, PlaceState::Lost).await.unwrap();
        say(&volume, DRAINED, PlaceState::Draining).await.unwrap();
    }
    volume.scrub(scrub()).await.unwrap();
    for _ in 0..3 {
        let repaired = volume.repair(RepairOptions::default()).await.unwrap();
        let amiss = (repaired.segments_unreadable, repaired.segments_short);
        assert_eq!(amiss, (0, 0), "{repaired:?}");
        land.env.sleep(GRACE + Duration::from_secs(1)).await;
    }
    volume.seal().await.unwrap();
    let scrubbed = volume.scrub(scrub()).await.unwrap();
    let amiss = (scrubbed.copies_damaged, scrubbed.copies_unreachable);
    assert_eq!((amiss, scrubbed.log_objects_damaged), ((0, 0), 0), "{scrubbed:?}");
    let report = volume.replicas().await.unwrap();
    let amiss = (report.copies_missing, report.segments_close, report.copies_left_over);
    assert_eq!(amiss, (0, 0, 0), "{report:#?}");
    assert_clean(&volume).await;
    oracle.check_all(&volume).await;
    let before = present(&volume).await.unwrap();
    volume.close().await.unwrap();
    // Any place may go now that is still to be relied on, and the catalog with it.
    let kept = land.sites.iter().filter(|site| gone.is_none() || site.name < LOST);
    let kept: Vec<_> = kept.collect();
    kept[turn % kept.len()].is(Mood::CutOff);
    let bare = Land { catalog: Arc::new(Memory::new()), ..land.clone() };
    let options = RebuildOptions::default();
    let (rebuilt, report) = Volume::rebuild(bare.resources(), id, options).await.unwrap();
    assert!(report.is_whole(), "{report:#?}");
    assert_eq!(present(&rebuilt).await.unwrap(), before);
}

/// Runs an action once for each of its points. How many there are.
fn at_every_point(start: &Start, action: Action) -> usize {
    let never = CrashPoints::never();
    let all = simulate(|env| run(env, start, action, never));
    for nth in 1..=all.len() as u64 {
        let points = CrashPoints::nth(nth, Crash::Close);
        simulate(|env| run(env, start, action, points.clone()));
        assert!(points.has_crashed(), "point {nth} of {} was not reached", all.len());
    }
    all.len()
}

#[test]
fn writing_copies_may_end_at_every_step() {
    let sites = [("a", "za"), ("b", "zb"), ("c", "zc")];
    for (ack, least) in [(Acknowledge::Quorum, 30), (Acknowledge::All, 30)] {
        let tier = Tier { replicas: 3, min_zones: 2, ack, ..Tier::default() };
        let start = simulate(|env| start(env, tier, &sites));
        let points = at_every_point(&start, writes);
        assert!(points > least, "only {points} points with {ack:?}");
    }
}

#[test]
fn scrub_and_repair_may_end_at_every_step() {
    let sites = [("a", "za"), ("b", "zb"), (LOST, "zc"), (DRAINED, "zd")];
    let tier = Tier { replicas: 2, min_zones: 2, ..Tier::default() };
    let start = simulate(|env| async move {
        let start = start(env, tier, &sites).await;
        start.land.site(LOST).is(Mood::CutOff);
        // One copy of those that have another elsewhere than in the place that is lost.
        let held: Vec<BTreeSet<_>> = {
            let mut held = Vec::new();
            for site in ["a", "b", DRAINED] {
                held.push(start.land.site(site).segments().await.into_iter().collect());
            }
            held
        };
        let twice = held[0].intersection(&held[1]).next();
        let (site, segment) = match twice {
            Some(segment) => ("b", segment),
            None => ("a", held[0].intersection(&held[2]).next().expect("two have one segment")),
        };
        start.land.site(site).spoil(segment, false).await;
        start
    });
    let points = at_every_point(&start, mends);
    assert!(points > 40, "only {points} points");
}
