//! Writes single files, directories and symlinks below a target, and never outside of it.
//!
//! A file is written under another name and renamed when it is whole, so that what stands under
//! its own name is always whole. Before anything is written into a directory, it and all above it,
//! up to the target, were seen to be real directories: a symlink in their place is refused.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, OFlags, Timespec, Timestamps};

use super::attributes::{Attributes, Kind};

/// Writes below a target.
#[derive(Debug)]
pub(crate) struct Restorer {
    target: PathBuf,
    /// Directories that were seen to be real ones.
    seen: Mutex<HashSet<PathBuf>>,
    /// Whether owners are restored: only the superuser may.
    owners: bool,
}

/// A file being written.
#[derive(Debug)]
pub(crate) struct Partial {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Restorer {
    /// Writes below this directory, which is made if it is missing.
    pub(crate) fn new(target: &Path) -> io::Result<Self> {
        fs::create_dir_all(target)?;
        let target = target.canonicalize()?;
        let seen = Mutex::new(HashSet::from([target.clone()]));
        Ok(Self { target, seen, owners: rustix::process::geteuid().is_root() })
    }

    /// The path of these parts, below directories that are real.
    fn place(&self, parts: &[OsString]) -> io::Result<PathBuf> {
        let Some((last, parents)) = parts.split_last() else {
            return Ok(self.target.clone());
        };
        let mut path = self.target.clone();
        for parent in parents {
            path.push(parent);
            self.real_directory(&path)?;
        }
        path.push(last);
        Ok(path)
    }

    fn real_directory(&self, path: &Path) -> io::Result<()> {
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen().contains(path) {
            return Ok(());
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let metadata = fs::symlink_metadata(path)?;
                if !metadata.is_dir() {
                    let what = if metadata.is_symlink() { "a symlink" } else { "a file" };
                    let message = format!("`{}` is {what}, not a directory", path.display());
                    return Err(io::Error::other(message));
                }
                if metadata.mode() & 0o700 != 0o700 {
                    // Its own mode comes back at the end.
                    fs::set_permissions(path, Permissions::from_mode(metadata.mode() | 0o700))?;
                }
            }
            Err(error) => return Err(error),
        }
        seen().insert(path.to_owned());
        Ok(())
    }

    /// Makes a directory; its mode and time are set by [`finish`](Self::finish).
    pub(crate) fn directory(&self, parts: &[OsString]) -> io::Result<PathBuf> {
        let path = self.place(parts)?;
        self.real_directory(&path)?;
        Ok(path)
    }

    /// Sets a directory's mode and time, once nothing more is written into it.
    pub(crate) fn finish(&self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        self.own(path, attributes)?;
        fs::set_permissions(path, Permissions::from_mode(attributes.mode))?;
        set_time(path, attributes)
    }

    /// Makes a symlink, unless it is there.
    pub(crate) fn symlink(&self, parts: &[OsString], attributes: &Attributes) -> io::Result<bool> {
        let path = self.place(parts)?;
        let target = attributes.target.as_deref().unwrap_or_default();
        if fs::read_link(&path).is_ok_and(|found| found == target) {
            set_time(&path, attributes)?;
            return Ok(false);
        }
        let partial = partial_path(&path);
        remove_if_there(&partial)?;
        std::os::unix::fs::symlink(target, &partial)?;
        self.own(&partial, attributes)?;
        set_time(&partial, attributes)?;
        fs::rename(&partial, &path)?;
        Ok(true)
    }

    /// Whether a file of this size, mode and time is there already.
    pub(crate) fn has(
        &self,
        parts: &[OsString],
        size: u64,
        attributes: &Attributes,
    ) -> io::Result<bool> {
        let path = self.place(parts)?;
        match fs::symlink_metadata(&path) {
            Ok(found) => {
                let there = Attributes::of(&found, Kind::File, None);
                Ok(found.is_file()
                    && found.len() == size
                    && there.mode == attributes.mode
                    && there.modified == attributes.modified)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Begins a file.
    pub(crate) fn begin(&self, parts: &[OsString]) -> io::Result<Partial> {
        let target = self.place(parts)?;
        let path = partial_path(&target);
        remove_if_there(&path)?;
        let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o600).custom_flags(flags);
        Ok(Partial { file: file.open(&path)?, path, target })
    }

    /// Gives a file that is whole its mode, time and name.
    pub(crate) fn end(&self, partial: Partial, attributes: &Attributes) -> io::Result<()> {
        let Partial { file, path, target } = partial;
        self.own(&path, attributes)?;
        file.set_permissions(Permissions::from_mode(attributes.mode))?;
        drop(file);
        set_time(&path, attributes)?;
        fs::rename(&path, &target).inspect_err(|_| drop(fs::remove_file(&path)))
    }

    /// Makes everything durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let folder = File::open(&self.target)?;
        Ok(rustix::fs::syncfs(&folder)?)
    }

    fn own(&self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        match attributes.owner {
            Some((user, group)) if self.owners => {
                std::os::unix::fs::lchown(path, Some(user), Some(group))
            }
            _ => Ok(()),
        }
    }
}

impl Partial {
    /// Adds bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Takes away what was begun.
    pub(crate) fn abandon(self) {
        // The next export of this file removes it if this cannot.
        drop(fs::remove_file(&self.path));
    }
}

/// Where a file is written until it is whole: always the same, so that the next try finds it.
fn partial_path(path: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let name = path.file_name().unwrap_or_default();
    let digest = blake3::hash(name.as_bytes()).to_hex();
    path.with_file_name(format!(".holdall-{}.partial", &digest[..16]))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn set_time(path: &Path, attributes: &Attributes) -> io::Result<()> {
    let (seconds, nanos) = attributes.modified;
    let modified = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    let times = Timestamps { last_access: modified, last_modification: modified };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
