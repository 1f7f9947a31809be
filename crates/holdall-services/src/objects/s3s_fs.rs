//! S3 by s3s-fs: a server that looks before it creates, and so lets several creators win.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::install::crate_program;
use crate::{Result, Service, Stop, nothing_more};

/// S3 by s3s-fs: key `holdallkey` with the secret `holdallsecret`, bucket `holdall`.
pub const S3S_FS: Service = Service {
    name: "s3s-fs",
    install,
    prepare,
    command,
    ready,
    begin: nothing_more,
    stop: Stop::Terminate,
};

fn install() -> Result<()> {
    program().map(drop)
}

/// Built without optimisation, which makes it ready minutes earlier.
fn program() -> Result<PathBuf> {
    crate_program("s3s-fs", "0.14.1", &["--features=binary", "--debug"])
}

fn prepare(folder: &Path) -> Result<()> {
    let bucket = folder.join("data/holdall");
    std::fs::create_dir_all(&bucket).map_err(|e| format!("{}: {e}", bucket.display()))
}

fn command(folder: &Path, port: u16) -> Result<Command> {
    let mut command = Command::new(program()?);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--access-key", "holdallkey", "--secret-key", "holdallsecret"]);
    command.arg(folder.join("data"));
    Ok(command)
}

fn ready(_: &Path, port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}
