//! A process that is killed while eight writers, a sealer and a collector are at work on a volume:
//! what the process does, and what its parent notes of it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    unreachable_pub,
    missing_docs,
    reason = "tests, which drive real processes"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::Child;
use std::time::Duration;

use holdall_core::{Error, ErrorKind, Result};
use holdall_testkit::Chance;
use holdall_volume::gc::GcOptions;
use holdall_volume::{Condition, PutOptions, Volume};

use crate::world::{Oracle, Ticket, name, noise, pieces};

const WRITERS: u64 = 8;

/// One write to the pipe for each line, so that none is torn.
fn say(line: String) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// What the process does until it is killed.
pub async fn live(volume: Volume, round: u64) {
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

/// Lets a child write for so long, kills it, and notes what it said. How much was acknowledged.
pub fn round(mut child: Child, number: u64, life: Duration, oracle: &Oracle) -> usize {
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
