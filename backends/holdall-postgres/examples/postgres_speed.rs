//! Measures the backend beside the client library alone, on the same server, in turns.
//!
//! `cargo run --release -p holdall-postgres --example postgres_speed [location]`; without a
//! location it is the server that the tests share.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example that prints")]

use std::env::args;
use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use deadpool_postgres::{Manager, Object, Pool};
use holdall_core::{
    Backend, Batch, ByteRange, Bytes, Env, Expect, Key, Location, Stopwatch, async_trait,
};
use holdall_postgres::{Config, Postgres, Tls, Values};
use holdall_services::{POSTGRES, shared};
use holdall_testkit::speed::{self, Contender, Outcome};
use tokio_postgres::NoTls;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};

const ROUNDS: usize = 5;
const CONNECTIONS: usize = 16;
const SEGMENT: usize = 16 << 20;
const BATCH: usize = 10_000;

#[tokio::main]
async fn main() -> Outcome<()> {
    let env = holdall_runtime::env();
    let (flags, locations): (Vec<String>, Vec<String>) =
        args().skip(1).partition(|argument| argument == "--json");
    let json = !flags.is_empty();
    let mut config = match locations.first() {
        Some(text) => Config::from_location(&Location::parse(text)?)?,
        None => {
            let port = shared(&POSTGRES)?.port;
            Config { port, ..Config::new("127.0.0.1", "holdall", "postgres") }
        }
    };
    config.tls = Tls::Off;
    config.max_connections = CONNECTIONS;
    config.schema = format!("speed-{}", u32::from_le_bytes(env.random()));
    let raw = Raw::open(&config).await?;
    let ours = Arc::new(Postgres::open(config.clone(), &env).await?);
    let backend: Arc<dyn Backend> = Arc::<Postgres>::clone(&ours);
    let others: [(&str, &dyn Contender); 1] = [("tokio-postgres", &raw)];
    print!("{}", speed::compare(&env, backend, &others, json).await);
    if !json {
        println!("ratio above 1: the backend takes longer");
        println!("{:<44} {:>12} {:>12} {:>6}", "", "holdall ms", "raw ms", "ratio");
        batches(&env, &ours, &raw).await;
        forms(&env, &config).await;
    }
    raw.execute(&format!("DROP SCHEMA \"{}\" CASCADE; DROP TABLE {}", config.schema, raw.table))
        .await
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

fn key(number: usize) -> Key {
    Key::parse(format!("key/{:06}", number % BATCH)).unwrap()
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
}

#[async_trait]
impl Contender for Raw {
    async fn put(&self, key: &str, value: Bytes) -> Outcome<()> {
        let client = self.client().await?;
        let put = format!(
            "INSERT INTO {} VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            self.table
        );
        let statement = client.prepare_cached(&put).await?;
        client.execute(&statement, &[&key.as_bytes(), &&value[..]]).await?;
        Ok(())
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Outcome<usize> {
        let client = self.client().await?;
        let found: Vec<u8> = match range {
            None => {
                let get = format!("SELECT value FROM {} WHERE key = $1", self.table);
                let statement = client.prepare_cached(&get).await?;
                client.query_one(&statement, &[&key.as_bytes()]).await?.try_get(0)?
            }
            Some(range) => {
                let part =
                    format!("SELECT substr(value, $2, $3) FROM {} WHERE key = $1", self.table);
                let statement = client.prepare_cached(&part).await?;
                let (start, length) = (range.start as i32 + 1, (range.end - range.start) as i32);
                let asked: [&(dyn ToSql + Sync); 3] = [&key.as_bytes(), &start, &length];
                client.query_one(&statement, &asked).await?.try_get(0)?
            }
        };
        Ok(found.len())
    }
}

impl Raw {
    async fn open(config: &Config) -> Outcome<Self> {
        let mut options = tokio_postgres::Config::new();
        options.host(&config.host).port(config.port).user(&config.user).dbname(&config.database);
        if let Some(password) = &config.password {
            options.password(password);
        }
        let manager = Manager::new(options, NoTls);
        let pool = Pool::builder(manager).max_size(CONNECTIONS).build()?;
        let raw = Self { pool, table: format!("\"raw-{}\"", config.schema) };
        let table = &raw.table;
        raw.execute(&format!(
            "CREATE TABLE {table} (key bytea PRIMARY KEY, value bytea);
            ALTER TABLE {table} ALTER COLUMN value SET STORAGE EXTERNAL"
        ))
        .await?;
        Ok(raw)
    }

    async fn client(&self) -> Outcome<Object> {
        Ok(self.pool.get().await?)
    }

    async fn execute(&self, statements: &str) -> Outcome<()> {
        Ok(self.client().await?.batch_execute(statements).await?)
    }

    async fn copy(&self, rows: &[(Key, Bytes)]) {
        let mut client = self.client().await.unwrap();
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
