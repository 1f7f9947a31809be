//! The jobs of an engine's volumes: shown, run once, and served for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::{Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use holdall_core::{ErrorKind, Result};
use holdall_jobs::{Event, JobStatus, Ran, Runner};

use crate::engine::Engine;

/// How often it is looked which volumes there are.
const LOOK_FOR_VOLUMES: Duration = Duration::from_secs(15);

/// How often those who wait look whether they should stop.
const LOOK: Duration = Duration::from_millis(100);

impl Engine {
    /// Runs the jobs of a volume, in the name of this engine's holder.
    ///
    /// # Errors
    /// `Invalid` if there is no such volume.
    pub async fn runner(&self, volume: &str) -> Result<Runner> {
        let volume = self.volume(volume).await?;
        let holder = self.settings().holder.clone();
        Ok(Runner::new(volume, self.env().clone(), holder, holdall_jobs::all()))
    }

    /// What the jobs of a volume are about.
    ///
    /// # Errors
    /// `Invalid` if there is no such volume.
    pub async fn jobs(&self, volume: &str) -> Result<Vec<JobStatus>> {
        self.runner(volume).await?.statuses().await
    }

    /// Runs these jobs of a volume once, or what is due if none is named, one after the other.
    /// Stops within a second once `cancel` is set.
    ///
    /// # Errors
    /// `Invalid` if there is no such volume or job.
    pub async fn run_jobs(
        &self,
        volume: &str,
        names: &[String],
        cancel: Arc<AtomicBool>,
    ) -> Result<Vec<(String, Ran)>> {
        let runner = self.runner(volume).await?.with_cancel(Arc::clone(&cancel));
        if names.is_empty() {
            return runner.run_due().await;
        }
        let mut ran = Vec::new();
        for name in names {
            ran.push((name.clone(), runner.run(name).await?));
            if cancel.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(ran)
    }

    /// Runs every job of these volumes whenever it is due, or of all volumes that there are and
    /// will be. Returns within a second once `cancel` is set. `tell` hears of every run, with the
    /// name of its volume.
    ///
    /// # Errors
    /// `Closed` if the engine was closed; whatever else happens is told and tried again.
    pub async fn serve(
        &self,
        volumes: Option<&[String]>,
        cancel: Arc<AtomicBool>,
        tell: &(dyn Fn(&str, Event) + Send + Sync),
    ) -> Result<()> {
        let mut serving = FuturesUnordered::new();
        let mut served: Vec<String> = Vec::new();
        let mut pause = Duration::ZERO;
        while !cancel.load(Ordering::Relaxed) {
            // Those that are served go on while it is looked for others. What has ended is begun
            // again at the next look, and not at once.
            let mut looking = Some(Box::pin(self.look(volumes, pause, &cancel)));
            let mut names = Vec::new();
            while let Some(look) = looking.take() {
                let looked = if serving.is_empty() {
                    look.await
                } else {
                    match select(serving.next(), look).await {
                        Either::Left((ended, look)) => {
                            served.retain(|other| Some(other) != ended.as_ref());
                            looking = Some(look);
                            continue;
                        }
                        Either::Right((looked, _)) => looked,
                    }
                };
                names = looked.or_else(|error| match error.kind() {
                    ErrorKind::Closed => Err(error),
                    _ => {
                        tell("", Event::Trouble(error));
                        Ok(Vec::new())
                    }
                })?;
            }
            for name in names {
                if !served.contains(&name) {
                    served.push(name.clone());
                    let cancel = Arc::clone(&cancel);
                    serving.push(async move {
                        self.serve_volume(&name, cancel, tell).await;
                        name
                    });
                }
            }
            pause = LOOK_FOR_VOLUMES;
        }
        while serving.next().await.is_some() {}
        Ok(())
    }

    /// Waits, and then looks which volumes there are to serve.
    async fn look(
        &self,
        volumes: Option<&[String]>,
        pause: Duration,
        cancel: &AtomicBool,
    ) -> Result<Vec<String>> {
        let end = self.env().elapsed().saturating_add(pause);
        while self.env().elapsed() < end && !cancel.load(Ordering::Relaxed) {
            self.env().sleep(LOOK).await;
        }
        if cancel.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        // Whoever has closed the engine has also closed its volumes.
        drop(self.open_volumes().await?);
        match volumes {
            Some(names) => Ok(names.to_vec()),
            None => Ok(self.list_volumes().await?.into_iter().map(|volume| volume.name).collect()),
        }
    }

    /// Serves one volume until told to stop, or until its handle was closed: a writer that was
    /// silent for longer than its lease may have been ended by others.
    async fn serve_volume(
        &self,
        name: &str,
        cancel: Arc<AtomicBool>,
        tell: &(dyn Fn(&str, Event) + Send + Sync),
    ) {
        let runner = match self.runner(name).await {
            Ok(runner) => runner.with_cancel(cancel),
            Err(error) => return tell(name, Event::Trouble(error)),
        };
        if let Err(error) = runner.serve(&|event| tell(name, event)).await {
            tell(name, Event::Trouble(error));
            if let Ok(mut open) = self.open_volumes().await {
                open.remove(name);
            }
        }
    }
}
