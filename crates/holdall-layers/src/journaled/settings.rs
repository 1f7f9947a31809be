//! How a journal is sized, and how its holder is named to others.

use holdall_core::{Error, Operation, Result};

use super::format::BLOCK;

/// Plain data; the defaults are the measured ones of `docs/decisions/0005-embedded-engine.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// The size of one journal file in bytes. There are two of them, rarely three. One op-set that
    /// is larger makes its file as large as it needs.
    pub journal_bytes: u64,
    /// How much memory one generation of the overlay may use before it is flushed, in bytes: the
    /// records' own bytes, and an estimate for the map's. There are at most two generations.
    pub overlay_bytes: usize,
    /// How many key and value bytes go to the inner backend in one batch, about.
    pub flush_bytes: usize,
    /// Who holds the journal, for the message that a second process gets: the program's name and
    /// the words of its command line, without secrets.
    pub holder: String,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            journal_bytes: 32 << 20,
            overlay_bytes: 24 << 20,
            flush_bytes: 8 << 20,
            holder: "holdall".to_owned(),
        }
    }
}

impl JournalSettings {
    /// Refuses sizes that cannot work.
    ///
    /// # Errors
    /// `Invalid`, naming the field.
    pub fn check(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::invalid(Operation::Configure, message));
        let block = BLOCK as u64;
        if self.journal_bytes < 2 * block || !self.journal_bytes.is_multiple_of(block) {
            return invalid(format!(
                "journal_bytes is {}; make it a multiple of {block}, at least {}",
                self.journal_bytes,
                2 * block
            ));
        }
        if self.overlay_bytes == 0 || self.flush_bytes == 0 {
            return invalid("overlay_bytes or flush_bytes is 0; make it at least 1".to_owned());
        }
        Ok(())
    }

    /// The most payload bytes that share one write to the journal, unless one op-set alone has
    /// more: enough to make the cost of the sync vanish, small enough to keep latency and the
    /// buffer small.
    pub(crate) fn group_bytes(&self) -> usize {
        usize::try_from(self.journal_bytes / 4).unwrap_or(usize::MAX).min(4 << 20)
    }
}
