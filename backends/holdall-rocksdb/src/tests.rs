//! What only the inside can see or do: where values lie, what is in memory, damaged rows.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Error, ErrorKind, Expect, Key, List,
};
use rocksdb::IteratorMode;

use crate::error::Failure;
use crate::layout::{self, PART_BYTES, REVISION_KEY};
use crate::read::Depth;
use crate::{Config, RocksDb};

async fn open(path: &Path) -> RocksDb {
    RocksDb::open(Config::new(path), &holdall_runtime::env()).await.unwrap()
}

fn key(text: impl AsRef<str>) -> Key {
    Key::parse(text).unwrap()
}

fn count_parts(backend: &RocksDb) -> usize {
    let store = backend.store();
    store.db.iterator_cf(store.parts().unwrap(), IteratorMode::Start).count()
}

/// Writes what is in the write buffers to files, so that it is read from there.
fn flush(backend: &RocksDb) {
    backend.store().db.flush_cf(backend.store().rows().unwrap()).unwrap();
    backend.store().db.flush_cf(backend.store().parts().unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_large_values_begin_and_end_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path()).await;
    let inline = Config::new("/").min_blob_size as usize;
    for size in [0, 1, inline, inline + 1, PART_BYTES, 3 * PART_BYTES + 7] {
        let value: Vec<u8> = (0..size).map(|place| (place % 251) as u8).collect();
        backend.put(&key("v"), Bytes::from(value.clone()), Expect::Any).await.unwrap();
        if size > PART_BYTES {
            flush(&backend);
        }
        let places = [0, 1, PART_BYTES - 1, PART_BYTES, 2 * PART_BYTES + 1, size, size + 9];
        for start in places {
            for end in places.into_iter().filter(|end| *end >= start) {
                let range = ByteRange::new(start as u64, end as u64);
                let found = backend.get(&key("v"), range).await.unwrap().unwrap();
                assert!(found.value == value[start.min(size)..end.min(size)], "{size} {range:?}");
                assert_eq!(found.size, size as u64);
            }
        }
    }
    // No part of an earlier value is left.
    assert_eq!(count_parts(&backend), 4);
    backend.put(&key("v"), Bytes::from("short"), Expect::Any).await.unwrap();
    assert_eq!(count_parts(&backend), 0);
    backend.put(&key("v"), Bytes::from(vec![1; 300_000]), Expect::Any).await.unwrap();
    assert_eq!(count_parts(&backend), 3);
    backend.delete(&key("v"), Expect::Any).await.unwrap();
    assert_eq!(count_parts(&backend), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_of_one_group_replace_each_others_parts() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Arc::new(open(folder.path()).await);
    let value = |number: u8| Bytes::from(vec![number; 200_000]);
    let twice = (0..20_u8).map(|number| {
        let (backend, value) = (Arc::clone(&backend), value(number));
        async move {
            let mut batch = Batch::new();
            batch.put(key("same"), value.clone(), Expect::Any);
            batch.put(key(format!("own/{number:02}")), value, Expect::Absent);
            backend.apply(batch).await.unwrap();
        }
    });
    futures::future::join_all(twice).await;
    assert_eq!(count_parts(&backend), 21 * 2);
    let same = backend.get_all(&key("same")).await.unwrap().unwrap().value;
    assert!(same == value(same[0]));
    for row in backend.list_all("own/", true).await.unwrap() {
        let number: u8 = row.key.as_str()[4..].parse().unwrap();
        assert!(row.object.unwrap().value == value(number));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_memory_is_read_there_and_the_rest_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path()).await;
    let env = holdall_runtime::env();
    for number in 0..100 {
        backend
            .put(&key(format!("{number:02}")), Bytes::from(vec![1; 900]), Expect::Any)
            .await
            .unwrap();
    }
    let cold = |failure: &Failure| matches!(failure, Failure::Cold);
    let (one, all) = (key("42"), List::prefix("").with_values());
    let many = [key("7"), key("77"), key("none")];
    let memory = Depth::Memory;
    assert!(backend.store().get(&one, ByteRange::ALL, memory).unwrap().is_some());
    assert_eq!(backend.store().list(&all, memory).unwrap().rows.len(), 100);

    flush(&backend);
    drop(backend);
    let backend = RocksDb::open(Config::new(folder.path()), &env).await.unwrap();
    assert!(cold(&backend.store().get(&one, ByteRange::ALL, memory).unwrap_err()));
    assert!(cold(&backend.store().get_many(&many, memory).unwrap_err()));
    assert!(cold(&backend.store().list(&all, memory).unwrap_err()));
    assert_eq!(backend.get_all(&one).await.unwrap().unwrap().size, 900);
    assert_eq!(backend.list(&all).await.unwrap().rows.len(), 100);
    // What was read once is in memory now.
    assert!(backend.store().get(&one, ByteRange::ALL, memory).unwrap().is_some());
    assert_eq!(backend.store().list(&all, memory).unwrap().rows.len(), 100);
    assert!(backend.store().get_many(&many, memory).unwrap()[2].is_none());

    // Parts are read where waiting does no harm, also when they were just written.
    backend.put(&key("large"), Bytes::from(vec![1; 9000]), Expect::Any).await.unwrap();
    assert!(cold(&backend.store().get(&key("large"), ByteRange::ALL, memory).unwrap_err()));
    assert_eq!(backend.get_all(&key("large")).await.unwrap().unwrap().size, 9000);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_rows_are_corrupt_and_name_their_key() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path()).await;
    let value = Bytes::from(vec![5; 300_000]);
    for name in ["short", "part-missing", "part-cut", "unknown-kind"] {
        backend.put(&key(name), value.clone(), Expect::Any).await.unwrap();
        let store = backend.store();
        let (rows, parts) = (store.rows().unwrap(), store.parts().unwrap());
        let row = store.db.get_cf(rows, name).unwrap().unwrap();
        let (head, _) = layout::split(holdall_core::Operation::Get, &row).unwrap();
        let (_, part) = head.parts(0..head.size).nth(1).unwrap();
        match name {
            "short" => store.db.put_cf(rows, name, "x").unwrap(),
            "part-missing" => store.db.delete_cf(parts, part).unwrap(),
            "part-cut" => store.db.put_cf(parts, part, "x").unwrap(),
            _ => store.db.put_cf(rows, name, [9; 30]).unwrap(),
        }
        let corrupt = |error: &Error| error.kind() == ErrorKind::Corrupt;
        let error = backend.get_all(&key(name)).await.unwrap_err();
        assert!(corrupt(&error), "{name}: {error:?}");
        assert_eq!((error.key(), error.location().is_some()), (Some(&key(name)), true));
        assert!(corrupt(&backend.get_many(&[key(name)]).await.unwrap_err()));
        assert!(corrupt(&backend.list(&List::prefix(name).with_values()).await.unwrap_err()));
        // A write that must look at the damaged row fails alone; one beside it goes on.
        let (name, other) = (key(name), key("other"));
        let (damaged, beside) = futures::join!(
            backend.put(&name, Bytes::new(), Expect::Absent),
            backend.put(&other, Bytes::new(), Expect::Any)
        );
        assert!(damaged.is_err());
        beside.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_revision_is_noticed_at_opening() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path()).await;
    let store = backend.store();
    store.db.put_cf(store.rows().unwrap(), REVISION_KEY, "x").unwrap();
    drop(backend);
    let opened = RocksDb::open(Config::new(folder.path()), &holdall_runtime::env()).await;
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_write_the_folder_is_closed_until_all_have_gone() {
    let folder = tempfile::tempdir().unwrap();
    let one = open(folder.path()).await;
    one.put(&key("a"), Bytes::from("1"), Expect::Any).await.unwrap();
    one.store().close();
    let error = one.put(&key("a"), Bytes::from("2"), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(one.health().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(one.get_all(&key("a")).await.unwrap().unwrap().value, "1");

    // Opening waits for the last to go.
    let env = holdall_runtime::env();
    let opening = RocksDb::open(Config::new(folder.path()), &env);
    let (two, ()) = futures::join!(opening, async { drop(one) });
    two.unwrap().put(&key("a"), Bytes::from("3"), Expect::Any).await.unwrap();
}
