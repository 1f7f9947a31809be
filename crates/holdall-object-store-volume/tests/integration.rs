//! The functions by which `object_store` tests its own stores, on a volume.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::store;
use holdall_object_store_volume::VolumeStore;
use holdall_volume::format::policy::Policy;
use object_store::path::Path;
use object_store::{Error, integration};

async fn any() -> VolumeStore {
    store(Policy::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_put_read_listed_and_deleted() {
    integration::put_get_delete_list(&any().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_come_back() {
    // The storage class is the one attribute that a volume refuses, so it is not among them here.
    use object_store::{Attribute, Attributes, ObjectStore, ObjectStoreExt, PutOptions};
    let store = any().await;
    let attributes = Attributes::from_iter([
        (Attribute::CacheControl, "max-age=604800"),
        (Attribute::ContentDisposition, r#"attachment; filename="test.html""#),
        (Attribute::ContentEncoding, "gzip"),
        (Attribute::ContentLanguage, "en-US"),
        (Attribute::ContentType, "text/html; charset=utf-8"),
        (Attribute::Metadata("test_key".into()), "test_value"),
    ]);
    let path = Path::from("attributes");
    store.put_opts(&path, "foo".into(), attributes.clone().into()).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().attributes, attributes);
    let refused = Attributes::from_iter([(Attribute::StorageClass, "COLD")]);
    let refused = PutOptions { attributes: refused, ..PutOptions::default() };
    let error = store.put_opts(&Path::from("b"), "foo".into(), refused).await.unwrap_err();
    assert!(matches!(error, Error::NotSupported { .. }), "{error}");
    let error = store.head(&Path::from("b")).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_of_reads_are_kept() {
    // It also reads versions that were replaced.
    let kept = Policy { history: Duration::from_secs(3600), ..Policy::default() };
    integration::get_opts(&store(kept).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_of_writes_are_kept() {
    integration::put_opts(&any().await, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_written_and_read() {
    integration::stream_get(&any().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listing_knows_folders() {
    let store = any().await;
    integration::list_uses_directories_correctly(&store).await;
    integration::list_with_delimiter(&store).await;
    integration::list_with_offset_exclusivity(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_objects_are_not_found() {
    let store = any().await;
    let error = integration::get_nonexistent_object(&store, None).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    integration::copy_rename_nonexistent_object(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_copied_and_renamed() {
    let store = any().await;
    integration::rename_and_copy(&store).await;
    integration::copy_if_not_exists(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_in_parts_become_objects() {
    let store = any().await;
    integration::multipart(&store, &store).await;
    integration::multipart_out_of_order(&store).await;
    integration::multipart_put_part_out_of_order(&store, &store).await;
    integration::multipart_race_condition(&store, true).await;
}
