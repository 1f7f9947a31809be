//! Databases for tests, on the shared server and on servers of their own.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use holdall_core::Key;
use holdall_mysql::Config;
use holdall_services::{MARIADB, Own, Service, shared, start};

/// MariaDB with further arguments.
static SERVICE: Service = Service { command, ..MARIADB };
/// Those of the server that is being started; one is at a time.
static ARGUMENTS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static STARTING: Mutex<()> = Mutex::new(());

fn command(folder: &Path, port: u16) -> holdall_services::Result<Command> {
    let mut command = (MARIADB.command)(folder, port)?;
    command.args(&*ARGUMENTS.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(command)
}

fn with_arguments<T>(arguments: &[&str], starts: impl FnOnce() -> T) -> T {
    let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    *ARGUMENTS.lock().unwrap_or_else(PoisonError::into_inner) = arguments;
    starts()
}

/// A server of the test's own, with these arguments besides the usual ones.
pub(crate) fn server(arguments: &[&str]) -> Own {
    with_arguments(arguments, || start(&SERVICE).unwrap())
}

/// Starts it again with other arguments.
pub(crate) fn restart(server: &mut Own, arguments: &[&str]) {
    with_arguments(arguments, || server.restart().unwrap());
}

/// A database that is dropped with this.
pub(crate) struct Database {
    pub(crate) port: u16,
    pub(crate) name: String,
}

impl Database {
    /// A new one on the server that all tests share.
    pub(crate) fn shared() -> Self {
        Self::on(shared(&MARIADB).unwrap().port)
    }

    /// A new one on the server at this port.
    pub(crate) fn on(port: u16) -> Self {
        let number = u64::from_le_bytes(holdall_runtime::env().random());
        let name = format!("test_{number:016x}");
        ask(port, &format!("create database {name}"));
        Self { port, name }
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            port: self.port,
            password: Some("holdall".to_owned()),
            min_connections: 0,
            ..Config::new("127.0.0.1", "holdall", &self.name)
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The server may be one of the test's own, and gone.
        let _ = client(self.port, &format!("drop database if exists {}", self.name)).status();
    }
}

/// The same, for what may fail.
pub(crate) fn try_ask(port: u16, statements: &str) {
    let _ = client(port, statements).output();
}

/// Lets other users read a folder: a server that is started by root runs as one.
pub(crate) fn open_to_others(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder, open).unwrap();
}

/// Has the server's own client run these statements, and returns what it prints.
pub(crate) fn ask(port: u16, statements: &str) -> String {
    let output = client(port, statements).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[allow(clippy::disallowed_methods, reason = "tests run the server's client")]
fn client(port: u16, statements: &str) -> Command {
    let mut command = Command::new("mariadb");
    command.args(["--no-defaults", "-h127.0.0.1", &format!("-P{port}"), "-uroot", "-N"]);
    command.args(["-e", statements]);
    command.stderr(std::process::Stdio::piped());
    command
}

pub(crate) fn key(text: impl AsRef<str>) -> Key {
    Key::parse(text).unwrap()
}
