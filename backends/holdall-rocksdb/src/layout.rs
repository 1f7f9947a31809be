//! How rows lie in RocksDB: pure functions.
//!
//! ```text
//!   family holdall-rows-1
//!     key bytes                │ revision, 8 bytes │ 0 │ value                       small
//!     key bytes                │ revision, 8 bytes │ 1 │ step, 4 bytes │ size, 8     large
//!     0xFF "holdall-revision"  │ the last revision given out, 8 bytes
//!
//!   family holdall-parts-1
//!     revision, step, number   │ up to 128 KiB of a large value
//! ```
//!
//! Numbers are little-endian in values; in the keys of parts they are big-endian, 8, 4 and 4 bytes,
//! so that parts lie in the order in which they were written. Callers' keys are UTF-8, in which
//! the byte 0xFF does not occur: the last revision lies behind all of them.
//!
//! Parts let a range be read without the rest, and let a revision be checked and keys be listed
//! without any value. The step, its place in its batch, tells the values of one batch apart.

use holdall_core::{Error, Key, Operation, Result};

/// The family of rows.
pub(crate) const ROWS: &str = "holdall-rows-1";
/// The family of parts.
pub(crate) const PARTS: &str = "holdall-parts-1";
/// What the families of every layout begin with.
pub(crate) const FAMILIES: &str = "holdall-";

/// The row that holds the last revision. A database that has any row has this one.
pub(crate) const REVISION_KEY: &[u8] = b"\xFFholdall-revision";
/// Behind every caller's key, and at or before [`REVISION_KEY`].
pub(crate) const KEYS_END: &[u8] = b"\xFF";

/// The size of each part of a large value, but for its last.
pub(crate) const PART_BYTES: usize = 128 << 10;
/// The largest value.
pub(crate) const VALUE_BYTES_MAX: u64 = 128 << 20;

const WHOLE: u8 = 0;
const IN_PARTS: u8 = 1;
/// How many bytes are before a small value.
const HEAD_BYTES: usize = 9;

/// What is known of a value without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) revision: u64,
    pub(crate) size: u64,
    /// Its place in its batch, if it is in parts.
    pub(crate) step: Option<u32>,
}

impl Head {
    /// The keys of its parts that hold these bytes, each with its number.
    pub(crate) fn parts(
        &self,
        range: std::ops::Range<u64>,
    ) -> impl Iterator<Item = (u32, [u8; 16])> + use<> {
        let part = PART_BYTES as u64;
        let step = self.step.filter(|_| !range.is_empty());
        let numbers = step.map_or(0..0, |_| range.start / part..range.end.div_ceil(part));
        let revision = self.revision;
        // A value has at most 1,024 parts.
        numbers.map(move |number| {
            let number = number as u32;
            (number, part_key(revision, step.unwrap_or_default(), number))
        })
    }
}

fn part_key(revision: u64, step: u32, number: u32) -> [u8; 16] {
    let place = u64::from(step) << 32 | u64::from(number);
    (u128::from(revision) << 64 | u128::from(place)).to_be_bytes()
}

/// A row with its value in it.
pub(crate) fn whole(revision: u64, value: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(HEAD_BYTES + value.len());
    row.extend_from_slice(&revision.to_le_bytes());
    row.push(WHOLE);
    row.extend_from_slice(value);
    row
}

/// A row whose value is in parts.
pub(crate) fn in_parts(revision: u64, step: u32, size: u64) -> Vec<u8> {
    let mut row = Vec::with_capacity(HEAD_BYTES + 12);
    row.extend_from_slice(&revision.to_le_bytes());
    row.push(IN_PARTS);
    row.extend_from_slice(&step.to_le_bytes());
    row.extend_from_slice(&size.to_le_bytes());
    row
}

/// Takes a row apart: what is known of its value, and the value, which is empty if it is in parts.
pub(crate) fn split(operation: Operation, row: &[u8]) -> Result<(Head, &[u8])> {
    let damaged = || damaged(operation);
    let (revision, rest) = row.split_first_chunk::<8>().ok_or_else(damaged)?;
    let revision = u64::from_le_bytes(*revision);
    match rest.split_first() {
        Some((&WHOLE, value)) => {
            Ok((Head { revision, size: value.len() as u64, step: None }, value))
        }
        Some((&IN_PARTS, rest)) => {
            let (step, size) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
            let size = u64::from_le_bytes(size.try_into().map_err(|_| damaged())?);
            if size > VALUE_BYTES_MAX {
                return Err(damaged());
            }
            Ok((Head { revision, size, step: Some(u32::from_le_bytes(*step)) }, &[]))
        }
        _ => Err(damaged()),
    }
}

/// The last revision given out, from its row.
pub(crate) fn last_revision(operation: Operation, row: &[u8]) -> Result<u64> {
    row.try_into().map(u64::from_le_bytes).map_err(|_| damaged(operation))
}

/// A caller's key from its bytes.
pub(crate) fn key(operation: Operation, bytes: &[u8]) -> Result<Key> {
    let text = std::str::from_utf8(bytes).map_err(|_| damaged(operation))?;
    Key::parse(text).map_err(|_| damaged(operation))
}

/// What is stored is not as it was written.
pub(crate) fn damaged(operation: Operation) -> Error {
    let message = "a row of the database is damaged; restore it from a copy";
    Error::corrupt(operation, message)
}

/// The first key behind all that begin with this prefix.
pub(crate) fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // No byte of UTF-8 is 0xFF, so the last one has a next.
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.extend_from_slice(KEYS_END),
    }
    end
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_core::ErrorKind;

    use super::*;

    const GET: Operation = Operation::Get;

    #[test]
    fn rows_come_apart_and_damage_is_noticed() {
        let row = whole(263, b"value");
        let head = Head { revision: 263, size: 5, step: None };
        assert_eq!(split(GET, &row).unwrap(), (head, &b"value"[..]));
        assert_eq!(head.parts(0..5).count(), 0);
        assert_eq!(split(GET, &whole(263, b"")).unwrap().0.size, 0);
        let row = in_parts(7, 3, 300_000);
        let head = Head { revision: 7, size: 300_000, step: Some(3) };
        assert_eq!(split(GET, &row).unwrap(), (head, &b""[..]));
        let unknown = [&row[..8], &[2], &row[9..]].concat();
        let huge = in_parts(7, 3, VALUE_BYTES_MAX + 1);
        for damaged in [&row[..7], &row[..8], &row[..12], &row[..20], &unknown, &huge] {
            assert_eq!(split(GET, damaged).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        assert_eq!(last_revision(GET, &[1, 1, 0, 0, 0, 0, 0, 0]).unwrap(), 257);
        assert_eq!(last_revision(GET, &[1, 1]).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(key(Operation::List, b"a\xC3").unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn parts_cover_a_range_and_lie_in_order() {
        let head = Head { revision: 7, size: 300_000, step: Some(3) };
        let part = PART_BYTES as u64;
        let numbers = |range| head.parts(range).map(|(number, _)| number).collect::<Vec<_>>();
        assert_eq!(numbers(0..300_000), [0, 1, 2]);
        assert_eq!(numbers(0..part), [0]);
        assert_eq!(numbers(part - 1..part + 1), [0, 1]);
        assert_eq!(numbers(part..part + 1), [1]);
        assert!(numbers(9..9).is_empty());
        let keys: Vec<_> = head.parts(0..300_000).map(|(_, key)| key).collect();
        assert_eq!(keys[1], [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, 1]);
        assert!(keys.is_sorted() && keys[2] < part_key(7, 4, 0) && keys[2] < part_key(8, 0, 0));
    }

    #[test]
    fn no_key_is_behind_the_end_of_its_prefix() {
        assert!(KEYS_END > "\u{10ffff}".as_bytes() && KEYS_END <= REVISION_KEY);
        assert_eq!(prefix_end(""), KEYS_END);
        assert_eq!(prefix_end("a/"), b"a0");
        let last = "a\u{10ffff}";
        assert!(prefix_end(last).as_slice() > format!("{last}\u{10ffff}").as_bytes());
    }
}
