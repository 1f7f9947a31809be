//! Collecting garbage. A pass that is interrupted begins anew, and finds less to do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdall_core::{Result, units};
use holdall_volume::gc::{GcOptions, GcReport};

use super::counted;
use crate::job::{Job, Next, Step};

/// What nothing names any more goes.
#[derive(Debug)]
pub(super) struct Gc;

#[async_trait]
impl Job for Gc {
    fn name(&self) -> &'static str {
        "gc"
    }

    fn about(&self) -> &'static str {
        "forgets what has ended, and gives its room back"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(3600)
    }

    async fn step(&self, step: &Step) -> Result<Next> {
        let tell = step.teller();
        let progress = move |report: &GcReport| {
            let done = report.versions_pruned
                + report.entries_expired
                + report.chunks_dropped
                + report.chunks_moved
                + report.segments_deleted
                + report.orphans_deleted;
            tell("collecting".to_owned(), done, None);
        };
        let options = GcOptions {
            throttle: Some(step.throttle.clone()),
            progress: Some(Arc::new(progress)),
            cancel: step.cancel(),
            ..GcOptions::default()
        };
        let report = step.volume.gc(options).await?;
        if !report.complete {
            return Ok(Next::more(None));
        }
        let findings = report.segments_damaged > 0;
        Ok(Next::Done { summary: summary(&report), findings, memory: None })
    }
}

fn summary(report: &GcReport) -> String {
    let parts = [
        (report.versions_pruned, "old version", "forgotten"),
        (report.entries_expired, "entry", "ended"),
        (report.chunks_dropped, "chunk", "dropped"),
        (report.segments_repacked, "segment", "repacked"),
        (report.segments_deleted + report.orphans_deleted, "segment", "deleted"),
        (report.segments_damaged, "damaged segment", "left alone, run `holdall verify`"),
    ];
    let parts = parts.into_iter().filter(|(count, ..)| *count > 0);
    let mut parts: Vec<String> =
        parts.map(|(count, word, done)| format!("{} {done}", counted(count, word))).collect();
    if report.bytes_freed > 0 {
        parts.push(format!("{} freed", units::format_size(report.bytes_freed)));
    }
    if parts.is_empty() { "nothing to collect".to_owned() } else { parts.join(", ") }
}
