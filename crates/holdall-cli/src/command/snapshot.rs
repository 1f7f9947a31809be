//! `holdall snapshot`: states of a volume that are kept.

use clap::{Args, Subcommand};
use holdall::{Name, SnapshotInfo};
use serde_json::json;

use crate::app::App;
use crate::failure::{Done, Failure, Result};
use crate::output::{Table, shown};
use crate::times;

/// Keeps the present state of a volume under a name, until it is deleted.
#[derive(Args, Debug)]
pub(crate) struct Snapshot {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes a snapshot; `--at snapshot:NAME` reads it.
    Create {
        /// Its name.
        name: String,
    },
    /// Lists all snapshots.
    List,
    /// Deletes a snapshot: what only it kept may be collected.
    Delete {
        /// Its name.
        name: String,
    },
}

impl Snapshot {
    pub(crate) async fn run(self, app: &App) -> Result {
        let volume = app.volume().await?;
        match self.action {
            Action::Create { name } => {
                let made = volume.snapshot(&Name::parse(name)?).await?;
                app.output.summary(&object(&made), || {
                    format!("snapshot `{}` of commit {}", shown(made.name.as_str()), made.version)
                })?;
            }
            Action::List => {
                let mut table = Table::new(&["NAME", "COMMIT", "CREATED"]);
                for found in volume.snapshots().await? {
                    if app.output.is_json() {
                        app.output.object(&object(&found))?;
                    }
                    let name = shown(found.name.as_str()).into_owned();
                    table.add([name, found.version.to_string(), times::short(found.created)]);
                }
                if !app.output.is_json() {
                    table.lines().try_for_each(|line| app.output.line(&line))?;
                }
            }
            Action::Delete { name } => {
                if !volume.delete_snapshot(&Name::parse(&name)?).await? {
                    let message = format!(
                        "there is no snapshot `{name}` of volume `{}`; `holdall snapshot list` \
                         shows which there are",
                        app.global.volume
                    );
                    return Err(Failure::NotFound(message));
                }
                app.output.summary(&json!({ "deleted": name }), || {
                    format!("snapshot `{}` deleted", shown(&name))
                })?;
            }
        }
        Ok(Done::Whole)
    }
}

fn object(found: &SnapshotInfo) -> serde_json::Value {
    json!({ "name": found.name.as_str(), "commit": found.version,
        "created": times::exact(found.created) })
}
