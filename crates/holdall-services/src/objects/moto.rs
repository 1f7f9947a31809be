//! S3 by moto, in one thread: it keeps conditional writes, and its data in memory.

use std::path::Path;
use std::process::Command;

use super::{ask, make_bucket, moto, moto_programs, write};
use crate::{Result, Service, Stop};

/// S3 by moto: any credentials, bucket `holdall`. What it held is gone when it starts again.
pub const MOTO: Service =
    Service { name: "moto", install, prepare, command, ready, begin, stop: Stop::Terminate };

fn install() -> Result<()> {
    moto_programs().map(drop)
}

fn prepare(folder: &Path) -> Result<()> {
    write(folder, "serve.py", include_str!("moto.py"))
}

fn command(folder: &Path, port: u16) -> Result<Command> {
    moto("serve.py", folder, port)
}

fn ready(_: &Path, port: u16) -> bool {
    ask(port, "GET", "/").is_ok()
}

fn begin(_: &Path, port: u16) -> Result<()> {
    make_bucket(port)
}
