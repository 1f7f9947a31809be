//! Which folder to use and how large it may grow: plain data, read from a location.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use holdall_core::units::write_size;
use holdall_core::{Location, Result};

const OPTIONS: [&str; 2] = ["map_size", "readers"];
/// The largest is what the addresses of a process reach.
const MAP_SIZE: RangeInclusive<u64> = 1 << 20..=1 << 47;
const READERS: RangeInclusive<u32> = 1..=100_000;
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
        if location.scheme() != "lmdb" {
            return Err(location.refuse("this is not an lmdb location; write lmdb:///path"));
        }
        if !location.authority().is_empty() {
            return Err(location
                .refuse("an lmdb location names no host; write three slashes: lmdb:///path"));
        }
        if !location.path().starts_with('/') || location.path().contains('\0') {
            return Err(
                location.refuse("an lmdb location needs an absolute path; write lmdb:///path")
            );
        }
        location.allow_options(&OPTIONS)?;
        let mut config = Self::new(location.path());
        config.map_size = location.size("map_size", MAP_SIZE)?;
        config.readers = location.number("readers", READERS)?.unwrap_or(config.readers);
        Ok(config)
    }

    /// The location that gives this configuration again. A path that is not UTF-8 is shown with
    /// replacement characters.
    pub fn location(&self) -> Location {
        let mut location = Location::from_path("lmdb", &self.path.to_string_lossy());
        if let Some(size) = self.map_size {
            location = location.with_option("map_size", &write_size(size));
        }
        if self.readers != READERS_DEFAULT {
            location = location.with_option("readers", &self.readers.to_string());
        }
        location
    }
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
    fn wrong_locations_are_refused_with_a_hint() {
        for (text, hint) in [
            ("lmdb://srv/a", "three slashes"),
            ("lmdb://", "absolute"),
            ("file:///srv", "lmdb:///path"),
            ("lmdb:///srv/%00", "absolute"),
            ("lmdb:///srv?map_sise=1GiB", "did you mean `map_size`"),
            ("lmdb:///srv?map_size=1GB", "map_size must be a size from 1MiB to 128TiB"),
            ("lmdb:///srv?map_size=1KiB", "from 1MiB"),
            ("lmdb:///srv?readers=0", "from 1 to 100000"),
            ("lmdb:///srv?readers=many", "readers must be a whole number"),
        ] {
            let error = Config::from_location(&Location::parse(text).unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert!(error.message().contains(hint), "{text}: {error}");
        }
    }
}
