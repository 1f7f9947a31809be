//! Which file to use and how: plain data, read from a location.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use holdall_core::units::{write_duration, write_size};
use holdall_core::{Durability, Error, Location, Operation, Result};

const OPTIONS: [&str; 6] =
    ["journal_mode", "synchronous", "cache_size", "mmap_size", "busy_timeout", "temp_store"];

const JOURNAL_MODES: [(&str, JournalMode); 4] = [
    ("wal", JournalMode::Wal),
    ("truncate", JournalMode::Truncate),
    ("persist", JournalMode::Persist),
    ("delete", JournalMode::Delete),
];
const SYNCHRONOUS: [(&str, Synchronous); 3] =
    [("full", Synchronous::Full), ("extra", Synchronous::Extra), ("normal", Synchronous::Normal)];
const TEMP_STORES: [(&str, TempStore); 3] =
    [("default", TempStore::Default), ("file", TempStore::File), ("memory", TempStore::Memory)];

const CACHE_BYTES_DEFAULT: u64 = 16 << 20;
const CACHE_BYTES: RangeInclusive<u64> = 64 << 10..=1 << 40;
/// SQLite is built to map a little less than 2 GiB.
const MMAP_BYTES: RangeInclusive<u64> = 0..=2047 << 20;
const BUSY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const BUSY_TIMEOUT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

/// How SQLite keeps a commit that is cut off from harming the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JournalMode {
    /// New pages go to a log beside the file: readers and writers do not hold each other up.
    #[default]
    Wal,
    /// Old pages go to a journal that is cut to nothing at each commit.
    Truncate,
    /// Old pages go to a journal whose head is blanked at each commit.
    Persist,
    /// Old pages go to a journal that is deleted at each commit.
    Delete,
}

impl JournalMode {
    /// SQLite's word for it.
    pub fn name(self) -> &'static str {
        name_of(&JOURNAL_MODES, self)
    }
}

/// What SQLite waits for before a commit returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// Until the commit is on the disk.
    #[default]
    Full,
    /// Until the commit, and the deletion of its journal, are on the disk.
    Extra,
    /// Until the system has it. A loss of power may take the last commits, never a part of one.
    Normal,
}

impl Synchronous {
    /// SQLite's word for it.
    pub fn name(self) -> &'static str {
        name_of(&SYNCHRONOUS, self)
    }

    /// The number by which SQLite shows it.
    pub(crate) fn number(self) -> i64 {
        match self {
            Self::Normal => 1,
            Self::Full => 2,
            Self::Extra => 3,
        }
    }
}

/// Where SQLite keeps what it needs for the length of one statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TempStore {
    /// As SQLite was built: in files.
    #[default]
    Default,
    /// In files.
    File,
    /// In memory.
    Memory,
}

impl TempStore {
    /// SQLite's word for it.
    pub fn name(self) -> &'static str {
        name_of(&TEMP_STORES, self)
    }
}

/// What a [`Sqlite`](crate::Sqlite) backend is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The database's file, created with its folder if it is missing. Absolute.
    pub path: PathBuf,
    /// How a commit that is cut off is kept from harming the file.
    pub journal_mode: JournalMode,
    /// What a commit waits for. `Normal` only with `Wal`, and `Delete` only with `Extra`.
    pub synchronous: Synchronous,
    /// How many bytes of pages each connection keeps in memory: 64 KiB to 1 TiB. There is one
    /// connection for writing, and one for each read at the same time.
    pub cache_size: u64,
    /// How many bytes of the file are read through a memory map: 0, none, to nearly 2 GiB.
    pub mmap_size: u64,
    /// How long a call waits for another process that has the database locked: up to an hour.
    pub busy_timeout: Duration,
    /// Where temporary rows are kept.
    pub temp_store: TempStore,
}

impl Config {
    /// The defaults, with the database in this file: everything that is acknowledged is on the
    /// disk.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            journal_mode: JournalMode::default(),
            synchronous: Synchronous::default(),
            cache_size: CACHE_BYTES_DEFAULT,
            mmap_size: 0,
            busy_timeout: BUSY_TIMEOUT_DEFAULT,
            temp_store: TempStore::default(),
        }
    }

    /// Reads `sqlite:///path/file.db?journal_mode=wal&synchronous=full&cache_size=64MiB`.
    ///
    /// # Errors
    /// `Invalid` for another scheme, a host, a relative path, an unknown option or a value that
    /// is out of its limits, and for settings that would let a crash harm the file.
    pub fn from_location(location: &Location) -> Result<Self> {
        if location.scheme() != "sqlite" {
            return Err(
                location.refuse("this is not an sqlite location; write sqlite:///path/file.db")
            );
        }
        if !location.authority().is_empty() {
            let message =
                "an sqlite location names no host; write three slashes: sqlite:///path/file.db";
            return Err(location.refuse(message));
        }
        if location.path().contains('\0') {
            return Err(
                location.refuse("the path has a zero byte in it; write sqlite:///path/file.db")
            );
        }
        location.allow_options(&OPTIONS)?;
        let plain = Self::new(location.path());
        let config = Self {
            journal_mode: location.choice("journal_mode", &JOURNAL_MODES)?.unwrap_or_default(),
            synchronous: location.choice("synchronous", &SYNCHRONOUS)?.unwrap_or_default(),
            cache_size: location.size("cache_size", CACHE_BYTES)?.unwrap_or(plain.cache_size),
            mmap_size: location.size("mmap_size", MMAP_BYTES)?.unwrap_or(plain.mmap_size),
            busy_timeout: location
                .duration("busy_timeout", BUSY_TIMEOUT)?
                .unwrap_or(plain.busy_timeout),
            temp_store: location.choice("temp_store", &TEMP_STORES)?.unwrap_or_default(),
            ..plain
        };
        config.durability().map_err(|error| error.with_location(location))?;
        Ok(config)
    }

    /// The location that gives this configuration again. A path that is not UTF-8 is shown with
    /// replacement characters.
    pub fn location(&self) -> Location {
        let plain = Self::new(&self.path);
        let timeout = write_duration(self.busy_timeout);
        let mut location = Location::from_path("sqlite", &self.path.to_string_lossy());
        for (name, differs, value) in [
            ("journal_mode", self.journal_mode != plain.journal_mode, self.journal_mode.name()),
            ("synchronous", self.synchronous != plain.synchronous, self.synchronous.name()),
            ("cache_size", self.cache_size != plain.cache_size, &write_size(self.cache_size)),
            ("mmap_size", self.mmap_size != plain.mmap_size, &write_size(self.mmap_size)),
            ("busy_timeout", self.busy_timeout != plain.busy_timeout, &timeout),
            ("temp_store", self.temp_store != plain.temp_store, self.temp_store.name()),
        ] {
            if differs {
                location = location.with_option(name, value);
            }
        }
        location
    }

    /// Refuses values that no location could give.
    pub(crate) fn check(&self) -> Result<()> {
        Self::from_location(&self.location()).map(drop)
    }

    /// What these settings promise of a write that has returned, if they may be used at all.
    pub(crate) fn durability(&self) -> Result<Durability> {
        use JournalMode::{Delete, Persist, Truncate, Wal};
        use Synchronous::{Extra, Full, Normal};
        let invalid = |message: &str| Err(Error::invalid(Operation::Open, message));
        if !self.path.is_absolute() {
            return invalid("an sqlite database needs an absolute path, such as /srv/file.db");
        }
        match (self.journal_mode, self.synchronous) {
            (Wal | Truncate | Persist, Full | Extra) | (Delete, Extra) => Ok(Durability::Machine),
            // Its commits outlive the process, but not a loss of power, and there is no promise
            // in between.
            (Wal, Normal) => Ok(Durability::Process),
            (Delete, Full) => invalid(
                "with journal_mode=delete a loss of power may undo the last commit; set \
                synchronous=extra too",
            ),
            (Truncate | Persist | Delete, Normal) => invalid(
                "synchronous=normal may harm the file at a loss of power, except with \
                journal_mode=wal; set synchronous=full",
            ),
        }
    }
}

fn name_of<T: Copy + PartialEq>(known: &[(&'static str, T)], wanted: T) -> &'static str {
    known.iter().find(|(_, value)| *value == wanted).map_or("", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_core::ErrorKind;

    use super::*;

    fn parse(text: &str) -> Result<Config> {
        Config::from_location(&Location::parse(text).unwrap())
    }

    #[test]
    fn a_config_survives_a_round_trip() {
        for config in [
            Config::new("/srv/a b/ü%?.db"),
            Config {
                journal_mode: JournalMode::Delete,
                synchronous: Synchronous::Extra,
                cache_size: 1 << 30,
                mmap_size: 7,
                busy_timeout: Duration::from_millis(1500),
                temp_store: TempStore::Memory,
                ..Config::new("/x")
            },
            Config { synchronous: Synchronous::Normal, ..Config::new("/x") },
        ] {
            assert_eq!(parse(&config.location().expose()).unwrap(), config);
        }
    }

    #[test]
    fn settings_are_written_as_people_write_them() {
        let config = parse(
            "sqlite:///srv/file.db?journal_mode=WAL&synchronous=FULL&cache_size=64MiB\
            &mmap_size=1GiB&busy_timeout=250ms&temp_store=memory",
        );
        let expected = Config {
            cache_size: 64 << 20,
            mmap_size: 1 << 30,
            busy_timeout: Duration::from_millis(250),
            temp_store: TempStore::Memory,
            ..Config::new("/srv/file.db")
        };
        assert_eq!(config.unwrap(), expected);
    }

    #[test]
    fn each_pair_of_settings_promises_what_it_keeps_or_is_refused() {
        for (journal_mode, synchronous, promised) in [
            ("wal", "extra", Some(Durability::Machine)),
            ("wal", "full", Some(Durability::Machine)),
            ("wal", "normal", Some(Durability::Process)),
            ("truncate", "extra", Some(Durability::Machine)),
            ("truncate", "full", Some(Durability::Machine)),
            ("truncate", "normal", None),
            ("persist", "extra", Some(Durability::Machine)),
            ("persist", "full", Some(Durability::Machine)),
            ("persist", "normal", None),
            ("delete", "extra", Some(Durability::Machine)),
            ("delete", "full", None),
            ("delete", "normal", None),
            ("memory", "full", None),
            ("off", "full", None),
            ("wal", "off", None),
        ] {
            let text = format!("sqlite:///x?journal_mode={journal_mode}&synchronous={synchronous}");
            let durability = parse(&text).and_then(|config| config.durability());
            assert_eq!(durability.ok(), promised, "{text}");
        }
    }

    #[test]
    fn the_documents_name_every_option_and_no_other() {
        for page in [include_str!("../README.md"), include_str!("../../../docs/backends/sqlite.md")]
        {
            let table = page.split("| option | meaning | default |").nth(1).unwrap();
            let rows =
                table.trim_start().lines().skip(1).map_while(|line| line.strip_prefix("| `"));
            let named: Vec<&str> = rows.map(|row| row.split('`').next().unwrap()).collect();
            assert_eq!(named, OPTIONS);
        }
    }

    /// Every default that the page names, written out, changes nothing.
    #[test]
    fn the_page_says_the_defaults() {
        let page = include_str!("../../../docs/backends/sqlite.md");
        let without = parse("sqlite:///srv/data").unwrap();
        let table = page.split("| option | meaning | default |").nth(1).unwrap();
        for row in table.trim_start().lines().skip(1).take_while(|line| line.starts_with("| `")) {
            let name = row.split('`').nth(1).unwrap();
            let default = row.trim_end_matches(" |").rsplit("| ").next().unwrap().replace('`', "");
            let with = Location::parse("sqlite:///srv/data").unwrap().with_option(name, &default);
            assert_eq!(Config::from_location(&with).unwrap(), without, "{name}={default}");
        }
    }

    #[test]
    fn wrong_locations_are_refused_with_a_hint() {
        for (text, hint) in [
            ("sqlite://srv/a", "three slashes"),
            ("sqlite://", "absolute"),
            ("file:///srv", "sqlite:///path"),
            ("sqlite:///srv/%00", "zero byte"),
            ("sqlite:///srv?busy_timout=1s", "did you mean `busy_timeout`"),
            ("sqlite:///srv?cache_size=1GB", "must be a size from 64KiB to 1TiB"),
            ("sqlite:///srv?cache_size=1KiB", "from 64KiB"),
            ("sqlite:///srv?cache_size=2TiB", "1TiB"),
            ("sqlite:///srv?mmap_size=2GiB", "from 0B to 2047MiB"),
            ("sqlite:///srv?mmap_size=yes", "mmap_size must be a size"),
            ("sqlite:///srv?busy_timeout=soon", "busy_timeout must be a time from 0s to 1h"),
            ("sqlite:///srv?busy_timeout=61m", "to 1h"),
            ("sqlite:///srv?journal_mode=memory", "wal, truncate, persist or delete"),
            ("sqlite:///srv?journal_mode=delete", "synchronous=extra"),
            ("sqlite:///srv?synchronous=off", "full, extra or normal"),
            ("sqlite:///srv?journal_mode=truncate&synchronous=normal", "synchronous=full"),
            ("sqlite:///srv?temp_store=ram", "file or memory"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert!(error.message().contains(hint), "{text}: {error}");
            assert!(error.location().is_some(), "{text}");
        }
    }
}
