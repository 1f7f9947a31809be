//! Installing what is missing, from the system's packages, from PyPI, from npm and from crates.io.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::process::run;

/// Where tools are kept that are not packages of the system: in the user's cache, so that they
/// outlive a build folder.
///
/// # Errors
/// If the folder cannot be made.
pub fn tools() -> Result<PathBuf> {
    let home = std::env::home_dir().unwrap_or_else(std::env::temp_dir);
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), Into::into);
    let tools = cache.join("holdall-tools");
    std::fs::create_dir_all(&tools).map_err(|e| format!("{}: {e}", tools.display()))?;
    Ok(tools)
}

/// Installs what building the workspace needs beside Rust and a C compiler: RocksDB is C++, and
/// its bindings are made with libclang. With ccache a machine compiles it once and not once for
/// each build folder. Where there is no apt-get nothing is done, and a build says what it lacks.
///
/// # Errors
/// If something cannot be installed.
pub fn compilers() -> Result<()> {
    if !Path::new("/usr/bin/apt-get").exists() {
        return Ok(());
    }
    packages(
        &["/usr/bin/clang++", "/usr/share/doc/libclang-dev", "/usr/bin/ccache"],
        &["clang", "libclang-dev", "ccache"],
    )
}

/// Installs packages of the system, unless all these files are there.
pub(crate) fn packages(files: &[&str], packages: &[&str]) -> Result<()> {
    if files.iter().all(|file| Path::new(file).exists()) {
        return Ok(());
    }
    let _lock = lock()?;
    let install = || {
        let mut command = as_root("apt-get");
        command.args(["install", "-q", "-y", "--no-install-recommends"]).args(packages);
        run(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    if install().is_err() {
        run(as_root("apt-get").args(["update", "-q"]))?;
        install()?;
    }
    match files.iter().find(|file| !Path::new(file).exists()) {
        Some(missing) => Err(format!("{packages:?} are installed, but there is no {missing}")),
        None => Ok(()),
    }
}

/// A Python environment of its own with these packages; returns its folder of programs.
pub(crate) fn python(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = tools()?.join(format!("python-{name}"));
    let programs = folder.join("bin");
    let done = folder.join("installed");
    if has(&done, packages) {
        return Ok(programs);
    }
    if run(Command::new("python3").args(["-c", "import venv, ensurepip"])).is_err() {
        self::packages(
            &["/usr/bin/python3", "/usr/share/doc/python3-venv"],
            &["python3", "python3-venv"],
        )?;
    }
    let _lock = lock()?;
    // Another process may have been faster.
    if has(&done, packages) {
        return Ok(programs);
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    run(Command::new(programs.join("pip")).args(["install", "--quiet"]).args(packages))?;
    std::fs::write(&done, packages.join(" ")).map_err(|e| format!("{}: {e}", done.display()))?;
    Ok(programs)
}

/// A folder with these packages from npm in its `node_modules`.
pub(crate) fn npm(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = tools()?.join(format!("npm-{name}"));
    let done = folder.join("installed");
    if has(&done, packages) {
        return Ok(folder);
    }
    if run(Command::new("npm").arg("--version")).is_err() {
        self::packages(&["/usr/bin/node", "/usr/bin/npm"], &["nodejs", "npm"])?;
    }
    let _lock = lock()?;
    if has(&done, packages) {
        return Ok(folder);
    }
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut command = Command::new("npm");
    run(command
        .args(["install", "--silent", "--no-save", "--prefix"])
        .arg(&folder)
        .args(packages))?;
    std::fs::write(&done, packages.join(" ")).map_err(|e| format!("{}: {e}", done.display()))?;
    Ok(folder)
}

/// A program from crates.io, built here with these further arguments of `cargo install`.
pub(crate) fn crate_program(name: &str, version: &str, more: &[&str]) -> Result<PathBuf> {
    let folder = tools()?.join(format!("cargo-{name}"));
    let (done, program) = (folder.join("installed"), folder.join("bin").join(name));
    let packages = [&[version], more].concat();
    if has(&done, &packages) {
        return Ok(program);
    }
    let _lock = lock()?;
    if has(&done, &packages) {
        return Ok(program);
    }
    let mut command = Command::new("cargo");
    command.args(["install", "--quiet", "--locked", "--force", name, "--version", version]);
    command.args(more).arg("--root").arg(&folder);
    // What is built for the project is no place for what it only uses.
    run(command.env_remove("CARGO_TARGET_DIR").current_dir(tools()?))?;
    std::fs::write(&done, packages.join(" ")).map_err(|e| format!("{}: {e}", done.display()))?;
    Ok(program)
}

/// Whether exactly these packages were installed.
fn has(done: &Path, packages: &[&str]) -> bool {
    std::fs::read_to_string(done).is_ok_and(|text| text == packages.join(" "))
}

/// A program as root, by sudo where the tests do not run as root.
fn as_root(program: &str) -> Command {
    if rustix::process::getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

/// Lets one process install at a time.
fn lock() -> Result<File> {
    let path = tools()?.join("lock");
    let failed = |e| format!("{} cannot be locked: {e}", path.display());
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}
