//! The process ends, at every step of everything that writes and at any moment: what was
//! acknowledged is there and whole, nothing is torn, and what is counted is right.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod killed;
#[path = "../support/killed.rs"]
mod killing;
mod points;
mod processes;
mod replicas;
#[path = "../support/site.rs"]
mod site;
#[path = "../support/world.rs"]
mod world;
