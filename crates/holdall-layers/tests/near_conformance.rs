//! The contract under caches and writes behind, over several engines on either side.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdall_core::{Backend, Memory, Result, async_trait};
use holdall_layers::{
    Behind, BehindSettings, CacheDisk, CacheSettings, Cached, Limits, Retries, Stack, Writes,
};
use holdall_testkit::conformance::Fixture;
use support::env;
use tempfile::TempDir;

/// An engine by its name, in a folder.
async fn engine(name: &str, folder: &TempDir, place: &str) -> Result<Arc<dyn Backend>> {
    let path = folder.path().join(place);
    match name {
        "file" => {
            std::fs::create_dir_all(&path).unwrap();
            let config = holdall_file::Config::new(path);
            Ok(Arc::new(holdall_file::File::open(config, &env()).await?))
        }
        "lmdb" => {
            let config = holdall_lmdb::Config::new(path);
            Ok(Arc::new(holdall_lmdb::Lmdb::open(config, &env()).await?))
        }
        _ => Ok(Arc::new(Memory::new())),
    }
}

/// So small that values are evicted all the time, and the largest ones never kept.
fn small() -> CacheSettings {
    CacheSettings {
        memory_bytes: 64 << 10,
        front_bytes: 64 << 10,
        value_bytes_max: 16 << 10,
        ..CacheSettings::default()
    }
}

/// A cache of an engine in memory, and in a front where one is named.
struct Near {
    folder: TempDir,
    back: &'static str,
    front: Option<&'static str>,
    settings: CacheSettings,
}

impl Near {
    fn new(back: &'static str, front: Option<&'static str>, settings: CacheSettings) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), back, front, settings }
    }
}

#[async_trait]
impl Fixture for Near {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        let back = engine(self.back, &self.folder, "back").await?;
        let front = match self.front {
            Some(front) => Some(engine(front, &self.folder, "front").await?),
            None => None,
        };
        Ok(Cached::open(back, front, self.settings.clone(), &env()).await?)
    }
}

/// A cache of an engine on a disk, in a new folder each time: it lets go of one a little later.
struct OnDisk {
    folder: TempDir,
    back: &'static str,
    opened: AtomicUsize,
}

#[async_trait]
impl Fixture for OnDisk {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        let back = engine(self.back, &self.folder, "back").await?;
        let number = self.opened.fetch_add(1, Ordering::SeqCst);
        let disk = CacheDisk {
            folder: self.folder.path().join(format!("cache-{number}")),
            bytes: 16 << 20,
            store: self.back.to_owned(),
        };
        let settings = CacheSettings { memory_bytes: 0, disk: Some(disk), ..small() };
        Ok(Cached::open(back, None, settings, &env()).await?)
    }
}

/// Writes behind an engine, which wait in another.
struct Later {
    folder: TempDir,
    front: &'static str,
    back: &'static str,
    rows_max: usize,
}

impl Later {
    fn new(front: &'static str, back: &'static str, rows_max: usize) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), front, back, rows_max }
    }
}

#[async_trait]
impl Fixture for Later {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        let front = engine(self.front, &self.folder, "front").await?;
        let back = engine(self.back, &self.folder, "back").await?;
        let settings = BehindSettings { rows_max: self.rows_max, ..BehindSettings::default() };
        Ok(Behind::open(front, back, settings, &env()).await?)
    }
}

/// Memory before LMDB before a folder, with writes behind, under all layers.
struct Whole(TempDir);

#[async_trait]
impl Fixture for Whole {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        let stack = Stack::new(engine("file", &self.0, "back").await?)
            .with_retries(Retries::default())
            .with_writes_behind(engine("lmdb", &self.0, "queue").await?, BehindSettings::default())
            .with_cache_in(engine("lmdb", &self.0, "copies").await?, small())
            .with_prefix("part/")
            .with_limits(Limits::default())
            .with_metrics();
        Ok(stack.open(&env()).await?.backend)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_has_them_in_its_order_and_hands_them_out() {
    let front: Arc<dyn Backend> = Arc::new(Memory::new());
    let stack = Stack::new(Arc::new(Memory::new()))
        .with_writes_behind(Arc::clone(&front), BehindSettings::default())
        .with_cache_in(front, small())
        .with_prefix("part/")
        .with_retries(Retries::default())
        .open(&env())
        .await
        .unwrap();
    let shown = format!("{:?}", stack.backend);
    let places: Vec<usize> =
        ["Prefixed", "Cached", "Behind", "Retrying"].map(|n| shown.find(n).unwrap()).into();
    assert!(places.is_sorted(), "from the outside in: {shown}");
    let key = holdall_core::Key::parse("a").unwrap();
    stack.backend.put(&key, "1".into(), holdall_core::Expect::Absent).await.unwrap();
    stack.backend.get(&key, holdall_core::ByteRange::ALL).await.unwrap().unwrap();
    assert_eq!(stack.cache.unwrap().counts().memory_hits, 1);
    let behind = stack.behind.unwrap();
    behind.flush().await.unwrap();
    assert_eq!(behind.backlog().rows, 0);
}

mod cached_memory {
    use super::*;

    holdall_testkit::conformance!(Near::new("memory", None, small()));
}

mod cached_memory_around {
    use super::*;

    holdall_testkit::conformance!(Near::new(
        "memory",
        None,
        CacheSettings { writes: Writes::Around, ..small() }
    ));
}

mod cached_file {
    use super::*;

    holdall_testkit::conformance!(Near::new("file", None, small()));
}

mod cached_file_in_lmdb {
    use super::*;

    holdall_testkit::conformance!(Near::new("file", Some("lmdb"), small()));
}

mod cached_lmdb_in_memory_front {
    use super::*;

    holdall_testkit::conformance!(Near::new(
        "lmdb",
        Some("memory"),
        CacheSettings { memory_bytes: 0, ..small() }
    ));
}

mod cached_memory_on_disk {
    use super::*;

    holdall_testkit::conformance!(OnDisk {
        folder: tempfile::tempdir().unwrap(),
        back: "memory",
        opened: AtomicUsize::new(0),
    });
}

mod cached_file_on_disk {
    use super::*;

    holdall_testkit::conformance!(OnDisk {
        folder: tempfile::tempdir().unwrap(),
        back: "file",
        opened: AtomicUsize::new(0),
    });
}

mod memory_behind_memory {
    use super::*;

    holdall_testkit::conformance!(Later::new("memory", "memory", 3));
}

mod file_behind_lmdb {
    use super::*;

    holdall_testkit::conformance!(Later::new("lmdb", "file", 100));
}

mod lmdb_behind_lmdb {
    use super::*;

    holdall_testkit::conformance!(Later::new("lmdb", "lmdb", 100));
}

mod memory_lmdb_file {
    use super::*;

    holdall_testkit::conformance!(Whole(tempfile::tempdir().unwrap()));
}
