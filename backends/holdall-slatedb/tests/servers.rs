//! The backend on real stores: what they keep, and what they say when something is wrong.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{azure, gcs, key, open, prefix, put, s3, text, until};
use holdall_core::{
    Backend, BackendExt, Bytes, Durability, ErrorKind, Expect, KEY_BYTES_MAX, Reach,
};
use holdall_services::{AZURITE, GCS, MOTO, RCLONE, Service, shared};

type Locate = fn(u16, &str, &str) -> String;

const KEEPING: [(&Service, Locate); 3] = [(&MOTO, s3), (&AZURITE, azure), (&GCS, gcs)];

fn port(service: &'static Service) -> u16 {
    shared(service).unwrap().port
}

#[tokio::test(flavor = "multi_thread")]
async fn every_store_that_keeps_conditions_holds_one() {
    for (service, locate) in KEEPING {
        let (port, prefix) = (port(service), prefix());
        let place = locate(port, &prefix, "&flush_interval=0s&poll_interval=100ms");
        let old = open(&place).await.unwrap();
        assert_eq!(old.profile().reach, Reach::Process);
        assert_eq!(old.profile().durability, Durability::Store);
        let long = "x".repeat(KEY_BYTES_MAX);
        for name in ["a", "a/b", "ü %", &long] {
            put(&old, name, name).await.unwrap();
        }
        let large = Bytes::from(vec![7; 9 << 20]);
        let revision = old.put(&key("large"), large.clone(), Expect::Absent).await.unwrap();
        let again = old.put(&key("large"), large.clone(), Expect::Absent).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Conflict, "{}", service.name);

        let follow = locate(port, &prefix, "&read_only=true&poll_interval=50ms");
        let reader = open(&follow).await.unwrap();
        assert_eq!(reader.profile().reach, Reach::Network);
        assert_eq!(text(&reader, "a/b").await.as_deref(), Some("a/b"));

        let new = open(&place).await.unwrap();
        let stale = put(&old, "a", "stale").await.unwrap_err();
        assert!([ErrorKind::Unknown, ErrorKind::Closed].contains(&stale.kind()), "{stale:?}");
        assert_eq!(put(&old, "a", "stale").await.unwrap_err().kind(), ErrorKind::Closed);
        let found = new.get_all(&key("large")).await.unwrap().unwrap();
        assert_eq!((found.value, found.revision), (large.clone(), revision));
        put(&new, "b", "new").await.unwrap();
        until("the reader sees it", async || text(&reader, "b").await.is_some()).await;
        let names: Vec<_> = reader.list_all("", false).await.unwrap();
        let names: Vec<_> = names.iter().map(|row| row.key.as_str().to_owned()).collect();
        assert_eq!(names, ["a", "a/b", "b", "large", &long, "ü %"], "{}", service.name);
        assert_eq!(text(&new, "a").await.as_deref(), Some("a"));
        let notes = new.health().await.unwrap().notes;
        assert!(notes[0].starts_with("SlateDB 0.18.0 on "), "{notes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_of_a_bucket_do_not_see_each_other() {
    let (port, prefix) = (port(&MOTO), prefix());
    let inner = open(&s3(port, &format!("{prefix}/inner"), "&flush_interval=0s")).await.unwrap();
    let outer = open(&s3(port, &prefix, "&flush_interval=0s")).await.unwrap();
    put(&inner, "k", "inner").await.unwrap();
    assert_eq!(text(&outer, "k").await, None);
    put(&outer, "k", "outer").await.unwrap();
    assert_eq!(text(&inner, "k").await.as_deref(), Some("inner"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_conditions_is_refused() {
    let (port, prefix) = (port(&RCLONE), prefix());
    let error = open(&s3(port, &prefix, "")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.message().contains("cannot be fenced off"), "{error}");
    assert!(error.message().contains("told to create"), "{error}");
    // Nothing is left of the attempt: there is no store to read.
    let error = open(&s3(port, &prefix, "&read_only=true")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.message().contains("no store here"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_says_how_to_make_it() {
    for (service, locate) in KEEPING {
        for more in ["", "&read_only=true"] {
            let place = locate(port(service), "p", more).replace("//holdall", "//no-such-bucket");
            let error = open(&place).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
            assert!(error.message().contains("`no-such-bucket`; make it"), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_denied_and_never_shown() {
    let rclone = s3(port(&RCLONE), "p", "").replace("holdallsecret", "hunter2");
    let unknown = s3(port(&RCLONE), "p", "").replace("holdallkey", "stranger");
    let azure = azure(port(&AZURITE), "p", "").replace("access_key=Eby8", "access_key=Abc8");
    for location in [rclone, unknown, azure] {
        let error = open(&location).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
        assert!(error.message().contains("credentials"), "{error}");
        for secret in ["hunter2", "stranger", "Abc8"] {
            assert!(!format!("{error:?}").contains(secret), "{error:?}");
        }
    }
}
