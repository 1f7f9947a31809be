//! Services that do what those at hand do not, or only now and then.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::wrong::Wrong;
use common::{files, key, memory, open, prefix, s3, trusted};
use holdall_core::{Backend, Bytes, Conditions, ErrorKind, Expect, List};
use holdall_opendal::{OpenDal, Options};
use holdall_services::{MOTO, shared};

async fn fill(store: &OpenDal, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|at| format!("{at:03}")).collect();
    for name in &names {
        store.put(&key(name), Bytes::from("value"), Expect::Any).await.unwrap();
    }
    names
}

/// The keys of all pages of one row each.
async fn one_by_one(store: &OpenDal) -> Vec<String> {
    let (mut list, mut listed) = (List::prefix("").limit(1), Vec::new());
    loop {
        let page = store.list(&list).await.unwrap();
        listed.extend(page.rows.iter().map(|row| row.key.as_str().to_owned()));
        if !page.more {
            return listed;
        }
        list = list.after(listed.last().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_come_in_any_order_are_all_listed() {
    let folder = tempfile::tempdir().unwrap();
    let mixed = memory().layer(Wrong::ListsMixed);
    // The first few are in order, so that the probe finds nothing.
    for (operator, options) in [
        (mixed.clone(), Options::default()),
        (mixed, trusted(Conditions::None)),
        (files(&folder), trusted(Conditions::None)),
    ] {
        let store = open(&operator, options).await.unwrap();
        let names = fill(&store, 64).await;
        assert_eq!(one_by_one(&store).await, names);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_that_are_not_listed_are_looked_up() {
    let store = open(&memory().layer(Wrong::ListsNoSizes), Options::default()).await.unwrap();
    store.put(&key("empty"), Bytes::new(), Expect::Any).await.unwrap();
    store.put(&key("small"), Bytes::from("value"), Expect::Any).await.unwrap();
    let large = Bytes::from(vec![7; 20 << 20]);
    for name in ["x", "y", "z"] {
        store.put(&key(name), large.clone(), Expect::Any).await.unwrap();
    }
    let page = store.list(&List::prefix("")).await.unwrap();
    let sizes: Vec<u64> = page.rows.iter().map(|row| row.size).collect();
    assert_eq!(sizes, [0, 5, 20 << 20, 20 << 20, 20 << 20]);
    // A page with values ends by their sizes.
    let page = store.list(&List::prefix("").with_values()).await.unwrap();
    assert_eq!((page.rows.len(), page.more), (3, true));
    let page = store.list(&List::prefix("").with_values().after("x")).await.unwrap();
    assert_eq!((page.rows.len(), page.more), (1, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_expects_what_somebody_else_removed_meets_a_conflict() {
    let operator = s3(shared(&MOTO).unwrap().port, "holdall", &prefix());
    let late = operator.layer(Wrong::MissesWhatItRemoves);
    let store = open(&late, trusted(Conditions::Revision)).await.unwrap();
    let revision = store.put(&key("k"), Bytes::from("v"), Expect::Any).await.unwrap();
    let expect = Expect::Revision(revision);
    let error = store.delete(&key("k"), expect).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    store.delete(&key("k"), Expect::Any).await.unwrap();
}
