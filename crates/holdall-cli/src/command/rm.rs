//! `holdall rm`: deletes entries.

use clap::Args;
use holdall::{Condition, Name};
use serde_json::json;

use crate::app::App;
use crate::failure::{Done, Failure, Result};
use crate::output::counted;

/// Deletes entries. With history kept, they can still be read as they were.
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// The entries' names.
    #[arg(required = true)]
    names: Vec<String>,
    /// Deletes everything below each name, too, as below a folder.
    #[arg(long, short)]
    recursive: bool,
    /// A missing entry is no error.
    #[arg(long, short)]
    force: bool,
}

impl Rm {
    pub(crate) async fn run(self, app: &App) -> Result {
        let volume = app.volume().await?;
        let mut deleted = 0;
        for name in &self.names {
            let mut found = 0;
            if !name.ends_with('/') || !self.recursive {
                let parsed = Name::parse(name)?;
                found += u64::from(volume.delete(&parsed, Condition::Always).await?);
            }
            if self.recursive {
                found += volume.delete_prefix(&crate::tree::folder_prefix(name)).await?;
            }
            if found == 0 && !self.force {
                return Err(self.missing(app, name, &volume).await?);
            }
            deleted += found;
        }
        app.output.summary(&json!({ "deleted": deleted }), || {
            format!("{} deleted", counted(deleted, "entry"))
        })?;
        Ok(Done::Whole)
    }

    async fn missing(&self, app: &App, name: &str, volume: &holdall::Volume) -> Result<Failure> {
        let below = holdall::ListOptions::prefix(crate::tree::folder_prefix(name)).limit(1);
        if !self.recursive && !volume.list(below).await?.entries.is_empty() {
            let message = format!("`{name}` is a folder; `holdall rm -r {name}` deletes all of it");
            return Ok(Failure::Usage(message));
        }
        Ok(app.no_entry(name))
    }
}
