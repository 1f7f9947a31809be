//! Under which path a key's value lies: pure functions from keys to paths and back.
//!
//! ```text
//!   612f62                           the key `a/b`: its bytes in hexadecimal
//!   <200 digits>~/<the rest>         in pieces that also fit a file system
//! ```
//!
//! So no service can rewrite a key or take two keys for one, keys that continue one another are no
//! file and its own folder, and paths sort as their keys do.

use holdall_core::{KEY_BYTES_MAX, Key};

/// The longest path that object stores take, in bytes, the operator's root included.
const PATH_BYTES_MAX: usize = 1024;
/// How many digits there are in one piece; file systems take 255 bytes, of which one that writes
/// beside the file and renames needs some.
const PIECE: usize = 200;
/// What ends a piece that others follow: greater than every digit, so that order is kept.
const GOES_ON: &str = "~/";
/// Where the probe works. No key's path begins so.
pub(crate) const PROBE_FOLDER: &str = ".holdall-probe/";

/// The longest key that an operator with this root takes, in bytes.
pub(crate) fn key_bytes_max(root: &str) -> usize {
    let room = PATH_BYTES_MAX.saturating_sub(root.len());
    (1..=KEY_BYTES_MAX).rev().find(|bytes| path_bytes(*bytes) <= room).unwrap_or(0)
}

/// The path of a key, or what the paths of all keys begin with that begin so.
pub(crate) fn path(key: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0'));
    let mut path = String::with_capacity(path_bytes(key.len()));
    for (at, byte) in key.bytes().enumerate() {
        if at > 0 && (2 * at).is_multiple_of(PIECE) {
            path.push_str(GOES_ON);
        }
        path.push(digit(byte >> 4));
        path.push(digit(byte & 15));
    }
    path
}

/// How long the path of a key of so many bytes is.
fn path_bytes(key_bytes: usize) -> usize {
    let digits = 2 * key_bytes;
    digits + digits.saturating_sub(1) / PIECE * GOES_ON.len()
}

/// The key whose value lies here, if it is one of ours.
pub(crate) fn key(found: &str) -> Option<Key> {
    let mut digits = found.bytes().filter(|byte| !GOES_ON.as_bytes().contains(byte));
    let value = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::with_capacity(found.len() / 2);
    while let Some(high) = digits.next() {
        bytes.push(u8::try_from(value(high)? << 4 | value(digits.next()?)?).ok()?);
    }
    let key = Key::parse(String::from_utf8(bytes).ok()?).ok()?;
    (path(key.as_str()) == found).then_some(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn nasty() -> Vec<Key> {
        let alphabet = ["a", "A", "0", ".", "/", "%", "~", " ", "é", "\0", "\u{10ffff}"];
        let mut keys = Vec::new();
        for first in alphabet {
            keys.push(Key::parse(first).unwrap());
            for second in alphabet {
                keys.push(Key::parse(format!("{first}{second}")).unwrap());
                for length in [98, 99, 100, 101, 199, 200, 201, 300] {
                    let start = "b".repeat(length);
                    keys.push(Key::parse(format!("{start}{first}{second}")).unwrap());
                }
            }
        }
        keys.sort();
        keys.dedup();
        keys
    }

    #[test]
    fn every_key_comes_back_and_paths_sort_as_keys_do() {
        let keys = nasty();
        let paths: Vec<String> = keys.iter().map(|key| path(key.as_str())).collect();
        assert!(paths.is_sorted_by(|a, b| a < b));
        for (key, path) in keys.iter().zip(&paths) {
            assert_eq!(super::key(path).as_ref(), Some(key));
            assert_eq!(path.len(), path_bytes(key.as_bytes().len()));
            assert!(path.split('/').all(|piece| piece.len() <= PIECE + 1), "{path}");
        }
    }

    #[test]
    fn a_prefix_begins_exactly_the_paths_of_its_keys() {
        let named: Vec<(Key, String)> =
            nasty().into_iter().map(|key| (key.clone(), path(key.as_str()))).collect();
        for (prefix, begin) in &named {
            for (key, path) in &named {
                let expected = key.as_str().starts_with(prefix.as_str());
                assert_eq!(path.starts_with(begin.as_str()), expected, "{prefix} {key}");
            }
        }
    }

    #[test]
    fn foreign_paths_are_no_keys() {
        for found in ["", "6", "6A", "zz", "ff", "61/", "61~/62", "notes.txt", ".holdall-probe/61"]
        {
            assert_eq!(key(found), None, "{found}");
        }
    }

    #[test]
    fn the_longest_key_just_fits() {
        for root in ["/", "/some/folder/"] {
            let max = key_bytes_max(root);
            assert!(path_bytes(max) + root.len() <= PATH_BYTES_MAX);
            assert!(path_bytes(max + 1) + root.len() > PATH_BYTES_MAX);
        }
        assert_eq!(key_bytes_max(&"r".repeat(2000)), 0);
    }
}
