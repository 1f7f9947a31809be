//! Connections that are cut, slow or silent, through a proxy before the real server.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all};
use holdall_core::{Backend, BackendExt, ErrorKind, Expect};
use holdall_redis::{Config, Redis};
use holdall_services::{Own, Proxy, Trouble};
use support::{at, bytes, key, open, own};

async fn behind_a_proxy(timeout: Duration) -> (Own, Proxy, Redis) {
    let server = own();
    let proxy = Proxy::new(server.port).unwrap();
    let config = Config { timeout, wait_timeout: timeout / 2, ..at(proxy.port) };
    let redis = open(&config).await.unwrap();
    (server, proxy, redis)
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_unknown() {
    let (_server, proxy, redis) = behind_a_proxy(LONG).await;
    let revision = redis.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap();
    for (value, expect) in [("2", Expect::Any), ("3", Expect::Absent)] {
        proxy.set(Trouble::CutAnswers);
        let error = redis.put(&key("a"), bytes(value), expect).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}");
        assert!(error.message().contains("look before writing again"), "{error}");
        proxy.set(Trouble::None);
        assert_eq!(redis.get_all(&key("a")).await.unwrap().unwrap().value, "2");
        redis.put(&key("b"), bytes("1"), Expect::Any).await.unwrap();
    }
    assert_ne!(redis.get_all(&key("a")).await.unwrap().unwrap().revision, revision);
    proxy.set(Trouble::CutAnswers);
    let error = redis.get_all(&key("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    proxy.set(Trouble::None);
    proxy.cut();
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_unavailable_and_nothing_is_written() {
    let (_server, proxy, redis) = behind_a_proxy(LONG).await;
    proxy.set(Trouble::Refuse);
    // What is on its way when the connection ends is unknown; what comes later is not sent.
    while redis.get_all(&key("a")).await.is_ok() {}
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let error = redis.put(&key("a"), bytes("1"), Expect::Any).await.unwrap_err();
        kinds.push(error.kind());
    }
    assert_eq!(kinds[1..], [ErrorKind::Unavailable; 2]);
    proxy.set(Trouble::None);
    assert_eq!(redis.get_all(&key("a")).await.unwrap(), None);
    redis.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap();
}

#[tokio::test]
async fn a_silent_server_is_given_up_after_the_timeout() {
    let (_server, proxy, redis) = behind_a_proxy(SHORT).await;
    redis.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap();
    proxy.set(Trouble::Silence);
    let a = key("a");
    let (read, write) = join(redis.get_all(&a), redis.put(&a, bytes("2"), Expect::Any)).await;
    let (read, write) = (read.unwrap_err(), write.unwrap_err());
    assert_eq!(read.kind(), ErrorKind::Unavailable, "{read:?}");
    assert!(read.message().contains("in time"), "{read}");
    assert_eq!(write.kind(), ErrorKind::Unknown, "{write:?}");
    assert!(write.message().contains("in time"), "{write}");
    // A new connection is silent too, and now nothing is sent.
    let error = redis.put(&key("a"), bytes("3"), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    proxy.set(Trouble::None);
    assert_eq!(redis.get_all(&key("a")).await.unwrap().unwrap().value, "2");
}

#[tokio::test]
async fn a_slow_server_is_waited_for() {
    let (_server, proxy, redis) = behind_a_proxy(LONG).await;
    proxy.set(Trouble::Delay(Duration::from_millis(100)));
    redis.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap();
    assert_eq!(redis.get_all(&key("a")).await.unwrap().unwrap().value, "1");
}

#[tokio::test]
async fn an_idle_connection_that_ended_is_made_anew() {
    let (_server, proxy, redis) = behind_a_proxy(LONG).await;
    for round in 0..10 {
        let key = key(&format!("{round}"));
        proxy.cut();
        // The end may not have been noticed yet, but once it was, all goes on.
        while let Err(error) = redis.get_all(&key).await {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        }
        match redis.put(&key, bytes("1"), Expect::Absent).await {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}"),
        }
    }
    redis.put(&key("last"), bytes("1"), Expect::Absent).await.unwrap();
}

/// Many writers while connections are cut again and again: what is said of each is true.
#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_is_what_was_said() {
    let (_server, proxy, redis) = behind_a_proxy(LONG).await;
    let (proxy, redis) = (Arc::new(proxy), Arc::new(redis));
    let writers = (0..16).map(|writer| {
        let (proxy, redis) = (Arc::clone(&proxy), Arc::clone(&redis));
        async move {
            let mut said = Vec::new();
            for round in 0..40 {
                if writer == 0 {
                    proxy.cut();
                }
                let key = key(&format!("{writer:02}/{round:02}"));
                let put = redis.put(&key, bytes("1"), Expect::Absent).await;
                said.push((key, put.map_err(|error| error.kind())));
            }
            said
        }
    });
    let said: Vec<_> = join_all(writers).await.into_iter().flatten().collect();
    proxy.set(Trouble::None);
    while redis.get_all(&key("x")).await.is_err() {}
    let keys: Vec<_> = said.iter().map(|(key, _)| key.clone()).collect();
    let found = redis.get_many(&keys).await.unwrap();
    for ((key, said), found) in said.into_iter().zip(found) {
        let revision = found.map(|found| found.revision);
        match said {
            Ok(said) => assert_eq!(revision, Some(said), "{key} was acknowledged"),
            Err(ErrorKind::Unavailable) => assert_eq!(revision, None, "{key} was not written"),
            Err(kind) => assert_eq!(kind, ErrorKind::Unknown, "{key}"),
        }
    }
}
