//! How much slower than the bare client: 1 KiB values, one and sixty-four callers, medians of five.
//!
//! On the MariaDB that the tests share: `cargo run --release -p holdall-mysql --example
//! mysql_speed`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for the terminal")]
#![allow(clippy::disallowed_methods, reason = "measures the real clock with real tasks")]

use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use holdall_core::{Backend, BackendExt, Bytes, Expect, Key};
use holdall_mysql::{Config, Mysql};
use holdall_services::{MARIADB, shared};
use mysql_async::prelude::Queryable;
use mysql_async::{OptsBuilder, Pool, PoolConstraints, PoolOpts};

const KEYS: u64 = 2000;
const BYTES: usize = 1024;
const ROUNDS: usize = 5;
const CONNECTIONS: usize = 32;

/// A get or put of one of the keys.
type Call = Arc<dyn Fn(u64) -> BoxFuture<'static, ()> + Send + Sync>;

#[tokio::main]
async fn main() {
    let port = shared(&MARIADB).unwrap().port;
    let base = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port);
    let base = base.user(Some("holdall")).pass(Some("holdall")).prefer_socket(false);
    let mut root = mysql_async::Conn::new(base.clone()).await.unwrap();
    root.query_drop("DROP DATABASE IF EXISTS speed; CREATE DATABASE speed").await.unwrap();
    root.query_drop("CREATE TABLE speed.raw (k VARBINARY(1024) PRIMARY KEY, v LONGBLOB NOT NULL)")
        .await
        .unwrap();

    let limits = PoolOpts::default()
        .with_constraints(PoolConstraints::new(CONNECTIONS, CONNECTIONS).unwrap())
        .with_reset_connection(false);
    let pool = Pool::new(base.db_name(Some("speed")).pool_opts(limits));
    let config = Config {
        port,
        password: Some("holdall".to_owned()),
        min_connections: CONNECTIONS,
        max_connections: CONNECTIONS,
        ..Config::new("127.0.0.1", "holdall", "speed")
    };
    let mysql = Arc::new(Mysql::open(config, &holdall_runtime::env()).await.unwrap());
    let works: [(&str, Call, Call); 2] = [
        ("put", raw_put(pool.clone()), our_put(Arc::clone(&mysql))),
        ("get", raw_get(pool), our_get(mysql)),
    ];
    println!("work  callers  raw /s  ours /s  ours costs");
    for (name, raw, ours) in works {
        for (callers, count) in [(1, KEYS / 2), (64, KEYS * 4)] {
            // One unmeasured round each; then turn by turn, so that both meet the same noise.
            rate(&raw, callers, count).await;
            rate(&ours, callers, count).await;
            let (mut of_raw, mut of_ours) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                of_raw.push(rate(&raw, callers, count).await);
                of_ours.push(rate(&ours, callers, count).await);
            }
            let (raw, ours) = (median(of_raw), median(of_ours));
            let more = (raw / ours - 1.0) * 100.0;
            println!("{name:<5} {callers:>7} {raw:>7.0} {ours:>8.0}  {more:>+9.1} %");
        }
    }
    root.query_drop("DROP DATABASE speed").await.unwrap();
}

fn name(at: u64) -> String {
    format!("key/{:08}", at.wrapping_mul(2_654_435_761) % KEYS)
}

fn raw_put(pool: Pool) -> Call {
    Arc::new(move |at| {
        let pool = pool.clone();
        async move {
            let mut conn = pool.get_conn().await.unwrap();
            let text = "INSERT INTO raw (k, v) VALUES (?, ?) ON DUPLICATE KEY UPDATE v = VALUES(v)";
            conn.exec_drop(text, (name(at), vec![at as u8; BYTES])).await.unwrap();
        }
        .boxed()
    })
}

fn raw_get(pool: Pool) -> Call {
    Arc::new(move |at| {
        let pool = pool.clone();
        async move {
            let mut conn = pool.get_conn().await.unwrap();
            let text = "SELECT v FROM raw WHERE k = ?";
            let found: Option<Vec<u8>> = conn.exec_first(text, (name(at),)).await.unwrap();
            assert_eq!(found.unwrap().len(), BYTES);
        }
        .boxed()
    })
}

fn our_put(mysql: Arc<Mysql>) -> Call {
    Arc::new(move |at| {
        let mysql = Arc::clone(&mysql);
        async move {
            let value = Bytes::from(vec![at as u8; BYTES]);
            mysql.put(&Key::parse(name(at)).unwrap(), value, Expect::Any).await.unwrap();
        }
        .boxed()
    })
}

fn our_get(mysql: Arc<Mysql>) -> Call {
    Arc::new(move |at| {
        let mysql = Arc::clone(&mysql);
        async move {
            let found = mysql.get_all(&Key::parse(name(at)).unwrap()).await.unwrap();
            assert_eq!(found.unwrap().value.len(), BYTES);
        }
        .boxed()
    })
}

/// Calls a second, with so many callers.
async fn rate(call: &Call, callers: u64, count: u64) -> f64 {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let call = Arc::clone(call);
            tokio::spawn(async move {
                for at in (caller..count).step_by(callers as usize) {
                    call(at).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
