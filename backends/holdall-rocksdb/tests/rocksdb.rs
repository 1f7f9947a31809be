//! What the RocksDB backend promises beyond the contract: groups, limits, shared handles.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "writers are spawned and cut off on purpose")]

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdall_core::{
    Backend, BackendExt, Batch, Bytes, Durability, Error, ErrorKind, Expect, Find, Key, List,
    Reach, Revision,
};
use holdall_rocksdb::{Config, OnPowerLoss, RocksDb};

async fn try_open(config: Config) -> Result<RocksDb, Error> {
    RocksDb::open(config, &holdall_runtime::env()).await
}

async fn open(path: &Path) -> RocksDb {
    try_open(Config::new(path)).await.unwrap()
}

fn key(text: impl AsRef<str>) -> Key {
    Key::parse(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_keys_come_back_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/on/demand");
    let backend = open(&path).await;
    let longest = key("\u{10ffff}".repeat(256));
    backend.put(&longest, Bytes::from("long"), Expect::Absent).await.unwrap();
    drop(backend);
    let backend = open(&path).await;
    assert_eq!(backend.get_all(&longest).await.unwrap().unwrap().value, "long");
    assert_eq!(backend.list_all("", true).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_may_begin_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path()).await;
    let long = "b".repeat(1024);
    for name in ["a", long.as_str(), "c"] {
        backend.put(&key(name), Bytes::new(), Expect::Any).await.unwrap();
    }
    for (list, expected) in [
        (List::prefix("").after(""), vec!["a", &long, "c"]),
        (List::prefix(format!("{long}b")), vec![]),
        (List::prefix("").at(format!("{long}b")), vec!["c"]),
        (List::prefix("").after(format!("{long}b")), vec!["c"]),
        (List::prefix("").at(long.clone()), vec![&long, "c"]),
        (List::prefix("").after(long.clone()), vec!["c"]),
        (List { start: Bound::Included("\u{10ffff}".repeat(9999)), ..List::prefix("") }, vec![]),
    ] {
        let page = backend.list(&list).await.unwrap();
        let found: Vec<&str> = page.rows.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(found, expected, "{list:?}");
        assert!(!page.more);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_with_large_values_end_early_and_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path()).await;
    let value = Bytes::from(vec![7; 20 << 20]);
    for name in ["a", "b", "c"] {
        backend.put(&key(name), value.clone(), Expect::Any).await.unwrap();
    }
    let page = backend.list(&List::prefix("").with_values()).await.unwrap();
    assert_eq!((page.rows.len(), page.more), (2, true));
    let rows = backend.list_all("", true).await.unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows.into_iter().all(|row| row.object.unwrap().value == value));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_true_at_their_edges() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path()).await;
    let max = backend.profile().value_bytes_max as usize;
    let value = Bytes::from(vec![3; max]);
    backend.put(&key("largest"), value.clone(), Expect::Absent).await.unwrap();
    assert!(backend.get_all(&key("largest")).await.unwrap().unwrap().value == value);
    let over = Bytes::from(vec![3; max + 1]);
    let error = backend.put(&key("larger"), over, Expect::Absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);

    let mut batch = Batch::new();
    for number in 0..100_000_u32 {
        let scattered = number.wrapping_mul(2_654_435_761);
        batch.put(key(format!("rows/{scattered:08x}")), vec![number as u8; 100], Expect::Absent);
    }
    let revision = backend.apply(batch.clone()).await.unwrap();
    let rows = backend.list_all("rows/", true).await.unwrap();
    assert_eq!(rows.len(), 100_000);
    assert!(rows.windows(2).all(|pair| pair[0].key < pair[1].key));
    assert!(rows.iter().all(|row| row.object.as_ref().unwrap().revision == revision));
    assert_eq!(backend.apply(batch.clone()).await.unwrap_err().kind(), ErrorKind::Conflict);
    batch.put(key("one more"), "", Expect::Any);
    assert_eq!(backend.apply(batch).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_folder_opens_twice_with_the_same_options_only() {
    let folder = tempfile::tempdir().unwrap();
    let one = open(folder.path()).await;
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    let two = open(&link).await;
    let first = one.put(&key("a"), Bytes::from("1"), Expect::Absent).await.unwrap();
    let second = two.put(&key("a"), Bytes::from("2"), Expect::Revision(first)).await.unwrap();
    assert_eq!(one.get_all(&key("a")).await.unwrap().unwrap().revision, second);

    let other = Config { block_cache_size: 1 << 20, ..Config::new(folder.path()) };
    let error = try_open(other.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("the same options"), "{error}");
    drop((one, two));
    let other = try_open(other).await.unwrap();
    assert_eq!(other.get_all(&key("a")).await.unwrap().unwrap().value, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_and_closing_at_the_same_time_always_works() {
    let folder = tempfile::tempdir().unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let path = folder.path().to_owned();
            tokio::spawn(async move {
                for round in 0..10 {
                    let backend = open(&path).await;
                    let name = key(format!("{task}/{round}"));
                    backend.put(&name, Bytes::from("x"), Expect::Absent).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(open(folder.path()).await.list_all("", false).await.unwrap().len(), 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_group_a_conflict_stops_only_its_own_batch() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Arc::new(open(folder.path()).await);
    let tasks: Vec<_> = (0..64_u32)
        .map(|number| {
            let backend = Arc::clone(&backend);
            tokio::spawn(async move {
                let shared = key(format!("shared/{}", number / 4));
                let mut batch = Batch::new();
                batch.put(key(format!("own/{number:02}")), number.to_string(), Expect::Any);
                batch.put(shared.clone(), number.to_string(), Expect::Absent);
                (number, shared, backend.apply(batch).await)
            })
        })
        .collect();
    let mut won = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            (number, _, Ok(_)) => won.push(format!("own/{number:02}")),
            (_, shared, Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Conflict);
                assert_eq!(error.key(), Some(&shared));
            }
        }
    }
    let rows = backend.list_all("own/", false).await.unwrap();
    assert!(rows.iter().map(|row| row.key.as_str()).eq(won.iter().map(String::as_str)));
    assert_eq!(rows.len(), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_to_one_key_in_one_group_have_revisions_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Arc::new(open(folder.path()).await);
    let puts: Vec<_> = (0..200_u32)
        .map(|number| {
            let backend = Arc::clone(&backend);
            let value = Bytes::from(number.to_string());
            tokio::spawn(
                async move { backend.put(&key("same"), value, Expect::Any).await.unwrap() },
            )
        })
        .collect();
    let mut revisions: Vec<Revision> = Vec::new();
    for put in puts {
        revisions.push(put.await.unwrap());
    }
    let mut numbers: Vec<u64> = revisions.iter().map(|r| r.as_number().unwrap()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_stop_waiting_hold_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Arc::new(open(folder.path()).await);
    for round in 0..50_u64 {
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let backend = Arc::clone(&backend);
                let name = key(format!("{round}/{number}"));
                tokio::spawn(async move { backend.put(&name, Bytes::new(), Expect::Any).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_micros(round * 20)).await;
        tasks.iter().step_by(2).for_each(tokio::task::JoinHandle::abort);
        for task in tasks.into_iter().skip(1).step_by(2) {
            task.await.unwrap().unwrap();
        }
    }
}

#[test]
fn a_runtime_that_ends_leaves_the_folder_usable_by_another() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    };
    let (first, second) = (runtime(), runtime());
    let one = Arc::new(first.block_on(open(folder.path())));
    let two = second.block_on(open(folder.path()));
    for number in 0..20 {
        let one = Arc::clone(&one);
        first.spawn(
            async move { one.put(&key(format!("{number}")), Bytes::new(), Expect::Any).await },
        );
    }
    first.shutdown_background();
    second.block_on(async {
        // The first may end in the middle of leading; it must give the lead back.
        if let Err(error) = two.put(&key("after"), Bytes::new(), Expect::Any).await {
            assert_eq!(error.kind(), ErrorKind::Closed);
        }
        two.put(&key("later"), Bytes::new(), Expect::Any).await.unwrap();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_profile_and_health_say_what_the_settings_mean() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path()).await;
    assert_eq!(backend.profile().durability, Durability::Machine);
    assert_eq!(backend.profile().reach, Reach::Process);
    backend.put(&key("a"), Bytes::from(vec![1; 100_000]), Expect::Any).await.unwrap();
    let health = backend.health().await.unwrap();
    assert!(health.bytes_used.unwrap() >= 100_000, "{health:?}");
    assert!(health.bytes_free.is_some());
    let [version] = health.notes.as_slice() else { panic!("{health:?}") };
    assert!(version.starts_with("RocksDB 11."), "{version}");
    let find = Find { list: List::prefix(""), filter: Default::default() };
    assert_eq!(backend.find(&find).await.unwrap_err().kind(), ErrorKind::Unsupported);
    drop(backend);

    let config =
        Config { on_power_loss: OnPowerLoss::LoseLastWrites, ..Config::new(folder.path()) };
    let backend = try_open(config).await.unwrap();
    assert_eq!(backend.profile().durability, Durability::Process);
    let notes = backend.health().await.unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("on_power_loss=keep_writes")), "{notes:?}");
    assert!(backend.get_all(&key("a")).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_no_location_could_give_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { max_write_buffer_number: 0, ..Config::new(folder.path()) };
    let error = try_open(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("max_write_buffer_number"), "{error}");
    assert!(try_open(Config::new("relative")).await.is_err());
}
