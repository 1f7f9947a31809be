//! Redis from the system's packages.

use std::path::Path;
use std::process::Command;

use crate::install::packages;
use crate::process::run;
use crate::{Result, Service, Stop, nothing, nothing_more};

/// Redis, with 64 databases, none of which is ever emptied to make room. It writes every command
/// to its log and syncs it at once, so that it can be killed.
pub const REDIS: Service = Service {
    name: "redis",
    install,
    prepare: nothing,
    command,
    ready,
    begin: nothing_more,
    stop: Stop::Terminate,
};

fn install() -> Result<()> {
    packages(&["/usr/bin/redis-server", "/usr/bin/redis-cli"], &["redis-server"])
}

fn command(folder: &Path, port: u16) -> Result<Command> {
    let mut command = Command::new("/usr/bin/redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]).arg("--dir").arg(folder);
    command.args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    command.args(["--maxmemory-policy", "noeviction", "--daemonize", "no", "--databases", "64"]);
    Ok(command)
}

fn ready(_: &Path, port: u16) -> bool {
    let mut command = Command::new("/usr/bin/redis-cli");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "ping"]);
    run(&mut command).is_ok_and(|said| said.trim() == "PONG")
}
