//! The root folder: its layout on disk, its lock, and what is left over from crashes.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use holdall_core::{Env, Error, Health, Location, Operation, Result};
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::buffers::Buffers;
use crate::config::Config;
use crate::error;
use crate::names;
use crate::revision::Times;

/// Where values are written before they get their names.
pub(crate) const TEMPORARY: &str = ".tmp";
const LOCK: &str = ".lock";
/// How old a temporary file must be before it is taken for one that a crash left.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// An opened root folder. All of its methods block.
#[derive(Debug)]
pub(crate) struct Folder {
    /// Paths are relative to this handle, so that the root's own path length does not count.
    pub(crate) root: OwnedFd,
    pub(crate) env: Env,
    pub(crate) times: Times,
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) location: Location,
    lock: Mutex<fs::File>,
    closed: AtomicBool,
}

/// While this lives, no other thread or process changes which files there are.
#[derive(Debug)]
pub(crate) struct Guard<'a>(MutexGuard<'a, fs::File>);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // It cannot fail on a file that is locked, and closing the file would unlock it as well.
        let _ = self.0.unlock();
    }
}

impl Folder {
    /// Opens the folder, and makes it and what belongs into it where that is missing.
    pub(crate) fn open(config: &Config, env: &Env) -> Result<Self> {
        let failed = |source: std::io::Error| error::os(Operation::Open, "open the folder", source);
        create_synced(&config.path).map_err(failed)?;
        let root: OwnedFd = fs::File::open(&config.path).map_err(failed)?.into();
        let errno = |errno: Errno| failed(errno.into());
        make_folder(&root, TEMPORARY).map_err(errno)?;
        for shard in 0..names::SHARDS {
            make_folder(&root, &format!("{shard:02x}")).map_err(errno)?;
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(&root, LOCK, flags, file_mode()).map_err(errno)?;
        rustix::fs::fsync(&root).map_err(errno)?;
        let folder = Self {
            root,
            env: env.clone(),
            times: Times::default(),
            buffers: Arc::default(),
            location: config.location(),
            lock: Mutex::new(lock.into()),
            closed: AtomicBool::new(false),
        };
        folder.remove_leftovers().map_err(errno)?;
        Ok(folder)
    }

    /// Keeps all other writers out, of this process and of others.
    ///
    /// Every write takes this for its last step, the one that others see: also one without an
    /// expectation, because it must not come between the look and the step of one that has.
    pub(crate) fn lock(&self, operation: Operation) -> Result<Guard<'_>> {
        // Nothing that could be left half done is behind the mutex, so its poison means nothing.
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        guard.lock().map_err(|source| error::os(operation, "lock the folder", source))?;
        Ok(Guard(guard))
    }

    /// Refuses writes once a folder could not be synced.
    pub(crate) fn check_open(&self, operation: Operation) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            let message = "an earlier write could not be synced; look at the disk and open again";
            return Err(Error::closed(operation, message));
        }
        Ok(())
    }

    /// Judges the sync that ends a write. After a failed one the system may have forgotten what
    /// it did not write, and a second sync would succeed and mean nothing: so no write follows.
    pub(crate) fn settle(&self, operation: Operation, synced: Result<(), Errno>) -> Result<()> {
        synced.map_err(|errno| {
            self.closed.store(true, Ordering::Release);
            error::unknown(operation, "sync the folder", errno)
        })
    }

    /// How much room the file system has.
    pub(crate) fn health(&self) -> Result<Health> {
        let failed = |errno: Errno| error::os(Operation::Health, "ask the file system", errno);
        let system = rustix::fs::fstatvfs(&self.root).map_err(failed)?;
        rustix::fs::statat(&self.root, LOCK, AtFlags::empty()).map_err(failed)?;
        self.check_open(Operation::Health)?;
        let free = system.f_bavail.saturating_mul(system.f_frsize);
        Ok(Health { bytes_free: Some(free), ..Health::default() })
    }

    /// Removes old temporary files. Young ones may belong to a process that is writing now.
    fn remove_leftovers(&self) -> Result<(), Errno> {
        let now = UNIX_EPOCH + Duration::from_micros(self.env.now().as_micros());
        let temporary = open_folder(&self.root, TEMPORARY)?;
        for entry in Dir::read_from(&temporary)? {
            let entry = entry?;
            let name = entry.file_name();
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let Ok(file) = rustix::fs::openat(&temporary, name, flags, Mode::empty()) else {
                continue;
            };
            let Ok(metadata) = fs::File::from(file).metadata() else {
                continue;
            };
            let age = metadata.modified().ok().and_then(|time| now.duration_since(time).ok());
            if metadata.is_file() && age.is_some_and(|age| age > LEFTOVER_AGE) {
                // Another process may be removing it too.
                let _ = rustix::fs::unlinkat(&temporary, name, AtFlags::empty());
            }
        }
        Ok(())
    }
}

/// Opens a folder for reading and syncing.
pub(crate) fn open_folder(root: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(root, path, flags, Mode::empty())
}

/// Makes a folder if it is missing.
pub(crate) fn make_folder(root: &OwnedFd, path: &str) -> Result<(), Errno> {
    match rustix::fs::mkdirat(root, path, Mode::from_raw_mode(0o777)) {
        Err(Errno::EXIST) | Ok(()) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Readable and writable by all whom the process's mask lets through.
pub(crate) fn file_mode() -> Mode {
    Mode::from_raw_mode(0o666)
}

/// Makes a folder and all above it that are missing, and syncs every folder that got a new entry.
fn create_synced(path: &Path) -> std::io::Result<()> {
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
                return Err(Errno::NOTDIR.into());
            }
        }
        made => made?,
    }
    fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_core::{ErrorKind, Expect, Key};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn after_a_failed_sync_no_write_is_taken_and_reads_go_on() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(&Config::new(root.path()), &holdall_runtime::env()).unwrap();
        let key = Key::parse("a").unwrap();
        folder.put(&key, b"1", &Expect::Any).unwrap();
        folder.settle(Operation::Put, Ok(())).unwrap();
        folder.put(&key, b"2", &Expect::Any).unwrap();

        let error = folder.settle(Operation::Put, Err(Errno::IO)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown);
        let refused = folder.put(&key, b"3", &Expect::Any).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Closed);
        let refused = folder.delete(&key, &Expect::Any).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Closed);
        assert_eq!(folder.health().unwrap_err().kind(), ErrorKind::Closed);
        let read = folder.get(&key, holdall_core::ByteRange::ALL).unwrap().unwrap();
        assert_eq!(read.value, "2");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn times_only_go_up_though_the_clock_may_stand() {
        let times = Times::default();
        let env = holdall_runtime::env();
        let mut last = UNIX_EPOCH;
        for _ in 0..10_000 {
            let next = times.next(&env);
            assert!(next > last);
            last = next;
        }
    }
}
