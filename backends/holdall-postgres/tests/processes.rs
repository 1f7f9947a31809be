//! Many writers from two processes on one schema.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "a second process is started with its orders")]

mod common;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::{key, open, shared_config};
use futures::future::try_join_all;
use holdall_core::{
    Backend, BackendExt, Batch, Bytes, Error, ErrorKind, Expect, Key, Location, Object,
};
use holdall_postgres::{Config, Postgres};

/// The variable that turns the test [`child`] into the second process.
const ORDERS: &str = "HOLDALL_POSTGRES_TEST_CHILD";
const WRITERS: usize = 32;
const ROUNDS: u64 = 12;
const COUNTERS: usize = 5;

/// Adds one to two counters at once, in an order that differs from writer to writer, if neither
/// has changed since it was read; until that has succeeded often enough.
async fn count(backend: Arc<Postgres>, writer: usize) -> Result<u64, Error> {
    let env = holdall_runtime::env();
    let counters = [writer % COUNTERS, (writer * 3 + 1) % COUNTERS, (writer + 2) % COUNTERS];
    let first = key(format!("counter/{}", counters[0]));
    let second = counters[1..].iter().find(|other| **other != counters[0]).unwrap();
    let second = key(format!("counter/{second}"));
    let (mut done, mut conflicts) = (0, 0);
    while done < ROUNDS {
        let seen = backend.get_many(&[first.clone(), second.clone()]).await?;
        let mut batch = Batch::new();
        for (key, seen) in [&first, &second].into_iter().zip(&seen) {
            let next = Bytes::from((number(seen.as_ref()) + 1).to_string());
            let expect = Expect::from(seen.as_ref().map(|seen| seen.revision.clone()));
            batch.put(key.clone(), next, expect);
        }
        batch.check(key("lease"), Expect::Absent);
        batch.put(key(format!("done/{writer}")), (done + 1).to_string(), Expect::Any);
        match backend.apply(batch).await {
            Ok(_) => done += 1,
            Err(error) if error.kind() == ErrorKind::Conflict => conflicts += 1,
            Err(error) => return Err(error),
        }
        env.sleep(Duration::from_millis(env.random_below(10))).await;
    }
    Ok(conflicts)
}

fn number(object: Option<&Object>) -> u64 {
    object.map_or(0, |object| std::str::from_utf8(&object.value).unwrap().parse().unwrap())
}

/// All writers of one process, whose numbers begin here. Returns how often they met others.
async fn work(config: &Config, from: usize) -> u64 {
    let backend = Arc::new(open(config).await);
    let writers =
        (from..from + WRITERS).map(|writer| tokio::spawn(count(Arc::clone(&backend), writer)));
    // No deadlock surfaces: every error but a conflict ends the test.
    let conflicts = try_join_all(writers).await.unwrap();
    conflicts.into_iter().sum::<Result<u64, _>>().unwrap()
}

/// Does what the orders say, and nothing when the program was not started by the test below.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(location) = std::env::var(ORDERS) else {
        return;
    };
    let location = Location::parse(&location).unwrap();
    work(&Config::from_location(&location).unwrap(), WRITERS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_two_processes_lose_no_update() {
    let config = Config { max_connections: 24, ..shared_config() };
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(ORDERS, config.location().expose())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let conflicts = work(&config, 0).await;
    assert!(other.wait().unwrap().success());
    assert!(conflicts > 0, "the writers never met");

    let backend = open(&config).await;
    let rows = backend.list_all("", true).await.unwrap();
    let sum = |prefix: &str| -> u64 {
        let rows = rows.iter().filter(|row| Key::as_str(&row.key).starts_with(prefix));
        rows.map(|row| number(row.object.as_ref())).sum()
    };
    assert_eq!(sum("done/"), 2 * WRITERS as u64 * ROUNDS);
    assert_eq!(sum("counter/"), 2 * sum("done/"));
}
