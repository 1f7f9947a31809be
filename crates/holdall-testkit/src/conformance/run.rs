//! Runs clauses: one as a test, or all of them into a report.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{Either, select};
use holdall_core::{Backend, Env, Result};

use super::{CLAUSES, Check, Clause, Failure, Fixture, Harness, Verdict};

/// How long one clause may take before it counts as broken: a hang is a finding, too.
const CLAUSE_TIME_MAX: Duration = Duration::from_secs(120);

/// How one clause was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The clause holds.
    Passed,
    /// The clause is broken: how.
    Failed(String),
    /// The profile says that the backend lacks this, and it was refused as it must be.
    Refused(String),
    /// It could not be put to the test here: why.
    Untested(String),
}

/// One clause and how it was found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The clause.
    pub clause: Clause,
    /// How it was found.
    pub outcome: Outcome,
    /// How long that took.
    pub took: Duration,
}

/// Every clause and how it was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// One for each clause, in the order of the contract.
    pub findings: Vec<Finding>,
    /// What kept the suite from removing its keys, if anything did.
    pub left_behind: Option<String>,
}

impl Report {
    /// Whether no clause is broken.
    pub fn is_conformant(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The broken clauses.
    pub fn failures(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| matches!(finding.outcome, Outcome::Failed(_)))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, reason) = match &self.outcome {
            Outcome::Passed => ("passed", ""),
            Outcome::Failed(reason) => ("FAILED", reason.as_str()),
            Outcome::Refused(reason) => ("refused", reason.as_str()),
            Outcome::Untested(reason) => ("untested", reason.as_str()),
        };
        write!(f, "{:<4} {:<48} {word}", self.clause.id, self.clause.name)?;
        if reason.is_empty() { Ok(()) } else { write!(f, ": {reason}") }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        match &self.left_behind {
            Some(reason) => writeln!(f, "keys were left behind: {reason}"),
            None => Ok(()),
        }
    }
}

/// Runs every clause on a live backend, each under its own prefix below `prefix`, and removes what
/// it wrote. Nothing outside `prefix` is written or removed.
///
/// `prefix` should be random, so that two checks of one store do not meet: [`random_prefix`].
/// Clauses about reopening are reported as untested; [`run_fixture`] has them.
pub async fn run(backend: Arc<dyn Backend>, prefix: &str, env: &Env) -> Report {
    let all: Vec<&str> = CLAUSES.iter().map(|clause| clause.id).collect();
    run_some(backend, prefix, env, &all).await
}

/// As [`run`], with the clauses of these numbers alone, in this order.
pub async fn run_some(backend: Arc<dyn Backend>, prefix: &str, env: &Env, ids: &[&str]) -> Report {
    let mut report = Report { findings: Vec::new(), left_behind: None };
    for clause in ids.iter().filter_map(|id| CLAUSES.iter().find(|clause| clause.id == *id)) {
        let own = format!("{prefix}{}/", clause.id);
        let harness = Harness::new(Arc::clone(&backend), own, env.clone());
        report.findings.push(find(clause, &harness).await);
        let reason = match AssertUnwindSafe(harness.clean()).catch_unwind().await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => format!("{error:?}"),
            Err(_) => "the backend panicked".to_owned(),
        };
        report.left_behind.get_or_insert(reason);
    }
    report
}

/// A prefix that no earlier check has used, for [`run`] on a live store.
pub fn random_prefix(env: &Env) -> String {
    let random: [u8; 8] = env.random();
    format!("holdall-check-{:016x}/", u64::from_le_bytes(random))
}

/// Runs every clause, each on a fixture of its own.
///
/// # Errors
/// What opening a fixture returns.
pub async fn run_fixture<F: Fixture>(fixture: impl Fn() -> F, env: &Env) -> Result<Report> {
    let mut report = Report { findings: Vec::new(), left_behind: None };
    for clause in CLAUSES {
        let harness = Harness::open(fixture(), env.clone()).await?;
        report.findings.push(find(clause, &harness).await);
    }
    Ok(report)
}

async fn find(clause: &Clause, harness: &Harness) -> Finding {
    let stopwatch = harness.env().stopwatch();
    let outcome = match bounded(clause, harness).await {
        Ok(Verdict::Kept) => Outcome::Passed,
        Ok(Verdict::Refused(reason)) => Outcome::Refused(reason),
        Ok(Verdict::Untested(reason)) => Outcome::Untested(reason),
        Err(failure) => Outcome::Failed(failure.to_string()),
    };
    Finding { clause: *clause, outcome, took: stopwatch.elapsed() }
}

/// The check's answer, also where the backend panics or hangs.
async fn bounded(clause: &Clause, harness: &Harness) -> Check {
    let check = AssertUnwindSafe((clause.check)(harness)).catch_unwind();
    match select(Box::pin(check), harness.env().sleep(CLAUSE_TIME_MAX)).await {
        Either::Left((Ok(answer), _)) => answer,
        Either::Left((Err(_), _)) => Err(Failure::new("the backend panicked")),
        Either::Right(_) => {
            let seconds = CLAUSE_TIME_MAX.as_secs();
            Err(Failure::new(format!("there was no answer within {seconds} s")))
        }
    }
}

/// The body of one test that [`conformance!`](crate::conformance!) makes.
///
/// # Panics
/// Panics if the clause is broken, with its number, its function and how.
#[allow(clippy::panic, reason = "this is the assertion of a test")]
pub async fn hold(id: &str, fixture: impl Fixture, env: Env) {
    let clause =
        CLAUSES.iter().find(|clause| clause.id == id).expect("the macro knows its clauses");
    let harness = match Harness::open(fixture, env).await {
        Ok(harness) => harness,
        Err(error) => panic!("the fixture could not open its backend: {error:?}"),
    };
    if let Err(failure) = bounded(clause, &harness).await {
        panic!("clause {} ({}) is broken: {failure}", clause.id, clause.name);
    }
}
