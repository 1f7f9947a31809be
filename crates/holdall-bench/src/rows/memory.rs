//! How much memory is resident while a tree is imported, and while one huge object goes in and
//! out.

use std::process::Command;

use crate::Result;
use crate::child::{self, Job};
use crate::report::{Measured, Unit};
use crate::rows::import;
use crate::setting::Setting;
use crate::watch;

/// The row's name.
pub const NAME: &str = "memory";

/// What the table allows: 256 MiB.
const MOST: f64 = 256.0 * 1_048_576.0;

/// Measures the row: once, because it is the same each time, and long.
///
/// # Errors
/// If something that is needed is not there, or fails.
pub async fn run(setting: &Setting) -> Result<Vec<Measured>> {
    let mapped = "peak of the process, pages of the mapped catalog included";
    let bytes = setting.scale.stream_bytes;
    let size = match bytes >> 30 {
        0 => format!("{} MiB", bytes >> 20),
        gibibytes => format!("{gibibytes} GiB"),
    };
    let about = |what: &str| {
        let work = format!("memory while {what}");
        Measured::new(NAME, work, Unit::Bytes).figure(MOST).note(mapped)
    };
    let mut put = about(&format!("one object of {size} streams in"));
    let mut get = about(&format!("one object of {size} streams out"));
    let scratch = setting.fresh(NAME)?;
    for (measured, job) in [(&mut put, Job::Put(bytes)), (&mut get, Job::Get(bytes))] {
        let said = child::run(setting, scratch.path(), &job)?;
        measured.add("holdall", "", said.peak_bytes as f64);
        let rate = bytes as f64 / said.seconds / 1e6;
        measured.notes.push(format!("at {rate:.0} MB/s, making the bytes included"));
    }
    drop(scratch);

    let mut imported = about("a tree is imported");
    let scratch = setting.fresh(NAME)?;
    let mut command = Command::new(import::holdall(setting)?);
    let ended = watch::run(import::ours(&mut command, setting, scratch.path()))?;
    imported.add("holdall", "", ended.peak_bytes as f64);
    Ok(vec![put, get, imported])
}
