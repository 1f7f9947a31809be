//! Volumes in several places, as a configuration says it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use holdall::{Config, Engine, ReadOptions, RepairOptions, VolumeSpec, WriteOptions};

/// A volume in folders below `root`, or at other locations.
fn config(root: &Path, places: &[(&str, Option<&str>)], tier: &str) -> Config {
    let root = root.to_str().unwrap();
    let mut text = "backends:\n".to_owned();
    for (name, location) in places {
        let location = location.map_or_else(|| format!("file://{root}/{name}"), str::to_owned);
        text.push_str(&format!("  {name}: {{ url: '{location}', zone: z{name} }}\n"));
    }
    let names: Vec<&str> = places.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    text.push_str(&format!(
        "volumes:\n  v: {{ catalog: 'lmdb://{root}/catalog', tiers: {{ hot: {{ backends: \
         [{names}], {tier} }} }} }}\n"
    ));
    Config::parse(&text, []).unwrap()
}

async fn open(config: &Config, root: &Path) -> Engine {
    let settings = config.settings("v", root).unwrap();
    Engine::open(settings).await.unwrap()
}

fn bytes(n: usize) -> Vec<u8> {
    (0..100_000).map(|i: usize| (i * 7 + n * 13 + i / 251) as u8).collect()
}

async fn write(engine: &Engine, n: usize) {
    let options = WriteOptions::default();
    engine.write("v", &format!("x{n}"), bytes(n), options).await.unwrap();
}

async fn assert_readable(engine: &Engine, count: usize) {
    for n in 0..count {
        let found = engine.read("v", &format!("x{n}"), ReadOptions::default()).await.unwrap();
        assert_eq!(found.unwrap(), bytes(n), "x{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_emptied_costs_nothing_and_is_filled_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let config =
        config(root, &[("a", None), ("b", None), ("c", None)], "replicas: 2, min_zones: 2");
    let engine = open(&config, root).await;
    let volume = engine.create_volume("v").await.unwrap();
    assert_eq!(volume.policy().tiers[0].replicas, 2);
    let names: Vec<String> = volume.places().into_iter().map(|place| place.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    for n in 0..5 {
        write(&engine, n).await;
    }
    engine.close().await.unwrap();
    drop((volume, engine));
    std::fs::remove_dir_all(root.join("b")).unwrap();
    let engine = open(&config, root).await;
    assert_readable(&engine, 5).await;
    let volume = engine.volume("v").await.unwrap();
    assert_eq!(engine.find_volumes().await.unwrap().len(), 1);
    let scrub = holdall::ScrubOptions { period: std::time::Duration::ZERO, ..Default::default() };
    volume.scrub(scrub).await.unwrap();
    let repaired = volume.repair(RepairOptions::default()).await.unwrap();
    assert_eq!(repaired.segments_short, 0, "{repaired:?}");
    let report = volume.replicas().await.unwrap();
    assert_eq!((report.copies_missing, report.segments_close), (0, 0), "{report:?}");
    engine.close().await.unwrap();
    // As long as anything holds the catalog, the process has it open.
    drop((volume, engine));
    std::fs::remove_dir_all(root.join("a")).unwrap();
    std::fs::remove_dir_all(root.join("catalog")).unwrap();
    let engine = open(&config, root).await;
    let id = engine.find_volumes().await.unwrap().remove(0).id;
    engine.rebuild(&id, holdall::rebuild::RebuildOptions::default()).await.unwrap();
    assert_readable(&engine, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_cannot_be_opened_keeps_no_volume_from_opening() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let places = [("a", None), ("b", None), ("c", Some("file:///proc/nothing/here"))];
    let config = config(root, &places, "replicas: 3, min_zones: 2, ack: quorum");
    let engine = open(&config, root).await;
    engine.create_volume("v").await.unwrap();
    write(&engine, 0).await;
    assert_readable(&engine, 1).await;
    let report = engine.volume("v").await.unwrap().replicas().await.unwrap();
    assert_eq!(report.copies_missing, 1, "{report:?}");
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_with_one_place_gets_more() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let engine = open(&config(root, &[("a", None)], "replicas: 1"), root).await;
    engine.create_volume(VolumeSpec::new("v")).await.unwrap();
    write(&engine, 0).await;
    assert!(engine.configured_places(&engine.volume("v").await.unwrap()).is_none());
    engine.close().await.unwrap();
    let more = config(root, &[("a", None), ("b", None)], "replicas: 2, min_zones: 2");
    let engine = open(&more, root).await;
    assert_readable(&engine, 1).await;
    let volume = engine.volume("v").await.unwrap();
    let (places, tiers) = engine.configured_places(&volume).unwrap();
    volume.set_places(places, tiers).await.unwrap();
    assert!(engine.configured_places(&volume).is_none());
    write(&engine, 1).await;
    volume.repair(RepairOptions::default()).await.unwrap();
    engine.close().await.unwrap();
    std::fs::remove_dir_all(root.join("a")).unwrap();
    let engine = open(&more, root).await;
    assert_readable(&engine, 2).await;
}
