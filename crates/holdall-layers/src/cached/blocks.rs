//! A copy's bytes with checksums between them, so that what rots in front is noticed, and a range
//! of a large copy is checked without reading all of it.
//!
//! ```text
//!   CRC32C (4, little-endian) · 64 KiB of the value · CRC32C · the next · … · the last, shorter
//! ```
//! Each checksum is of the row's key and the bytes behind it, so that what belongs to another row
//! does not pass. An empty value has one block of no bytes.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use holdall_core::{ByteRange, Key};

/// How many bytes of the value are in a block.
const BLOCK: u64 = 64 << 10;
const SUM: u64 = 4;

fn blocks(size: u64) -> u64 {
    size.div_ceil(BLOCK).max(1)
}

/// How long the row of a value of this size is.
pub(super) fn row_bytes(size: u64) -> u64 {
    size + blocks(size) * SUM
}

/// The size of the value in a row of this length, if there can be one in it.
pub(super) fn value_bytes(row: u64) -> Option<u64> {
    let size = row.checked_sub(row.div_ceil(BLOCK + SUM) * SUM)?;
    Some(size).filter(|size| row_bytes(*size) == row)
}

fn checksum(row: &Key, block: &[u8]) -> [u8; 4] {
    crc32c::crc32c_append(crc32c::crc32c(row.as_bytes()), block).to_le_bytes()
}

/// The bytes of a row.
pub(super) fn with_checksums(row: &Key, value: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(row_bytes(value.len() as u64) as usize);
    for number in 0..blocks(value.len() as u64) {
        let start = (number * BLOCK) as usize;
        let block = &value[start..value.len().min(start + BLOCK as usize)];
        bytes.put_slice(&checksum(row, block));
        bytes.put_slice(block);
    }
    bytes.freeze()
}

/// The blocks that have the bytes of a range.
#[derive(Debug)]
pub(super) struct Span {
    blocks: Range<u64>,
    /// How many bytes of the value are in them.
    bytes: u64,
}

impl Span {
    /// The blocks for this range of a value of this size; at least one.
    pub(super) fn of(range: Range<u64>, size: u64) -> Self {
        let first = (range.start / BLOCK).min(blocks(size) - 1);
        let end = range.end.div_ceil(BLOCK).max(first + 1);
        Self { blocks: first..end, bytes: size.min(end * BLOCK) - first * BLOCK }
    }

    /// Where they lie in the row.
    pub(super) fn in_row(&self) -> ByteRange {
        let start = self.blocks.start * (BLOCK + SUM);
        let sums = (self.blocks.end - self.blocks.start) * SUM;
        ByteRange::new(start, start + sums + self.bytes)
    }

    /// Where their bytes begin in the value.
    pub(super) fn start(&self) -> u64 {
        self.blocks.start * BLOCK
    }

    /// Takes the value's bytes out of these bytes of the row; nothing if they are not what was
    /// written.
    pub(super) fn take(&self, row: &Key, bytes: &Bytes) -> Option<Bytes> {
        let place = self.in_row();
        if Some(place.start + bytes.len() as u64) != place.end {
            return None;
        }
        let is_good = |chunk: &&[u8]| {
            let (sum, block) = chunk.split_at(SUM as usize);
            sum == checksum(row, block)
        };
        let chunk_bytes = (BLOCK + SUM) as usize;
        if !bytes.chunks(chunk_bytes).all(|chunk| is_good(&chunk)) {
            return None;
        }
        if bytes.len() <= chunk_bytes {
            return Some(bytes.slice(SUM as usize..));
        }
        let mut value = BytesMut::with_capacity(self.bytes as usize);
        bytes.chunks(chunk_bytes).for_each(|chunk| value.put_slice(&chunk[SUM as usize..]));
        Some(value.freeze())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn key(name: &str) -> Key {
        Key::parse(name).unwrap()
    }

    fn value(size: u64) -> Vec<u8> {
        (0..size).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect()
    }

    fn part(row: &Bytes, range: ByteRange) -> Bytes {
        let place = range.clip(row.len() as u64).unwrap();
        row.slice(place.start as usize..place.end as usize)
    }

    #[test]
    fn every_range_comes_out_of_its_blocks() {
        let row = key("row");
        for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 7] {
            let value = value(size);
            let stored = with_checksums(&row, &value);
            assert_eq!(stored.len() as u64, row_bytes(size));
            assert_eq!(value_bytes(row_bytes(size)), Some(size));
            let edges = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 6, size];
            for start in edges {
                for end in edges {
                    let (start, end) = (start.min(size), end.min(size));
                    if start > end {
                        continue;
                    }
                    let span = Span::of(start..end, size);
                    let found = span.take(&row, &part(&stored, span.in_row())).unwrap();
                    let (from, to) = (start - span.start(), end - span.start());
                    let wanted = &value[start as usize..end as usize];
                    assert_eq!(&found[from as usize..to as usize], wanted, "{size} {start} {end}");
                    assert!(found.len() as u64 <= (end - start) + 2 * BLOCK);
                }
            }
        }
        for row in [0, 1, SUM - 1, BLOCK + SUM + 1, BLOCK + 2 * SUM] {
            assert_eq!(value_bytes(row), None, "{row}");
        }
    }

    #[test]
    fn nothing_else_passes() {
        let (row, size) = (key("row"), BLOCK + 10);
        let stored = with_checksums(&row, &value(size));
        let whole = Span::of(0..size, size);
        assert!(whole.take(&row, &stored).is_some());
        assert_eq!(whole.take(&key("other"), &stored), None);
        assert_eq!(whole.take(&row, &stored.slice(1..)), None);
        assert_eq!(whole.take(&row, &stored.slice(..stored.len() - 1)), None);
        for at in (0..stored.len()).step_by(997).chain([3, 4, stored.len() - 1]) {
            let mut bad = stored.to_vec();
            bad[at] ^= 0x10;
            assert_eq!(whole.take(&row, &bad.into()), None, "{at}");
        }
    }
}
