//! How large a queue of late writes may become, and how it is worked off.

use std::time::Duration;

use holdall_core::{Error, Operation, Result};

/// Plain data; the defaults suit segments on their way to an object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BehindSettings {
    /// How many keys wait for the back at the most. Writers of further ones wait.
    pub rows_max: usize,
    /// How many bytes of keys and values wait for the back at the most.
    pub bytes_max: u64,
    /// How many keys are written to the back at once.
    pub calls_max: usize,
    /// The longest pause after the back has refused a write; it doubles each time.
    pub pause_first: Duration,
    /// No pause is longer.
    pub pause_max: Duration,
    /// Beginnings of keys that are created once and never anew, whoever writes them: creating one
    /// asks the front alone whether it is there, and so works while the back does not. Creating any
    /// other key, or expecting a revision of one, asks the back what it has.
    pub written_once: Vec<String>,
}

impl Default for BehindSettings {
    fn default() -> Self {
        Self {
            rows_max: 100_000,
            bytes_max: 1 << 30,
            calls_max: 8,
            pause_first: Duration::from_millis(100),
            pause_max: Duration::from_secs(30),
            written_once: Vec::new(),
        }
    }
}

impl BehindSettings {
    /// Refuses limits that cannot work.
    ///
    /// # Errors
    /// `Invalid`, naming the field.
    pub fn check(&self) -> Result<()> {
        if self.rows_max == 0 || self.bytes_max == 0 || self.calls_max == 0 {
            let message = "rows_max, bytes_max or calls_max is 0; make each at least 1";
            return Err(Error::invalid(Operation::Configure, message));
        }
        Ok(())
    }

    /// Whether this key is created once and never anew.
    pub(super) fn is_written_once(&self, key: &str) -> bool {
        self.written_once.iter().any(|prefix| key.starts_with(prefix.as_str()))
    }
}
