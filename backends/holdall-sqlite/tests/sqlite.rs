//! What the SQLite backend promises beyond the contract: groups, locks, foreign and damaged files.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "writers are spawned and cut off on purpose")]

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdall_core::{
    Backend, BackendExt, Batch, Bytes, Description, Durability, Error, ErrorKind, Expect, Filter,
    Find, Key, List, Location, Revision, Timestamp,
};
use holdall_sqlite::{Config, JournalMode, Sqlite, Synchronous};
use rusqlite::Connection;

async fn try_open(config: Config) -> Result<Sqlite, Error> {
    Sqlite::open(config, &holdall_runtime::env()).await
}

async fn open(path: &Path) -> Sqlite {
    try_open(Config::new(path)).await.unwrap()
}

fn fresh() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.db");
    (folder, path)
}

fn key(text: impl AsRef<str>) -> Key {
    Key::parse(text).unwrap()
}

/// Closes a database, and waits until the last to hold it, which may still be answering, has put
/// its log away.
async fn close(sqlite: Sqlite, path: &Path) {
    drop(sqlite);
    while path.with_extension("db-wal").exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn impatient(path: &Path) -> Config {
    Config { busy_timeout: Duration::from_millis(50), ..Config::new(path) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_keys_come_back_after_reopening() {
    let (_folder, path) = fresh();
    let sqlite = open(&path).await;
    let longest = key("\u{10ffff}".repeat(256));
    sqlite.put(&longest, Bytes::from("long"), Expect::Absent).await.unwrap();
    drop(sqlite);
    let sqlite = open(&path).await;
    assert_eq!(sqlite.get_all(&longest).await.unwrap().unwrap().value, "long");
    assert_eq!(sqlite.list_all("", true).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_may_begin_anywhere() {
    let (_folder, path) = fresh();
    let sqlite = open(&path).await;
    let long = "b".repeat(1024);
    for name in ["a", long.as_str(), "c"] {
        sqlite.put(&key(name), Bytes::new(), Expect::Any).await.unwrap();
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
        let page = sqlite.list(&list).await.unwrap();
        let found: Vec<&str> = page.rows.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(found, expected, "{list:?}");
        assert!(!page.more);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_with_large_values_end_early_and_go_on() {
    let (_folder, path) = fresh();
    let sqlite = open(&path).await;
    let value = Bytes::from(vec![7; 20 << 20]);
    for name in ["a", "b", "c"] {
        sqlite.put(&key(name), value.clone(), Expect::Any).await.unwrap();
    }
    let page = sqlite.list(&List::prefix("").with_values()).await.unwrap();
    assert_eq!((page.rows.len(), page.more), (2, true));
    let rows = sqlite.list_all("", true).await.unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows.into_iter().all(|row| row.object.unwrap().value == value));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_true_at_their_edges() {
    let (_folder, path) = fresh();
    let sqlite = open(&path).await;
    let max = sqlite.profile().value_bytes_max as usize;
    let value = Bytes::from(vec![3; max]);
    sqlite.put(&key("largest"), value.clone(), Expect::Absent).await.unwrap();
    assert!(sqlite.get_all(&key("largest")).await.unwrap().unwrap().value == value);
    let over = Bytes::from(vec![3; max + 1]);
    let error = sqlite.put(&key("larger"), over.clone(), Expect::Absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);

    let mut batch = Batch::new();
    for number in 0..100_000_u32 {
        let scattered = number.wrapping_mul(2_654_435_761);
        batch.put(key(format!("rows/{scattered:08x}")), vec![number as u8; 100], Expect::Absent);
    }
    let revision = sqlite.apply(batch.clone()).await.unwrap();
    let rows = sqlite.list_all("rows/", true).await.unwrap();
    assert_eq!(rows.len(), 100_000);
    assert!(rows.windows(2).all(|pair| pair[0].key < pair[1].key));
    assert!(rows.iter().all(|row| row.object.as_ref().unwrap().revision == revision));
    batch.put(key("one more"), "", Expect::Any);
    assert_eq!(sqlite.apply(batch).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_opens_twice_also_by_a_link() {
    let (folder, path) = fresh();
    let one = open(&path).await;
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let two = try_open(Config { cache_size: 1 << 20, ..Config::new(&link) }).await.unwrap();
    let first = one.put(&key("a"), Bytes::from("1"), Expect::Absent).await.unwrap();
    let second = two.put(&key("a"), Bytes::from("2"), Expect::Revision(first)).await.unwrap();
    assert_eq!(one.get_all(&key("a")).await.unwrap().unwrap().revision, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_and_closing_at_the_same_time_always_works() {
    let (_folder, path) = fresh();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let path = path.clone();
            tokio::spawn(async move {
                for round in 0..10 {
                    let sqlite = open(&path).await;
                    let name = key(format!("{task}/{round}"));
                    sqlite.put(&name, Bytes::from("x"), Expect::Absent).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(open(&path).await.list_all("", false).await.unwrap().len(), 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_group_a_conflict_stops_only_its_own_batch() {
    let (_folder, path) = fresh();
    let sqlite = Arc::new(open(&path).await);
    let tasks: Vec<_> = (0..64_u32)
        .map(|number| {
            let sqlite = Arc::clone(&sqlite);
            tokio::spawn(async move {
                let mut batch = Batch::new();
                batch.put(key(format!("own/{number:02}")), number.to_string(), Expect::Any);
                let shared = key(format!("shared/{}", number / 4));
                batch.put(shared, number.to_string(), Expect::Absent);
                (number, sqlite.apply(batch).await)
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
    let rows = sqlite.list_all("own/", false).await.unwrap();
    assert!(rows.iter().map(|row| row.key.as_str()).eq(won.iter().map(String::as_str)));
    assert_eq!(rows.len(), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_to_one_key_in_one_group_have_revisions_of_their_own() {
    let (_folder, path) = fresh();
    let sqlite = Arc::new(open(&path).await);
    let puts: Vec<_> = (0..200_u32)
        .map(|number| {
            let sqlite = Arc::clone(&sqlite);
            // Some of them inside their row, some in parts.
            let value = Bytes::from(vec![1; number as usize * 10]);
            tokio::spawn(async move { sqlite.put(&key("same"), value, Expect::Any).await.unwrap() })
        })
        .collect();
    let mut numbers = Vec::new();
    for put in puts {
        numbers.push(put.await.unwrap().as_number().unwrap());
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_stop_waiting_hold_nobody_up() {
    let (_folder, path) = fresh();
    let sqlite = Arc::new(open(&path).await);
    for round in 0..50_u64 {
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let sqlite = Arc::clone(&sqlite);
                let name = key(format!("{round}/{number}"));
                tokio::spawn(async move { sqlite.put(&name, Bytes::new(), Expect::Any).await })
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
fn a_runtime_that_ends_leaves_the_file_usable_by_another() {
    let (_folder, path) = fresh();
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    };
    let (first, second) = (runtime(), runtime());
    let one = Arc::new(first.block_on(open(&path)));
    let two = second.block_on(open(&path));
    for number in 0..20 {
        let one = Arc::clone(&one);
        let name = key(format!("{number}"));
        first.spawn(async move { one.put(&name, Bytes::new(), Expect::Any).await });
    }
    first.shutdown_background();
    second.block_on(async {
        two.put(&key("after"), Bytes::new(), Expect::Any).await.unwrap();
        assert!(two.get_all(&key("after")).await.unwrap().is_some());
        // The handle whose runtime ended says so, and holds no lock.
        let refused = one.put(&key("late"), Bytes::new(), Expect::Any).await.unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Closed | ErrorKind::Unknown), "{refused:?}");
        two.put(&key("later"), Bytes::new(), Expect::Any).await.unwrap();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_given_back_in_time_is_waited_for() {
    for journal_mode in [JournalMode::Wal, JournalMode::Truncate] {
        let (_folder, path) = fresh();
        let sqlite = try_open(Config { journal_mode, ..Config::new(&path) }).await.unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let release = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            other.execute_batch("COMMIT").unwrap();
        };
        let name = key("a");
        let (put, ()) = tokio::join!(sqlite.put(&name, Bytes::new(), Expect::Absent), release);
        put.unwrap();
        // Without a log a reader holds up the commit itself, and an exclusive lock all readers.
        other.execute_batch("BEGIN; SELECT count(*) FROM holdall_rows").unwrap();
        let release = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            other.execute_batch("COMMIT").unwrap();
        };
        let (put, ()) = tokio::join!(sqlite.put(&name, Bytes::from("2"), Expect::Any), release);
        put.unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let release = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            other.execute_batch("COMMIT").unwrap();
        };
        let (got, ()) = tokio::join!(sqlite.get_all(&name), release);
        assert_eq!(got.unwrap().unwrap().value, "2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_outlasts_the_timeout_is_unavailable_and_nothing_is_written() {
    for journal_mode in [JournalMode::Wal, JournalMode::Truncate] {
        let (_folder, path) = fresh();
        let config = Config { journal_mode, ..impatient(&path) };
        let sqlite = try_open(config.clone()).await.unwrap();
        let other = Connection::open(&path).unwrap();
        let first = sqlite.put(&key("a"), Bytes::from("1"), Expect::Absent).await.unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let error = sqlite.put(&key("a"), Bytes::from("2"), Expect::Any).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.message().contains("busy_timeout"), "{error}");
        let read = sqlite.get_all(&key("a")).await;
        if journal_mode == JournalMode::Wal {
            assert_eq!(read.unwrap().unwrap().value, "1");
        } else {
            assert_eq!(read.unwrap_err().kind(), ErrorKind::Unavailable);
            let error = try_open(config).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
        }
        other.execute_batch("ROLLBACK").unwrap();
        // Without a log, a reader that stays keeps a commit from its end.
        if journal_mode == JournalMode::Truncate {
            other.execute_batch("BEGIN; SELECT count(*) FROM holdall_rows").unwrap();
            let error = sqlite.put(&key("a"), Bytes::from("3"), Expect::Any).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            other.execute_batch("ROLLBACK").unwrap();
        }
        let found = sqlite.get_all(&key("a")).await.unwrap().unwrap();
        assert_eq!((found.value, found.revision.clone()), (Bytes::from("1"), first));
        let expect = Expect::Revision(found.revision);
        sqlite.put(&key("a"), Bytes::from("4"), expect).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_mode_that_others_do_not_use_is_refused_while_they_are_there() {
    let (_folder, path) = fresh();
    let sqlite = open(&path).await;
    sqlite.put(&key("a"), Bytes::from("1"), Expect::Any).await.unwrap();
    let config = Config { journal_mode: JournalMode::Truncate, ..impatient(&path) };
    let error = try_open(config.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("another journal_mode"), "{error}");
    close(sqlite, &path).await;
    let sqlite = try_open(config).await.unwrap();
    assert_eq!(sqlite.get_all(&key("a")).await.unwrap().unwrap().value, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_readers_have_let_grow_is_ended() {
    let (_folder, path) = fresh();
    let sqlite = open(&path).await;
    sqlite.put(&key("a"), Bytes::from("1"), Expect::Any).await.unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN; SELECT count(*) FROM holdall_rows").unwrap();
    let log = || std::fs::metadata(path.with_extension("db-wal")).unwrap().len();
    // SQLite does not write pages that say already what they are to say.
    let value = |number: u8| Bytes::from(vec![number; 8 << 20]);
    for number in 0..9 {
        sqlite.put(&key("large"), value(number), Expect::Any).await.unwrap();
    }
    assert!(log() > 64 << 20, "{}", log());
    other.execute_batch("COMMIT").unwrap();
    for number in 10..19 {
        sqlite.put(&key("large"), value(number), Expect::Any).await.unwrap();
    }
    // The last put may be answered before the log is ended behind it.
    sqlite.put(&key("a"), Bytes::from("2"), Expect::Any).await.unwrap();
    assert!(log() <= 64 << 20, "{}", log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_promised_follows_from_the_settings() {
    let (_folder, path) = fresh();
    let sqlite = open(&path).await;
    assert_eq!(sqlite.profile().durability, Durability::Machine);
    let health = sqlite.health().await.unwrap();
    assert!(health.notes[0].starts_with("SQLite 3."), "{health:?}");
    assert_eq!(health.notes[1], "journal_mode=wal synchronous=full");
    assert_eq!(health.notes.len(), 2);
    assert!(health.bytes_used.unwrap() > 0 && health.bytes_free.unwrap() > 0);
    drop(sqlite);
    let config = Config { synchronous: Synchronous::Normal, ..Config::new(&path) };
    let sqlite = try_open(config).await.unwrap();
    assert_eq!(sqlite.profile().durability, Durability::Process);
    let health = sqlite.health().await.unwrap();
    assert!(health.notes[2].contains("loss of power"), "{health:?}");
    drop(sqlite);
    let config =
        Config { synchronous: Synchronous::Normal, ..Config::new(path.join("../other.db")) };
    let config = Config { journal_mode: JournalMode::Persist, ..config };
    let error = try_open(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(!path.with_file_name("other.db").exists());
    let error = try_open(Config::new(":memory:")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_files_and_databases_are_refused_and_left_as_they_are() {
    let (folder, path) = fresh();
    let location = Location::from_path("sqlite", path.to_str().unwrap());
    let refused = async |hint: &str| {
        let before = std::fs::read(&path).unwrap();
        let config = Config::from_location(&location).unwrap();
        let error = try_open(config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert!(error.message().contains(hint), "{error}");
        assert_eq!(error.location(), Some(&location));
        assert!(std::fs::read(&path).unwrap() == before);
        std::fs::remove_file(&path).unwrap();
    };
    for bytes in [&b"no database"[..], &[1; 100], &[1; 8192]] {
        std::fs::write(&path, bytes).unwrap();
        refused("no SQLite database").await;
    }
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)").unwrap();
    drop(other);
    refused("another program").await;
    drop(open(&path).await);
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 3).unwrap();
    drop(newer);
    refused("newer").await;

    let error = try_open(Config::new(folder.path())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    std::fs::write(&path, "x").unwrap();
    let error = try_open(Config::new(path.join("below/file.db"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    // An empty file is nobody's.
    std::fs::write(&path, "").unwrap();
    open(&path).await.put(&key("a"), Bytes::new(), Expect::Absent).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_descriptions_gets_room_for_them() {
    let (_folder, path) = fresh();
    let older = Connection::open(&path).unwrap();
    older
        .execute_batch(
            "CREATE TABLE holdall_state (
                id INTEGER PRIMARY KEY CHECK (id = 0), revision INTEGER NOT NULL) STRICT;
            CREATE TABLE holdall_rows (key BLOB NOT NULL PRIMARY KEY, revision INTEGER NOT NULL,
                size INTEGER NOT NULL, part INTEGER, value BLOB) STRICT, WITHOUT ROWID;
            CREATE TABLE holdall_parts (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
            INSERT INTO holdall_state VALUES (0, 7);
            INSERT INTO holdall_rows VALUES (x'61', 7, 3, NULL, x'6f6e65');
            PRAGMA application_id = 0x486f6c64; PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(older);
    let opened = (0..8).map(|_| {
        let path = path.clone();
        tokio::spawn(async move { open(&path).await })
    });
    let opened: Vec<Sqlite> = futures::future::try_join_all(opened).await.unwrap();
    let sqlite = &opened[3];
    let found = sqlite.get_all(&key("a")).await.unwrap().unwrap();
    assert_eq!((found.value, found.revision), (Bytes::from("one"), Revision::number(7)));
    let find = Find { list: List::prefix("").with_values(), filter: Filter::default() };
    assert!(sqlite.find(&find).await.unwrap().rows.is_empty());
    let mut batch = Batch::new();
    batch.put_described(key("a"), "two", Expect::Any, told("it\'s \"a\"", 1 << 40));
    sqlite.apply(batch).await.unwrap();
    let found = opened[5].find(&find).await.unwrap().rows;
    assert_eq!(found[0].object.as_ref().unwrap().value, "two");

    // A person sees the same.
    let person = Connection::open(&path).unwrap();
    let entry = "SELECT volume || '|' || name || '|' || size || '|' || written || '|' || expires
        || '|' || content_type || '|' || (attributes ->> 'owner') FROM holdall_entries";
    let entry: String = person.query_row(entry, [], |row| row.get(0)).unwrap();
    let expected = "v|it\'s \"a\"|1099511627776|2023-11-14T22:13:20.000007Z\
        |9999-12-31T23:59:59.999999Z|text/plain|ann";
    assert_eq!(entry, expected);
}

/// Something told of a row.
fn told(name: &str, size: u64) -> Description {
    Description {
        volume: "v".to_owned(),
        name: name.to_owned(),
        size,
        written: Timestamp::from_micros(1_700_000_000_000_007),
        expires: Some(Timestamp::from_micros(253_402_300_799_999_999)),
        content_type: Some("text/plain".to_owned()),
        attributes: [("owner".to_owned(), "ann".to_owned())].into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_in_parts_and_groups_carry_what_is_told_of_them() {
    let (_folder, path) = fresh();
    let sqlite = Arc::new(open(&path).await);
    let writers = (0..40_usize).map(|number| {
        let sqlite = Arc::clone(&sqlite);
        tokio::spawn(async move {
            let mut batch = Batch::new();
            let name = format!("{number:02}");
            let value = vec![number as u8; number * 20_000];
            batch.put_described(key(&name), value, Expect::Absent, told(&name, number as u64));
            batch.put(key(format!("{name} beside")), "x", Expect::Absent);
            sqlite.apply(batch).await.unwrap();
        })
    });
    futures::future::try_join_all(writers).await.unwrap();
    let filter = Filter { size_min: Some(30), ..Filter::default() };
    let page = sqlite.find(&Find { list: List::prefix("").with_values(), filter }).await.unwrap();
    assert_eq!(page.rows.len(), 10);
    for (number, row) in (30..40_usize).zip(page.rows) {
        assert_eq!(row.key, key(format!("{number:02}")));
        assert!(row.object.unwrap().value == vec![number as u8; number * 20_000]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_corrupt_and_never_wrong() {
    let (_folder, path) = fresh();
    let value = |number: u32| Bytes::from(vec![number as u8; 300]);
    let sqlite = open(&path).await;
    let mut batch = Batch::new();
    for number in 0..2000 {
        batch.put(key(format!("{number:04}")), value(number), Expect::Any);
    }
    sqlite.apply(batch).await.unwrap();
    close(sqlite, &path).await;
    let whole = std::fs::read(&path).unwrap();
    let pages = whole.len() / 4096;
    let mut corrupt = 0;
    for page in (1..pages).step_by(7) {
        // The head of a page, which says where its rows are.
        let mut bytes = whole.clone();
        bytes[page * 4096..page * 4096 + 64].fill(0xEE);
        std::fs::write(&path, &bytes).unwrap();
        let Ok(sqlite) = try_open(Config::new(&path)).await else {
            corrupt += 1;
            continue;
        };
        let mut noticed = false;
        for number in 0..2000 {
            match sqlite.get_all(&key(format!("{number:04}"))).await {
                Ok(found) => assert!(found.unwrap().value == value(number)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
                    noticed = true;
                }
            }
        }
        match sqlite.list_all("", true).await {
            Ok(rows) => assert_eq!(rows.len(), 2000),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
                noticed = true;
            }
        }
        if !noticed {
            // What no read needs: the pages of the state and of the parts.
            let put = sqlite.put(&key("large"), Bytes::from(vec![0; 1000]), Expect::Any).await;
            assert_eq!(put.unwrap_err().kind(), ErrorKind::Corrupt, "page {page}");
        }
        corrupt += 1;
    }
    assert!(corrupt > 20, "{corrupt}");
    // A file that was cut short.
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = match try_open(Config::new(&path)).await {
        Ok(sqlite) => sqlite.list_all("", true).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_taken_away_is_noticed() {
    let (_folder, path) = fresh();
    let sqlite = open(&path).await;
    let first = sqlite.put(&key("a"), Bytes::from("1"), Expect::Any).await.unwrap();
    assert_eq!(first, Revision::number(1));
    std::fs::rename(&path, path.with_extension("moved")).unwrap();
    let error = sqlite.put(&key("a"), Bytes::from("2"), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    assert!(error.message().contains("moved or deleted"), "{error}");
    assert_eq!(sqlite.health().await.unwrap_err().kind(), ErrorKind::Closed);
    // Another file under the name is not taken for it.
    let other = open(&path).await;
    other.put(&key("b"), Bytes::new(), Expect::Absent).await.unwrap();
    let error = sqlite.put(&key("b"), Bytes::from("2"), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
}
