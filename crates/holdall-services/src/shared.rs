//! One server of a kind for all tests: started by the first that needs it, ended by
//! `cargo x services down`.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::own::{open_to_others, spawn_somewhere};
use crate::process::{end, is_alive};
use crate::{Result, Service};

/// The file that says which process it is and on which port.
const STATE: &str = "state";

/// A server that all tests use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The port of 127.0.0.1 that it listens on.
    pub port: u16,
    /// Where its data is.
    pub folder: PathBuf,
}

/// Whether a shared server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Up {
        /// Its process.
        pid: u32,
        /// The port of 127.0.0.1 that it listens on.
        port: u16,
    },
    /// It does not.
    Down,
}

/// The server of this kind that all tests use; started now if it does not run.
///
/// # Errors
/// If it cannot be installed or started.
pub fn shared(service: &'static Service) -> Result<Shared> {
    let folder = root()?.join(service.name);
    let _lock = lock(service)?;
    if let State::Up { port, .. } = read(&folder)
        && (service.ready)(&folder.join("data"), port)
    {
        return Ok(Shared { port, folder: folder.join("data") });
    }
    (service.install)()?;
    end_and_remove(service, &folder)?;
    let data = folder.join("data");
    std::fs::create_dir_all(&data).map_err(|e| format!("{} : {e}", data.display()))?;
    open_to_others(&folder)?;
    open_to_others(&data)?;
    (service.prepare)(&data)?;
    let (child, port) = spawn_somewhere(service, &data)?;
    let state = format!("{} {port}", child.id());
    std::fs::write(folder.join(STATE), state).map_err(|e| format!("{}: {e}", folder.display()))?;
    (service.begin)(&data, port)?;
    Ok(Shared { port, folder: data })
}

/// Whether the shared server of this kind runs.
///
/// # Errors
/// If there is no temporary folder to look in.
pub fn state(service: &Service) -> Result<State> {
    Ok(read(&root()?.join(service.name)))
}

/// Ends the shared server of this kind, and removes its data.
///
/// # Errors
/// If the data cannot be removed.
pub fn down(service: &Service) -> Result<()> {
    let _lock = lock(service)?;
    end_and_remove(service, &root()?.join(service.name))
}

fn end_and_remove(service: &Service, folder: &Path) -> Result<()> {
    if let State::Up { pid, .. } = read(folder) {
        end(pid, service.stop);
    }
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{} cannot be removed: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn read(folder: &Path) -> State {
    let text = std::fs::read_to_string(folder.join(STATE)).unwrap_or_default();
    let mut words = text.split_whitespace().map(str::parse::<u32>);
    if let (Some(Ok(pid)), Some(Ok(port))) = (words.next(), words.next())
        && let Ok(port) = u16::try_from(port)
        && is_alive(pid)
    {
        return State::Up { pid, port };
    }
    State::Down
}

/// Keeps other processes from starting or ending the same server meanwhile.
fn lock(service: &Service) -> Result<File> {
    let path = root()?.join(format!("{}.lock", service.name));
    let failed = |e| format!("{} cannot be locked: {e}", path.display());
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

/// Where the shared servers of this user are.
fn root() -> Result<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    let root = std::env::temp_dir().join(format!("holdall-services-{user}"));
    std::fs::create_dir_all(&root).map_err(|e| format!("{}: {e}", root.display()))?;
    open_to_others(&root)?;
    Ok(root)
}
