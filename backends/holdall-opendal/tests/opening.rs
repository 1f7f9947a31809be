//! What opening finds out about services, and refuses.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::wrong::Wrong;
use common::{connected, files, key, memory, open, prefix, s3, trusted};
use holdall_core::{
    Backend, BackendExt, Bytes, Conditions, Durability, ErrorKind, Expect, List, Reach,
};
use holdall_opendal::{OpenDal, Options};
use holdall_services::{MOTO, RCLONE, shared};
use opendal::layers::CapabilityOverrideLayer;
use opendal::{Capability, Operator, services};

async fn notes(store: &OpenDal) -> String {
    store.health().await.unwrap().notes.join("; ")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_promises_what_it_was_found_to_keep() {
    let folder = tempfile::tempdir().unwrap();
    let moto = s3(shared(&MOTO).unwrap().port, "holdall", &prefix());
    let rclone = s3(shared(&RCLONE).unwrap().port, "holdall", &prefix());
    for (operator, conditions, lack) in [
        (memory(), Conditions::Absent, "no word for the state"),
        (files(&folder), Conditions::None, "racing creators"),
        (moto, Conditions::Revision, "OpenDAL's s3 holdall"),
        (rclone, Conditions::None, "overwrites where it was told to create"),
    ] {
        let store = open(&operator, Options::default()).await.unwrap();
        let notes = notes(&store).await;
        assert_eq!(store.profile().conditions, conditions, "{notes}");
        assert!(notes.contains(lack), "{notes}");
        let left = operator.list_with("").recursive(true).await.unwrap();
        assert!(left.iter().all(|entry| entry.path().ends_with('/')), "{left:?}");
        if conditions < Conditions::Revision {
            let options = Options { conditional: Some(Conditions::Revision), ..Options::default() };
            let error = open(&operator, options).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains("conditional=revision"), "{error}");
        }
        let less = Options { conditional: Some(Conditions::None), ..Options::default() };
        let less = open(&operator, less).await.unwrap();
        assert_eq!(less.profile().conditions, Conditions::None);
        let create = less.put(&key("k"), Bytes::from("v"), Expect::Absent).await.unwrap_err();
        assert_eq!(create.kind(), ErrorKind::Unsupported);
        assert_eq!(less.get_all(&key("k")).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_shows_parts_of_values_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let service = services::Fs::default().root(folder.path().to_str().unwrap());
    let error = open(&Operator::new(service).unwrap(), Options::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("atomic_write_dir"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_show_or_list_what_was_just_written_is_refused() {
    for (wrong, word) in [
        (Wrong::ReadsStale, "does not show what was just written"),
        (Wrong::ListsNothing, "does not list what was just written"),
    ] {
        let error = open(&memory().layer(wrong), Options::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains(word), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_lacks_what_a_backend_must_is_refused() {
    type Lack = fn(Capability) -> Capability;
    let lacks: [(&str, Lack); 4] = [
        ("read", |able| Capability { read: false, ..able }),
        ("write", |able| Capability { write: false, ..able }),
        ("delete", |able| Capability { delete: false, ..able }),
        ("list", |able| Capability { list: false, ..able }),
    ];
    for (word, lack) in lacks {
        let operator = memory().layer(CapabilityOverrideLayer::new(lack));
        let error = open(&operator, Options::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains(&format!("cannot {word},")), "{error}");
    }
    let small = |able| Capability { write_total_max_size: Some(4096), ..able };
    let operator = memory().layer(CapabilityOverrideLayer::new(small));
    let error = open(&operator, Options::default()).await.unwrap_err();
    assert!(error.message().contains("4064 bytes a value"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_profile_says_what_the_operator_and_the_options_say() {
    let bounded = |able| Capability { write_total_max_size: Some(1 << 20), ..able };
    let operator = memory().layer(CapabilityOverrideLayer::new(bounded));
    let store = open(&operator, Options::default()).await.unwrap();
    let profile = store.profile();
    assert_eq!(profile.value_bytes_max, (1 << 20) - 32);
    assert_eq!((profile.reach, profile.durability), (Reach::Process, Durability::Process));
    let large = Bytes::from(vec![0; 1 << 20]);
    let error = store.put(&key("k"), large.clone(), Expect::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    store.put(&key("k"), large.slice(32..), Expect::Any).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let store = open(&files(&folder), Options::default()).await.unwrap();
    let profile = store.profile();
    assert_eq!((profile.reach, profile.durability), (Reach::Machine, Durability::Process));
    let operator = s3(shared(&MOTO).unwrap().port, "holdall", &prefix());
    let store = open(&operator, trusted(Conditions::Revision)).await.unwrap();
    let profile = store.profile();
    assert_eq!((profile.reach, profile.durability), (Reach::Network, Durability::Store));
    let said = Options {
        reach: Some(Reach::Machine),
        durability: Some(Durability::Process),
        ..trusted(Conditions::None)
    };
    let store = open(&operator, said).await.unwrap();
    let profile = store.profile();
    assert_eq!((profile.reach, profile.durability), (Reach::Machine, Durability::Process));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_options_are_refused() {
    let long = Operator::new(services::Memory::default().root(&"r".repeat(900))).unwrap();
    let unsaid = Options { probe: false, ..Options::default() };
    let idle = Options { concurrency: 0, ..Options::default() };
    for (operator, options, word) in [
        (long, Options::default(), "shorten"),
        (memory(), unsaid, "which conditions"),
        (memory(), idle, "at least 1"),
    ] {
        let error = open(&operator, options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(word), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_a_wrong_port_and_wrong_credentials_say_what_to_do() {
    let port = shared(&MOTO).unwrap().port;
    let missing = open(&s3(port, "no-such-bucket", "p"), Options::default()).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Invalid, "{missing:?}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let nobody = open(&s3(port, "holdall", "p"), Options::default()).await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::Unavailable, "{nobody:?}");
    // Rclone checks its credentials.
    let port = shared(&RCLONE).unwrap().port;
    let service = services::S3::default()
        .endpoint(&format!("http://127.0.0.1:{port}"))
        .bucket("holdall")
        .region("us-east-1")
        .access_key_id("holdallkey")
        .secret_access_key("hunter2")
        .disable_config_load();
    let denied = open(&connected(service), Options::default()).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied, "{denied:?}");
    assert!(!format!("{denied:?}").contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_is_told_without_the_probe_and_later() {
    let port = shared(&MOTO).unwrap().port;
    let missing = s3(port, "no-such-bucket", "p");
    let error = open(&missing, trusted(Conditions::None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    // One that goes while it is open.
    let bucket = prefix().trim_end_matches('/').replace(['/', '_'], "-").to_lowercase();
    let server = reqwest::Client::new();
    let address = format!("http://127.0.0.1:{port}/{bucket}");
    assert!(server.put(&address).send().await.unwrap().status().is_success());
    let store = open(&s3(port, &bucket, "p"), trusted(Conditions::None)).await.unwrap();
    assert_eq!(store.get_all(&key("k")).await.unwrap(), None);
    assert!(server.delete(&address).send().await.unwrap().status().is_success());
    for error in [
        store.get_all(&key("k")).await.unwrap_err(),
        store.list(&List::prefix("")).await.unwrap_err(),
        store.put(&key("k"), Bytes::from("v"), Expect::Any).await.unwrap_err(),
        store.health().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_is_corrupt_or_left_alone() {
    let operator = memory();
    let store = open(&operator, Options::default()).await.unwrap();
    store.put(&key("b"), Bytes::from("value"), Expect::Any).await.unwrap();
    operator.write("notes.txt", "others").await.unwrap();
    operator.write("61", "a value of others that is longer than a head").await.unwrap();
    let error = store.get_all(&key("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    operator.delete("61").await.unwrap();
    let page = store.list(&List::prefix("")).await.unwrap();
    assert_eq!(page.rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["b"]);
    // Cut short by others.
    let whole = operator.read("62").await.unwrap().to_bytes();
    operator.write("62", whole.slice(..whole.len() - 1)).await.unwrap();
    assert_eq!(store.get_all(&key("b")).await.unwrap_err().kind(), ErrorKind::Corrupt);
}
