//! Measures the backend beside rusqlite alone, with the same settings on the same disk, in turns.
//!
//! `cargo run --release -p holdall-sqlite --example sqlite_speed [folder]`; without a folder it is
//! a temporary one.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example that prints")]

use std::cell::Cell;
use std::future::Future;
use std::path::Path;

use futures::future::join_all;
use holdall_core::{Backend, BackendExt, ByteRange, Bytes, Env, Expect, Key};
use holdall_sqlite::{Config, Sqlite};
use rusqlite::Connection;

const ROUNDS: usize = 5;
const SEGMENT: usize = 16 << 20;

#[tokio::main]
async fn main() {
    let env = holdall_runtime::env();
    let folder = match std::env::args().nth(1) {
        Some(folder) => tempfile::tempdir_in(folder).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let ours = Sqlite::open(Config::new(folder.path().join("ours.db")), &env).await.unwrap();
    let raw = Raw::open(&folder.path().join("raw.db"));
    println!("medians of {ROUNDS}, in turns; ratio above 1: the backend takes longer");
    println!("{:<44} {:>12} {:>12} {:>6}", "", "holdall us", "raw us", "ratio");
    small(&env, &ours, &raw).await;
    segments(&env, &ours, &raw).await;
}

/// The shortest thing that keeps values in SQLite: one table, one statement a call.
struct Raw(Connection);

impl Raw {
    fn open(path: &Path) -> Self {
        let connection = Connection::open(path).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = wal; PRAGMA synchronous = full; PRAGMA cache_size = -16384;
                CREATE TABLE raw (key TEXT PRIMARY KEY, value BLOB NOT NULL)",
            )
            .unwrap();
        Self(connection)
    }

    fn put(&self, key: &Key, value: &[u8]) {
        let put = "INSERT INTO raw VALUES (?1, ?2)
            ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        self.0.prepare_cached(put).unwrap().execute((key.as_str(), value)).unwrap();
    }

    fn get(&self, key: &Key) -> Vec<u8> {
        let mut get = self.0.prepare_cached("SELECT value FROM raw WHERE key = ?1").unwrap();
        get.query_row([key.as_str()], |row| row.get(0)).unwrap()
    }
}

/// Values of 1 KiB, by one caller and by 64. Each put has another value than the one before it
/// under its key: SQLite does not write what is there already.
async fn small(env: &Env, ours: &Sqlite, raw: &Raw) {
    let (values, turn) = (noise(env, 1 << 20), Cell::new(0));
    let value = || {
        turn.set(turn.get() + 1);
        let start = turn.get() * 31 % ((1 << 20) - 1024);
        values.slice(start..start + 1024)
    };
    for at_once in [1, 64] {
        let count = if at_once == 1 { 200 } else { 3200 };
        compare(
            env,
            &format!("put of 1 KiB, {at_once} at once"),
            count,
            || {
                each(count, at_once, async |number| {
                    ours.put(&key(number), value(), Expect::Any).await.unwrap();
                })
            },
            || each(count, at_once, async |number| raw.put(&key(number), &value())),
        )
        .await;
    }
    for at_once in [1, 64] {
        let count = 20_000;
        compare(
            env,
            &format!("get of 1 KiB, {at_once} at once"),
            count,
            || {
                each(count, at_once, async |number| {
                    let found = ours.get_all(&key(scattered(number))).await.unwrap().unwrap();
                    assert_eq!(found.value.len(), 1024);
                })
            },
            || {
                each(count, at_once, async |number| {
                    assert_eq!(raw.get(&key(scattered(number))).len(), 1024);
                })
            },
        )
        .await;
    }
}

/// Values of 16 MiB, whole and in part.
async fn segments(env: &Env, ours: &Sqlite, raw: &Raw) {
    let (values, turn) = (noise(env, 2 * SEGMENT), Cell::new(0));
    let value = || {
        turn.set(turn.get() + 1);
        let start = turn.get() * 4099;
        values.slice(start..start + SEGMENT)
    };
    let segment = Key::parse("segment").unwrap();
    compare(
        env,
        "put of 16 MiB",
        4,
        || {
            each(4, 1, async |_| {
                ours.put(&segment, value(), Expect::Any).await.unwrap();
            })
        },
        || each(4, 1, async |_| raw.put(&segment, &value())),
    )
    .await;
    compare(
        env,
        "get of 16 MiB",
        8,
        || {
            each(8, 1, async |_| {
                let found = ours.get_all(&segment).await.unwrap().unwrap();
                assert_eq!(found.value.len(), SEGMENT);
            })
        },
        || each(8, 1, async |_| assert_eq!(raw.get(&segment).len(), SEGMENT)),
    )
    .await;
    compare(
        env,
        "64 KiB out of 16 MiB (raw: reads all)",
        8,
        || {
            each(8, 1, async |number| {
                let start = number as u64 * 1_000_003;
                let range = ByteRange::new(start, start + 65_536);
                assert_eq!(ours.get(&segment, range).await.unwrap().unwrap().value.len(), 65_536);
            })
        },
        || each(8, 1, async |_| assert_eq!(raw.get(&segment).len(), SEGMENT)),
    )
    .await;
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

/// Prints the medians of both, for one call in microseconds.
async fn compare<A: Future, B: Future>(
    env: &Env,
    name: &str,
    count: usize,
    ours: impl Fn() -> A,
    raw: impl Fn() -> B,
) {
    let (mut times_ours, mut times_raw) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let stopwatch = env.stopwatch();
        ours().await;
        times_ours.push(stopwatch.elapsed());
        let stopwatch = env.stopwatch();
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

fn key(number: usize) -> Key {
    Key::parse(format!("volume/0/entries/{number:016x}")).unwrap()
}

fn scattered(number: usize) -> usize {
    number.wrapping_mul(2_654_435_761) % 3200
}

/// Bytes that do not compress.
fn noise(env: &Env, size: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(size + 4096);
    while bytes.len() < size {
        bytes.extend_from_slice(&env.random::<4096>());
    }
    bytes.truncate(size);
    Bytes::from(bytes)
}
