//! Repairing: a pass that is interrupted begins anew, and finds less to do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdall_core::{Result, units};
use holdall_volume::{RepairOptions, RepairReport};

use super::counted;
use crate::job::{Job, Next, Step};

/// Brings every segment back to its copies.
#[derive(Debug)]
pub(super) struct Repair;

#[async_trait]
impl Job for Repair {
    fn name(&self) -> &'static str {
        "repair"
    }

    fn about(&self) -> &'static str {
        "brings every segment back to its copies"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(600)
    }

    async fn step(&self, step: &Step) -> Result<Next> {
        let tell = step.teller();
        let progress = move |report: &RepairReport| {
            tell("copying".to_owned(), report.bytes_copied, None);
        };
        let options = RepairOptions {
            throttle: Some(step.throttle.clone()),
            progress: Some(Arc::new(progress)),
            cancel: step.cancel(),
            ..RepairOptions::default()
        };
        let report = step.volume.repair(options).await?;
        if !report.complete {
            return Ok(Next::more(None));
        }
        let findings = report.segments_unreadable > 0 || report.segments_short > 0;
        Ok(Next::Done { summary: summary(&report), findings, memory: None })
    }
}

fn summary(report: &RepairReport) -> String {
    let parts = [
        (report.copies_made, "copy", "made"),
        (report.log_objects_copied, "object of the log", "copied"),
        (report.copies_left_over, "copy", "no longer needed"),
        (report.copies_dropped, "copy", "deleted"),
        (report.segments_short, "segment", "with too few places to copy to"),
        (report.segments_unreadable, "segment", "without a whole copy, run `holdall verify`"),
    ];
    let parts = parts.into_iter().filter(|(count, ..)| *count > 0);
    let mut parts: Vec<String> =
        parts.map(|(count, word, done)| format!("{} {done}", counted(count, word))).collect();
    if report.bytes_copied > 0 {
        parts.push(format!("{} copied", units::format_size(report.bytes_copied)));
    }
    if parts.is_empty() { "every copy is where it belongs".to_owned() } else { parts.join(", ") }
}
