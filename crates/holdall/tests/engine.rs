//! The engine: volumes made and removed, entries by key, and a catalog that was lost.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use holdall::rebuild::RebuildOptions;
use holdall::{
    At, BackendExt, Bytes, Condition, Engine, ErrorKind, Expect, Key, ListOptions, Memory, Policy,
    ReadOptions, Settings, Timestamp, VolumeSpec, WriteOptions,
};

fn noise(size: usize) -> Bytes {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..size).map(|_| next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_made_found_and_removed() {
    let engine = Engine::builder().open().await.unwrap();
    assert!(engine.get_volume("a").await.unwrap().is_none());
    engine.create_volume("a").await.unwrap();
    let spec = VolumeSpec::new("b").quota(1 << 20).history(Duration::from_secs(60));
    engine.create_volume(spec.clone()).await.unwrap();
    let error = engine.create_volume(("a", Policy::default())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    for name in ["", "A", "a/b", "ä", &"x".repeat(65)] {
        let error = engine.create_volume(name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error}");
    }
    let names = async || {
        let listed = engine.list_volumes().await.unwrap();
        listed.into_iter().map(|info| info.name).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["a", "b"]);
    assert_eq!(engine.list_volumes().await.unwrap()[1].policy, spec.policy);

    engine.write("b", "key", noise(300_000), WriteOptions::default()).await.unwrap();
    let full = engine.write("b", "more", noise(900_000), WriteOptions::default()).await;
    assert_eq!(full.unwrap_err().kind(), ErrorKind::Full);
    engine.resize_volume("b", None).await.unwrap();
    engine.write("b", "more", noise(900_000), WriteOptions::default()).await.unwrap();

    assert!(engine.delete_volume("b").await.unwrap());
    assert!(!engine.delete_volume("b").await.unwrap());
    assert_eq!(names().await, ["a"]);
    let error = engine.read("b", "key", ReadOptions::default()).await.unwrap_err();
    assert!(error.message().contains("no volume `b`"), "{error}");
    let a = engine.get_volume("a").await.unwrap().unwrap().id();
    for backend in [engine.data(), engine.catalog()] {
        for row in backend.list_all("", false).await.unwrap() {
            let key = row.key.as_str();
            assert!(key.starts_with(a.as_str()) || key == "volumes/a", "{key} is left of `b`");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_written_and_read_by_key() {
    let engine = Engine::open(Settings::memory()).await.unwrap();
    engine.create_volume(VolumeSpec::new("v").history(Duration::from_secs(3600))).await.unwrap();
    let absent = || WriteOptions { condition: Condition::Absent, ..WriteOptions::default() };
    let first = engine.write("v", "key", "first", absent()).await.unwrap();
    let error = engine.write("v", "key", "again", absent()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    engine.write("v", "key", "second", WriteOptions::default()).await.unwrap();

    let read = async |options| engine.read("v", "key", options).await.unwrap().unwrap();
    assert_eq!(read(ReadOptions::default()).await, "second");
    let range = ReadOptions { range: Some(3..100), ..ReadOptions::default() };
    assert_eq!(read(range).await, "ond");
    let version = ReadOptions { version: Some(first.version), ..ReadOptions::default() };
    assert_eq!(read(version.clone()).await, "first");
    let at = ReadOptions { at: Some(At::Commit(first.version)), ..ReadOptions::default() };
    assert_eq!(read(at.clone()).await, "first");
    let both = ReadOptions { at: at.at, ..version };
    assert_eq!(engine.read("v", "key", both).await.unwrap_err().kind(), ErrorKind::Invalid);

    let ended = WriteOptions { ttl: Some(Duration::ZERO), ..WriteOptions::default() };
    engine.write("v", "ended", "x", ended).await.unwrap();
    assert_eq!(engine.read("v", "ended", ReadOptions::default()).await.unwrap(), None);
    let page = engine.list("v", ListOptions::default()).await.unwrap();
    assert_eq!(page.entries.len(), 1);
    assert!(engine.delete("v", "key").await.unwrap());
    assert!(!engine.delete("v", "key").await.unwrap());
    let calls = engine.metrics().catalog;
    assert!(calls.iter().any(|call| call.count > 0 && call.bytes_in > 0), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_catalog_is_noticed_and_rebuilt() {
    let data = Arc::new(Memory::new());
    let open = async || {
        let data = Arc::<Memory>::clone(&data);
        Engine::builder().data_backend(data).open().await.unwrap()
    };
    let engine = open().await;
    engine.create_volume("v").await.unwrap();
    let large = noise(3 << 20);
    engine.write("v", "large", large.clone(), WriteOptions::default()).await.unwrap();
    engine.write("v", "small", "x", WriteOptions::default()).await.unwrap();
    engine.close().await.unwrap();
    let late = engine.write("v", "late", "x", WriteOptions::default()).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Closed);
    drop(engine);

    // Another catalog, in memory, that knows nothing.
    let engine = open().await;
    let error = engine.create_volume("v").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("holdall rebuild v"), "{error}");
    engine.create_volume("another").await.unwrap();
    let found = engine.find_volumes().await.unwrap();
    assert_eq!(found.len(), 2);
    let lost = found.iter().find(|found| !found.in_catalog).unwrap();
    assert_eq!(lost.volume.as_ref().unwrap().name, "v");
    assert!(engine.rebuild("nonsense", RebuildOptions::default()).await.is_err());
    let (_, report) = engine.rebuild(&lost.id, RebuildOptions::default()).await.unwrap();
    assert!(report.is_whole(), "{report:?}");
    for (key, bytes) in [("large", large), ("small", Bytes::from("x"))] {
        let read = engine.read("v", key, ReadOptions::default()).await.unwrap();
        assert_eq!(read, Some(bytes), "{key}");
    }
    assert!(engine.find_volumes().await.unwrap().iter().all(|found| found.in_catalog));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_was_interrupted_is_finished_later() {
    let engine = Engine::builder().open().await.unwrap();
    let volume = engine.create_volume("v").await.unwrap();
    engine.write("v", "large", noise(1 << 20), WriteOptions::default()).await.unwrap();
    // What deleting does first: from here on the volume is gone, and its rows and objects are not.
    let (name, id) = (Key::parse("volumes/v").unwrap(), volume.id());
    engine.catalog().delete(&name, Expect::Any).await.unwrap();
    let removed = Key::parse(format!("removed/{id}")).unwrap();
    engine.catalog().put(&removed, Bytes::new(), Expect::Any).await.unwrap();
    engine.create_volume("another").await.unwrap();
    for backend in [engine.data(), engine.catalog()] {
        assert!(backend.list_all(id.as_str(), false).await.unwrap().is_empty());
    }
    assert!(engine.catalog().get_all(&removed).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_hold_a_catalog_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("file://{}", folder.path().display());
    let error = Engine::builder().catalog(&location).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let error = Engine::builder().set("cataloge", &location).open().await.unwrap_err();
    assert!(error.message().contains("did you mean `catalog`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_has_one_holder_and_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Engine::builder().home(folder.path()).holder("a test").open();
    let engine = open().await.unwrap();
    engine.create_volume("v").await.unwrap();
    engine.write("v", "key", "kept", WriteOptions::default()).await.unwrap();
    let error = open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("(a test)"), "{error}");
    engine.close().await.unwrap();
    drop(engine);
    let engine = open().await.unwrap();
    let read = engine.read("v", "key", ReadOptions::default()).await.unwrap();
    assert_eq!(read.unwrap(), "kept");
    assert!(engine.list_volumes().await.unwrap()[0].created > Timestamp::EPOCH);
}
