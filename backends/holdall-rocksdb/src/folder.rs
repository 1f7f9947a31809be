//! The folder of a database: whose it is, and who has it open.

use std::fs;
use std::path::Path;

use holdall_core::{Error, Operation, Result};
use rocksdb::{DB, IteratorMode, Options};
use rustix::process::{Flock, FlockType};

use crate::error;
use crate::layout::{FAMILIES, PARTS, ROWS};

const OPEN: Operation = Operation::Open;
/// The family that every database has. Ours is empty.
const DEFAULT: &str = "default";

/// Refuses a folder that holds anything but a database of ours or none. Changes nothing.
pub(crate) fn check(path: &Path) -> Result<()> {
    if !path.join("CURRENT").exists() {
        // RocksDB would make a new database, and remove the files of the old one.
        return if has_data(path)? {
            let message = "the folder holds files of a database, but not the one that says which \
                belong to it; restore it from a copy, or choose another folder";
            Err(Error::corrupt(OPEN, message))
        } else {
            Ok(())
        };
    }
    let options = Options::default();
    let failed = |source| error::rocks(OPEN, source);
    let families = DB::list_cf(&options, path).map_err(failed)?;
    let others = || families.iter().filter(|name| ![DEFAULT, ROWS, PARTS].contains(&name.as_str()));
    if others().any(|name| name.starts_with(FAMILIES)) {
        let message =
            "the database was made by a newer holdall; open it with that, or choose another folder";
        return Err(Error::invalid(OPEN, message));
    }
    if others().next().is_some() {
        return Err(foreign());
    }
    if families.len() == 1 {
        // Another program's, or one of ours whose making was cut off.
        let database = DB::open_for_read_only(&options, path, false).map_err(failed)?;
        if database.iterator(IteratorMode::Start).next().is_some() {
            return Err(foreign());
        }
    }
    Ok(())
}

/// Whether there are tables, blobs or logs.
fn has_data(path: &Path) -> Result<bool> {
    let failed = |source| error::os(OPEN, source);
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let extension = Path::new(&name).extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("sst" | "blob" | "log")) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn foreign() -> Error {
    let message = "the folder holds a RocksDB database of another program; choose another folder";
    Error::invalid(OPEN, message)
}

/// The error of opening, where RocksDB may have been refused its lock.
pub(crate) fn refused(path: &Path, source: rocksdb::Error) -> Error {
    if source.as_ref().contains("lock hold by current process") {
        let message = "this process has the database open by other means than this backend; close \
            that one first";
        return Error::unavailable(OPEN, message).with_source(source);
    }
    if !source.as_ref().contains("While lock file") {
        return error::rocks(OPEN, source);
    }
    let holder = holder(path).unwrap_or_else(|| "another process".to_owned());
    let message = format!(
        "the database is in use by {holder}; only one process at a time can open it: wait for \
         that one to end, or end it"
    );
    Error::unavailable(OPEN, message).with_source(source)
}

/// The process that has RocksDB's lock, by its number and, where the system tells, its name.
fn holder(path: &Path) -> Option<String> {
    // Closing the file would give back a lock of our own; but ours is not there, or RocksDB would
    // have known.
    let file = fs::File::open(path.join("LOCK")).ok()?;
    let wanted = Flock::from(FlockType::WriteLock);
    let process = rustix::process::fcntl_getlk(&file, &wanted).ok()??.pid?;
    let number = process.as_raw_nonzero();
    let name = fs::read_to_string(format!("/proc/{number}/comm"));
    Some(match name {
        Ok(name) => format!("process {number} ({})", name.trim()),
        Err(_) => format!("process {number}"),
    })
}

/// The version of RocksDB, which it writes into each file of its own options.
pub(crate) fn version(path: &Path) -> Option<String> {
    let names =
        fs::read_dir(path).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let newest = names.filter(|name| name.starts_with("OPTIONS-")).max()?;
    let text = fs::read_to_string(path.join(newest)).ok()?;
    let version = text.lines().find_map(|line| line.trim().strip_prefix("rocksdb_version="));
    version.map(str::to_owned)
}

/// Makes a folder and all above it that are missing, and syncs every folder that got a new entry.
pub(crate) fn create_synced(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_synced(parent)?;
    }
    match fs::create_dir(path) {
        Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => {
            // Another process was faster, or a file is in the folder's place.
            if !path.is_dir() {
                return Err(rustix::io::Errno::NOTDIR.into());
            }
        }
        made => made?,
    }
    fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
