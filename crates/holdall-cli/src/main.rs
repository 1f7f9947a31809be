//! The `holdall` command: one file a command.
//!
//! ```text
//! cli       what may be written on the command line
//! app       the opened engine, Ctrl-C, and how a command ends
//! command/  one file a command
//! tree/     a directory tree against a volume: import, export, diff
//! output    lines for people, objects for programs; problems, progress, times
//! ```

mod app;
mod cli;
mod command;
mod failure;
mod memory;
mod output;
mod problems;
mod progress;
mod times;
mod tree;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;

/// How long work in the background may still take once the command has ended.
const SHUTDOWN_MAX: Duration = Duration::from_millis(300);

/// More would not make disks faster, but each takes memory of its own.
const BLOCKING_THREADS_MAX: usize = 32;

fn main() -> ExitCode {
    memory::share_pools();
    let json = std::env::args_os().any(|word| word == "--json");
    if let Err(error) =
        refuse_secrets(std::env::args_os().filter_map(|word| word.into_string().ok()))
    {
        return failure::Failure::from(error).report(json, None);
    }
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, json),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let message = format!("cannot start threads: {error}; lower the system's load");
            return failure::Failure::Usage(message).report(json, None);
        }
    };
    let code = runtime.block_on(app::run(cli));
    // A read from a terminal or pipe that nobody waits for any more must not hold up the end.
    runtime.shutdown_timeout(SHUTDOWN_MAX);
    code
}

/// Other users of the machine can read a command line.
fn refuse_secrets(words: impl Iterator<Item = String>) -> Result<(), holdall::Error> {
    for word in words {
        let value = word.strip_prefix("--").and_then(|option| option.split_once('='));
        let value = value.map_or(word.as_str(), |(_, value)| value);
        // What is no location is for the command to refuse.
        if let Ok(location) = holdall::parse_location(value) {
            holdall::refuse_literal(&location)?;
        }
    }
    Ok(())
}

/// What clap has to say: help and versions, or what is wrong with the command line.
fn refuse(error: &clap::Error, json: bool) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // A pipe that was closed wants no more help.
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    if json {
        let line = text.lines().next().unwrap_or_default().to_owned();
        return failure::Failure::Usage(line).report(json, None);
    }
    output::complain(&format!("holdall: {}", text.trim_end()));
    ExitCode::from(failure::USAGE)
}
