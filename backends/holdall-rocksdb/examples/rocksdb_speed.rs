//! Measures the backend beside the rocksdb crate alone, with the same settings on the same disk,
//! in turns.
//!
//! `cargo run --release -p holdall-rocksdb --example rocksdb_speed [folder]`; without a folder it
//! is a temporary one.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example that prints")]

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::channel::oneshot;
use futures::future::join_all;
use holdall_core::{Backend, BackendExt, ByteRange, Bytes, Env, Expect, Key};
use holdall_rocksdb::{Config, RocksDb};
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, Options, WriteOptions};

const ROUNDS: usize = 5;
const SEGMENT: usize = 16 << 20;

#[tokio::main]
async fn main() {
    let env = holdall_runtime::env();
    let folder = match std::env::args().nth(1) {
        Some(folder) => tempfile::tempdir_in(folder).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let ours = RocksDb::open(Config::new(folder.path().join("ours")), &env).await.unwrap();
    let bench = Bench {
        ours: Arc::new(ours),
        raw: Arc::new(Raw::open(&folder.path().join("raw"))),
        values: noise(&env, 2 * SEGMENT),
        turn: Arc::default(),
        env,
    };
    println!("medians of {ROUNDS}, in turns; ratio above 1: the backend takes longer");
    println!("{:<44} {:>12} {:>12} {:>6}", "", "holdall us", "raw us", "ratio");
    bench.small().await;
    bench.segments().await;
}

/// The shortest thing that keeps values in RocksDB: one family, one synced write a call. Many
/// callers are many threads, whose writes RocksDB joins by itself.
struct Raw(DB, WriteOptions);

impl Raw {
    fn open(path: &Path) -> Self {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&Cache::new_hyper_clock_cache(256 << 20, 0));
        blocks.set_bloom_filter(10.0, false);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&blocks);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_max_write_buffer_number(3);
        options.set_max_background_jobs(4);
        let mut write = WriteOptions::default();
        write.set_sync(true);
        Self(DB::open(&options, path).unwrap(), write)
    }

    fn put(&self, key: &Key, value: &[u8]) {
        self.0.put_opt(key.as_bytes(), value, &self.1).unwrap();
    }

    fn get(&self, key: &Key) -> Vec<u8> {
        self.0.get(key.as_bytes()).unwrap().unwrap()
    }
}

struct Bench {
    ours: Arc<RocksDb>,
    raw: Arc<Raw>,
    /// Bytes that do not compress.
    values: Bytes,
    turn: Arc<AtomicUsize>,
    env: Env,
}

impl Bench {
    /// So many of these bytes, other ones each time.
    fn value(&self, size: usize) -> Bytes {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let start = turn * 4099 % (self.values.len() - size);
        self.values.slice(start..start + size)
    }

    /// Values of 1 KiB, by one caller and by 64.
    async fn small(&self) {
        for at_once in [1, 64] {
            let count = if at_once == 1 { 200 } else { 6400 };
            let ours = async |number| {
                self.ours.put(&key(number), self.value(1024), Expect::Any).await.unwrap();
            };
            let raw = || {
                let (raw, value) = (Arc::clone(&self.raw), self.value(1 << 20));
                self.threads(count, at_once, move |number| {
                    let start = number * 131 % ((1 << 20) - 1024);
                    raw.put(&key(number), &value[start..start + 1024]);
                })
            };
            let name = format!("put of 1 KiB, {at_once} at once");
            self.compare(&name, count, || each(count, at_once, ours), raw).await;
        }
        for at_once in [1, 64] {
            let count = 20_000;
            let raw = || {
                let raw = Arc::clone(&self.raw);
                self.threads(count, at_once, move |number| {
                    assert_eq!(raw.get(&key(scattered(number))).len(), 1024);
                })
            };
            let name = format!("get of 1 KiB, {at_once} at once");
            self.compare(&name, count, || self.get_small(count, at_once), raw).await;
        }
    }

    /// Gets by so many tasks, which run at the same time as far as there are cores.
    async fn get_small(&self, count: usize, at_once: usize) {
        let tasks = (0..at_once).map(|worker| {
            let (done, ended) = oneshot::channel();
            let ours = Arc::clone(&self.ours);
            self.env.spawn(async move {
                for number in (worker..count).step_by(at_once) {
                    let found = ours.get_all(&key(scattered(number))).await.unwrap().unwrap();
                    assert_eq!(found.value.len(), 1024);
                }
                done.send(()).unwrap();
            });
            ended
        });
        join_all(tasks).await.into_iter().for_each(|ended| ended.unwrap());
    }

    /// Values of 16 MiB, whole and in part.
    async fn segments(&self) {
        let segment = Key::parse("segment").unwrap();
        let put = async |_| {
            self.ours.put(&segment, self.value(SEGMENT), Expect::Any).await.unwrap();
        };
        let raw_put = async |_| self.raw.put(&segment, &self.value(SEGMENT));
        self.compare("put of 16 MiB", 4, || each(4, 1, put), || each(4, 1, raw_put)).await;
        let get = async |_| {
            let found = self.ours.get_all(&segment).await.unwrap().unwrap();
            assert_eq!(found.value.len(), SEGMENT);
        };
        let raw_get = async |_| assert_eq!(self.raw.get(&segment).len(), SEGMENT);
        self.compare("get of 16 MiB", 8, || each(8, 1, get), || each(8, 1, raw_get)).await;
        let part = async |number| {
            let start = number as u64 * 1_000_003;
            let range = ByteRange::new(start, start + 65_536);
            assert_eq!(self.ours.get(&segment, range).await.unwrap().unwrap().value.len(), 65_536);
        };
        let name = "64 KiB out of 16 MiB (raw: reads all)";
        self.compare(name, 8, || each(8, 1, part), || each(8, 1, raw_get)).await;
    }

    /// Runs a work so many times, on so many threads.
    async fn threads(
        &self,
        count: usize,
        at_once: usize,
        work: impl Fn(usize) + Clone + Send + 'static,
    ) {
        let threads = (0..at_once).map(|worker| {
            let work = work.clone();
            self.env.blocking(move || (worker..count).step_by(at_once).for_each(work))
        });
        join_all(threads).await.into_iter().for_each(|thread| thread.unwrap());
    }

    /// Prints the medians of both, for one call in microseconds.
    async fn compare<A: Future, B: Future>(
        &self,
        name: &str,
        count: usize,
        ours: impl Fn() -> A,
        raw: impl Fn() -> B,
    ) {
        let (mut times_ours, mut times_raw) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let stopwatch = self.env.stopwatch();
            ours().await;
            times_ours.push(stopwatch.elapsed());
            let stopwatch = self.env.stopwatch();
            raw().await;
            times_raw.push(stopwatch.elapsed());
        }
        let median = |times: &mut Vec<std::time::Duration>| {
            times.sort_unstable();
            times[ROUNDS / 2].as_secs_f64() * 1e6 / count as f64
        };
        let (ours, raw) = (median(&mut times_ours), median(&mut times_raw));
        println!("{name:<44} {ours:>12.1} {raw:>12.1} {:>6.2}", ours / raw);
    }
}

/// Runs a work so many times, so many of them at once.
async fn each(count: usize, at_once: usize, work: impl AsyncFn(usize)) {
    let work = &work;
    join_all((0..at_once).map(|worker| async move {
        for number in (worker..count).step_by(at_once) {
            work(number).await;
        }
    }))
    .await;
}

fn key(number: usize) -> Key {
    Key::parse(format!("volume/0/entries/{number:016x}")).unwrap()
}

fn scattered(number: usize) -> usize {
    number.wrapping_mul(2_654_435_761) % 6400
}

fn noise(env: &Env, size: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(size + 4096);
    while bytes.len() < size {
        bytes.extend_from_slice(&env.random::<4096>());
    }
    bytes.truncate(size);
    Bytes::from(bytes)
}
