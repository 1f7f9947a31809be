//! `holdall verify`: reads and checks everything.

use std::sync::Arc;

use clap::Args;
use holdall::verify::{Report, Severity, VerifyOptions};

use crate::app::App;
use crate::failure::{Done, Failure, Result};
use crate::output::{counted, shown};

/// Reads every row and every stored byte, counts everything again, and reports what is wrong.
///
/// Exit code 1 if anything is wrong that costs data, room or time.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// Mends what can be mended.
    #[arg(long)]
    repair: bool,
    /// Does not read every entry by its own tree; all stored bytes are read in any case.
    #[arg(long)]
    quick: bool,
}

impl Verify {
    pub(crate) async fn run(self, app: &App) -> Result {
        let volume = app.volume().await?;
        app.be_patient();
        let progress = app.progress();
        // Where the head is damaged, that is for verifying to report.
        let bytes = volume.usage().await.map_or(0, |usage| usage.segment_bytes);
        progress.total(bytes);
        let shown_progress = progress.clone();
        let options = VerifyOptions {
            repair: self.repair,
            entries: !self.quick,
            progress: Some(Arc::new(move |stage, counts| {
                shown_progress.set(counts.bytes_read.min(bytes));
                shown_progress.message(format!("{stage:?}: {} rows", counts.rows).to_lowercase());
            })),
            cancel: Arc::clone(&app.interrupted),
            ..VerifyOptions::default()
        };
        let report = volume.verify(options).await;
        progress.end();
        let report = report?;
        app.output.row(&report, || lines(&report))?;
        match report.complete {
            false => Err(Failure::Interrupted),
            true => Ok(Done::unless(!report.is_clean())),
        }
    }
}

fn lines(report: &Report) -> String {
    let mut lines = Vec::new();
    for found in &report.findings {
        let severity = match found.severity {
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Error => "ERROR",
        };
        let repaired = if found.repaired { " (repaired)" } else { "" };
        let (key, message) = (shown(&found.key), shown(&found.message));
        lines.push(format!("{severity}{repaired}: {message}; key `{key}`; {}", found.advice));
    }
    if report.findings_dropped > 0 {
        lines.push(format!("and {}", counted(report.findings_dropped, "more finding")));
    }
    let counts = &report.counts;
    lines.push(format!(
        "{}, {}, {}, {} and {} read, {} of log, {}: {}",
        counted(counts.rows, "row"),
        counted(counts.chunks, "chunk"),
        counted(counts.segments, "segment"),
        counted(counts.entries_read, "entry"),
        holdall::units::format_size(counts.bytes_read),
        counted(counts.log_commits, "commit"),
        counted(counts.checkpoints, "checkpoint"),
        match report.worst() {
            None | Some(Severity::Notice) => "everything is whole",
            Some(Severity::Warning) => "something is wrong, but no data is damaged",
            Some(Severity::Error) => "data is damaged or in danger; see above",
        }
    ));
    lines.join("\n")
}
