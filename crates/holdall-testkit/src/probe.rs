//! The probe at attach: whether this very store keeps its word, by what it does and not by its
//! name.

use std::fmt;
use std::sync::Arc;

use holdall_core::{Backend, Env};

use crate::conformance::{Finding, Outcome, run_some};

/// What a store was found to do. Each answer is `Passed`; `Refused` where the profile says that it
/// lacks this and it said so when asked; or `Failed`, and it must not be trusted with it.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Creating what is there must fail.
    pub create_twice: Finding,
    /// Writing with a revision that is no longer current must fail.
    pub stale_revision: Finding,
    /// Of many that create one key at once, exactly one must succeed.
    pub racing_creators: Finding,
    /// A batch of which one expectation fails must write nothing.
    pub batch: Finding,
    /// What kept the probe from removing its keys, if anything did.
    pub left_behind: Option<String>,
}

impl Probe {
    /// The four answers.
    pub fn findings(&self) -> [&Finding; 4] {
        [&self.create_twice, &self.stale_revision, &self.racing_creators, &self.batch]
    }

    /// Whether the store does what its profile says.
    pub fn is_honest(&self) -> bool {
        self.findings().iter().all(|finding| !matches!(finding.outcome, Outcome::Failed(_)))
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings().iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

/// Probes a live store under `prefix`, which should be random, and removes what it wrote.
pub async fn probe(backend: Arc<dyn Backend>, prefix: &str, env: &Env) -> Probe {
    let report = run_some(backend, prefix, env, &["E1", "E4", "R1", "A2"]).await;
    let mut findings = report.findings.into_iter();
    let mut next = || findings.next().expect("there is a finding for each clause that was asked");
    Probe {
        create_twice: next(),
        stale_revision: next(),
        racing_creators: next(),
        batch: next(),
        left_behind: report.left_behind,
    }
}
