//! Servers of several settings, and how the tests speak to them behind the backend's back.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use holdall_core::{Bytes, Error, Key};
use holdall_redis::{Config, Redis};
use holdall_services::{Own, REDIS, Service, start};

type Ready<T> = holdall_services::Result<T>;

/// A server that syncs every second.
pub(crate) const EVERYSEC: Service = Service {
    name: "redis-everysec",
    command: |folder, port| with(folder, port, &["--appendfsync", "everysec"]),
    ..REDIS
};

/// A server that one may ask to do strange things.
pub(crate) const DEBUG: Service = Service {
    name: "redis-debug",
    command: |folder, port| with(folder, port, &["--enable-debug-command", "local"]),
    ..REDIS
};

/// A node of a cluster.
pub(crate) const NODE: Service = Service {
    name: "redis-node",
    command: |folder, port| {
        // A node's second port is 10,000 above the first, where there is one so high.
        let bus = if port > 55_000 { port - 10_000 } else { port + 10_000 };
        let bus = bus.to_string();
        with(folder, port, &["--cluster-enabled", "yes", "--cluster-port", &bus])
    },
    ..REDIS
};

fn with(folder: &Path, port: u16, more: &[&str]) -> Ready<Command> {
    let mut command = (REDIS.command)(folder, port)?;
    command.args(more);
    Ok(command)
}

/// A server of this test's own.
pub(crate) fn own() -> Own {
    start(&REDIS).unwrap()
}

pub(crate) fn at(port: u16) -> Config {
    let timeout = Duration::from_secs(5);
    Config { timeout, ..Config::new("127.0.0.1", port) }
}

pub(crate) async fn open(config: &Config) -> Result<Redis, Error> {
    Redis::open(config.clone(), &holdall_runtime::env()).await
}

/// What `redis-cli` prints.
pub(crate) fn cli(port: u16, words: &[&str]) -> String {
    let mut command = Command::new("/usr/bin/redis-cli");
    let said = command.args(["-p", &port.to_string()]).args(words).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap().trim().to_owned();
    assert!(!said.starts_with("ERR"), "{words:?}: {said}");
    said
}

/// `redis-cli` in the background.
pub(crate) fn cli_behind(port: u16, words: &[&str]) -> Child {
    let mut command = Command::new("/usr/bin/redis-cli");
    command.args(["-p", &port.to_string()]).args(words);
    command.stdout(std::process::Stdio::null()).spawn().unwrap()
}

pub(crate) fn set(port: u16, setting: &str, value: &str) {
    assert_eq!(cli(port, &["config", "set", setting, value]), "OK", "{setting} {value}");
}

/// Waits until the server says so.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        holdall_runtime::env().sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn key(name: &str) -> Key {
    Key::parse(name).unwrap()
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
