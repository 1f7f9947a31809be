//! A catalog that went back is noticed, is read, and is written again when it was rebuilt.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use holdall_core::{Backend, BackendExt, ErrorKind, Memory, Reach};
use holdall_testkit::{Strict, sim::simulate};

use super::Lost;
use crate::gc::GcOptions;
use crate::rebuild::RebuildOptions;
use crate::{PutOptions, Volume};
use world::{Stores, assert_clean, copy, name, noise, present, small_policy};

#[path = "../../tests/support/world.rs"]
mod world;

/// An empty catalog that is said to be across a network.
fn remote() -> Arc<dyn Backend> {
    Arc::new(Strict::new().with_batch_limits(10_000, 4 << 20).with_reach(Reach::Network))
}

async fn put(volume: &Volume, text: &str, seed: u64, size: usize) -> holdall_core::Result<()> {
    let (target, bytes) = (name(text), noise(seed, size));
    volume.put(&target, bytes, PutOptions::default()).await.map(drop)
}

#[test]
fn commits_that_the_log_has_are_missed_and_come_back() {
    simulate(1, |env| async move {
        let data: Arc<dyn Backend> = Arc::new(Memory::new());
        let stores = Stores { env, catalog: remote(), data };
        let volume = Volume::create(stores.resources(), "v", small_policy()).await.unwrap();
        let id = volume.id();
        put(&volume, "early", 1, 50_000).await.unwrap();
        volume.seal().await.unwrap();
        put(&volume, "kept", 2, 100).await.unwrap();
        // What is written from here on is acknowledged, and lost.
        let copied = remote();
        copy(stores.catalog.as_ref(), copied.as_ref()).await;
        put(&volume, "late", 3, 100).await.unwrap();
        put(&volume, "late large", 4, 50_000).await.unwrap();
        volume.seal().await.unwrap();
        put(&volume, "unsealed", 5, 100).await.unwrap();
        let mut whole = present(&volume).await.unwrap();
        drop(volume);

        let back = Stores { catalog: copied, ..stores };
        let volume = back.open(id).await.unwrap();
        let lost = Lost { catalog: 2, data: 4 };
        assert_eq!((volume.lost(), volume.usage().await.unwrap().lost), (Some(lost), Some(lost)));
        let before = back.data.list_all("", true).await.unwrap();
        let there = present(&volume).await.unwrap();
        assert_eq!(there.keys().collect::<Vec<_>>(), ["early", "kept"]);
        // Nothing is written, given a number, or collected.
        let refusals = [
            put(&volume, "more", 6, 100).await.unwrap_err(),
            put(&volume, "more", 7, 50_000).await.unwrap_err(),
            volume.seal().await.unwrap_err(),
            volume.checkpoint().await.unwrap_err(),
            volume.gc(GcOptions::default()).await.unwrap_err(),
        ];
        for refused in refusals {
            assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused:?}");
            assert!(refused.message().contains("rebuild --replace"), "{refused}");
        }
        assert_eq!(back.data.list_all("", true).await.unwrap(), before);
        drop(volume);

        let options = RebuildOptions { replace: true, ..RebuildOptions::default() };
        let (volume, report) = Volume::rebuild(back.resources(), id, options).await.unwrap();
        assert!(report.is_whole(), "{report:#?}");
        assert_eq!((volume.lost(), report.sequence), (None, 4));
        whole.remove("unsealed").unwrap();
        assert_eq!(present(&volume).await.unwrap(), whole);
        put(&volume, "more", 6, 100).await.unwrap();
        assert_clean(&volume).await;
    });
}

#[test]
fn the_epoch_of_a_writer_that_was_lost_is_not_taken_again() {
    simulate(2, |env| async move {
        let data: Arc<dyn Backend> = Arc::new(Memory::new());
        let stores = Stores { env, catalog: remote(), data };
        let volume = Volume::create(stores.resources(), "v", small_policy()).await.unwrap();
        let id = volume.id();
        let copied = remote();
        copy(stores.catalog.as_ref(), copied.as_ref()).await;
        put(&volume, "lost", 3, 50_000).await.unwrap();
        drop(volume);
        let before = stores.data.list_all("", true).await.unwrap();
        let back = Stores { catalog: copied, ..stores };
        let volume = back.open(id).await.unwrap();
        assert_eq!(volume.lost(), None);
        put(&volume, "new", 4, 50_000).await.unwrap();
        let after = back.data.list_all("", true).await.unwrap();
        assert_eq!(after.len(), before.len() + 1, "a segment of its own");
        assert!(before.iter().all(|row| after.contains(row)));
        assert_eq!(volume.usage().await.unwrap().segments, 1);
    });
}

#[test]
fn a_writer_that_sees_the_catalog_go_back_ends() {
    simulate(3, |env| async move {
        let data: Arc<dyn Backend> = Arc::new(Memory::new());
        let stores = Stores { env, catalog: remote(), data };
        let volume = Volume::create(stores.resources(), "v", small_policy()).await.unwrap();
        put(&volume, "one", 1, 100).await.unwrap();
        let earlier = stores.catalog.list_all("", true).await.unwrap();
        put(&volume, "two", 2, 100).await.unwrap();
        for row in earlier {
            let value = row.object.unwrap().value;
            stores.catalog.put(&row.key, value, holdall_core::Expect::Any).await.unwrap();
        }
        let error = put(&volume, "three", 3, 100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
        assert!(error.message().contains("lost commits"), "{error}");
    });
}
