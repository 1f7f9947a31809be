//! Checkpoints: a copy of the catalog, so that a rebuild need not read a long log.

use std::time::Duration;

use async_trait::async_trait;
use holdall_core::Result;

use crate::job::{Job, Next, Step};

/// Collecting garbage makes a checkpoint too, when the log has grown long.
#[derive(Debug)]
pub(super) struct Checkpoint;

#[async_trait]
impl Job for Checkpoint {
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    fn about(&self) -> &'static str {
        "copies the catalog to the data backend"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(24 * 3600)
    }

    async fn step(&self, step: &Step) -> Result<Next> {
        let usage = step.volume.usage().await?;
        if usage.checkpoint == usage.sequence {
            return Ok(Next::done("nothing was new"));
        }
        step.tell("copying the catalog", 0, None);
        Ok(match step.volume.checkpoint_throttled(&step.throttle).await? {
            Some(made) => Next::done(format!("checkpoint of commit {}", made.sequence)),
            None => Next::done("nothing was new"),
        })
    }
}
