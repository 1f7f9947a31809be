//! A cache on a disk: what lies in its folder, who may use it, and what is believed of it.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/far.rs"]
mod far;

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use far::Far;
use holdall_core::{
    Backend, BackendExt, ByteRange, Bytes, Env, ErrorKind, Expect, Key, Memory, Result,
};
use holdall_layers::{CacheDisk, CacheSettings, Cached};
use holdall_testkit::{Method, Recording};

const BYTES: u64 = 16 << 20;

fn env() -> Env {
    holdall_runtime::env()
}

fn key(name: &str) -> Key {
    Key::parse(name).unwrap()
}

/// No memory, so that every hit is the disk's.
fn settings(folder: &Path, store: &str) -> CacheSettings {
    let disk = CacheDisk { folder: folder.to_owned(), bytes: BYTES, store: store.to_owned() };
    CacheSettings {
        memory_bytes: 0,
        disk: Some(disk),
        value_bytes_max: 1 << 20,
        written_once: vec!["seg/".to_owned()],
        ..CacheSettings::default()
    }
}

async fn open(back: &Arc<dyn Backend>, folder: &Path) -> Result<(Arc<Cached>, Recording)> {
    let calls = Recording::new(Arc::clone(back));
    let settings = settings(folder, "memory:test");
    Ok((Cached::open(Arc::new(calls.clone()), None, settings, &env()).await?, calls))
}

fn shared() -> Arc<dyn Backend> {
    Arc::new(Far::shared(Arc::new(Memory::new())))
}

/// Bytes of this length that occur nowhere else.
fn pattern(seed: u64, length: usize) -> Bytes {
    let mix = |at: usize| (at as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[1];
    (0..length).map(mix).collect()
}

fn blocks(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains("foyer-storage")).collect()
}

fn contains(folder: &Path, wanted: &[u8]) -> bool {
    blocks(folder).iter().any(|path| {
        let mut bytes = Vec::new();
        fs::File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
        bytes.windows(wanted.len()).any(|window| window == wanted)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn values_come_from_the_disk_and_ranges_out_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let back: Arc<dyn Backend> = Arc::new(Memory::new());
    let (cache, calls) = open(&back, folder.path()).await.unwrap();
    let value = pattern(1, 100_000);
    back.put(&key("a"), value.clone(), Expect::Any).await.unwrap();
    assert_eq!(cache.get_all(&key("a")).await.unwrap().unwrap().value, value);
    cache.flush().await;
    calls.take();
    assert_eq!(cache.get_all(&key("a")).await.unwrap().unwrap().value, value);
    let part = cache.get(&key("a"), ByteRange::new(1000, 2000)).await.unwrap().unwrap();
    assert_eq!((part.value, part.size), (value.slice(1000..2000), 100_000));
    calls.assert_calls(&[]);
    assert_eq!(cache.counts().kept_hits, 2);
    // A replaced value does not come back from the disk.
    cache.put(&key("a"), Bytes::from("new"), Expect::Any).await.unwrap();
    assert_eq!(cache.get_all(&key("a")).await.unwrap().unwrap().value, "new");
    cache.delete(&key("a"), Expect::Any).await.unwrap();
    assert!(cache.get_all(&key("a")).await.unwrap().is_none());
    assert!(cache.health().await.unwrap().notes.last().unwrap().contains("on disk"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_holds_what_the_back_held_and_no_more_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("cache");
    let back: Arc<dyn Backend> = Arc::new(Memory::new());
    let (cache, _) = open(&back, &place).await.unwrap();
    // Whoever seals does so above the cache, and the back and the disk hold what was sealed.
    let plain = b"nobody but the owner of the key may read this sentence".as_slice();
    let sealed: Bytes = plain.iter().map(|byte| byte ^ 0x5a).collect();
    cache.put(&key("seg/1"), sealed.clone(), Expect::Absent).await.unwrap();
    cache.flush().await;
    assert!(contains(&place, &sealed), "it lies there as the back holds it");
    assert!(!contains(&place, plain));
    assert_eq!(back.get_all(&key("seg/1")).await.unwrap().unwrap().value, sealed);
    for number in 0..60 {
        let name = key(&format!("seg/{number:02}"));
        cache.put(&name, pattern(number, 700_000), Expect::Absent).await.unwrap();
        cache.flush().await;
    }
    let bytes: u64 = blocks(&place).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= BYTES, "{bytes}");
    for number in (0..60).rev() {
        let found = cache.get_all(&key(&format!("seg/{number:02}"))).await.unwrap().unwrap();
        assert_eq!(found.value, pattern(number, 700_000));
    }
    let counts = cache.counts();
    assert!(counts.kept_hits > 0 && counts.misses > 0, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reopened_cache_is_asked_about_names_that_are_written_once_alone() {
    let folder = tempfile::tempdir().unwrap();
    let back = shared();
    let (cache, _) = open(&back, folder.path()).await.unwrap();
    let value = pattern(7, 50_000);
    for name in ["seg/1", "seg/2", "row"] {
        cache.put(&key(name), value.clone(), Expect::Any).await.unwrap();
    }
    let busy = open(&back, folder.path()).await.unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Unavailable, "{busy}");
    cache.close().await.unwrap();
    back.delete(&key("seg/2"), Expect::Any).await.unwrap();

    let (cache, calls) = open(&back, folder.path()).await.unwrap();
    let moved = |calls: &Recording| calls.take().iter().map(|call| call.bytes_out).sum::<u64>();
    assert_eq!(cache.get_all(&key("seg/1")).await.unwrap().unwrap().value, value);
    assert_eq!((calls.count(Method::Get), moved(&calls)), (1, 0), "one look, no bytes");
    assert_eq!(cache.get_all(&key("seg/1")).await.unwrap().unwrap().value, value);
    calls.assert_calls(&[]);
    assert!(cache.get_all(&key("seg/2")).await.unwrap().is_none(), "it was removed meanwhile");
    assert_eq!(cache.get_all(&key("row")).await.unwrap().unwrap().value, value);
    assert_eq!(moved(&calls), 50_000, "another value may have had the same revision");
    cache.close().await.unwrap();

    // The same folder for another store begins empty.
    let calls = Recording::new(Arc::clone(&back));
    let settings = settings(folder.path(), "memory:other");
    let other = Cached::open(Arc::new(calls.clone()), None, settings, &env()).await.unwrap();
    assert_eq!(other.get_all(&key("seg/1")).await.unwrap().unwrap().value, value);
    assert_eq!(moved(&calls), 50_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_other_things_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let precious = folder.path().join("precious.txt");
    fs::write(&precious, "keep me").unwrap();
    let error = open(&shared(), folder.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(fs::read_to_string(precious).unwrap(), "keep me");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_on_the_disk_is_noticed_and_read_past() {
    let folder = tempfile::tempdir().unwrap();
    let back: Arc<dyn Backend> = Arc::new(Memory::new());
    let (cache, calls) = open(&back, folder.path()).await.unwrap();
    let value = pattern(9, 300_000);
    cache.put(&key("seg/1"), value.clone(), Expect::Any).await.unwrap();
    cache.flush().await;
    for path in blocks(folder.path()) {
        let mut file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let wanted = &value[150_000..150_100];
        if let Some(at) = bytes.windows(wanted.len()).position(|window| window == wanted) {
            file.seek(SeekFrom::Start(at as u64)).unwrap();
            file.write_all(&[wanted[0] ^ 1]).unwrap();
        }
    }
    calls.take();
    assert_eq!(cache.get_all(&key("seg/1")).await.unwrap().unwrap().value, value);
    calls.assert_calls(&[(Method::Get, 1)]);
}
