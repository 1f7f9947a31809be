//! What RocksDB is told: our settings, and what is always so.

use std::ffi::c_int;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel,
    Options, WriteOptions,
};

use crate::config::{Compression, Config, OnPowerLoss};
use crate::layout::{PARTS, ROWS};

/// How many bytes are handed to the disk at once while a file is written in the background, so
/// that commits do not wait behind all of it.
const SYNC_BYTES: u64 = 1 << 20;
/// RocksDB's own diary: how large each file of it may be, and how many there are.
const DIARY_BYTES: usize = 8 << 20;
const DIARIES: usize = 4;
/// A file is compacted early when, of so many rows in sequence, so many are removals: listings
/// pass over each of them, and the room of what they remove is not free before.
const REMOVALS: (usize, usize) = (1024, 512);

/// What holds for the whole database.
pub(crate) fn database(config: &Config) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_open_files(number(config.max_open_files));
    options.set_max_background_jobs(number(config.max_background_jobs));
    // Both families take from one allowance.
    options.set_db_write_buffer_size(config.buffers());
    options.set_max_total_wal_size(config.max_total_wal_size);
    options.set_bytes_per_sync(SYNC_BYTES);
    // A log may end in the middle of what was being written when the power went. What is behind
    // such a place was never acknowledged.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // Logs that were synced and are then missing or shorter are noticed at opening.
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(DIARY_BYTES);
    options.set_keep_log_file_num(DIARIES);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

/// The families and what holds for each.
pub(crate) fn families(config: &Config) -> [ColumnFamilyDescriptor; 2] {
    let cache = Cache::new_hyper_clock_cache(size(config.block_cache_size), 0);
    let rows = family(config, &cache);
    let mut parts = family(config, &cache);
    // Compaction moves parts by their keys and leaves their bytes where they are, until half of
    // the bytes in the oldest files are of parts that were removed.
    parts.set_enable_blob_files(true);
    parts.set_min_blob_size(config.min_blob_size);
    parts.set_blob_compression_type(compression(config.compression));
    parts.set_enable_blob_gc(true);
    parts.set_blob_gc_age_cutoff(1.0);
    parts.set_blob_gc_force_threshold(0.5);
    [ColumnFamilyDescriptor::new(ROWS, rows), ColumnFamilyDescriptor::new(PARTS, parts)]
}

fn family(config: &Config, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    if config.bloom_filter_bits > 0 {
        blocks.set_bloom_filter(f64::from(config.bloom_filter_bits), false);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(size(config.write_buffer_size));
    options.set_max_write_buffer_number(number(config.max_write_buffer_number));
    let trigger = number(config.level0_file_num_compaction_trigger);
    options.set_level_zero_file_num_compaction_trigger(trigger);
    options.set_compression_type(compression(config.compression));
    options.add_compact_on_deletion_collector_factory(REMOVALS.0, REMOVALS.1, 0.5);
    options
}

/// How a write is made.
pub(crate) fn write(config: &Config) -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(config.on_power_loss == OnPowerLoss::KeepWrites);
    options
}

fn compression(compression: Compression) -> DBCompressionType {
    match compression {
        Compression::Lz4 => DBCompressionType::Lz4,
        Compression::Zstd => DBCompressionType::Zstd,
        Compression::Snappy => DBCompressionType::Snappy,
        Compression::None => DBCompressionType::None,
    }
}

fn number(number: u32) -> c_int {
    c_int::try_from(number).unwrap_or(c_int::MAX)
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl Config {
    /// How many bytes all write buffers together may take.
    pub(crate) fn buffers(&self) -> usize {
        size(self.write_buffer_size.saturating_mul(u64::from(self.max_write_buffer_number)))
    }
}
