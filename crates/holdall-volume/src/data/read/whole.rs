//! Where the pieces of a long value are put together.

use bytes::{Bytes, BytesMut};
use memmap2::MmapMut;

/// From this many bytes on, large pages are asked for: touching new memory page by page was
/// measured to take three times as long as reading and checking the bytes that go there.
const LARGE_PAGES_BYTES_MIN: usize = 4 << 20;

/// A value that is being put together.
pub(super) enum Whole {
    /// Ordinary memory, which grows.
    Grown(BytesMut),
    /// Memory of a fixed length in large pages, and how much of it is filled.
    Mapped(MmapMut, usize),
}

impl Whole {
    /// Room for about `length` bytes. Memory is used only as it is filled.
    pub(super) fn with_capacity(length: usize) -> Self {
        if length >= LARGE_PAGES_BYTES_MIN
            && let Ok(map) = MmapMut::map_anon(length)
        {
            // A wish: without it the pages are small.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            return Self::Mapped(map, 0);
        }
        Self::Grown(BytesMut::with_capacity(length))
    }

    /// Adds bytes behind what is there.
    pub(super) fn push(&mut self, piece: &[u8]) {
        if let Self::Mapped(map, filled) = self {
            if let Some(room) = map.get_mut(*filled..*filled + piece.len()) {
                room.copy_from_slice(piece);
                *filled += piece.len();
                return;
            }
            *self = Self::Grown(BytesMut::from(&map[..*filled]));
        }
        if let Self::Grown(bytes) = self {
            bytes.extend_from_slice(piece);
        }
    }

    /// All that was added.
    pub(super) fn finish(self) -> Bytes {
        match self {
            Self::Grown(bytes) => bytes.freeze(),
            Self::Mapped(map, filled) => {
                let mut bytes = Bytes::from_owner(map);
                bytes.truncate(filled);
                bytes
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_comes_out_also_if_it_is_less_or_more_than_expected() {
        for expected in [0, 10, LARGE_PAGES_BYTES_MIN, LARGE_PAGES_BYTES_MIN + 7] {
            for pieces in [0, 1, 7, 9] {
                let mut whole = Whole::with_capacity(expected);
                let mut pushed = Vec::new();
                for number in 0..pieces {
                    let piece = vec![number; LARGE_PAGES_BYTES_MIN / 7];
                    whole.push(&piece);
                    pushed.extend_from_slice(&piece);
                }
                assert!(whole.finish() == pushed, "{expected} expected, {pieces} pieces");
            }
        }
    }
}
