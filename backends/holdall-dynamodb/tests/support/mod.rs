//! Locations of their own on the shared server, and how the tests look behind the backend's back.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "tests")]

pub(crate) mod refusals;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials as Keys, Region};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use holdall_core::{Bytes, Error, Key};
use holdall_dynamodb::{Config, Credentials, DynamoDb};
use holdall_services::{DYNAMODB, shared};
use holdall_testkit::conformance::random_prefix;

pub(crate) type Item = HashMap<String, AttributeValue>;

/// A server at this port, with a table that all tests share.
pub(crate) fn at(port: u16) -> Config {
    Config {
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        region: Some("eu-west-1".to_owned()),
        credentials: Credentials::Keys {
            access_key_id: "holdall".to_owned(),
            secret_access_key: "hunter2".to_owned(),
            session_token: None,
        },
        // Where many tests share two processors, an answer may take its time.
        timeout: Duration::from_secs(60),
        ..Config::new("holdall")
    }
}

/// A table of its own on the shared server, that is not there yet.
pub(crate) fn fresh_table() -> Config {
    let config = fresh();
    Config { table: config.prefix.replace('/', "-"), prefix: String::new(), ..config }
}

/// A location of its own on the shared server.
pub(crate) fn fresh() -> Config {
    let prefix = random_prefix(&holdall_runtime::env()).trim_matches('/').to_owned();
    Config { prefix, ..at(shared(&DYNAMODB).unwrap().port) }
}

pub(crate) async fn open(config: &Config) -> Result<DynamoDb, Error> {
    DynamoDb::open(config.clone(), &holdall_runtime::env()).await
}

pub(crate) fn key(name: impl AsRef<str>) -> Key {
    Key::parse(name).unwrap()
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(length: usize, seed: u8) -> Bytes {
    (0..length).map(|at| (at / 251 + at) as u8 ^ seed).collect()
}

pub(crate) async fn pause(ms: u64) {
    holdall_runtime::env().sleep(Duration::from_millis(ms)).await;
}

/// The client library alone.
pub(crate) fn client(config: &Config) -> Client {
    let builder = aws_sdk_dynamodb::config::Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(config.endpoint.clone().unwrap())
        .credentials_provider(Keys::new("holdall", "hunter2", None, None, "test"));
    Client::from_conf(builder.build())
}

pub(crate) fn binary(bytes: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

pub(crate) fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// The table's keys of what lies at this place.
pub(crate) fn place(partition: &str, sort: &[u8]) -> Item {
    let partition = AttributeValue::S(partition.to_owned());
    HashMap::from([("p".to_owned(), partition), ("k".to_owned(), binary(sort))])
}

/// Writes an item behind the backend's back.
pub(crate) async fn put_raw(
    config: &Config,
    partition: &str,
    sort: &[u8],
    attributes: &[(&str, AttributeValue)],
) {
    let mut item = place(&format!("{}#{partition}", config.prefix), sort);
    item.extend(attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let put = client(config).put_item().table_name(&config.table).set_item(Some(item));
    put.send().await.unwrap();
}

/// Reads an item behind the backend's back.
pub(crate) async fn get_raw(config: &Config, partition: &str, sort: &[u8]) -> Option<Item> {
    let place = place(&format!("{}#{partition}", config.prefix), sort);
    let get = client(config).get_item().table_name(&config.table).set_key(Some(place));
    get.consistent_read(true).send().await.unwrap().item
}

/// How many items of large values, and how many outcomes of large batches, the location has. It
/// goes through the whole table, so that should be its own.
pub(crate) async fn left(config: &Config) -> (usize, usize) {
    let (mut parts, mut outcomes) = (0, 0);
    let mut pages = client(config)
        .scan()
        .table_name(&config.table)
        .projection_expression("p, k")
        .consistent_read(true)
        .into_paginator()
        .items()
        .send();
    let (of_parts, of_meta) = (format!("{}#v", config.prefix), format!("{}#m", config.prefix));
    while let Some(item) = pages.next().await {
        let item = item.unwrap();
        let partition = item["p"].as_s().unwrap();
        parts += usize::from(partition.starts_with(&of_parts));
        let sort = item["k"].as_b().unwrap().as_ref();
        outcomes += usize::from(*partition == of_meta && sort.starts_with(b"t"));
    }
    (parts, outcomes)
}
