//! Copies in memory, by the foyer library: bounded by bytes, the least useful making room.

use holdall_core::{ByteRange, Key, Object, Result};

use super::held::Held;
use super::settings::CacheSettings;

/// What the maps take for one value, about.
const ENTRY_BYTES: usize = 160;

/// Copies in memory. All of them are current as far as this process knows.
#[derive(Debug)]
pub(super) struct Memory {
    cache: foyer::Cache<Key, Held>,
    /// What one entry may take.
    entry_bytes_max: usize,
}

fn weight(key: &Key, held: &Held) -> usize {
    ENTRY_BYTES + key.as_bytes().len() + held.bytes.len()
}

impl Memory {
    pub(super) fn new(settings: &CacheSettings) -> Self {
        let bytes = usize::try_from(settings.memory_bytes).unwrap_or(usize::MAX);
        // A shard has room for several of the largest values.
        let largest = usize::try_from(settings.value_bytes_max).unwrap_or(usize::MAX);
        let shards = (bytes / largest.saturating_mul(4).max(1)).clamp(1, 16);
        let cache = foyer::CacheBuilder::new(bytes).with_shards(shards).with_weighter(weight);
        Self { cache: cache.build(), entry_bytes_max: bytes / shards }
    }

    pub(super) fn insert(&self, key: &Key, held: &Held) {
        if weight(key, held) <= self.entry_bytes_max {
            self.cache.insert(key.clone(), Held { earlier: false, ..held.clone() });
        } else {
            self.cache.remove(key);
        }
    }

    /// A range of a copy, without copying anything else of it.
    pub(super) fn object(&self, key: &Key, range: ByteRange) -> Option<Result<Object>> {
        Some(self.cache.get(key)?.value().object(range))
    }

    pub(super) fn get(&self, key: &Key) -> Option<Held> {
        Some(self.cache.get(key)?.value().clone())
    }

    pub(super) fn remove(&self, key: &Key) {
        self.cache.remove(key);
    }

    /// Bytes in use.
    pub(super) fn usage(&self) -> usize {
        self.cache.usage()
    }
}
