//! The conformance suite: every numbered clause of `docs/contract.md` as a function.
//!
//! The same functions run as tests of a backend or layer (the [`conformance!`](crate::conformance!)
//! macro makes one test a clause) and against a live store ([`run`], behind `holdall backend
//! check`). All of them work under a prefix and never assume that the store is otherwise empty.
//! What a profile says is lacking is tested to be refused with nothing written.

mod chapters;
mod clauses;
mod harness;
mod run;

use std::fmt;

use futures::future::BoxFuture;

pub use chapters::CLAUSES;
pub use harness::{Check, Failure, Fixture, Harness, Verdict};
pub use run::{Finding, Outcome, Report, hold, random_prefix, run, run_fixture, run_some};

/// One numbered clause and the function that puts it to the test.
#[derive(Clone, Copy)]
pub struct Clause {
    /// Its number in `docs/contract.md`, such as `G3`.
    pub id: &'static str,
    /// Its function, such as `get::range_is_clipped`.
    pub name: &'static str,
    /// Puts the clause to the test.
    pub check: for<'a> fn(&'a Harness) -> BoxFuture<'a, Check>,
}

impl fmt::Debug for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.name)
    }
}
