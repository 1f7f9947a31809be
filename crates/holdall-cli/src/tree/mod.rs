//! A directory tree against a volume: walking it, storing it, restoring it, comparing the two.
//!
//! ```text
//!   disk    walk ── sorted ──┐
//!                            ├── pairs ── import: what differs is stored
//!   volume  listing ─ sorted ┘          └ diff:   what differs is told
//!   volume  listing ── export ── disk
//! ```
//!
//! A file `a/b` of the tree is the entry `<prefix>a/b`, a directory the empty entry `<prefix>a/`;
//! modes, times and links are in attributes. What is not kept: hard links as such, extended
//! attributes, access control lists, sockets, devices and pipes.

pub(crate) mod attributes;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod names;
pub(crate) mod pairs;
pub(crate) mod read;
pub(crate) mod restore;
pub(crate) mod walk;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdall::{Error, Operation};

use crate::failure::{Failure, Result};

/// What names in a volume begin with, for a tree: empty, or with a slash at its end.
pub(crate) fn folder_prefix(prefix: &str) -> String {
    if prefix.is_empty() || prefix.ends_with('/') {
        return prefix.to_owned();
    }
    format!("{prefix}/")
}

/// The prefix under which a directory is kept unless another is given: its own name.
pub(crate) fn own_prefix(root: &Path) -> String {
    root.file_name().map(|name| format!("{}/", names::escape(name))).unwrap_or_default()
}

/// The directory that was named, as an absolute path without links.
pub(crate) fn directory(path: &Path) -> Result<std::path::PathBuf> {
    let shown = path.display();
    let found = path.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::NotFound(format!("there is no directory `{shown}`; give one that exists"))
        }
        _ => Error::io(Operation::Get, format!("cannot use the directory `{shown}`"), error).into(),
    })?;
    if !found.is_dir() {
        let message = format!("`{shown}` is not a directory; use `holdall put` for a single file");
        return Err(Failure::Usage(message));
    }
    Ok(found)
}

/// Whether to stop: Ctrl-C, or because something else failed.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    interrupted: Arc<AtomicBool>,
    failed: Arc<AtomicBool>,
}

impl Stop {
    /// Stops at Ctrl-C.
    pub(crate) fn at(interrupted: &Arc<AtomicBool>) -> Self {
        Self { interrupted: Arc::clone(interrupted), failed: Arc::default() }
    }

    /// Stops everything that looks here.
    pub(crate) fn now(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Whether to stop.
    pub(crate) fn asked(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) || self.failed.load(Ordering::Relaxed)
    }
}
