//! `holdall rebuild`: makes a volume's catalog again from the data beside it.

use std::sync::Arc;

use clap::Args;
use holdall::rebuild::{RebuildOptions, RebuildReport, RebuildSource};
use holdall::{Engine, FoundVolume};

use crate::app::App;
use crate::failure::{Done, Failure, Result};
use crate::output::{counted, shown};

/// Makes the catalog of a volume again, when it was lost or damaged, from the data backend alone.
///
/// If the catalog cannot even be opened, move its folder (.holdall/catalog) away first. What is
/// there comes back as it was up to the commit that `holdall status` shows as recoverable.
#[derive(Args, Debug)]
pub(crate) struct Rebuild {
    /// The volume's name or id; without it, every volume that the catalog does not know.
    volume_or_id: Option<String>,
    /// Also where the catalog still has the volume: makes it anew.
    #[arg(long)]
    replace: bool,
    /// Only lists the volumes that the data backend holds.
    #[arg(long)]
    list: bool,
}

impl Rebuild {
    pub(crate) async fn run(self, app: &App) -> Result {
        let engine = app.existing_engine().await?;
        let found = engine.find_volumes().await?;
        if self.list {
            for volume in &found {
                app.output.row(volume, || listed(volume))?;
            }
            return Ok(Done::Whole);
        }
        let wanted: Vec<&FoundVolume> = match &self.volume_or_id {
            Some(wanted) => found.iter().filter(|volume| is(volume, wanted)).collect(),
            None => found.iter().filter(|volume| self.replace || !volume.in_catalog).collect(),
        };
        match (&self.volume_or_id, wanted.as_slice()) {
            (Some(wanted), []) => {
                let message = format!(
                    "the data backend holds no volume `{wanted}`; `holdall rebuild --list` shows \
                     which it holds"
                );
                return Err(Failure::NotFound(message));
            }
            (Some(wanted), [_, _, ..]) => {
                let message = format!(
                    "several volumes are called `{wanted}`; give the id that `holdall rebuild \
                     --list` shows"
                );
                return Err(Failure::Usage(message));
            }
            _ => {}
        }
        let mut part = false;
        for volume in &wanted {
            part |= !self.one(app, engine, volume).await?.is_whole();
        }
        if wanted.is_empty() {
            let object = serde_json::json!({ "rebuilt": 0 });
            app.output.summary(&object, || {
                "the catalog knows every volume that the data backend holds; nothing to do; \
                 --replace makes it anew"
                    .to_owned()
            })?;
        }
        Ok(Done::unless(part))
    }

    async fn one(&self, app: &App, engine: &Engine, volume: &FoundVolume) -> Result<RebuildReport> {
        let progress = app.progress();
        let told = progress.clone();
        let options = RebuildOptions {
            replace: self.replace,
            progress: Some(Arc::new(move |report: &RebuildReport| {
                told.message(format!("{} commits, {} entries", report.commits, report.entries));
            })),
        };
        let rebuilt = engine.rebuild(&volume.id, options).await;
        progress.end();
        let (rebuilt, report) = rebuilt?;
        let name = rebuilt.name();
        let whole = report.is_whole();
        let object = serde_json::json!({
            "volume": name, "id": volume.id, "whole": whole, "report": report,
        });
        app.output.row(&object, || lines(&name, &report))?;
        Ok(report)
    }
}

fn is(volume: &FoundVolume, wanted: &str) -> bool {
    volume.id == wanted || volume.volume.as_ref().is_some_and(|volume| volume.name == wanted)
}

fn listed(volume: &FoundVolume) -> String {
    let name = volume.volume.as_ref().map_or("(its own object is damaged)", |info| &info.name);
    let known = if volume.in_catalog { "in the catalog" } else { "not in the catalog" };
    format!("{}  {}  {known}", volume.id, shown(name))
}

fn lines(name: &str, report: &RebuildReport) -> String {
    let source = match report.source {
        RebuildSource::Checkpoint { sequence } => {
            format!("the checkpoint of commit {sequence} and the log")
        }
        RebuildSource::Log => "the log".to_owned(),
        RebuildSource::Segments => "the segments, because the log was lost".to_owned(),
    };
    let mut lines = vec![format!(
        "volume `{name}` rebuilt from {source}: {}, {}, {}; as it was up to commit {}",
        counted(report.entries, "entry"),
        counted(report.versions, "old version"),
        counted(report.segments, "segment"),
        report.recoverable_upto,
    )];
    if report.commits_missing > 0 {
        lines.push(format!("{} missing from the log", counted(report.commits_missing, "commit")));
    }
    if let Some(reason) = &report.not_salvaged {
        lines.push(format!("the newest commits could not be saved: {}", shown(reason)));
    }
    let incomplete = report.incomplete.iter().map(|name| format!("not whole: `{}`", shown(name)));
    lines.extend(incomplete);
    lines.join("\n")
}
