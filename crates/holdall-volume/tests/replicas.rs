//! A volume in several places: each promise of `docs/volumes/replicas.md`, and what is left of it
//! when places fail.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/site.rs"]
mod site;
#[path = "support/world.rs"]
mod world;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdall_core::{Bytes, Env, ErrorKind, Memory, Throttle};
use holdall_testkit::sim;
use holdall_volume::format::policy::{Acknowledge, PlaceRow, PlaceState, Policy, Tier};
use holdall_volume::gc::GcOptions;
use holdall_volume::rebuild::RebuildOptions;
use holdall_volume::{PlaceInfo, PutOptions, ReadLevel, RepairOptions, ScrubOptions, Volume};
use site::{Land, Mood};
use world::{assert_clean, name, noise, present, read, small_policy};

const ABC: [(&str, &str); 3] = [("a", "za"), ("b", "zb"), ("c", "zc")];

fn tier(replicas: u8, ack: Acknowledge) -> Tier {
    Tier { replicas, min_zones: replicas.min(2), ack, ..Tier::default() }
}

fn policy(tier: Tier) -> Policy {
    Policy { tiers: vec![tier], ..small_policy() }
}

/// Runs a story in a simulation, on a volume in three zones.
fn story<F: Future<Output = ()>>(tier: Tier, tell: impl FnOnce(Land, Volume) -> F) {
    sim::simulate(1, |env: Env| async move {
        let land = Land::new(&env, &ABC);
        let volume = Volume::create(land.resources(), "v", policy(tier)).await.unwrap();
        tell(land, volume).await;
    });
}

async fn put(volume: &Volume, text: &str, seed: u64) -> Bytes {
    let bytes = noise(seed, 40_000);
    volume.put(&name(text), bytes.clone(), PutOptions::default()).await.unwrap();
    bytes
}

async fn get(volume: &Volume, text: &str) -> Bytes {
    read(volume, &name(text)).await.unwrap().unwrap()
}

/// Opens it anew, so that nothing is in memory.
async fn again(land: &Land, volume: &Volume) -> Volume {
    Volume::open(land.resources(), volume.id()).await.unwrap()
}

async fn info(volume: &Volume, name: &str) -> PlaceInfo {
    let report = volume.replicas().await.unwrap();
    report.places.into_iter().find(|place| place.name == name).unwrap()
}

async fn say(volume: &Volume, name: &str, state: PlaceState) {
    let mut places = volume.places();
    places.iter_mut().filter(|place| place.name == name).for_each(|place| place.state = state);
    volume.set_places(places, volume.policy().tiers).await.unwrap();
}

/// Every segment has its copies, and every copy that rows name is there and whole.
async fn assert_replicated(volume: &Volume) {
    let scrub = ScrubOptions { period: Duration::ZERO, ..ScrubOptions::default() };
    let scrubbed = volume.scrub(scrub).await.unwrap();
    assert!(scrubbed.complete);
    assert_eq!(scrubbed.copies_damaged, 0, "{scrubbed:?}");
    let report = volume.replicas().await.unwrap();
    let amiss = (report.segments_short, report.segments_close, report.copies_missing);
    assert_eq!(amiss, (0, 0, 0), "{report:#?}");
    assert!(report.segments > 0);
}

#[test]
fn all_needs_every_copy_and_a_write_that_fails_leaves_nothing_behind() {
    story(tier(3, Acknowledge::All), |land, volume| async move {
        put(&volume, "before", 1).await;
        land.site("b").is(Mood::CutOff);
        let failed = volume.put(&name("x"), noise(2, 40_000), PutOptions::default()).await;
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(read(&volume, &name("x")).await.unwrap(), None);
        land.all_well();
        land.env.sleep(Duration::from_secs(20)).await;
        volume.close().await.unwrap();
        let garbage = land.site("a").segments().await.len() - 1;
        assert!(garbage > 0, "the copies that could be written are there");
        let volume = again(&land, &volume).await;
        let at_once = || GcOptions { unsafe_grace: Some(Duration::ZERO), ..Default::default() };
        volume.gc(at_once()).await.unwrap();
        let swept = volume.gc(at_once()).await.unwrap();
        for site in &land.sites {
            assert_eq!(site.segments().await.len(), 1, "{}: {swept:?}", site.name);
        }
        assert_clean(&volume).await;
    });
}

#[test]
fn quorum_needs_two_of_three_and_the_third_follows_by_repair() {
    story(tier(3, Acknowledge::Quorum), |land, volume| async move {
        land.site("c").is(Mood::CutOff);
        let bytes = put(&volume, "x", 1).await;
        assert_eq!(volume.replicas().await.unwrap().copies_missing, 1);
        land.site("b").is(Mood::CutOff);
        let failed = volume.put(&name("y"), noise(2, 40_000), PutOptions::default()).await;
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Unavailable);
        land.all_well();
        land.env.sleep(Duration::from_secs(20)).await;
        let repaired = volume.repair(RepairOptions::default()).await.unwrap();
        assert_eq!((repaired.copies_made, repaired.segments_short), (1, 0), "{repaired:?}");
        assert_replicated(&volume).await;
        for alone in ["a", "b", "c"] {
            land.sites.iter().for_each(|site| site.is(Mood::CutOff));
            land.site(alone).is(Mood::Well);
            assert_eq!(get(&again(&land, &volume).await, "x").await, bytes);
        }
    });
}

#[test]
fn one_needs_one_copy_and_says_what_would_be_lost() {
    story(tier(2, Acknowledge::One), |land, volume| async move {
        land.site("b").is(Mood::CutOff);
        land.site("c").is(Mood::CutOff);
        let bytes = put(&volume, "x", 1).await;
        assert_eq!(get(&volume, "x").await, bytes);
        let report = volume.replicas().await.unwrap();
        let lost: Vec<u64> = report.if_lost.iter().map(|zone| zone.segments).collect();
        assert_eq!((lost, report.segments_close), (vec![1, 0, 0], 1), "{report:#?}");
        land.all_well();
        land.env.sleep(Duration::from_secs(20)).await;
        volume.repair(RepairOptions::default()).await.unwrap();
        let report = volume.replicas().await.unwrap();
        assert!(report.if_lost.iter().all(|zone| zone.segments == 0), "{report:#?}");
    });
}

#[test]
fn a_copy_that_lags_counts_once_it_is_there() {
    story(tier(3, Acknowledge::Quorum), |land, volume| async move {
        land.site("c").is(Mood::Slow(Duration::from_secs(2)));
        put(&volume, "x", 1).await;
        assert_eq!(info(&volume, "c").await.copies_lagging, 1);
        land.env.sleep(Duration::from_secs(30)).await;
        let there = info(&volume, "c").await;
        assert_eq!((there.copies, there.copies_lagging), (1, 0));
    });
}

#[test]
fn a_silent_place_holds_up_neither_reads_nor_a_quorum() {
    story(tier(3, Acknowledge::Quorum), |land, volume| async move {
        let bytes = put(&volume, "x", 1).await;
        for silent in ["a", "b", "c"] {
            land.all_well();
            land.site(silent).is(Mood::Silent);
            let volume = again(&land, &volume).await;
            let watch = land.env.stopwatch();
            assert_eq!(get(&volume, "x").await, bytes);
            put(&volume, silent, 2).await;
            // The place is given ten seconds before it counts as failed; nobody waits for that.
            assert!(watch.elapsed() < Duration::from_secs(5), "{:?}", watch.elapsed());
        }
    });
}

#[test]
fn missing_and_damaged_copies_are_read_past_and_repaired() {
    for cut in [false, true] {
        story(tier(2, Acknowledge::All), |land, volume| async move {
            let bytes = put(&volume, "x", 1).await;
            volume.seal().await.unwrap();
            for site in &land.sites {
                let Some(segment) = site.segments().await.first().cloned() else { continue };
                site.spoil(&segment, cut).await;
                let volume = again(&land, &volume).await;
                assert_eq!(get(&volume, "x").await, bytes, "{} is damaged", site.name);
                assert_clean(&volume).await;
                volume.repair(RepairOptions::default()).await.unwrap();
                site.lose(&segment).await;
                let volume = again(&land, &volume).await;
                assert_eq!(get(&volume, "x").await, bytes, "{} has lost it", site.name);
                let scrub = ScrubOptions { period: Duration::ZERO, ..ScrubOptions::default() };
                assert_eq!(volume.scrub(scrub).await.unwrap().copies_damaged, 1);
                volume.repair(RepairOptions::default()).await.unwrap();
                assert_replicated(&volume).await;
            }
        });
    }
}

#[test]
fn reads_go_to_the_own_zone() {
    story(tier(3, Acknowledge::All), |land, volume| async move {
        put(&volume, "x", 1).await;
        land.env.sleep(Duration::from_secs(1)).await;
        for (near, zone) in ABC {
            let data = land.places().in_zone(zone);
            let resources = holdall_volume::Resources { data, ..land.resources() };
            let volume = Volume::open(resources, volume.id()).await.unwrap();
            let before: Vec<u64> = land.sites.iter().map(|site| site.reads()).collect();
            get(&volume, "x").await;
            for (site, before) in land.sites.iter().zip(before) {
                assert_eq!(site.reads() > before, site.name == near, "{} {near}", site.name);
            }
        }
    });
}

#[test]
fn a_full_place_gives_its_share_to_others() {
    story(tier(2, Acknowledge::All), |land, volume| async move {
        land.site("a").is(Mood::Full);
        for n in 0..6 {
            put(&volume, &format!("x{n}"), n).await;
        }
        assert_eq!(info(&volume, "a").await.copies, 0);
        assert_replicated(&volume).await;
    });
}

#[test]
fn a_lost_place_is_made_up_for_by_those_that_are_left() {
    story(tier(2, Acknowledge::All), |land, volume| async move {
        for n in 0..8 {
            put(&volume, &format!("x{n}"), n).await;
        }
        volume.seal().await.unwrap();
        let before = present(&volume).await.unwrap();
        land.site("b").is(Mood::CutOff);
        say(&volume, "b", PlaceState::Lost).await;
        let repaired = volume.repair(RepairOptions::default()).await.unwrap();
        assert!(repaired.copies_made > 0 && repaired.segments_short == 0, "{repaired:?}");
        assert_replicated(&volume).await;
        // Now either of the others can go as well, and the catalog with it.
        for (gone, left) in [("a", "c"), ("c", "a")] {
            land.site(left).is(Mood::Well);
            land.site(gone).is(Mood::CutOff);
            let volume = again(&land, &volume).await;
            assert_eq!(present(&volume).await.unwrap(), before);
            let empty = Land { catalog: Arc::new(Memory::new()), ..land.clone() };
            let options = RebuildOptions::default();
            let id = volume.id();
            let (rebuilt, report) = Volume::rebuild(empty.resources(), id, options).await.unwrap();
            assert!(report.is_whole(), "{report:?}");
            assert_eq!(present(&rebuilt).await.unwrap(), before);
        }
    });
}

#[test]
fn a_place_that_is_added_takes_its_share_when_told_to() {
    story(tier(2, Acknowledge::All), |mut land, volume| async move {
        for n in 0..24 {
            put(&volume, &format!("x{n}"), n).await;
        }
        volume.seal().await.unwrap();
        let before = present(&volume).await.unwrap();
        land.sites.push(site::Site::new(&land.env, "d", "zd"));
        let volume = again(&land, &volume).await;
        let mut places = volume.places();
        let (name, zone) = ("d".to_owned(), "zd".to_owned());
        places.push(PlaceRow { number: 3, name, zone, weight: 1, state: PlaceState::Active });
        volume.set_places(places, volume.policy().tiers).await.unwrap();
        volume.repair(RepairOptions::default()).await.unwrap();
        assert_eq!(info(&volume, "d").await.copies, 0, "nothing was amiss");
        let keys = land.site("d").keys().await;
        assert!(keys.iter().any(|key| key.as_str().contains("/log/")), "{keys:?}");
        let options = RepairOptions { rebalance: true, ..RepairOptions::default() };
        volume.repair(options).await.unwrap();
        let copies = info(&volume, "d").await.copies;
        assert!((6..=18).contains(&copies), "{copies} of 48 are far from a quarter");
        assert_replicated(&volume).await;
        assert_eq!(present(&volume).await.unwrap(), before);
        // Another time there is nothing left to move.
        let options = RepairOptions { rebalance: true, ..RepairOptions::default() };
        assert_eq!(volume.repair(options).await.unwrap().copies_made, 0);
    });
}

#[test]
fn a_drained_place_is_empty_after_the_grace_and_not_before() {
    story(tier(2, Acknowledge::All), |land, volume| async move {
        for n in 0..8 {
            put(&volume, &format!("x{n}"), n).await;
        }
        let held = land.site("a").segments().await.len();
        say(&volume, "a", PlaceState::Draining).await;
        volume.repair(RepairOptions::default()).await.unwrap();
        assert_eq!(info(&volume, "a").await.copies, 0);
        assert_eq!(land.site("a").segments().await.len(), held, "readers may still be there");
        put(&volume, "after", 99).await;
        land.env.sleep(world::GRACE + Duration::from_secs(1)).await;
        let dropped = volume.repair(RepairOptions::default()).await.unwrap();
        assert_eq!(dropped.copies_dropped, held as u64);
        assert_eq!(land.site("a").segments().await.len(), 0);
        assert_replicated(&volume).await;
        assert_clean(&volume).await;
        assert_eq!(volume.replicas().await.unwrap().copies_left_over, 0);
    });
}

#[test]
fn a_place_that_is_taken_back_counts_at_once() {
    story(tier(2, Acknowledge::All), |land, volume| async move {
        for n in 0..8 {
            put(&volume, &format!("x{n}"), n).await;
        }
        say(&volume, "a", PlaceState::Draining).await;
        let drained = volume.repair(RepairOptions::default()).await.unwrap();
        assert!(drained.copies_left_over > 0, "{drained:?}");
        say(&volume, "a", PlaceState::Active).await;
        land.site("b").is(Mood::CutOff);
        say(&volume, "b", PlaceState::Lost).await;
        // The copies that were left over in `a` are needed again, before their grace is over.
        volume.repair(RepairOptions::default()).await.unwrap();
        assert_replicated(&volume).await;
        land.env.sleep(world::GRACE * 2).await;
        let later = volume.repair(RepairOptions::default()).await.unwrap();
        assert_eq!(later.copies_waiting, 0, "{later:?}");
        assert_replicated(&volume).await;
        assert_clean(&volume).await;
    });
}

#[test]
fn an_emptied_place_is_filled_again() {
    story(tier(3, Acknowledge::All), |land, volume| async move {
        for n in 0..4 {
            put(&volume, &format!("x{n}"), n).await;
        }
        volume.checkpoint().await.unwrap();
        land.env.sleep(Duration::from_secs(1)).await;
        let before = land.site("b").keys().await;
        for key in &before {
            land.site("b").lose(key).await;
        }
        let scrub = ScrubOptions { period: Duration::ZERO, ..ScrubOptions::default() };
        assert_eq!(volume.scrub(scrub).await.unwrap().copies_damaged, 4);
        let foreseen = RepairOptions { dry_run: true, ..RepairOptions::default() };
        let foreseen = volume.repair(foreseen).await.unwrap();
        assert_eq!(foreseen.copies_made, 4, "{foreseen:?}");
        assert!(land.site("b").keys().await.is_empty());
        volume.repair(RepairOptions::default()).await.unwrap();
        assert_eq!(land.site("b").keys().await, before);
        assert_replicated(&volume).await;
    });
}

#[test]
fn a_repair_that_is_stopped_goes_on_where_it_was() {
    story(tier(2, Acknowledge::All), |land, volume| async move {
        for n in 0..10 {
            put(&volume, &format!("x{n}"), n).await;
        }
        say(&volume, "a", PlaceState::Lost).await;
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let options = RepairOptions {
            cancel: Arc::clone(&stop),
            throttle: Some(Throttle::new(land.env.clone(), Some(10_000), Arc::clone(&stop))),
            memory_bytes: 1,
            progress: Some(Arc::new(move |report| {
                flag.fetch_or(report.copies_made >= 2, Ordering::Relaxed);
            })),
            ..RepairOptions::default()
        };
        let watch = land.env.stopwatch();
        let begun = volume.repair(options).await.unwrap();
        assert!(!begun.complete && begun.copies_made < 5, "{begun:?}");
        assert!(watch.elapsed() >= Duration::from_secs(1), "it was slowed down");
        let rest = volume.repair(RepairOptions::default()).await.unwrap();
        assert!(rest.complete && rest.copies_made > 0, "{rest:?}");
        assert_replicated(&volume).await;
    });
}

#[test]
fn collecting_garbage_deletes_every_copy() {
    story(tier(3, Acknowledge::All), |land, volume| async move {
        put(&volume, "x", 1).await;
        volume.delete(&name("x"), holdall_volume::Condition::Always).await.unwrap();
        for _ in 0..4 {
            let grace = Some(Duration::ZERO);
            volume.gc(GcOptions { unsafe_grace: grace, ..GcOptions::default() }).await.unwrap();
        }
        for site in &land.sites {
            assert!(site.segments().await.is_empty(), "{}", site.name);
        }
    });
}

#[test]
fn places_that_cannot_keep_what_the_tier_asks_are_refused() {
    sim::simulate(1, |env: Env| async move {
        let land = Land::new(&env, &[("a", "z"), ("b", "z")]);
        for (replicas, min_zones) in [(3, 1), (2, 2)] {
            let tier = Tier { replicas, min_zones, ..Tier::default() };
            let refused = Volume::create(land.resources(), "v", policy(tier)).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Invalid);
            assert!(refused.message().contains("add places"), "{refused}");
        }
        let made = Volume::create(land.resources(), "v", policy(tier(1, Acknowledge::All)));
        let volume = made.await.unwrap();
        let gone = volume.set_places(volume.places().split_off(1), volume.policy().tiers).await;
        assert_eq!(gone.unwrap_err().kind(), ErrorKind::Invalid);
        // What is lost can always be said, and what is left then is needed.
        let mut places = volume.places();
        places[0].state = PlaceState::Lost;
        volume.set_places(places.clone(), volume.policy().tiers).await.unwrap();
        places[1].state = PlaceState::Draining;
        let refused = volume.set_places(places, volume.policy().tiers).await.unwrap_err();
        assert!(refused.message().contains("without `b`"), "{refused}");
    });
}

const TTL: Duration = Duration::from_secs(5);

/// What a reader sees of an entry that others overwrite.
struct Reader {
    land: Land,
    writer: Volume,
    volume: Volume,
}

impl Reader {
    async fn new(land: Land, writer: Volume) -> Self {
        let volume = again(&land, &writer).await;
        Self { land, writer, volume }
    }

    async fn write(&self, seed: u64) -> Bytes {
        put(&self.writer, "x", seed).await
    }

    async fn read(&self, level: ReadLevel) -> Option<Bytes> {
        let reading = self.volume.get_as(&name("x"), level).await.unwrap()?;
        Some(reading.bytes().await.unwrap())
    }
}

#[test]
fn strong_reads_show_every_commit() {
    story(tier(3, Acknowledge::All), |land, volume| async move {
        let reader = Reader::new(land, volume).await;
        assert_eq!(reader.read(ReadLevel::Any).await, None);
        for seed in 0..5 {
            let bytes = reader.write(seed).await;
            assert_eq!(reader.read(ReadLevel::Strong).await, Some(bytes));
        }
        reader.writer.delete(&name("x"), holdall_volume::Condition::Always).await.unwrap();
        assert_eq!(reader.read(ReadLevel::Strong).await, None);
    });
}

#[test]
fn reads_of_bounded_age_show_nothing_older() {
    story(tier(3, Acknowledge::All), |land, volume| async move {
        let reader = Reader::new(land, volume).await;
        let bounded = ReadLevel::BoundedStale(TTL);
        let first = reader.write(1).await;
        assert_eq!(reader.read(bounded).await, Some(first.clone()));
        let second = reader.write(2).await;
        // The bytes of what was overwritten are there all the same.
        assert_eq!(reader.read(bounded).await, Some(first));
        reader.land.env.sleep(TTL + Duration::from_secs(1)).await;
        assert_eq!(reader.read(bounded).await, Some(second));
        let long = ReadLevel::BoundedStale(world::GRACE + Duration::from_secs(1));
        let refused = reader.volume.get_as(&name("x"), long).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
    });
}

#[test]
fn reads_of_any_age_show_nothing_that_may_have_lost_its_bytes() {
    story(tier(3, Acknowledge::All), |land, volume| async move {
        let reader = Reader::new(land, volume).await;
        let first = reader.write(1).await;
        assert_eq!(reader.read(ReadLevel::Any).await, Some(first.clone()));
        let second = reader.write(2).await;
        reader.land.env.sleep(world::GRACE - Duration::from_secs(10)).await;
        assert_eq!(reader.read(ReadLevel::Any).await, Some(first));
        reader.land.env.sleep(Duration::from_secs(11)).await;
        assert_eq!(reader.read(ReadLevel::Any).await, Some(second));
    });
}

#[test]
fn closing_waits_for_copies_that_no_write_waited_for() {
    story(tier(3, Acknowledge::Quorum), |land, volume| async move {
        land.site("c").is(Mood::Slow(Duration::from_secs(1)));
        put(&volume, "x", 1).await;
        assert_eq!(info(&volume, "c").await.copies_lagging, 1);
        volume.close().await.unwrap();
        let there = info(&again(&land, &volume).await, "c").await;
        assert_eq!((there.copies, there.copies_lagging), (1, 0));
        // But not for one that is silent.
        let volume = again(&land, &volume).await;
        land.site("c").is(Mood::Silent);
        put(&volume, "y", 2).await;
        let watch = land.env.stopwatch();
        volume.close().await.unwrap();
        assert!(watch.elapsed() < Duration::from_secs(30), "{:?}", watch.elapsed());
    });
}

#[test]
fn who_only_reads_notes_damaged_copies_too() {
    story(tier(2, Acknowledge::All), |land, volume| async move {
        let bytes = put(&volume, "x", 1).await;
        volume.close().await.unwrap();
        for site in &land.sites {
            let Some(segment) = site.segments().await.first().cloned() else { continue };
            site.spoil(&segment, false).await;
            // Whose zone it is, that copy is read first.
            let data = land.places().in_zone(site.zone);
            let resources = holdall_volume::Resources { data, ..land.resources() };
            let near = Volume::open(resources, volume.id()).await.unwrap();
            assert_eq!(get(&near, "x").await, bytes);
            near.close().await.unwrap();
            let reader = again(&land, &volume).await;
            let report = reader.replicas().await.unwrap();
            assert_eq!(report.copies_missing, 1, "{} is damaged: {report:#?}", site.name);
            reader.repair(RepairOptions::default()).await.unwrap();
            assert_replicated(&reader).await;
        }
    });
}
