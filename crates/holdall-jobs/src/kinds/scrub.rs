//! Scrubbing: what was checked within the period is left alone, so that one that is interrupted
//! goes on where it was.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdall_core::{Result, units};
use holdall_volume::{ScrubOptions, ScrubReport};

use super::counted;
use crate::job::{Job, Next, Step};

/// Reads every copy of every segment once in a period.
#[derive(Debug)]
pub(super) struct Scrub;

#[async_trait]
impl Job for Scrub {
    fn name(&self) -> &'static str {
        "scrub"
    }

    fn about(&self) -> &'static str {
        "reads every copy within 30 days, and notes what is damaged"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(24 * 3600)
    }

    async fn step(&self, step: &Step) -> Result<Next> {
        if step.volume.places().len() < 2 {
            return Ok(Next::done("one place alone: `verify` reads it"));
        }
        let tell = step.teller();
        let progress =
            move |report: &ScrubReport| tell("reading".to_owned(), report.bytes_read, None);
        let options = ScrubOptions {
            throttle: Some(step.throttle.clone()),
            progress: Some(Arc::new(progress)),
            cancel: step.cancel(),
            ..ScrubOptions::default()
        };
        let report = step.volume.scrub(options).await?;
        if !report.complete {
            return Ok(Next::more(None));
        }
        // A place that is out of reach for a while is no damage, and the copies there come later.
        let findings = report.copies_damaged + report.log_objects_damaged > 0;
        Ok(Next::Done { summary: summary(&report), findings, memory: None })
    }
}

fn summary(report: &ScrubReport) -> String {
    let read = format!(
        "{} and {} read",
        counted(report.copies_whole + report.copies_damaged, "copy"),
        units::format_size(report.bytes_read)
    );
    let parts = [
        (report.copies_damaged, "copy", "damaged or missing, which `repair` makes anew"),
        (report.log_objects_damaged, "object of the log", "mended"),
        (report.copies_unreachable, "copy", "out of reach"),
    ];
    let parts = parts.into_iter().filter(|(count, ..)| *count > 0);
    let parts: Vec<String> =
        parts.map(|(count, word, is)| format!("{} {is}", counted(count, word))).collect();
    if parts.is_empty() {
        return format!("{read}: every copy is whole");
    }
    format!("{read}: {}", parts.join(", "))
}
