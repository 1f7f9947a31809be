//! How a row looks in LMDB: pure functions.
//!
//! ```text
//!   key bytes                 │ revision, 8 bytes little-endian │ value
//!   0xFF "holdall-revision"   │ the last revision given out, 8 bytes little-endian
//! ```
//!
//! Keys are UTF-8, in which the byte 0xFF does not occur: the second kind of row cannot be
//! anybody's key, and lies behind all of them.

use holdall_core::{Error, Key, Operation, Result};

/// The row that holds the last revision. A database that has any row has this one.
pub(crate) const REVISION_KEY: &[u8] = b"\xFFholdall-revision";
pub(crate) const REVISION_BYTES: usize = 8;

/// Takes a row's bytes apart: its revision and its value.
pub(crate) fn split(operation: Operation, row: &[u8]) -> Result<(u64, &[u8])> {
    row.split_first_chunk::<REVISION_BYTES>()
        .map(|(revision, value)| (u64::from_le_bytes(*revision), value))
        .ok_or_else(|| damaged(operation))
}

/// Whether the bytes of a key are the house's own and no caller's.
pub(crate) fn is_internal(key: &[u8]) -> bool {
    key.first() == Some(&0xFF)
}

/// A caller's key from its bytes.
pub(crate) fn key(operation: Operation, bytes: &[u8]) -> Result<Key> {
    let text = std::str::from_utf8(bytes).map_err(|_| damaged(operation))?;
    Key::parse(text).map_err(|_| damaged(operation))
}

fn damaged(operation: Operation) -> Error {
    let message = "a row of the database is damaged; restore it from a copy";
    Error::corrupt(operation, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_core::ErrorKind;

    use super::*;

    #[test]
    fn rows_come_apart_and_damage_is_noticed() {
        let row = [7, 1, 0, 0, 0, 0, 0, 0, b'a'];
        assert_eq!(split(Operation::Get, &row).unwrap(), (263, &b"a"[..]));
        assert_eq!(split(Operation::Get, &row[..8]).unwrap(), (263, &b""[..]));
        let error = split(Operation::Get, &row[..7]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let error = key(Operation::List, b"a\xC3").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn no_key_is_internal() {
        assert!(is_internal(REVISION_KEY));
        assert!(!is_internal("\u{10ffff}".as_bytes()));
        assert!(REVISION_KEY > "\u{10ffff}".as_bytes());
    }
}
