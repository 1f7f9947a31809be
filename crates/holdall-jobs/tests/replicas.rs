//! What happened to copies is found out and mended by the jobs alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../../holdall-volume/tests/support/site.rs"]
mod site;
#[path = "../../holdall-volume/tests/support/world.rs"]
mod world;

use std::time::Duration;

use holdall_core::Env;
use holdall_jobs::{Ran, Runner};
use holdall_testkit::sim;
use holdall_volume::format::policy::{Acknowledge, JobRun, PlaceState, Policy, Tier};
use holdall_volume::{PutOptions, Volume};
use site::Land;
use world::{assert_clean, name, noise, present, small_policy};

const ABC: [(&str, &str); 3] = [("a", "za"), ("b", "zb"), ("c", "zc")];

/// Runs a story in a simulation, on a volume with two copies in three zones.
fn story<F: Future<Output = ()>>(tell: impl FnOnce(Land, Volume, Runner) -> F) {
    sim::simulate(1, |env: Env| async move {
        let land = Land::new(&env, &ABC);
        let tier = Tier { replicas: 2, min_zones: 2, ack: Acknowledge::All, ..Tier::default() };
        let policy = Policy { tiers: vec![tier], ..small_policy() };
        let volume = Volume::create(land.resources(), "v", policy).await.unwrap();
        for n in 0..8 {
            let put = PutOptions::default();
            volume.put(&name(&format!("x{n}")), noise(n, 40_000), put).await.unwrap();
        }
        let runner = Runner::new(volume.clone(), env, "runner", holdall_jobs::all());
        tell(land, volume, runner).await;
    });
}

async fn run(runner: &Runner, job: &str) -> JobRun {
    match runner.run(job).await.unwrap() {
        Ran::Done(run) => run,
        other => panic!("{job}: {other:?}"),
    }
}

async fn missing(volume: &Volume) -> u64 {
    volume.replicas().await.unwrap().copies_missing
}

#[test]
fn a_place_that_is_lost_is_replaced_by_the_job() {
    story(|land, volume, runner| async move {
        let before = present(&volume).await.unwrap();
        let mut places = volume.places();
        places.iter_mut().filter(|place| place.name == "a").for_each(|place| {
            place.state = PlaceState::Lost;
        });
        volume.set_places(places, volume.policy().tiers).await.unwrap();
        assert!(!land.site("a").segments().await.is_empty() && missing(&volume).await > 0);
        let repaired = run(&runner, "repair").await;
        assert!(!repaired.findings && repaired.summary.contains("made"), "{repaired:?}");
        assert_eq!(missing(&volume).await, 0);
        assert_eq!(run(&runner, "repair").await.summary, "every copy is where it belongs");
        assert_eq!(present(&volume).await.unwrap(), before);
        assert_clean(&volume).await;
    });
}

#[test]
fn a_copy_that_is_spoiled_is_found_and_made_anew_by_the_jobs() {
    story(|land, volume, runner| async move {
        let spoiled = land.site("b").segments().await[0].clone();
        land.site("b").spoil(&spoiled, false).await;
        land.env.sleep(Duration::from_secs(31 * 24 * 3600)).await;
        let scrubbed = run(&runner, "scrub").await;
        let said = "1 copy damaged or missing, which `repair` makes anew";
        assert!(scrubbed.findings && scrubbed.summary.contains(said), "{scrubbed:?}");
        assert_eq!(missing(&volume).await, 1);
        let repaired = run(&runner, "repair").await;
        assert!(!repaired.findings && repaired.summary.contains("1 copy made"), "{repaired:?}");
        assert_eq!(missing(&volume).await, 0);
        land.env.sleep(Duration::from_secs(31 * 24 * 3600)).await;
        let again = run(&runner, "scrub").await;
        assert!(again.summary.ends_with("every copy is whole"), "{again:?}");
    });
}
