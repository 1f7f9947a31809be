//! Google Cloud Storage: moto's S3 behind a facade that keeps generations, in one thread.

use std::path::Path;
use std::process::Command;

use super::{ask, make_bucket, moto, moto_programs, write};
use crate::{Result, Service, Stop};

/// Google's XML protocol: no credentials, bucket `holdall`. What it held is gone when it starts
/// again.
pub const GCS: Service =
    Service { name: "gcs", install, prepare, command, ready, begin, stop: Stop::Terminate };

fn install() -> Result<()> {
    moto_programs().map(drop)
}

fn prepare(folder: &Path) -> Result<()> {
    write(folder, "gcs.py", include_str!("gcs.py"))
}

fn command(folder: &Path, port: u16) -> Result<Command> {
    moto("gcs.py", folder, port)
}

fn ready(_: &Path, port: u16) -> bool {
    ask(port, "GET", "/").is_ok()
}

fn begin(_: &Path, port: u16) -> Result<()> {
    make_bucket(port)
}
