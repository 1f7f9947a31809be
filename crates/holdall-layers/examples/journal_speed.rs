//! How fast the journal is, beside a bare log with group commit on the same disk in the same run.
//!
//! ```text
//! cargo run --release -p holdall-layers --example journal_speed -- <folder> \
//!     [seconds] [memory or lmdb] [overlay MiB] [flush MiB]
//! ```
//! prints one line a measure. `docs/decisions/0005-embedded-engine.md` uses its figures.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for one's own machine")]
#![allow(clippy::disallowed_methods, reason = "it measures real time with real threads")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use holdall_core::{Backend, BackendExt, Bytes, Expect, Key, List, Memory};
use holdall_layers::{JournalSettings, Journaled};

const VALUE_BYTES: usize = 1024;
const BLOCK: usize = 4096;
const LOG_BYTES: u64 = 64 << 20;
const SHORT: Duration = Duration::from_secs(2);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(arguments.first().expect("give a folder to work in"));
    let seconds = arguments.get(1).map_or(3, |seconds| seconds.parse().unwrap());
    let engine = arguments.get(2).map_or("lmdb", String::as_str);
    let time = Duration::from_secs(seconds);
    fs::create_dir_all(folder).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("{engine}, values of 1 KiB, random keys of 32 bytes, {seconds} s of 64 writers");
    let (one, many) = (bare_log(folder, 1, SHORT), bare_log(folder, 64, SHORT));
    println!("  bare log           1 writer  {one:>9.0} puts/s    64 writers {many:>9.0} puts/s");
    runtime.block_on(alone(folder, engine));
    runtime.block_on(journal(folder, engine, time, one, many));
}

/// 64 threads hand their records to one that writes and syncs all that wait.
fn bare_log(folder: &Path, writers: usize, time: Duration) -> f64 {
    let path = folder.join("bare-log");
    let file = File::create(&path).unwrap();
    for at in 0..LOG_BYTES >> 20 {
        file.write_all_at(&vec![0; 1 << 20], at << 20).unwrap();
    }
    file.sync_all().unwrap();
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let started = Instant::now();
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel::<(Vec<u8>, thread::Thread, Arc<AtomicBool>)>();
        scope.spawn(move || commit_all(&file, &receiver));
        for writer in 0..writers {
            let (sender, stop, done) = (sender.clone(), &stop, &done);
            scope.spawn(move || {
                let written = Arc::new(AtomicBool::new(false));
                while !stop.load(Ordering::Relaxed) {
                    let record = vec![writer as u8; VALUE_BYTES + 48];
                    written.store(false, Ordering::Relaxed);
                    sender.send((record, thread::current(), Arc::clone(&written))).unwrap();
                    while !written.load(Ordering::Acquire) {
                        thread::park();
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        drop(sender);
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    let rate = done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    fs::remove_file(path).unwrap();
    rate
}

fn commit_all(file: &File, receiver: &mpsc::Receiver<(Vec<u8>, thread::Thread, Arc<AtomicBool>)>) {
    let mut at = 0;
    let mut buffer = Vec::new();
    let mut waiting = Vec::new();
    while let Ok(first) = receiver.recv() {
        buffer.clear();
        for (record, writer, written) in std::iter::once(first).chain(receiver.try_iter()) {
            buffer.extend_from_slice(&record);
            waiting.push((writer, written));
        }
        buffer.resize(buffer.len().next_multiple_of(BLOCK), 0);
        if at + buffer.len() as u64 > LOG_BYTES {
            at = 0;
        }
        file.write_all_at(&buffer, at).unwrap();
        file.sync_data().unwrap();
        at += buffer.len() as u64;
        for (writer, written) in waiting.drain(..) {
            written.store(true, Ordering::Release);
            writer.unpark();
        }
    }
}

async fn engine(folder: &Path, engine: &str, memory: &Arc<Memory>) -> Arc<dyn Backend> {
    match engine {
        "memory" => Arc::<Memory>::clone(memory),
        "lmdb" => {
            let config = holdall_lmdb::Config::new(folder);
            Arc::new(holdall_lmdb::Lmdb::open(config, &holdall_runtime::env()).await.unwrap())
        }
        other => unreachable!("there is no engine {other}"),
    }
}

async fn open(folder: &Path, name: &str, memory: &Arc<Memory>) -> Arc<Journaled> {
    let inner = engine(&folder.join("engine"), name, memory).await;
    let mut settings = JournalSettings::default();
    if let Some(mebibytes) = std::env::args().nth(4) {
        settings.overlay_bytes = mebibytes.parse::<usize>().unwrap() << 20;
        settings.journal_bytes =
            settings.overlay_bytes as u64 * 4 / 3 / BLOCK as u64 * BLOCK as u64;
    }
    if let Some(mebibytes) = std::env::args().nth(5) {
        settings.flush_bytes = mebibytes.parse::<usize>().unwrap() << 20;
    }
    let env = holdall_runtime::env();
    Journaled::open(inner, &folder.join("journal"), settings, &env).await.unwrap()
}

/// The engine without a journal in front of it.
async fn alone(folder: &Path, name: &str) {
    let path = folder.join("alone");
    let backend = engine(&path, name, &Arc::new(Memory::new())).await;
    let rows = Arc::new(AtomicU64::new(0));
    let many = puts(&backend, &rows, 64, SHORT).await;
    let one = puts(&backend, &rows, 1, SHORT).await;
    println!("  engine alone       1 writer  {one:>9.0} puts/s    64 writers {many:>9.0} puts/s");
    let count = rows.load(Ordering::Relaxed);
    for readers in [1, 2] {
        let rate = gets(&backend, count, readers, SHORT).await;
        println!("  engine alone, gets of {count} rows,    {readers} readers {rate:>9.0} /s");
    }
    drop(backend);
    drop(fs::remove_dir_all(path));
}

async fn journal(folder: &Path, engine: &str, time: Duration, bare_one: f64, bare_many: f64) {
    drop(fs::remove_dir_all(folder.join("journal")));
    drop(fs::remove_dir_all(folder.join("engine")));
    let memory = Arc::new(Memory::new());
    let started = Instant::now();
    let journal = open(folder, engine, &memory).await;
    println!("  open, new                    {:>9.1} ms", millis(started));
    let rows = Arc::new(AtomicU64::new(0));
    let backend: Arc<dyn Backend> = Arc::<Journaled>::clone(&journal);
    let many = puts(&backend, &rows, 64, time).await;
    let one = puts(&backend, &rows, 1, SHORT).await;
    println!(
        "  journal            1 writer  {one:>9.0} puts/s    64 writers {many:>9.0} puts/s    \
         ratios {:.2} {:.2}",
        one / bare_one,
        many / bare_many
    );
    println!("  {}", journal.health().await.unwrap().notes.join("; "));
    let count = rows.load(Ordering::Relaxed);
    for readers in [1, 2] {
        let rate = gets(&backend, count, readers, SHORT).await;
        println!("  gets of {count} rows, overlay in use, {readers} readers {rate:>9.0} /s");
    }
    drop((journal, backend));
    let started = Instant::now();
    let journal = open(folder, engine, &memory).await;
    println!("  reopen with rows to replay   {:>9.1} ms", millis(started));
    let started = Instant::now();
    journal.flush().await.unwrap();
    let backend: Arc<dyn Backend> = Arc::<Journaled>::clone(&journal);
    println!("  flush                        {:>9.1} ms", millis(started));
    for readers in [1, 2] {
        let rate = gets(&backend, count, readers, SHORT).await;
        println!("  gets of {count} rows, overlay empty,  {readers} readers {rate:>9.0} /s");
    }
    let started = Instant::now();
    let (mut list, mut listed) = (List::prefix(""), 0);
    loop {
        let page = journal.list(&list).await.unwrap();
        listed += page.rows.len();
        match page.rows.last() {
            Some(last) if page.more => list = list.after(last.key.as_str()),
            _ => break,
        }
    }
    let rate = listed as f64 / started.elapsed().as_secs_f64();
    println!("  listing {listed} rows in pages of 1,000 {rate:>9.0} rows/s");
    drop((journal, backend));
    let started = Instant::now();
    drop(open(folder, engine, &memory).await);
    println!("  reopen with nothing to replay {:>8.1} ms", millis(started));
}

fn millis(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}

/// Spreads numbers over all keys, as random ones would be, and can be told again.
fn name(number: u64) -> Key {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Key::parse(format!("{spread:016x}{number:016x}")).unwrap()
}

async fn puts(
    backend: &Arc<dyn Backend>,
    rows: &Arc<AtomicU64>,
    writers: u64,
    time: Duration,
) -> f64 {
    let before = rows.load(Ordering::Relaxed);
    let started = Instant::now();
    let tasks = (0..writers).map(|_| {
        let (backend, rows) = (Arc::clone(backend), Arc::clone(rows));
        tokio::spawn(async move {
            while started.elapsed() < time {
                let key = name(rows.fetch_add(1, Ordering::Relaxed));
                let value = Bytes::from(vec![7; VALUE_BYTES]);
                backend.put(&key, value, Expect::Any).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    (rows.load(Ordering::Relaxed) - before) as f64 / started.elapsed().as_secs_f64()
}

async fn gets(backend: &Arc<dyn Backend>, rows: u64, readers: u64, time: Duration) -> f64 {
    let started = Instant::now();
    let tasks = (0..readers).map(|reader| {
        let backend = Arc::clone(backend);
        tokio::spawn(async move {
            let (mut done, mut at) = (0_u64, reader * 977);
            while done % 64 != 0 || started.elapsed() < time {
                at = at
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                assert!(backend.get_all(&name((at >> 20) % rows)).await.unwrap().is_some());
                done += 1;
            }
            done
        })
    });
    let mut done = 0;
    for task in tasks.collect::<Vec<_>>() {
        done += task.await.unwrap();
    }
    done as f64 / started.elapsed().as_secs_f64()
}
