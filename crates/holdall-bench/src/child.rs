//! What must happen in a process of its own: `holdall-bench child <what> ...`, for memory that is
//! one thing's alone, and for processes that are killed.
//!
//! Each prints one line of JSON when it is done.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::contenders::Store;
use crate::contenders::ours::Ours;
use crate::sample::{self, Values};
use crate::setting::Setting;
use crate::watch::own_peak;

/// The word that makes this program a child.
pub const WORD: &str = "child";

/// One thing done in a process of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Job {
    /// Streams an object of so many bytes into the volume.
    Put(u64),
    /// Streams it out again, and compares it with what was put.
    Get(u64),
    /// Makes a volume with so many entries.
    Fill(u64),
    /// Opens the volume and looks at one entry.
    Open,
    /// Writes until it is killed; prints a line when the first entry is written.
    Write,
}

/// What a child has to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// How long the job took, in seconds.
    pub seconds: f64,
    /// The most memory that it had resident, in bytes.
    pub peak_bytes: u64,
}

const OBJECT: &str = "large";
const PIECE_BYTES: u64 = 1 << 20;
const VALUE_BYTES: usize = 100;
const POOL_BYTES: usize = 1 << 20;
const FILL: u64 = 10_000;
const WRITERS: usize = 64;

/// The command that does a job in a folder.
///
/// # Errors
/// If the folder's path is not UTF-8.
pub fn command(setting: &Setting, folder: &Path, job: &Job) -> Result<Command> {
    let mut command = Command::new(&setting.program);
    command.arg(WORD).arg(folder).arg(serde_json::to_string(job)?);
    Ok(command)
}

/// Does a job in a child and returns what it says.
///
/// # Errors
/// If it fails.
pub fn run(setting: &Setting, folder: &Path, job: &Job) -> Result<Said> {
    let ended = crate::watch::run(&mut command(setting, folder, job)?)?;
    Ok(serde_json::from_str(&ended.output)?)
}

/// Is the child.
///
/// # Errors
/// If the arguments are not those of [`command`], or the job fails.
pub async fn main(arguments: &[String]) -> Result<()> {
    let [folder, job] = arguments else {
        return Err("a child needs a folder and a job".into());
    };
    let folder = Path::new(folder);
    let env = holdall_runtime::env();
    let watch = env.stopwatch();
    let ours = Ours::open(folder, &env).await?;
    match serde_json::from_str(job)? {
        Job::Put(bytes) => {
            let pieces = stream::iter(0..pieces(bytes)).map(move |at| piece(at, bytes));
            ours.put_stream(OBJECT, pieces).await?;
        }
        Job::Get(bytes) => get(&ours, bytes).await?,
        Job::Fill(count) => {
            let values = Values::new(VALUE_BYTES, POOL_BYTES);
            for start in (0..count).step_by(FILL as usize) {
                let numbers = start..(start + FILL).min(count);
                let values = numbers.map(|number| (sample::key(number), values.get(number)));
                ours.put_many(values).await?;
            }
            ours.close().await?;
            return say(watch.elapsed().as_secs_f64());
        }
        Job::Open => {
            ours.get(&sample::key(0)).await?.ok_or("the first entry is missing")?;
        }
        Job::Write => return write(&ours).await,
    }
    say(watch.elapsed().as_secs_f64())
}

fn say(seconds: f64) -> Result<()> {
    let said = Said { seconds, peak_bytes: own_peak()? };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(&said)?)?;
    Ok(out.flush()?)
}

fn pieces(bytes: u64) -> u64 {
    bytes.div_ceil(PIECE_BYTES)
}

fn piece(at: u64, bytes: u64) -> bytes::Bytes {
    let size = PIECE_BYTES.min(bytes - at * PIECE_BYTES);
    sample::noise(at, size as usize)
}

/// Compares what comes out with what was put in, as it comes.
async fn get(ours: &Ours, bytes: u64) -> Result<()> {
    let (mut at, mut rest, mut same) = (0, bytes::Bytes::new(), true);
    let read = ours.read_stream(OBJECT, |mut got| {
        while !got.is_empty() && same {
            if rest.is_empty() {
                rest = if at < pieces(bytes) { piece(at, bytes) } else { bytes::Bytes::new() };
                at += 1;
            }
            let common = got.len().min(rest.len());
            same = common > 0 && got[..common] == rest[..common];
            got = &got[common..];
            rest = rest.slice(common..);
        }
    });
    if read.await? != bytes || !same {
        return Err("the object came with other bytes than were written".into());
    }
    Ok(())
}

/// Writes for ever.
async fn write(ours: &Ours) -> Result<()> {
    let values = Values::new(1024, POOL_BYTES);
    let put = |number: u64| {
        let value = values.get(number);
        async move { ours.put(&format!("written/{number:016x}"), value).await }
    };
    put(0).await?;
    say(0.0)?;
    let mut running = stream::iter(1..).map(put).buffer_unordered(WRITERS);
    while let Some(written) = running.next().await {
        written?;
    }
    Ok(())
}
