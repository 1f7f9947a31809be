//! Verifying, slice by slice: one that is interrupted goes on behind the last slice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdall_core::{Result, units};
use holdall_volume::verify::{Severity, VerifyCursor, VerifyOptions};
use serde::{Deserialize, Serialize};

use super::counted;
use crate::job::{Job, Next, Step};

/// How many bytes one slice reads.
const SLICE_BYTES: u64 = 256 << 20;

/// Reads every row and every stored byte, and says what is wrong.
#[derive(Debug)]
pub(super) struct Verify;

/// Where a pass is, and what it has found so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Cursor {
    at: Option<VerifyCursor>,
    bytes: u64,
    segments: u64,
    findings: u64,
    first: Option<String>,
}

#[async_trait]
impl Job for Verify {
    fn name(&self) -> &'static str {
        "verify"
    }

    fn about(&self) -> &'static str {
        "reads and checks every row and every stored byte"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(7 * 24 * 3600)
    }

    async fn step(&self, step: &Step) -> Result<Next> {
        // A cursor that cannot be read is another program's: begin anew.
        let cursor = step.cursor.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let mut cursor: Cursor = cursor.unwrap_or_default();
        let total = step.volume.usage().await.map_or(0, |usage| usage.segment_bytes);
        let (tell, before) = (step.teller(), cursor.bytes);
        let options = VerifyOptions {
            throttle: Some(step.throttle.clone()),
            progress: Some(Arc::new(move |stage, counts| {
                let done = (before + counts.bytes_read).min(total);
                tell(format!("{stage:?}").to_lowercase(), done, Some(total));
            })),
            cancel: step.cancel(),
            ..VerifyOptions::default()
        };
        let (report, next) = step.volume.verify_slice(cursor.at, options, SLICE_BYTES).await?;
        if !report.complete {
            return Ok(Next::more(step.cursor.clone()));
        }
        cursor.at = next;
        cursor.bytes += report.counts.bytes_read;
        cursor.segments += report.counts.segments;
        let mut wrong =
            report.findings.iter().filter(|found| found.severity >= Severity::Warning).peekable();
        if let (None, Some(first)) = (&cursor.first, wrong.peek()) {
            cursor.first = Some(format!("{}, key {}", first.message, first.key));
        }
        cursor.findings += wrong.count() as u64 + report.findings_dropped;
        if cursor.at.is_some() {
            return Ok(Next::more(serde_json::to_string(&cursor).ok()));
        }
        Ok(Next::Done { summary: summary(&cursor), findings: cursor.findings > 0, memory: None })
    }
}

fn summary(cursor: &Cursor) -> String {
    let read = format!(
        "{} and {} read",
        counted(cursor.segments, "segment"),
        units::format_size(cursor.bytes)
    );
    match &cursor.first {
        None => format!("{read}: everything is whole"),
        Some(first) => format!(
            "{read}: {}, the first: {first}; run `holdall verify`",
            counted(cursor.findings, "finding")
        ),
    }
}
