//! What may be written on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::command;

/// Keeps directory trees, files and pipes in a volume, and checks every byte it gives back.
///
/// Everything lies in the folder .holdall of the current directory, or in the one that
/// HOLDALL_HOME names, in a volume called `default`; the first write makes both.
#[derive(Debug, Parser)]
#[command(name = "holdall", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done; 1 done in part, or with findings; 2 wrong use; \
    3 conflict; 4 full; 5 unavailable; 6 unknown; 7 corrupt; 8 denied; 9 unsupported; 10 closed; \
    11 not found; 130 interrupted.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// The folder that holds catalog and data.
    #[arg(
        long,
        global = true,
        env = "HOLDALL_HOME",
        value_name = "DIR",
        default_value = ".holdall"
    )]
    pub(crate) home: PathBuf,
    /// Which volume.
    #[arg(
        long,
        global = true,
        env = "HOLDALL_VOLUME",
        value_name = "NAME",
        default_value = "default"
    )]
    pub(crate) volume: String,
    /// Where the catalog is, instead of in the home folder: journal+lmdb:///path or lmdb:///path.
    #[arg(long, global = true, env = "HOLDALL_CATALOG", value_name = "LOCATION")]
    #[arg(hide_env_values = true)]
    pub(crate) catalog: Option<String>,
    /// Where the data is, instead of in the home folder: file:///path.
    #[arg(long, global = true, env = "HOLDALL_DATA", value_name = "LOCATION")]
    #[arg(hide_env_values = true)]
    pub(crate) data: Option<String>,
    /// Backends by name and volumes on them; ./holdall.yaml, if it is there.
    #[arg(long, global = true, env = "HOLDALL_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Writes one JSON object a line, errors too.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Shows no progress and no summary.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Import(command::import::Import),
    Export(command::export::Export),
    Put(command::put::Put),
    Get(command::get::Get),
    Cat(command::cat::Cat),
    Ls(command::ls::Ls),
    Stat(command::stat::Stat),
    Rm(command::rm::Rm),
    Cp(command::cp::Cp),
    Mv(command::mv::Mv),
    Find(command::find::Find),
    History(command::history::History),
    Snapshot(command::snapshot::Snapshot),
    Diff(command::diff::Diff),
    Verify(command::verify::Verify),
    Gc(command::gc::Gc),
    Repair(command::repair::Repair),
    Scrub(command::scrub::Scrub),
    Rebuild(command::rebuild::Rebuild),
    Jobs(command::jobs::Jobs),
    Run(command::run::Run),
    Daemon(command::daemon::Daemon),
    Status(command::status::Status),
    Volume(command::volume::Volume),
    Backend(command::backend::Backend),
    Config(command::config::Config),
    Bench(command::bench::Bench),
    Completions(command::completions::Completions),
}

impl Command {
    /// The command's name, as others see it who find the store in use.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Import(_) => "import",
            Self::Export(_) => "export",
            Self::Put(_) => "put",
            Self::Get(_) => "get",
            Self::Cat(_) => "cat",
            Self::Ls(_) => "ls",
            Self::Stat(_) => "stat",
            Self::Rm(_) => "rm",
            Self::Cp(_) => "cp",
            Self::Mv(_) => "mv",
            Self::Find(_) => "find",
            Self::History(_) => "history",
            Self::Snapshot(_) => "snapshot",
            Self::Diff(_) => "diff",
            Self::Verify(_) => "verify",
            Self::Gc(_) => "gc",
            Self::Repair(_) => "repair",
            Self::Scrub(_) => "scrub",
            Self::Rebuild(_) => "rebuild",
            Self::Jobs(_) => "jobs",
            Self::Run(_) => "run",
            Self::Daemon(_) => "daemon",
            Self::Status(_) => "status",
            Self::Volume(_) => "volume",
            Self::Backend(_) => "backend",
            Self::Config(_) => "config",
            Self::Bench(_) => "bench",
            Self::Completions(_) => "completions",
        }
    }
}
