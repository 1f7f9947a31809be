//! Sixty-four writers from two processes: no lost update, no deadlock that surfaces, exact counts.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "a second process is started with its orders")]

mod support;

use std::process::{Command, Stdio};
use std::sync::Arc;

use holdall_core::{Backend, BackendExt, Batch, Env, ErrorKind, Expect, Key, Object};
use holdall_mysql::{Config, Mysql};
use support::{Database, key};

/// The variable that turns the test [`child`] into the second process.
const ORDERS: &str = "HOLDALL_MYSQL_TEST_CHILD";
/// In each process.
const WRITERS: usize = 32;
/// What each writer does.
const ROUNDS: usize = 15;
/// Few keys, so that writers meet.
const KEYS: usize = 12;

/// Does what the orders say, and nothing when the program was not started for it.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let (port, name) = orders.split_once(' ').unwrap();
    let config = Config {
        port: port.parse().unwrap(),
        password: Some("holdall".to_owned()),
        ..Config::new("127.0.0.1", "holdall", name)
    };
    write(config).await;
}

async fn write(config: Config) {
    let env = holdall_runtime::env();
    let mysql = Arc::new(Mysql::open(config, &env).await.unwrap());
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| tokio::spawn(add_many_times(Arc::clone(&mysql), env.clone())))
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Each round adds one to three of the counters at once, in any order, makes a row or removes one,
/// and checks a row that others make and remove.
async fn add_many_times(mysql: Arc<Mysql>, env: Env) {
    for _ in 0..ROUNDS {
        let mut places: Vec<usize> = (0..KEYS).collect();
        places.sort_by_cached_key(|_| env.random::<4>());
        let counters: Vec<Key> = places[..3].iter().map(|at| key(format!("c/{at:02}"))).collect();
        let flag = key(format!("f/{:02}", places[3]));
        let watched = key(format!("f/{:02}", places[4]));
        loop {
            let mut keys = counters.clone();
            keys.extend([flag.clone(), watched.clone()]);
            let seen = mysql.get_many(&keys).await.unwrap();
            let expect = |at: usize| Expect::from(seen[at].clone().map(|object| object.revision));
            let mut batch = Batch::new();
            for (at, counter) in counters.iter().enumerate() {
                batch.put(counter.clone(), (number(&seen[at]) + 1).to_string(), expect(at));
            }
            match seen[3] {
                Some(_) => batch.delete(flag.clone(), expect(3)),
                None => batch.put(flag.clone(), "x", Expect::Absent),
            };
            batch.check(watched.clone(), expect(4));
            match mysql.apply(batch).await {
                Ok(_) => break,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
            }
        }
    }
}

fn number(object: &Option<Object>) -> usize {
    object.as_ref().map_or(0, |seen| std::str::from_utf8(&seen.value).unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_writers_of_two_processes_lose_no_update() {
    let database = Database::shared();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(ORDERS, format!("{} {}", database.port, database.name))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    write(database.config()).await;
    assert!(other.wait().unwrap().success());
    let mysql = Mysql::open(database.config(), &holdall_runtime::env()).await.unwrap();
    let rows = mysql.list_all("c/", true).await.unwrap();
    let sum: usize = rows.into_iter().map(|row| number(&row.object)).sum();
    assert_eq!(sum, 2 * WRITERS * ROUNDS * 3);
}
