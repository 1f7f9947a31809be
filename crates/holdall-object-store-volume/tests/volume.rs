//! What a volume gives beyond other object stores.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::store;
use futures::TryStreamExt;
use holdall_volume::format::entry::Name;
use holdall_volume::format::policy::Policy;
use holdall_volume::{Condition, PutOptions as VolumePutOptions};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt,
    PutMode, UpdateVersion,
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
    // Their paths would be those of others: `a` and `a/b`.
    for (name, folder) in
        [("a//b", Some("a")), ("/a", None), ("a/", Some("a")), ("a/b/", Some("a/b"))]
    {
        let name = Name::parse(name).unwrap();
        store.volume().put(&name, "two", VolumePutOptions::default()).await.unwrap();
        let listed: Result<Vec<_>, _> = store.list(None).try_collect().await;
        assert!(matches!(listed, Err(Error::InvalidPath { .. })), "{name}: {listed:?}");
        let folder = store.list_with_delimiter(folder.map(Path::from).as_ref()).await;
        assert!(matches!(folder, Err(Error::InvalidPath { .. })), "{name}: {folder:?}");
        store.volume().delete(&name, Condition::Always).await.unwrap();
    }
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_without_parts_is_an_empty_object() {
    let store = store(Policy::default()).await;
    let path = Path::from("a");
    store.put_multipart(&path).await.unwrap().complete().await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_of_its_own_object_alone() {
    let store = store(Policy::default()).await;
    let (path, other) = (Path::from("a"), Path::from("b"));
    let id = store.create_multipart(&path).await.unwrap();
    let part = MultipartStore::put_part(&store, &path, &id, 0, "part".into()).await.unwrap();
    let put = MultipartStore::put_part(&store, &other, &id, 1, "part".into()).await;
    assert!(matches!(put, Err(Error::NotFound { .. })), "{put:?}");
    let parts = vec![part];
    let completed = store.complete_multipart(&other, &id, parts.clone()).await;
    assert!(matches!(completed, Err(Error::NotFound { .. })), "{completed:?}");
    let aborted = store.abort_multipart(&other, &id).await;
    assert!(matches!(aborted, Err(Error::NotFound { .. })), "{aborted:?}");
    store.complete_multipart(&path, &id, parts).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "part");
    // It has ended, and is not told as anything else.
    let ended = MultipartStore::put_part(&store, &path, &id, 0, "part".into()).await;
    assert!(matches!(ended, Err(Error::NotFound { .. })), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_would_come_back_as_a_header_is_refused() {
    let store = store(Policy::default()).await;
    let name = Attribute::Metadata("Cache-Control".into());
    let attributes = Attributes::from_iter([(name, "v")]);
    let put = store.put_opts(&Path::from("a"), "v".into(), attributes.into()).await;
    assert!(matches!(put, Err(Error::NotSupported { .. })), "{put:?}");
    assert!(matches!(store.head(&Path::from("a")).await, Err(Error::NotFound { .. })));
}
