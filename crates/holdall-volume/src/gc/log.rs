//! The change feed's rows go when they are old, and a checkpoint is made when much log has come
//! together.

use std::sync::Arc;

use holdall_core::{Batch, Expect, Result};

use super::pages::Pages;
use super::{FEED, GoOn, Pass, value};
use crate::checkpoint;
use crate::format::log::decode_commits;
use crate::volume::Volume;

/// How many rows one batch removes.
const ROWS_AT_ONCE: usize = 1000;

/// Removes rows of commits that are in the log on the data backend and older than the feed is
/// kept. They are not counted anywhere, and no commit looks at those that have been sealed.
pub(super) async fn prune(pass: &mut Pass<'_>) -> Result<GoOn> {
    let feed = pass.options.feed.unwrap_or(FEED);
    // A writer that is not sure whether its last commit has happened looks for its row.
    let kept = feed.max(pass.policy.history).max(pass.policy.lease);
    let upto = pass.sealed().await?.upto;
    let mut pages = Pages::rows(pass.context.keys.class('l'));
    let mut batch = Batch::new();
    'pages: while let Some(rows) = pages.next(pass.catalog.as_ref()).await? {
        for listed in &rows {
            let commits = decode_commits(&listed.key, value(listed)?)?;
            let old = commits
                .last()
                .is_some_and(|last| last.sequence <= upto && pass.now().since(last.time) >= kept);
            if !old {
                break 'pages;
            }
            batch.delete(listed.key.clone(), Expect::Any);
            pass.report.feed_rows_pruned += 1;
            if batch.len() >= ROWS_AT_ONCE.min(pass.catalog.profile().batch_ops_max) {
                apply(pass, std::mem::take(&mut batch)).await?;
            }
        }
        if !pass.go_on() {
            break;
        }
    }
    apply(pass, batch).await?;
    Ok(pass.go_on())
}

async fn apply(pass: &Pass<'_>, batch: Batch) -> Result<()> {
    if pass.options.dry_run || batch.is_empty() {
        return Ok(());
    }
    pass.catalog.apply(batch).await.map(drop)
}

/// Makes a checkpoint if one is due.
pub(super) async fn checkpoint(pass: &mut Pass<'_>) -> Result<GoOn> {
    if !checkpoint::is_due(&pass.sealed().await?) {
        return Ok(true);
    }
    if pass.options.dry_run {
        pass.report.checkpoint = Some(pass.head().await?.sequence);
        return Ok(true);
    }
    let volume = Volume { shared: Arc::clone(pass.shared) };
    let made = volume.checkpoint().await?;
    pass.report.checkpoint = made.map(|id| id.sequence);
    Ok(pass.go_on())
}
