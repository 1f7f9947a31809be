//! Tables, locations, large values and reads of many rows, on a real server.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use futures::future::{join, join_all};
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, ErrorKind, Expect, List, Location,
};
use holdall_dynamodb::{Billing, Config, Credentials};
use support::{bytes, client, fresh, fresh_table, key, left, open, pattern};

const INLINE: usize = 192 << 10;
const PART: usize = 384 << 10;

#[tokio::test]
async fn a_table_is_made_once_however_many_open_it() {
    let config = fresh_table();
    let absent = Config { create_table: false, ..config.clone() };
    let error = open(&absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.message().contains("create_table"), "{error}");
    for opened in join_all((0..8).map(|_| open(&config))).await {
        opened.unwrap();
    }
    let notes = open(&absent).await.unwrap().health().await.unwrap().notes;
    assert!(notes.iter().any(|note| note == "paid on demand"), "{notes:?}");
}

#[tokio::test]
async fn a_table_is_paid_for_as_asked() {
    let billing = Billing::Provisioned { read_units: 7, write_units: 9 };
    let backend = open(&Config { billing, ..fresh_table() }).await.unwrap();
    let notes = backend.health().await.unwrap().notes;
    let paid = "paid for 7 read and 9 write units a second";
    assert!(notes.iter().any(|note| note == paid), "{notes:?}");
}

#[tokio::test]
async fn a_table_for_something_else_is_refused() {
    let config = fresh_table();
    let attribute = AttributeDefinition::builder().attribute_name("p");
    let attribute = attribute.attribute_type(ScalarAttributeType::N).build().unwrap();
    let schema = KeySchemaElement::builder().attribute_name("p").key_type(KeyType::Hash);
    let create = client(&config).create_table().table_name(&config.table);
    let create = create.attribute_definitions(attribute).key_schema(schema.build().unwrap());
    create.billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
    let error = open(&config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.message().contains("another table"), "{error}");
}

#[tokio::test]
async fn a_table_that_goes_ends_the_handle() {
    let config = fresh_table();
    let backend = open(&config).await.unwrap();
    client(&config).delete_table().table_name(&config.table).send().await.unwrap();
    for error in [
        backend.put(&key("a"), bytes("1"), Expect::Any).await.unwrap_err(),
        backend.get_all(&key("a")).await.unwrap_err(),
        backend.health().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    }
    let again = open(&config).await.unwrap();
    again.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap();
}

#[tokio::test]
async fn the_spread_of_a_location_stays() {
    let config = fresh();
    open(&Config { spread: 3, ..config.clone() }).await.unwrap();
    let error = open(&config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.message().contains("spread=3"), "{error}");
    open(&Config { spread: 3, ..config }).await.unwrap();
}

#[tokio::test]
async fn prefixes_do_not_meet() {
    let config = fresh();
    let below = Config { prefix: format!("{}/below", config.prefix), ..config.clone() };
    let like = Config { prefix: format!("{}#0", config.prefix), ..config.clone() };
    for one in [&config, &below, &like] {
        let backend = open(one).await.unwrap();
        backend.put(&key("a"), bytes(&one.prefix), Expect::Absent).await.unwrap();
        assert_eq!(backend.list_all("", false).await.unwrap().len(), 1);
    }
    let text = config.location().expose();
    let same = Config::from_location(&Location::parse(&text).unwrap()).unwrap();
    let found = open(&same).await.unwrap().get_all(&key("a")).await.unwrap().unwrap();
    assert_eq!(found.value, config.prefix.as_bytes());
}

#[tokio::test]
async fn a_wrong_place_or_key_is_told_apart_and_nothing_secret_is_shown() {
    let credentials = Credentials::Keys {
        access_key_id: "not-a-key".to_owned(),
        secret_access_key: "hunter2".to_owned(),
        session_token: Some("hunter3".to_owned()),
    };
    let place = |url: &str| Config { endpoint: Some(url.to_owned()), ..fresh() };
    for (config, kind, advice) in [
        (Config { credentials, ..fresh() }, ErrorKind::Denied, "mend them"),
        (place("http://127.0.0.1:1"), ErrorKind::Unavailable, "cannot be reached"),
        (place("http://no.such.host.invalid"), ErrorKind::Unavailable, "cannot be reached"),
        (Config { spread: 65, ..fresh() }, ErrorKind::Invalid, "from 1 to 64"),
        (Config { prefix: "x".repeat(600), ..fresh() }, ErrorKind::Invalid, "512 bytes"),
    ] {
        let error = open(&config).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.message().contains(advice), "{error:?}");
        for secret in ["hunter", "not-a-key"] {
            assert!(!format!("{error} {error:?} {config:?}").contains(secret), "{error:?}");
        }
    }
    let backend = open(&fresh()).await.unwrap();
    assert!(!format!("{backend:?}").contains("hunter"), "{backend:?}");
}

#[tokio::test]
async fn large_values_come_back_whole_and_in_part() {
    let config = fresh();
    let backend = open(&config).await.unwrap();
    for size in [INLINE - 1, INLINE, INLINE + 1, PART, PART + 1, 3 * PART, 1_500_000] {
        let (key, value) = (key(format!("{size}")), pattern(size, 1));
        let revision = backend.put(&key, value.clone(), Expect::Absent).await.unwrap();
        let found = backend.get_all(&key).await.unwrap().unwrap();
        assert_eq!((found.size, &found.revision), (size as u64, &revision));
        assert!(found.value == value, "{size}");
        for (start, end) in [(0, 0), (0, 1), (PART - 1, PART + 1), (PART, PART + 9), (size, size)] {
            let (start, end) = (start.min(size), end.min(size));
            let range = ByteRange::new(start as u64, end as u64);
            let part = backend.get(&key, range).await.unwrap().unwrap();
            assert_eq!((part.size, &part.revision), (size as u64, &revision));
            assert!(part.value == value[start..end], "{size} {start} {end}");
        }
    }
    let rows = backend.list_all("", true).await.unwrap();
    assert_eq!(rows.len(), 7);
    for row in &rows {
        let size = row.key.as_str().parse().unwrap();
        assert!(row.object.as_ref().unwrap().value == pattern(size, 1), "{size}");
    }
    let keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
    let many = backend.get_many(&keys).await.unwrap();
    for (row, object) in rows.iter().zip(many) {
        assert_eq!(row.object, object);
    }
}

#[tokio::test]
async fn the_largest_value_is_taken() {
    let backend = open(&fresh()).await.unwrap();
    let value = pattern(16 << 20, 3);
    backend.put(&key("a"), value.clone(), Expect::Any).await.unwrap();
    assert!(backend.get_all(&key("a")).await.unwrap().unwrap().value == value);
    let over = Bytes::from(vec![0; (16 << 20) + 1]);
    let error = backend.put(&key("a"), over, Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
}

#[tokio::test]
async fn parts_go_with_their_value() {
    let config = fresh_table();
    let backend = open(&config).await.unwrap();
    let large = || pattern(2 * PART, 5);
    let a = key("a");
    let first = backend.put(&a, large(), Expect::Any).await.unwrap();
    assert_eq!(left(&config).await.0, 2);
    let second = backend.put(&a, large(), Expect::Revision(first.clone())).await.unwrap();
    assert_eq!(left(&config).await.0, 2, "the old parts are gone");
    let error = backend.put(&a, large(), Expect::Revision(first)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert_eq!(left(&config).await.0, 2, "what was refused left nothing");
    backend.put(&a, bytes("small"), Expect::Revision(second)).await.unwrap();
    assert_eq!(left(&config).await.0, 0);
    for expect in [Expect::Any, Expect::Any] {
        backend.put(&a, large(), expect).await.unwrap();
    }
    backend.delete(&a, Expect::Any).await.unwrap();
    assert_eq!(left(&config).await.0, 0);
    // In a batch of the store, and in one that marks carry.
    for count in [3, 150] {
        for value in [large(), large(), bytes("small")] {
            let mut batch = Batch::new();
            batch.put(a.clone(), value, Expect::Any);
            for other in 1..count {
                batch.put(key(format!("{other}")), bytes("x"), Expect::Any);
            }
            backend.apply(batch).await.unwrap();
        }
        assert_eq!(left(&config).await, (0, 0), "{count}");
        let mut batch = Batch::new();
        batch.put(key("b"), large(), Expect::Any).check(a.clone(), Expect::Absent);
        for other in 2..count {
            batch.delete(key(format!("{other}")), Expect::Any);
        }
        let error = backend.apply(batch).await.unwrap_err();
        assert_eq!(error.key(), Some(&a), "{error:?}");
        assert_eq!(left(&config).await, (0, 0), "{count}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_a_value_that_is_replaced_sees_one_of_both() {
    let backend = Arc::new(open(&fresh()).await.unwrap());
    let a = key("a");
    backend.put(&a, pattern(PART + 7, 0), Expect::Any).await.unwrap();
    let write = async {
        for seed in 1..12 {
            backend.put(&a, pattern(PART + 7, seed), Expect::Any).await.unwrap();
        }
    };
    let read = async {
        for _ in 0..20 {
            let found = backend.get_all(&a).await.unwrap().unwrap();
            let seed = found.value[0];
            assert!(found.value == pattern(PART + 7, seed), "{seed}");
        }
    };
    join(write, read).await;
}

#[tokio::test]
async fn pages_are_bounded_and_ordered_over_partitions() {
    for spread in [1, 5] {
        let backend = open(&Config { spread, ..fresh() }).await.unwrap();
        let names: Vec<String> = (0..60).map(|at| format!("{at:03}")).collect();
        for name in &names {
            backend.put(&key(name), pattern(150 << 10, 1), Expect::Any).await.unwrap();
        }
        let page = backend.list(&List::prefix("").with_values()).await.unwrap();
        assert!(page.more && page.rows.len() < 60, "{} rows", page.rows.len());
        let all = backend.list_all("", true).await.unwrap();
        let listed: Vec<&str> = all.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(listed, names);
        let mut list = List::prefix("0").limit(7);
        let mut listed = Vec::new();
        loop {
            let page = backend.list(&list).await.unwrap();
            let last = page.rows.last().unwrap().key.clone();
            listed.extend(page.rows.into_iter().map(|row| row.key.as_str().to_owned()));
            if !page.more {
                break;
            }
            list = list.after(last.as_str());
        }
        assert_eq!(listed, names, "spread {spread}");
    }
}

/// Rows of more bytes than one transaction answers with.
#[tokio::test]
async fn many_large_rows_are_read_at_one_moment_too() {
    let backend = open(&fresh()).await.unwrap();
    let keys: Vec<_> = (0..40).map(|at| key(format!("{at}"))).collect();
    for key in &keys[1..] {
        backend.put(key, pattern(INLINE, 9), Expect::Any).await.unwrap();
    }
    let found = backend.get_many(&keys).await.unwrap();
    assert!(found[0].is_none());
    assert!(found[1..].iter().all(|one| one.as_ref().unwrap().value == pattern(INLINE, 9)));
}
