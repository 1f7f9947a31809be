//! How fast a volume on LMDB is read, beside the bare engine in the same run.
//!
//! ```text
//! cargo run --release -p holdall-volume --example read_speed -- <folder> [entries] [value bytes]
//! ```
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for one's own machine")]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use holdall_core::{Backend, BackendExt, Bytes, List, Memory};
use holdall_lmdb::{Config, Lmdb};
use holdall_volume::format::entry::Name;
use holdall_volume::format::policy::Policy;
use holdall_volume::{ListOptions, PutOptions, Resources, Volume};

/// How often each measure is taken; the median is shown.
const ROUNDS: usize = 5;

/// How many entries are looked up a round.
const GETS: u64 = 200_000;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("give an empty folder");
    let mut number = |default: u64| arguments.next().map_or(default, |text| text.parse().unwrap());
    let (entries, value_bytes) = (number(1_000_000), number(32) as usize);
    let env = holdall_runtime::env();
    let catalog: Arc<dyn Backend> = Arc::new(Lmdb::open(Config::new(folder), &env).await.unwrap());
    let resources = Resources {
        env,
        catalog: Arc::clone(&catalog),
        data: Arc::new(Memory::new()),
        holder: "read_speed".to_owned(),
    };
    let volume = Volume::create(resources, "speed", Policy::default()).await.unwrap();
    fill(&volume, entries, value_bytes).await;
    println!("{entries} entries of {value_bytes} bytes");
    let prefix = format!("{}/00/e/", volume.id());

    measure("list, bare rows", entries, async || {
        let mut list = List::prefix(prefix.as_str()).with_values();
        loop {
            let page = catalog.list(&list).await.unwrap();
            match page.rows.last() {
                Some(last) if page.more => list = list.after(last.key.as_str()),
                _ => return,
            }
        }
    })
    .await;
    measure("list, pages of 1,000", entries, async || {
        let mut options = ListOptions::default();
        let mut found = 0;
        loop {
            let page = volume.list(options.clone()).await.unwrap();
            found += page.entries.len() as u64;
            match page.next {
                Some(next) => options = options.after(next),
                None => break,
            }
        }
        assert_eq!(found, entries);
    })
    .await;
    measure("list by delimiter", 1, async || {
        let page = volume.list(ListOptions::default().delimiter("/")).await.unwrap();
        assert_eq!(page.prefixes.len(), 10);
    })
    .await;
    let names: Vec<Name> = (0..GETS).map(|at| name(at.wrapping_mul(7_919_317) % entries)).collect();
    let keys: Vec<_> = names
        .iter()
        .map(|name| holdall_core::Key::parse(format!("{prefix}{name}")).unwrap())
        .collect();
    measure("get, bare row", GETS, async || {
        for key in &keys {
            catalog.get_all(key).await.unwrap().unwrap();
        }
    })
    .await;
    measure("get and bytes", GETS, async || {
        for name in &names {
            let reading = volume.get(name).await.unwrap().unwrap();
            assert_eq!(reading.bytes().await.unwrap().len(), value_bytes);
        }
    })
    .await;
    measure("stat", GETS, async || {
        for name in &names {
            volume.stat(name).await.unwrap().unwrap();
        }
    })
    .await;
    volume.close().await.unwrap();
}

fn name(number: u64) -> Name {
    Name::parse(format!("{}/{number:012}", number % 10)).unwrap()
}

async fn fill(volume: &Volume, entries: u64, value_bytes: usize) {
    let value = Bytes::from(vec![7; value_bytes]);
    for first in (0..entries).step_by(8192) {
        let names: Vec<Name> = (first..entries.min(first + 8192)).map(name).collect();
        let puts = names.iter().map(|name| volume.put(name, value.clone(), PutOptions::default()));
        join_all(puts).await.into_iter().for_each(|result| drop(result.unwrap()));
    }
}

async fn measure(what: &str, things: u64, mut round: impl AsyncFnMut()) {
    let mut times: Vec<Duration> = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        round().await;
        times.push(started.elapsed());
    }
    times.sort();
    let each = times[ROUNDS / 2].as_secs_f64() / things as f64;
    println!("{what:24} {:9.3} µs each, {:12.0} a second", each * 1e6, 1.0 / each);
}
