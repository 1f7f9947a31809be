//! The real servers that the tests run against, on loopback, each with its data in a temporary
//! folder. What is not installed is installed; what cannot be is an error, never a test skipped.
//!
//! ```no_run
//! use holdall_services::{POSTGRES, shared, start};
//!
//! let server = shared(&POSTGRES)?; // one for all tests; `cargo x services down` ends it
//! println!("postgres://holdall@127.0.0.1:{}/postgres", server.port);
//!
//! let mut own = start(&POSTGRES)?; // one of the test's own, to be killed and started again
//! own.kill()?;
//! own.restart()?;
//! # Ok::<(), String>(())
//! ```
//!
//! A recipe is one file with one [`Service`]; [`ALL`] lists them.
#![allow(
    clippy::disallowed_methods,
    reason = "runs other programs, waits for them, and looks at its surroundings, as tests do"
)]

mod dynamodb;
mod install;
mod mariadb;
mod objects;
mod own;
mod postgres;
mod process;
mod proxy;
mod redis;
mod shared;

use std::path::Path;
use std::process::Command;

pub use dynamodb::{DYNAMODB, DYNAMODB_ON_DISK};
pub use install::{compilers, tools};
pub use mariadb::MARIADB;
pub use objects::{AZURITE, GCS, Garage, MOTO, RCLONE, S3S_FS};
pub use own::{Own, start};
pub use postgres::{POSTGRES, POSTGRES_SECURED};
pub use proxy::{Proxy, Trouble};
pub use redis::REDIS;
pub use shared::{Shared, State, down, shared, state};

/// What went wrong, in words for the person who runs the tests.
pub type Result<T> = std::result::Result<T, String>;

/// Every server there is a recipe for.
pub const ALL: &[&Service] = &[
    &POSTGRES,
    &POSTGRES_SECURED,
    &MARIADB,
    &REDIS,
    &MOTO,
    &RCLONE,
    &S3S_FS,
    &AZURITE,
    &GCS,
    &DYNAMODB,
    &DYNAMODB_ON_DISK,
];

/// How one server is installed, started, awaited and stopped.
#[derive(Debug)]
pub struct Service {
    /// What it is called in `cargo x services`.
    pub name: &'static str,
    /// Makes sure that its programs are there.
    pub install: fn() -> Result<()>,
    /// Makes what it needs in an empty folder, once.
    pub prepare: fn(&Path) -> Result<()>,
    /// The program with its arguments, for this folder and port of 127.0.0.1, in the foreground.
    pub command: fn(&Path, u16) -> Result<Command>,
    /// Whether it answers on this port.
    pub ready: fn(&Path, u16) -> bool,
    /// What is done once it answers for the first time, such as making a bucket.
    pub begin: fn(&Path, u16) -> Result<()>,
    /// The signal that ends it in good order.
    pub stop: Stop,
}

/// How a server is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
}

/// For services that need nothing of a kind.
pub(crate) fn nothing(_: &Path) -> Result<()> {
    Ok(())
}

/// For services that need nothing once they answer.
pub(crate) fn nothing_more(_: &Path, _: u16) -> Result<()> {
    Ok(())
}
