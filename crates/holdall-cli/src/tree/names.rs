//! Names of files as names of entries, and back.
//!
//! A file's name is bytes, an entry's UTF-8. Bytes that are not UTF-8 become the replacement
//! character U+FFFD and two hexadecimal digits each: `caf\xe9` is `caf�E9`. So that no two files
//! share a name, a U+FFFD that stands in a file's name itself is written the same way, as its three
//! bytes. All other names stay as they are.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

const MARK: char = char::REPLACEMENT_CHARACTER;

/// The name of an entry for a file's name.
pub(crate) fn escape(name: &OsStr) -> String {
    let bytes = name.as_bytes();
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.contains(MARK)
    {
        return text.to_owned();
    }
    let mut escaped = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == MARK {
                push_bytes(&mut escaped, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                escaped.push(c);
            }
        }
        push_bytes(&mut escaped, chunk.invalid());
    }
    escaped
}

fn push_bytes(escaped: &mut String, bytes: &[u8]) {
    for byte in bytes {
        escaped.push(MARK);
        escaped.push_str(&format!("{byte:02X}"));
    }
}

/// The file's name for an entry's, or part of it. What only looks like an escape stays as it is.
pub(crate) fn unescape(name: &str) -> OsString {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once(MARK) {
        bytes.extend_from_slice(before.as_bytes());
        let upper = |byte: &u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(byte);
        let digits = after.get(..2).filter(|digits| digits.bytes().all(|byte| upper(&byte)));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.extend_from_slice(MARK.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    OsString::from_vec(bytes)
}

/// A file's name in hexadecimal digits, if it is not UTF-8.
pub(crate) fn raw(name: &OsStr) -> Option<String> {
    if name.to_str().is_some() {
        return None;
    }
    Some(name.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The parts of a path below a tree's root, decoded; or why they may not be written.
pub(crate) fn parts(relative: &str) -> Result<Vec<OsString>, &'static str> {
    let relative = relative.strip_suffix('/').unwrap_or(relative);
    let parts: Vec<OsString> = relative.split('/').map(unescape).collect();
    for part in &parts {
        match part.as_bytes() {
            b"" => return Err("has an empty part, or begins with a slash"),
            b"." | b".." => return Err("has a part that leads elsewhere"),
            // An escape could hide what the name does not show.
            bytes if bytes.contains(&b'/') || bytes.contains(&0) => {
                return Err("has a part that no file can be called");
            }
            _ => {}
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(bytes: &[u8]) -> OsString {
        OsString::from_vec(bytes.to_vec())
    }

    #[test]
    fn names_survive_and_never_meet() {
        let names: [&[u8]; 9] = [
            b"plain",
            "ü%20".as_bytes(),
            b"caf\xe9",
            b"\xff\xfe",
            "\u{fffd}".as_bytes(),
            "caf\u{fffd}E9".as_bytes(),
            b"\xed\xa0\x80",
            "\u{fffd}E".as_bytes(),
            b"a\xffb\xffc",
        ];
        let escaped: std::collections::BTreeSet<String> =
            names.iter().map(|name| escape(&os(name))).collect();
        assert_eq!(escaped.len(), names.len(), "{escaped:?}");
        for name in names {
            assert_eq!(unescape(&escape(&os(name))), os(name));
        }
        assert_eq!(escape(&os(b"caf\xe9")), "caf\u{fffd}E9");
        assert_eq!(raw(&os(b"caf\xe9")).as_deref(), Some("636166e9"));
        assert_eq!(raw(&os(b"cafe")), None);
    }

    #[test]
    fn what_only_looks_like_an_escape_stays() {
        for name in ["\u{fffd}", "\u{fffd}x", "\u{fffd}zz", "\u{fffd}e9", "a\u{fffd}ü"] {
            assert_eq!(unescape(name), OsString::from(name));
        }
    }

    #[test]
    fn paths_cannot_lead_out() {
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "a//b",
            "..",
            "a/../b",
            "./a",
            "a/.",
            "\u{fffd}2E\u{fffd}2E/x",
            "a\u{fffd}2Fb",
            "a\u{fffd}00",
        ] {
            assert!(parts(bad).is_err(), "{bad:?}");
        }
        assert_eq!(parts("a/b/").unwrap(), [os(b"a"), os(b"b")]);
        assert_eq!(parts("...").unwrap(), [os(b"...")]);
    }
}
