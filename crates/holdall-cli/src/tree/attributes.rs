//! What is kept of a file beside its bytes, as attributes of its entry.
//!
//! `unix.kind` file, directory or symlink · `unix.mode` four octal digits · `unix.mtime` seconds
//! since 1970, rounded down, and nine digits of nanoseconds · `unix.uid`, `unix.gid` numbers ·
//! `unix.target` where a symlink leads, escaped like a name · `unix.name` the name's bytes in
//! hexadecimal digits, if they are not UTF-8.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use holdall::Entry;

use super::names;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
}

impl Kind {
    /// The kind of a file, or what it is instead that cannot be kept.
    pub(crate) fn of(metadata: &Metadata) -> Result<Self, &'static str> {
        let kind = metadata.file_type();
        match kind {
            kind if kind.is_file() => Ok(Self::File),
            kind if kind.is_dir() => Ok(Self::Directory),
            kind if kind.is_symlink() => Ok(Self::Symlink),
            kind if kind.is_socket() => Err("a socket"),
            kind if kind.is_fifo() => Err("a pipe"),
            kind if kind.is_block_device() || kind.is_char_device() => Err("a device"),
            _ => Err("of an unknown kind"),
        }
    }

    /// The kind as one word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
        }
    }
}

/// What is kept of a file beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    /// Seconds since 1970, rounded down, and nanoseconds.
    pub(crate) modified: (i64, u32),
    /// User and group.
    pub(crate) owner: Option<(u32, u32)>,
    /// Where a symlink leads.
    pub(crate) target: Option<OsString>,
}

impl Attributes {
    /// Those of a file on disk.
    pub(crate) fn of(metadata: &Metadata, kind: Kind, target: Option<OsString>) -> Self {
        Self {
            kind,
            mode: metadata.mode() & 0o7777,
            modified: (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or(0)),
            owner: Some((metadata.uid(), metadata.gid())),
            target,
        }
    }

    /// As they are stored with an entry.
    pub(crate) fn encode(&self, name: Option<String>) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        let mut set = |key: &str, value: String| drop(map.insert(key.to_owned(), value));
        set("unix.kind", self.kind.as_str().to_owned());
        // A symlink's mode means nothing and differs between systems.
        if self.kind != Kind::Symlink {
            set("unix.mode", format!("{:04o}", self.mode));
        }
        set("unix.mtime", format!("{}.{:09}", self.modified.0, self.modified.1));
        if let Some((user, group)) = self.owner {
            set("unix.uid", user.to_string());
            set("unix.gid", group.to_string());
        }
        if let Some(target) = &self.target {
            set("unix.target", names::escape(target));
        }
        if let Some(name) = name {
            set("unix.name", name);
        }
        map
    }

    /// Those of an entry. One that was not imported is a file of mode 0644, or a directory of mode
    /// 0755 if its name ends with a slash, of the time when it was written.
    pub(crate) fn decode(name: &str, entry: &Entry) -> Result<Self, String> {
        let get = |key: &str| entry.attributes.get(key).map(String::as_str);
        let wrong = |key: &str| format!("has an attribute `{key}` that cannot be read");
        let kind = match get("unix.kind") {
            None if name.ends_with('/') => Kind::Directory,
            None | Some("file") => Kind::File,
            Some("directory") => Kind::Directory,
            Some("symlink") => Kind::Symlink,
            Some(_) => return Err(wrong("unix.kind")),
        };
        let default = if kind == Kind::Directory { 0o755 } else { 0o644 };
        let mode = get("unix.mode").map_or(Some(default), |mode| {
            u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777)
        });
        let written = entry.written.as_micros();
        let modified = match get("unix.mtime") {
            Some(time) => time.split_once('.').and_then(|(seconds, nanos)| {
                let nanos = nanos.parse().ok().filter(|_| nanos.len() == 9)?;
                Some((seconds.parse().ok()?, nanos))
            }),
            None => Some((
                i64::try_from(written / 1_000_000).unwrap_or(i64::MAX),
                u32::try_from(written % 1_000_000 * 1000).unwrap_or(0),
            )),
        };
        let number = |key: &str| get(key).and_then(|number| number.parse::<u32>().ok());
        let target = get("unix.target").map(names::unescape);
        if kind == Kind::Symlink && target.as_ref().is_none_or(|target| target.is_empty()) {
            return Err("is a symlink that leads nowhere".to_owned());
        }
        Ok(Self {
            kind,
            mode: mode.ok_or_else(|| wrong("unix.mode"))?,
            modified: modified.ok_or_else(|| wrong("unix.mtime"))?,
            owner: number("unix.uid").zip(number("unix.gid")),
            target,
        })
    }

    /// In what these, with this size, differ from an entry.
    pub(crate) fn differences(&self, size: u64, entry: &Entry) -> Vec<&'static str> {
        let mut found = Vec::new();
        let get = |key: &str| entry.attributes.get(key).map(String::as_str);
        let encoded = self.encode(None);
        for (key, word) in [
            ("unix.kind", "kind"),
            ("unix.mode", "mode"),
            ("unix.mtime", "time"),
            ("unix.uid", "owner"),
            ("unix.gid", "group"),
            ("unix.target", "target"),
        ] {
            if encoded.get(key).map(String::as_str) != get(key) {
                found.push(word);
            }
        }
        if self.kind == Kind::File && entry.size != size {
            found.push("size");
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(attributes: BTreeMap<String, String>) -> Entry {
        Entry {
            version: 1,
            written: holdall::Timestamp::from_micros(5_000_001),
            size: 0,
            digest: holdall::Digest::of(b""),
            content_type: None,
            attributes,
            expires: None,
            content: holdall::Content::Inline,
            inline: holdall::Bytes::new(),
        }
    }

    #[test]
    fn attributes_survive() {
        let attributes = Attributes {
            kind: Kind::Symlink,
            mode: 0o644,
            modified: (-5, 999_999_999),
            owner: Some((0, 1000)),
            target: Some(OsString::from("../x")),
        };
        let stored = entry(attributes.encode(None));
        assert_eq!(Attributes::decode("a", &stored).unwrap(), attributes);
        assert!(attributes.differences(0, &stored).is_empty());
        let later = Attributes { modified: (-4, 0), ..attributes };
        assert_eq!(later.differences(0, &stored), ["time"]);
    }

    #[test]
    fn what_was_not_imported_has_defaults_and_nonsense_is_refused() {
        let plain = Attributes::decode("a", &entry(BTreeMap::new())).unwrap();
        assert_eq!((plain.kind, plain.mode), (Kind::File, 0o644));
        assert_eq!(plain.modified, (5, 1000));
        let folder = Attributes::decode("a/", &entry(BTreeMap::new())).unwrap();
        assert_eq!((folder.kind, folder.mode), (Kind::Directory, 0o755));
        for (key, value) in [
            ("unix.kind", "socket"),
            ("unix.mode", "99"),
            ("unix.mode", "100000"),
            ("unix.mtime", "5"),
            ("unix.mtime", "5.1"),
            ("unix.kind", "symlink"),
        ] {
            let map = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            assert!(Attributes::decode("a", &entry(map)).is_err(), "{key}={value}");
        }
    }
}
