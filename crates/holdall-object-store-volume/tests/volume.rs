//! What a volume gives beyond other object stores.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::store;
use futures::TryStreamExt;
use holdall_volume::PutOptions as VolumePutOptions;
use holdall_volume::format::entry::Name;
use holdall_volume::format::policy::Policy;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, UpdateVersion,
};

#[tokio::test(flavor = "multi_thread")]
async fn renaming_moves_no_bytes_and_is_one_commit() {
    let store = store(Policy::default()).await;
    let (from, to) = (Path::from("a/long"), Path::from("b/long"));
    let noise: Vec<u8> =
        (0..3_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    store.put(&from, noise.clone().into()).await.unwrap();
    let before = store.volume().usage().await.unwrap();
    let first = store.head(&from).await.unwrap();
    store.rename(&from, &to).await.unwrap();
    let after = store.volume().usage().await.unwrap();
    assert_eq!(after.segment_bytes, before.segment_bytes);
    let second = store.head(&to).await.unwrap();
    let version = |meta: &object_store::ObjectMeta| -> u64 {
        meta.version.as_deref().unwrap().parse().unwrap()
    };
    assert_eq!(version(&second), version(&first) + 1);
    assert!(matches!(store.head(&from).await, Err(Error::NotFound { .. })));
    let ranges = store.get_ranges(&to, &[5..9, 3_000_000..3_000_100]).await.unwrap();
    assert_eq!(ranges[0], noise[5..9]);
    assert_eq!(ranges[1], noise[3_000_000..3_000_100]);
    // Onto itself nothing changes.
    store.rename(&to, &to).await.unwrap();
    store.copy(&to, &to).await.unwrap();
    let error = store.copy_if_not_exists(&to, &to).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(store.head(&to).await.unwrap(), second);
}

#[tokio::test(flavor = "multi_thread")]
async fn earlier_versions_are_read_by_their_number() {
    let kept = Policy { history: Duration::from_secs(3600), ..Policy::default() };
    let store = store(kept).await;
    let path = Path::from("a");
    let first = store.put(&path, "first".into()).await.unwrap();
    store.put(&path, "second".into()).await.unwrap();
    let at = |version: Option<String>| GetOptions { version, ..GetOptions::default() };
    let then = store.get_opts(&path, at(first.version.clone())).await.unwrap();
    assert_eq!(then.meta.e_tag, first.e_tag);
    assert_eq!(then.bytes().await.unwrap(), "first");
    for version in ["999999", "no number"] {
        let missing = store.get_opts(&path, at(Some(version.to_owned()))).await;
        assert!(matches!(missing, Err(Error::NotFound { .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_by_words_of_others_changes_nothing() {
    let store = store(Policy::default()).await;
    let path = Path::from("a");
    let put = store.put(&path, "first".into()).await.unwrap();
    for (e_tag, version) in [
        (None, None),
        (Some("\"other\"".to_owned()), None),
        (put.e_tag.clone(), Some("7777".to_owned())),
        (None, Some("-1".to_owned())),
    ] {
        let mode = PutMode::Update(UpdateVersion { e_tag, version });
        let error = store.put_opts(&path, "second".into(), mode.into()).await.unwrap_err();
        assert!(matches!(error, Error::Precondition { .. }), "{error}");
    }
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "first");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_upload_leaves_nothing() {
    let store = store(Policy::default()).await;
    let path = Path::from("a");
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part("part".into()).await.unwrap();
    assert_eq!(store.volume().uploads().await.unwrap().len(), 1);
    upload.abort().await.unwrap();
    assert_eq!(store.volume().uploads().await.unwrap(), []);
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
    // A part that was begun and given up is missed at the end.
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part("one".into()).await.unwrap();
    drop(upload.put_part("two".into()));
    assert!(upload.complete().await.is_err());
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_no_path_is_told_and_not_hidden() {
    let store = store(Policy::default()).await;
    store.put(&Path::from("a"), "one".into()).await.unwrap();
    let name = Name::parse("a//b").unwrap();
    store.volume().put(&name, "two", VolumePutOptions::default()).await.unwrap();
    let listed: Result<Vec<_>, _> = store.list(None).try_collect().await;
    assert!(matches!(listed, Err(Error::InvalidPath { .. })));
}
