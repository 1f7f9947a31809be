//! Connections that are cut, and writes that are given up.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{files, key, open, prefix, s3, trusted};
use futures::future::{Either, select};
use holdall_core::{Backend, BackendExt, ByteRange, Bytes, Conditions, ErrorKind, Expect, List};
use holdall_services::{MOTO, Proxy, Trouble, shared};
use opendal::layers::RetryLayer;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_unknown_and_the_write_is_there() {
    let port = shared(&MOTO).unwrap().port;
    let (proxy, prefix) = (Proxy::new(port).unwrap(), prefix());
    let direct = open(&s3(port, "holdall", &prefix), trusted(Conditions::Revision)).await.unwrap();
    let through = s3(proxy.port, "holdall", &prefix);
    let store = open(&through, trusted(Conditions::Revision)).await.unwrap();
    direct.put(&key("there"), Bytes::from("old"), Expect::Any).await.unwrap();
    proxy.set(Trouble::CutAnswers);
    for (name, expect) in [("any", Expect::Any), ("absent", Expect::Absent)] {
        let put = store.put(&key(name), Bytes::from("new"), expect).await.unwrap_err();
        assert_eq!(put.kind(), ErrorKind::Unknown, "{name}: {put:?}");
        let found = direct.get_all(&key(name)).await.unwrap().unwrap();
        assert_eq!(found.value, "new", "{name}");
    }
    let delete = store.delete(&key("any"), Expect::Any).await.unwrap_err();
    assert_eq!(delete.kind(), ErrorKind::Unknown, "{delete:?}");
    let reads = [
        store.get_all(&key("there")).await.unwrap_err(),
        store.get(&key("there"), ByteRange::new(1, 2)).await.unwrap_err(),
        store.list(&List::prefix("")).await.unwrap_err(),
        store.health().await.unwrap_err(),
    ];
    for error in reads {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
    proxy.set(Trouble::None);
    assert_eq!(store.get_all(&key("there")).await.unwrap().unwrap().value, "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_its_operator_sent_twice_is_recognised() {
    let env = holdall_runtime::env();
    let port = shared(&MOTO).unwrap().port;
    let (proxy, prefix) = (Proxy::new(port).unwrap(), prefix());
    let direct = open(&s3(port, "holdall", &prefix), trusted(Conditions::Absent)).await.unwrap();
    let patient = RetryLayer::new().with_min_delay(Duration::from_millis(500));
    let through = s3(proxy.port, "holdall", &prefix).layer(patient);
    let store = open(&through, trusted(Conditions::Absent)).await.unwrap();
    proxy.set(Trouble::CutAnswers);
    let name = key("k");
    let put = store.put(&name, Bytes::from("new"), Expect::Absent);
    let arrived = async {
        while direct.get_all(&key("k")).await.unwrap().is_none() {
            env.sleep(Duration::from_millis(5)).await;
        }
        proxy.set(Trouble::None);
    };
    let (put, ()) = futures::join!(put, arrived);
    let found = direct.get_all(&name).await.unwrap().unwrap();
    assert_eq!(put.unwrap(), found.revision);
    // Somebody else's is a conflict still.
    let again = store.put(&name, Bytes::from("other"), Expect::Absent).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_given_up_leaves_nothing_aside() {
    let env = holdall_runtime::env();
    let folder = tempfile::tempdir().unwrap();
    let store = open(&files(&folder), trusted(Conditions::None)).await.unwrap();
    let name = key("k");
    store.put(&name, Bytes::from("old"), Expect::Any).await.unwrap();
    let large = Bytes::from(vec![7; 64 << 20]);
    let mut given_up = 0;
    for delay in 0..20 {
        let put = store.put(&name, large.clone(), Expect::Any);
        match select(put, env.sleep(Duration::from_millis(delay))).await {
            Either::Left((put, _)) => drop(put.unwrap()),
            Either::Right(_) => given_up += 1,
        }
        let found = store.get_all(&name).await.unwrap().unwrap();
        assert!(found.value == "old" || found.value == large, "{} bytes", found.size);
    }
    assert!(given_up > 0, "no write took as long as its time");
    // What was under way is removed in the background.
    let aside = folder.path().join("aside");
    while std::fs::read_dir(&aside).unwrap().count() > 0 {
        env.sleep(Duration::from_millis(5)).await;
    }
}
