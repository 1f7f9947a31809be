//! Real processes: killed while they write, and kept out while another one is there.
//!
//! This test program starts itself again as the child: [`child`] is no test of its own.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests drive the real runtime and processes")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use holdall_core::{Backend, BackendExt, Batch, ErrorKind, Expect, Result};
use holdall_layers::{JournalSettings, Journaled};
use holdall_lmdb::{Config, Lmdb};
use support::{env, key, tiny};

const FOLDER: &str = "HOLDALL_TEST_JOURNAL_FOLDER";
const TASK: &str = "HOLDALL_TEST_JOURNAL_TASK";
const WRITERS: usize = 8;
/// How many writes each writer makes before its journal is closed, where that is the task.
const CLOSING_WRITES: usize = 3;

async fn open(folder: &Path, settings: JournalSettings) -> Result<Arc<Journaled>> {
    let lmdb = Lmdb::open(Config::new(folder.join("engine")), &env()).await.unwrap();
    Journaled::open(Arc::new(lmdb), &folder.join("journal"), settings, &env()).await
}

fn start(folder: &Path, task: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(TASK, task)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the tests of this file as a process of its own"]
async fn child() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let task = std::env::var(TASK).unwrap();
    let journal = open(&folder, tiny()).await.unwrap();
    if task == "hold" {
        println!("\nready");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    // Some open and close all the time, so that the kill falls into an orderly end too.
    let step = if task.starts_with("closing") { CLOSING_WRITES } else { usize::MAX };
    let mut from = 0;
    let mut journal = journal;
    loop {
        write(&journal, &task, from..from.saturating_add(step)).await;
        from += step;
        journal.close().await.unwrap();
        drop(journal);
        journal = open(&folder, tiny()).await.unwrap();
    }
}

async fn write(journal: &Arc<Journaled>, task: &str, writes: Range<usize>) {
    let writers = (0..WRITERS).map(|writer| {
        let (journal, round, writes) = (Arc::clone(journal), task.to_owned(), writes.clone());
        tokio::spawn(async move {
            for write in writes {
                journal.apply(batch(&round, writer, write)).await.unwrap();
                // One write to the pipe for each line, so that none is torn by the kill.
                let line = format!("\nack {writer} {write}\n");
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            }
        })
    });
    for ended in futures::future::join_all(writers).await {
        ended.unwrap();
    }
}

/// Two rows of its own, one row that all its writes share, and the removal of an older one.
fn batch(round: &str, writer: usize, write: usize) -> Batch {
    let mut batch = Batch::new();
    let text = format!("{round}/{writer}/{write}");
    let long = text.repeat(1 + write * 7 % 60);
    batch.put(key(format!("a/{text}")), text.clone(), Expect::Absent);
    batch.put(key(format!("b/{text}")), long, Expect::Any);
    batch.put(key(format!("last/{round}/{writer}")), write.to_string(), Expect::Any);
    if write >= 10 {
        batch.delete(key(format!("b/{round}/{writer}/{}", write - 10)), Expect::Any);
    }
    batch
}

/// Runs a child until it has acknowledged so many writes, kills it, and returns how many writes
/// of each writer it acknowledged.
fn run_and_kill(folder: &Path, round: &str, acknowledged: usize) -> Vec<usize> {
    let mut child = start(folder, round);
    let mut counts = vec![0; WRITERS];
    let mut seen = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some(numbers) = line.strip_prefix("ack ") else {
            continue;
        };
        let (writer, write) = numbers.split_once(' ').unwrap();
        let (writer, write): (usize, usize) = (writer.parse().unwrap(), write.parse().unwrap());
        assert_eq!(counts[writer], write, "writes are acknowledged in their order");
        counts[writer] += 1;
        seen += 1;
        if seen == acknowledged {
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert!(seen >= acknowledged && !status.success(), "the child ended by itself: {status}");
    counts
}

async fn check(journal: &Journaled, round: &str, counts: &[usize]) {
    for (writer, count) in counts.iter().copied().enumerate() {
        let last = support::text(journal, &format!("last/{round}/{writer}")).await;
        let there = last.map_or(0, |last| last.parse::<usize>().unwrap() + 1);
        // One more may have happened whose acknowledgement did not get out.
        assert!(there == count || there == count + 1, "{count} acknowledged, {there} are there");
        for table in ["a", "b"] {
            let rows = journal.list_all(&format!("{table}/{round}/{writer}/"), true).await.unwrap();
            let kept = if table == "a" { there } else { there.min(10) };
            assert_eq!(rows.len(), kept, "rows {table} of writer {writer} in round {round}");
            for row in rows {
                let text = row.key.as_str()[2..].to_owned();
                let write: usize = text.rsplit('/').next().unwrap().parse().unwrap();
                let times = if table == "a" { 1 } else { 1 + write * 7 % 60 };
                assert_eq!(row.object.unwrap().value.as_ref(), text.repeat(times).as_bytes());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_write_survives_a_kill() {
    lives_that_are_killed("round").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_it_where_the_kill_falls_into_an_orderly_end() {
    lives_that_are_killed("closing").await;
}

async fn lives_that_are_killed(task: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut rounds: Vec<(String, Vec<usize>)> = Vec::new();
    for number in 0..12_usize {
        let round = format!("{task}{number}");
        // Moments spread over several generations of the tiny files.
        let counts = run_and_kill(folder.path(), &round, 1 + number * number * 37 % 400);
        rounds.push((round, counts));
        // Every other life begins on what the last one left, without anybody looking in between.
        if number % 2 == 1 {
            let journal = open(folder.path(), tiny()).await.unwrap();
            for (round, counts) in &rounds {
                check(&journal, round, counts).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_refused_and_told_who_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = start(folder.path(), "hold");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"));
    let refused = open(folder.path(), tiny()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    let holder = format!("in use by process {} (journal test), since ", child.id());
    assert!(refused.message().contains(&holder), "{refused}");
    assert!(refused.message().contains("wait for that one to end"), "{refused}");
    child.kill().unwrap();
    child.wait().unwrap();
    let journal = open(folder.path(), tiny()).await.unwrap();
    assert!(journal.get_all(&key("a")).await.unwrap().is_none(), "the kernel let go of the lock");
}
