//! The command line of `cargo x bench`.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use holdall_core::Env;

use crate::Result;
use crate::setting::{Scale, Setting};

/// Measures volumes beside their peers, in one run on one disk.
#[derive(Debug, Parser)]
#[command(name = "cargo x bench")]
pub struct Arguments {
    /// Which rows to measure (small_puts, small_gets, listing, large_objects, object_stores,
    /// replicas, import, memory, open, catalogs); all, if none is named
    pub names: Vec<String>,
    /// How often every contender has its turn
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Smaller sizes where the full ones take minutes
    #[arg(long)]
    pub quick: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
    /// The folder to write under; its disk is what is measured
    #[arg(long, default_value = "target/bench")]
    pub dir: PathBuf,
    /// The tree to import; the Rust toolchain, if none is named
    #[arg(long)]
    pub tree: Option<PathBuf>,
    /// The holdall command; the one beside this program, if none is named
    #[arg(long)]
    pub holdall: Option<PathBuf>,
    /// The restic command
    #[arg(long, default_value = "restic")]
    pub restic: PathBuf,
}

impl Arguments {
    /// Where the run takes place, and how large it is.
    ///
    /// # Errors
    /// If the folder cannot be made, or there is no tree.
    pub fn setting(self, env: Env) -> Result<Setting> {
        if self.rounds == 0 {
            return Err("--rounds is 0; make it at least 1".into());
        }
        std::fs::create_dir_all(&self.dir)
            .map_err(|error| format!("{} cannot be made: {error}", self.dir.display()))?;
        let program = std::env::current_exe()?;
        let beside = |name: &str| program.with_file_name(name);
        let tree = self.tree.map_or_else(toolchain, Ok)?;
        Ok(Setting {
            env,
            dir: self.dir.canonicalize()?,
            rounds: self.rounds,
            scale: if self.quick { Scale::quick() } else { Scale::full() },
            holdall: self.holdall.unwrap_or_else(|| beside("holdall")),
            restic: self.restic,
            tree: existing(&tree)?,
            program,
        })
    }
}

/// The tree that is on every machine that builds this: sources, documents and binaries.
fn toolchain() -> Result<PathBuf> {
    let ended = crate::watch::run(Command::new("rustc").args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(ended.output.trim()))
}

fn existing(tree: &Path) -> Result<PathBuf> {
    let wrong = |why: &str| format!("--tree {}: {why}", tree.display());
    let path = tree.canonicalize().map_err(|error| wrong(&error.to_string()))?;
    if path.is_dir() { Ok(path) } else { Err(wrong("it is no folder").into()) }
}
