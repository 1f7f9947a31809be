//! `holdall scrub`: reads and checks every copy.

use std::sync::Arc;

use clap::Args;
use holdall::units::{format_size, parse_duration, parse_size};
use holdall::{ScrubOptions, ScrubReport, Throttle};

use crate::app::App;
use crate::failure::{Done, Failure, Result};
use crate::output::counted;

/// Reads and checks every copy that was not checked lately, also those that nobody reads.
///
/// What is damaged or missing, `holdall repair` makes anew from another copy.
#[derive(Args, Debug)]
pub(crate) struct Scrub {
    /// Copies that were checked within this time are left alone.
    #[arg(long, value_name = "DURATION", default_value = "30d")]
    period: String,
    /// How much is read a second at the most, such as 50MiB.
    #[arg(long, value_name = "SIZE")]
    rate: Option<String>,
}

impl Scrub {
    pub(crate) async fn run(self, app: &App) -> Result {
        let mut options =
            ScrubOptions { period: parse_duration(&self.period)?, ..ScrubOptions::default() };
        let rate = self.rate.as_deref().map(parse_size).transpose()?;
        let volume = app.volume().await?;
        let env = app.engine().await?.env().clone();
        options.throttle = Some(Throttle::new(env, rate, Arc::clone(&app.interrupted)));
        app.be_patient();
        let progress = app.progress();
        let told = progress.clone();
        options.progress = Some(Arc::new(move |report: &ScrubReport| {
            told.set(report.bytes_read);
            told.message(counted(report.copies_damaged, "damaged copy"));
        }));
        options.cancel = Arc::clone(&app.interrupted);
        let report = volume.scrub(options).await;
        progress.end();
        let report = report?;
        app.output.row(&report, || line(&report))?;
        match report.complete {
            false => Err(Failure::Interrupted),
            true => Ok(Done::unless(report.copies_damaged > 0)),
        }
    }
}

fn line(report: &ScrubReport) -> String {
    format!(
        "{} whole, {} damaged, {} out of reach, {} checked before; {} read",
        counted(report.copies_whole, "copy"),
        report.copies_damaged,
        report.copies_unreachable,
        report.copies_recent,
        format_size(report.bytes_read),
    )
}
