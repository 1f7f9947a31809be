//! `holdall daemon`: looks after volumes until it is told to stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::Args;
use futures::future::try_join_all;
use holdall::{Engine, JobEvent, Ran, Settings};
use serde_json::{Value, json};

use super::run::{line, shape};
use crate::app::App;
use crate::failure::{Done, Result, describe};
use crate::output::complain;
use crate::times;

/// Runs the jobs of all volumes whenever they are due, until it is told to stop by Ctrl-C or
/// SIGTERM; then it ends within a second, and whoever comes next goes on where it was.
///
/// With a configuration it looks after the volumes that stand there, else after all of the store.
/// Many may run at once, where the catalog can be shared: no two do the same. One line tells of
/// each run.
#[derive(Args, Debug)]
pub(crate) struct Daemon {}

impl Daemon {
    pub(crate) async fn run(self, app: &App) -> Result {
        app.be_patient();
        let groups = groups(app)?;
        if groups.is_empty() {
            let engine = app.existing_engine().await?;
            serve(app, engine, None).await?;
        } else {
            let serving = groups.into_iter().map(|(settings, volumes)| async move {
                let engine = Engine::open(settings).await?;
                let served = serve(app, &engine, Some(volumes)).await;
                let closed = engine.close().await;
                served.and(closed.map_err(Into::into))
            });
            try_join_all(serving).await?;
        }
        // Being told to stop is how this ends well.
        app.interrupted.store(false, Ordering::Relaxed);
        Ok(Done::Whole)
    }
}

/// The volumes of the configuration, those together that are on the same backends.
fn groups(app: &App) -> Result<Vec<(Settings, Vec<String>)>> {
    let Some(config) = app.config()? else { return Ok(Vec::new()) };
    let mut groups: BTreeMap<(String, String), (Settings, Vec<String>)> = BTreeMap::new();
    for name in config.volumes.keys() {
        let mut settings = app.settings_of(name)?;
        settings.holder = "holdall daemon".to_owned();
        let places = (settings.catalog.location.to_string(), settings.data.location.to_string());
        groups.entry(places).or_insert((settings, Vec::new())).1.push(name.clone());
    }
    Ok(groups.into_values().collect())
}

async fn serve(app: &App, engine: &Engine, volumes: Option<Vec<String>>) -> Result<()> {
    let tell = |volume: &str, event: JobEvent| {
        let now = times::exact(app.now());
        let told = match app.output.is_json() {
            true => app.output.object(&object(&now, volume, &event)),
            false => text(volume, &event)
                .map_or(Ok(()), |text| app.output.line(&format!("{now} {text}"))),
        };
        if told.and_then(|()| app.output.flush()).is_err() {
            complain("holdall: nobody reads standard output any more");
        }
    };
    let cancel = Arc::clone(&app.interrupted);
    Ok(engine.serve(volumes.as_deref(), cancel, &tell).await?)
}

/// An event in a line; nothing for what is not worth one.
fn text(volume: &str, event: &JobEvent) -> Option<String> {
    match event {
        JobEvent::Began(job) => Some(format!("{volume} {job}: begins")),
        JobEvent::Ended(_, Ran::Busy(_)) => None,
        JobEvent::Ended(job, ran) => Some(format!("{volume} {job}: {}", line(ran))),
        JobEvent::Alert(alert) => Some(format!("{volume}: {alert}")),
        JobEvent::Trouble(error) => Some(format!("{volume}: {}", describe(error))),
    }
}

fn object(now: &str, volume: &str, event: &JobEvent) -> Value {
    let mut object = match event {
        JobEvent::Began(job) => json!({ "job": job, "ran": "begins" }),
        JobEvent::Ended(job, ran) => shape(job, ran),
        JobEvent::Alert(alert) => json!({ "alert": alert }),
        JobEvent::Trouble(error) => {
            json!({ "trouble": describe(error), "kind": error.kind().as_str() })
        }
    };
    object["time"] = now.into();
    object["volume"] = volume.into();
    object
}
