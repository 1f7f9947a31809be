//! MariaDB from the system's packages.

use std::path::Path;
use std::process::Command;

use crate::install::packages;
use crate::process::{give_to, run};
use crate::{Result, Service, Stop};

/// MariaDB. User `holdall` with the password `holdall` may do everything; there is a database
/// `holdall`, beside those that tests make for themselves. It syncs, so that it can be killed.
pub const MARIADB: Service =
    Service { name: "mariadb", install, prepare, command, ready, begin, stop: Stop::Terminate };

const USER: &str = "nobody";
const SERVER: &str = "/usr/sbin/mariadbd";
const CLIENT: &str = "/usr/bin/mariadb";

fn install() -> Result<()> {
    packages(&[SERVER, CLIENT], &["mariadb-server-core", "mariadb-client-core"])
}

fn prepare(folder: &Path) -> Result<()> {
    give_to(USER, folder)?;
    let mut command = Command::new("mariadb-install-db");
    command.args(["--no-defaults", &format!("--user={USER}"), "--skip-test-db"]);
    command.arg("--auth-root-authentication-method=normal").arg(data(folder));
    run(&mut command).map(drop)
}

fn data(folder: &Path) -> String {
    format!("--datadir={}", folder.join("data").display())
}

fn command(folder: &Path, port: u16) -> Result<Command> {
    let mut command = Command::new(SERVER);
    // This must come first.
    command.args(["--no-defaults", &format!("--user={USER}"), &data(folder)]);
    command.args(["--bind-address=127.0.0.1", &format!("--port={port}"), "--skip-name-resolve"]);
    command.arg(format!("--socket={}", folder.join("socket").display()));
    command.arg(format!("--pid-file={}", folder.join("pid").display()));
    command.args(["--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M"]);
    command.args(["--max-allowed-packet=64M", "--max-connections=300"]);
    command.args(["--character-set-server=utf8mb4", "--collation-server=utf8mb4_bin"]);
    Ok(command)
}

fn ready(_: &Path, port: u16) -> bool {
    ask(port, "select 1").is_ok()
}

fn begin(_: &Path, port: u16) -> Result<()> {
    let user = "create user if not exists holdall@'%' identified by 'holdall'";
    let may = "grant all on *.* to holdall@'%' with grant option";
    ask(port, &format!("{user}; {may}; create database if not exists holdall")).map(drop)
}

fn ask(port: u16, statement: &str) -> Result<String> {
    let mut command = Command::new(CLIENT);
    command.args(["--no-defaults", "-h127.0.0.1", &format!("-P{port}"), "-uroot", "-e", statement]);
    run(&mut command)
}
