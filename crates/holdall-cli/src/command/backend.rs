//! `holdall backend`: which there are, and whether a store keeps the contract and how fast it is.

use std::sync::Arc;

use clap::{Args, Subcommand};
use holdall::{BACKENDS, Env, Profile, open_backend, parse_location};
use holdall_testkit::conformance::{Finding, Outcome, random_prefix, run};
use holdall_testkit::{Load, Probe, Rate, measure, probe};
use serde_json::{Value, json};

use crate::app::App;
use crate::failure::{Done, Result};
use crate::output::Table;

/// Looks at a backend.
#[derive(Args, Debug)]
pub(crate) struct Backend {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Shows every kind of backend, what it promises, and whether this build has it.
    List,
    /// Puts every clause of the contract to the test on a live store, and measures it shortly.
    ///
    /// Writes under a random prefix, and removes what it wrote. Exit code 1 if a clause is broken.
    Check {
        /// The store, such as file:///srv/data or lmdb:///srv/catalog.
        location: String,
        /// Shows the clauses that hold as well.
        #[arg(long)]
        all: bool,
    },
    /// Shows requests, errors, bytes and times of every call, over the life of each backend.
    ///
    /// Running commands add to it every five seconds. The figures are kept in the home folder;
    /// losing them harms nothing.
    Stats {
        /// A location, a backend's name in the configuration, or a volume's; all backends without.
        backend: Option<String>,
    },
}

impl Backend {
    pub(crate) async fn run(self, app: &App) -> Result {
        let (location, all) = match self.action {
            Action::List => return list(app),
            Action::Stats { backend } => return super::stats::show(app, backend.as_deref()),
            Action::Check { location, all } => (location, all),
        };
        let location = parse_location(&location)?;
        let stacked = open_backend(&location, "holdall backend check", &app.env).await?;
        let backend = stacked.backend;
        let env: &Env = &app.env;
        let profile = backend.profile().clone();
        let notes = backend.health().await?.notes;
        let prefix = random_prefix(env);
        let probed = probe(Arc::clone(&backend), &format!("{prefix}probe/"), env).await;
        let report = run(Arc::clone(&backend), &prefix, env).await;
        let measured = measure(backend, &format!("{prefix}speed/"), env, Load::default()).await;
        if let Some(journal) = stacked.journal {
            journal.close().await?;
        }
        let rates = measured?;
        let honest = probed.is_honest() && report.is_conformant();
        if app.output.is_json() {
            app.output.object(&json!({
                "location": location.to_string(),
                "profile": shape(&profile),
                "notes": notes,
                "conformant": honest,
                "probe": probed.findings().map(finding),
                "clauses": report.findings.iter().map(finding).collect::<Vec<_>>(),
                "left_behind": report.left_behind,
                "rates": rates.iter().map(rate).collect::<Vec<_>>(),
            }))?;
            return Ok(Done::unless(!honest));
        }
        app.output.line(&format!("{location}: {}", facts(&profile)))?;
        for note in &notes {
            app.output.line(&format!("note: {note}"))?;
        }
        app.output.line(&format!(
            "probe: {}",
            if probed.is_honest() { "it does what it says" } else { "IT DOES NOT DO WHAT IT SAYS" }
        ))?;
        for found in &report.findings {
            if all || !matches!(found.outcome, Outcome::Passed) {
                app.output.line(&format!("  {found}"))?;
            }
        }
        app.output.line(&counts(&report.findings, &probed))?;
        if let Some(left) = &report.left_behind {
            app.output.line(&format!("keys were left behind under {prefix}: {left}"))?;
        }
        for rate in &rates {
            app.output.line(&format!("  {rate}"))?;
        }
        Ok(Done::unless(!honest))
    }
}

/// Every kind of backend, a line each.
fn list(app: &App) -> Result {
    if app.output.is_json() {
        for known in BACKENDS {
            app.output.object(&json!({
                "scheme": known.scheme,
                "example": known.example,
                "built_in": known.built_in,
                "feature": known.feature,
                "how_to_build": known.how_to_build(),
                "survives": known.survives,
                "seen_by": known.seen_by,
                "conditions": known.conditions,
                "catalog": known.catalog,
            }))?;
        }
        return Ok(Done::Whole);
    }
    let heads = ["location", "a returned write survives", "seen by", "conditions", "catalog"];
    let mut table = Table::new(&heads);
    for known in BACKENDS {
        let absent = if known.built_in { "" } else { " (not in this build, see below)" };
        table.add([
            format!("{}{absent}", known.example),
            known.survives.to_owned(),
            known.seen_by.to_owned(),
            known.conditions.to_owned(),
            known.catalog.to_owned(),
        ]);
    }
    for line in table.lines() {
        app.output.line(&line)?;
    }
    let absent = BACKENDS.iter().filter_map(|known| Some((known.scheme, known.how_to_build()?)));
    for (scheme, build) in absent {
        app.output.line(&format!("{scheme}: {build}"))?;
    }
    Ok(Done::Whole)
}

pub(super) fn facts(profile: &Profile) -> String {
    format!(
        "{}, a returned write survives {}, seen by {}, {}",
        profile.engine,
        match profile.durability {
            holdall::Durability::Process => "nothing",
            holdall::Durability::Machine => "a loss of power",
            holdall::Durability::Store => "what the store promises",
        },
        match profile.reach {
            holdall::Reach::Process => "this process",
            holdall::Reach::Machine => "this machine",
            holdall::Reach::Network => "everyone",
        },
        if profile.atomic { "can hold a catalog" } else { "cannot hold a catalog" },
    )
}

fn counts(findings: &[Finding], probed: &Probe) -> String {
    let count =
        |is: fn(&Outcome) -> bool| findings.iter().filter(|finding| is(&finding.outcome)).count();
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let verdict = match failed {
        0 if probed.is_honest() => "it can be relied on",
        _ => "DO NOT rely on it: see what failed",
    };
    format!(
        "contract: {} of {} clauses hold, {} lacking and refused as they must be, {} untested, \
         {failed} failed: {verdict}",
        count(|outcome| *outcome == Outcome::Passed),
        findings.len(),
        count(|outcome| matches!(outcome, Outcome::Refused(_))),
        count(|outcome| matches!(outcome, Outcome::Untested(_))),
    )
}

fn shape(profile: &Profile) -> Value {
    json!({
        "engine": profile.engine,
        "key_bytes_max": profile.key_bytes_max,
        "value_bytes_max": profile.value_bytes_max,
        "batch_ops_max": profile.batch_ops_max,
        "batch_bytes_max": profile.batch_bytes_max,
        "atomic": profile.atomic,
        "conditions": format!("{:?}", profile.conditions).to_lowercase(),
        "reach": format!("{:?}", profile.reach).to_lowercase(),
        "durability": format!("{:?}", profile.durability).to_lowercase(),
    })
}

fn finding(finding: &Finding) -> Value {
    let (outcome, reason) = match &finding.outcome {
        Outcome::Passed => ("passed", ""),
        Outcome::Failed(reason) => ("failed", reason.as_str()),
        Outcome::Refused(reason) => ("refused", reason.as_str()),
        Outcome::Untested(reason) => ("untested", reason.as_str()),
    };
    json!({ "clause": finding.clause.id, "name": finding.clause.name, "outcome": outcome,
        "reason": reason, "seconds": finding.took.as_secs_f64() })
}

fn rate(rate: &Rate) -> Value {
    json!({ "name": rate.name, "callers": rate.callers, "per_second": rate.per_second(),
        "bytes_per_second": rate.bytes_per_second(), "p50_seconds": rate.half.as_secs_f64(),
        "p99_seconds": rate.most.as_secs_f64(), "max_seconds": rate.slowest.as_secs_f64() })
}
