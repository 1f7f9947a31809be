//! Which folder to use and how: plain data, read from a location.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use holdall_core::units::write_size;
use holdall_core::{Durability, Error, Location, Operation, Result};

const OPTIONS: [&str; 11] = [
    "write_buffer_size",
    "max_write_buffer_number",
    "block_cache_size",
    "bloom_filter_bits",
    "compression",
    "min_blob_size",
    "max_background_jobs",
    "level0_file_num_compaction_trigger",
    "max_open_files",
    "on_power_loss",
    "max_total_wal_size",
];

const COMPRESSIONS: [(&str, Compression); 4] = [
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
    ("snappy", Compression::Snappy),
    ("none", Compression::None),
];
const POWER_LOSSES: [(&str, OnPowerLoss); 2] =
    [("keep_writes", OnPowerLoss::KeepWrites), ("lose_last_writes", OnPowerLoss::LoseLastWrites)];

const WRITE_BUFFER_SIZE: RangeInclusive<u64> = 1 << 20..=16 << 30;
const WRITE_BUFFERS: RangeInclusive<u32> = 2..=64;
const BLOCK_CACHE_SIZE: RangeInclusive<u64> = 1 << 20..=1 << 40;
const BLOOM_FILTER_BITS: RangeInclusive<u32> = 0..=32;
/// Whatever is larger is in parts, of which the smallest is no smaller than a few pages.
const MIN_BLOB_SIZE: RangeInclusive<u64> = 64..=1 << 20;
const BACKGROUND_JOBS: RangeInclusive<u32> = 2..=256;
const LEVEL0_FILES: RangeInclusive<u32> = 1..=20;
const OPEN_FILES: RangeInclusive<u32> = 64..=1_000_000;
const WAL_SIZE: RangeInclusive<u64> = 1 << 20..=1 << 40;

/// How blocks and blobs are made smaller before they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Quick to write and to read.
    #[default]
    Lz4,
    /// Smaller, and slower to write.
    Zstd,
    /// As LZ4, for databases that were written so.
    Snappy,
    /// As they are.
    None,
}

impl Compression {
    /// The word for it.
    pub fn name(self) -> &'static str {
        name_of(&COMPRESSIONS, self)
    }
}

/// What a loss of power may do to writes that have returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPowerLoss {
    /// Nothing: a write returns once it is on the disk.
    #[default]
    KeepWrites,
    /// Take the last of them, never a part of one: a write returns once the system has it. A crash
    /// of the process alone takes none.
    LoseLastWrites,
}

impl OnPowerLoss {
    /// The word for it.
    pub fn name(self) -> &'static str {
        name_of(&POWER_LOSSES, self)
    }
}

/// What a [`RocksDb`](crate::RocksDb) backend is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The folder that holds the database, created if it is missing. Absolute.
    pub path: PathBuf,
    /// How many bytes of new rows are gathered in memory before they are written to a file:
    /// 1 MiB to 16 GiB.
    pub write_buffer_size: u64,
    /// How many such buffers there may be, those that are being written included: 2 to 64. All
    /// of them together take no more memory than this many times `write_buffer_size`.
    pub max_write_buffer_number: u32,
    /// How many bytes of blocks are kept in memory for reading: 1 MiB to 1 TiB.
    pub block_cache_size: u64,
    /// How many bits a key the filters have that spare a look at files without the key: up to 32;
    /// 0 is no filters. With 10 one look in a hundred is in vain.
    pub bloom_filter_bits: u32,
    /// How blocks and blobs are compressed. Applies to what is written from now on.
    pub compression: Compression,
    /// Larger values are kept in blob files, in parts, which compaction does not copy: 64 bytes
    /// to 1 MiB. Applies to what is written from now on.
    pub min_blob_size: u64,
    /// How many flushes and compactions may run at the same time: 2 to 256.
    pub max_background_jobs: u32,
    /// How many flushed files start a compaction: 1 to 20.
    pub level0_file_num_compaction_trigger: u32,
    /// How many files are kept open: 64 to 1,000,000.
    pub max_open_files: u32,
    /// What a loss of power may do to writes that have returned.
    pub on_power_loss: OnPowerLoss,
    /// How many bytes of write-ahead log there may be, which opening after a crash reads: 1 MiB to
    /// 1 TiB.
    pub max_total_wal_size: u64,
}

impl Config {
    /// The defaults, with the database in this folder: everything that is acknowledged is on the
    /// disk.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            write_buffer_size: 64 << 20,
            max_write_buffer_number: 3,
            block_cache_size: 256 << 20,
            bloom_filter_bits: 10,
            compression: Compression::default(),
            min_blob_size: 4 << 10,
            max_background_jobs: 4,
            level0_file_num_compaction_trigger: 4,
            max_open_files: 1000,
            on_power_loss: OnPowerLoss::default(),
            max_total_wal_size: 256 << 20,
        }
    }

    /// Reads `rocksdb:///path?block_cache_size=1GiB&compression=zstd`.
    ///
    /// # Errors
    /// `Invalid` for another scheme, a host, a relative path, an unknown option or a value that
    /// is out of its limits.
    pub fn from_location(location: &Location) -> Result<Self> {
        if location.scheme() != "rocksdb" {
            let message = "this is not a rocksdb location; write rocksdb:///path";
            return Err(location.refuse(message));
        }
        if !location.authority().is_empty() {
            let message = "a rocksdb location names no host; write three slashes: rocksdb:///path";
            return Err(location.refuse(message));
        }
        if location.path().contains('\0') {
            return Err(location.refuse("the path has a zero byte in it; write rocksdb:///path"));
        }
        location.allow_options(&OPTIONS)?;
        let mut config = Self::new(location.path());
        config.read_sizes(location)?;
        config.read_numbers(location)?;
        if let Some(compression) = location.choice("compression", &COMPRESSIONS)? {
            config.compression = compression;
        }
        if let Some(on_power_loss) = location.choice("on_power_loss", &POWER_LOSSES)? {
            config.on_power_loss = on_power_loss;
        }
        if !config.path.is_absolute() {
            let message = "a rocksdb database needs an absolute path, such as rocksdb:///srv/data";
            return Err(location.refuse(message));
        }
        Ok(config)
    }

    fn read_sizes(&mut self, location: &Location) -> Result<()> {
        for (name, field, allowed) in [
            ("write_buffer_size", &mut self.write_buffer_size, WRITE_BUFFER_SIZE),
            ("block_cache_size", &mut self.block_cache_size, BLOCK_CACHE_SIZE),
            ("min_blob_size", &mut self.min_blob_size, MIN_BLOB_SIZE),
            ("max_total_wal_size", &mut self.max_total_wal_size, WAL_SIZE),
        ] {
            if let Some(size) = location.size(name, allowed)? {
                *field = size;
            }
        }
        Ok(())
    }

    fn read_numbers(&mut self, location: &Location) -> Result<()> {
        let trigger = &mut self.level0_file_num_compaction_trigger;
        for (name, field, allowed) in [
            ("max_write_buffer_number", &mut self.max_write_buffer_number, WRITE_BUFFERS),
            ("bloom_filter_bits", &mut self.bloom_filter_bits, BLOOM_FILTER_BITS),
            ("max_background_jobs", &mut self.max_background_jobs, BACKGROUND_JOBS),
            ("level0_file_num_compaction_trigger", trigger, LEVEL0_FILES),
            ("max_open_files", &mut self.max_open_files, OPEN_FILES),
        ] {
            if let Some(number) = location.number(name, allowed)? {
                *field = number;
            }
        }
        Ok(())
    }

    /// The location that gives this configuration again. A path that is not UTF-8 is shown with
    /// replacement characters.
    pub fn location(&self) -> Location {
        let values = |config: &Self| {
            [
                write_size(config.write_buffer_size),
                config.max_write_buffer_number.to_string(),
                write_size(config.block_cache_size),
                config.bloom_filter_bits.to_string(),
                config.compression.name().to_owned(),
                write_size(config.min_blob_size),
                config.max_background_jobs.to_string(),
                config.level0_file_num_compaction_trigger.to_string(),
                config.max_open_files.to_string(),
                config.on_power_loss.name().to_owned(),
                write_size(config.max_total_wal_size),
            ]
        };
        let mut location = Location::from_path("rocksdb", &self.path.to_string_lossy());
        let plain = values(&Self::new(&self.path));
        for ((name, value), plain) in OPTIONS.into_iter().zip(values(self)).zip(plain) {
            if value != plain {
                location = location.with_option(name, &value);
            }
        }
        location
    }

    /// Refuses values that no location could give.
    pub(crate) fn check(&self) -> Result<()> {
        if !self.path.is_absolute() {
            let message = "a rocksdb database needs an absolute path, such as /srv/data";
            return Err(Error::invalid(Operation::Open, message));
        }
        Self::from_location(&self.location()).map(drop)
    }

    /// What these settings promise of a write that has returned. There is no word for what
    /// outlives the process but not a loss of power.
    pub(crate) fn durability(&self) -> Durability {
        match self.on_power_loss {
            OnPowerLoss::KeepWrites => Durability::Machine,
            OnPowerLoss::LoseLastWrites => Durability::Process,
        }
    }
}

fn name_of<T: Copy + PartialEq>(words: &[(&'static str, T)], meant: T) -> &'static str {
    words.iter().find(|(_, meaning)| *meaning == meant).map_or("", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_core::ErrorKind;

    use super::*;

    fn parse(text: &str) -> Result<Config> {
        Config::from_location(&Location::parse(text)?)
    }

    #[test]
    fn locations_come_back() {
        let text = "rocksdb:///srv/data?block_cache_size=1GiB&bloom_filter_bits=12&\
            compression=zstd&level0_file_num_compaction_trigger=8&max_background_jobs=6&\
            max_open_files=500&max_total_wal_size=1GiB&max_write_buffer_number=4&min_blob_size=16KiB&\
            on_power_loss=lose_last_writes&write_buffer_size=32MiB";
        let config = parse(text).unwrap();
        assert_eq!(config.location().to_string(), text);
        assert_eq!(config.block_cache_size, 1 << 30);
        assert_eq!(config.bloom_filter_bits, 12);
        assert_eq!(config.compression, Compression::Zstd);
        assert_eq!(config.level0_file_num_compaction_trigger, 8);
        assert_eq!(config.max_background_jobs, 6);
        assert_eq!(config.max_total_wal_size, 1 << 30);
        assert_eq!(config.max_open_files, 500);
        assert_eq!(config.max_write_buffer_number, 4);
        assert_eq!(config.min_blob_size, 16 << 10);
        assert_eq!(config.durability(), Durability::Process);
        assert_eq!(config.write_buffer_size, 32 << 20);
        let plain = parse("rocksdb:///srv/data").unwrap();
        assert_eq!(plain, Config::new("/srv/data"));
        assert_eq!(plain.location().to_string(), "rocksdb:///srv/data");
        assert_eq!(plain.durability(), Durability::Machine);
    }

    #[test]
    fn the_documents_name_every_option_and_no_other() {
        let pages =
            [include_str!("../README.md"), include_str!("../../../docs/backends/rocksdb.md")];
        for page in pages {
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
        let page = include_str!("../../../docs/backends/rocksdb.md");
        let without = parse("rocksdb:///srv/data").unwrap();
        let table = page.split("| option | meaning | default |").nth(1).unwrap();
        for row in table.trim_start().lines().skip(1).take_while(|line| line.starts_with("| `")) {
            let name = row.split('`').nth(1).unwrap();
            let default = row.trim_end_matches(" |").rsplit("| ").next().unwrap().replace('`', "");
            let with = Location::parse("rocksdb:///srv/data").unwrap().with_option(name, &default);
            assert_eq!(Config::from_location(&with).unwrap(), without, "{name}={default}");
        }
    }

    #[test]
    fn wrong_locations_are_refused_with_a_hint() {
        for (text, hint) in [
            ("rocksdb://srv/a", "three slashes"),
            ("rocksdb://", "absolute"),
            ("file:///srv", "rocksdb:///path"),
            ("rocksdb:///srv/%00", "zero byte"),
            ("rocksdb:///srv?block_cashe_size=1GiB", "did you mean `block_cache_size`"),
            ("rocksdb:///srv?block_cache_size=much", "a size from 1MiB"),
            ("rocksdb:///srv?write_buffer_size=1KiB", "from 1MiB to 16GiB"),
            ("rocksdb:///srv?max_write_buffer_number=1", "from 2 to 64"),
            ("rocksdb:///srv?bloom_filter_bits=33", "from 0 to 32"),
            ("rocksdb:///srv?compression=lzma", "lz4, zstd, snappy or none"),
            ("rocksdb:///srv?min_blob_size=2MiB", "from 64B to 1MiB"),
            ("rocksdb:///srv?max_background_jobs=1", "from 2 to 256"),
            ("rocksdb:///srv?level0_file_num_compaction_trigger=0", "from 1 to 20"),
            ("rocksdb:///srv?max_open_files=10", "from 64 to 1000000"),
            ("rocksdb:///srv?max_total_wal_size=0", "from 1MiB to 1TiB"),
            ("rocksdb:///srv?on_power_loss=hope", "keep_writes or lose_last_writes"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert!(error.message().contains(hint), "{text}: {error}");
            assert!(error.location().is_some(), "{text}");
        }
    }

    #[test]
    fn what_no_location_could_give_is_refused_too() {
        let small = Config { block_cache_size: 0, ..Config::new("/srv") };
        assert!(small.check().unwrap_err().message().contains("block_cache_size"));
        assert!(Config::new("srv").check().unwrap_err().message().contains("absolute"));
        Config::new("/srv").check().unwrap();
    }
}
