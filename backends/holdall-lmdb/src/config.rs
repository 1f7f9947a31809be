//! Which folder to use and how large it may grow: plain data, read from a location.

use std::path::PathBuf;

use holdall_core::{Error, Location, Operation, Result};

const OPTIONS: [&str; 2] = ["map_size", "readers"];
const MAP_SIZE_MIN: u64 = 1 << 20;
const READERS_DEFAULT: u32 = 1024;

/// What an [`Lmdb`](crate::Lmdb) backend is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The folder that holds the database, created if it is missing. Absolute.
    pub path: PathBuf,
    /// How many bytes of rows there may be; at least 1 MiB. They are taken from the disk only when
    /// they are written. `None` is 1 TiB, or less where the process has fewer addresses. All
    /// processes that share a folder must open it with the same size.
    pub map_size: Option<u64>,
    /// How many reads may go on at the same time, in all processes together.
    pub readers: u32,
}

impl Config {
    /// The defaults, with the database in this folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), map_size: None, readers: READERS_DEFAULT }
    }

    /// Reads `lmdb:///path?map_size=64GiB&readers=1024`.
    ///
    /// # Errors
    /// `Invalid` for another scheme, a host, a relative path, an unknown option or a value that
    /// is no number in its limits.
    pub fn from_location(location: &Location) -> Result<Self> {
        let invalid =
            |message: &str| Error::invalid(Operation::Open, message).with_location(location);
        if location.scheme() != "lmdb" {
            return Err(invalid("this is not an lmdb location; write lmdb:///path"));
        }
        if !location.authority().is_empty() {
            return Err(invalid(
                "an lmdb location names no host; write three slashes: lmdb:///path",
            ));
        }
        if !location.path().starts_with('/') || location.path().contains('\0') {
            return Err(invalid("an lmdb location needs an absolute path; write lmdb:///path"));
        }
        location.allow_options(&OPTIONS)?;
        let mut config = Self::new(location.path());
        if let Some(text) = location.option("map_size") {
            let size = parse_size(text).filter(|size| *size >= MAP_SIZE_MIN);
            let message = "map_size must be a size of at least 1MiB, such as 64GiB";
            config.map_size = Some(size.ok_or_else(|| invalid(message))?);
        }
        if let Some(text) = location.option("readers") {
            let readers = text.parse().ok().filter(|readers| (1..=100_000).contains(readers));
            let message = "readers must be a number from 1 to 100000, such as 1024";
            config.readers = readers.ok_or_else(|| invalid(message))?;
        }
        Ok(config)
    }

    /// The location that gives this configuration again. A path that is not UTF-8 is shown with
    /// replacement characters.
    pub fn location(&self) -> Location {
        let mut location = Location::from_path("lmdb", &self.path.to_string_lossy());
        if let Some(size) = self.map_size {
            location = location.with_option("map_size", &size.to_string());
        }
        if self.readers != READERS_DEFAULT {
            location = location.with_option("readers", &self.readers.to_string());
        }
        location
    }
}

/// Bytes from a number with or without a unit: `4096`, `64MiB`.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_core::ErrorKind;

    use super::*;

    #[test]
    fn the_document_names_every_option_and_no_other() {
        let page = include_str!("../README.md");
        let rows = page.lines().skip_while(|line| !line.starts_with("| option |")).skip(2);
        let rows = rows.take_while(|line| line.starts_with("| `"));
        let named: Vec<&str> = rows.filter_map(|line| line.split('`').nth(1)).collect();
        assert_eq!(named, OPTIONS);
    }

    #[test]
    fn a_config_survives_a_round_trip() {
        for config in [
            Config::new("/srv/a b/ü%?"),
            Config { map_size: Some(3 << 30), readers: 7, ..Config::new("/x") },
        ] {
            let text = config.location().expose();
            let parsed = Config::from_location(&Location::parse(&text).unwrap()).unwrap();
            assert_eq!(parsed, config);
        }
    }

    #[test]
    fn sizes_are_written_as_people_write_them() {
        for (text, size) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("12B", Some(12)),
            ("64MiB", Some(64 << 20)),
            ("64 MiB", Some(64 << 20)),
            ("1TiB", Some(1 << 40)),
            ("", None),
            ("MiB", None),
            ("64MB", None),
            ("-1", None),
            ("1.5GiB", None),
            ("99999999TiB", None),
        ] {
            assert_eq!(parse_size(text), size, "{text}");
        }
    }

    #[test]
    fn wrong_locations_are_refused_with_a_hint() {
        for (text, hint) in [
            ("lmdb://srv/a", "three slashes"),
            ("lmdb://", "absolute"),
            ("file:///srv", "lmdb:///path"),
            ("lmdb:///srv/%00", "absolute"),
            ("lmdb:///srv?map_sise=1GiB", "did you mean `map_size`"),
            ("lmdb:///srv?map_size=1GB", "such as 64GiB"),
            ("lmdb:///srv?map_size=1KiB", "at least 1MiB"),
            ("lmdb:///srv?readers=0", "from 1"),
            ("lmdb:///srv?readers=many", "from 1"),
        ] {
            let error = Config::from_location(&Location::parse(text).unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert!(error.message().contains(hint), "{text}: {error}");
        }
    }
}
