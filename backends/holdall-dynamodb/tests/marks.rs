//! Batches that are larger than a transaction of the store, and marks that others left.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::{join, join3};
use holdall_core::{Backend, BackendExt, Batch, ErrorKind, Expect, Key};
use holdall_dynamodb::{Config, DynamoDb};
use support::{
    at, binary, bytes, fresh, fresh_table, get_raw, key, left, number, open, pattern, put_raw,
};

fn keys(count: usize) -> Vec<Key> {
    (0..count).map(|at| key(format!("row/{at:05}"))).collect()
}

fn puts(keys: &[Key], value: &str) -> Batch {
    let mut batch = Batch::new();
    for key in keys {
        batch.put(key.clone(), bytes(value), Expect::Any);
    }
    batch
}

#[tokio::test]
async fn large_batches_happen_whole_and_leave_nothing() {
    let config = fresh_table();
    let backend = open(&config).await.unwrap();
    let keys = keys(1200);
    let revision = backend.apply(puts(&keys, "1")).await.unwrap();
    let rows = backend.list_all("", true).await.unwrap();
    assert_eq!(rows.len(), keys.len());
    assert!(rows.iter().all(|row| row.object.as_ref().unwrap().revision == revision));
    let mut batch = Batch::new();
    for (at, key) in keys.iter().enumerate() {
        let expect = Expect::Revision(revision.clone());
        match at % 3 {
            0 => batch.put(key.clone(), bytes("2"), expect),
            1 => batch.delete(key.clone(), expect),
            _ => batch.check(key.clone(), expect),
        };
    }
    let second = backend.apply(batch).await.unwrap();
    let found = backend.get_many(&keys).await.unwrap();
    for (at, found) in found.into_iter().enumerate() {
        let found = found.map(|found| (found.value, found.revision));
        let expected = match at % 3 {
            0 => Some((bytes("2"), second.clone())),
            1 => None,
            _ => Some((bytes("1"), revision.clone())),
        };
        assert_eq!(found, expected, "{at}");
    }
    assert_eq!(left(&config).await, (0, 0));
}

#[tokio::test]
async fn a_batch_of_many_bytes_happens_whole() {
    let config = fresh_table();
    let backend = open(&config).await.unwrap();
    let mut batch = Batch::new();
    for (at, key) in keys(60).into_iter().enumerate() {
        batch.put(key, pattern(190 << 10, at as u8), Expect::Absent);
    }
    backend.apply(batch.clone()).await.unwrap();
    let error = backend.apply(batch).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some(&keys(1)[0])));
    let rows = backend.list_all("", true).await.unwrap();
    for (at, row) in rows.iter().enumerate() {
        assert!(row.object.as_ref().unwrap().value == pattern(190 << 10, at as u8), "{at}");
    }
    assert_eq!((rows.len(), left(&config).await), (60, (0, 0)));
}

#[tokio::test]
async fn a_conflict_names_the_first_key_and_nothing_happens() {
    let config = fresh_table();
    let backend = open(&config).await.unwrap();
    let keys = keys(350);
    backend.apply(puts(&keys[..340], "old")).await.unwrap();
    let before = backend.list_all("", true).await.unwrap();
    let mut batch = Batch::new();
    for (at, key) in keys.iter().enumerate() {
        let expect = if at == 137 || at == 311 { Expect::Absent } else { Expect::Any };
        match at % 2 {
            0 => batch.delete(key.clone(), expect),
            _ => batch.put(key.clone(), bytes("new"), expect),
        };
    }
    let error = backend.apply(batch).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some(&keys[137])), "{error:?}");
    assert_eq!(backend.list_all("", true).await.unwrap(), before);
    assert_eq!(left(&config).await, (0, 0));
}

/// Two writers and a reader of 130 rows, which are all there or all missing.
#[tokio::test(flavor = "multi_thread")]
async fn large_batches_are_seen_whole() {
    let backend = Arc::new(open(&fresh()).await.unwrap());
    let keys = Arc::new(keys(130));
    let write = async |from: u32| {
        for round in 0..6 {
            let mut batch = puts(&keys, &format!("{}", from + round));
            if round % 2 == 1 {
                batch = Batch::new();
                for key in keys.iter() {
                    batch.delete(key.clone(), Expect::Any);
                }
            }
            while let Err(error) = backend.apply(batch.clone()).await {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            }
        }
    };
    let read = async {
        let mut seen = 0;
        for _ in 0..25 {
            match backend.get_many(&keys).await {
                Ok(found) => {
                    seen += 1;
                    let value = |at: usize| found[at].as_ref().map(|found| found.value.clone());
                    let same = (0..keys.len()).all(|at| value(at) == value(0));
                    assert!(same, "{found:?}");
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
            }
        }
        seen
    };
    let (_, _, seen) = join3(write(0), write(1000), read).await;
    assert!(seen > 0, "no reader ever saw a moment");
}

/// Small writes and large batches of the same rows, each adding one to a counter.
#[tokio::test(flavor = "multi_thread")]
async fn no_update_is_lost_between_small_writes_and_large_batches() {
    let backend = Arc::new(open(&fresh()).await.unwrap());
    let counter = key("row/00050");
    backend.put(&counter, bytes("0"), Expect::Any).await.unwrap();
    let add = async |large: bool| {
        let mut done = 0;
        while done < 6 {
            let found = match backend.get_all(&counter).await {
                Ok(found) => found.unwrap(),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                    continue;
                }
            };
            let next: u32 = std::str::from_utf8(&found.value).unwrap().parse().unwrap();
            let (next, expect) = (bytes(&(next + 1).to_string()), Expect::Revision(found.revision));
            let written = if large {
                let mut batch = Batch::new();
                for key in keys(120) {
                    match key == counter {
                        true => batch.put(key, next.clone(), expect.clone()),
                        false => batch.put(key, bytes("x"), Expect::Any),
                    };
                }
                backend.apply(batch).await
            } else {
                backend.put(&counter, next, expect).await
            };
            match written {
                Ok(_) => done += 1,
                Err(error) => assert!(
                    matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unavailable),
                    "{error:?}"
                ),
            }
        }
    };
    join3(add(true), add(true), join(add(false), add(false))).await;
    let found = backend.get_all(&counter).await.unwrap().unwrap();
    assert_eq!(found.value, "24");
}

const DEAD: [u8; 16] = [7; 16];

/// What a program left that ended in the middle of a batch: a row it wants to replace, one it wants
/// to make, one it wants to remove, and one it wanted to stay.
async fn dead_batch(outcome: Option<u64>) -> (Config, DynamoDb) {
    let config = Config { lock_wait: Duration::from_millis(200), ..fresh() };
    let backend = open(&config).await.unwrap();
    if let Some(outcome) = outcome {
        put_raw(&config, "m", &[b"t", &DEAD[..]].concat(), &[("s", number(outcome))]).await;
    }
    let old = [("r", binary([1; 16])), ("n", number(3)), ("v", binary(*b"old"))];
    let new = [("t", binary(DEAD)), ("tn", number(5)), ("tv", binary(*b"wants"))];
    let gone = [("t", binary(DEAD)), ("td", AttributeValue::Bool(true))];
    put_raw(&config, "0", b"replaced", &[&old[..], &new[..]].concat()).await;
    put_raw(&config, "0", b"made", &new).await;
    put_raw(&config, "0", b"removed", &[&old[..], &gone[..]].concat()).await;
    put_raw(&config, "0", b"kept", &[&old[..], &new[..1]].concat()).await;
    put_raw(&config, "0", b"kept-missing", &new[..1]).await;
    (config, backend)
}

async fn values(backend: &DynamoDb) -> Vec<(String, String)> {
    let rows = backend.list_all("", true).await.unwrap();
    let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
    let many = backend.get_many(&keys).await.unwrap();
    let mut values = Vec::new();
    for (row, of_many) in rows.into_iter().zip(many) {
        let object = row.object.unwrap();
        assert_eq!(backend.get_all(&row.key).await.unwrap().as_ref(), Some(&object));
        assert_eq!(of_many.as_ref(), Some(&object));
        let value = String::from_utf8(object.value.to_vec()).unwrap();
        values.push((row.key.as_str().to_owned(), value));
    }
    values
}

fn shown(values: &[(&str, &str)]) -> Vec<(String, String)> {
    values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_batch_that_happened_is_seen_though_its_program_has_ended() {
    let (config, backend) = dead_batch(Some(1)).await;
    assert_eq!(
        values(&backend).await,
        shown(&[("kept", "old"), ("made", "wants"), ("replaced", "wants")])
    );
    // A write goes on from there, and clears the mark.
    let dead = holdall_core::Revision::text(&"07".repeat(16));
    backend.put(&key("made"), bytes("more"), Expect::Revision(dead.clone())).await.unwrap();
    let mut batch = Batch::new();
    batch.put(key("replaced"), bytes("more"), Expect::Revision(dead));
    batch.check(key("removed"), Expect::Absent).check(key("kept-missing"), Expect::Absent);
    backend.apply(batch).await.unwrap();
    assert_eq!(
        values(&backend).await,
        shown(&[("kept", "old"), ("made", "more"), ("replaced", "more")])
    );
    assert!(get_raw(&config, "0", b"removed").await.is_none());
    assert!(get_raw(&config, "0", b"kept-missing").await.is_none());
}

#[tokio::test]
async fn a_batch_that_did_not_happen_is_not_seen_and_gives_way() {
    for outcome in [Some(0), Some(2), None] {
        let (config, backend) = dead_batch(outcome).await;
        let before = shown(&[("kept", "old"), ("removed", "old"), ("replaced", "old")]);
        assert_eq!(values(&backend).await, before, "{outcome:?}");
        backend.put(&key("made"), bytes("mine"), Expect::Absent).await.unwrap();
        let mut batch = Batch::new();
        batch.delete(key("replaced"), Expect::Any).put(key("kept"), bytes("mine"), Expect::Any);
        batch.check(key("kept-missing"), Expect::Absent);
        backend.apply(batch).await.unwrap();
        let after = shown(&[("kept", "mine"), ("made", "mine"), ("removed", "old")]);
        assert_eq!(values(&backend).await, after, "{outcome:?}");
        // The one whose outcome was open can no longer happen.
        if outcome == Some(0) {
            let record = get_raw(&config, "m", &[b"t", &DEAD[..]].concat()).await.unwrap();
            assert_eq!(record["s"], number(2));
        }
    }
}

#[tokio::test]
async fn a_large_batch_gets_past_one_whose_program_has_ended() {
    let (_, backend) = dead_batch(Some(0)).await;
    let mut batch = puts(&keys(120), "x");
    batch.put(key("replaced"), bytes("mine"), Expect::Any).delete(key("removed"), Expect::Any);
    backend.apply(batch).await.unwrap();
    let found = backend.get_all(&key("replaced")).await.unwrap().unwrap();
    assert_eq!(found.value, "mine");
    assert_eq!(backend.get_all(&key("removed")).await.unwrap(), None);
}

#[tokio::test]
async fn limits_are_refused_before_anything_is_sent() {
    let backend = open(&fresh()).await.unwrap();
    let error = backend.apply(puts(&keys(10_001), "x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    let nowhere = open(&at(1)).await.unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::Unavailable, "{nowhere:?}");
}
