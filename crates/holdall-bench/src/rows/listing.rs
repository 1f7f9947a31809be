//! Ordered listing of many entries, in pages of a thousand.

use crate::Result;
use crate::contenders::group::{Engine, Record};
use crate::contenders::lmdb::Lmdb;
use crate::contenders::ours::Ours;
use crate::report::{Measured, Unit};
use crate::sample::{self, Values};
use crate::setting::Setting;

/// The row's name.
pub const NAME: &str = "listing";

const VALUE_BYTES: usize = 100;
const PAGE: usize = 1000;
/// How many entries are written at once while the stores are filled.
const FILL: u64 = 10_000;

/// Measures the row.
///
/// # Errors
/// If a contender fails, or does not list what was written.
pub async fn run(setting: &Setting) -> Result<Vec<Measured>> {
    let count = setting.scale.list_entries;
    let (ours_scratch, lmdb_scratch) = (setting.fresh("ours")?, setting.fresh("lmdb")?);
    let ours = Ours::open(ours_scratch.path(), &setting.env).await?;
    let mut lmdb = Lmdb::create(lmdb_scratch.path())?;
    let values = Values::new(VALUE_BYTES, 1 << 20);
    for start in (0..count).step_by(FILL as usize) {
        let numbers = start..(start + FILL).min(count);
        let records: Vec<Record> =
            numbers.map(|number| (sample::key(number), values.get(number))).collect();
        lmdb.commit(&records)?;
        ours.put_many(records.into_iter()).await?;
    }
    ours.close().await?;
    let ours = Ours::open(ours_scratch.path(), &setting.env).await?;

    let work = format!("ordered listing of {count} entries of {VALUE_BYTES} B, pages of {PAGE}");
    let mut measured = Measured::new(NAME, work, Unit::PerSecond)
        .figure(1e6)
        .note("a page holds whole entries: size, digest, times, attributes, inline bytes")
        .note("LMDB: names and bytes copied to memory of the reader's own");
    // The first round only warms up.
    for round in 0..=setting.rounds {
        let watch = setting.env.stopwatch();
        let listed = ours.list(PAGE).await?;
        let our_time = watch.elapsed();
        let watch = setting.env.stopwatch();
        let rows = lmdb.list(PAGE)?;
        let lmdb_time = watch.elapsed();
        if listed != count || rows != count {
            return Err(format!("{listed} and {rows} of {count} entries were listed").into());
        }
        if round > 0 {
            measured.add("holdall", "", count as f64 / our_time.as_secs_f64());
            measured.add("raw LMDB", "", count as f64 / lmdb_time.as_secs_f64());
        }
    }
    ours.close().await?;
    Ok(vec![measured])
}
