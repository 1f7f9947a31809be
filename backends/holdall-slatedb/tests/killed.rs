//! A process that is killed while it writes.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "a second process is started with its orders")]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::{at, key, open, prefix, s3};
use holdall_core::{Backend, BackendExt, Batch, Bytes, Expect};
use holdall_services::{MOTO, shared};
use holdall_slatedb::SlateDb;

/// The variable that turns the test [`child`] into the process that is killed.
const ORDERS: &str = "HOLDALL_SLATEDB_TEST_CHILD";
const WRITERS: usize = 8;

/// Writes to the location in the orders for ever, and nothing when there are none.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(place) = std::env::var(ORDERS) else {
        return;
    };
    let store = Arc::new(open(&place).await.unwrap());
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(write(Arc::clone(&store), writer))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn write(store: Arc<SlateDb>, writer: usize) {
    for number in 0.. {
        let mut batch = Batch::new();
        batch.put(key(format!("{writer}/{number:06}")), content(writer, number), Expect::Absent);
        batch.put(key(format!("{writer}/last")), number.to_string(), Expect::Any);
        store.apply(batch).await.unwrap();
        // An acknowledged write: the parent holds us to it.
        println!("acknowledged {writer} {number}");
    }
}

fn content(writer: usize, number: usize) -> Bytes {
    Bytes::from(vec![(writer * 31 + number) as u8; [10, 900, 5000, 70_000][number % 4]])
}

/// Lets a process write to this place until so much is acknowledged, and kills it; says the last
/// number that each writer was told.
fn kill_after(place: &str, acknowledged: usize) -> Vec<Option<usize>> {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(ORDERS, place)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut last = vec![None; WRITERS];
    let mut seen = 0;
    let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
    for line in said.by_ref() {
        seen += usize::from(note(&line.unwrap(), &mut last));
        if seen == acknowledged {
            break;
        }
    }
    process.kill().unwrap();
    for line in said {
        note(&line.unwrap(), &mut last);
    }
    process.wait().unwrap();
    assert!(seen >= acknowledged, "the process ended by itself after {seen} writes");
    last
}

fn note(line: &str, last: &mut [Option<usize>]) -> bool {
    let Some(said) = line.strip_prefix("acknowledged ") else { return false };
    // The last line may be cut short by the kill.
    let mut numbers = said.split(' ').map(str::parse::<usize>);
    let (Some(Ok(writer)), Some(Ok(number))) = (numbers.next(), numbers.next()) else {
        return false;
    };
    last[writer] = last[writer].max(Some(number));
    true
}

/// All that was acknowledged is there and whole, and what is beyond it is whole or not there.
async fn check(place: &str, acknowledged: &[Option<usize>]) {
    let store = open(place).await.unwrap();
    for (writer, acknowledged) in acknowledged.iter().enumerate() {
        let rows = store.list_all(&format!("{writer}/0"), true).await.unwrap();
        for (number, row) in rows.iter().enumerate() {
            assert_eq!(row.key.as_str(), format!("{writer}/{number:06}"), "a hole");
            assert_eq!(row.object.as_ref().unwrap().value, content(writer, number));
        }
        let there = rows.len().checked_sub(1);
        assert!(there >= *acknowledged, "{writer}: {acknowledged:?}, there is {there:?}");
        let last = store.get_all(&key(format!("{writer}/last"))).await.unwrap();
        let last = last.map(|last| String::from_utf8_lossy(&last.value).parse::<usize>().unwrap());
        assert_eq!(last, there, "half a batch");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing_that_was_acknowledged() {
    // The later rounds make tables while they write, and are killed in the middle of that.
    for (acknowledged, options) in [(1, ""), (100, ""), (400, "table_size=256KiB")] {
        let folder = tempfile::tempdir().unwrap();
        let place = at(folder.path(), options);
        check(&place, &kill_after(&place, acknowledged)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_on_a_bucket_loses_nothing_that_was_acknowledged() {
    let port = shared(&MOTO).unwrap().port;
    let place = s3(port, &prefix(), "&flush_interval=20ms&table_size=256KiB");
    check(&place, &kill_after(&place, 200)).await;
}
