//! `holdall get`: writes one entry into a file.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use futures::TryStreamExt;
use holdall::{Error, Name, Operation, Reading, Version, View, Volume};
use serde_json::json;

use crate::app::App;
use crate::failure::{Done, Failure, Result};

/// Writes one entry into a file, which appears under its name when it is whole.
#[derive(Args, Debug)]
pub(crate) struct Get {
    /// The entry's name.
    name: String,
    /// The file; without it, the last part of the name, in the current directory.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// This version instead of the present one; `holdall history` shows which there are.
    #[arg(long, conflicts_with = "at")]
    version: Option<Version>,
    /// As the volume was then: a time, `2h ago`, `commit:123` or `snapshot:NAME`.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

impl Get {
    pub(crate) async fn run(self, app: &App) -> Result {
        let volume = app.volume().await?;
        let reading = find(app, &volume, &self.name, self.version, self.at.as_deref()).await?;
        let output = match self.output {
            Some(output) => output,
            None => last_part(&self.name)?,
        };
        if output.as_os_str() == "-" {
            super::cat::pour(app, &reading, None).await?;
            return Ok(Done::Whole);
        }
        let size = reading.entry().size;
        let progress = app.progress();
        progress.total(size);
        save(&reading, &output, |bytes| progress.add(bytes)).await?;
        progress.end();
        let object = json!({ "name": self.name, "file": output.to_string_lossy(), "size": size,
            "version": reading.entry().version });
        app.output.summary(&object, || {
            let size = holdall::units::format_size(size);
            format!("`{}`: {size}", crate::output::shown(&output.to_string_lossy()))
        })?;
        Ok(Done::Whole)
    }
}

/// The entry that was asked for, which must be there.
pub(super) async fn find(
    app: &App,
    volume: &Volume,
    name: &str,
    version: Option<Version>,
    at: Option<&str>,
) -> Result<Reading> {
    let parsed = Name::parse(name)?;
    let found = match version {
        Some(version) => volume.get_version(&parsed, version).await?,
        None => {
            let view: View = app.view(volume, at).await?;
            view.get(&parsed).await?
        }
    };
    match (found, version) {
        (Some(reading), _) => Ok(reading),
        (None, None) => Err(app.no_entry(name)),
        (None, Some(version)) => Err(Failure::NotFound(format!(
            "the entry `{name}` has no version {version} in volume `{}`; `holdall history {name}` \
             shows which there are",
            app.global.volume
        ))),
    }
}

fn last_part(name: &str) -> Result<PathBuf> {
    let last = name.rsplit('/').next().unwrap_or_default();
    match crate::tree::names::parts(last) {
        Ok(parts) => Ok(parts.into_iter().collect()),
        Err(_) => {
            let message = format!("`{name}` ends in no name for a file; give one with -o FILE");
            Err(Failure::Usage(message))
        }
    }
}

async fn save(reading: &Reading, output: &Path, told: impl Fn(u64)) -> Result<()> {
    let failed = |error| {
        let message = format!("cannot write the file `{}`", output.display());
        Error::io(Operation::Put, message, error)
    };
    if output.is_dir() {
        let message = format!("`{}` is a directory; give a file with -o", output.display());
        return Err(Failure::Usage(message));
    }
    let mut partial = output.as_os_str().to_owned();
    partial.push(".holdall-partial");
    let mut file = std::fs::File::create(&partial).map_err(failed)?;
    let mut stream = Box::pin(reading.stream());
    let poured = async {
        while let Some(piece) = stream.try_next().await? {
            file.write_all(&piece).map_err(failed)?;
            told(piece.len() as u64);
        }
        file.sync_all().map_err(failed)?;
        std::fs::rename(&partial, output).map_err(failed)
    };
    let poured: holdall::Result<()> = poured.await;
    if poured.is_err() {
        // What was begun is worth nothing, and the error says what happened.
        drop(std::fs::remove_file(&partial));
    }
    Ok(poured?)
}
