//! Connections that are cut, slow or silent, and a store that throttles, forbids and fails.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use futures::future::join;
use holdall_core::{Backend, BackendExt, Batch, ErrorKind, Expect};
use holdall_dynamodb::{Config, DynamoDb};
use holdall_services::{DYNAMODB, DYNAMODB_ON_DISK, Proxy, Trouble, shared, start};
use support::refusals::{Refusals, Verdict};
use support::{at, bytes, fresh, key, open, pause};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(700);

fn two(value: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(key("a"), bytes(value), Expect::Any).put(key("b"), bytes(value), Expect::Any);
    batch
}

fn through(port: u16, timeout: Duration) -> Config {
    Config { endpoint: Some(format!("http://127.0.0.1:{port}")), timeout, ..fresh() }
}

async fn behind_a_proxy(timeout: Duration) -> (Proxy, DynamoDb) {
    let proxy = Proxy::new(shared(&DYNAMODB).unwrap().port).unwrap();
    // What is not made in time is made with time.
    open(&at(shared(&DYNAMODB).unwrap().port)).await.unwrap();
    let backend = open(&through(proxy.port, timeout)).await.unwrap();
    (proxy, backend)
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_is_unknown() {
    let (proxy, backend) = behind_a_proxy(LONG).await;
    let first = backend.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap();
    for (value, expect) in [("2", Expect::Any), ("3", Expect::Absent)] {
        proxy.set(Trouble::CutAnswers);
        let error = backend.put(&key("a"), bytes(value), expect).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}");
        assert!(error.message().contains("look before writing again"), "{error}");
        proxy.set(Trouble::None);
        let found = backend.get_all(&key("a")).await.unwrap().unwrap();
        assert_eq!(found.value, "2");
        assert_ne!(found.revision, first);
    }
    proxy.set(Trouble::CutAnswers);
    let error = backend.get_all(&key("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_answer_was_lost_is_asked_for_again_and_happens_once() {
    let (proxy, backend) = behind_a_proxy(LONG).await;
    let before = backend.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap();
    proxy.set(Trouble::CutAnswers);
    let mut batch = Batch::new();
    batch.put(key("a"), bytes("2"), Expect::Revision(before));
    batch.put(key("b"), bytes("2"), Expect::Absent);
    // A batch that happened twice would conflict with itself.
    let (written, ()) = join(backend.apply(batch), async {
        pause(300).await;
        proxy.set(Trouble::None);
    })
    .await;
    let revision = written.unwrap();
    for name in ["a", "b"] {
        assert_eq!(backend.get_all(&key(name)).await.unwrap().unwrap().revision, revision);
    }
}

#[tokio::test]
async fn a_batch_whose_answers_are_all_lost_is_unknown() {
    let (proxy, backend) = behind_a_proxy(SHORT).await;
    proxy.set(Trouble::CutAnswers);
    let error = backend.apply(two("1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}");
    // The marks of a batch whose outcome was never decided are no open outcome.
    let mut batch = Batch::new();
    for at in 0..150 {
        batch.put(key(format!("{at}")), bytes("1"), Expect::Any);
    }
    let error = backend.apply(batch).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    proxy.set(Trouble::None);
    let names = backend.list_all("", false).await.unwrap();
    let names: Vec<&str> = names.iter().map(|row| row.key.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_unavailable_and_nothing_is_written() {
    let (proxy, backend) = behind_a_proxy(LONG).await;
    proxy.set(Trouble::Refuse);
    while backend.get_all(&key("a")).await.is_ok() {}
    drop(proxy);
    // Connections that are just ending may leave a write open; on a new one nothing is sent.
    while backend.put(&key("a"), bytes("0"), Expect::Any).await.unwrap_err().kind()
        == ErrorKind::Unknown
    {}
    for error in [
        backend.put(&key("a"), bytes("1"), Expect::Any).await.unwrap_err(),
        backend.apply(two("1")).await.unwrap_err(),
        backend.get_all(&key("a")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.message().contains("cannot be reached"), "{error}");
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up_after_the_timeout() {
    let (proxy, backend) = behind_a_proxy(SHORT).await;
    backend.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap();
    proxy.set(Trouble::Silence);
    let a = key("a");
    let (read, write) = join(backend.get_all(&a), backend.put(&a, bytes("2"), Expect::Any)).await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Unavailable);
    let write = write.unwrap_err();
    assert_eq!(write.kind(), ErrorKind::Unknown, "{write:?}");
    proxy.set(Trouble::None);
    assert_eq!(backend.get_all(&a).await.unwrap().unwrap().value, "2");
}

#[tokio::test]
async fn a_slow_server_is_waited_for() {
    let (proxy, backend) = behind_a_proxy(LONG).await;
    proxy.set(Trouble::Delay(Duration::from_millis(100)));
    backend.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap();
    assert_eq!(backend.get_all(&key("a")).await.unwrap().unwrap().value, "1");
}

#[tokio::test]
async fn a_server_that_is_started_again_serves_on() {
    let mut server = start(&DYNAMODB_ON_DISK).unwrap();
    let backend = open(&at(server.port)).await.unwrap();
    let revision = backend.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap();
    server.stop();
    let error = backend.put(&key("a"), bytes("2"), Expect::Any).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown), "{error:?}");
    let error = backend.health().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    server.restart().unwrap();
    let found = backend.get_all(&key("a")).await.unwrap().unwrap();
    assert_eq!((found.value, &found.revision), (bytes("1"), &revision));
    backend.put(&key("a"), bytes("2"), Expect::Revision(revision)).await.unwrap();
    assert!(backend.health().await.is_ok());
}

async fn behind_refusals(timeout: Duration) -> (Refusals, DynamoDb) {
    let refusals = Refusals::new(shared(&DYNAMODB).unwrap().port);
    let backend = open(&through(refusals.port, timeout)).await.unwrap();
    (refusals, backend)
}

#[tokio::test]
async fn what_is_throttled_is_tried_again() {
    let (refusals, backend) = behind_refusals(LONG).await;
    refusals.judge(|_, before| match before {
        0 => Verdict::Refuse(400, "ProvisionedThroughputExceededException"),
        1 => Verdict::Refuse(400, "ThrottlingException"),
        _ => Verdict::Pass,
    });
    backend.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap();
    backend.apply(two("2")).await.unwrap();
    assert_eq!(backend.get_all(&key("a")).await.unwrap().unwrap().value, "2");
    assert_eq!(backend.get_many(&[key("a"), key("b")]).await.unwrap().len(), 2);
    assert_eq!(backend.list_all("", false).await.unwrap().len(), 2);
    for operation in ["putitem", "transactwriteitems", "getitem", "transactgetitems", "query"] {
        assert_eq!(refusals.count(operation), 3, "{operation}");
    }
}

#[tokio::test]
async fn what_is_throttled_for_too_long_is_unavailable() {
    let (refusals, backend) = behind_refusals(SHORT).await;
    refusals.judge(|_, _| Verdict::Refuse(400, "ProvisionedThroughputExceededException"));
    let put = backend.put(&key("a"), bytes("1"), Expect::Any).await.unwrap_err();
    let apply = backend.apply(two("1")).await.unwrap_err();
    let get = backend.get_all(&key("a")).await.unwrap_err();
    for error in [put, apply, get] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.message().contains("units"), "{error}");
    }
    refusals.judge(|_, _| Verdict::Pass);
    assert_eq!(backend.list_all("", false).await.unwrap(), []);
}

#[tokio::test]
async fn what_meets_others_is_tried_again_and_no_conflict() {
    let (refusals, backend) = behind_refusals(LONG).await;
    backend.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap();
    refusals.judge(|operation, before| match (operation, before) {
        ("transactwriteitems" | "transactgetitems", 0..3) => {
            Verdict::Refuse(400, "[None, TransactionConflict]")
        }
        ("transactwriteitems", 3) => {
            Verdict::Refuse(400, "[ConditionalCheckFailed, ThrottlingError]")
        }
        ("putitem", 0) => Verdict::Refuse(400, "TransactionConflictException"),
        _ => Verdict::Pass,
    });
    backend.apply(two("2")).await.unwrap();
    backend.put(&key("a"), bytes("3"), Expect::Any).await.unwrap();
    let found = backend.get_many(&[key("a"), key("b")]).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|found| found.unwrap().value).collect();
    assert_eq!(found, ["3", "2"]);
    let counts = ["transactwriteitems", "transactgetitems", "putitem"];
    assert_eq!(counts.map(|operation| refusals.count(operation)), [5, 4, 2]);
}

#[tokio::test]
async fn who_may_only_read_is_told_so_and_writes_nothing() {
    let config = fresh();
    open(&config).await.unwrap().put(&key("a"), bytes("1"), Expect::Any).await.unwrap();
    let refusals = Refusals::new(shared(&DYNAMODB).unwrap().port);
    refusals.judge(|operation, _| match operation {
        "putitem" | "transactwriteitems" | "createtable" => {
            Verdict::Refuse(400, "AccessDeniedException")
        }
        _ => Verdict::Pass,
    });
    let endpoint = Some(format!("http://127.0.0.1:{}", refusals.port));
    let backend = open(&Config { endpoint: endpoint.clone(), ..config.clone() }).await.unwrap();
    assert_eq!(backend.get_all(&key("a")).await.unwrap().unwrap().value, "1");
    for error in [
        backend.put(&key("a"), bytes("2"), Expect::Any).await.unwrap_err(),
        backend.apply(two("2")).await.unwrap_err(),
        backend.delete(&key("a"), Expect::Any).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
        assert!(error.message().contains("PutItem"), "{error}");
    }
    let rows = backend.list_all("", true).await.unwrap();
    assert_eq!(rows.len(), 1);
    // A location that is not there yet cannot be made.
    let error = open(&Config { endpoint, ..fresh() }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
}

#[tokio::test]
async fn a_store_that_fails_leaves_open_what_it_leaves_open() {
    let (refusals, backend) = behind_refusals(LONG).await;
    refusals.judge(|operation, _| match operation {
        "putitem" => Verdict::DoAndFail(500, "InternalServerError"),
        _ => Verdict::Pass,
    });
    let error = backend.put(&key("a"), bytes("1"), Expect::Absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unknown, "{error:?}");
    assert_eq!(refusals.count("putitem"), 1, "an open outcome is not tried again");
    assert_eq!(backend.get_all(&key("a")).await.unwrap().unwrap().value, "1");
    // What it did is known by its token.
    refusals.judge(|operation, before| match (operation, before) {
        ("transactwriteitems", 0) => Verdict::DoAndFail(500, "InternalServerError"),
        ("transactwriteitems", 1) => Verdict::Refuse(400, "TransactionInProgressException"),
        _ => Verdict::Pass,
    });
    let mut batch = Batch::new();
    batch.put(key("b"), bytes("1"), Expect::Absent).delete(key("a"), Expect::Any);
    backend.apply(batch).await.unwrap();
    assert_eq!(refusals.count("transactwriteitems"), 3);
    refusals.judge(|_, _| Verdict::Refuse(503, "ServiceUnavailable"));
    let error = backend.get_all(&key("b")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test]
async fn a_decision_whose_answer_was_lost_is_found_out() {
    let (refusals, backend) = behind_refusals(SHORT).await;
    // Two portions of marks, then the decision: it is made, and whoever asks hears nothing of it.
    refusals.judge(|operation, before| match (operation, before) {
        ("transactwriteitems", 2..5) => Verdict::DoAndFail(500, "InternalServerError"),
        _ => Verdict::Pass,
    });
    let mut batch = Batch::new();
    for at in 0..150 {
        batch.put(key(format!("{at}")), bytes("1"), Expect::Absent);
    }
    backend.apply(batch).await.unwrap();
    assert_eq!(backend.list_all("", false).await.unwrap().len(), 150);
}
