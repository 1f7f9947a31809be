//! Large buffers that are used again: on many machines new memory is slower to touch for the
//! first time than a disk is to fill it.

use std::sync::{Arc, Mutex, PoisonError};

use holdall_core::Bytes;

/// How many bytes are kept for the next ones at the most.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// Buffers that wait to be used again, the longest waiting first. All of their bytes are set.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// A kept buffer that fits: at least this long, and not more than twice. Its content is old.
    pub(crate) fn take(&self, length: usize) -> Option<Vec<u8>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = kept.iter().enumerate().filter(|(_, buffer)| {
            buffer.len() >= length && buffer.len() <= length.saturating_mul(2)
        });
        let (index, _) = fitting.min_by_key(|(_, buffer)| buffer.len())?;
        Some(kept.remove(index))
    }

    /// Keeps a buffer, and lets go of old ones where that makes too many.
    pub(crate) fn give_back(&self, buffer: Vec<u8>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(buffer);
        let mut bytes: usize = kept.iter().map(Vec::capacity).sum();
        while bytes > KEPT_BYTES_MAX && !kept.is_empty() {
            bytes -= kept.remove(0).capacity();
        }
    }

    /// The first bytes of a buffer, which comes back here when nobody needs them any more.
    pub(crate) fn lend(self: &Arc<Self>, buffer: Vec<u8>, length: usize) -> Bytes {
        Bytes::from_owner(Lent { buffer, length, home: Arc::clone(self) })
    }
}

struct Lent {
    buffer: Vec<u8>,
    length: usize,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_lent_buffer_comes_back_when_its_last_part_has_gone() {
        let buffers = Arc::new(Buffers::default());
        let bytes = buffers.lend(vec![7; 3000], 2000);
        assert_eq!(bytes.len(), 2000);
        let part = bytes.slice(1990..);
        drop(bytes);
        assert!(buffers.take(2000).is_none());
        drop(part);
        assert_eq!(buffers.take(2000).unwrap().len(), 3000);
        assert!(buffers.take(2000).is_none());
    }

    #[test]
    fn only_fitting_buffers_are_given_and_not_too_much_is_kept() {
        let buffers = Buffers::default();
        buffers.give_back(vec![0; 1000]);
        assert!(buffers.take(1001).is_none());
        assert!(buffers.take(499).is_none());
        assert!(buffers.take(500).is_some());

        buffers.give_back(vec![0; 1000]);
        buffers.give_back(vec![0; KEPT_BYTES_MAX]);
        assert!(buffers.take(1000).is_none(), "the oldest went");
        buffers.give_back(vec![0; KEPT_BYTES_MAX + 1]);
        assert!(buffers.0.lock().unwrap().is_empty());
    }
}
