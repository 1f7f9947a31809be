//! Opening a volume with many entries, and opening it after its writer was killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::Result;
use crate::child::{self, Job};
use crate::report::{Measured, Unit};
use crate::setting::Setting;

/// The row's name.
pub const NAME: &str = "open";

/// The small volume has this part of the large one's entries.
const SMALL: u64 = 100;

/// Measures the row.
///
/// # Errors
/// If the volume cannot be made or opened.
pub async fn run(setting: &Setting) -> Result<Vec<Measured>> {
    let large = setting.scale.open_entries;
    let small = (large / SMALL).max(1);
    let scratches = [setting.fresh("open-small")?, setting.fresh("open-large")?];
    let counts = [small, large];
    for (scratch, count) in scratches.iter().zip(counts) {
        child::run(setting, scratch.path(), &Job::Fill(count))?;
    }
    let mut all = counts.map(|count| {
        let about = |what: &str| format!("{what} a volume of {count} entries");
        let closed = Measured::new(NAME, about("opening"), Unit::Seconds).figure(0.05);
        let killed =
            Measured::new(NAME, about("after kill -9 of 64 writers, opening"), Unit::Seconds)
                .figure(1.0);
        let first = "from nothing in the process to the first entry read; files may be cached";
        (closed.note(first), killed.note(first))
    });
    for _ in 0..setting.rounds {
        for (scratch, (closed, killed)) in scratches.iter().zip(&mut all) {
            let said = child::run(setting, scratch.path(), &Job::Open)?;
            closed.add("holdall", "", said.seconds);
            write_and_kill(setting, scratch.path()).await?;
            let said = child::run(setting, scratch.path(), &Job::Open)?;
            killed.add("holdall", "", said.seconds);
        }
    }
    Ok(all.into_iter().flat_map(|(closed, killed)| [closed, killed]).collect())
}

/// Lets a child write for a while, and kills it.
async fn write_and_kill(setting: &Setting, folder: &Path) -> Result<()> {
    let mut command = child::command(setting, folder, &Job::Write)?;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("the child has no standard output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let begun = !line.is_empty();
    if begun {
        setting.env.sleep(setting.scale.time.min(Duration::from_secs(2))).await;
    }
    child.kill()?;
    let status = child.wait()?;
    if !begun || status.code().is_some() {
        return Err(format!("the writer ended by itself, with {status}").into());
    }
    Ok(())
}
