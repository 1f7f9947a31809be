//! The folder with a file for each backend. Who changes one holds the folder's lock, writes a new
//! file beside it and renames: a reader needs no lock and sees the old one or the new one.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use holdall_core::{Error, Operation, Result};
use holdall_volume::format::chunk::Digest;
use serde::{Deserialize, Serialize};

use super::{BackendStats, CallStats, ProcessStats};

/// The version of the files' format.
const VERSION: u32 = 1;
/// Backends whose figures are kept; those that were not used for longest go first.
const FILES_MAX: usize = 100;
const LOCK: &str = "lock";

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    stats: BackendStats,
}

#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// All figures of a folder.
#[derive(Debug, Default)]
pub struct KeptStats {
    /// One for each backend, ordered by location.
    pub backends: Vec<BackendStats>,
    /// Files that cannot be read.
    pub problems: Vec<Error>,
}

/// What was found in a file.
enum Found {
    Nothing,
    Stats(BackendStats),
    Damaged(Error),
    /// Written by a later version, which may go on with it.
    Newer(Error),
}

/// Reads the figures that processes kept in a folder. One that is not there has none.
///
/// # Errors
/// If the folder cannot be read.
pub fn read_stats(folder: &Path) -> Result<KeptStats> {
    let mut kept = KeptStats::default();
    for path in files(folder).map_err(|source| cannot("read", folder, source))? {
        match read(&path) {
            Ok(Found::Nothing) => {}
            Ok(Found::Stats(stats)) => kept.backends.push(stats),
            Ok(Found::Damaged(error) | Found::Newer(error)) => kept.problems.push(error),
            Err(source) => kept.problems.push(cannot("read", &path, source)),
        }
    }
    kept.backends.sort_by(|one, other| one.location.cmp(&other.location));
    Ok(kept)
}

/// Adds what is new of one process; whether nobody else held the lock, so that it was done.
pub(super) fn merge(
    folder: &Path,
    location: &str,
    news: &[CallStats],
    process: ProcessStats,
) -> Result<bool> {
    let failed = |source| cannot("keep", folder, source);
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let lock = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK));
    let lock = lock.map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let path = folder.join(file_name(location));
    let mut stats = match read(&path).map_err(failed)? {
        Found::Stats(stats) => stats,
        Found::Nothing => {
            make_room(folder).map_err(failed)?;
            BackendStats { location: location.to_owned(), ..BackendStats::default() }
        }
        Found::Damaged(_) => {
            BackendStats { location: location.to_owned(), lost: true, ..BackendStats::default() }
        }
        Found::Newer(error) => return Err(error),
    };
    stats.merge(news, process);
    let text = serde_json::to_vec(&Kept { version: VERSION, stats });
    let beside = path.with_extension("new");
    fs::write(&beside, text.map_err(|error| failed(error.into()))?).map_err(failed)?;
    fs::rename(&beside, &path).map_err(failed)?;
    Ok(true)
}

fn file_name(location: &str) -> String {
    let scheme = location.split(':').next().unwrap_or_default();
    let digest = Digest::of(location.as_bytes()).to_string();
    format!("{scheme}-{}.json", digest.get(..16).unwrap_or(&digest))
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> io::Result<Found> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        text => text?,
    };
    if serde_json::from_slice(&text).is_ok_and(|head: Head| head.version > VERSION) {
        let message = format!("{} was written by a newer version; use that one", path.display());
        return Ok(Found::Newer(Error::unsupported(Operation::Decode, message)));
    }
    match serde_json::from_slice::<Kept>(&text) {
        Ok(kept) => Ok(Found::Stats(kept.stats)),
        Err(source) => {
            let message = format!(
                "the figures in {} are damaged; they begin anew when the backend is next used",
                path.display()
            );
            Ok(Found::Damaged(Error::corrupt(Operation::Decode, message).with_source(source)))
        }
    }
}

/// Forgets the backends that were not used for longest, so that one more has room.
fn make_room(folder: &Path) -> io::Result<()> {
    let files = files(folder)?;
    let surplus = (files.len() + 1).saturating_sub(FILES_MAX);
    if surplus == 0 {
        return Ok(());
    }
    let mut by_age = Vec::with_capacity(files.len());
    for path in files {
        by_age.push((fs::metadata(&path)?.modified()?, path));
    }
    by_age.sort();
    by_age.into_iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
}

fn cannot(what: &str, path: &Path, source: io::Error) -> Error {
    let message = format!("cannot {what} the figures of backends in {}", path.display());
    Error::io(Operation::Maintain, message, source)
}
