//! Sixty-four writers from two processes on one catalog: no update is lost, none is made twice,
//! and whatever the engine does about writers that meet stays with it.
//!
//! `HOLDALL_WRITERS_SECONDS` says for how long; `cargo x test --long` for a minute. This test
//! program starts itself again as the child: [`child`] is no test of its own.
#![allow(clippy::disallowed_methods, reason = "tests drive real processes")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a process tells")]

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use holdall::{Condition, ErrorKind, PutOptions, Volume};

use crate::places::{FILE, IN_MARIADB, IN_POSTGRES, Place};
use crate::world::{assert_clean, name, noise, present};

const CATALOG: &str = "HOLDALL_TEST_CATALOG";
const DATA: &str = "HOLDALL_TEST_DATA";
const WHO: &str = "HOLDALL_TEST_WHO";
const SECONDS: &str = "HOLDALL_WRITERS_SECONDS";
const SECONDS_DEFAULT: u64 = 10;
const WRITERS: u64 = 32;
/// The entries that all count in.
const HOT: u64 = 4;
/// The names that each writer has for itself.
const OWN: u64 = 5;

/// What one process counted.
#[derive(Debug, Default)]
struct Tally {
    counted: [AtomicU64; HOT as usize],
    conflicts: AtomicU64,
    /// Commits that were acknowledged.
    commits: AtomicU64,
}

/// Adds one to a number that all count in; false if another was faster.
async fn count(volume: &Volume, hot: &str) -> bool {
    let hot = name(hot);
    let (number, condition) = match volume.get(&hot).await.unwrap() {
        Some(reading) => {
            let bytes = reading.bytes().await.unwrap();
            let number: u64 = std::str::from_utf8(&bytes).unwrap().parse().unwrap();
            (number, Condition::Version(reading.entry().version))
        }
        None => (0, Condition::Absent),
    };
    let options = PutOptions::default().condition(condition);
    match volume.put(&hot, (number + 1).to_string(), options).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
            false
        }
    }
}

/// What a writer puts under its own names the nth time.
fn own(writer: u64, turn: u64) -> (String, holdall::Bytes) {
    let size = if turn.is_multiple_of(50) { 9000 } else { 40 };
    (format!("own/{writer:02}/{}", turn % OWN), noise(writer * 1_000_003 + turn, size))
}

/// Writes until the time is over; how often it has put under its own names.
async fn write(volume: Volume, writer: u64, tally: Arc<Tally>, life: Duration) -> u64 {
    let watch = holdall::env().stopwatch();
    let mut turn = 0;
    while watch.elapsed() < life {
        let hot = (writer + turn) % HOT;
        if count(&volume, &format!("hot/{hot}")).await {
            tally.counted[hot as usize].fetch_add(1, Ordering::SeqCst);
            tally.commits.fetch_add(1, Ordering::SeqCst);
        } else {
            tally.conflicts.fetch_add(1, Ordering::SeqCst);
        }
        let (target, bytes) = own(writer, turn);
        volume.put(&name(&target), bytes, PutOptions::default()).await.unwrap();
        tally.commits.fetch_add(1, Ordering::SeqCst);
        turn += 1;
    }
    turn
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the tests of this file as a process of its own"]
async fn child() {
    let variable = |name| std::env::var(name).unwrap();
    let engine = crate::open(&variable(CATALOG), &variable(DATA)).await.unwrap();
    let volume = engine.volume("v").await.unwrap();
    let who: u64 = variable(WHO).parse().unwrap();
    let life = Duration::from_secs(variable(SECONDS).parse().unwrap());
    let tally = Arc::new(Tally::default());
    let writers = (who * WRITERS..(who + 1) * WRITERS)
        .map(|writer| tokio::spawn(write(volume.clone(), writer, Arc::clone(&tally), life)));
    let turns = join_all(writers).await.into_iter().map(|turns| turns.unwrap());
    let turns: Vec<String> = turns.map(|turns| turns.to_string()).collect();
    drop(volume);
    engine.close().await.unwrap();
    let counted = tally.counted.each_ref().map(|count| count.load(Ordering::SeqCst).to_string());
    let (commits, conflicts) = (&tally.commits, &tally.conflicts);
    println!("\ncounted {}", counted.join(" "));
    println!("turns {}", turns.join(" "));
    println!("commits {}", commits.load(Ordering::SeqCst));
    println!("conflicts {}", conflicts.load(Ordering::SeqCst));
}

fn start(catalog: &str, data: &str, who: u64, seconds: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writers::child", "--ignored", "--nocapture"])
        .env(CATALOG, catalog)
        .env(DATA, data)
        .env(WHO, who.to_string())
        .env(SECONDS, seconds.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The numbers that a child printed behind these words.
fn told(child: Child) -> BTreeMap<String, Vec<u64>> {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let said = String::from_utf8(output.stdout).unwrap();
    let lines = said.lines().filter_map(|line| line.split_once(' '));
    let numbers =
        |text: &str| text.split(' ').map(|n| n.parse().ok()).collect::<Option<Vec<u64>>>();
    lines.filter_map(|(word, text)| Some((word.to_owned(), numbers(text)?))).collect()
}

async fn sixty_four_writers(catalog: Place) {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, data) = (catalog(folder.path()), FILE(folder.path()));
    let seconds = std::env::var(SECONDS).map_or(SECONDS_DEFAULT, |text| text.parse().unwrap());
    let engine = crate::open(&catalog, &data).await.unwrap();
    let volume = engine.create_volume("v").await.unwrap();
    let children = [0, 1].map(|who| start(&catalog, &data, who, seconds));
    let tallies = children.map(told);
    let total = |word: &str| tallies.iter().map(|t| t[word].iter().sum::<u64>()).sum::<u64>();

    let mut present = present(&volume).await.unwrap();
    for hot in 0..HOT as usize {
        let counted: u64 = tallies.iter().map(|tally| tally["counted"][hot]).sum();
        let found = present.remove(&format!("hot/{hot}")).unwrap();
        assert_eq!(std::str::from_utf8(&found).unwrap(), counted.to_string(), "hot/{hot}");
    }
    let turns = tallies.iter().flat_map(|tally| &tally["turns"]);
    for (writer, turns) in (0..).zip(turns) {
        for turn in turns.saturating_sub(OWN)..*turns {
            let (target, bytes) = own(writer, turn);
            assert!(present.remove(&target) == Some(bytes), "{target} of turn {turn}");
        }
    }
    assert!(present.is_empty(), "{:?}", present.keys());
    let commits = total("commits");
    assert_eq!(volume.usage().await.unwrap().sequence, commits);
    assert!(commits > 2 * 2 * WRITERS && total("counted") > 0, "{tallies:?}");
    // Every counter of the volume is compared with a recount.
    assert_clean(&volume).await;
    let (counted, conflicts) = (total("counted"), total("conflicts"));
    eprintln!("{commits} commits in {seconds} s; {counted} counted, {conflicts} met another");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    sixty_four_writers(IN_POSTGRES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_mariadb() {
    sixty_four_writers(IN_MARIADB).await;
}
