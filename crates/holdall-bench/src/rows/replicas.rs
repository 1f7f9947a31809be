//! Objects in three copies of which two are waited for, beside two plain files written in parallel.

use std::path::Path;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use holdall::{Config, RepairOptions};

use crate::Result;
use crate::contenders::Store;
use crate::contenders::folders::Plain;
use crate::contenders::ours::{self, Ours};
use crate::report::{Measured, Unit};
use crate::sample;
use crate::setting::{Setting, turns};

/// The row's name.
pub const NAME: &str = "replicas";

const PLACES: [&str; 3] = ["a", "b", "c"];
const FILES: &str = "two plain files";
const OUR_DURABILITY: &str = "two of three copies, as every put";
const FILE_DURABILITY: &str = "both: fsync of file and folder";

/// Measures the row.
///
/// # Errors
/// If a contender fails, or does not return what was written.
pub async fn run(setting: &Setting) -> Result<Vec<Measured>> {
    let (bytes, count) = (setting.scale.large_bytes, setting.scale.large_count);
    let work = format!(
        "put {} MiB that do not compress, {count} a round, in three copies, ack quorum",
        bytes >> 20
    );
    let mut put = Measured::new(NAME, work, Unit::BytesPerSecond)
        .times(0.9, FILES)
        .note("all folders on one disk; the third copy is written meanwhile, and not waited for");
    let (our_scratch, file_scratch) = (setting.fresh("ours")?, setting.fresh("file")?);
    let config = Config::parse(&configuration(our_scratch.path())?, [])?;
    let settings = config.settings(ours::VOLUME, our_scratch.path())?;
    let ours = Ours::with(settings, &setting.env).await?;
    let mut files = Vec::new();
    for place in &PLACES[..2] {
        let folder = file_scratch.path().join(place);
        std::fs::create_dir_all(&folder)?;
        files.push(Plain::new(&folder));
    }
    // The first round only warms up.
    for round in 0..=setting.rounds as u64 {
        let objects: Vec<(String, Bytes)> = (0..count)
            .map(|number| (format!("{round}-{number}"), sample::noise(round << 8 | number, bytes)))
            .collect();
        for is_ours in turns(&[true, false], round as usize) {
            setting.quiet().await?;
            let watch = setting.env.stopwatch();
            if is_ours {
                for (name, bytes) in &objects {
                    ours.put(name, bytes.clone()).await?;
                }
            } else {
                objects.iter().try_for_each(|(name, bytes)| write_all(&files, name, bytes))?;
            }
            let figure = rate(&objects, watch.elapsed());
            if is_ours {
                // Who comes next must not pay for copies that are still under way.
                ours.volume().repair(RepairOptions::default()).await?;
            }
            match (round, is_ours) {
                (0, _) => {}
                (_, true) => put.add(ours::NAME, OUR_DURABILITY, figure),
                (_, false) => put.add(FILES, FILE_DURABILITY, figure),
            }
        }
        check(&ours, &objects).await?;
        for (name, _) in &objects {
            ours.remove(name).await?;
            files.iter().try_for_each(|files| files.remove(name))?;
        }
    }
    ours.close().await?;
    Ok(vec![put])
}

/// Three places, each in a folder and a zone of its own.
fn configuration(folder: &Path) -> Result<String> {
    let folder = folder.to_str().ok_or("a configuration takes only paths that are UTF-8")?;
    let place = |name| format!("  {name}: {{ url: 'file://{folder}/{name}', zone: {name} }}\n");
    let (places, volume) = (PLACES.map(place).concat(), ours::VOLUME);
    Ok(format!(
        "backends:\n{places}volumes:\n  {volume}: {{ tiers: {{ hot: {{ backends: [{}], replicas: \
         3, min_zones: 2, ack: quorum }} }} }}\n",
        PLACES.join(", ")
    ))
}

/// Writes an object to each folder at once, and waits for the slowest.
fn write_all(files: &[Plain], name: &str, bytes: &[u8]) -> Result<()> {
    thread::scope(|scope| {
        let write = |files| {
            let write = move || Plain::write(files, name, bytes).map_err(|error| error.to_string());
            scope.spawn(write)
        };
        let writing: Vec<_> = files.iter().map(write).collect();
        for writing in writing {
            writing.join().map_err(|_| "a writer panicked")??;
        }
        Ok(())
    })
}

/// Bytes of objects a second, of which there may be several copies.
fn rate(objects: &[(String, Bytes)], time: Duration) -> f64 {
    let bytes: usize = objects.iter().map(|(_, bytes)| bytes.len()).sum();
    bytes as f64 / time.as_secs_f64()
}

async fn check(ours: &Ours, objects: &[(String, Bytes)]) -> Result<()> {
    for (name, bytes) in objects {
        if ours.get(name).await?.as_ref() != Some(bytes) {
            return Err(format!("{name} has other bytes than were written").into());
        }
    }
    let report = ours.volume().replicas().await?;
    match report.copies_missing {
        0 => Ok(()),
        missing => Err(format!("{missing} copies are missing after a repair").into()),
    }
}
