//! Azure Blob Storage by azurite.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ask, write};
use crate::install::npm;
use crate::process::run;
use crate::{Result, Service, Stop};

/// Azure by azurite: its published account and key, container `holdall`.
pub const AZURITE: Service =
    Service { name: "azurite", install, prepare, command, ready, begin, stop: Stop::Terminate };

fn install() -> Result<()> {
    package().map(drop)
}

fn package() -> Result<PathBuf> {
    npm("azurite", &["azurite@3.37.0"])
}

fn prepare(folder: &Path) -> Result<()> {
    write(folder, "azurite.js", include_str!("azurite.js"))
}

fn command(folder: &Path, port: u16) -> Result<Command> {
    let mut command = Command::new("node");
    command.arg(package()?.join("node_modules/azurite/dist/src/blob/main.js"));
    command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
    command.args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"]);
    command.arg("--disableProductStyleUrl").arg("-l").arg(folder.join("data"));
    Ok(command)
}

fn ready(_: &Path, port: u16) -> bool {
    ask(port, "GET", "/").is_ok()
}

fn begin(folder: &Path, port: u16) -> Result<()> {
    let mut command = Command::new("node");
    command.arg(folder.join("azurite.js")).arg(port.to_string());
    run(&mut command).map(drop)
}
