//! Warm random gets of 1 KiB, by one thread and by two, beside LMDB in the same process.

use std::hint::black_box;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use crate::Result;
use crate::contenders::group::{Engine, Record};
use crate::contenders::lmdb::Lmdb;
use crate::contenders::ours::Ours;
use crate::contenders::{Store, check};
use crate::drive::steps;
use crate::report::{Measured, Unit};
use crate::sample::{self, Values};
use crate::setting::Setting;

/// The row's name.
pub const NAME: &str = "small_gets";

const VALUE_BYTES: usize = 1024;
const POOL_BYTES: usize = 16 << 20;
const LMDB: &str = "raw LMDB";
/// How many records LMDB gets in one transaction while it is filled.
const FILL: u64 = 10_000;
/// How many gets a step makes, so that the clock is not what is measured.
const GETS: u64 = 16;

/// Measures the row.
///
/// # Errors
/// If a contender fails, or does not have what was written.
pub async fn run(setting: &Setting) -> Result<Vec<Measured>> {
    let count = setting.scale.get_entries;
    let values = Values::new(VALUE_BYTES, POOL_BYTES);
    let (ours_scratch, lmdb_scratch) = (setting.fresh("ours")?, setting.fresh("lmdb")?);
    let ours = fill_ours(setting, ours_scratch.path(), &values, count).await?;
    let mut lmdb = Lmdb::create(lmdb_scratch.path())?;
    fill_lmdb(&mut lmdb, &values, count)?;

    let mut all = Vec::new();
    for (threads, words) in [(1, "one thread"), (2, "two threads")] {
        let work = format!("warm random gets of 1 KiB, {words}, {count} entries");
        let mut measured = Measured::new(NAME, work, Unit::PerSecond)
            .times(0.4, LMDB)
            .note("LMDB: a transaction for each get, bytes copied to memory of the reader's own")
            .note("holdall: each get verifies the entry's row and the digest of its bytes");
        // The first round only warms up.
        for round in 0..=setting.rounds {
            let figures = (
                gets_ours(setting, &ours, threads, count).await?,
                gets_lmdb(setting, &lmdb, threads, count).await?,
            );
            if round > 0 {
                measured.add(ours.name(), "", figures.0);
                measured.add(LMDB, "", figures.1);
            }
        }
        all.push(measured);
    }
    let ours = Arc::into_inner(ours).ok_or("a reader still has the volume")?;
    ours.close().await?;
    Ok(all)
}

/// A volume with these entries, each put by itself as an application would, closed and opened
/// again.
async fn fill_ours(
    setting: &Setting,
    folder: &std::path::Path,
    values: &Values,
    count: u64,
) -> Result<Arc<Ours>> {
    let ours = Ours::open(folder, &setting.env).await?;
    let puts = (0..count).map(|number| {
        let (name, value) = (sample::key(number), values.get(number));
        let ours = &ours;
        async move { ours.put(&name, value).await }
    });
    stream::iter(puts).buffer_unordered(256).try_collect::<()>().await?;
    ours.close().await?;
    let ours = Ours::open(folder, &setting.env).await?;
    check(&ours, values, count).await?;
    Ok(Arc::new(ours))
}

fn fill_lmdb(lmdb: &mut Lmdb, values: &Values, count: u64) -> Result<()> {
    for start in (0..count).step_by(FILL as usize) {
        let numbers = start..(start + FILL).min(count);
        let records: Vec<Record> =
            numbers.map(|number| (sample::key(number), values.get(number))).collect();
        lmdb.commit(&records)?;
    }
    Ok(())
}

/// The numbers that a step reads, in no order.
fn numbers(step: u64, count: u64) -> impl Iterator<Item = u64> {
    let mut state = step.wrapping_mul(0x2545_f491_4f6c_dd1d);
    (0..GETS).map(move |_| sample::mix(&mut state) % count)
}

async fn gets_ours(setting: &Setting, ours: &Arc<Ours>, threads: usize, count: u64) -> Result<f64> {
    let ours = Arc::clone(ours);
    let step = move |step: u64| {
        let ours = Arc::clone(&ours);
        async move {
            for number in numbers(step, count) {
                let bytes = ours.get(&sample::key(number)).await?.ok_or("an entry is missing")?;
                black_box(bytes);
            }
            Ok(())
        }
    };
    let done = steps(&setting.env, threads, setting.scale.time, step).await?;
    Ok(done.rate() * GETS as f64)
}

async fn gets_lmdb(setting: &Setting, lmdb: &Lmdb, threads: usize, count: u64) -> Result<f64> {
    let lmdb = lmdb.clone();
    let step = move |step: u64| {
        let lmdb = lmdb.clone();
        async move {
            for number in numbers(step, count) {
                let bytes = lmdb.look(&sample::key(number), <[u8]>::to_vec)?;
                black_box(bytes.ok_or("an entry is missing")?);
            }
            Ok(())
        }
    };
    let done = steps(&setting.env, threads, setting.scale.time, step).await?;
    Ok(done.rate() * GETS as f64)
}
