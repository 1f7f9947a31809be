//! `holdall import`: stores a directory tree.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::app::App;
use crate::failure::{Done, Result};
use crate::output::counted;
use crate::problems::Problems;
use crate::tree::{self, Stop, walk};

/// Stores a directory tree: names, bytes, modes, times, symlinks and empty directories.
///
/// A file `b` in the directory `a` becomes the entry `a/b`. Importing again stores only what has
/// changed: a file of the same size, mode and modification time is not read. After Ctrl-C, or a
/// crash, the same command goes on from there.
///
/// Symlinks are kept as such and never followed. Sockets, devices and pipes are left out and
/// reported, like files that cannot be read; then the exit code is 1. Names that are not UTF-8 are
/// kept: each such byte is shown as a replacement character with two hexadecimal digits.
#[derive(Args, Debug)]
pub(crate) struct Import {
    /// The directory.
    directory: PathBuf,
    /// What the names of its entries begin with, instead of its own name; empty for nothing.
    #[arg(long, value_name = "NAME")]
    prefix: Option<String>,
    /// Reads files that look unchanged, too, and compares their digests.
    #[arg(long)]
    checksum: bool,
    /// Deletes entries below the prefix that the directory no longer has.
    #[arg(long)]
    delete: bool,
}

#[derive(Serialize)]
struct Report {
    prefix: String,
    #[serde(flatten)]
    summary: tree::import::Summary,
    problems: u64,
    seconds: f64,
    sequence: u64,
}

impl Import {
    pub(crate) async fn run(self, app: &App) -> Result {
        let root = tree::directory(&self.directory)?;
        let prefix = self.prefix.as_deref().map(tree::folder_prefix);
        let prefix = prefix.unwrap_or_else(|| tree::own_prefix(&root));
        let volume = app.volume_for_writing().await?;
        let progress = app.progress();
        let problems = Problems::new(app.global.json, &progress);
        app.be_patient();
        let watch = app.env.stopwatch();
        let import = tree::import::Import {
            volume: volume.clone(),
            env: app.env.clone(),
            root,
            prefix: prefix.clone(),
            except: app
                .store_directories()?
                .iter()
                .filter_map(|path| walk::identity(path))
                .collect(),
            checksum: self.checksum,
            delete: self.delete,
            stop: Stop::at(&app.interrupted),
            progress: progress.clone(),
            problems: problems.clone(),
        };
        let summary = import.run().await;
        progress.end();
        let summary = summary?;
        let seconds = watch.elapsed().as_secs_f64();
        let sequence = volume.usage().await?.sequence;
        let report = Report { prefix, summary, problems: problems.count(), seconds, sequence };
        app.output.summary(&report, || report.line(app))?;
        Ok(Done::unless(problems.count() > 0))
    }
}

impl Report {
    fn line(&self, app: &App) -> String {
        let Self { prefix, summary, problems, seconds, .. } = self;
        let size = holdall::units::format_size;
        let mut line = format!(
            "{}, {}, {} ({}) in {seconds:.1} s: {} stored ({}), {} unchanged",
            counted(summary.files, "file"),
            counted(summary.directories, "directory"),
            counted(summary.symlinks, "symlink"),
            size(summary.bytes),
            summary.stored,
            size(summary.stored_bytes),
            summary.unchanged,
        );
        if summary.deleted > 0 {
            line.push_str(&format!(", {} deleted", summary.deleted));
        }
        if *problems > 0 {
            line.push_str(&format!(", {}", counted(*problems, "problem")));
        }
        let volume = &app.global.volume;
        line.push_str(&format!("; volume `{volume}`, `{prefix}`"));
        line
    }
}
