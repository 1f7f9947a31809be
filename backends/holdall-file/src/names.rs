//! Where a key's file lies: pure functions from keys to paths and back.
//!
//! ```text
//!   <root>/<shard>/<name>                                names of up to 200 bytes
//!   <root>/<shard>/<200 bytes>~/<200 bytes>~/<the rest>  longer ones
//! ```
//!
//! A name keeps `a-z 0-9 . _ -`, writes `/` as `+` and every other byte as `%xx`: upper case too,
//! because some file systems take `A` and `a` for one name. A piece never begins with a dot, so no
//! piece is hidden, `.` or `..`; a folder's piece ends with `~`, which no file's piece contains.

use holdall_core::Key;

/// How many bytes of an escaped name fit into one piece; file systems take 255.
const PIECE_BYTES: usize = 200;
const MARKER: char = '~';
/// How many shard folders there are.
pub(crate) const SHARDS: u16 = 256;

/// Where the file of a key lies, relative to the root.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The folders from the shard down to the one that holds the file, each from the root on.
    pub(crate) folders: Vec<String>,
    /// The file, from the root on.
    pub(crate) path: String,
}

/// Where the file of a key lies.
pub(crate) fn place(key: &Key) -> Place {
    let name = escape(key.as_str());
    let mut folder = shard_name(shard(key.as_str()));
    let mut folders = Vec::new();
    let mut rest = name.as_str();
    while rest.len() > PIECE_BYTES {
        let (piece, tail) = rest.split_at(PIECE_BYTES);
        let inner = format!("{folder}/{piece}{MARKER}");
        folders.push(std::mem::replace(&mut folder, inner));
        rest = tail;
    }
    let path = format!("{folder}/{rest}");
    folders.push(folder);
    Place { folders, path }
}

/// The key whose file has this name behind the pieces of its folders, if it is in its right place.
pub(crate) fn key_at(shard_number: u8, pieces: &str, name: &str) -> Option<Key> {
    if name.is_empty() || name.len() > PIECE_BYTES {
        return None;
    }
    let whole = format!("{pieces}{name}");
    let key = Key::parse(unescape(&whole)?).ok()?;
    (shard(key.as_str()) == shard_number && escape(key.as_str()) == whole).then_some(key)
}

/// The piece that a folder inside a shard stands for, if it is one of ours.
pub(crate) fn folder_piece(name: &str) -> Option<&str> {
    name.strip_suffix(MARKER).filter(|piece| piece.len() == PIECE_BYTES)
}

/// The name of a shard's folder.
pub(crate) fn shard_name(shard: u8) -> String {
    format!("{shard:02x}")
}

/// The shard of a key: its FNV-1a hash of 64 bits
/// (<https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>), folded to one byte, because
/// single bytes of it hardly depend on the last letters of a key.
fn shard(key: &str) -> u8 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in key.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash.to_le_bytes().into_iter().fold(0, |folded, byte| folded ^ byte)
}

fn escape(key: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(HEX.get(usize::from(nibble)).copied().unwrap_or(b'0'));
    let mut name = String::with_capacity(key.len() + key.len() / 4);
    for byte in key.bytes() {
        let first_of_piece = name.len().is_multiple_of(PIECE_BYTES);
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            b'.' if !first_of_piece => name.push('.'),
            b'/' => name.push('+'),
            _ => {
                name.push('%');
                name.push(digit(byte >> 4));
                name.push(digit(byte & 15));
            }
        }
    }
    name
}

/// Undoes [`escape`], and accepts more than it writes: the caller escapes again and compares.
fn unescape(name: &str) -> Option<String> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let value = digit(rest.next()?)? << 4 | digit(rest.next()?)?;
                bytes.push(u8::try_from(value).ok()?);
            }
            b'+' => bytes.push(b'/'),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::collections::{HashMap, HashSet};

    use super::*;

    /// Keys that try every rule: all short ones over a nasty alphabet, and long ones whose pieces
    /// begin and end with every letter of it.
    fn nasty_keys() -> Vec<Key> {
        let alphabet =
            ["a", "A", ".", "/", "+", "%", "~", "2e", "_", "-", "é", "\0", " ", "\u{10ffff}"];
        let mut keys = Vec::new();
        for first in alphabet {
            keys.push(Key::parse(first).unwrap());
            for second in alphabet {
                keys.push(Key::parse(format!("{first}{second}")).unwrap());
                for third in alphabet {
                    keys.push(Key::parse(format!("{first}{second}{third}")).unwrap());
                }
                for length in [196, 197, 198, 199, 200, 201, 398, 399, 400, 401, 1020] {
                    let filler = "b".repeat(length - first.len());
                    if let Ok(key) = Key::parse(format!("{first}{filler}{second}")) {
                        keys.push(key);
                    }
                    keys.push(Key::parse(format!("{filler}{first}")).unwrap());
                }
            }
        }
        keys.push(Key::parse("A".repeat(1024)).unwrap());
        keys.push(Key::parse(".".repeat(1024)).unwrap());
        keys.push(Key::parse("é".repeat(512)).unwrap());
        keys
    }

    fn key_of(path: &str) -> Option<Key> {
        let mut parts: Vec<&str> = path.split('/').collect();
        let name = parts.pop().unwrap();
        let shard = u8::from_str_radix(parts.remove(0), 16).unwrap();
        let pieces: Option<String> = parts.into_iter().map(folder_piece).collect();
        key_at(shard, &pieces?, name)
    }

    #[test]
    fn every_key_comes_back_from_its_path() {
        for key in nasty_keys() {
            let place = place(&key);
            assert_eq!(key_of(&place.path), Some(key.clone()), "{key:?}");
            assert_eq!(place.folders.last().unwrap(), place.path.rsplit_once('/').unwrap().0);
        }
    }

    #[test]
    fn no_two_keys_share_a_path_even_where_case_is_ignored() {
        let keys: HashSet<Key> = nasty_keys().into_iter().collect();
        let mut paths = HashMap::new();
        for key in keys {
            let path = place(&key).path.to_ascii_lowercase();
            if let Some(other) = paths.insert(path, key.clone()) {
                assert_eq!(key, other);
            }
        }
    }

    #[test]
    fn every_piece_is_a_plain_name_that_fits() {
        for key in nasty_keys() {
            for piece in place(&key).path.split('/') {
                assert!(!piece.is_empty() && piece.len() <= PIECE_BYTES + 1, "{piece}");
                assert!(!piece.starts_with('.'), "{piece}");
                let plain =
                    |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-+%~".contains(c);
                assert!(piece.chars().all(plain), "{piece}");
            }
        }
    }

    #[test]
    fn foreign_names_are_no_keys() {
        let key = Key::parse("a/b").unwrap();
        let home = shard(key.as_str());
        assert_eq!(key_at(home, "", "a+b"), Some(key));
        for name in
            ["", "a%2fb", "A+b", "a%2Bb", "a+b%", "a+b%g0", "a%ff", ".hidden", "a b", "a+b~"]
        {
            for shard in 0..=255 {
                assert_eq!(key_at(shard, "", name), None, "{name}");
            }
        }
        assert_eq!(key_at(home.wrapping_add(1), "", "a+b"), None, "the wrong shard");
        assert_eq!(folder_piece("short~"), None);
    }

    #[test]
    fn shards_are_used_evenly() {
        for pattern in ["segments/{}", "{}", "v/0000/{}/x", "{}.blob"] {
            let mut counts = [0_u32; SHARDS as usize];
            for number in 0..100_000 {
                let key = pattern.replace("{}", &format!("{number:08}"));
                *counts.get_mut(usize::from(shard(&key))).unwrap() += 1;
            }
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(*least > 200 && *most < 650, "{pattern}: {least} to {most}");
        }
    }
}
