//! Programs that are killed in the middle of large batches, and many writers from two processes.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "a second process is started with its orders")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use holdall_core::{Backend, BackendExt, Batch, Error, ErrorKind, Expect, Key, Location};
use holdall_dynamodb::{Config, DynamoDb};
use support::{bytes, fresh, key, open, pause};

/// The variables that turn the test [`child`] into the second process.
const ORDERS: &str = "HOLDALL_DYNAMODB_TEST_CHILD";
const PLACE: &str = "HOLDALL_DYNAMODB_TEST_PLACE";
const ROWS: usize = 150;
const WRITERS: usize = 4;
const ROUNDS: u32 = 5;

fn rows() -> Vec<Key> {
    (0..ROWS).map(|at| key(format!("row/{at:03}"))).collect()
}

fn second_process(config: &Config, order: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).stdout(Stdio::piped());
    command.env(ORDERS, order).env(PLACE, config.location().expose()).spawn().unwrap()
}

/// Not a test of its own: what the second process does.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(order) = std::env::var(ORDERS) else { return };
    let place = Location::parse(&std::env::var(PLACE).unwrap()).unwrap();
    let config = Config::from_location(&place).unwrap();
    if order == "count" {
        count_all(&config, WRITERS).await.unwrap();
        return;
    }
    let backend = open(&config).await.unwrap();
    println!("begun");
    for generation in 1_u32.. {
        let mut batch = Batch::new();
        for row in rows() {
            batch.put(row, bytes(&format!("{order} {generation}")), Expect::Any);
        }
        backend.apply(batch).await.unwrap();
        println!("done");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_leaves_whole_batches() {
    let config = Config { lock_wait: Duration::from_millis(300), ..fresh() };
    let backend = open(&config).await.unwrap();
    let env = holdall_runtime::env();
    let mut generations = Vec::new();
    for round in 0..5 {
        let mut child = second_process(&config, &format!("{round}"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("begun")));
        // At any point of its second batch, however long one takes here.
        let watch = env.stopwatch();
        assert!(lines.any(|line| line.unwrap().contains("done")));
        let one = watch.elapsed().as_millis() as u64;
        pause(env.random_below(one + one / 4)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        // Requests of the dead may still be on their way to the server.
        pause(100).await;
        let found = backend.get_many(&rows()).await.unwrap();
        let values: Vec<_> = found.into_iter().map(|one| one.map(|one| one.value)).collect();
        assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
        let listed = backend.list_all("", true).await.unwrap();
        assert!(
            listed
                .iter()
                .all(|row| Some(&row.object.as_ref().unwrap().value) == values[0].as_ref())
        );
        generations.push(values[0].clone());
        // A single write gets past what was left.
        let last = key(format!("row/{:03}", env.random_below(ROWS as u64)));
        let seen = backend.get_all(&last).await.unwrap().map(|found| found.revision);
        let value = values[0].clone().unwrap_or_default();
        let written = backend.put(&last, value.clone(), Expect::from(seen)).await.unwrap();
        match values[0] {
            Some(_) => assert_eq!(
                backend.get_all(&last).await.unwrap().map(|found| found.revision),
                Some(written)
            ),
            None => backend.delete(&last, Expect::Any).await.unwrap(),
        }
    }
    generations.dedup();
    assert!(generations.len() > 1, "no batch ever happened: {generations:?}");
    let mut batch = Batch::new();
    for row in rows() {
        batch.delete(row, Expect::Any);
    }
    backend.apply(batch).await.unwrap();
    assert_eq!(backend.list_all("", false).await.unwrap(), []);
}

/// Adds one to two counters at once, now in one transaction and now by marks.
async fn count(backend: &DynamoDb, writer: usize) -> Result<(), Error> {
    let counters = [key(format!("counter/{}", writer % 3)), key("counter/all")];
    let mut done = 0;
    while done < ROUNDS {
        let seen = match backend.get_many(&counters).await {
            Err(error) if error.kind() == ErrorKind::Unavailable => continue,
            seen => seen?,
        };
        let mut batch = Batch::new();
        for (counter, seen) in counters.iter().zip(seen) {
            let number = seen.as_ref().map_or(0, |seen| {
                std::str::from_utf8(&seen.value).unwrap().parse::<u32>().unwrap()
            });
            let expect = Expect::from(seen.map(|seen| seen.revision));
            batch.put(counter.clone(), bytes(&(number + 1).to_string()), expect);
        }
        if (writer + done as usize).is_multiple_of(2) {
            for at in 0..100 {
                batch.put(key(format!("mine/{writer}/{at}")), bytes("x"), Expect::Any);
            }
        }
        match backend.apply(batch).await {
            Ok(_) => done += 1,
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unavailable) => {
                pause(holdall_runtime::env().random_below(20)).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn count_all(config: &Config, from: usize) -> Result<(), Error> {
    let backend = Arc::new(open(config).await?);
    let writers = (from..from + WRITERS).map(|writer| {
        let backend = Arc::clone(&backend);
        async move { count(&backend, writer).await }
    });
    try_join_all(writers).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_two_processes_lose_no_update() {
    let config = fresh();
    let mut other = second_process(&config, "count");
    count_all(&config, 0).await.unwrap();
    assert!(other.wait().unwrap().success());
    let backend = open(&config).await.unwrap();
    let all = backend.get_all(&key("counter/all")).await.unwrap().unwrap();
    assert_eq!(all.value, (2 * WRITERS as u32 * ROUNDS).to_string());
}
