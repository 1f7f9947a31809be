//! The next journal file, made ready before it is needed.
//!
//! A file whose blocks were all written once is synced in about 120 µs, one that grows in 300 µs
//! and now and then in milliseconds (`docs/decisions/0005-embedded-engine.md`). So the first file
//! of a store grows, to keep small stores small and opening quick; while it fills, a second is
//! written with zeros from end to end in the background; and from then on applied files are used
//! again, so that no file is ever made any more.

use std::fs::{self, File};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::disk::FILL_BYTES;
use super::file::open_for_writing;
use super::{Shared, lock};

/// What there is of the next file.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    /// A file under the spare name.
    pub(crate) ready: Option<File>,
    /// Whether one was begun in this life of the journal. One is enough; where that failed, the
    /// next file grows.
    begun: bool,
    /// Whether the journal was closed: there is no next file any more.
    ended: bool,
}

/// Begins to fill a file when the active one is a quarter full and there is none.
pub(crate) fn prepare(shared: &Arc<Shared>, active_end: u64) {
    if active_end < shared.settings.journal_bytes / 4 {
        return;
    }
    {
        let mut spare = lock(&shared.spare);
        if spare.begun
            || spare.ended
            || spare.ready.is_some()
            || shared.overlay().flushing().is_some()
        {
            return;
        }
        spare.begun = true;
    }
    let owner = Arc::clone(shared);
    drop(shared.env.blocking(move || {
        let filled = fill(&owner);
        let mut spare = lock(&owner.spare);
        let kept = filled.is_ok()
            && spare.ready.is_none()
            && !spare.ended
            && fs::rename(owner.folder.filling(), owner.folder.spare()).is_ok();
        match filled {
            Ok(file) if kept => spare.ready = Some(file),
            // It could not be made, or is not needed: the room is given back.
            _ => drop(fs::remove_file(owner.folder.filling())),
        }
    }));
}

/// Gives the room of the spare file back, also of one that is being filled, and no other is made.
/// One that cannot be removed is used by the next opening.
pub(crate) fn end(shared: &Shared) {
    let mut spare = lock(&shared.spare);
    spare.ended = true;
    if spare.ready.take().is_some() {
        drop(fs::remove_file(shared.folder.spare()));
    }
    // Who fills it notices and lets go of it; there is none if nobody does.
    drop(fs::remove_file(shared.folder.filling()));
}

fn begin(shared: &Shared) -> io::Result<File> {
    let spare = lock(&shared.spare);
    if spare.ended {
        return Err(io::ErrorKind::Interrupted.into());
    }
    open_for_writing(&shared.folder.filling())
}

fn fill(shared: &Shared) -> io::Result<File> {
    let file = begin(shared)?;
    let zeros = vec![0; FILL_BYTES as usize];
    let mut at = 0;
    while at < shared.settings.journal_bytes {
        if shared.abandoned.load(Ordering::Relaxed) || lock(&shared.spare).ended {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = (shared.settings.journal_bytes - at).min(FILL_BYTES);
        shared.disk.write(&file, &zeros[..count as usize], at)?;
        at += count;
    }
    shared.disk.sync(&file)?;
    Ok(file)
}

/// Makes an applied file the spare one, or removes it if there is one or none is needed.
pub(crate) fn recycle(shared: &Shared, number: u64, file: File) {
    let path = shared.folder.journal(number);
    let mut spare = lock(&shared.spare);
    let unneeded = spare.ready.is_some() || spare.ended;
    if unneeded || file.set_len_at_most(shared.settings.journal_bytes).is_err() {
        drop(fs::remove_file(path));
    } else if fs::rename(path, shared.folder.spare()).is_ok() {
        spare.ready = Some(file);
    }
}

trait Shrink {
    fn set_len_at_most(&self, bytes: u64) -> io::Result<()>;
}

impl Shrink for File {
    fn set_len_at_most(&self, bytes: u64) -> io::Result<()> {
        if self.metadata()?.len() > bytes { self.set_len(bytes) } else { Ok(()) }
    }
}
