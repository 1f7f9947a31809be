//! `holdall gc`: collects garbage.

use std::sync::Arc;

use clap::Args;
use holdall::gc::{GcOptions, GcReport};
use holdall::units::{format_size, parse_duration, parse_size};

use crate::app::App;
use crate::failure::{Done, Failure, Result};
use crate::output::counted;

/// Forgets what is older than the history kept, and gives its room back.
///
/// Room comes back in steps, each a grace after the other, so that nobody who still reads loses
/// anything: run it now and then.
#[derive(Args, Debug)]
pub(crate) struct Gc {
    /// Only says what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Waits longer than the volume's own grace, such as 2d.
    #[arg(long, value_name = "DURATION")]
    grace: Option<String>,
    /// How many stored bytes may be copied to repack segments, such as 10GiB; 0 for none.
    #[arg(long, value_name = "SIZE")]
    repack: Option<String>,
}

impl Gc {
    pub(crate) async fn run(self, app: &App) -> Result {
        let mut options = GcOptions { dry_run: self.dry_run, ..GcOptions::default() };
        options.grace = self.grace.as_deref().map(parse_duration).transpose()?;
        if let Some(size) = &self.repack {
            options.repack_bytes_max = parse_size(size)?;
        }
        let volume = app.volume().await?;
        app.be_patient();
        let progress = app.progress();
        let told = progress.clone();
        options.progress = Some(Arc::new(move |report: &GcReport| {
            told.set(report.bytes_repacked);
            told.message(format!("{} freed", format_size(report.bytes_freed)));
        }));
        options.cancel = Arc::clone(&app.interrupted);
        let report = volume.gc(options).await;
        progress.end();
        let report = report?;
        app.output.row(&report, || line(&report))?;
        match report.complete {
            false => Err(Failure::Interrupted),
            true => Ok(Done::unless(report.segments_damaged > 0)),
        }
    }
}

fn line(report: &GcReport) -> String {
    let mut line = format!(
        "{}{} forgotten ({}), {} and {} dropped, {} repacked, {} and {} deleted, {} freed",
        if report.dry_run { "would be: " } else { "" },
        counted(report.versions_pruned, "old version"),
        format_size(report.version_bytes_pruned),
        counted(report.entries_expired, "expired entry"),
        counted(report.chunks_dropped, "chunk"),
        counted(report.segments_repacked, "segment"),
        counted(report.segments_deleted, "segment"),
        counted(report.orphans_deleted, "orphan"),
        format_size(report.bytes_freed),
    );
    if report.segments_damaged > 0 {
        let damaged = counted(report.segments_damaged, "damaged segment");
        line.push_str(&format!("; {damaged} left alone, run `holdall verify`"));
    }
    line
}
