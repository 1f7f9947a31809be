//! Large objects that do not compress, beside plain files.

use std::hint::black_box;

use bytes::Bytes;

use crate::Result;
use crate::contenders::Store;
use crate::contenders::folders::Plain;
use crate::contenders::ours::Ours;
use crate::report::{Measured, Unit};
use crate::sample;
use crate::setting::{Setting, turns};

/// The row's name.
pub const NAME: &str = "large_objects";

const SYNCED: &str = "fsync of file and folder";
const FILE: &str = "plain file";

/// Measures the row.
///
/// # Errors
/// If a contender fails, or does not return what was written.
pub async fn run(setting: &Setting) -> Result<Vec<Measured>> {
    let (bytes, count) = (setting.scale.large_bytes, setting.scale.large_count);
    let about = |what: &str| {
        let size = bytes >> 20;
        format!("{what} {size} MiB that do not compress, {count} a round")
    };
    let rate = |what: &str| Measured::new(NAME, about(what), Unit::BytesPerSecond).times(0.8, FILE);
    let mut put = rate("put");
    let mut whole =
        rate("get, whole in memory,").note("file: read whole into new memory, then hashed");
    let mut piecewise =
        rate("get, as a stream,").note("file: read through a buffer of 1 MiB that is hashed");

    let (our_scratch, file_scratch) = (setting.fresh("ours")?, setting.fresh("file")?);
    let ours = Ours::open(our_scratch.path(), &setting.env).await?;
    let files = Plain::new(file_scratch.path());
    // The first round only warms up.
    for round in 0..=setting.rounds as u64 {
        let objects: Vec<(String, Bytes)> = (0..count)
            .map(|number| (format!("{round}-{number}"), sample::noise(round << 8 | number, bytes)))
            .collect();
        let (mut our_put, mut file_put) = (0.0, 0.0);
        for is_ours in turns(&[true, false], round as usize) {
            setting.quiet().await?;
            if is_ours {
                our_put = put_ours(setting, &ours, &objects).await?;
            } else {
                file_put = put_files(setting, &files, &objects)?;
            }
        }
        let figures = [
            our_put,
            file_put,
            get_ours(setting, &ours, &objects).await?,
            get_files(setting, &files, &objects)?,
            stream_ours(setting, &ours, &objects).await?,
            stream_files(setting, &files, &objects)?,
        ];
        for (name, _) in &objects {
            ours.remove(name).await?;
            files.remove(name)?;
        }
        if round == 0 {
            continue;
        }
        put.add(ours.name(), ours.durability(), figures[0]);
        put.add(FILE, SYNCED, figures[1]);
        whole.add(ours.name(), "", figures[2]);
        whole.add(FILE, "", figures[3]);
        piecewise.add(ours.name(), "", figures[4]);
        piecewise.add(FILE, "", figures[5]);
    }
    ours.close().await?;
    Ok(vec![put, whole, piecewise])
}

/// Bytes a second.
fn rate(objects: &[(String, Bytes)], time: std::time::Duration) -> f64 {
    let bytes: usize = objects.iter().map(|(_, bytes)| bytes.len()).sum();
    bytes as f64 / time.as_secs_f64()
}

async fn put_ours(setting: &Setting, ours: &Ours, objects: &[(String, Bytes)]) -> Result<f64> {
    let watch = setting.env.stopwatch();
    for (name, bytes) in objects {
        ours.put(name, bytes.clone()).await?;
    }
    Ok(rate(objects, watch.elapsed()))
}

fn put_files(setting: &Setting, files: &Plain, objects: &[(String, Bytes)]) -> Result<f64> {
    let watch = setting.env.stopwatch();
    for (name, bytes) in objects {
        files.write(name, bytes)?;
    }
    Ok(rate(objects, watch.elapsed()))
}

async fn get_ours(setting: &Setting, ours: &Ours, objects: &[(String, Bytes)]) -> Result<f64> {
    let mut time = std::time::Duration::ZERO;
    for (name, bytes) in objects {
        let watch = setting.env.stopwatch();
        let read = ours.get(name).await?;
        time += watch.elapsed();
        if read.as_ref() != Some(bytes) {
            return Err(format!("{name} has other bytes than were written").into());
        }
    }
    Ok(rate(objects, time))
}

fn get_files(setting: &Setting, files: &Plain, objects: &[(String, Bytes)]) -> Result<f64> {
    let mut time = std::time::Duration::ZERO;
    for (name, _) in objects {
        let watch = setting.env.stopwatch();
        let read = files.read_and_hash(name)?;
        time += watch.elapsed();
        black_box(read);
    }
    Ok(rate(objects, time))
}

async fn stream_ours(setting: &Setting, ours: &Ours, objects: &[(String, Bytes)]) -> Result<f64> {
    let watch = setting.env.stopwatch();
    for (name, bytes) in objects {
        let read = ours
            .read_stream(name, |piece| {
                black_box(piece);
            })
            .await?;
        if read != bytes.len() as u64 {
            return Err(format!("{name} came with {read} bytes").into());
        }
    }
    Ok(rate(objects, watch.elapsed()))
}

fn stream_files(setting: &Setting, files: &Plain, objects: &[(String, Bytes)]) -> Result<f64> {
    let watch = setting.env.stopwatch();
    for (name, _) in objects {
        black_box(files.hash(name)?);
    }
    Ok(rate(objects, watch.elapsed()))
}
