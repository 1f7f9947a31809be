//! `holdall jobs`: what looks after a volume, and how far it is.

use clap::Args;
use holdall::units::format_size;
use holdall::{JobState, JobStatus, Timestamp};
use serde_json::{Value, json};

use crate::app::App;
use crate::failure::{Done, Result};
use crate::output::{Table, shown};
use crate::times;

/// Shows the jobs that look after a volume: how far each is, and when it runs next.
///
/// Exit code 1 if the last run of one failed or has found something.
#[derive(Args, Debug)]
pub(crate) struct Jobs {}

impl Jobs {
    pub(crate) async fn run(self, app: &App) -> Result {
        let volume = app.volume().await?;
        let jobs = app.engine().await?.jobs(&volume.name()).await?;
        let mut table =
            Table::new(&["JOB", "STATE", "PROGRESS", "RATE", "LAST", "NEXT", "SCHEDULE"]);
        let mut notes = Vec::new();
        for job in &jobs {
            if app.output.is_json() {
                app.output.object(&shape(job))?;
                continue;
            }
            table.add([
                job.name.clone(),
                job.state.to_string(),
                progress(job),
                rate(job),
                job.row
                    .last
                    .as_ref()
                    .map_or_else(|| "never".to_owned(), |run| times::short(run.begun)),
                job.next.map_or_else(|| "–".to_owned(), |next| next_run(next, app.now())),
                job.schedule.clone(),
            ]);
            notes.extend(note(job));
        }
        if let Some(alert) = volume.usage().await?.alert() {
            notes.push(alert);
        }
        if !app.output.is_json() {
            table.lines().chain(notes).try_for_each(|line| app.output.line(&line))?;
        }
        Ok(Done::unless(jobs.iter().any(is_wrong)))
    }
}

fn is_wrong(job: &JobStatus) -> bool {
    job.row.failures > 0
        || job.state == JobState::Wrong
        || job.row.last.as_ref().is_some_and(|run| run.findings)
}

fn next_run(next: Timestamp, now: Timestamp) -> String {
    if next <= now { "now".to_owned() } else { times::short(next) }
}

fn progress(job: &JobStatus) -> String {
    if job.row.begun.is_none() {
        return "–".to_owned();
    }
    let progress = &job.row.progress;
    let part = match progress.total {
        Some(total) if total > 0 => format!(" {} %", progress.done.min(total) * 100 / total),
        _ if progress.done > 0 => format!(" {}", progress.done),
        _ => String::new(),
    };
    format!("{}{part}", shown(&progress.stage)).trim().to_owned()
}

fn rate(job: &JobStatus) -> String {
    let now = match job.state {
        JobState::Running => format!("{}/s", format_size(job.row.progress.bytes_a_second)),
        _ => "–".to_owned(),
    };
    match job.rate_bytes {
        Some(most) => format!("{now} of {}/s", format_size(most)),
        None => now,
    }
}

/// What a person should know of a job beside its row.
fn note(job: &JobStatus) -> Option<String> {
    if let Some(error) = job.row.error.as_ref().filter(|_| job.row.failures > 0) {
        let (at, message) = (times::short(error.at), shown(&error.message));
        return Some(format!(
            "{}: failed {} times, last {at}: {message}",
            job.name, job.row.failures
        ));
    }
    let run = job.row.last.as_ref().filter(|run| run.findings)?;
    Some(format!("{}: {}", job.name, shown(&run.summary)))
}

/// A job as an object.
fn shape(job: &JobStatus) -> Value {
    let row = &job.row;
    let lease = row.lease.as_ref();
    let last = row.last.as_ref();
    json!({
        "job": job.name,
        "about": job.about,
        "state": job.state.as_str(),
        "schedule": job.schedule,
        "rate_bytes_max": job.rate_bytes,
        "next": job.next.map(times::exact),
        "begun": row.begun.map(times::exact),
        "holder": lease.map(|lease| lease.holder.as_str()),
        "renewed": lease.map(|lease| times::exact(lease.renewed)),
        "stage": row.progress.stage,
        "done": row.progress.done,
        "total": row.progress.total,
        "bytes": row.progress.bytes,
        "bytes_a_second": row.progress.bytes_a_second,
        "runs": row.runs,
        "last": last.map(|run| json!({
            "begun": times::exact(run.begun), "ended": times::exact(run.ended),
            "summary": run.summary, "findings": run.findings, "bytes": run.bytes,
        })),
        "failures": row.failures,
        "error": row.error.as_ref().map(|error| json!({
            "at": times::exact(error.at), "message": error.message,
        })),
    })
}
