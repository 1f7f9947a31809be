//! `holdall repair`: brings every segment back to its copies.

use std::sync::Arc;

use clap::Args;
use holdall::units::{format_size, parse_size};
use holdall::{RepairOptions, RepairReport, Throttle};

use crate::app::App;
use crate::failure::{Done, Failure, Result};
use crate::output::counted;

/// Brings every segment back to its copies, and away from places that are draining.
///
/// Run it when a place was lost, added, drained or emptied, or when `holdall volume replicas` says
/// that copies are missing.
#[derive(Args, Debug)]
pub(crate) struct Repair {
    /// Only says what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Also gives places that were added their share.
    #[arg(long)]
    rebalance: bool,
    /// How much is copied a second at the most, such as 50MiB.
    #[arg(long, value_name = "SIZE")]
    rate: Option<String>,
    /// How many bytes of segments may be in memory at once.
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    memory: String,
}

impl Repair {
    pub(crate) async fn run(self, app: &App) -> Result {
        let mut options = RepairOptions {
            dry_run: self.dry_run,
            rebalance: self.rebalance,
            memory_bytes: parse_size(&self.memory)? as usize,
            ..RepairOptions::default()
        };
        let rate = self.rate.as_deref().map(parse_size).transpose()?;
        let volume = app.volume().await?;
        let env = app.engine().await?.env().clone();
        options.throttle = Some(Throttle::new(env, rate, Arc::clone(&app.interrupted)));
        app.be_patient();
        let progress = app.progress();
        let told = progress.clone();
        options.progress = Some(Arc::new(move |report: &RepairReport| {
            told.set(report.bytes_copied);
            told.message(counted(report.segments, "segment"));
        }));
        options.cancel = Arc::clone(&app.interrupted);
        let report = volume.repair(options).await;
        progress.end();
        let report = report?;
        app.output.row(&report, || line(&report))?;
        match report.complete {
            false => Err(Failure::Interrupted),
            true => {
                let amiss = report.segments_short > 0 || report.segments_unreadable > 0;
                Ok(Done::unless(amiss && !report.dry_run))
            }
        }
    }
}

fn line(report: &RepairReport) -> String {
    let mut line = format!(
        "{}{} of {} made ({}), {} left over, {} dropped",
        if report.dry_run { "would be: " } else { "" },
        counted(report.copies_made, "copy"),
        counted(report.segments_amiss, "segment"),
        format_size(report.bytes_copied),
        counted(report.copies_left_over, "copy"),
        counted(report.copies_dropped, "copy"),
    );
    if report.segments_short > 0 {
        let short = counted(report.segments_short, "segment");
        line.push_str(&format!("; {short} still short of copies: bring places back, or add some"));
    }
    for unreadable in &report.unreadable {
        line.push_str(&format!("\nno whole copy: {unreadable}"));
    }
    line
}
