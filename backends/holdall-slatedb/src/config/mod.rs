//! Where the store lies and how it is used: plain data, read from a location.

mod place;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdall_core::units::{write_duration, write_size};
use holdall_core::{Location, Result};
use slatedb::SstBlockSize;
use slatedb::config::{
    CompactionWorkerOptions, CompactorOptions, CompressionCodec, DbReaderOptions,
    GarbageCollectorDirectoryOptions, GarbageCollectorOptions, ObjectStoreCacheOptions, Settings,
};

pub use place::{Cloud, Place};

/// What a [`SlateDb`](crate::SlateDb) backend is opened with.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// The directory or the bucket.
    pub place: Place,
    /// Whether the store is only read, beside its writer.
    pub read_only: bool,
    /// How long after one flush the next may begin: writes that come in between share it. Zero:
    /// a flush begins as soon as the one before it has ended. `None` is zero in a directory, and
    /// 100 ms in a bucket, where each flush is a request that is paid for.
    pub flush_interval: Option<Duration>,
    /// How often is asked whether another has written: so a reader follows, and a writer finds
    /// out that it was taken over, and what was compacted.
    pub poll_interval: Duration,
    /// How long one call may take, and one request to the store.
    pub timeout: Duration,
    /// Bytes of memory in which blocks of tables are kept; zero is none.
    pub block_cache: u64,
    /// The folder in which parts of tables are kept, if any: for buckets far away.
    pub disk_cache: Option<PathBuf>,
    /// How many bytes that folder may hold.
    pub disk_cache_size: u64,
    /// How tables are compressed.
    pub compression: Compression,
    /// The size of the blocks in which tables are read: a power of two from 1 KiB to 64 KiB.
    pub block_size: u64,
    /// How many bytes are collected in memory, and in the log, before they become a table.
    pub table_size: u64,
    /// How old tables, logs and manifests that are no longer used must be to be deleted. A reader
    /// has so long to finish a listing.
    pub collect_after: Duration,
    /// Whether opening tries out that the store keeps conditions.
    pub probe: bool,
}

/// How tables are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// They are not.
    None,
    /// By zstd.
    Zstd,
}

/// The names of the options that every place has.
const NAMES: [&str; 12] = [
    "read_only",
    "flush_interval",
    "poll_interval",
    "timeout",
    "block_cache",
    "disk_cache",
    "disk_cache_size",
    "compression",
    "block_size",
    "table_size",
    "collect_after",
    "probe",
];

const COMPRESSIONS: [(&str, Compression); 2] =
    [("none", Compression::None), ("zstd", Compression::Zstd)];

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Config {
    /// The defaults, with the store in this place.
    pub fn new(place: Place) -> Self {
        Self {
            place,
            read_only: false,
            flush_interval: None,
            poll_interval: 5 * SECOND,
            timeout: 30 * SECOND,
            block_cache: 64 << 20,
            disk_cache: None,
            disk_cache_size: 1 << 30,
            compression: Compression::None,
            block_size: 4 << 10,
            table_size: 64 << 20,
            collect_after: Duration::from_secs(10 * 60),
            probe: true,
        }
    }

    /// The defaults, with the store in this directory.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self::new(Place::Directory(path.into()))
    }

    /// Reads `slatedb:///path?…`, `slatedb+s3://bucket/prefix?…`, `slatedb+gs://…` or
    /// `slatedb+az://…`.
    ///
    /// # Errors
    /// `Invalid` for another scheme, a missing bucket, a relative path, an unknown option, or a
    /// value that is not what its option takes.
    pub fn from_location(location: &Location) -> Result<Self> {
        let place = Place::from_location(location, &NAMES)?;
        let some = Self::new(place);
        let disk_cache = match location.option("disk_cache") {
            Some(path) if !Path::new(path).is_absolute() => {
                return Err(location.refuse("disk_cache must be an absolute path of a folder"));
            }
            path => path.map(PathBuf::from),
        };
        let block_sizes = [1, 2, 4, 8, 16, 32, 64].map(|kib: u64| kib << 10);
        let block_size =
            location.size("block_size", 1 << 10..=64 << 10)?.unwrap_or(some.block_size);
        if !block_sizes.contains(&block_size) {
            let message = "block_size must be 1KiB, 2KiB, 4KiB, 8KiB, 16KiB, 32KiB or 64KiB";
            return Err(location.refuse(message));
        }
        let millis = Duration::from_millis;
        let duration = |name: &str, from: Duration, to: Duration, default: Duration| {
            location.duration(name, from..=to).map(|time| time.unwrap_or(default))
        };
        let size = |name: &str, from: u64, to: u64, default: u64| {
            location.size(name, from..=to).map(|size| size.unwrap_or(default))
        };
        Ok(Self {
            read_only: location.flag("read_only")?.unwrap_or(some.read_only),
            flush_interval: location.duration("flush_interval", Duration::ZERO..=10 * SECOND)?,
            poll_interval: duration("poll_interval", millis(10), HOUR, some.poll_interval)?,
            timeout: duration("timeout", millis(100), HOUR, some.timeout)?,
            block_cache: size("block_cache", 0, 1 << 40, some.block_cache)?,
            disk_cache,
            disk_cache_size: size("disk_cache_size", 1 << 20, 1 << 44, some.disk_cache_size)?,
            compression: location.choice("compression", &COMPRESSIONS)?.unwrap_or(some.compression),
            block_size,
            table_size: size("table_size", 64 << 10, 1 << 30, some.table_size)?,
            collect_after: duration("collect_after", SECOND, 365 * DAY, some.collect_after)?,
            probe: location.flag("probe")?.unwrap_or(some.probe),
            place: some.place,
        })
    }

    /// The location that gives this configuration again. A path that is not UTF-8 is shown with
    /// replacement characters.
    pub fn location(&self) -> Location {
        let mut location = self.place.location();
        let some = Self::new(self.place.clone());
        let mut set = |name: &str, is_default: bool, text: String| {
            if !is_default {
                location = location.clone().with_option(name, &text);
            }
        };
        set("read_only", !self.read_only, self.read_only.to_string());
        if let Some(interval) = self.flush_interval {
            set("flush_interval", false, write_duration(interval));
        }
        let times = [
            ("poll_interval", self.poll_interval, some.poll_interval),
            ("timeout", self.timeout, some.timeout),
            ("collect_after", self.collect_after, some.collect_after),
        ];
        for (name, time, default) in times {
            set(name, time == default, write_duration(time));
        }
        let sizes = [
            ("block_cache", self.block_cache, some.block_cache),
            ("disk_cache_size", self.disk_cache_size, some.disk_cache_size),
            ("block_size", self.block_size, some.block_size),
            ("table_size", self.table_size, some.table_size),
        ];
        for (name, size, default) in sizes {
            set(name, size == default, write_size(size));
        }
        if let Some(path) = &self.disk_cache {
            set("disk_cache", false, path.to_string_lossy().into_owned());
        }
        let compression = COMPRESSIONS.iter().find(|(_, some)| *some == self.compression);
        let compression = compression.map_or("none", |(name, _)| name).to_owned();
        set("compression", self.compression == some.compression, compression);
        set("probe", self.probe, self.probe.to_string());
        location
    }

    /// How long after one flush the next may begin.
    pub(crate) fn flush_interval(&self) -> Duration {
        self.flush_interval.unwrap_or(match self.place {
            Place::Directory(_) => Duration::ZERO,
            Place::Bucket { .. } => Duration::from_millis(100),
        })
    }

    /// The library's settings of a writer.
    pub(crate) fn settings(&self) -> Settings {
        let codec = match self.compression {
            Compression::None => None,
            Compression::Zstd => Some(CompressionCodec::Zstd),
        };
        let table_size = usize::try_from(self.table_size).unwrap_or(usize::MAX);
        let some = Settings::default();
        Settings {
            // Flushes are ours to begin. The library's own are for what was written by calls whose
            // future was dropped.
            flush_interval: Some(self.flush_interval().max(SECOND)),
            manifest_poll_interval: self.poll_interval,
            l0_sst_size_bytes: table_size,
            max_unflushed_bytes: some.max_unflushed_bytes.max(table_size.saturating_mul(4)),
            compression_codec: codec,
            compactor_options: Some(CompactorOptions {
                poll_interval: self.poll_interval,
                // So long what was merged away is kept for those who still read it.
                checkpoint_lifetime: self.collect_after,
                worker: Some(CompactionWorkerOptions {
                    compactions_poll_interval: self.poll_interval,
                    compression_codec: codec,
                    ..CompactionWorkerOptions::default()
                }),
                ..CompactorOptions::default()
            }),
            garbage_collector_options: Some(self.collector()),
            object_store_cache_options: self.disk_cache_options(),
            ..some
        }
    }

    /// The library's settings of a reader.
    pub(crate) fn reader_settings(&self) -> DbReaderOptions {
        DbReaderOptions {
            manifest_poll_interval: self.poll_interval,
            object_store_cache_options: self.disk_cache_options(),
            ..DbReaderOptions::default()
        }
    }

    /// The library's name for the size of a block.
    pub(crate) fn block_size(&self) -> SstBlockSize {
        match self.block_size >> 10 {
            1 => SstBlockSize::Block1Kib,
            2 => SstBlockSize::Block2Kib,
            8 => SstBlockSize::Block8Kib,
            16 => SstBlockSize::Block16Kib,
            32 => SstBlockSize::Block32Kib,
            64 => SstBlockSize::Block64Kib,
            _ => SstBlockSize::Block4Kib,
        }
    }

    fn collector(&self) -> GarbageCollectorOptions {
        let interval = Some(self.collect_after.min(Duration::from_secs(10 * 60)));
        let after =
            |min_age| Some(GarbageCollectorDirectoryOptions { interval, min_age, dry_run: false });
        let is_directory = matches!(self.place, Place::Directory(_));
        // A directory cannot replace a file under a condition, by which the library keeps a writer
        // that slept from making a deleted manifest anew. There they are kept for a day at least.
        let manifests = if is_directory { self.collect_after.max(DAY) } else { self.collect_after };
        GarbageCollectorOptions {
            manifest_options: after(manifests),
            compactions_options: after(manifests),
            wal_options: after(self.collect_after),
            compacted_options: after(self.collect_after),
            // The empty file that keeps an old writer out must stay where it is.
            wal_fence_options: None,
            boundary_files_enabled: !is_directory,
            ..GarbageCollectorOptions::default()
        }
    }

    fn disk_cache_options(&self) -> ObjectStoreCacheOptions {
        ObjectStoreCacheOptions {
            root_folder: self.disk_cache.clone(),
            max_cache_size_bytes: usize::try_from(self.disk_cache_size).ok(),
            ..ObjectStoreCacheOptions::default()
        }
    }
}

impl fmt::Debug for Config {
    /// Shows no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config({})", self.location())
    }
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
    fn a_config_survives_a_round_trip_and_shows_no_secret() {
        for text in [
            "slatedb:///srv/a%20b/ü%25",
            "slatedb:///srv?read_only=true&flush_interval=0s&poll_interval=1s&timeout=5s\
             &block_cache=0B&disk_cache=/var/c&disk_cache_size=2GiB&compression=zstd\
             &block_size=16KiB&table_size=1MiB&collect_after=1h&probe=false",
            "slatedb+s3://b",
            "slatedb+s3://b/p/q?region=r&endpoint=http://h:1&path_style=false&access_key_id=i\
             &secret_access_key=hunter2&session_token=hunter2",
            "slatedb+gs://b/p?service_account_key=hunter2",
            "slatedb+az://c/p?account=a&access_key=hunter2",
            "slatedb+az://c/p?account=a&sas_token=hunter2",
        ] {
            let config = parse(text).unwrap();
            assert_eq!(parse(&config.location().expose()).unwrap(), config, "{text}");
            assert!(!format!("{config:?} {}", config.location()).contains("hunter2"));
        }
        assert_eq!(parse("slatedb:///srv").unwrap(), Config::directory("/srv"));
    }

    #[test]
    fn wrong_locations_are_refused_with_a_hint() {
        for (text, hint) in [
            ("slatedb://srv/a", "three slashes"),
            ("slatedb://", "absolute"),
            ("file:///srv", "slatedb:///path"),
            ("slatedb+ftp://b/p", "slatedb+s3://bucket/prefix"),
            ("slatedb+s3:///p", "names no bucket"),
            ("slatedb+s3://b:1/p", "names no bucket"),
            ("slatedb+s3://b?access_key_id=i", "belong together"),
            ("slatedb+s3://b?endpoint=h:1", "begin with https://"),
            ("slatedb+s3://b?account=a", "no option `account`"),
            ("slatedb+az://b?access_key=a&sas_token=b", "more than one kind"),
            ("slatedb:///srv?region=r", "no option `region`"),
            ("slatedb:///srv?flush_interval=1h", "from 0s to 10s"),
            ("slatedb:///srv?poll_intervall=1s", "did you mean `poll_interval`"),
            ("slatedb:///srv?block_size=3KiB", "4KiB"),
            ("slatedb:///srv?disk_cache=here", "absolute"),
            ("slatedb:///srv?compression=gzip", "none or zstd"),
            ("slatedb:///srv?read_only=perhaps", "true or false"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert!(error.message().contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn settings_reach_the_library() {
        let config = parse(
            "slatedb:///srv?flush_interval=2s&poll_interval=7s&compression=zstd&table_size=1GiB\
             &collect_after=2d&disk_cache=/c&disk_cache_size=3MiB&block_size=64KiB",
        );
        let config = config.unwrap();
        let settings = config.settings();
        assert_eq!(settings.flush_interval, Some(2 * SECOND));
        assert_eq!(settings.manifest_poll_interval, 7 * SECOND);
        assert_eq!(settings.l0_sst_size_bytes, 1 << 30);
        assert_eq!(settings.max_unflushed_bytes, 4 << 30);
        assert_eq!(settings.compression_codec, Some(CompressionCodec::Zstd));
        assert_eq!(settings.object_store_cache_options.root_folder, Some("/c".into()));
        assert_eq!(settings.object_store_cache_options.max_cache_size_bytes, Some(3 << 20));
        assert!(settings.validate().is_ok());
        assert_eq!(config.block_size().as_bytes(), 64 << 10);
        let collector = settings.garbage_collector_options.unwrap();
        assert!(!collector.boundary_files_enabled && collector.wal_fence_options.is_none());
        assert_eq!(collector.wal_options.unwrap().min_age, 2 * DAY);
        for text in ["slatedb:///srv", "slatedb+s3://b"] {
            let settings = parse(text).unwrap().settings();
            assert!(settings.validate().is_ok());
            let collector = settings.garbage_collector_options.unwrap();
            let directory = text.contains(":///");
            assert_eq!(collector.boundary_files_enabled, !directory);
            assert_eq!(collector.manifest_options.unwrap().min_age == DAY, directory);
        }
    }

    #[test]
    fn every_option_is_in_the_page_and_no_other() {
        let page = include_str!("../../../../docs/backends/slatedb.md");
        let mut named: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("| `"))
            .filter_map(|line| line.split('`').nth(1))
            .collect();
        named.sort_unstable();
        named.dedup();
        let mut options: Vec<&str> = NAMES.into_iter().chain(Cloud::all_options()).collect();
        options.sort_unstable();
        options.dedup();
        assert_eq!(named, options);
    }

    /// Every default that the page names, written out, changes nothing.
    #[test]
    fn the_page_says_the_defaults() {
        let page = include_str!("../../../../docs/backends/slatedb.md");
        let without = parse("slatedb:///srv/data").unwrap();
        let rows = page.lines().skip_while(|line| !line.starts_with("| option |")).skip(2);
        for row in rows.take_while(|line| line.starts_with("| `")) {
            let name = row.split('`').nth(1).unwrap();
            if ["flush_interval", "disk_cache"].contains(&name) {
                continue;
            }
            let default = row.trim_end_matches(" |").rsplit("| ").next().unwrap().replace('`', "");
            let with = Location::parse("slatedb:///srv/data").unwrap().with_option(name, &default);
            assert_eq!(Config::from_location(&with).unwrap(), without, "{name}={default}");
        }
        for (place, interval) in [("slatedb:///srv/data", "0s"), ("slatedb+s3://b", "100ms")] {
            let with = format!("{place}?flush_interval={interval}");
            let written = parse(&with).unwrap().flush_interval();
            assert_eq!(written, parse(place).unwrap().flush_interval());
            assert!(page.contains("| `0s` in a directory, `100ms` in a bucket |"));
        }
    }
}
