//! What opening finds out about real servers, and what only large values show.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{azure, gcs, key, open, prefix, s3};
use holdall_core::{
    Backend, BackendExt, ByteRange, Bytes, Conditions, ErrorKind, Expect, Operation,
};
use holdall_services::{AZURITE, GCS, MOTO, RCLONE, S3S_FS, Service, shared};

type Location = fn(u16, &str, &str) -> String;

fn port(service: &'static Service) -> u16 {
    shared(service).unwrap().port
}

const KEEPING: [(&Service, Location); 3] = [(&MOTO, s3), (&GCS, gcs), (&AZURITE, azure)];

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_keeps_conditions_is_found_to() {
    for (service, location) in KEEPING {
        let prefix = prefix();
        let store = open(&location(port(service), &prefix, "")).await.unwrap();
        assert_eq!(store.profile().conditions, Conditions::Revision, "{}", service.name);
        let notes = store.health().await.unwrap().notes;
        assert!(notes.iter().all(|note| !note.contains("known to list")), "{notes:?}");
        // Nothing is left where the probe was: neither as keys nor beside them.
        assert_eq!(store.list_all("", false).await.unwrap(), []);
        let inside = format!("{prefix}/.holdall-probe");
        let inside = location(port(service), &inside, "&probe=off&conditional=none");
        let inside = open(&inside).await.unwrap();
        assert_eq!(inside.list_all("", false).await.unwrap(), []);
        // Less may be asked for.
        let less = open(&location(port(service), &prefix, "&conditional=absent")).await.unwrap();
        assert_eq!(less.profile().conditions, Conditions::Absent);
        let revision = store.put(&key("k"), Bytes::from("v"), Expect::Any).await.unwrap();
        let put = less.put(&key("k"), Bytes::from("w"), Expect::Revision(revision)).await;
        assert_eq!(put.unwrap_err().kind(), ErrorKind::Unsupported);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_conditions_is_found_out() {
    let (port, prefix) = (port(&RCLONE), prefix());
    let store = open(&s3(port, &prefix, "&names=flat")).await.unwrap();
    assert_eq!(store.profile().conditions, Conditions::None);
    let notes = store.health().await.unwrap().notes.join("; ");
    assert!(notes.contains("overwrites where it was told to create"), "{notes}");
    for expect in [Expect::Absent, Expect::Revision(holdall_core::Revision::text("\"x\""))] {
        let put = store.put(&key("k"), Bytes::from("v"), expect.clone()).await.unwrap_err();
        assert_eq!(put.kind(), ErrorKind::Unsupported);
        let delete = store.delete(&key("k"), expect).await.unwrap_err();
        assert_eq!(delete.kind(), ErrorKind::Unsupported);
    }
    assert_eq!(store.get_all(&key("k")).await.unwrap(), None);
    let asked = open(&s3(port, &prefix, "&names=flat&conditional=absent")).await.unwrap_err();
    assert_eq!(asked.kind(), ErrorKind::Unsupported);
    assert!(asked.message().contains("overwrites"), "{asked}");
}

/// Creating twice fails there, so only the race shows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lets_several_creators_win_is_found_out() {
    let (port, prefix) = (port(&S3S_FS), prefix());
    for _ in 0..3 {
        let store = open(&s3(port, &prefix, "&names=flat")).await.unwrap();
        assert_eq!(store.profile().conditions, Conditions::None);
        let notes = store.health().await.unwrap().notes.join("; ");
        assert!(notes.contains("more than one of many racing creators win"), "{notes}");
        let put = store.put(&key("k"), Bytes::from("v"), Expect::Absent).await.unwrap_err();
        assert_eq!(put.kind(), ErrorKind::Unsupported);
    }
    let asked = open(&s3(port, &prefix, "&names=flat&conditional=absent")).await.unwrap_err();
    assert_eq!(asked.kind(), ErrorKind::Unsupported);
    assert!(asked.message().contains("racing creators"), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_objects_as_files_wants_flat_names() {
    let error = open(&s3(port(&RCLONE), &prefix(), "")).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Unsupported, Operation::Open));
    assert!(error.message().contains("names=flat"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_go_in_parts_and_come_back_whole() {
    // Fourteen MiB in parts of five, in which every position differs from its neighbours.
    let value: Bytes =
        (0..14_u32 << 20).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    for (service, location) in KEEPING {
        let more = "&part_size=5MiB&concurrency=3&probe=off&conditional=revision";
        let store = open(&location(port(service), &prefix(), more)).await.unwrap();
        let name = key("large");
        let revision = store.put(&name, value.clone(), Expect::Any).await.unwrap();
        let found = store.get_all(&name).await.unwrap().unwrap();
        assert!(found.value == value, "{}", service.name);
        assert_eq!((found.size, &found.revision), (14 << 20, &revision));
        let range = ByteRange::new((5 << 20) - 10, (5 << 20) + 10);
        let part = store.get(&name, range).await.unwrap().unwrap();
        assert_eq!(part.value, value.slice((5 << 20) - 10..(5 << 20) + 10));
        // Under a condition a value goes in one request, whatever its size.
        let again = store.put(&name, value.clone(), Expect::Absent).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Conflict);
        store.put(&name, value.slice(1..), Expect::Revision(revision)).await.unwrap();
        assert_eq!(store.get_all(&name).await.unwrap().unwrap().size, (14 << 20) - 1);
        store.delete(&name, Expect::Any).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_under_a_condition_is_nothing_to_everybody() {
    for (service, location) in KEEPING {
        let more = "&probe=off&conditional=revision";
        let place = location(port(service), &prefix(), more);
        let (one, other) = (open(&place).await.unwrap(), open(&place).await.unwrap());
        let name = key("k");
        for round in 0..2 {
            let value = Bytes::from(format!("round {round}"));
            let revision = one.put(&name, value.clone(), Expect::Absent).await.unwrap();
            one.delete(&name, Expect::Revision(revision.clone())).await.unwrap();
            for range in [ByteRange::ALL, ByteRange::new(1, 3), ByteRange::from(200)] {
                assert_eq!(other.get(&name, range).await.unwrap(), None, "{}", service.name);
            }
            assert_eq!(other.list_all("", round == 0).await.unwrap(), []);
            other.delete(&name, Expect::Absent).await.unwrap();
            let again = other.delete(&name, Expect::Revision(revision)).await.unwrap_err();
            assert_eq!(again.kind(), ErrorKind::Conflict);
        }
        other.delete(&name, Expect::Any).await.unwrap();
        other.put(&name, Bytes::from("new"), Expect::Absent).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_says_how_to_make_it() {
    for (service, location) in KEEPING {
        let place = location(port(service), "p", "").replace("//holdall", "//no-such-bucket");
        let error = open(&place).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert!(error.message().contains("no-such-bucket"), "{error}");
        assert!(error.message().contains("make it"), "{error}");
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
