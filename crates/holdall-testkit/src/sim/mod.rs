//! Simulation: one seed gives clock, chance, schedule and faults, and replays exactly.
//!
//! A [`Simulation`] runs one future, and everything it spawns, on one thread. Which ready task runs
//! next, when background jobs run, how long each step takes and when the wall clock jumps is drawn
//! from the seed; sleeping costs no real time. What runs inside must get time, chance and tasks
//! from
//! the given [`Env`] alone and must not wait for other threads, so its backends are memory,
//! [`Strict`](crate::Strict), and wrappers of those.
//!
//! ```
//! use holdall_testkit::sim;
//! use std::time::Duration;
//!
//! sim::seeds(5, |seed| {
//!     let waited = sim::simulate(seed, |env| async move {
//!         let watch = env.stopwatch();
//!         env.sleep(Duration::from_secs(3600)).await;
//!         watch.elapsed()
//!     });
//!     assert!(waited >= Duration::from_secs(3600));
//! });
//! ```
//!
//! [`Env`]: holdall_core::Env

mod env;
mod run;
mod seeds;

pub use env::SimEnv;
pub use run::{Simulation, Stuck, Trace, simulate};
pub use seeds::{SEED_VARIABLE, SEEDS_VARIABLE, seeds};
