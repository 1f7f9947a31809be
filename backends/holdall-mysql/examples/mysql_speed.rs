//! Measures the backend beside the client library alone, on the same server, in turns.
//!
//! `cargo run --release -p holdall-mysql --example mysql_speed [--json]`; the server is the MariaDB
//! that the tests share.
#![allow(clippy::print_stdout, reason = "an example that prints")]

use std::ops::Range;
use std::sync::Arc;

use holdall_core::{Bytes, async_trait};
use holdall_mysql::{Config, Mysql};
use holdall_services::{MARIADB, shared};
use holdall_testkit::speed::{Contender, Outcome, compare};
use mysql_async::prelude::Queryable;
use mysql_async::{OptsBuilder, Pool, PoolConstraints, PoolOpts};

const CONNECTIONS: usize = 32;

#[tokio::main]
async fn main() -> Outcome<()> {
    let json = std::env::args().any(|argument| argument == "--json");
    let env = holdall_runtime::env();
    let port = shared(&MARIADB)?.port;
    let base = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port);
    let base = base.user(Some("holdall")).pass(Some("holdall")).prefer_socket(false);
    let mut root = mysql_async::Conn::new(base.clone()).await?;
    root.query_drop("DROP DATABASE IF EXISTS speed; CREATE DATABASE speed").await?;
    root.query_drop("CREATE TABLE speed.raw (k VARBINARY(1024) PRIMARY KEY, v LONGBLOB NOT NULL)")
        .await?;
    let limits = PoolOpts::default()
        .with_constraints(PoolConstraints::new(CONNECTIONS, CONNECTIONS).ok_or("wrong limits")?)
        .with_reset_connection(false);
    let raw = Raw(Pool::new(base.db_name(Some("speed")).pool_opts(limits)));
    let config = Config {
        port,
        password: Some("holdall".to_owned()),
        min_connections: CONNECTIONS,
        max_connections: CONNECTIONS,
        ..Config::new("127.0.0.1", "holdall", "speed")
    };
    let ours = Mysql::open(config, &env).await?;
    let others: [(&str, &dyn Contender); 1] = [("mysql_async", &raw)];
    print!("{}", compare(&env, Arc::new(ours), &others, json).await);
    root.query_drop("DROP DATABASE speed").await?;
    Ok(())
}

/// The client library alone.
struct Raw(Pool);

#[async_trait]
impl Contender for Raw {
    async fn put(&self, key: &str, value: Bytes) -> Outcome<()> {
        let put = "INSERT INTO raw (k, v) VALUES (?, ?) ON DUPLICATE KEY UPDATE v = VALUES(v)";
        self.0.get_conn().await?.exec_drop(put, (key, value.to_vec())).await?;
        Ok(())
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Outcome<usize> {
        let mut connection = self.0.get_conn().await?;
        let found: Option<Vec<u8>> = match range {
            None => connection.exec_first("SELECT v FROM raw WHERE k = ?", (key,)).await?,
            Some(range) => {
                let part = "SELECT SUBSTRING(v, ?, ?) FROM raw WHERE k = ?";
                let asked = (range.start + 1, range.end - range.start, key);
                connection.exec_first(part, asked).await?
            }
        };
        Ok(found.ok_or("the value is missing")?.len())
    }
}
