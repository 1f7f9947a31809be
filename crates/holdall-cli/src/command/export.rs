//! `holdall export`: restores a directory tree.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use holdall::{Error, ListOptions, Operation};
use serde_json::json;

use crate::app::App;
use crate::failure::{Done, Failure, Result};
use crate::output::counted;
use crate::problems::Problems;
use crate::tree::restore::Restorer;
use crate::tree::{self, Stop};

/// Restores a directory tree: the entries below PREFIX, or all of them, below DIRECTORY.
///
/// Files that are there already with the same size, mode and time are left as they are, so the
/// same command goes on where it was interrupted. Others are replaced once their bytes are whole.
/// Nothing is ever written outside of DIRECTORY.
#[derive(Args, Debug)]
#[command(override_usage = "holdall export [OPTIONS] [PREFIX] <DIRECTORY>")]
pub(crate) struct Export {
    /// What the names of the entries begin with, and the directory to restore them in.
    #[arg(value_name = "PREFIX, DIRECTORY", num_args = 1..=2, required = true)]
    places: Vec<PathBuf>,
    /// The volume as it was: a time, `2h ago`, `commit:123` or `snapshot:NAME`.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

impl Export {
    pub(crate) async fn run(self, app: &App) -> Result {
        let (prefix, target) = match self.places.as_slice() {
            [target] => (String::new(), target),
            [prefix, target, ..] => (tree::folder_prefix(&prefix.to_string_lossy()), target),
            [] => return Err(Failure::Usage("no directory was given; give one".to_owned())),
        };
        let volume = app.volume().await?;
        let view = app.view(&volume, self.at.as_deref()).await?;
        let first = view.list(ListOptions::prefix(&prefix).limit(1)).await?;
        if first.entries.is_empty() && !prefix.is_empty() {
            let message = format!("there is nothing below `{prefix}`; `holdall ls` shows what is");
            return Err(Failure::NotFound(message));
        }
        let restorer = Restorer::new(target).map_err(|error| {
            let message = format!("cannot write to the directory `{}`", target.display());
            Error::io(Operation::Put, message, error)
        })?;
        app.be_patient();
        let progress = app.progress();
        if self.at.is_none() && prefix.is_empty() {
            progress.total(volume.usage().await?.bytes);
        }
        let problems = Problems::new(app.global.json, &progress);
        let watch = app.env.stopwatch();
        let export = tree::export::Export {
            view,
            env: app.env.clone(),
            prefix: prefix.clone(),
            restorer: Arc::new(restorer),
            stop: Stop::at(&app.interrupted),
            progress: progress.clone(),
            problems: problems.clone(),
        };
        let summary = export.run().await;
        progress.end();
        let (summary, seconds) = (summary?, watch.elapsed().as_secs_f64());
        let object = json!({ "prefix": prefix, "files": summary.files,
            "directories": summary.directories, "symlinks": summary.symlinks,
            "bytes": summary.bytes, "written": summary.written, "unchanged": summary.unchanged,
            "problems": problems.count(), "seconds": seconds });
        app.output.summary(&object, || {
            let problems = match problems.count() {
                0 => String::new(),
                count => format!(", {}", counted(count, "problem")),
            };
            format!(
                "{}, {} and {} ({}) in {seconds:.1} s: {} written, {} unchanged{problems}",
                counted(summary.files, "file"),
                counted(summary.directories, "directory"),
                counted(summary.symlinks, "symlink"),
                holdall::units::format_size(summary.bytes),
                summary.written,
                summary.unchanged,
            )
        })?;
        Ok(Done::unless(problems.count() > 0))
    }
}
