//! Measures the backend beside the client library alone, on the same server, in turns.
//!
//! `cargo run --release -p holdall-dynamodb --example dynamodb_speed [location]`; without a
//! location it is the server that the tests share.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example that prints")]

use std::env::args;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials as Keys, Region};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::join_all;
use holdall_core::{Backend, BackendExt, Batch, Bytes, Env, Expect, Key, Location};
use holdall_dynamodb::{Config, Credentials, DynamoDb};
use holdall_services::{DYNAMODB, shared};

const ROUNDS: usize = 5;
/// A condition like those that the backend's writes have.
const CONDITION: &str = "attribute_not_exists(t) AND attribute_not_exists(w)";

#[tokio::main]
async fn main() {
    let env = holdall_runtime::env();
    let mut config = match args().nth(1) {
        Some(text) => Config::from_location(&Location::parse(&text).unwrap()).unwrap(),
        None => local(),
    };
    config.prefix = format!("speed-{:08x}", u32::from_le_bytes(env.random()));
    let raw = Raw::open(&config).await;
    let ours = DynamoDb::open(config, &env).await.unwrap();
    println!("medians of {ROUNDS}, in turns; ratio above 1: the backend takes longer");
    println!("{:<52} {:>12} {:>12} {:>6}", "", "holdall ms", "raw ms", "ratio");
    let value = noise(&env, 1024);
    for at_once in [1, 64] {
        let count = if at_once == 1 { 200 } else { 2000 };
        let mine = async |number| {
            ours.put(&key(number), value.clone(), Expect::Any).await.unwrap();
        };
        for (condition, how) in [("", "PutItem"), (CONDITION, "with a condition")] {
            let theirs = async |number| raw.put(number, &value, condition).await;
            let name = format!("put of 1 KiB, {at_once} at once (raw: {how})");
            compare(&env, &name, count, at_once, mine, theirs).await;
        }
    }
    for at_once in [1, 64] {
        let count = if at_once == 1 { 200 } else { 2000 };
        let mine = async |number| {
            assert_eq!(ours.get_all(&key(number % 100)).await.unwrap().unwrap().size, 1024);
        };
        let theirs = async |number| assert_eq!(raw.get(number % 100).await, 1024);
        compare(&env, &format!("get of 1 KiB, {at_once} at once"), count, at_once, mine, theirs)
            .await;
    }
    for steps in [50, 500] {
        let mine = async |_| {
            let mut batch = Batch::new();
            for number in 0..steps {
                batch.put(key(number), value.clone(), Expect::Any);
            }
            ours.apply(batch).await.unwrap();
        };
        let theirs = async |_| {
            for number in 0..steps {
                raw.put(number, &value, "").await;
            }
        };
        let name = format!("batch of {steps} of 1 KiB (raw: puts)");
        compare(&env, &name, 4, 1, mine, theirs).await;
    }
}

fn local() -> Config {
    let port = shared(&DYNAMODB).unwrap().port;
    Config {
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        region: Some("eu-west-1".to_owned()),
        credentials: Credentials::Keys {
            access_key_id: "holdall".to_owned(),
            secret_access_key: "holdall".to_owned(),
            session_token: None,
        },
        ..Config::new("holdall")
    }
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
    println!("{name:<52} {mine:>12.1} {theirs:>12.1} {:>6.2}", mine / theirs);
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

/// The client library alone, which syncs as little and as much: the server is the same.
struct Raw {
    client: Client,
    table: String,
    partition: String,
}

impl Raw {
    async fn open(config: &Config) -> Self {
        let mut builder = match &config.credentials {
            Credentials::Keys { access_key_id, secret_access_key, session_token } => {
                let (id, secret) = (access_key_id.clone(), secret_access_key.clone());
                let keys = Keys::new(id, secret, session_token.clone(), None, "location");
                let region = config.region.clone().map(Region::new);
                aws_sdk_dynamodb::config::Builder::new()
                    .behavior_version(BehaviorVersion::latest())
                    .credentials_provider(keys)
                    .region(region)
            }
            Credentials::Surroundings => {
                let loader = aws_config::defaults(BehaviorVersion::latest());
                aws_sdk_dynamodb::config::Builder::from(&loader.load().await)
            }
        };
        builder.set_endpoint_url(config.endpoint.clone());
        let client = Client::from_conf(builder.build());
        Self { client, table: config.table.clone(), partition: format!("{}#raw", config.prefix) }
    }

    fn sort(number: usize) -> AttributeValue {
        AttributeValue::B(Blob::new(format!("key/{:06}", number % 1000)))
    }

    async fn put(&self, number: usize, value: &[u8], condition: &str) {
        let put = self.client.put_item().table_name(&self.table).item("k", Self::sort(number));
        let put = put.item("p", AttributeValue::S(self.partition.clone()));
        let condition = Some(condition.to_owned()).filter(|condition| !condition.is_empty());
        let put = put.item("v", AttributeValue::B(Blob::new(value)));
        put.set_condition_expression(condition).send().await.unwrap();
    }

    async fn get(&self, number: usize) -> usize {
        let get = self.client.get_item().table_name(&self.table).key("k", Self::sort(number));
        let get = get.key("p", AttributeValue::S(self.partition.clone())).consistent_read(true);
        let item = get.send().await.unwrap().item.unwrap();
        item["v"].as_b().unwrap().as_ref().len()
    }
}
