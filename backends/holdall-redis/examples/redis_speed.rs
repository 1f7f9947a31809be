//! Measures the backend beside the client library alone, on the same server, in turns.
//!
//! `cargo run --release -p holdall-redis --example redis_speed [location]`; without a location it
//! is the server that the tests share.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example that prints")]

use std::env::args;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use holdall_core::{Backend, BackendExt, ByteRange, Bytes, Env, Expect, Key, Location};
use holdall_redis::{Config, Redis};
use holdall_services::{REDIS, shared};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, cmd, pipe};

const ROUNDS: usize = 5;
const SEGMENT: usize = 16 << 20;

#[tokio::main]
async fn main() {
    let env = holdall_runtime::env();
    let mut config = match args().nth(1) {
        Some(text) => Config::from_location(&Location::parse(&text).unwrap()).unwrap(),
        None => Config::new("127.0.0.1", shared(&REDIS).unwrap().port),
    };
    config.prefix = format!("speed-{:08x}", u32::from_le_bytes(env.random()));
    let raw = Raw::open(&config).await;
    let ours = Redis::open(config, &env).await.unwrap();
    println!("medians of {ROUNDS}, in turns; ratio above 1: the backend takes longer");
    println!("{:<44} {:>12} {:>12} {:>6}", "", "holdall ms", "raw ms", "ratio");
    puts(&env, &ours, &raw).await;
    gets(&env, &ours, &raw).await;
    segments(&env, &ours, &raw).await;
    for row in ours.list_all("", false).await.unwrap() {
        ours.delete(&row.key, Expect::Any).await.unwrap();
    }
    raw.clean().await;
}

/// Values of 1 KiB written over others, by one caller and by 64.
async fn puts(env: &Env, ours: &Redis, raw: &Raw) {
    let value = noise(env, 1024);
    for at_once in [1, 64] {
        let count = if at_once == 1 { 400 } else { 10_000 };
        let mine = async |number| {
            ours.put(&key(number), value.clone(), Expect::Any).await.unwrap();
        };
        let name = format!("put of 1 KiB, {at_once} at once (raw: SET)");
        let theirs = async |number| raw.set(&raw.key(number), &value).await;
        compare(env, &name, count, at_once, mine, theirs).await;
        let name = format!("put of 1 KiB, {at_once} at once (raw: index too)");
        let theirs = async |number| raw.set_and_index(number, &value).await;
        compare(env, &name, count, at_once, mine, theirs).await;
    }
}

/// The same values read.
async fn gets(env: &Env, ours: &Redis, raw: &Raw) {
    for at_once in [1, 64] {
        let count = if at_once == 1 { 2000 } else { 20_000 };
        let mine = async |number| {
            assert_eq!(ours.get_all(&key(number % 100)).await.unwrap().unwrap().size, 1024);
        };
        let theirs = async |number| {
            assert_eq!(raw.get(&raw.key(number % 100)).await.len(), 1024);
        };
        compare(env, &format!("get of 1 KiB, {at_once} at once"), count, at_once, mine, theirs)
            .await;
    }
}

/// Values of 16 MiB, whole and in part.
async fn segments(env: &Env, ours: &Redis, raw: &Raw) {
    let value = noise(env, SEGMENT);
    let (segment, name) = (Key::parse("segment").unwrap(), raw.named("segment"));
    let mine = async |_| drop(ours.put(&segment, value.clone(), Expect::Any).await.unwrap());
    let theirs = async |_| raw.set(&name, &value).await;
    compare(env, "put of 16 MiB", 8, 1, mine, theirs).await;
    let mine = async |_| {
        assert_eq!(ours.get_all(&segment).await.unwrap().unwrap().value.len(), SEGMENT);
    };
    let theirs = async |_| assert_eq!(raw.get(&name).await.len(), SEGMENT);
    compare(env, "get of 16 MiB", 16, 1, mine, theirs).await;
    let mine = async |number| {
        let start = number as u64 * 10_007;
        let range = ByteRange::new(start, start + 65_536);
        assert_eq!(ours.get(&segment, range).await.unwrap().unwrap().value.len(), 65_536);
    };
    let theirs = async |number| raw.part(&name, number * 10_007).await;
    compare(env, "64 KiB out of 16 MiB (raw: GETRANGE)", 500, 1, mine, theirs).await;
}

/// Runs both in turns and prints the medians of their times.
async fn compare(
    env: &Env,
    name: &str,
    count: usize,
    at_once: usize,
    ours: impl AsyncFn(usize),
    raw: impl AsyncFn(usize),
) {
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        mine.push(each(env, count, at_once, &ours).await);
        theirs.push(each(env, count, at_once, &raw).await);
    }
    let (mine, theirs) = (median(mine), median(theirs));
    println!("{name:<44} {mine:>12.1} {theirs:>12.1} {:>6.2}", mine / theirs);
}

/// How many milliseconds so many calls take, with so many at once.
async fn each(env: &Env, count: usize, at_once: usize, call: &impl AsyncFn(usize)) -> f64 {
    let watch = env.stopwatch();
    let next = AtomicUsize::new(0);
    let caller = async || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            call(number).await;
        }
    };
    join_all((0..at_once).map(|_| caller())).await;
    watch.elapsed().as_secs_f64() * 1000.0
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn key(number: usize) -> Key {
    Key::parse(format!("key/{:06}", number % 1000)).unwrap()
}

fn noise(env: &Env, length: usize) -> Bytes {
    let blocks = std::iter::repeat_with(|| env.random::<64>());
    blocks.take(length.div_ceil(64)).flatten().take(length).collect()
}

/// The client library alone.
struct Raw {
    connection: MultiplexedConnection,
    prefix: String,
}

impl Raw {
    async fn open(config: &Config) -> Self {
        let (host, port) = &config.servers[0];
        let client = Client::open(format!("redis://{host}:{port}/{}", config.database)).unwrap();
        let settings = AsyncConnectionConfig::new()
            .set_response_timeout(Some(config.timeout))
            .set_pipeline_buffer_size(256);
        let connection = client.get_multiplexed_async_connection_with_config(&settings).await;
        Self { connection: connection.unwrap(), prefix: format!("raw-{}", config.prefix) }
    }

    fn key(&self, number: usize) -> String {
        format!("{}:v:key/{:06}", self.prefix, number % 1000)
    }

    fn named(&self, name: &str) -> String {
        format!("{}:v:{name}", self.prefix)
    }

    async fn set(&self, key: &str, value: &[u8]) {
        let mut connection = self.connection.clone();
        let () = cmd("SET").arg(key).arg(value).query_async(&mut connection).await.unwrap();
    }

    async fn set_and_index(&self, number: usize, value: &[u8]) {
        let mut calls = pipe();
        let key = self.key(number);
        calls.atomic().cmd("SET").arg(&key).arg(value);
        calls.cmd("ZADD").arg(format!("{}:index", self.prefix)).arg(0).arg(&key);
        let mut connection = self.connection.clone();
        let _: (String, i64) = calls.query_async(&mut connection).await.unwrap();
    }

    async fn get(&self, key: &str) -> Vec<u8> {
        cmd("GET").arg(key).query_async(&mut self.connection.clone()).await.unwrap()
    }

    async fn part(&self, key: &str, start: usize) {
        let mut call = cmd("GETRANGE");
        call.arg(key).arg(start).arg(start + 65_535);
        let part: Vec<u8> = call.query_async(&mut self.connection.clone()).await.unwrap();
        assert_eq!(part.len(), 65_536);
    }

    async fn clean(&self) {
        let mut call = cmd("DEL");
        call.arg(self.named("segment")).arg(format!("{}:index", self.prefix));
        for number in 0..1000 {
            call.arg(self.key(number));
        }
        let _: i64 = call.query_async(&mut self.connection.clone()).await.unwrap();
    }
}
