//! Measures the backend beside the client library alone, on the same server, in turns: SET alone,
//! and SET with the key in a sorted set, without which keys cannot be listed in order.
//!
//! `cargo run --release -p holdall-redis --example redis_speed [location] [--json]`; without a
//! location it is the server that the tests share.
#![allow(clippy::print_stdout, reason = "an example that prints")]

use std::ops::Range;
use std::sync::Arc;

use holdall_core::{Bytes, Location, async_trait};
use holdall_redis::{Config, Redis};
use holdall_services::{REDIS, shared};
use holdall_testkit::speed::{Contender, Outcome, compare};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, cmd, pipe};

#[tokio::main]
async fn main() -> Outcome<()> {
    let env = holdall_runtime::env();
    let (flags, locations): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument == "--json");
    let mut config = match locations.first() {
        Some(text) => Config::from_location(&Location::parse(text)?)?,
        None => Config::new("127.0.0.1", shared(&REDIS)?.port),
    };
    config.prefix = format!("speed-{:08x}", u32::from_le_bytes(env.random()));
    let plain = Raw::open(&config, false).await?;
    let listed = Raw::open(&config, true).await?;
    let ours = Redis::open(config, &env).await?;
    let others: [(&str, &dyn Contender); 2] = [("SET", &plain), ("SET and ZADD", &listed)];
    print!("{}", compare(&env, Arc::new(ours), &others, !flags.is_empty()).await);
    Ok(())
}

/// The client library alone.
struct Raw {
    connection: MultiplexedConnection,
    prefix: String,
    listed: bool,
}

impl Raw {
    async fn open(config: &Config, listed: bool) -> Outcome<Self> {
        let (host, port) = &config.servers[0];
        let client = Client::open(format!("redis://{host}:{port}/{}", config.database))?;
        let settings = AsyncConnectionConfig::new()
            .set_response_timeout(Some(config.timeout))
            .set_pipeline_buffer_size(256);
        let connection = client.get_multiplexed_async_connection_with_config(&settings).await?;
        Ok(Self { connection, prefix: format!("raw-{listed}-{}", config.prefix), listed })
    }

    fn key(&self, key: &str) -> String {
        format!("{}:{key}", self.prefix)
    }
}

#[async_trait]
impl Contender for Raw {
    async fn put(&self, key: &str, value: Bytes) -> Outcome<()> {
        let (key, mut connection) = (self.key(key), self.connection.clone());
        if self.listed {
            let mut calls = pipe();
            calls.atomic().cmd("SET").arg(&key).arg(&value[..]);
            calls.cmd("ZADD").arg(self.key("index")).arg(0).arg(&key);
            let _: (String, i64) = calls.query_async(&mut connection).await?;
        } else {
            let () = cmd("SET").arg(key).arg(&value[..]).query_async(&mut connection).await?;
        }
        Ok(())
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Outcome<usize> {
        let mut call = cmd("GET");
        match range {
            None => call.arg(self.key(key)),
            Some(range) => {
                call = cmd("GETRANGE");
                call.arg(self.key(key)).arg(range.start).arg(range.end - 1)
            }
        };
        let found: Vec<u8> = call.query_async(&mut self.connection.clone()).await?;
        Ok(found.len())
    }
}
