//! `holdall bench`: how fast this machine is with a volume.

use std::time::Duration;

use clap::Args;
use futures::future::try_join_all;
use holdall::units::{format_size, parse_size};
use holdall::{Bytes, Engine, ListOptions, Name, PutItem, PutOptions, Volume};
use serde_json::json;

use crate::app::App;
use crate::failure::{Done, Failure, Result};

/// Measures this machine and store in a folder of its own, which is removed afterwards.
///
/// Every write counted here is on the disk. Other programs that use the disk change the figures.
#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// How many small entries.
    #[arg(long, value_name = "COUNT", default_value_t = 4000)]
    entries: usize,
    /// How large the large entries are together.
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    bytes: String,
}

/// One kind of work.
struct Measured {
    work: &'static str,
    count: usize,
    bytes: u64,
    took: Duration,
}

const SMALL: usize = 1024;
const LARGE: usize = 16 << 20;
const WRITERS: usize = 64;

impl Bench {
    pub(crate) async fn run(self, app: &App) -> Result {
        let bytes = parse_size(&self.bytes)?;
        if self.entries == 0 || bytes == 0 {
            return Err(Failure::Usage("there is nothing to measure; give larger numbers".into()));
        }
        let scratch = Scratch::new(app)?;
        let engine = Engine::builder().home(&scratch.0).holder("holdall bench").open().await?;
        let volume = engine.create_volume("bench").await?;
        let measured = self.measure(app, &volume, bytes).await;
        engine.close().await?;
        drop(scratch);
        for measured in measured? {
            let seconds = measured.took.as_secs_f64().max(1e-9);
            let (each, all) = (measured.count as f64 / seconds, measured.bytes as f64 / seconds);
            let object = json!({ "work": measured.work, "count": measured.count,
                "bytes": measured.bytes, "seconds": seconds, "per_second": each,
                "bytes_per_second": all });
            app.output.row(&object, || {
                let rate = format_size(all as u64);
                format!("{:<40} {each:>12.0}/s  {rate:>10}/s", measured.work)
            })?;
        }
        Ok(Done::Whole)
    }

    async fn measure(&self, app: &App, volume: &Volume, bytes: u64) -> Result<Vec<Measured>> {
        let mut done = Vec::new();
        let mut note = |work, count, bytes, watch: holdall::Stopwatch| {
            done.push(Measured { work, count, bytes, took: watch.elapsed() });
        };
        let small = |number: usize| Name::parse(format!("small/{number:08}"));
        let one = (self.entries / 20).clamp(1, 200);
        let watch = app.env.stopwatch();
        for number in 0..one {
            let name = Name::parse(format!("one/{number:08}"))?;
            volume.put(&name, noise(number, SMALL), PutOptions::default()).await?;
        }
        note("put 1 KiB, 1 writer", one, (one * SMALL) as u64, watch);
        let watch = app.env.stopwatch();
        let writers = (0..WRITERS).map(async |writer| {
            for number in (writer..self.entries).step_by(WRITERS) {
                let name = small(number)?;
                volume.put(&name, noise(number, SMALL), PutOptions::default()).await?;
            }
            Ok::<_, Failure>(())
        });
        try_join_all(writers).await?;
        note("put 1 KiB, 64 writers", self.entries, (self.entries * SMALL) as u64, watch);
        let items = (0..self.entries).map(|number| {
            let name = Name::parse(format!("many/{number:08}"))?;
            Ok(PutItem { name, bytes: noise(number, SMALL), options: PutOptions::default() })
        });
        let items = items.collect::<holdall::Result<Vec<_>>>()?;
        let watch = app.env.stopwatch();
        for committed in volume.put_many(items).await? {
            committed?;
        }
        note("put 1 KiB, all at once", self.entries, (self.entries * SMALL) as u64, watch);
        let watch = app.env.stopwatch();
        for number in 0..self.entries {
            read(volume, &small(number)?).await?;
        }
        note("get 1 KiB, 1 reader", self.entries, (self.entries * SMALL) as u64, watch);
        let watch = app.env.stopwatch();
        let listed = list(volume).await?;
        note("list, pages of 1,000", listed, 0, watch);
        let large = usize::try_from(bytes).unwrap_or(usize::MAX).div_ceil(LARGE).max(1);
        let size = LARGE.min(usize::try_from(bytes).unwrap_or(LARGE));
        let total = (large * size) as u64;
        let watch = app.env.stopwatch();
        for number in 0..large {
            let name = Name::parse(format!("large/{number:08}"))?;
            volume.put(&name, noise(number + 1_000_000, size), PutOptions::default()).await?;
        }
        note("put 16 MiB that does not compress", large, total, watch);
        let watch = app.env.stopwatch();
        for number in 0..large {
            read(volume, &Name::parse(format!("large/{number:08}"))?).await?;
        }
        note("get 16 MiB", large, total, watch);
        Ok(done)
    }
}

async fn read(volume: &Volume, name: &Name) -> Result<()> {
    match volume.get(name).await? {
        Some(reading) => {
            reading.bytes().await?;
            Ok(())
        }
        None => Err(Failure::NotFound(format!("the entry `{name}` was just put, and is gone"))),
    }
}

async fn list(volume: &Volume) -> Result<usize> {
    let (mut options, mut listed) = (ListOptions::default(), 0);
    loop {
        let page = volume.list(options.clone()).await?;
        listed += page.entries.len();
        match page.next {
            Some(next) => options.after = Some(next),
            None => return Ok(listed),
        }
    }
}

/// Bytes that cannot be compressed, others for each number.
fn noise(number: usize, size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    Bytes::from(bytes)
}

/// A folder that is removed at the end.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(app: &App) -> Result<Self> {
        let random = u64::from_le_bytes(app.env.random());
        let mut path = app.global.home.clone().into_os_string();
        path.push(format!("-bench-{random:016x}"));
        Ok(Self(path.into()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is a folder whose name says what it was.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
