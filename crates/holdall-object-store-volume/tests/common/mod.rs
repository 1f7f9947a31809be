//! What the tests share: a volume in memory, as an object store.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use holdall_core::{Backend, Memory};
use holdall_object_store_volume::VolumeStore;
use holdall_volume::format::policy::Policy;
use holdall_volume::{Resources, Volume};

/// A new volume with this policy.
pub(crate) async fn store(policy: Policy) -> VolumeStore {
    let backend: Arc<dyn Backend> = Arc::new(Memory::new());
    let resources = Resources {
        env: holdall_runtime::env(),
        catalog: Arc::clone(&backend),
        data: backend.into(),
        holder: "a test".to_owned(),
    };
    VolumeStore::new(Volume::create(resources, "tables", policy).await.unwrap())
}
