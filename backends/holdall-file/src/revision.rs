//! Which state of a file a revision names.
//!
//! A put always makes a new file, so the file's own facts tell states apart: inode, times and
//! size. Two files that live at the same time have different inodes. An inode may be used again
//! after its file has gone, so the time of modification is set by us and is never the same twice
//! in one process; between processes chance and the file system's own time of change help.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdall_core::{Env, Revision};

/// The revision of the state that this file is in.
pub(crate) fn of(file: &Metadata) -> Revision {
    Revision::text(&format!(
        "{:x}-{:x}.{:x}-{:x}.{:x}-{:x}",
        file.ino(),
        file.mtime(),
        file.mtime_nsec(),
        file.ctime(),
        file.ctime_nsec(),
        file.size()
    ))
}

/// Gives out times of modification, each later than the one before.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// Nanoseconds since 1970.
    last: AtomicU64,
}

impl Times {
    /// The time to put on the next file: about now, and new.
    pub(crate) fn next(&self, env: &Env) -> SystemTime {
        let now = env.now().as_micros().saturating_mul(1000).saturating_add(env.random_below(1000));
        let later = |last: u64| now.max(last.saturating_add(1));
        let last =
            self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(later(last)));
        UNIX_EPOCH + Duration::from_nanos(later(last.unwrap_or_else(|last| last)))
    }
}
