//! A copy of a value as the back once gave it out, and where copies are kept.

use bytes::Bytes;
use holdall_core::{ByteRange, Error, Key, Object, Operation, Result, Revision, async_trait};

/// A copy of a value, or of a part of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    /// Which state of the key it is a copy of.
    pub(super) revision: Revision,
    /// The size of the whole value in bytes.
    pub(super) size: u64,
    /// Where the bytes begin in the value.
    pub(super) start: u64,
    pub(super) bytes: Bytes,
    /// Whether it was kept before this cache was opened.
    pub(super) earlier: bool,
}

impl Held {
    /// A whole value as the back gave it.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are not as many as the back says.
    pub(super) fn whole(key: &Key, object: Object) -> Result<Self> {
        let Object { value: bytes, revision, size } = object;
        if bytes.len() as u64 != size {
            let message = format!(
                "the backend gave {} bytes of a value of {size}; verify the backend",
                bytes.len()
            );
            return Err(Error::corrupt(Operation::Get, message).with_key(key));
        }
        Ok(Self { revision, size, start: 0, bytes, earlier: false })
    }

    pub(super) fn is_whole(&self) -> bool {
        self.start == 0 && self.bytes.len() as u64 == self.size
    }

    /// The asked range, for which this must have the bytes.
    pub(super) fn object(&self, range: ByteRange) -> Result<Object> {
        let range = range.clip(self.size)?;
        let from = range.start.saturating_sub(self.start) as usize;
        let to = range.end.saturating_sub(self.start) as usize;
        let value = self.bytes.slice(from..to);
        Ok(Object { value, revision: self.revision.clone(), size: self.size })
    }
}

/// Where copies outlive the memory: a disk, or a backend. What is kept may be gone at any time,
/// and may be old: whoever loads it compares its revision with one that is known to be current.
#[async_trait]
pub(super) trait Copies: Send + Sync + std::fmt::Debug {
    /// The copy that is kept under the key, with at least the asked range.
    ///
    /// # Errors
    /// Those of the disk or backend; the back has everything that is here. `Corrupt` where a copy
    /// was damaged, which is then dropped.
    async fn load(&self, key: &Key, range: ByteRange) -> Result<Option<Held>>;

    /// Keeps a whole value in place of an earlier one.
    async fn keep(&self, key: &Key, held: &Held) -> Result<()>;

    /// How much is kept, in a few words for a person.
    fn note(&self) -> String;

    /// Waits until what was kept is where it is to lie.
    async fn flush(&self);

    /// Writes down what is on its way, and lets go of files.
    async fn close(&self) -> Result<()>;
}
