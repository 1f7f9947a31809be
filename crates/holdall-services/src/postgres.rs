//! PostgreSQL from the system's packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::install::packages;
use crate::process::{as_user, give_to, run};
use crate::{Result, Service, Stop, nothing_more};

/// PostgreSQL. User `holdall` without a password, database `postgres`; tests make databases of
/// their own in it. It syncs, so that it can be killed.
pub const POSTGRES: Service = Service {
    name: "postgres",
    install,
    prepare,
    command,
    ready,
    begin: nothing_more,
    stop: Stop::Interrupt,
};

/// It refuses to run as root.
const USER: &str = "postgres";

fn install() -> Result<()> {
    packages(&["/usr/lib/postgresql"], &["postgresql"])?;
    programs().map(drop)
}

/// The folder of programs of the newest version that is installed.
fn programs() -> Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let versions = versions.map_err(|e| format!("postgres is not installed: {e}"))?;
    let newest = versions
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .ok_or("there is no version of postgres in /usr/lib/postgresql")?;
    Ok(PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin")))
}

fn program(name: &str) -> Result<Command> {
    Ok(as_user(USER, &programs()?.join(name).to_string_lossy()))
}

fn prepare(folder: &Path) -> Result<()> {
    give_to(USER, folder)?;
    let mut command = program("initdb")?;
    command.arg("-D").arg(folder.join("data")).args(["-U", "holdall", "-A", "trust"]);
    run(command.args(["-E", "UTF8", "--locale=C", "--no-sync"]).current_dir(folder)).map(drop)
}

fn command(folder: &Path, port: u16) -> Result<Command> {
    let mut command = program("postgres")?;
    command.arg("-D").arg(folder.join("data")).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    command.arg("-k").arg(folder).args(["-c", "max_connections=200"]).current_dir(folder);
    Ok(command)
}

fn ready(folder: &Path, port: u16) -> bool {
    let Ok(programs) = programs() else { return false };
    let mut command = Command::new(programs.join("pg_isready"));
    command.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string(), "-U", "holdall"]);
    run(command.current_dir(folder)).is_ok()
}
