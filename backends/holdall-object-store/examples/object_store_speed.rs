//! Measures the backend beside the client library alone, on the same server, in turns.
//!
//! `cargo run --release -p holdall-object-store --example object_store_speed`; the server is
//! rclone's, the quickest of those at hand.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example that prints")]

use std::future::Future;
use std::time::Duration;

use futures::{StreamExt, stream};
use holdall_core::{Backend, BackendExt, Bytes, Env, Expect, Key, Location};
use holdall_object_store::{Config, ObjectBackend};
use holdall_services::{RCLONE, shared};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

const ROUNDS: usize = 5;
const KEYS: usize = 256;
const SEGMENT: usize = 16 << 20;

#[tokio::main]
async fn main() {
    let env = holdall_runtime::env();
    let port = shared(&RCLONE).unwrap().port;
    let run = u32::from_le_bytes(env.random());
    let location = format!(
        "s3://holdall/speed-{run}?endpoint=http://127.0.0.1:{port}&access_key_id=holdallkey\
         &secret_access_key=holdallsecret&names=flat&part_size=64MiB"
    );
    let config = Config::from_location(&Location::parse(&location).unwrap()).unwrap();
    let ours = ObjectBackend::open(config, &env).await.unwrap();
    let raw = AmazonS3Builder::new()
        .with_bucket_name("holdall")
        .with_endpoint(format!("http://127.0.0.1:{port}"))
        .with_allow_http(true)
        .with_access_key_id("holdallkey")
        .with_secret_access_key("holdallsecret")
        .with_region("us-east-1")
        .build()
        .unwrap();
    println!("medians of {ROUNDS}, in turns; ratio above 1: the backend takes longer");
    println!("{:<28} {:>12} {:>12} {:>6}", "", "holdall ms", "raw ms", "ratio");
    for at_once in [1, 64] {
        let count = if at_once == 1 { 200 } else { 2000 };
        measure(&env, &ours, &raw, run, Work { name: "1 KiB", bytes: 1 << 10, at_once, count })
            .await;
    }
    let work = Work { name: "16 MiB", bytes: SEGMENT, at_once: 1, count: 8 };
    measure(&env, &ours, &raw, run, work).await;
    let keys = ours.list_all("", false).await.unwrap();
    for row in keys {
        ours.delete(&row.key, Expect::Any).await.unwrap();
    }
}

struct Work {
    name: &'static str,
    bytes: usize,
    at_once: usize,
    count: usize,
}

async fn measure(env: &Env, ours: &ObjectBackend, raw: &AmazonS3, run: u32, work: Work) {
    let value = Bytes::from(vec![7_u8; work.bytes]);
    let name = |number: usize| format!("{}-{}", work.bytes, number % KEYS);
    let key = |number| Key::parse(name(number)).unwrap();
    let path = |number| Path::from(format!("raw-{run}/{}", name(number)));
    let title = |what: &str| format!("{what} {}, {} at once", work.name, work.at_once);
    let put_ours =
        async |number| drop(ours.put(&key(number), value.clone(), Expect::Any).await.unwrap());
    let put_raw = async |number| {
        drop(raw.put(&path(number), PutPayload::from(value.clone())).await.unwrap());
    };
    compare(env, &title("put"), || each(&work, put_ours), || each(&work, put_raw)).await;
    let get_ours = async |number| {
        let found = ours.get_all(&key(number)).await.unwrap().unwrap();
        assert_eq!(found.value.len(), work.bytes);
    };
    let get_raw = async |number| {
        let found = raw.get(&path(number)).await.unwrap().bytes().await.unwrap();
        assert_eq!(found.len(), work.bytes);
    };
    compare(env, &title("get"), || each(&work, get_ours), || each(&work, get_raw)).await;
}

async fn each(work: &Work, call: impl AsyncFn(usize)) {
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
    // Both once unmeasured: connections are made, and the keys are there.
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
    println!("{title:<28} {:>12.1} {:>12.1} {ratio:>6.2}", millis(first), millis(second));
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
