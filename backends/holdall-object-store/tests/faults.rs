//! Connections that are cut, refused and silent, and stores that say no.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Told, azure, key, open, prefix, s3};
use holdall_core::{Backend, BackendExt, ByteRange, Bytes, ErrorKind, Expect, List, Revision};
use holdall_services::{AZURITE, MOTO, Proxy, RCLONE, Trouble, shared, start};

const UNPROBED: &str = "&probe=off&conditional=revision&retries=0";

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_unknown_and_the_write_is_there() {
    for (service, location) in [(&MOTO, s3 as fn(u16, &str, &str) -> String), (&AZURITE, azure)] {
        let port = shared(service).unwrap().port;
        let (proxy, prefix) = (Proxy::new(port).unwrap(), prefix());
        let direct = open(&location(port, &prefix, UNPROBED)).await.unwrap();
        let store = open(&location(proxy.port, &prefix, UNPROBED)).await.unwrap();
        let there = direct.put(&key("there"), Bytes::from("old"), Expect::Any).await.unwrap();
        proxy.set(Trouble::CutAnswers);
        for (name, expect) in [
            ("any", Expect::Any),
            ("absent", Expect::Absent),
            ("there", Expect::Revision(there.clone())),
        ] {
            let put = store.put(&key(name), Bytes::from("new"), expect).await.unwrap_err();
            assert_eq!(put.kind(), ErrorKind::Unknown, "{name}: {put:?}");
            let found = direct.get_all(&key(name)).await.unwrap().unwrap();
            assert_eq!(found.value, "new", "{name}");
        }
        let delete = store.delete(&key("any"), Expect::Any).await.unwrap_err();
        assert_eq!(delete.kind(), ErrorKind::Unknown, "{delete:?}");
        assert_eq!(direct.get_all(&key("any")).await.unwrap(), None);
        let get = store.get_all(&key("there")).await.unwrap_err();
        assert_eq!(get.kind(), ErrorKind::Unavailable);
        proxy.set(Trouble::None);
        assert_eq!(store.get_all(&key("there")).await.unwrap().unwrap().value, "new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_upload_in_parts_leaves_the_old_value() {
    let port = shared(&MOTO).unwrap().port;
    let (proxy, prefix) = (Proxy::new(port).unwrap(), prefix());
    let store = open(&s3(proxy.port, &prefix, UNPROBED)).await.unwrap();
    store.put(&key("k"), Bytes::from("old"), Expect::Any).await.unwrap();
    proxy.set(Trouble::CutAnswers);
    let put = store.put(&key("k"), Bytes::from(vec![7; 9 << 20]), Expect::Any).await.unwrap_err();
    assert_eq!(put.kind(), ErrorKind::Unavailable, "nothing is written before the parts join");
    proxy.set(Trouble::None);
    assert_eq!(store.get_all(&key("k")).await.unwrap().unwrap().value, "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_store_is_not_waited_for() {
    let port = shared(&MOTO).unwrap().port;
    let proxy = Proxy::new(port).unwrap();
    let more = format!("{UNPROBED}&timeout=300ms");
    let store = open(&s3(proxy.port, &prefix(), &more)).await.unwrap();
    proxy.set(Trouble::Silence);
    let put = store.put(&key("k"), Bytes::from("v"), Expect::Absent).await.unwrap_err();
    assert_eq!(put.kind(), ErrorKind::Unknown);
    assert!(put.message().contains("in time"), "{put}");
    let delete = store.delete(&key("k"), Expect::Any).await.unwrap_err();
    assert_eq!(delete.kind(), ErrorKind::Unknown);
    let get = store.get_all(&key("k")).await.unwrap_err();
    assert_eq!(get.kind(), ErrorKind::Unavailable);
    let list = store.list(&List::prefix("")).await.unwrap_err();
    assert_eq!(list.kind(), ErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_is_waited_for() {
    let port = shared(&MOTO).unwrap().port;
    let proxy = Proxy::new(port).unwrap();
    let store = open(&s3(proxy.port, &prefix(), UNPROBED)).await.unwrap();
    proxy.set(Trouble::Delay(Duration::from_millis(200)));
    store.put(&key("k"), Bytes::from("v"), Expect::Absent).await.unwrap();
    assert_eq!(store.get_all(&key("k")).await.unwrap().unwrap().value, "v");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_asked_again_and_a_restarted_server_is_found_again() {
    let mut server = start(&RCLONE).unwrap();
    let more = "&names=flat&probe=off&conditional=none&retries=1&connect_timeout=500ms";
    let store = open(&s3(server.port, "p", more)).await.unwrap();
    store.put(&key("k"), Bytes::from("v"), Expect::Any).await.unwrap();
    server.kill().unwrap();
    let put = store.put(&key("k"), Bytes::from("w"), Expect::Any).await.unwrap_err();
    assert!([ErrorKind::Unavailable, ErrorKind::Unknown].contains(&put.kind()), "{put:?}");
    // Now that no connection is left, it is certain that nothing was sent.
    let put = store.put(&key("k"), Bytes::from("w"), Expect::Any).await.unwrap_err();
    assert_eq!(put.kind(), ErrorKind::Unavailable, "{put:?}");
    assert!(put.message().contains("endpoint"), "{put}");
    assert_eq!(store.health().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let gone = open(&s3(server.port, "p", more)).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Unavailable);
    server.restart().unwrap();
    assert_eq!(store.get_all(&key("k")).await.unwrap().unwrap().value, "v");
}

/// An empty listing, so that opening succeeds.
const EMPTY: &str = "<ListBucketResult><Name>holdall</Name><IsTruncated>false</IsTruncated>\
                     </ListBucketResult>";

fn body(code: &str) -> String {
    format!(
        "<Error><Code>{code}</Code><Message>because</Message><CanonicalRequest>\n\
         x-amz-security-token:asessiontoken</CanonicalRequest></Error>"
    )
}

/// Answers listings, and everything else with this.
fn telling(status: u16, code: &'static str) -> Told {
    Told::new(move |line| {
        if line.contains("list-type=2") { (200, EMPTY.to_owned()) } else { (status, body(code)) }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_says_is_told_with_advice_and_without_secrets() {
    use ErrorKind::{Denied, Full, Invalid, Unavailable, Unknown};
    for (status, code, put, get, advice) in [
        (503, "SlowDown", Unavailable, Unavailable, "slow down"),
        (429, "TooManyRequests", Unavailable, Unavailable, "slow down"),
        (403, "AccessDenied", Denied, Denied, "read, write, delete and list"),
        (403, "SignatureDoesNotMatch", Denied, Denied, "mend the key"),
        (400, "ExpiredToken", Denied, Denied, "expired"),
        (403, "RequestTimeTooSkewed", Denied, Denied, "clock"),
        (301, "PermanentRedirect", Invalid, Invalid, "region"),
        (400, "AuthorizationHeaderMalformed", Invalid, Invalid, "region"),
        (404, "NoSuchBucket", Invalid, Invalid, "make it"),
        (507, "InsufficientStorage", Full, Full, "room"),
        (500, "InternalError", Unknown, Unavailable, ""),
        (502, "", Unknown, Unavailable, ""),
    ] {
        let server = telling(status, code);
        let more = format!("{UNPROBED}&session_token=asessiontoken");
        let store = open(&s3(server.port, "p", &more)).await.unwrap();
        let (name, value) = (key("k"), Bytes::from("abcdefvalue"));
        let mut errors = vec![(get, store.get_all(&name).await.unwrap_err())];
        for expect in [Expect::Any, Expect::Absent, Expect::Revision(Revision::text("\"r\""))] {
            errors.push((put, store.put(&name, value.clone(), expect).await.unwrap_err()));
        }
        errors.push((put, store.delete(&name, Expect::Any).await.unwrap_err()));
        for (kind, error) in errors {
            assert_eq!(error.kind(), kind, "{status} {code}: {error:?}");
            assert!(error.message().contains(advice), "{status} {code}: {error}");
            for secret in ["holdallkey", "holdallsecret", "asessiontoken", "abcdefvalue"] {
                assert!(!format!("{error:?}").contains(secret), "{error:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_sent_once_and_reads_again() {
    let server = telling(500, "InternalError");
    let more = "&probe=off&conditional=revision&retries=2&storage_class=STANDARD_IA";
    let store = open(&s3(server.port, "p", more)).await.unwrap();
    let asked = |method: &str| {
        let heads = server.asked();
        heads.into_iter().filter(|head| head.starts_with(method)).collect::<Vec<_>>()
    };
    store.put(&key("any"), Bytes::from("v"), Expect::Any).await.unwrap_err();
    store.put(&key("absent"), Bytes::from("v"), Expect::Absent).await.unwrap_err();
    let revision = Expect::Revision(Revision::text("\"r\""));
    store.put(&key("revision"), Bytes::from("v"), revision).await.unwrap_err();
    let puts = asked("put ");
    assert_eq!(puts.len(), 3, "{puts:?}");
    assert!(puts.iter().all(|head| head.contains("x-amz-storage-class: standard_ia")));
    assert!(puts[1].contains("if-none-match: *"));
    assert!(puts[2].contains("if-match: \"r\""));
    store.delete(&key("any"), Expect::Any).await.unwrap_err();
    assert_eq!(asked("delete ").len(), 1);
    let before = asked("get ").len();
    store.get(&key("any"), ByteRange::ALL).await.unwrap_err();
    assert_eq!(asked("get ").len() - before, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_may_only_read_are_told_at_opening() {
    let server = telling(403, "AccessDenied");
    let error = open(&s3(server.port, "p", "")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert!(error.message().contains("probe=off"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_object_store_is_told_from_one() {
    let page = Told::new(|_| (200, "<html><body>Welcome</body></html>".to_owned()));
    let error = open(&s3(page.port, "p", "")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.message().contains("endpoint"), "{error}");
    let nothing = Told::new(|_| (404, "not here".to_owned()));
    let error = open(&s3(nothing.port, "p", "")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    let nobody = "s3://b?endpoint=http://no-such-host.invalid&anonymous=true&retries=0";
    let error = open(nobody).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("endpoint"), "{error}");
}
