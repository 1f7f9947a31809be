//! What the LMDB backend promises beyond the contract: groups, full maps, shared folders.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "writers are spawned and cut off on purpose")]

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdall_core::{
    Backend, BackendExt, Batch, Bytes, ErrorKind, Expect, Key, List, Location, Revision,
};
use holdall_lmdb::{Config, Lmdb};

async fn open(config: Config) -> Lmdb {
    Lmdb::open(config, &holdall_runtime::env()).await.unwrap()
}

async fn open_at(path: &Path) -> Lmdb {
    open(Config::new(path)).await
}

fn key(text: impl AsRef<str>) -> Key {
    Key::parse(text).unwrap()
}

fn small(path: &Path) -> Config {
    Config { map_size: Some(4 << 20), ..Config::new(path) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_keys_come_back_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/on/demand");
    let lmdb = open_at(&path).await;
    let longest = key("\u{10ffff}".repeat(256));
    lmdb.put(&longest, Bytes::from("long"), Expect::Absent).await.unwrap();
    drop(lmdb);
    let lmdb = open_at(&path).await;
    assert_eq!(lmdb.get_all(&longest).await.unwrap().unwrap().value, "long");
    assert_eq!(lmdb.list_all("", true).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_may_begin_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let lmdb = open_at(folder.path()).await;
    let long = "b".repeat(1024);
    for name in ["a", long.as_str(), "c"] {
        lmdb.put(&key(name), Bytes::new(), Expect::Any).await.unwrap();
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
        let page = lmdb.list(&list).await.unwrap();
        let found: Vec<&str> = page.rows.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(found, expected, "{list:?}");
        assert!(!page.more);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_with_large_values_end_early_and_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let lmdb = open_at(folder.path()).await;
    let value = Bytes::from(vec![7; 20 << 20]);
    for name in ["a", "b", "c"] {
        lmdb.put(&key(name), value.clone(), Expect::Any).await.unwrap();
    }
    let page = lmdb.list(&List::prefix("").with_values()).await.unwrap();
    assert_eq!((page.rows.len(), page.more), (2, true));
    let rows = lmdb.list_all("", true).await.unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows.into_iter().all(|row| row.object.unwrap().value == value));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_folder_opens_twice_with_the_same_options_only() {
    let folder = tempfile::tempdir().unwrap();
    let one = open(small(folder.path())).await;
    let two = open(small(folder.path())).await;
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    let three = open(small(&link)).await;
    let first = one.put(&key("a"), Bytes::from("1"), Expect::Absent).await.unwrap();
    let second = two.put(&key("a"), Bytes::from("2"), Expect::Revision(first)).await.unwrap();
    assert_eq!(three.get_all(&key("a")).await.unwrap().unwrap().revision, second);

    let env = holdall_runtime::env();
    let error = Lmdb::open(Config::new(folder.path()), &env).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("map_size=4MiB"), "{error}");
    drop((one, two, three));
    let other = Config { map_size: Some(8 << 20), ..Config::new(folder.path()) };
    let other = open(other).await;
    assert_eq!(other.get_all(&key("a")).await.unwrap().unwrap().value, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_and_closing_at_the_same_time_always_works() {
    let folder = tempfile::tempdir().unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let path = folder.path().to_owned();
            tokio::spawn(async move {
                for round in 0..20 {
                    let lmdb = open_at(&path).await;
                    let name = key(format!("{task}/{round}"));
                    lmdb.put(&name, Bytes::from("x"), Expect::Absent).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(open_at(folder.path()).await.list_all("", false).await.unwrap().len(), 160);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_group_a_conflict_stops_only_its_own_batch() {
    let folder = tempfile::tempdir().unwrap();
    let lmdb = Arc::new(open_at(folder.path()).await);
    let tasks: Vec<_> = (0..64_u32)
        .map(|number| {
            let lmdb = Arc::clone(&lmdb);
            tokio::spawn(async move {
                let mut batch = Batch::new();
                batch.put(key(format!("own/{number:02}")), number.to_string(), Expect::Any);
                batch.put(
                    key(format!("shared/{}", number / 4)),
                    number.to_string(),
                    Expect::Absent,
                );
                (number, lmdb.apply(batch).await)
            })
        })
        .collect();
    let mut won = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            (number, Ok(_)) => won.push(format!("own/{number:02}")),
            (number, Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Conflict);
                assert_eq!(error.key(), Some(&key(format!("shared/{}", number / 4))));
            }
        }
    }
    let rows = lmdb.list_all("own/", false).await.unwrap();
    assert!(rows.iter().map(|row| row.key.as_str()).eq(won.iter().map(String::as_str)));
    assert_eq!(rows.len(), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_to_one_key_in_one_group_have_revisions_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let lmdb = Arc::new(open_at(folder.path()).await);
    let puts: Vec<_> = (0..200_u32)
        .map(|number| {
            let lmdb = Arc::clone(&lmdb);
            let value = Bytes::from(number.to_string());
            tokio::spawn(async move { lmdb.put(&key("same"), value, Expect::Any).await.unwrap() })
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
    let lmdb = Arc::new(open_at(folder.path()).await);
    for round in 0..50_u64 {
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let lmdb = Arc::clone(&lmdb);
                let name = key(format!("{round}/{number}"));
                tokio::spawn(async move { lmdb.put(&name, Bytes::new(), Expect::Any).await })
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
    let one = Arc::new(first.block_on(open_at(folder.path())));
    let two = second.block_on(open_at(folder.path()));
    for number in 0..20 {
        let one = Arc::clone(&one);
        first.spawn(
            async move { one.put(&key(format!("{number}")), Bytes::new(), Expect::Any).await },
        );
    }
    first.shutdown_background();
    second.block_on(async {
        // The first may end in the middle of leading; it must give the lead back.
        two.put(&key("after"), Bytes::new(), Expect::Any)
            .await
            .or_else(|error| {
                assert_eq!(error.kind(), ErrorKind::Closed);
                Ok::<_, ()>(Revision::number(0))
            })
            .unwrap();
        two.put(&key("later"), Bytes::new(), Expect::Any).await.unwrap();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_database_loses_nothing_and_room_can_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let lmdb = open(small(folder.path())).await;
    let value = |number: u32| Bytes::from(vec![number as u8; 10_000]);
    let mut written = 0;
    let error = loop {
        match lmdb.put(&key(format!("{written:04}")), value(written), Expect::Absent).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
    assert!(written > 200, "{written}");

    // A batch that does not fit changes nothing, and those beside it go on.
    let mut large = Batch::new();
    large.put(key("small"), "x", Expect::Any);
    large.put(key("large"), vec![0; 5 << 20], Expect::Any);
    let first = key("0000");
    let (refused, deleted) = tokio::join!(lmdb.apply(large), lmdb.delete(&first, Expect::Any));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Full);
    deleted.unwrap();
    assert!(lmdb.get_all(&key("small")).await.unwrap().is_none());

    // Everything acknowledged is there, also after reopening, and removing makes room.
    drop(lmdb);
    let lmdb = open(small(folder.path())).await;
    for number in 1..written {
        let found = lmdb.get_all(&key(format!("{number:04}"))).await.unwrap().unwrap();
        assert!(found.value == value(number), "{number}");
    }
    for number in 1..written {
        lmdb.delete(&key(format!("{number:04}")), Expect::Any).await.unwrap();
    }
    for number in 0..written {
        lmdb.put(&key(format!("{number:04}")), value(number), Expect::Absent).await.unwrap();
    }
    let health = lmdb.health().await.unwrap();
    assert!(health.bytes_used.unwrap() > 2 << 20 && health.bytes_free.unwrap() < 1 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_is_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let lmdb = open_at(folder.path()).await;
    let mut batch = Batch::new();
    for number in 0..60_000_u32 {
        let scattered = number.wrapping_mul(2_654_435_761);
        batch.put(key(format!("rows/{scattered:08x}")), vec![number as u8; 500], Expect::Absent);
    }
    let revision = lmdb.apply(batch.clone()).await.unwrap();
    let rows = lmdb.list_all("rows/", true).await.unwrap();
    assert_eq!(rows.len(), 60_000);
    assert!(rows.windows(2).all(|pair| pair[0].key < pair[1].key));
    assert!(rows.iter().all(|row| row.object.as_ref().unwrap().revision == revision));
    assert_eq!(lmdb.apply(batch).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_files_and_databases_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let env = holdall_runtime::env();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "x").unwrap();
    let error = Lmdb::open(Config::new(plain.join("below")), &env).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    let error = Lmdb::open(Config::new(&plain), &env).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");

    let damaged = folder.path().join("damaged");
    std::fs::create_dir(&damaged).unwrap();
    std::fs::write(damaged.join("data.mdb"), vec![1; 8192]).unwrap();
    let location = Location::from_path("lmdb", damaged.to_str().unwrap());
    let config = Config::from_location(&location).unwrap();
    let error = Lmdb::open(config, &env).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert_eq!(error.location(), Some(&location));

    let foreign = folder.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    foreign_database(&foreign);
    let error = Lmdb::open(Config::new(&foreign), &env).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.message().contains("another program"), "{error}");
}

#[allow(unsafe_code, reason = "a database of another program is made with the raw library")]
fn foreign_database(path: &Path) {
    use heed::types::Bytes as Raw;
    // SAFETY: nothing else has the fresh folder open.
    let env = unsafe { heed::EnvOpenOptions::new().map_size(1 << 20).open(path) }.unwrap();
    let mut txn = env.write_txn().unwrap();
    let rows = env.create_database::<Raw, Raw>(&mut txn, None).unwrap();
    rows.put(&mut txn, b"theirs", b"x").unwrap();
    txn.commit().unwrap();
}
