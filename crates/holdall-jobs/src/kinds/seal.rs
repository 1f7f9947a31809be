//! Sealing: what writers that ended have left unsealed goes into the log.

use std::time::Duration;

use async_trait::async_trait;
use holdall_core::Result;

use crate::job::{Job, Next, Step};

/// Open writers seal by themselves within seconds; this is for those that were killed.
#[derive(Debug)]
pub(super) struct Seal;

#[async_trait]
impl Job for Seal {
    fn name(&self) -> &'static str {
        "seal"
    }

    fn about(&self) -> &'static str {
        "copies commits into the log on the data backend"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(600)
    }

    async fn step(&self, step: &Step) -> Result<Next> {
        let usage = step.volume.usage().await?;
        if usage.recoverable_upto == usage.sequence {
            return Ok(Next::done("everything is sealed"));
        }
        step.tell("sealing", usage.recoverable_upto, Some(usage.sequence));
        let sealed = step.volume.seal_throttled(&step.throttle).await?;
        Ok(Next::done(format!("sealed up to commit {}", sealed.upto)))
    }
}
