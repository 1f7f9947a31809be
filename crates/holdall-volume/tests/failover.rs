//! A catalog whose reads show writes that its replica does not have, and that are lost when the
//! replica takes over: what was acknowledged is there all the same.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/world.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use holdall_core::{Bytes, Env, ErrorKind, Result};
use holdall_testkit::{Strict, sim};
use holdall_volume::{PutOptions, Volume};
use world::{Stores, assert_clean, name, read};

/// A volume in which an entry was written, and its catalog.
async fn written(env: &Env) -> (Arc<Strict>, Volume) {
    let strict = || Strict::new().with_value_bytes_max(8 << 20).with_batch_limits(3000, 16 << 20);
    let catalog = Arc::new(strict());
    let held = Arc::clone(&catalog);
    let stores = Stores { env: env.clone(), catalog: held, data: Arc::new(strict()) };
    let made = Volume::create(stores.resources(), "v", world::small_policy()).await.unwrap();
    put(&made, "first").await.unwrap();
    (catalog, made)
}

async fn put(volume: &Volume, value: &'static str) -> Result<u64> {
    let entry = volume.put(&name("entry"), value, PutOptions::default()).await?;
    Ok(entry.version)
}

async fn assert_entry(volume: &Volume, value: &'static str) {
    let found = read(volume, &name("entry")).await.unwrap();
    assert_eq!(found, Some(Bytes::from_static(value.as_bytes())));
    assert_clean(volume).await;
}

#[test]
fn a_commit_that_can_only_be_read_is_not_acknowledged() {
    sim::simulate(1, |env| async move {
        let (catalog, volume) = written(&env).await;
        catalog.lose_replica();
        let error = put(&volume, "second").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
        catalog.fail_over();
        assert_entry(&volume, "first").await;
        put(&volume, "third").await.unwrap();
        assert_entry(&volume, "third").await;
    });
}

/// The replica comes back, or takes over without the commit, while its writer waits.
#[test]
fn a_commit_is_acknowledged_once_a_replica_has_it() {
    for change in [Strict::find_replica, Strict::fail_over] {
        sim::simulate(1, |env| async move {
            let (catalog, volume) = written(&env).await;
            catalog.lose_replica();
            let changed = async {
                env.sleep(Duration::from_millis(200)).await;
                change(&catalog);
            };
            let (version, ()) = join(put(&volume, "second"), changed).await;
            let version = version.unwrap();
            assert_entry(&volume, "second").await;
            // It was made once, whatever was tried.
            assert_eq!(put(&volume, "third").await.unwrap(), version + 1);
        });
    }
}
