//! Several processes on one folder, and processes that are killed in the middle of writing.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "a second process is started with its orders")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use holdall_core::{Backend, BackendExt, Bytes, ErrorKind, Expect, Key};
use holdall_file::{Config, File};

/// The variable that turns the test [`child`] into one of the processes below.
const ORDERS: &str = "HOLDALL_FILE_TEST_CHILD";

async fn open(path: &Path) -> File {
    File::open(Config::new(path), &holdall_runtime::env()).await.unwrap()
}

fn key(text: impl AsRef<str>) -> Key {
    Key::parse(text).unwrap()
}

/// Starts this test program again, as a process that does only what it is told.
fn start(order: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(ORDERS, format!("{order} {}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Does what the orders say, and nothing when the program was not started by [`start`].
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(orders) = std::env::var(ORDERS) else {
        return;
    };
    let (order, path) = orders.split_once(' ').unwrap();
    let file = open(Path::new(path)).await;
    match order {
        "count" => add_one_many_times(&file).await,
        "write" => {
            println!("ready");
            for number in 0.. {
                let size = [10, 5000, 3 << 20][number % 3];
                file.put(&key(format!("{number:06}")), content(number, size), Expect::Absent)
                    .await
                    .unwrap();
                // An acknowledged write: the parent holds us to it.
                println!("acknowledged {number}");
            }
        }
        other => panic!("unknown order {other}"),
    }
}

fn content(number: usize, size: usize) -> Bytes {
    Bytes::from(vec![number as u8; size])
}

async fn add_one_many_times(file: &File) {
    let counter = key("counter");
    let mut done = 0;
    while done < 50 {
        let seen = file.get_all(&counter).await.unwrap();
        let count: u32 = seen
            .as_ref()
            .map_or(0, |seen| std::str::from_utf8(&seen.value).unwrap().parse().unwrap());
        let next = Bytes::from((count + 1).to_string());
        match file.put(&counter, next, Expect::from(seen.map(|seen| seen.revision))).await {
            Ok(_) => done += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_and_two_handles_lose_no_update() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = start("count", folder.path());
    let (one, two) = (open(folder.path()).await, open(folder.path()).await);
    tokio::join!(add_one_many_times(&one), add_one_many_times(&two), add_one_many_times(&one));
    assert!(other.wait().unwrap().success());
    assert_eq!(one.get_all(&key("counter")).await.unwrap().unwrap().value, "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_creators_have_one_winner() {
    let folder = tempfile::tempdir().unwrap();
    let file = std::sync::Arc::new(open(folder.path()).await);
    for round in 0..10 {
        let racers: Vec<_> = (0..8)
            .map(|racer: u32| {
                let file = std::sync::Arc::clone(&file);
                tokio::spawn(async move {
                    file.put(
                        &key(format!("{round}")),
                        Bytes::from(racer.to_string()),
                        Expect::Absent,
                    )
                    .await
                })
            })
            .collect();
        let mut winners = 0;
        for racer in racers {
            match racer.await.unwrap() {
                Ok(_) => winners += 1,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
            }
        }
        assert_eq!(winners, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_every_acknowledged_value_whole() {
    let folder = tempfile::tempdir().unwrap();
    for acknowledged_before_kill in [1, 4, 9, 17, 30] {
        let path = folder.path().join(acknowledged_before_kill.to_string());
        let mut process = start("write", &path);
        let mut last = None;
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let number =
            |line: String| line.strip_prefix("acknowledged ").map(|n| n.parse::<usize>().unwrap());
        while last < Some(acknowledged_before_kill) {
            last = lines.next().unwrap().map(number).unwrap().or(last);
        }
        process.kill().unwrap();
        process.wait().unwrap();
        // What it still said before it died counts too.
        last = lines.map_while(Result::ok).filter_map(number).last().or(last);

        let file = open(&path).await;
        let rows = file.list_all("", true).await.unwrap();
        let last = last.unwrap();
        assert!(rows.len() == last + 1 || rows.len() == last + 2, "{} rows, {last}", rows.len());
        for (number, row) in rows.into_iter().enumerate() {
            assert_eq!(row.key.as_str(), format!("{number:06}"));
            let size = [10, 5000, 3 << 20][number % 3];
            assert!(row.object.unwrap().value == content(number, size), "{number}");
        }
        let next = key(format!("{:06}", last + 5));
        file.put(&next, Bytes::from("goes on"), Expect::Absent).await.unwrap();
    }
}
