//! How a cache is sized, what it keeps, and whose word it takes.

use std::path::PathBuf;

use holdall_core::{Error, Operation, Result};

/// The least that a cache on disk works with.
const DISK_BYTES_MIN: u64 = 16 << 20;

/// What a cache does with a value that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writes {
    /// Write-through: what the back has taken is kept too, so that the next read finds it.
    #[default]
    Through,
    /// Write-around: only what is read is kept.
    Around,
}

/// Plain data; the defaults suit segments on an object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// How many bytes of keys and values are kept in memory. 0 keeps none there.
    pub memory_bytes: u64,
    /// Where on a disk values are kept too, if they are.
    pub disk: Option<CacheDisk>,
    /// How many bytes of keys and values are kept in the backend in front, where there is one.
    pub front_bytes: u64,
    /// The largest value that is kept, in bytes. Larger ones pass by.
    pub value_bytes_max: u64,
    /// What happens to values that are written.
    pub writes: Writes,
    /// Whether reading a range of a value that is not here brings the whole value in, behind the
    /// reader's back.
    pub ranges_fill: bool,
    /// Beginnings of keys that are written once and never again with another value, whoever writes
    /// them: their copies are taken for true without asking the back. The empty one means all.
    pub written_once: Vec<String>,
}

/// A folder for copies of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheDisk {
    /// The folder. It holds nothing else, and one process at a time uses it.
    pub folder: PathBuf,
    /// How large it is, in bytes.
    pub bytes: u64,
    /// Which store it is a cache of: its location without secrets. A folder that was the cache of
    /// another store is emptied.
    pub store: String,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            disk: None,
            front_bytes: 1 << 30,
            value_bytes_max: 16 << 20,
            writes: Writes::default(),
            ranges_fill: true,
            written_once: Vec::new(),
        }
    }
}

impl CacheSettings {
    /// Refuses sizes that cannot work.
    ///
    /// # Errors
    /// `Invalid`, naming the field.
    pub fn check(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::invalid(Operation::Configure, message));
        if self.value_bytes_max == 0 {
            return invalid("value_bytes_max is 0; a cache keeps values of at least 1 byte".into());
        }
        match &self.disk {
            Some(disk) if disk.bytes < DISK_BYTES_MIN => invalid(format!(
                "the cache on disk has {} bytes; give it at least {DISK_BYTES_MIN}",
                disk.bytes
            )),
            _ => Ok(()),
        }
    }

    /// Whether this key is written once and never again with another value.
    pub(super) fn is_written_once(&self, key: &str) -> bool {
        self.written_once.iter().any(|prefix| key.starts_with(prefix.as_str()))
    }
}
