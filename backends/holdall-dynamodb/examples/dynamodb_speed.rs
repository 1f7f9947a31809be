//! Measures the backend beside the client library alone, on the same server, in turns: plain
//! puts, and puts with a condition like those that the backend's writes have.
//!
//! `cargo run --release -p holdall-dynamodb --example dynamodb_speed [location] [--json]`; without
//! a location it is the server that the tests share. The library alone takes values of 400 KiB.
#![allow(clippy::print_stdout, reason = "an example that prints")]

use std::ops::Range;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials as Keys, Region};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use holdall_core::{Bytes, Location, async_trait};
use holdall_dynamodb::{Config, Credentials, DynamoDb};
use holdall_services::{DYNAMODB, shared};
use holdall_testkit::speed::{Contender, Outcome, compare};

/// A condition like those that the backend's writes have.
const CONDITION: &str = "attribute_not_exists(t) AND attribute_not_exists(w)";

#[tokio::main]
async fn main() -> Outcome<()> {
    let env = holdall_runtime::env();
    let (flags, locations): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument == "--json");
    let mut config = match locations.first() {
        Some(text) => Config::from_location(&Location::parse(text)?)?,
        None => local()?,
    };
    config.prefix = format!("speed-{:08x}", u32::from_le_bytes(env.random()));
    let plain = Raw::open(&config, None).await;
    let conditional = Raw::open(&config, Some(CONDITION)).await;
    let ours = DynamoDb::open(config, &env).await?;
    let others: [(&str, &dyn Contender); 2] =
        [("PutItem", &plain), ("with a condition", &conditional)];
    print!("{}", compare(&env, Arc::new(ours), &others, !flags.is_empty()).await);
    Ok(())
}

fn local() -> Outcome<Config> {
    let port = shared(&DYNAMODB)?.port;
    Ok(Config {
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        region: Some("eu-west-1".to_owned()),
        credentials: Credentials::Keys {
            access_key_id: "holdall".to_owned(),
            secret_access_key: "holdall".to_owned(),
            session_token: None,
        },
        ..Config::new("holdall")
    })
}

/// The client library alone, which syncs as little and as much: the server is the same.
struct Raw {
    client: Client,
    table: String,
    partition: String,
    condition: Option<&'static str>,
}

impl Raw {
    async fn open(config: &Config, condition: Option<&'static str>) -> Self {
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
        let partition = format!("{}#raw{}", config.prefix, condition.map_or(0, str::len));
        Self { client, table: config.table.clone(), partition, condition }
    }
}

#[async_trait]
impl Contender for Raw {
    async fn put(&self, key: &str, value: Bytes) -> Outcome<()> {
        let put = self.client.put_item().table_name(&self.table);
        let put = put.item("p", AttributeValue::S(self.partition.clone()));
        let put = put.item("k", AttributeValue::B(Blob::new(key)));
        let put = put.item("v", AttributeValue::B(Blob::new(value)));
        put.set_condition_expression(self.condition.map(str::to_owned)).send().await?;
        Ok(())
    }

    async fn get(&self, key: &str, _: Option<Range<u64>>) -> Outcome<usize> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let get = get.key("p", AttributeValue::S(self.partition.clone()));
        let found = get.key("k", AttributeValue::B(Blob::new(key))).send().await?.item;
        let found = found.as_ref().and_then(|item| item.get("v")?.as_b().ok());
        Ok(found.ok_or("the value is missing")?.as_ref().len())
    }
}
