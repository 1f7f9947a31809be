//! How fast cached reads are, beside the library that keeps the copies, in the same run.
//!
//! ```text
//! cargo run --release -p holdall-layers --example cached_speed -- <folder> [seconds]
//! ```
//! prints, for values of 1 KiB and of 64 KiB in memory and on a disk, the medians of five rounds
//! in which both take turns, and their ratio. Keys are drawn at random; the disk's files are in the
//! page cache for both.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for one's own machine")]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foyer::{
    BlockEngineConfig, Cache, CacheBuilder, DeviceBuilder, FsDeviceBuilder, HybridCache,
    HybridCacheBuilder, HybridCachePolicy,
};
use holdall_core::{Backend, BackendExt, Bytes, Expect, Key, Memory};
use holdall_layers::{CacheDisk, CacheSettings, Cached};

const ROUNDS: usize = 5;
const MEMORY_BYTES: usize = 512 << 20;
const DISK_BYTES: usize = 1 << 30;
const BLOCK_BYTES: usize = 16 << 20;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(arguments.first().expect("give a folder to work in"));
    let seconds: f64 = arguments.get(1).map_or(1.0, |seconds| seconds.parse().unwrap());
    let time = Duration::from_secs_f64(seconds);
    println!("reads a second, medians of {ROUNDS} rounds of {seconds} s, one reader");
    for (bytes, rows) in [(1 << 10, 100_000), (64 << 10, 2_000)] {
        in_memory(bytes, rows, time).await;
        on_disk(folder, bytes, rows, time).await;
    }
}

/// Spreads numbers over all keys, as random ones would be, and can be told again.
fn name(number: u64) -> String {
    format!("seg/{:016x}{number:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The next number of a walk that visits rows in no order.
fn next(at: &mut u64, rows: u64) -> u64 {
    *at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*at >> 20) % rows
}

/// Counts how often this can be done.
async fn rate<F: Future<Output = usize>>(
    time: Duration,
    rows: u64,
    bytes: usize,
    read: impl Fn(u64) -> F,
) -> f64 {
    let (started, mut done, mut at) = (Instant::now(), 0_u64, 1);
    while done % 64 != 0 || started.elapsed() < time {
        assert_eq!(read(next(&mut at, rows)).await, bytes);
        done += 1;
    }
    done as f64 / started.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn tell(what: &str, bytes: usize, raw: Vec<f64>, ours: Vec<f64>) {
    let (raw, ours) = (median(raw), median(ours));
    println!(
        "  {what:<7} {:>3} KiB   library {raw:>9.0}   cached {ours:>9.0}   ratio {:.2}",
        bytes >> 10,
        ours / raw
    );
}

async fn filled(settings: CacheSettings, bytes: usize, rows: u64) -> Arc<Cached> {
    let back = Arc::new(Memory::new());
    let cache = Cached::open(back, None, settings, &holdall_runtime::env()).await.unwrap();
    for row in 0..rows {
        let key = Key::parse(name(row)).unwrap();
        cache.put(&key, vec![7; bytes].into(), Expect::Absent).await.unwrap();
        if row % 64 == 0 {
            cache.flush().await;
        }
    }
    cache.flush().await;
    cache
}

async fn in_memory(bytes: usize, rows: u64, time: Duration) {
    let settings = CacheSettings { memory_bytes: MEMORY_BYTES as u64, ..CacheSettings::default() };
    let cached = filled(settings, bytes, rows).await;
    let raw: Cache<Key, Bytes> = CacheBuilder::new(MEMORY_BYTES)
        .with_weighter(|key: &Key, value: &Bytes| key.as_bytes().len() + value.len())
        .build();
    for row in 0..rows {
        raw.insert(Key::parse(name(row)).unwrap(), vec![7; bytes].into());
    }
    let keys: Vec<Key> = (0..rows).map(|row| Key::parse(name(row)).unwrap()).collect();
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let read = async |row: u64| raw.get(&keys[row as usize]).unwrap().value().clone().len();
        theirs.push(rate(time, rows, bytes, read).await);
        let read = async |row: u64| {
            cached.get_all(&keys[row as usize]).await.unwrap().unwrap().value.len()
        };
        ours.push(rate(time, rows, bytes, read).await);
    }
    assert_eq!(cached.counts().misses, 0);
    tell("memory", bytes, theirs, ours);
}

async fn raw_disk(folder: &Path, bytes: usize, rows: u64) -> HybridCache<String, Vec<u8>> {
    fs::create_dir_all(folder).unwrap();
    let device = FsDeviceBuilder::new(folder).with_capacity(DISK_BYTES).build().unwrap();
    let engine = BlockEngineConfig::new(device).with_block_size(BLOCK_BYTES);
    let raw: HybridCache<String, Vec<u8>> = HybridCacheBuilder::new()
        .with_policy(HybridCachePolicy::WriteOnInsertion)
        .memory(1)
        .with_shards(1)
        .storage()
        .with_engine_config(engine)
        .build()
        .await
        .unwrap();
    for row in 0..rows {
        drop(raw.storage_writer(name(row)).force().insert(vec![7; bytes]));
        if row % 64 == 0 {
            raw.storage().wait().await;
        }
    }
    raw.storage().wait().await;
    raw
}

async fn on_disk(folder: &Path, bytes: usize, rows: u64, time: Duration) {
    let raw_folder = folder.join("raw");
    let our_folder = folder.join("cached");
    let disk = CacheDisk {
        folder: our_folder.clone(),
        bytes: DISK_BYTES as u64,
        store: "memory:".to_owned(),
    };
    let settings = CacheSettings { memory_bytes: 0, disk: Some(disk), ..CacheSettings::default() };
    let cached = filled(settings, bytes, rows).await;
    let raw = raw_disk(&raw_folder, bytes, rows).await;
    let keys: Vec<Key> = (0..rows).map(|row| Key::parse(name(row)).unwrap()).collect();
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let read = async |row: u64| raw.get(&name(row)).await.unwrap().unwrap().value().len();
        theirs.push(rate(time, rows, bytes, read).await);
        let read = async |row: u64| {
            cached.get_all(&keys[row as usize]).await.unwrap().unwrap().value.len()
        };
        ours.push(rate(time, rows, bytes, read).await);
    }
    let counts = cached.counts();
    assert!(counts.hit_ratio().unwrap() > 0.99, "{counts:?}");
    tell("disk", bytes, theirs, ours);
    cached.close().await.unwrap();
    raw.close().await.unwrap();
    fs::remove_dir_all(raw_folder).unwrap();
    fs::remove_dir_all(our_folder).unwrap();
}
