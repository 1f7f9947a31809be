//! Importing a real tree, for the first time and again unchanged, beside restic.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::report::{Measured, Unit};
use crate::setting::{Scratch, Setting, turns};
use crate::watch::{self, disk_usage, tree_size};

/// The row's name.
pub const NAME: &str = "import";

const RESTIC: &str = "restic";
const OUR_DURABILITY: &str = "as every put";
const RESTIC_DURABILITY: &str = "fsync of files and folders, its default";

/// Measures the row.
///
/// # Errors
/// If `holdall` or `restic` cannot be found, or fails.
pub async fn run(setting: &Setting) -> Result<Vec<Measured>> {
    let (holdall, restic) = (holdall(setting)?, restic(setting)?);
    // This also brings the tree into the page cache, for both.
    let (files, bytes) = tree_size(&setting.tree)?;
    let tree = format!("{files} files, {:.2} GB", bytes as f64 / 1e9);
    let times = |what: &str| {
        Measured::new(NAME, format!("import of a tree, {what}: {tree}"), Unit::Seconds)
            .times(3.0, RESTIC)
            .note(format!("restic {}; it encrypts, which it cannot leave out", restic.version))
    };
    let mut first = times("first time");
    let mut again = times("unchanged");
    let mut size = Measured::new(NAME, format!("disk used by the import: {tree}"), Unit::Bytes)
        .ahead(RESTIC)
        .note("holdall: catalog, its journal's fixed files and data; restic: repository alone");
    read_through(&setting.tree)?;
    for round in 0..setting.rounds {
        for is_ours in turns(&[true, false], round) {
            let scratch = setting.fresh(NAME)?;
            if !is_ours {
                restic.init(&scratch)?;
            }
            for measured in [&mut first, &mut again] {
                setting.quiet().await?;
                if is_ours {
                    let mut command = Command::new(&holdall);
                    let ended = watch::run(ours(&mut command, setting, scratch.path()))?;
                    measured.add("holdall", OUR_DURABILITY, ended.time.as_secs_f64());
                } else {
                    let ended = restic.backup(&scratch, &setting.tree)?;
                    measured.add(RESTIC, RESTIC_DURABILITY, ended.time.as_secs_f64());
                }
            }
            if is_ours {
                size.add("holdall", "", disk_usage(scratch.path())? as f64);
            } else {
                size.add(RESTIC, "", disk_usage(&scratch.path().join("repository"))? as f64);
            }
        }
    }
    Ok(vec![first, again, size])
}

/// Where the `holdall` command is.
///
/// # Errors
/// If it is not there.
pub fn holdall(setting: &Setting) -> Result<PathBuf> {
    if setting.holdall.is_file() {
        return Ok(setting.holdall.clone());
    }
    let path = setting.holdall.display();
    Err(format!(
        "there is no {path}; build it with `cargo build --release -p holdall-cli`, as `cargo x \
         bench` does, or name it with --holdall"
    )
    .into())
}

/// The command that imports the tree.
pub fn ours<'a>(command: &'a mut Command, setting: &Setting, home: &Path) -> &'a mut Command {
    command.arg("import").arg(&setting.tree).env("HOLDALL_HOME", home)
}

/// Reads every file once, so that neither contender pays for the disk.
fn read_through(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            read_through(&entry.path())?;
        } else if kind.is_file() {
            std::io::copy(&mut std::fs::File::open(entry.path())?, &mut std::io::sink())?;
        }
    }
    Ok(())
}

struct Restic {
    program: PathBuf,
    version: String,
}

fn restic(setting: &Setting) -> Result<Restic> {
    let program = setting.restic.clone();
    let ended = watch::run(Command::new(&program).arg("version")).map_err(|error| {
        format!("{error}; install it (`apt-get install restic`), or name it with --restic")
    })?;
    let version = ended.output.split_whitespace().nth(1).unwrap_or("unknown").to_owned();
    Ok(Restic { program, version })
}

impl Restic {
    fn command(&self, scratch: &Scratch) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--repo")
            .arg(scratch.path().join("repository"))
            .arg("--cache-dir")
            .arg(scratch.path().join("cache"))
            .env("RESTIC_PASSWORD", "bench");
        command
    }

    fn init(&self, scratch: &Scratch) -> Result<()> {
        watch::run(self.command(scratch).arg("init"))?;
        Ok(())
    }

    fn backup(&self, scratch: &Scratch, tree: &Path) -> Result<watch::Ended> {
        watch::run(self.command(scratch).arg("backup").arg(tree))
    }
}
