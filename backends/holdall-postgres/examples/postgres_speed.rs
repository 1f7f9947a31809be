//! Measures the backend beside the client library alone, on the same server, in turns.
//!
//! `cargo run --release -p holdall-postgres --example postgres_speed [location]`; without a
//! location it is the server that the tests share.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example that prints")]

use std::env::args;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use deadpool_postgres::{Manager, Object, Pool};
use futures::future::join_all;
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Env, Expect, Key, Location, Stopwatch,
};
use holdall_postgres::{Config, Postgres, Tls, Values};
use holdall_services::{POSTGRES, shared};
use tokio_postgres::NoTls;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;

const ROUNDS: usize = 5;
const CONNECTIONS: usize = 16;
const KEYS: usize = 2000;
const SEGMENT: usize = 16 << 20;
const BATCH: usize = 10_000;

#[tokio::main]
async fn main() {
    let env = holdall_runtime::env();
    let mut config = match args().nth(1) {
        Some(text) => Config::from_location(&Location::parse(&text).unwrap()).unwrap(),
        None => {
            let port = shared(&POSTGRES).unwrap().port;
            Config { port, ..Config::new("127.0.0.1", "holdall", "postgres") }
        }
    };
    config.tls = Tls::Off;
    config.max_connections = CONNECTIONS;
    config.schema = format!("speed-{}", u32::from_le_bytes(env.random()));
    let raw = Raw::open(&config).await;
    let ours = Postgres::open(config.clone(), &env).await.unwrap();
    println!("medians of {ROUNDS}, in turns; ratio above 1: the backend takes longer");
    println!("{:<44} {:>12} {:>12} {:>6}", "", "holdall ms", "raw ms", "ratio");
    small(&env, &ours, &raw).await;
    segments(&env, &ours, &raw).await;
    batches(&env, &ours, &raw).await;
    forms(&env, &config).await;
    raw.execute(&format!("DROP SCHEMA \"{}\" CASCADE; DROP TABLE {}", config.schema, raw.table))
        .await;
}

/// Values of 1 KiB, by one client and by 64.
async fn small(env: &Env, ours: &Postgres, raw: &Raw) {
    let value = noise(env, 1024);
    for at_once in [1, 64] {
        let count = if at_once == 1 { 100 } else { 1500 };
        compare(
            env,
            &format!("put of 1 KiB, {at_once} at once"),
            count,
            || {
                each(count, at_once, async |number| {
                    ours.put(&key(number), value.clone(), Expect::Any).await.unwrap();
                })
            },
            || each(count, at_once, async |number| raw.put(&key(number), &value).await),
        )
        .await;
    }
    for at_once in [1, 64] {
        let count = 3000;
        compare(
            env,
            &format!("get of 1 KiB, {at_once} at once"),
            count,
            || {
                each(count, at_once, async |number| {
                    assert!(ours.get_all(&key(number % 100)).await.unwrap().is_some());
                })
            },
            || {
                each(count, at_once, async |number| {
                    assert_eq!(raw.get(&key(number % 100)).await.len(), 1024);
                })
            },
        )
        .await;
    }
}

/// Values of 16 MiB, whole and in part.
async fn segments(env: &Env, ours: &Postgres, raw: &Raw) {
    let value = noise(env, SEGMENT);
    let segment = Key::parse("segment").unwrap();
    compare(
        env,
        "put of 16 MiB",
        4,
        || {
            each(4, 1, async |_| {
                ours.put(&segment, value.clone(), Expect::Any).await.unwrap();
            })
        },
        || each(4, 1, async |_| raw.put(&segment, &value).await),
    )
    .await;
    compare(
        env,
        "get of 16 MiB",
        8,
        || {
            each(8, 1, async |_| {
                assert_eq!(ours.get_all(&segment).await.unwrap().unwrap().value.len(), SEGMENT);
            })
        },
        || each(8, 1, async |_| assert_eq!(raw.get(&segment).await.len(), SEGMENT)),
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
        || each(8, 1, async |_| assert_eq!(raw.get(&segment).await.len(), SEGMENT)),
    )
    .await;
}

/// Many rows at once, against COPY into a table of its own and one statement that moves them.
async fn batches(env: &Env, ours: &Postgres, raw: &Raw) {
    let value = noise(env, 1024);
    let rows: Vec<(Key, Bytes)> = (0..BATCH).map(|number| (key(number), value.clone())).collect();
    for count in [100, 1000, BATCH] {
        let rows = &rows[..count];
        let mut batch = Batch::new();
        for (key, value) in rows {
            batch.put(key.clone(), value.clone(), Expect::Any);
        }
        compare(
            env,
            &format!("batch of {count} × 1 KiB (raw: COPY, move)"),
            1,
            || async {
                ours.apply(batch.clone()).await.unwrap();
            },
            || raw.copy(rows),
        )
        .await;
    }
}

/// The forms of large values beside each other; the first stands for the raw column.
async fn forms(env: &Env, config: &Config) {
    let value = noise(env, SEGMENT);
    let segment = Key::parse("form").unwrap();
    let open =
        async |values| Postgres::open(Config { values, ..config.clone() }, env).await.unwrap();
    let plain = open(Values::Bytea).await;
    for values in [Values::Chunks, Values::LargeObjects] {
        let other = open(values).await;
        let put = async |backend: &Postgres| {
            backend.put(&segment, value.clone(), Expect::Any).await.unwrap();
        };
        let name = format!("put of 16 MiB as {values:?} (raw: Bytea)");
        compare(env, &name, 1, || put(&other), || put(&plain)).await;
        for (name, end) in [("16 MiB", SEGMENT as u64), ("64 KiB", 65_536)] {
            let mut times = [Vec::new(), Vec::new()];
            for _ in 0..ROUNDS {
                for (backend, times) in [&other, &plain].into_iter().zip(&mut times) {
                    put(backend).await;
                    let range = ByteRange::new(0, end);
                    let watch = env.stopwatch();
                    backend.get(&segment, range).await.unwrap().unwrap();
                    times.push(millis(&watch));
                }
            }
            let [other, plain] = times.map(median);
            report(&format!("get of {name} as {values:?} (raw: Bytea)"), other, plain);
        }
    }
}

/// Runs both in turns, and prints what one call of each takes.
async fn compare<A: Future<Output = ()>, B: Future<Output = ()>>(
    env: &Env,
    name: &str,
    count: usize,
    ours: impl Fn() -> A,
    raw: impl Fn() -> B,
) {
    pin!(ours()).await;
    pin!(raw()).await;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let watch = env.stopwatch();
        ours().await;
        times[0].push(millis(&watch) / count as f64);
        let watch = env.stopwatch();
        raw().await;
        times[1].push(millis(&watch) / count as f64);
    }
    let [ours, raw] = times.map(median);
    report(name, ours, raw);
}

fn report(name: &str, ours: f64, raw: f64) {
    println!("{name:<44} {ours:>12.3} {raw:>12.3} {:>6.2}", ours / raw);
}

fn millis(watch: &Stopwatch) -> f64 {
    watch.elapsed().as_secs_f64() * 1000.0
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Does the work for each number, so many at once.
async fn each(count: usize, at_once: usize, work: impl AsyncFn(usize)) {
    let next = AtomicUsize::new(0);
    let worker = async || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            work(number).await;
        }
    };
    join_all((0..at_once).map(|_| worker())).await;
}

fn key(number: usize) -> Key {
    Key::parse(format!("key/{:06}", number % KEYS.max(BATCH))).unwrap()
}

/// Bytes that do not compress.
fn noise(env: &Env, length: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        bytes.extend_from_slice(&env.random::<4096>());
    }
    bytes.truncate(length);
    Bytes::from(bytes)
}

/// The client library alone: a table of keys and values, and prepared statements.
struct Raw {
    pool: Pool,
    table: String,
    put: String,
    get: String,
}

impl Raw {
    async fn open(config: &Config) -> Self {
        let mut options = tokio_postgres::Config::new();
        options.host(&config.host).port(config.port).user(&config.user).dbname(&config.database);
        if let Some(password) = &config.password {
            options.password(password);
        }
        let manager = Manager::new(options, NoTls);
        let pool = Pool::builder(manager).max_size(CONNECTIONS).build().unwrap();
        let table = format!("\"raw-{}\"", config.schema);
        let raw = Self {
            pool,
            put: format!(
                "INSERT INTO {table} VALUES ($1, $2) \
                ON CONFLICT (key) DO UPDATE SET value = excluded.value"
            ),
            get: format!("SELECT value FROM {table} WHERE key = $1"),
            table,
        };
        let table = &raw.table;
        raw.execute(&format!(
            "CREATE TABLE {table} (key bytea PRIMARY KEY, value bytea);
            ALTER TABLE {table} ALTER COLUMN value SET STORAGE EXTERNAL"
        ))
        .await;
        raw
    }

    async fn client(&self) -> Object {
        self.pool.get().await.unwrap()
    }

    async fn execute(&self, statements: &str) {
        self.client().await.batch_execute(statements).await.unwrap();
    }

    async fn put(&self, key: &Key, value: &Bytes) {
        let client = self.client().await;
        let statement = client.prepare_cached(&self.put).await.unwrap();
        client.execute(&statement, &[&key.as_bytes(), &&value[..]]).await.unwrap();
    }

    async fn get(&self, key: &Key) -> Vec<u8> {
        let client = self.client().await;
        let statement = client.prepare_cached(&self.get).await.unwrap();
        client.query_one(&statement, &[&key.as_bytes()]).await.unwrap().get(0)
    }

    async fn copy(&self, rows: &[(Key, Bytes)]) {
        let mut client = self.client().await;
        let transaction = client.transaction().await.unwrap();
        let table = "CREATE TEMPORARY TABLE copied (key bytea, value bytea) ON COMMIT DROP";
        transaction.batch_execute(table).await.unwrap();
        let sink = transaction.copy_in("COPY copied FROM STDIN BINARY").await.unwrap();
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &[Type::BYTEA, Type::BYTEA]));
        for (key, value) in rows {
            writer.as_mut().write(&[&key.as_bytes(), &&value[..]]).await.unwrap();
        }
        writer.finish().await.unwrap();
        let moved = format!(
            "INSERT INTO {} SELECT key, value FROM copied \
            ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            self.table
        );
        transaction.batch_execute(&moved).await.unwrap();
        transaction.commit().await.unwrap();
    }
}
