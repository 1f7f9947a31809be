//! What the SlateDB backend promises beyond the contract, in a directory: one writer, readers that
//! follow, shared flushes, tables and logs that are cleared away, damage that is noticed.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;

use common::{at, files, key, open, put, text, until};
use futures::future::join_all;
use holdall_core::{Backend, BackendExt, Batch, Bytes, Durability, ErrorKind, Expect, Key, Reach};

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_to_write_takes_over_and_the_old_writer_never_writes_again() {
    let folder = tempfile::tempdir().unwrap();
    let place = at(folder.path(), "poll_interval=1h");
    let old = open(&place).await.unwrap();
    put(&old, "mine", "old").await.unwrap();
    let new = open(&place).await.unwrap();
    assert_eq!(text(&new, "mine").await.as_deref(), Some("old"));
    // The first write finds it out on its way; from there on all is refused at once.
    let found_out = put(&old, "mine", "stale").await.unwrap_err();
    assert!([ErrorKind::Unknown, ErrorKind::Closed].contains(&found_out.kind()), "{found_out:?}");
    assert!(found_out.message().contains("taken"), "{found_out}");
    for _ in 0..2 {
        let refused = put(&old, "mine", "stale").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Closed, "{refused:?}");
        assert!(refused.message().contains("read_only=true"), "{refused}");
        let refused = old.get_all(&key("mine")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Closed, "{refused:?}");
        assert_eq!(old.health().await.unwrap_err().kind(), ErrorKind::Closed);
    }
    drop(old);
    put(&new, "other", "new").await.unwrap();
    drop(new);
    let last = open(&place).await.unwrap();
    assert_eq!(text(&last, "mine").await.as_deref(), Some("old"));
    assert_eq!(text(&last, "other").await.as_deref(), Some("new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_writer_finds_out_by_itself_that_it_was_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let place = at(folder.path(), "poll_interval=20ms");
    let old = open(&place).await.unwrap();
    let new = open(&place).await.unwrap();
    until("the old writer is closed", async || old.health().await.is_err()).await;
    let refused = put(&old, "k", "stale").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed, "{refused:?}");
    put(&new, "k", "new").await.unwrap();
    assert_eq!(text(&new, "k").await.as_deref(), Some("new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_make_a_store_at_once_one_stays_its_writer() {
    let folder = tempfile::tempdir().unwrap();
    let place = at(folder.path(), "");
    let opened = join_all([open(&place), open(&place)]).await;
    let mut stores = Vec::new();
    for opened in opened {
        match opened {
            Ok(store) => stores.push(store),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
        }
    }
    let mut written = 0;
    for store in &stores {
        // The first write of the one that was fenced off finds that out.
        let _ = put(store, "k", "v").await;
        written += usize::from(put(store, "k", "v").await.is_ok());
    }
    assert_eq!(written, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_wait_at_the_same_time_share_a_flush() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&at(folder.path(), "flush_interval=300ms")).await.unwrap();
    put(&store, "first", "v").await.unwrap();
    let before = files(folder.path(), "wal").len();
    let names: Vec<String> = (0..64).map(|number| format!("k{number}")).collect();
    for written in join_all(names.iter().map(|name| put(&store, name, "v"))).await {
        written.unwrap();
    }
    let flushes = files(folder.path(), "wal").len() - before;
    assert!((1..=2).contains(&flushes), "{flushes} flushes for 64 writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_follows_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let writer = open(&at(folder.path(), "")).await.unwrap();
    put(&writer, "k", "1").await.unwrap();
    let trace = |folder: &Path| ["manifest", "wal", "compacted"].map(|name| files(folder, name));
    let before = trace(folder.path());
    let place = at(folder.path(), "read_only=true&poll_interval=20ms");
    let (one, other) = (open(&place).await.unwrap(), open(&place).await.unwrap());
    assert_eq!(trace(folder.path()), before);
    for reader in [&one, &other] {
        assert_eq!(text(reader, "k").await.as_deref(), Some("1"));
        assert_eq!(reader.profile().reach, Reach::Machine);
        let refusals = [
            put(reader, "k", "x").await.map(drop),
            reader.delete(&key("k"), Expect::Any).await,
            reader.apply(Batch::new()).await.map(drop),
        ];
        for refused in refusals {
            let refused = refused.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Denied, "{refused:?}");
            assert!(refused.message().contains("read_only"), "{refused}");
        }
        let notes = reader.health().await.unwrap().notes;
        assert!(notes.iter().any(|note| note.contains("a reader")), "{notes:?}");
    }
    let revision = put(&writer, "k", "2").await.unwrap();
    put(&writer, "l", "3").await.unwrap();
    until("a reader sees what was written", async || text(&one, "l").await.is_some()).await;
    let found = one.get_all(&key("k")).await.unwrap().unwrap();
    assert_eq!((&found.value[..], found.revision), (&b"2"[..], revision));
    let listed = one.list_all("", true).await.unwrap();
    assert_eq!(listed.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["k", "l"]);
    // A reader is no writer: nobody was fenced off.
    put(&writer, "k", "4").await.unwrap();
    assert_eq!(writer.profile().reach, Reach::Process);
    assert_eq!(writer.profile().durability, Durability::Machine);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_values_are_of_one_moment_to_readers_too() {
    let folder = tempfile::tempdir().unwrap();
    let writer = open(&at(folder.path(), "")).await.unwrap();
    let names: Vec<Key> = (0..20).map(|number| key(format!("k{number}"))).collect();
    let write = async |round: usize| {
        let mut batch = Batch::new();
        for name in &names {
            batch.put(name.clone(), Bytes::from(round.to_string()), Expect::Any);
        }
        writer.apply(batch).await.unwrap();
    };
    write(0).await;
    let reader = open(&at(folder.path(), "read_only=true&poll_interval=10ms")).await.unwrap();
    let writing = async {
        for round in 1..200 {
            write(round).await;
        }
    };
    let reading = async {
        let (mut seen, mut asked) = (std::collections::BTreeSet::new(), names.clone());
        asked.reverse();
        asked.push(key("missing"));
        asked.push(names[3].clone());
        while seen.len() < 3 {
            for store in [&reader, &writer] {
                let found = store.get_many(&asked).await.unwrap();
                assert_eq!(found.len(), asked.len());
                assert_eq!(found[names.len()], None);
                let mut values: Vec<Bytes> =
                    found.into_iter().flatten().map(|found| found.value).collect();
                assert_eq!(values.len(), names.len() + 1);
                values.dedup();
                assert_eq!(values.len(), 1, "two moments in one answer");
                if std::ptr::eq(store, &reader) {
                    seen.extend(values);
                }
            }
        }
    };
    tokio::join!(writing, reading);
}

#[tokio::test(flavor = "multi_thread")]
async fn trying_the_store_out_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&at(folder.path(), "")).await.unwrap());
    let left = files(folder.path(), "").into_iter().map(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, path.is_dir())
    });
    assert!(left.clone().all(|(name, is_dir)| is_dir && !name.starts_with('.')), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_makes_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    for path in [folder.path(), &missing] {
        let error = open(&at(path, "read_only=true")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert!(error.message().contains("open it once"), "{error}");
    }
    assert!(!missing.exists());
    assert_eq!(files(folder.path(), "").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_cannot_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    for path in [file.clone(), file.join("below")] {
        for options in ["", "read_only=true"] {
            let error = open(&at(&path, options)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{options} {error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_compacted_and_what_is_no_longer_used_goes() {
    let folder = tempfile::tempdir().unwrap();
    let options = "table_size=64KiB&collect_after=1s&poll_interval=50ms";
    let store = open(&at(folder.path(), options)).await.unwrap();
    let value = Bytes::from(vec![7; 8 << 10]);
    for round in 0..20 {
        let mut batch = Batch::new();
        for number in 0..16 {
            batch.put(key(format!("k{number:02}")), value.clone(), Expect::Any);
        }
        batch.put(key("round"), Bytes::from(round.to_string()), Expect::Any);
        store.apply(batch).await.unwrap();
    }
    let count = |name| files(folder.path(), name).len();
    until("tables are merged", async || {
        store.health().await.unwrap().notes.iter().all(|note| !note.contains(" 0 sorted runs"))
    })
    .await;
    // Twenty tables of 128 KiB were written; those that were merged are no longer used.
    let bytes = || -> u64 {
        let tables = files(folder.path(), "compacted").into_iter();
        tables.filter_map(|file| std::fs::metadata(file).ok()).map(|found| found.len()).sum()
    };
    until("the merged tables are gone", async || bytes() < 12 * (128 << 10)).await;
    // One log file that is empty keeps old writers out, and the last few are still in use.
    until("the old log files are gone", async || count("wal") <= 8).await;
    assert_eq!(text(&store, "round").await.as_deref(), Some("19"));
    let listed = store.list_all("k", true).await.unwrap();
    assert_eq!(listed.len(), 16);
    assert!(listed.iter().all(|row| row.object.as_ref().unwrap().value == value));
    drop(store);
    let store = open(&at(folder.path(), options)).await.unwrap();
    assert_eq!(store.list_all("", false).await.unwrap().len(), 17);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_many_log_files_is_opened_and_then_short_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&at(folder.path(), "")).await.unwrap();
    for number in 0..120 {
        put(&store, &format!("k{number:03}"), "v").await.unwrap();
    }
    assert_eq!(files(folder.path(), "compacted").len(), 0);
    drop(store);
    let store = open(&at(folder.path(), "")).await.unwrap();
    assert_eq!(store.list_all("", false).await.unwrap().len(), 120);
    assert_eq!(files(folder.path(), "compacted").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn compression_caches_and_blocks_may_change_between_openings() {
    let folder = tempfile::tempdir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    let disk = format!("disk_cache={}&disk_cache_size=16MiB", cache.path().display());
    let openings = [
        "compression=zstd&table_size=64KiB".to_owned(),
        "block_cache=0B&block_size=1KiB&table_size=64KiB".to_owned(),
        format!("{disk}&compression=zstd&block_size=64KiB&table_size=64KiB"),
        "probe=false".to_owned(),
    ];
    for (round, options) in openings.iter().enumerate() {
        let store = open(&at(folder.path(), options)).await.unwrap();
        for earlier in 0..round {
            let row = store.get_all(&key(format!("{earlier}/7"))).await.unwrap().unwrap();
            assert_eq!(row.value, vec![earlier as u8; 10_000]);
        }
        for number in 0..20 {
            let value = Bytes::from(vec![round as u8; 10_000]);
            store.put(&key(format!("{round}/{number}")), value, Expect::Absent).await.unwrap();
        }
    }
    let reader = open(&at(folder.path(), &format!("read_only=true&{disk}"))).await.unwrap();
    assert_eq!(reader.list_all("", true).await.unwrap().len(), 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_table_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let fill = async || {
        let options = "table_size=64KiB&block_cache=0B&poll_interval=1h";
        let store = open(&at(folder.path(), options)).await.unwrap();
        for number in 0..20 {
            let value = Bytes::from(vec![7; 10_000]);
            store.put(&key(format!("k{number:02}")), value, Expect::Any).await.unwrap();
        }
        until("there is a table", async || {
            store.health().await.unwrap().notes.iter().all(|note| !note.contains(" 0 new tables"))
        })
        .await;
        store
    };
    let store = fill().await;
    for table in files(folder.path(), "compacted") {
        let mut bytes = std::fs::read(&table).unwrap();
        for byte in &mut bytes[100..60_000] {
            *byte ^= 1;
        }
        std::fs::write(&table, bytes).unwrap();
    }
    let error = store.get_all(&key("k02")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    let error = store.list_all("", true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_not_ours_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let client = slatedb::object_store::local::LocalFileSystem::new_with_prefix(folder.path());
    let db = slatedb::Db::open("", std::sync::Arc::new(client.unwrap())).await.unwrap();
    db.put(b"\xff\xfe", b"v").await.unwrap();
    db.close().await.unwrap();
    let store = open(&at(folder.path(), "")).await.unwrap();
    let error = store.list_all("", false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(error.message().contains("store of its own"), "{error}");
}
