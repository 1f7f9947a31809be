//! Keeps the figures of one engine's backends while it is open.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdall_core::{Env, Location, Result, Timestamp};
use holdall_layers::Metrics;

use super::{CallStats, ProcessStats, folder, news, of_metrics};

/// How often a process that goes on writes what is new.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often the lock is tried, and how long to wait in between. Who holds it writes one file.
const TRIES_MAX: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// One backend whose figures are kept.
#[derive(Debug)]
pub(crate) struct Source {
    /// Where it is.
    pub(crate) location: Location,
    /// What it is used for.
    pub(crate) role: &'static str,
    /// Its counts.
    pub(crate) metrics: Metrics,
}

/// Keeps figures until it is dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    folder: PathBuf,
    env: Env,
    pub(super) kept: Vec<Arc<Kept>>,
}

#[derive(Debug)]
pub(super) struct Kept {
    source: Source,
    id: String,
    holder: String,
    started: Timestamp,
    /// What is in the folder already.
    pub(super) merged: Mutex<Vec<CallStats>>,
}

impl Keeper {
    /// Begins to keep the figures of these backends, but of those that end with the process.
    pub(crate) fn start(
        folder: PathBuf,
        holder: &str,
        sources: Vec<Source>,
        env: &Env,
    ) -> Arc<Self> {
        let lasting = sources.into_iter().filter(|source| source.location.scheme() != "memory");
        let keep = |source| {
            let id = format!("{:016x}", u64::from_le_bytes(env.random()));
            let (holder, started, merged) = (holder.to_owned(), env.now(), Mutex::default());
            Arc::new(Kept { source, id, holder, started, merged })
        };
        let kept: Vec<_> = lasting.map(keep).collect();
        let keeper = Arc::new(Self { folder, env: env.clone(), kept });
        if !keeper.kept.is_empty() {
            let (weak, env) = (Arc::downgrade(&keeper), env.clone());
            keeper.env.spawn(async move {
                loop {
                    env.sleep(INTERVAL).await;
                    let Some(keeper) = weak.upgrade() else { return };
                    keeper.keep(false).await;
                }
            });
        }
        keeper
    }

    /// Writes what is new. What cannot be written is tried again the next time: figures are not
    /// worth an error to somebody who works with data.
    pub(crate) async fn keep(&self, ended: bool) {
        for kept in &self.kept {
            for _ in 0..TRIES_MAX {
                let (one, folder, now) = (Arc::clone(kept), self.folder.clone(), self.env.now());
                let done = self.env.blocking(move || one.merge(&folder, now, ended)).await;
                match done {
                    Ok(Ok(false)) => self.env.sleep(PAUSE).await,
                    Ok(Ok(true) | Err(_)) | Err(_) => break,
                }
            }
        }
    }
}

impl Kept {
    fn merge(&self, folder: &std::path::Path, now: Timestamp, ended: bool) -> Result<bool> {
        // Held until the folder has them, so that nothing is added twice.
        let mut merged = self.merged.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = of_metrics(&self.source.metrics.snapshot());
        let new = news(&calls, &merged);
        if new.is_empty() && (calls.is_empty() || !ended) {
            return Ok(true);
        }
        let process = ProcessStats {
            id: self.id.clone(),
            holder: self.holder.clone(),
            role: self.source.role.to_owned(),
            started: self.started,
            updated: now,
            ended,
            calls: calls.clone(),
        };
        let done = folder::merge(folder, &self.source.location.to_string(), &new, process)?;
        if done {
            *merged = calls;
        }
        Ok(done)
    }
}
