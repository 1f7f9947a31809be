//! Several processes on one database, and processes that are killed in the middle of writing.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "a second process is started with its orders")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use holdall_core::{Backend, BackendExt, Batch, Bytes, ErrorKind, Expect, Key};
use holdall_lmdb::{Config, Lmdb};

/// The variable that turns the test [`child`] into one of the processes below.
const ORDERS: &str = "HOLDALL_LMDB_TEST_CHILD";
const WRITERS: usize = 8;

async fn open(path: &Path) -> Lmdb {
    Lmdb::open(Config::new(path), &holdall_runtime::env()).await.unwrap()
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
    let lmdb = Arc::new(open(Path::new(path)).await);
    match order {
        "count" => add_one_many_times(&lmdb).await,
        "write" => {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| tokio::spawn(write_for_ever(Arc::clone(&lmdb), writer)))
                .collect();
            for writer in writers {
                writer.await.unwrap();
            }
        }
        "read" => {
            // Holds nothing open between reads; is killed while it reads.
            println!("acknowledged 0 0");
            loop {
                assert!(!lmdb.list_all("", true).await.unwrap().is_empty());
            }
        }
        other => panic!("unknown order {other}"),
    }
}

async fn write_for_ever(lmdb: Arc<Lmdb>, writer: usize) {
    for number in 0.. {
        let mut batch = Batch::new();
        batch.put(key(format!("{writer}/{number:06}")), content(writer, number), Expect::Absent);
        batch.put(key(format!("{writer}/last")), number.to_string(), Expect::Any);
        lmdb.apply(batch).await.unwrap();
        // An acknowledged write: the parent holds us to it.
        println!("acknowledged {writer} {number}");
    }
}

fn content(writer: usize, number: usize) -> Bytes {
    Bytes::from(vec![(writer * 31 + number) as u8; [10, 900, 5000, 70_000][number % 4]])
}

async fn add_one_many_times(lmdb: &Lmdb) {
    let counter = key("counter");
    let mut done = 0;
    while done < 100 {
        let seen = lmdb.get_all(&counter).await.unwrap();
        let count: u32 = seen
            .as_ref()
            .map_or(0, |seen| std::str::from_utf8(&seen.value).unwrap().parse().unwrap());
        let next = Bytes::from((count + 1).to_string());
        match lmdb.put(&counter, next, Expect::from(seen.map(|seen| seen.revision))).await {
            Ok(_) => done += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_lose_no_update() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = start("count", folder.path());
    let lmdb = open(folder.path()).await;
    tokio::join!(add_one_many_times(&lmdb), add_one_many_times(&lmdb));
    assert!(other.wait().unwrap().success());
    assert_eq!(lmdb.get_all(&key("counter")).await.unwrap().unwrap().value, "300");
}

/// Reads what a child says until it has said so many things, then kills it, and returns for each
/// writer the last number that it said, also what it still said before it died.
fn kill_after(process: &mut Child, acknowledged: usize) -> Vec<Option<usize>> {
    let mut last = vec![None; WRITERS];
    let mut note = |line: &str| {
        let Some(said) = line.strip_prefix("acknowledged ") else {
            return false;
        };
        let (writer, number) = said.split_once(' ').unwrap();
        last[writer.parse::<usize>().unwrap()] = Some(number.parse().unwrap());
        true
    };
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut heard = 0;
    while heard < acknowledged {
        heard += usize::from(note(&lines.next().unwrap().unwrap()));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    // The very last line may be cut off in the middle.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    rest.iter().take(rest.len().saturating_sub(1)).for_each(|line| {
        note(line);
    });
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_every_acknowledged_batch_whole() {
    let folder = tempfile::tempdir().unwrap();
    for acknowledged in [1, 9, 40, 100, 300] {
        let path = folder.path().join(acknowledged.to_string());
        // This one has the database open all the time: it must get on with the dead one's locks.
        let lmdb = open(&path).await;
        let last = kill_after(&mut start("write", &path), acknowledged);
        for (writer, last) in last.into_iter().enumerate() {
            let rows = lmdb.list_all(&format!("{writer}/"), true).await.unwrap();
            let Some((pointer, rows)) = rows.split_last() else {
                assert_eq!(last, None, "writer {writer}");
                continue;
            };
            let there = rows.len();
            assert!(last.is_none_or(|last| there > last), "{there} rows, {last:?}");
            assert_eq!(pointer.object.as_ref().unwrap().value, (there - 1).to_string());
            for (number, row) in rows.iter().enumerate() {
                assert_eq!(row.key.as_str(), format!("{writer}/{number:06}"));
                assert!(row.object.as_ref().unwrap().value == content(writer, number));
            }
        }
        lmdb.put(&key("goes on"), Bytes::new(), Expect::Absent).await.unwrap();
        drop(lmdb);
        let lmdb = open(&path).await;
        assert!(lmdb.get_all(&key("goes on")).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_readers_are_cleared_away() {
    let folder = tempfile::tempdir().unwrap();
    let lmdb = open(folder.path()).await;
    for number in 0..50 {
        lmdb.put(&key(format!("{number}")), Bytes::from(vec![0; 900]), Expect::Any).await.unwrap();
    }
    for _ in 0..3 {
        kill_after(&mut start("read", folder.path()), 1);
    }
    let health = lmdb.health().await.unwrap();
    assert!(health.notes.iter().all(|note| !note.contains('\n')), "{health:?}");
    // Were a dead reader still counted, no page could be used again and the file would grow.
    let size = || std::fs::metadata(folder.path().join("data.mdb")).unwrap().len();
    let rewrite = async |rounds: u32| {
        for _ in 0..rounds {
            lmdb.put(&key("0"), Bytes::from(vec![1; 900]), Expect::Any).await.unwrap();
        }
    };
    rewrite(20).await;
    let before = size();
    rewrite(100).await;
    assert!(size() <= before + 10 * 4096, "{before} bytes have become {}", size());
}
