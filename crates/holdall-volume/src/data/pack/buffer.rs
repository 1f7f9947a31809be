//! Large buffers that are used again: touching fresh memory costs more than copying into it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

/// To this a buffer's bytes are aligned, so that a backend may write them without copying.
const ALIGNMENT: usize = 4096;

/// Buffers of one size, kept for the next user.
#[derive(Debug)]
pub(crate) struct Buffers {
    capacity: usize,
    keep: usize,
    free: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Buffers that hold `capacity` bytes without growing; at most `keep` idle ones are kept.
    pub(crate) fn new(capacity: usize, keep: usize) -> Arc<Self> {
        Arc::new(Self { capacity, keep, free: Mutex::default() })
    }

    /// An empty buffer.
    pub(crate) fn take(self: &Arc<Self>) -> Buffer {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer::of(free.unwrap_or_default(), self.capacity, Arc::downgrade(self))
    }

    fn give_back(&self, bytes: Vec<u8>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.keep {
            free.push(bytes);
        }
    }
}

/// Bytes that grow at their end and begin at an aligned address.
#[derive(Debug)]
pub(crate) struct Buffer {
    /// Filler up to the aligned address, then the bytes.
    bytes: Vec<u8>,
    start: usize,
    home: Weak<Buffers>,
}

impl Buffer {
    fn of(mut bytes: Vec<u8>, capacity: usize, home: Weak<Buffers>) -> Self {
        bytes.clear();
        bytes.reserve(capacity + ALIGNMENT);
        // An address that cannot be aligned is only slower.
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        let start = if start < ALIGNMENT { start } else { 0 };
        bytes.resize(start, 0);
        Self { bytes, start, home }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// The bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The bytes, with the filler before them: only for appending.
    pub(crate) fn appender(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The bytes from `at` on.
    pub(crate) fn tail_mut(&mut self, at: usize) -> &mut [u8] {
        &mut self.bytes[self.start + at..]
    }

    /// The bytes for good. A buffer that is used to less than an eighth is copied, so that whoever
    /// keeps few bytes does not keep a large buffer.
    pub(crate) fn freeze(self) -> Bytes {
        if self.len() * 8 >= self.bytes.capacity() {
            return Bytes::from_owner(self);
        }
        let mut copy = Self::of(Vec::new(), self.len(), Weak::new());
        copy.bytes.extend_from_slice(self.as_slice());
        Bytes::from_owner(copy)
    }

    /// The bytes for a short time: never copied.
    pub(crate) fn lend(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            home.give_back(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_come_back() {
        let buffers = Buffers::new(10_000, 1);
        let mut buffer = buffers.take();
        buffer.appender().extend_from_slice(&[7; 9_000]);
        let address = buffer.as_slice().as_ptr();
        assert_eq!((buffer.len(), address as usize % ALIGNMENT), (9_000, 0));
        let bytes = buffer.freeze();
        assert_eq!((&bytes[..], bytes.as_ptr()), (&[7; 9_000][..], address));
        let part = bytes.slice(1..2);
        drop(bytes);
        assert!(buffers.free.lock().unwrap().is_empty());
        drop(part);
        assert_eq!(buffers.take().as_slice().as_ptr(), address);
    }

    #[test]
    fn few_bytes_do_not_keep_a_large_buffer() {
        let buffers = Buffers::new(10_000, 1);
        let mut buffer = buffers.take();
        buffer.appender().extend_from_slice(b"few");
        let bytes = buffer.freeze();
        assert_eq!(buffers.free.lock().unwrap().len(), 1);
        assert_eq!((&bytes[..], bytes.as_ptr() as usize % ALIGNMENT), (&b"few"[..], 0));
    }
}
