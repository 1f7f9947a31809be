//! `holdall mv`: gives an entry another name.

use clap::Args;
use holdall::{Condition, Name};
use serde_json::json;

use crate::app::App;
use crate::failure::{Done, Result};

/// Renames one entry without moving its bytes.
#[derive(Args, Debug)]
pub(crate) struct Mv {
    /// The entry's name.
    from: String,
    /// The new name; an entry that is there is replaced.
    to: String,
    /// Only if there is no entry of the new name.
    #[arg(long)]
    if_absent: bool,
}

impl Mv {
    pub(crate) async fn run(self, app: &App) -> Result {
        let (from, to) = (Name::parse(&self.from)?, Name::parse(&self.to)?);
        let volume = app.volume().await?;
        if volume.stat(&from).await?.is_none() {
            return Err(app.no_entry(&self.from));
        }
        let condition = if self.if_absent { Condition::Absent } else { Condition::Always };
        let committed = volume.rename(&from, &to, condition).await?;
        let object = json!({ "from": self.from, "to": self.to, "version": committed.version });
        app.output.summary(&object, || format!("`{from}` renamed to `{to}`"))?;
        Ok(Done::Whole)
    }
}
