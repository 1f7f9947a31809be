//! One file a command: its options, and what it does.

pub(crate) mod backend;
pub(crate) mod bench;
pub(crate) mod cat;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod cp;
pub(crate) mod daemon;
pub(crate) mod diff;
pub(crate) mod export;
pub(crate) mod find;
pub(crate) mod gc;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod jobs;
pub(crate) mod ls;
pub(crate) mod mv;
pub(crate) mod put;
pub(crate) mod rebuild;
pub(crate) mod repair;
pub(crate) mod rm;
pub(crate) mod run;
pub(crate) mod scrub;
pub(crate) mod snapshot;
pub(crate) mod stat;
pub(crate) mod status;
pub(crate) mod verify;
pub(crate) mod volume;

mod replicas;
mod shape;
mod stats;
