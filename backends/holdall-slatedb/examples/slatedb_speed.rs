//! Measures the backend beside the client library alone, in turns: in directories, and without
//! `--json` also on S3 with 50 ms a request.
//!
//! `cargo run --release -p holdall-slatedb --example slatedb_speed [--json]`. The library alone
//! begins a flush by itself at the flush interval, or is told to by each writer where there is no
//! interval.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example that prints")]

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use holdall_core::{Backend, BackendExt, Bytes, Env, Expect, Key, Location, async_trait};
use holdall_services::{MOTO, Proxy, Trouble, shared};
use holdall_slatedb::{Config, SlateDb};
use holdall_testkit::speed::{self, Contender, Outcome};
use slatedb::object_store::ObjectStore;
use slatedb::object_store::aws::AmazonS3Builder;
use slatedb::object_store::local::LocalFileSystem;
use slatedb::{Db, Settings};

const ROUNDS: usize = 5;
const KEYS: usize = 256;
const REQUEST: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() {
    let env = holdall_runtime::env();
    let json = std::env::args().any(|argument| argument == "--json");
    let (folder, raw_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ours = SlateDb::open(Config::directory(folder.path()), &env).await.unwrap();
    let client = LocalFileSystem::new_with_prefix(raw_folder.path()).unwrap().with_fsync(true);
    let raw = Raw::open(Arc::new(client), "", None).await;
    let others: [(&str, &dyn Contender); 1] = [("slatedb", &raw)];
    print!("{}", speed::compare(&env, Arc::new(ours), &others, json).await);
    if json {
        return;
    }
    println!("ratio above 1: the backend takes longer");
    println!("{:<44} {:>12} {:>12} {:>6}", "", "holdall ms", "raw ms", "ratio");
    let proxy = Proxy::new(shared(&MOTO).unwrap().port).unwrap();
    for interval in [Duration::from_millis(100), Duration::ZERO] {
        let run = u32::from_le_bytes(env.random());
        let location = format!(
            "slatedb+s3://holdall/speed-{run}?endpoint=http://127.0.0.1:{}&access_key_id=any\
             &secret_access_key=any&flush_interval={}ms",
            proxy.port,
            interval.as_millis()
        );
        let config = Config::from_location(&Location::parse(&location).unwrap()).unwrap();
        proxy.set(Trouble::None);
        let ours = SlateDb::open(config, &env).await.unwrap();
        let client = AmazonS3Builder::new()
            .with_bucket_name("holdall")
            .with_endpoint(format!("http://127.0.0.1:{}", proxy.port))
            .with_allow_http(true)
            .with_access_key_id("any")
            .with_secret_access_key("any")
            .with_region("us-east-1")
            .build()
            .unwrap();
        let interval = Some(interval).filter(|interval| !interval.is_zero());
        let raw = Raw::open(Arc::new(client), &format!("raw-{run}"), interval).await;
        proxy.set(Trouble::Delay(REQUEST));
        let place = match interval {
            Some(interval) => format!("S3 50 ms, flush {} ms", interval.as_millis()),
            None => "S3 50 ms, flush at once".to_owned(),
        };
        for (at_once, count) in [(1, 20), (64, 640)] {
            measure(&env, &place, &ours, &raw, at_once, count).await;
        }
    }
}

/// The library alone.
struct Raw {
    db: Db,
    flushes: bool,
}

impl Raw {
    async fn open(client: Arc<dyn ObjectStore>, path: &str, interval: Option<Duration>) -> Self {
        let settings = Settings { flush_interval: interval, ..Settings::default() };
        let db = Db::builder(path.to_owned(), client).with_settings(settings).build().await;
        Self { db: db.unwrap(), flushes: interval.is_none() }
    }

    async fn put(&self, name: String, value: Bytes) {
        let written = self.db.put_bytes(Bytes::from(name), value).await.unwrap();
        if self.flushes {
            self.db.flush().await.unwrap();
        }
        written.await_durable().await.unwrap();
    }
}

#[async_trait]
impl Contender for Raw {
    async fn put(&self, key: &str, value: Bytes) -> Outcome<()> {
        Self::put(self, key.to_owned(), value).await;
        Ok(())
    }

    async fn get(&self, key: &str, _: Option<Range<u64>>) -> Outcome<usize> {
        Ok(self.db.get(key).await?.ok_or("the value is missing")?.len())
    }
}

async fn measure(env: &Env, place: &str, ours: &SlateDb, raw: &Raw, at_once: usize, count: usize) {
    let value = Bytes::from(vec![7_u8; 1 << 10]);
    let name = |number: usize| format!("k{}", number % KEYS);
    let key = |number| Key::parse(name(number)).unwrap();
    let put_ours = async |number| {
        drop(ours.put(&key(number), value.clone(), Expect::Any).await.unwrap());
    };
    let put_raw = async |number| raw.put(name(number), value.clone()).await;
    let get_ours = async |number| {
        assert_eq!(ours.get_all(&key(number)).await.unwrap().unwrap().size, 1 << 10);
    };
    let get_raw = async |number| {
        assert_eq!(raw.db.get(name(number)).await.unwrap().unwrap().len(), 1 << 10);
    };
    let title = |what: &str| format!("{what} 1 KiB, {at_once} at once, {place}");
    let work = Work { at_once, count };
    compare(env, &title("put"), || each(work, put_ours), || each(work, put_raw)).await;
    compare(env, &title("get"), || each(work, get_ours), || each(work, get_raw)).await;
}

#[derive(Clone, Copy)]
struct Work {
    at_once: usize,
    count: usize,
}

async fn each(work: Work, call: impl AsyncFn(usize)) {
    stream::iter(0..work.count)
        .map(|number| call(number))
        .buffer_unordered(work.at_once)
        .collect::<Vec<()>>()
        .await;
}

async fn compare<A: Future<Output = ()>, B: Future<Output = ()>>(
    env: &Env,
    title: &str,
    ours: impl Fn() -> A,
    raw: impl Fn() -> B,
) {
    // Both once unmeasured: the keys are there.
    ours().await;
    raw().await;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let watch = env.stopwatch();
        ours().await;
        first.push(watch.elapsed());
        let watch = env.stopwatch();
        raw().await;
        second.push(watch.elapsed());
    }
    let (first, second) = (median(first), median(second));
    let ratio = first.as_secs_f64() / second.as_secs_f64();
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("{title:<44} {:>12.1} {:>12.1} {ratio:>6.2}", millis(first), millis(second));
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
