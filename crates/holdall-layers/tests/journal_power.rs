//! Power is lost while eight writers write: what was not synced arrives in part, in any order.
//!
//! The disk of this test keeps what was written in memory until it is synced. When power is lost
//! it lets a random choice of the unsynced blocks arrive, and fails from then on. What was
//! acknowledged must be there; what was not is there whole, or not at all.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests drive the real runtime")]

mod support;

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use holdall_core::{Backend, BackendExt, Batch, Expect, Memory};
use holdall_layers::{Disk, Journaled, RealDisk};
use support::{env, key, open_with, tiny};

const BLOCK: usize = 4096;
const WRITERS: usize = 8;

#[derive(Debug)]
struct PowerDisk(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Syncs until power is lost.
    left: u32,
    seed: u64,
    unsynced: Vec<(File, Vec<u8>, u64)>,
}

impl State {
    fn chance(&mut self) -> bool {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.seed >> 63 == 0
    }

    /// Power is lost: each unsynced block arrives or does not.
    fn lose(&mut self) {
        for (file, bytes, offset) in std::mem::take(&mut self.unsynced) {
            for (at, block) in bytes.chunks(BLOCK).enumerate() {
                if self.chance() {
                    RealDisk.write(&file, block, offset + (at * BLOCK) as u64).unwrap();
                }
            }
        }
    }

    fn alive(&self) -> io::Result<()> {
        if self.left == 0 { Err(io::Error::other("power was lost")) } else { Ok(()) }
    }
}

impl Disk for PowerDisk {
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.alive()?;
        state.unsynced.push((file.try_clone()?, bytes.to_vec(), offset));
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.alive()?;
        state.left -= 1;
        if state.left == 0 {
            state.lose();
            return state.alive();
        }
        let inode = file.metadata()?.ino();
        for (file, bytes, offset) in std::mem::take(&mut state.unsynced) {
            if file.metadata()?.ino() == inode {
                RealDisk.write(&file, &bytes, offset)?;
            } else {
                state.unsynced.push((file, bytes, offset));
            }
        }
        Ok(())
    }

    fn reserve(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        self.0.lock().unwrap().alive()?;
        RealDisk.reserve(file, from, to)
    }
}

/// Writes until power is lost; how many writes of each writer were acknowledged.
async fn write(inner: &Arc<Memory>, folder: &Path, round: u64) -> Vec<usize> {
    let (left, seed) = (2 + (round * 7 % 60) as u32, round);
    let disk = Arc::new(PowerDisk(Mutex::new(State { left, seed, unsynced: Vec::new() })));
    let inner: Arc<dyn Backend> = Arc::<Memory>::clone(inner);
    let journal = Journaled::open_on(inner, folder, tiny(), &env(), disk).await.unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move {
            let mut acknowledged = 0;
            loop {
                let mut batch = Batch::new();
                let name = format!("{round}/{writer}/{acknowledged}");
                batch.put(
                    key(format!("a/{name}")),
                    vec![1; acknowledged * 97 % 3000],
                    Expect::Absent,
                );
                batch.put(key(format!("b/{name}")), vec![2; 10], Expect::Absent);
                match journal.apply(batch).await {
                    Ok(_) => acknowledged += 1,
                    Err(_) => return acknowledged,
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut counts = Vec::new();
    for writer in writers {
        counts.push(writer.await.unwrap());
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_survives_a_loss_of_power() {
    let (inner, folder) = (Arc::new(Memory::new()), tempfile::tempdir().unwrap());
    let mut total = 0;
    for round in 0..60 {
        let counts = write(&inner, folder.path(), round).await;
        total += counts.iter().sum::<usize>();
        let journal = open_with(&inner, folder.path(), tiny()).await.unwrap();
        for (writer, acknowledged) in counts.into_iter().enumerate() {
            let mut there = Vec::new();
            for table in ["a", "b"] {
                let rows = journal.list_all(&format!("{table}/{round}/{writer}/"), false).await;
                there.push(rows.unwrap().len());
            }
            assert_eq!(there[0], there[1], "a batch is there in part");
            let unanswered = there[0].checked_sub(acknowledged);
            assert!(unanswered.is_some_and(|count| count <= 1), "{there:?}, not {acknowledged}");
        }
    }
    assert!(total > 500, "the rounds did write: {total}");
}
