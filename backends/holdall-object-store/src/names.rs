//! Under which object a key's value lies: pure functions from keys to names and back.
//!
//! ```text
//!   <prefix>/a/b.txt          a key that any store keeps as it is: its own name
//!   <prefix>/~/2e2e2f78       any other key, such as `../x`: its bytes in hexadecimal
//!   <prefix>/~/<200 digits>~/<the rest>       in pieces that also fit a file system
//! ```
//!
//! Both kinds of names sort as their keys do, so a listing merges two sorted listings. Flat names
//! write every key in hexadecimal: for servers that keep objects as files, where `a` and `a/b`
//! cannot both be.

use std::ops::Bound;

use holdall_core::{Error, KEY_BYTES_MAX, Key, List, Operation, Result};
use object_store::path::Path;

use crate::config::Options;

/// The longest name that the stores take, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 1024;
/// The shortest limit on keys that a backend may have.
const KEY_BYTES_MIN: usize = 128;
/// The folder of keys in hexadecimal. No key that is its own name contains a tilde.
const HEX_FOLDER: &str = "~/";
/// How many digits there are in one piece of such a name; file systems take 255 bytes.
const PIECE: usize = 200;
/// What ends a piece that others follow: greater than every digit, so that order is kept.
const GOES_ON: &str = "~/";
/// Azure takes 254 pieces between slashes.
const SLASHES_MAX: usize = 200;
/// Where the probe works. No key's name begins so.
pub(crate) const PROBE_FOLDER: &str = ".holdall-probe/";

/// One of the two places where names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    /// Keys that are their own names.
    Plain,
    /// Keys in hexadecimal.
    Hex,
}

/// What to ask a store for, so that a listing's rows are among its answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The folder; `None` is the whole bucket.
    pub(crate) folder: Option<Path>,
    /// Only names behind this one.
    pub(crate) offset: Option<Path>,
}

/// The names under one prefix.
#[derive(Debug)]
pub(crate) struct Names {
    /// Empty, or ending with a slash.
    root: String,
    flat: bool,
    /// The longest name that this store takes, in bytes.
    bytes_max: usize,
}

impl Names {
    /// Names under the prefix of these options.
    ///
    /// # Errors
    /// `Invalid` if the prefix is no name, or leaves no room for keys.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let prefix = &options.prefix;
        let names = Self {
            root: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            flat: options.flat,
            bytes_max: options.name_bytes_max,
        };
        if !prefix.is_empty() && names.exact(prefix).is_none() {
            let message = "the prefix has an empty part, `.`, `..` or a control character; \
                           use plain names between single slashes";
            return Err(Error::invalid(Operation::Open, message));
        }
        if names.key_bytes_max() < KEY_BYTES_MIN {
            let message = "the prefix is too long: it leaves less than 128 bytes for keys; \
                           shorten it";
            return Err(Error::invalid(Operation::Open, message));
        }
        Ok(names)
    }

    /// The longest key that is always taken.
    pub(crate) fn key_bytes_max(&self) -> usize {
        let room = self.bytes_max.saturating_sub(self.root.len());
        if !self.flat {
            return room.min(KEY_BYTES_MAX);
        }
        let fits = |bytes: &usize| HEX_FOLDER.len() + hex_bytes(*bytes) <= room;
        (1..=KEY_BYTES_MAX).rev().find(fits).unwrap_or(0)
    }

    /// The areas in which there are names.
    pub(crate) fn areas(&self) -> &'static [Area] {
        if self.flat { &[Area::Hex] } else { &[Area::Plain, Area::Hex] }
    }

    /// The object of a key; `None` if its name would be too long.
    pub(crate) fn place(&self, key: &Key) -> Option<Path> {
        self.exact(&self.name(key.as_str()))
    }

    /// The folder that holds everything; `None` is the whole bucket.
    pub(crate) fn folder(&self) -> Option<Path> {
        self.exact(self.root.trim_end_matches('/'))
    }

    /// An object under the prefix that no key names.
    pub(crate) fn probe(&self, name: &str) -> Path {
        let name = format!("{}{PROBE_FOLDER}{name}", self.root);
        Path::parse(&name).unwrap_or_else(|_| Path::from(name))
    }

    fn name(&self, key: &str) -> String {
        let area = if !self.flat && is_plain(key) { Area::Plain } else { Area::Hex };
        self.name_in(area, key)
    }

    fn name_in(&self, area: Area, text: &str) -> String {
        match area {
            Area::Plain => format!("{}{text}", self.root),
            Area::Hex => format!("{}{HEX_FOLDER}{}", self.root, hex(text)),
        }
    }

    /// The key whose object has this name, if it is one of ours.
    pub(crate) fn key(&self, area: Area, path: &Path) -> Option<Key> {
        let rest = path.as_ref().strip_prefix(&self.root)?;
        let key = match area {
            Area::Plain => Key::parse(rest).ok()?,
            Area::Hex => Key::parse(unhex(rest.strip_prefix(HEX_FOLDER)?)?).ok()?,
        };
        (self.name(key.as_str()) == path.as_ref()).then_some(key)
    }

    /// What to ask for to see the listing's rows in this area; `None` if there can be none.
    pub(crate) fn scan(&self, area: Area, list: &List) -> Option<Scan> {
        let whole = self.name_in(area, &list.prefix);
        let folder = match whole.rsplit_once('/') {
            Some((folder, _)) => Some(self.exact(folder)?),
            None => None,
        };
        let offset = match list.lower_bound() {
            Bound::Excluded(start) => self.trimmed(self.name_in(area, start)),
            // The folder begins here anyway.
            Bound::Included(start)
                if start == list.prefix && (whole.is_empty() || whole.ends_with('/')) =>
            {
                None
            }
            Bound::Included(start) => self.before(self.name_in(area, start)),
            Bound::Unbounded => None,
        };
        // Nothing in a folder is before its slash; Garage lists nothing at all from there.
        let inside = |at: &Path| match &folder {
            Some(folder) => *at.as_ref() > *format!("{folder}/"),
            None => true,
        };
        let offset = offset.filter(inside);
        Some(Scan { folder, offset })
    }

    /// The path that is exactly this name.
    fn exact(&self, name: &str) -> Option<Path> {
        let fits = name.len() <= self.bytes_max;
        Path::parse(name).ok().filter(|path| fits && !name.is_empty() && path.as_ref() == name)
    }

    /// The greatest name that is this one or a beginning of it, and a path.
    fn trimmed(&self, mut name: String) -> Option<Path> {
        while !name.is_empty() {
            if let Some(path) = self.exact(&name) {
                return Some(path);
            }
            name.pop();
        }
        None
    }

    /// A path before this name with none of our names between the two, or at least one before it.
    fn before(&self, mut name: String) -> Option<Path> {
        let last = name.pop()?;
        let lower = (u32::from(last) > 0).then(|| u32::from(last) - 1).and_then(char::from_u32);
        let close = lower.and_then(|lower| self.exact(&format!("{name}{lower}~~")));
        close.or_else(|| self.trimmed(name))
    }
}

/// Whether a key is its own name: none of its characters mean anything to any store, and none is
/// rewritten on the way.
fn is_plain(key: &str) -> bool {
    Path::from(key).as_ref() == key
        && !key.starts_with(PROBE_FOLDER)
        && key.bytes().filter(|byte| *byte == b'/').count() <= SLASHES_MAX
        && key.split('/').all(|part| !part.ends_with(['.', ' ']) && !part.starts_with(' '))
}

fn hex(key: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0'));
    let mut name = String::with_capacity(hex_bytes(key.len()));
    for (at, byte) in key.bytes().enumerate() {
        if at > 0 && (2 * at).is_multiple_of(PIECE) {
            name.push_str(GOES_ON);
        }
        name.push(digit(byte >> 4));
        name.push(digit(byte & 15));
    }
    name
}

/// How long the name of a key of so many bytes is.
fn hex_bytes(key_bytes: usize) -> usize {
    let digits = 2 * key_bytes;
    digits + digits.saturating_sub(1) / PIECE * GOES_ON.len()
}

/// Undoes [`hex`], and accepts more than it writes: the caller writes it again and compares.
fn unhex(name: &str) -> Option<String> {
    let mut digits = name.bytes().filter(|byte| !GOES_ON.as_bytes().contains(byte));
    let value = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::with_capacity(name.len() / 2);
    while let Some(high) = digits.next() {
        bytes.push(u8::try_from(value(high)? << 4 | value(digits.next()?)?).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn options(prefix: &str, flat: bool) -> Options {
        Options { prefix: prefix.to_owned(), flat, ..Options::default() }
    }

    fn nasty() -> Vec<Key> {
        let alphabet =
            ["a", "A", "Z", "0", ".", "/", "+", "%", "~", "-", "_", "é", "\0", " ", "\u{10ffff}"];
        let mut keys = Vec::new();
        for first in alphabet {
            keys.push(Key::parse(first).unwrap());
            for second in alphabet {
                keys.push(Key::parse(format!("{first}{second}")).unwrap());
                for third in alphabet {
                    keys.push(Key::parse(format!("{first}{second}{third}")).unwrap());
                }
                for length in [98, 99, 100, 101, 199, 200, 201, 300] {
                    keys.push(
                        Key::parse(format!("{}{first}{second}", "b".repeat(length))).unwrap(),
                    );
                }
            }
        }
        keys.push(Key::parse(".holdall-probe/x").unwrap());
        keys.push(Key::parse("a/".repeat(201) + "a").unwrap());
        keys.sort();
        keys.dedup();
        keys
    }

    fn area_of(name: &str, prefix: &str) -> Area {
        if name.starts_with(&format!("{prefix}{HEX_FOLDER}")) { Area::Hex } else { Area::Plain }
    }

    #[test]
    fn every_key_comes_back_from_its_name_and_none_shares_one() {
        for (prefix, flat) in [("", false), ("some/prefix", false), ("p", true)] {
            let names = Names::new(&options(prefix, flat)).unwrap();
            let root = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
            let mut seen = std::collections::HashMap::new();
            for key in nasty() {
                let path = names.place(&key).unwrap();
                let area = area_of(path.as_ref(), &root);
                assert_eq!(names.key(area, &path), Some(key.clone()), "{path}");
                assert_eq!(seen.insert(path, key), None);
            }
        }
    }

    #[test]
    fn names_of_an_area_sort_as_their_keys_do() {
        for flat in [false, true] {
            let names = Names::new(&options("p", flat)).unwrap();
            for area in [Area::Plain, Area::Hex] {
                let places: Vec<Path> = nasty()
                    .iter()
                    .map(|key| names.place(key).unwrap())
                    .filter(|path| area_of(path.as_ref(), "p/") == area)
                    .collect();
                assert!(places.is_sorted_by(|a, b| a.as_ref() < b.as_ref()), "{area:?}");
            }
        }
    }

    #[test]
    fn a_scan_leaves_out_no_row_and_begins_close() {
        let keys = nasty();
        let names = Names::new(&options("p", false)).unwrap();
        let starts = ["", "a", "a/", "a/a", "0", "/", "//", "é", "~", "\0", "a0", "bb"];
        for prefix in starts {
            for start in starts {
                let lists = [
                    List::prefix(prefix),
                    List::prefix(prefix).at(start),
                    List::prefix(prefix).after(start),
                ];
                for list in lists {
                    for key in keys.iter().filter(|key| list.contains(key.as_str())) {
                        let path = names.place(key).unwrap();
                        let area = area_of(path.as_ref(), "p/");
                        let scan = names.scan(area, &list).unwrap();
                        let inside = scan.folder.is_none_or(|folder| path.prefix_matches(&folder));
                        assert!(inside, "{list:?} {path}");
                        let behind = scan.offset.is_none_or(|at| path.as_ref() > at.as_ref());
                        assert!(behind, "{list:?} {path}");
                    }
                }
            }
        }
        let scan = names.scan(Area::Plain, &List::prefix("v/seg-7")).unwrap();
        assert_eq!(scan.folder.unwrap().as_ref(), "p/v");
        assert_eq!(scan.offset.unwrap().as_ref(), "p/v/seg-6~~");
        let scan = names.scan(Area::Plain, &List::prefix("v/").after("v/x")).unwrap();
        assert_eq!(scan.offset.unwrap().as_ref(), "p/v/x");
        for all in [List::prefix("v/"), List::prefix("v/").after("v/"), List::prefix("v/").at("v")]
        {
            assert_eq!(names.scan(Area::Plain, &all).unwrap().offset, None, "{all:?}");
        }
        assert_eq!(names.scan(Area::Plain, &List::prefix("a//b")), None);
    }

    #[test]
    fn limits_hold_at_their_edges() {
        for (prefix, flat) in [("", false), ("some/prefix", false), ("", true), ("pre", true)] {
            let names = Names::new(&options(prefix, flat)).unwrap();
            let max = names.key_bytes_max();
            assert!(names.place(&Key::parse("k".repeat(max)).unwrap()).is_some(), "{prefix}");
            if let Ok(longer) = Key::parse("k".repeat(max + 1)) {
                assert!(names.place(&longer).is_none(), "{prefix}");
            }
        }
        let short = Options { name_bytes_max: 471, ..options("p", false) };
        let names = Names::new(&short).unwrap();
        assert_eq!(names.key_bytes_max(), 469);
        assert!(names.place(&Key::parse("k".repeat(469)).unwrap()).is_some());
        assert!(names.place(&Key::parse("k".repeat(470)).unwrap()).is_none());
        let after = List::prefix("").after("k".repeat(1024));
        let offset = names.scan(Area::Plain, &after).unwrap().offset.unwrap();
        assert_eq!(offset.as_ref().len(), 471, "the store is asked for no longer name either");
        let odd = Key::parse("é".repeat(300)).unwrap();
        assert_eq!(
            Names::new(&options("", false)).unwrap().place(&odd),
            None,
            "too long in hexadecimal"
        );
        assert!(Names::new(&options(&"p".repeat(895), false)).is_ok());
        for prefix in [&"p".repeat(896), "a//b", "/a", "a/", "..", "a/./b", "a\n"] {
            assert!(Names::new(&options(prefix, false)).is_err(), "{prefix}");
        }
    }

    #[test]
    fn foreign_names_are_no_keys() {
        let names = Names::new(&options("p", false)).unwrap();
        for name in [
            "q/a",
            "p",
            "p/~/61",
            "p/~/2E",
            "p/~/2",
            "p/~/zz",
            "p/~/ff",
            "p/~x",
            "p/.holdall-probe/1/a",
            "p/a b ",
            "p/%41",
            "p/~/2e~/2e",
        ] {
            let path = Path::parse(name).unwrap();
            assert_eq!(names.key(Area::Plain, &path), None, "{name}");
            assert_eq!(names.key(Area::Hex, &path), None, "{name}");
        }
        assert_eq!(names.probe("1/a").as_ref(), "p/.holdall-probe/1/a");
    }
}
