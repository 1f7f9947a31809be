//! Lifecycle: entries end as the policy's rules say.

use std::time::Duration;

use async_trait::async_trait;
use holdall_core::{Result, units};
use holdall_volume::gc::{LifecycleReport, LifecycleState};
use serde::{Deserialize, Serialize};

use super::counted;
use crate::job::{Job, Next, Step};

/// Follows the change feed, and ends what the rules end.
#[derive(Debug)]
pub(super) struct Lifecycle;

#[async_trait]
impl Job for Lifecycle {
    fn name(&self) -> &'static str {
        "lifecycle"
    }

    fn about(&self) -> &'static str {
        "ends entries as the policy's rules say"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(300)
    }

    async fn step(&self, step: &Step) -> Result<Next> {
        let read = |text: &Option<String>| text.clone().unwrap_or_default();
        let done: Cursor = serde_json::from_str(&read(&step.cursor)).unwrap_or_default();
        // What cannot be read is another program's: begin anew.
        let state: Option<LifecycleState> = serde_json::from_str(&read(&step.memory)).ok();
        let (report, state, more) = step.volume.lifecycle_step(state).await?;
        let mut done = done.0;
        done.add(report);
        step.tell("following", done.ended + done.noted + done.swept, None);
        let memory = serde_json::to_string(&state).ok();
        if more {
            let cursor = serde_json::to_string(&Cursor(done)).ok();
            return Ok(Next::More { cursor, memory });
        }
        Ok(Next::Done { summary: summary(&done), findings: false, memory })
    }
}

/// What a pass has done so far.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Cursor(LifecycleReport);

fn summary(done: &LifecycleReport) -> String {
    let mut parts = Vec::new();
    if done.ended > 0 {
        let bytes = units::format_size(done.bytes);
        parts.push(format!("{} of {bytes} ended", counted(done.ended, "entry")));
    }
    if done.noted > 0 {
        parts.push(format!("{} noted to end", counted(done.noted, "entry")));
    }
    if done.swept > 0 {
        parts.push(format!("{} looked at for new rules", counted(done.swept, "entry")));
    }
    if parts.is_empty() { "nothing has ended".to_owned() } else { parts.join(", ") }
}
