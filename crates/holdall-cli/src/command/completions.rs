//! `holdall completions`: what a shell needs to complete commands.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use crate::app::App;
use crate::cli::Cli;
use crate::failure::{Done, Result};

/// Writes a script that lets a shell complete commands and options.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, app: &App) -> Result {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "holdall", &mut script);
        if app.output.is_json() {
            let text = String::from_utf8_lossy(&script);
            app.output.object(&json!({ "shell": self.shell.to_string(), "script": text }))?;
        } else {
            app.output.bytes(&script)?;
        }
        Ok(Done::Whole)
    }
}
