//! `holdall cp`: gives an entry's bytes a second name.

use clap::Args;
use holdall::{Condition, Name};
use serde_json::json;

use crate::app::App;
use crate::failure::{Done, Result};

/// Copies one entry without moving its bytes.
#[derive(Args, Debug)]
pub(crate) struct Cp {
    /// The entry's name.
    from: String,
    /// The copy's name; an entry that is there is replaced.
    to: String,
    /// Only if there is no entry of the second name.
    #[arg(long)]
    if_absent: bool,
}

impl Cp {
    pub(crate) async fn run(self, app: &App) -> Result {
        let (from, to) = (Name::parse(&self.from)?, Name::parse(&self.to)?);
        let volume = app.volume().await?;
        if volume.stat(&from).await?.is_none() {
            return Err(app.no_entry(&self.from));
        }
        let condition = if self.if_absent { Condition::Absent } else { Condition::Always };
        let committed = volume.copy(&from, &to, condition).await?;
        let object = json!({ "from": self.from, "to": self.to, "version": committed.version });
        app.output.summary(&object, || format!("`{from}` copied to `{to}`"))?;
        Ok(Done::Whole)
    }
}
