//! A real process is killed at random moments while eight writers, a sealer and a collector are at
//! work, on the embedded default; the next one goes on where it was.
//!
//! This test program starts itself again as the child: [`child`] is no test of its own.
//! `HOLDALL_CRASH_ROUNDS` says how often.
#![allow(clippy::disallowed_methods, reason = "tests drive real processes")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use holdall_core::{Bytes, Error, ErrorKind, Result};
use holdall_file::File;
use holdall_layers::{JournalSettings, Journaled, Stack};
use holdall_lmdb::Lmdb;
use holdall_testkit::Chance;
use holdall_volume::format::keys::VolumeId;
use holdall_volume::gc::GcOptions;
use holdall_volume::{Condition, PutOptions, Volume};

use crate::world::{
    Oracle, Stores, Ticket, assert_clean, name, noise, pieces, present, small_policy,
};

const FOLDER: &str = "HOLDALL_TEST_CRASH_FOLDER";
const VOLUME: &str = "HOLDALL_TEST_CRASH_VOLUME";
const ROUND: &str = "HOLDALL_TEST_CRASH_ROUND";
const WRITERS: u64 = 8;

/// Opens the embedded default. The end of an earlier holder may take a moment.
async fn open(folder: &Path) -> (Stores, Arc<Journaled>) {
    let env = holdall_runtime::env();
    let file = holdall_file::Config::new(folder.join("data"));
    let data = Arc::new(File::open(file, &env).await.unwrap());
    let mut attempt = 0;
    loop {
        match journal(folder).await {
            Ok((stack, journal)) => {
                let stores = Stores { env, catalog: stack, data };
                return (stores, journal);
            }
            Err(error) => {
                attempt += 1;
                assert!(attempt < 500, "{error:?}");
                env.sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn journal(folder: &Path) -> Result<(Arc<dyn holdall_core::Backend>, Arc<Journaled>)> {
    let env = holdall_runtime::env();
    let lmdb = Lmdb::open(holdall_lmdb::Config::new(folder.join("catalog")), &env).await?;
    // So small that it turns over, and is flushed, many times.
    let settings = JournalSettings {
        journal_bytes: 1 << 20,
        overlay_bytes: 256 << 10,
        flush_bytes: 64 << 10,
        ..JournalSettings::default()
    };
    let stack = Stack::new(Arc::new(lmdb)).with_journal(&folder.join("journal"), settings);
    let stacked = stack.open(&env).await?;
    Ok((stacked.backend, stacked.journal.unwrap()))
}

/// One write to the pipe for each line, so that none is torn.
fn say(line: String) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test of this file as a process of its own"]
async fn child() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let id = VolumeId::parse(&std::env::var(VOLUME).unwrap()).unwrap();
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let (stores, _journal) = open(&folder).await;
    let volume = stores.open(id).await.unwrap();
    say("\nready".to_owned());
    let caretaker = tokio::spawn(look_after(volume.clone()));
    for writer in 0..WRITERS {
        tokio::spawn(write(volume.clone(), writer, Chance::new(round * 100 + writer)));
    }
    caretaker.await.unwrap();
}

async fn look_after(volume: Volume) {
    let env = holdall_runtime::env();
    for turn in 0_u64.. {
        env.sleep(Duration::from_millis(7)).await;
        let unsafe_grace = Some(Duration::from_millis(100));
        let done = match turn % 4 {
            0 | 2 => volume.seal().await.map(drop),
            1 => volume.gc(GcOptions { unsafe_grace, ..GcOptions::default() }).await.map(drop),
            _ => volume.checkpoint().await.map(drop),
        };
        if let Err(error) = done {
            say(format!("bad caretaker {error:?}"));
        }
    }
}

async fn write(volume: Volume, writer: u64, mut chance: Chance) {
    for number in 0_u64.. {
        let (ticket, target) = (number * WRITERS + writer, chance.below(5));
        let target = format!("w{writer}/{target}");
        let (seed, size) = (chance.below(1000), *chance.pick(&[0, 90, 5000, 30_000]).unwrap());
        let (target_name, bytes) = (name(&target), noise(seed, size));
        let delete = chance.happens(150);
        let what = if delete { "-".to_owned() } else { format!("{seed}.{size}") };
        say(format!("try {ticket} {target} {what}"));
        let options = PutOptions::default();
        let result = match (delete, chance.below(4)) {
            (true, _) => volume.delete(&target_name, Condition::Always).await.map(drop),
            (false, 0) => volume.put_stream(&target_name, pieces(bytes), options).await.map(drop),
            (false, 1) => {
                let transaction = volume.transaction().put(&target_name, bytes, options);
                transaction.commit().await.map(drop)
            }
            (false, _) => volume.put(&target_name, bytes, options).await.map(drop),
        };
        match result {
            Ok(()) => say(format!("ack {ticket}")),
            // What it relied on was collected.
            Err(error) if error.kind() == ErrorKind::Unavailable => say(format!("not {ticket}")),
            Err(error) => say(format!("bad writer {error:?}")),
        }
    }
}

fn start(folder: &Path, id: VolumeId, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(VOLUME, id.to_string())
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets a child write for so long, kills it, and notes what it said. How much was acknowledged.
fn round(folder: &Path, id: VolumeId, number: u64, life: Duration, oracle: &Oracle) -> usize {
    let mut child = start(folder, id, number);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next().expect("the child begins").unwrap();
        if line == "ready" {
            break;
        }
    }
    let reading = std::thread::spawn(move || lines.map(Result::unwrap).collect::<Vec<String>>());
    std::thread::sleep(life);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    let lines = reading.join().unwrap();
    assert!(status.code().is_none(), "the child ended by itself: {lines:#?}");
    let mut tickets: BTreeMap<String, Ticket> = BTreeMap::new();
    let mut acknowledged = 0;
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["try", ticket, target, what] => {
                let bytes = what
                    .split_once('.')
                    .map(|(seed, size)| noise(seed.parse().unwrap(), size.parse().unwrap()));
                tickets.insert((*ticket).to_owned(), oracle.begin(&[(target, bytes)]));
            }
            ["ack", ticket] => {
                acknowledged += 1;
                oracle.end(tickets.remove(*ticket).unwrap(), &Ok(()));
            }
            ["not", ticket] => {
                let refused: Result<()> =
                    Err(Error::unavailable(holdall_core::Operation::Put, "collected"));
                oracle.end(tickets.remove(*ticket).unwrap(), &refused);
            }
            _ => panic!("round {number}: {line}"),
        }
    }
    acknowledged
}

#[test]
fn killed_at_any_moment() {
    let rounds = std::env::var("HOLDALL_CRASH_ROUNDS");
    let rounds: u64 = rounds.map_or(200, |text| text.parse().expect("a number of rounds"));
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let id = runtime.block_on(async {
        let (stores, journal) = open(folder.path()).await;
        let volume = Volume::create(stores.resources(), "v", small_policy()).await.unwrap();
        journal.close().await.unwrap();
        volume.id()
    });
    let mut chance = Chance::new(1);
    let (mut there, mut acknowledged): (BTreeMap<String, Bytes>, usize) = Default::default();
    for number in 0..rounds {
        let oracle = Oracle::from(&there);
        let life = Duration::from_millis(20 + chance.below(120));
        acknowledged += round(folder.path(), id, number, life, &oracle);
        there = runtime.block_on(async {
            let (stores, _journal) = open(folder.path()).await;
            let volume = stores.open(id).await.unwrap();
            oracle.check_all(&volume).await;
            if number % 20 == 19 || number + 1 == rounds {
                assert_clean(&volume).await;
            }
            present(&volume).await.unwrap()
        });
    }
    assert!(acknowledged as u64 > rounds, "only {acknowledged} writes in {rounds} rounds");
}
