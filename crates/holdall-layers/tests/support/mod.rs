//! What the journal's tests have in common: opening with small files, and a disk that fails.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use holdall_core::{Backend, Bytes, Env, Key, Memory, Result};
use holdall_layers::{Disk, JournalSettings, Journaled, RealDisk};

/// Files so small that generations change all the time.
pub(crate) fn tiny() -> JournalSettings {
    JournalSettings {
        journal_bytes: 16 << 10,
        overlay_bytes: 2 << 10,
        flush_bytes: 512,
        holder: "journal test".to_owned(),
    }
}

/// Files in which a test's rows stay until they are flushed on purpose.
pub(crate) fn roomy() -> JournalSettings {
    JournalSettings { journal_bytes: 1 << 20, overlay_bytes: 1 << 20, ..tiny() }
}

pub(crate) fn key(name: impl AsRef<str>) -> Key {
    Key::parse(name).unwrap()
}

pub(crate) fn env() -> Env {
    holdall_runtime::env()
}

pub(crate) async fn open(inner: &Arc<Memory>, folder: &Path) -> Result<Arc<Journaled>> {
    open_with(inner, folder, roomy()).await
}

pub(crate) async fn open_with(
    inner: &Arc<Memory>,
    folder: &Path,
    settings: JournalSettings,
) -> Result<Arc<Journaled>> {
    let inner: Arc<dyn Backend> = Arc::<Memory>::clone(inner);
    Journaled::open(inner, folder, settings, &env()).await
}

/// The value of a key, as text.
pub(crate) async fn text(backend: &dyn Backend, name: &str) -> Option<String> {
    use holdall_core::BackendExt;
    let object = backend.get_all(&key(name)).await.unwrap()?;
    Some(String::from_utf8(object.value.to_vec()).unwrap())
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A disk that fails on demand.
#[derive(Debug)]
pub(crate) struct BadDisk {
    pub(crate) fail_writes: AtomicBool,
    pub(crate) fail_syncs: AtomicBool,
    /// How many bytes can still be reserved.
    pub(crate) room: AtomicU64,
}

impl Default for BadDisk {
    fn default() -> Self {
        Self {
            fail_writes: AtomicBool::new(false),
            fail_syncs: AtomicBool::new(false),
            room: AtomicU64::new(u64::MAX),
        }
    }
}

impl Disk for BadDisk {
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.fail_writes.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk has gone"));
        }
        RealDisk.write(file, bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.fail_syncs.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk did not write"));
        }
        RealDisk.sync(file)
    }

    fn reserve(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        let room = self.room.load(Ordering::SeqCst);
        if to - from > room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.room.store(room - (to - from), Ordering::SeqCst);
        RealDisk.reserve(file, from, to)
    }
}
