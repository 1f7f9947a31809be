//! A volume in several places in any order of events: one place is killed for good or spoils what
//! it has, the others are cut off, silent, slow and full now and then. No acknowledged write is
//! lost, and when the storm is over every segment is back at its copies.
//!
//! `HOLDALL_SEED=17 cargo test -p holdall-volume --test simulation_replicas` replays a seed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/site.rs"]
mod site;
#[path = "support/world.rs"]
mod world;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::join_all;
use holdall_core::{Env, Error, ErrorKind, Memory};
use holdall_testkit::{Chance, sim};
use holdall_volume::format::policy::{Acknowledge, PlaceRow, PlaceState, Policy, Tier};
use holdall_volume::gc::GcOptions;
use holdall_volume::rebuild::RebuildOptions;
use holdall_volume::{Condition, PutOptions, RepairOptions, ScrubOptions, Volume};
use site::{Land, Mood, Site};
use world::{GRACE, Oracle, assert_clean, name, noise, present, read, small_policy};

const WRITES: usize = 20;

#[derive(Debug)]
struct World {
    land: Land,
    id: holdall_volume::format::keys::VolumeId,
    open: Mutex<Volume>,
    oracle: Oracle,
    writers_left: AtomicUsize,
    acknowledged: AtomicUsize,
    ended: AtomicBool,
}

impl World {
    fn volume(&self) -> Volume {
        self.open.lock().unwrap().clone()
    }

    /// What places do to a call is `Unavailable`, `Unknown` or `Full`; never damage.
    async fn after(&self, error: &Error) {
        match error.kind() {
            ErrorKind::Closed => {
                let volume = Volume::open(self.land.resources(), self.id).await.unwrap();
                *self.open.lock().unwrap() = volume;
            }
            ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Full => {}
            _ => panic!("{error:?}"),
        }
    }
}

async fn writer(world: Arc<World>, who: usize, mut chance: Chance) {
    for _ in 0..WRITES {
        let text = format!("w{who}/{}", chance.below(6));
        let seed = chance.below(50);
        let bytes = noise(seed, 300 + (seed as usize) * 700);
        let volume = world.volume();
        let failed = if chance.happens(150) {
            let ticket = world.oracle.begin(&[(&text, None)]);
            let result = volume.delete(&name(&text), Condition::Always).await;
            world.oracle.end(ticket, &result);
            result.err()
        } else {
            let ticket = world.oracle.begin(&[(&text, Some(bytes.clone()))]);
            let result = volume.put(&name(&text), bytes, PutOptions::default()).await;
            world.oracle.end(ticket, &result);
            world.acknowledged.fetch_add(usize::from(result.is_ok()), Ordering::Relaxed);
            result.err()
        };
        if let Some(error) = failed {
            world.after(&error).await;
        }
        let floor = world.oracle.floor(&text);
        match read(&volume, &name(&text)).await {
            Ok(found) => world.oracle.check(&text, floor, found.as_ref()),
            Err(error) => world.after(&error).await,
        }
        world.land.env.sleep(Duration::from_millis(chance.below(4000))).await;
    }
    world.writers_left.fetch_sub(1, Ordering::Relaxed);
}

/// Repairs, scrubs, seals, collects.
async fn caretaker(world: Arc<World>, mut chance: Chance) {
    while !world.ended.load(Ordering::Relaxed) {
        world.land.env.sleep(Duration::from_millis(chance.below(15_000))).await;
        let volume = world.volume();
        let result = match chance.below(6) {
            0 => volume.seal().await.map(drop),
            1 => volume.checkpoint().await.map(drop),
            2 => {
                let grace = Some(Duration::from_secs(chance.below(90)));
                let options = GcOptions { unsafe_grace: grace, ..GcOptions::default() };
                volume.gc(options).await.map(drop)
            }
            3 => {
                let period = Duration::from_secs(chance.below(60));
                volume.scrub(ScrubOptions { period, ..ScrubOptions::default() }).await.map(drop)
            }
            _ => {
                let rebalance = chance.happens(300);
                let options = RepairOptions { rebalance, ..RepairOptions::default() };
                volume.repair(options).await.map(drop)
            }
        };
        if let Err(error) = result {
            world.after(&error).await;
        }
    }
}

/// One place after another fails for a while.
async fn weather(world: Arc<World>, victim: usize, mut chance: Chance) {
    let moods = [Mood::CutOff, Mood::Silent, Mood::Full, Mood::Slow(Duration::from_secs(2))];
    while !world.ended.load(Ordering::Relaxed) {
        world.land.env.sleep(Duration::from_millis(chance.below(20_000))).await;
        let others = world.land.sites.len();
        let which = chance.below(others as u64) as usize;
        if which == victim {
            continue;
        }
        world.land.sites[which].is(*chance.pick(&moods).unwrap());
        world.land.env.sleep(Duration::from_millis(chance.below(30_000))).await;
        world.land.sites[which].is(Mood::Well);
    }
}

/// The one place that comes to lasting harm: its copies are spoiled and lost, or it is gone.
async fn harm(world: Arc<World>, victim: Site, killed: bool, mut chance: Chance) {
    world.land.env.sleep(Duration::from_millis(chance.below(20_000))).await;
    if killed {
        victim.is(Mood::CutOff);
        return;
    }
    while !world.ended.load(Ordering::Relaxed) {
        world.land.env.sleep(Duration::from_millis(chance.below(8000))).await;
        let Some(segment) = chance.pick(&victim.keys().await).cloned() else { continue };
        if chance.happens(500) {
            victim.lose(&segment).await;
        } else {
            victim.spoil(&segment, chance.happens(300)).await;
        }
    }
}

fn start(env: &Env, task: impl Future<Output = ()> + Send + 'static) -> oneshot::Receiver<()> {
    let (done, ended) = oneshot::channel();
    env.spawn(async move {
        task.await;
        let _ = done.send(());
    });
    ended
}

fn tier(chance: &mut Chance) -> Tier {
    let (replicas, ack) = *chance
        .pick(&[(2, Acknowledge::All), (3, Acknowledge::All), (3, Acknowledge::Quorum)])
        .unwrap();
    let min_zones = 1 + u8::from(chance.happens(500));
    Tier { replicas, min_zones, ack, ..Tier::default() }
}

async fn run(env: Env, seed: u64) {
    let mut chance = Chance::new(seed);
    let all = [("a", "x"), ("b", "y"), ("c", "z"), ("d", "x"), ("e", "y")];
    let sites = &all[..4 + chance.below(2) as usize];
    let land = Land::new(&env, sites);
    let policy = Policy { tiers: vec![tier(&mut chance)], ..small_policy() };
    let volume = Volume::create(land.resources(), "v", policy).await.unwrap();
    let victim = chance.below(land.sites.len() as u64) as usize;
    let killed = chance.happens(500);
    let world = Arc::new(World {
        land: land.clone(),
        id: volume.id(),
        open: Mutex::new(volume),
        oracle: Oracle::default(),
        writers_left: AtomicUsize::new(4),
        acknowledged: AtomicUsize::new(0),
        ended: AtomicBool::new(false),
    });
    let mut tasks = Vec::new();
    for who in 0..4 {
        tasks.push(start(&env, writer(Arc::clone(&world), who, chance.fork())));
    }
    tasks.push(start(&env, caretaker(Arc::clone(&world), chance.fork())));
    tasks.push(start(&env, weather(Arc::clone(&world), victim, chance.fork())));
    let site = land.sites[victim].clone();
    tasks.push(start(&env, harm(Arc::clone(&world), site, killed, chance.fork())));
    while world.writers_left.load(Ordering::Relaxed) > 0 {
        env.sleep(Duration::from_secs(1)).await;
    }
    world.ended.store(true, Ordering::Relaxed);
    join_all(tasks).await;
    let dead = killed.then_some(victim);
    for (number, site) in land.sites.iter().enumerate() {
        site.is(if Some(number) == dead { Mood::CutOff } else { Mood::Well });
    }
    assert!(world.acknowledged.load(Ordering::Relaxed) > 10, "hardly anything was written");
    aftermath(&world, dead, &mut chance).await;
}

async fn aftermath(world: &World, dead: Option<usize>, chance: &mut Chance) {
    let env = &world.land.env;
    env.sleep(Duration::from_secs(60)).await;
    let mut land = world.land.clone();
    let _ = world.volume().close().await;
    let volume = if let Some(dead) = dead {
        land.sites.push(Site::new(env, "spare", "w"));
        let volume = Volume::open(land.resources(), world.id).await.unwrap();
        let mut places = volume.places();
        places[dead].state = PlaceState::Lost;
        let (name, zone) = ("spare".to_owned(), "w".to_owned());
        let number = places.len() as u16;
        places.push(PlaceRow { number, name, zone, weight: 1, state: PlaceState::Active });
        volume.set_places(places, volume.policy().tiers).await.unwrap();
        volume
    } else {
        Volume::open(land.resources(), world.id).await.unwrap()
    };
    world.oracle.check_all(&volume).await;
    let scrub = || ScrubOptions { period: Duration::ZERO, ..ScrubOptions::default() };
    volume.scrub(scrub()).await.unwrap();
    // Copies that are left over wait for the grace: longer, where the clock was set back.
    for grace in [None, None, Some(Duration::ZERO)] {
        let options = RepairOptions { grace, ..RepairOptions::default() };
        let repaired = volume.repair(options).await.unwrap();
        assert_eq!(repaired.segments_unreadable, 0, "{repaired:?}");
        env.sleep(GRACE * 2).await;
    }
    volume.seal().await.unwrap();
    let scrubbed = volume.scrub(scrub()).await.unwrap();
    assert_eq!((scrubbed.copies_damaged, scrubbed.copies_unreachable), (0, 0));
    let report = volume.replicas().await.unwrap();
    let amiss = (report.copies_missing, report.segments_close, report.copies_left_over);
    assert_eq!(amiss, (0, 0, 0), "{report:#?}");
    assert_clean(&volume).await;
    world.oracle.check_all(&volume).await;
    let before = present(&volume).await.unwrap();
    volume.close().await.unwrap();
    // Another place may go now, and the catalog with it.
    let left: Vec<usize> = (0..land.sites.len()).filter(|n| Some(*n) != dead).collect();
    land.sites[*chance.pick(&left).unwrap()].is(Mood::CutOff);
    let bare = Land { catalog: Arc::new(Memory::new()), ..land };
    let options = RebuildOptions::default();
    let (rebuilt, report) = Volume::rebuild(bare.resources(), world.id, options).await.unwrap();
    assert!(report.is_whole(), "{report:#?}");
    assert_eq!(present(&rebuilt).await.unwrap(), before);
}

#[test]
fn no_acknowledged_write_is_lost_and_copies_come_back() {
    sim::seeds(300, |seed| sim::simulate(seed, |env| run(env, seed)));
}
