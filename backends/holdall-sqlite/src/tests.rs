//! Faults that only the inside can make: a failed sync, a full database, damaged rows.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ffi::{c_int, c_void};
use std::path::Path;
use std::sync::Arc;

use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, ErrorKind, Expect, Key, List, Operation,
};
use rusqlite::ffi;

use crate::layout::{INLINE_BYTES_MAX, PART_BYTES};
use crate::{Config, JournalMode, Sqlite};

async fn open(config: &Config) -> Sqlite {
    Sqlite::open(config.clone(), &holdall_runtime::env()).await.unwrap()
}

fn config(folder: &Path) -> Config {
    Config::new(folder.join("file.db"))
}

fn with_journal(folder: &Path, journal_mode: JournalMode) -> Config {
    Config { journal_mode, ..config(folder) }
}

fn key(text: impl AsRef<str>) -> Key {
    Key::parse(text).unwrap()
}

/// Lets the file of this kind fail whenever it is to be synced, as a disk that breaks would.
#[allow(unsafe_code, reason = "SQLite's way to its files is by pointers")]
fn break_sync(sqlite: &Sqlite, file: c_int) {
    unsafe extern "C" fn fail(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
        ffi::SQLITE_IOERR_FSYNC
    }
    let writer = sqlite.store.writer();
    let mut found: *mut ffi::sqlite3_file = std::ptr::null_mut();
    // SAFETY: SQLite gives out its open file, whose methods are replaced by a copy that lives for
    // ever and differs in one. Nobody else uses the connection meanwhile.
    unsafe {
        let code = ffi::sqlite3_file_control(
            writer.handle(),
            c"main".as_ptr(),
            file,
            (&raw mut found).cast::<c_void>(),
        );
        assert_eq!(code, ffi::SQLITE_OK);
        let mut methods = *(*found).pMethods;
        methods.xSync = Some(fail);
        (*found).pMethods = Box::leak(Box::new(methods));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_sync_no_write_is_taken_until_it_is_opened_again() {
    for (journal_mode, file) in [
        (JournalMode::Wal, ffi::SQLITE_FCNTL_JOURNAL_POINTER),
        (JournalMode::Truncate, ffi::SQLITE_FCNTL_FILE_POINTER),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let config = with_journal(folder.path(), journal_mode);
        let sqlite = open(&config).await;
        sqlite.put(&key("a"), Bytes::from("1"), Expect::Any).await.unwrap();
        break_sync(&sqlite, file);
        let error = sqlite.put(&key("a"), Bytes::from("2"), Expect::Any).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown, "{journal_mode:?}: {error:?}");
        assert!(error.message().contains("read it back"), "{error}");
        for _ in 0..2 {
            let error = sqlite.put(&key("b"), Bytes::new(), Expect::Any).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Closed);
        }
        assert_eq!(sqlite.health().await.unwrap_err().kind(), ErrorKind::Closed);
        assert!(sqlite.get_all(&key("b")).await.unwrap().is_none());
        drop(sqlite);
        let sqlite = open(&config).await;
        let found = sqlite.get_all(&key("a")).await.unwrap().unwrap().value;
        assert!(found == "1" || found == "2");
        sqlite.put(&key("a"), Bytes::from("3"), Expect::Any).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_database_loses_nothing_and_room_can_be_made() {
    for journal_mode in [JournalMode::Wal, JournalMode::Truncate] {
        let folder = tempfile::tempdir().unwrap();
        let config = with_journal(folder.path(), journal_mode);
        let sqlite = open(&config).await;
        sqlite.store.writer().pragma_update(None, "max_page_count", 1000).unwrap();
        let value = |number: u32| Bytes::from(vec![number as u8; 10_000]);
        let mut written = 0;
        let error = loop {
            match sqlite.put(&key(format!("{written:04}")), value(written), Expect::Absent).await {
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
        let (refused, deleted) =
            tokio::join!(sqlite.apply(large), sqlite.delete(&first, Expect::Any));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Full);
        deleted.unwrap();
        assert!(sqlite.get_all(&key("small")).await.unwrap().is_none());

        // Everything acknowledged is there, also after reopening, and what was removed makes room.
        drop(sqlite);
        let sqlite = open(&config).await;
        sqlite.store.writer().pragma_update(None, "max_page_count", 1000).unwrap();
        for number in 1..written {
            let found = sqlite.get_all(&key(format!("{number:04}"))).await.unwrap().unwrap();
            assert!(found.value == value(number), "{number}");
            sqlite.delete(&key(format!("{number:04}")), Expect::Any).await.unwrap();
        }
        for number in 0..written {
            let name = key(format!("{number:04}"));
            sqlite.put(&name, value(number), Expect::Absent).await.unwrap();
        }
        let health = sqlite.health().await.unwrap();
        assert!(health.bytes_used.unwrap() > 2 << 20, "{health:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_large_values_begin_and_end_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = open(&config(folder.path())).await;
    for size in [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, PART_BYTES, 3 * PART_BYTES + 7] {
        let value: Vec<u8> = (0..size).map(|place| (place % 251) as u8).collect();
        sqlite.put(&key("v"), Bytes::from(value.clone()), Expect::Any).await.unwrap();
        let places = [0, 1, PART_BYTES - 1, PART_BYTES, 2 * PART_BYTES + 1, size, size + 9];
        for start in places {
            for end in places.into_iter().filter(|end| *end >= start) {
                let range = ByteRange::new(start as u64, end as u64);
                let found = sqlite.get(&key("v"), range).await.unwrap().unwrap();
                assert!(found.value == value[start.min(size)..end.min(size)], "{size} {range:?}");
                assert_eq!(found.size, size as u64);
            }
        }
    }
    // No part of an earlier value is left.
    let count = "SELECT count(*) FROM holdall_parts";
    let parts = |sqlite: &Sqlite| -> i64 {
        sqlite.store.writer().query_row(count, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(parts(&sqlite), 4);
    let shorter = Bytes::from(vec![7; PART_BYTES + 1]);
    sqlite.put(&key("v"), shorter.clone(), Expect::Any).await.unwrap();
    assert_eq!(parts(&sqlite), 2);
    assert_eq!(sqlite.get_all(&key("v")).await.unwrap().unwrap().value, shorter);
    sqlite.put(&key("v"), Bytes::from("short"), Expect::Any).await.unwrap();
    assert_eq!(parts(&sqlite), 0);
    sqlite.put(&key("v"), Bytes::from(vec![1; 1000]), Expect::Any).await.unwrap();
    sqlite.delete(&key("v"), Expect::Any).await.unwrap();
    assert_eq!(parts(&sqlite), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_rows_are_noticed() {
    for harm in [
        "UPDATE holdall_parts SET data = x'00'",
        "DELETE FROM holdall_parts",
        "DELETE FROM holdall_parts WHERE id = 2",
        "UPDATE holdall_rows SET size = size + 1",
        "UPDATE holdall_rows SET size = 1 << 40",
        "UPDATE holdall_rows SET size = -1",
        "UPDATE holdall_rows SET part = NULL",
        "UPDATE holdall_rows SET revision = -5",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = open(&config(folder.path())).await;
        let value = Bytes::from(vec![7; 2 * PART_BYTES]);
        sqlite.put(&key("v"), value, Expect::Any).await.unwrap();
        sqlite.store.writer().execute_batch(harm).unwrap();
        let corrupt = ErrorKind::Corrupt;
        let error = sqlite.get_all(&key("v")).await.unwrap_err();
        assert_eq!(error.kind(), corrupt, "{harm}");
        assert_eq!(error.operation(), Operation::Get);
        let error = sqlite.get_many(&[key("v")]).await.unwrap_err();
        assert_eq!(error.kind(), corrupt, "{harm}");
        let error = sqlite.list(&List::prefix("").with_values()).await.unwrap_err();
        assert_eq!(error.kind(), corrupt, "{harm}");
    }
    let folder = tempfile::tempdir().unwrap();
    let sqlite = open(&config(folder.path())).await;
    sqlite.store.writer().execute_batch("DELETE FROM holdall_state").unwrap();
    let error = sqlite.put(&key("v"), Bytes::new(), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_connections_are_kept_after_many_reads_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Arc::new(open(&config(folder.path())).await);
    sqlite.put(&key("a"), Bytes::from("1"), Expect::Any).await.unwrap();
    let store = &sqlite.store;
    fn read_within(store: &crate::store::Store, depth: u32) {
        let read = store.read(|connection| {
            let found = crate::read::get(connection, &key("a"), ByteRange::ALL)?;
            assert_eq!(found.unwrap().value, "1");
            if depth > 0 {
                read_within(store, depth - 1);
            }
            Ok(())
        });
        read.unwrap();
    }
    read_within(store, 30);
    assert_eq!(store.idle_count(), 8);
}
