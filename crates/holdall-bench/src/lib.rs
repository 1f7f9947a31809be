//! Workloads and side-by-side comparisons: how fast a volume is beside its peers, in one run on
//! one disk.
//!
//! ```text
//!   rows/*         one file a row of the target table: what is done, what is to be reached
//!   contenders/*   one file a contender: how it is opened, and what its durability is
//!   report         what was measured, as a table and as JSON
//! ```
//!
//! Contenders take turns round by round, so that a noisy disk hits all alike; each round begins
//! with another one, and before each the file system is synced, so that nobody pays for what the
//! one before has written or removed. Ratios are taken within a round, and medians over the
//! rounds. Nothing here is asserted about time.
#![allow(
    clippy::disallowed_methods,
    reason = "it measures real time, runs other programs and has a folder of its own"
)]
#![allow(missing_debug_implementations, reason = "contenders are only ever driven")]

pub mod arguments;
pub mod child;
pub mod contenders;
pub mod drive;
pub mod medium;
pub mod others;
pub mod report;
pub mod rows;
pub mod sample;
pub mod setting;
pub mod statistics;
pub mod watch;

/// Whatever goes wrong in a benchmark is for a person to read, and ends it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The result of anything that can fail.
pub type Result<T, E = Failure> = std::result::Result<T, E>;
