//! Which file to use and how: plain data, read from a location.

use std::path::PathBuf;
use std::time::Duration;

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
const CACHE_BYTES_MIN: u64 = 64 << 10;
const CACHE_BYTES_MAX: u64 = 1 << 40;
/// What SQLite is built to map at the most.
const MMAP_BYTES_MAX: u64 = 0x7fff_0000;
const BUSY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const BUSY_TIMEOUT_MAX: Duration = Duration::from_secs(3600);

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
        let invalid =
            |message: &str| Error::invalid(Operation::Open, message).with_location(location);
        if location.scheme() != "sqlite" {
            return Err(invalid("this is not an sqlite location; write sqlite:///path/file.db"));
        }
        if !location.authority().is_empty() {
            let message =
                "an sqlite location names no host; write three slashes: sqlite:///path/file.db";
            return Err(invalid(message));
        }
        if location.path().contains('\0') {
            return Err(invalid("the path has a zero byte in it; write sqlite:///path/file.db"));
        }
        location.allow_options(&OPTIONS)?;
        let mut config = Self::new(location.path());
        if let Some(text) = location.option("journal_mode") {
            let message = "journal_mode must be wal, truncate, persist or delete; a crash would \
                harm the file with any other";
            config.journal_mode = choose(&JOURNAL_MODES, text).ok_or_else(|| invalid(message))?;
        }
        if let Some(text) = location.option("synchronous") {
            let message = "synchronous must be full, extra or normal; a loss of power would harm \
                the file with off";
            config.synchronous = choose(&SYNCHRONOUS, text).ok_or_else(|| invalid(message))?;
        }
        if let Some(text) = location.option("temp_store") {
            let message = "temp_store must be default, file or memory";
            config.temp_store = choose(&TEMP_STORES, text).ok_or_else(|| invalid(message))?;
        }
        if let Some(text) = location.option("cache_size") {
            let message = "cache_size must be a size, such as 64MiB";
            config.cache_size = parse_size(text).ok_or_else(|| invalid(message))?;
        }
        if let Some(text) = location.option("mmap_size") {
            let message = "mmap_size must be a size, such as 256MiB, or 0 for none";
            config.mmap_size = parse_size(text).ok_or_else(|| invalid(message))?;
        }
        if let Some(text) = location.option("busy_timeout") {
            let message = "busy_timeout must be a time with its unit, such as 5s or 250ms";
            config.busy_timeout = parse_time(text).ok_or_else(|| invalid(message))?;
        }
        config.durability().map_err(|error| error.with_location(location))?;
        Ok(config)
    }

    /// The location that gives this configuration again. A path that is not UTF-8 is shown with
    /// replacement characters.
    pub fn location(&self) -> Location {
        let plain = Self::new(&self.path);
        let millis = format!("{}ms", self.busy_timeout.as_millis());
        let mut location = Location::from_path("sqlite", &self.path.to_string_lossy());
        for (name, differs, value) in [
            ("journal_mode", self.journal_mode != plain.journal_mode, self.journal_mode.name()),
            ("synchronous", self.synchronous != plain.synchronous, self.synchronous.name()),
            ("cache_size", self.cache_size != plain.cache_size, &self.cache_size.to_string()),
            ("mmap_size", self.mmap_size != plain.mmap_size, &self.mmap_size.to_string()),
            ("busy_timeout", self.busy_timeout != plain.busy_timeout, &millis),
            ("temp_store", self.temp_store != plain.temp_store, self.temp_store.name()),
        ] {
            if differs {
                location = location.with_option(name, value);
            }
        }
        location
    }

    /// What these settings promise of a write that has returned, if they may be used at all.
    pub(crate) fn durability(&self) -> Result<Durability> {
        use JournalMode::{Delete, Persist, Truncate, Wal};
        use Synchronous::{Extra, Full, Normal};
        let invalid = |message: &str| Err(Error::invalid(Operation::Open, message));
        if !self.path.is_absolute() {
            return invalid("an sqlite database needs an absolute path, such as /srv/file.db");
        }
        if !(CACHE_BYTES_MIN..=CACHE_BYTES_MAX).contains(&self.cache_size) {
            return invalid("cache_size must be from 64KiB to 1TiB");
        }
        if self.mmap_size > MMAP_BYTES_MAX {
            return invalid("mmap_size may be at most 2147418112, which is nearly 2GiB");
        }
        if self.busy_timeout > BUSY_TIMEOUT_MAX {
            return invalid("busy_timeout may be at most an hour");
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

fn choose<T: Copy>(known: &[(&str, T)], text: &str) -> Option<T> {
    let lower = text.to_ascii_lowercase();
    known.iter().find(|(name, _)| *name == lower).map(|(_, value)| *value)
}

fn name_of<T: Copy + PartialEq>(known: &[(&'static str, T)], wanted: T) -> &'static str {
    known.iter().find(|(_, value)| *value == wanted).map_or("", |(name, _)| name)
}

/// Bytes from a number with or without a unit: `4096`, `64MiB`.
fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// A time from a number with its unit: `250ms`, `5s`, `2m`.
fn parse_time(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim()))
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
        for (text, time) in [("0ms", Some(0)), ("3s", Some(3000)), ("2m", Some(120_000))] {
            assert_eq!(parse_time(text), time.map(Duration::from_millis));
        }
        for text in ["", "5", "s", "-1s", "1.5s", "5 h", "99999999999999999999ms"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
        for text in ["", "MiB", "64MB", "-1", "1.5GiB", "99999999TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
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

    #[test]
    fn wrong_locations_are_refused_with_a_hint() {
        for (text, hint) in [
            ("sqlite://srv/a", "three slashes"),
            ("sqlite://", "absolute"),
            ("file:///srv", "sqlite:///path"),
            ("sqlite:///srv/%00", "zero byte"),
            ("sqlite:///srv?busy_timout=1s", "did you mean `busy_timeout`"),
            ("sqlite:///srv?cache_size=1GB", "such as 64MiB"),
            ("sqlite:///srv?cache_size=1KiB", "from 64KiB"),
            ("sqlite:///srv?cache_size=2TiB", "1TiB"),
            ("sqlite:///srv?mmap_size=2GiB", "2147418112"),
            ("sqlite:///srv?mmap_size=yes", "256MiB"),
            ("sqlite:///srv?busy_timeout=5", "5s or 250ms"),
            ("sqlite:///srv?busy_timeout=61m", "an hour"),
            ("sqlite:///srv?journal_mode=memory", "wal, truncate"),
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
