//! `holdall run`: one pass of what looks after a volume.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use holdall::Ran;
use holdall::units::{format_duration, format_size};
use serde_json::{Value, json};

use crate::app::App;
use crate::failure::{Done, Failure, Result, describe};
use crate::output::shown;

/// Runs the jobs of a volume that are due, once, one after the other, or those that are named.
///
/// What was interrupted goes on where it was left. Call it now and then, or let `holdall daemon`
/// do it. Exit code 1 if a job failed or has found something.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Jobs to run whether they are due or not; `holdall jobs` shows which there are.
    jobs: Vec<String>,
}

impl Run {
    pub(crate) async fn run(self, app: &App) -> Result {
        let volume = app.volume().await?;
        app.be_patient();
        let engine = app.engine().await?;
        let cancel = Arc::clone(&app.interrupted);
        let ran = engine.run_jobs(&volume.name(), &self.jobs, cancel).await?;
        for (name, ran) in &ran {
            app.output.row(&shape(name, ran), || format!("{name}: {}", line(ran)))?;
        }
        if app.interrupted.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
        if ran.is_empty() {
            app.output.summary(&json!({ "due": 0 }), || "nothing is due".to_owned())?;
        }
        Ok(Done::unless(ran.iter().any(|(_, ran)| !is_well(ran))))
    }
}

/// Whether there is nothing that a person should look at.
fn is_well(ran: &Ran) -> bool {
    match ran {
        Ran::Done(run) => !run.findings,
        Ran::Busy(_) | Ran::Stopped => true,
        Ran::Failed(_) | Ran::Lost => false,
    }
}

/// How a run has ended, for people.
pub(super) fn line(ran: &Ran) -> String {
    match ran {
        Ran::Done(run) => {
            let took = run.ended.since(run.begun).as_millis();
            let took = format_duration(Duration::from_millis(took.try_into().unwrap_or(u64::MAX)));
            let moved = match run.bytes {
                0 => String::new(),
                bytes => format!(", {} moved", format_size(bytes)),
            };
            format!("{} ({took}{moved})", shown(&run.summary))
        }
        Ran::Failed(error) => format!("failed, and is tried again later: {}", describe(error)),
        Ran::Stopped => "stopped; whoever comes next goes on there".to_owned(),
        Ran::Busy(lease) => format!("is being done by {}", shown(&lease.holder)),
        Ran::Lost => "could not keep its lease, and was let go".to_owned(),
    }
}

/// How a run has ended, as an object.
pub(super) fn shape(name: &str, ran: &Ran) -> Value {
    match ran {
        Ran::Done(run) => json!({
            "job": name, "ran": "done", "summary": run.summary, "findings": run.findings,
            "bytes": run.bytes, "seconds": run.ended.since(run.begun).as_secs_f64(),
        }),
        Ran::Failed(error) => json!({
            "job": name, "ran": "failed", "kind": error.kind().as_str(), "message": describe(error),
        }),
        Ran::Stopped => json!({ "job": name, "ran": "stopped" }),
        Ran::Busy(lease) => json!({ "job": name, "ran": "busy", "holder": lease.holder }),
        Ran::Lost => json!({ "job": name, "ran": "lost" }),
    }
}
