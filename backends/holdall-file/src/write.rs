//! Writing and removing values.
//!
//! ```text
//!   temporary file: write, sync ─► lock ─► expectation? ─► rename ─► unlock ─► sync the folders
//! ```
//!
//! Before the rename nothing is visible, so a failure leaves nothing behind but a temporary file.
//! After it only the sync of the folders can fail, and then the outcome is unknown.

use std::fs;
use std::os::fd::OwnedFd;

use holdall_core::{Error, Expect, Key, Operation, Result, Revision};
use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;

use crate::error;
use crate::folder::{Folder, TEMPORARY, file_mode, make_folder, open_folder};
use crate::names::{self, Place};
use crate::{direct, revision};

/// A file that has no name yet, and is removed unless it gets one.
struct Temporary<'a> {
    folder: &'a Folder,
    file: fs::File,
    path: String,
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // After the rename there is nothing under this name; what a crash leaves goes at open.
        let _ = rustix::fs::unlinkat(&self.folder.root, &self.path, AtFlags::empty());
    }
}

impl Folder {
    /// Writes a value whole, if what is there now is as expected.
    pub(crate) fn put(&self, key: &Key, value: &[u8], expect: &Expect) -> Result<Revision> {
        const OPERATION: Operation = Operation::Put;
        let with_key = |error: Error| error.with_key(key);
        self.check_open(OPERATION)?;
        // A look before the work, so that a put that cannot succeed writes nothing. The look that
        // counts is the one under the lock.
        self.check(OPERATION, key, expect)?;
        let temporary = self.write_temporary(value).map_err(with_key)?;
        let place = names::place(key);
        let failed = |errno| error::os(OPERATION, "name a value", errno).with_key(key);

        let guard = self.lock(OPERATION)?;
        self.check(OPERATION, key, expect)?;
        let folders = self.make_folders(&place).map_err(failed)?;
        match rustix::fs::renameat(&self.root, &temporary.path, &self.root, &place.path) {
            Ok(()) => {}
            Err(Errno::IO) => {
                return Err(error::unknown(OPERATION, "name a value", Errno::IO).with_key(key));
            }
            Err(errno) => return Err(failed(errno)),
        }
        // Only now are the facts final: the rename changes the time of change.
        let metadata = temporary.file.metadata();
        drop(guard);

        self.settle(OPERATION, sync_all(&folders)).map_err(with_key)?;
        let metadata = metadata
            .map_err(|source| error::unknown(OPERATION, "look at a value", source).with_key(key))?;
        Ok(revision::of(&metadata))
    }

    /// Removes a value, if what is there now is as expected.
    pub(crate) fn delete(&self, key: &Key, expect: &Expect) -> Result<()> {
        const OPERATION: Operation = Operation::Delete;
        self.check_open(OPERATION)?;
        let place = names::place(key);
        let failed = |errno| error::os(OPERATION, "remove a value", errno).with_key(key);

        let guard = self.lock(OPERATION)?;
        self.check(OPERATION, key, expect)?;
        let folders = match place.folders.iter().map(|path| open_folder(&self.root, path)).collect()
        {
            Ok(folders) => folders,
            Err(Errno::NOENT) => Vec::new(),
            Err(errno) => return Err(failed(errno)),
        };
        // Folders, links and pipes in a value's place are not ours to remove.
        if self.current(OPERATION, key)?.is_some() {
            match rustix::fs::unlinkat(&self.root, &place.path, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        // The folders of a long name go with its last file; the shard stays.
        for path in place.folders.iter().skip(1).rev() {
            if rustix::fs::unlinkat(&self.root, path, AtFlags::REMOVEDIR).is_err() {
                break;
            }
        }
        drop(guard);

        // Also if the file was not there: whoever removed it may not have synced yet.
        self.settle(OPERATION, sync_all(&folders)).map_err(|error| error.with_key(key))
    }

    fn check(&self, operation: Operation, key: &Key, expect: &Expect) -> Result<()> {
        if *expect == Expect::Any || expect.holds(self.current(operation, key)?.as_ref()) {
            return Ok(());
        }
        let message = "the key has changed since it was read; read it again";
        Err(Error::conflict(operation, message).with_key(key))
    }

    fn write_temporary(&self, value: &[u8]) -> Result<Temporary<'_>> {
        let failed = |source| error::os(Operation::Put, "write a value", source);
        let path = format!("{TEMPORARY}/{:032x}", u128::from_le_bytes(self.env.random()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&self.root, &path, flags, file_mode());
        let file = match open() {
            // Someone tidied up; the folder is ours to make again.
            Err(Errno::NOENT) => make_folder(&self.root, TEMPORARY).and_then(|()| open()),
            opened => opened,
        };
        let file: fs::File = file.map_err(|errno| failed(errno.into()))?.into();
        let temporary = Temporary { folder: self, file, path };
        let file = &temporary.file;
        direct::fill(file, value, &self.buffers).map_err(|errno| failed(errno.into()))?;
        let time = self.times.next(&self.env);
        file.set_times(fs::FileTimes::new().set_modified(time)).map_err(failed)?;
        // If this fails the file goes, and with it all that the system may have forgotten.
        file.sync_data().map_err(failed)?;
        Ok(temporary)
    }

    /// The folders that lead to a file, with the root if even the shard had to be made.
    fn make_folders(&self, place: &Place) -> Result<Vec<OwnedFd>, Errno> {
        let mut folders = Vec::with_capacity(place.folders.len());
        for path in &place.folders {
            let folder = match open_folder(&self.root, path) {
                Err(Errno::NOENT) => {
                    make_folder(&self.root, path)?;
                    if folders.is_empty() {
                        folders.push(self.root.try_clone().map_err(|_| Errno::MFILE)?);
                    }
                    open_folder(&self.root, path)?
                }
                opened => opened?,
            };
            folders.push(folder);
        }
        Ok(folders)
    }
}

/// Syncs the folders, the innermost first. All of them: another writer may have made one of them
/// and not yet synced the one above.
fn sync_all(folders: &[OwnedFd]) -> Result<(), Errno> {
    folders.iter().rev().try_for_each(rustix::fs::fsync)
}
