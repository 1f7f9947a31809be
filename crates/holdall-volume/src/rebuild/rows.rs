//! The rows that are being made: written in large batches, and read back as they will be.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{Backend, Batch, Expect, Key, Result};

/// How many rows wait to be written together.
const ROWS_MAX: usize = 4096;

/// How many bytes of rows wait to be written together.
const BYTES_MAX: usize = 4 << 20;

/// Rows of a catalog that nobody else uses.
#[derive(Debug)]
pub(super) struct Rows {
    catalog: Arc<dyn Backend>,
    changed: BTreeMap<Key, Option<Bytes>>,
    bytes: usize,
}

impl Rows {
    pub(super) fn new(catalog: Arc<dyn Backend>) -> Self {
        Self { catalog, changed: BTreeMap::new(), bytes: 0 }
    }

    /// The catalog, in which rows that wait are not yet seen.
    pub(super) fn catalog(&self) -> &dyn Backend {
        self.catalog.as_ref()
    }

    /// Rows as they are now.
    pub(super) async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        let unchanged: Vec<Key> =
            keys.iter().filter(|key| !self.changed.contains_key(*key)).cloned().collect();
        let mut stored = self.catalog.get_many(&unchanged).await?.into_iter();
        let row = |key| match self.changed.get(key) {
            Some(changed) => changed.clone(),
            None => stored.next().flatten().map(|object| object.value),
        };
        Ok(keys.iter().map(row).collect())
    }

    /// Writes a row, or removes it.
    pub(super) fn set(&mut self, key: Key, value: Option<Bytes>) {
        self.bytes += key.as_bytes().len() + value.as_ref().map_or(0, Bytes::len);
        self.changed.insert(key, value);
    }

    /// Writes what waits, if it is much.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let profile = self.catalog.profile();
        let bytes_max = BYTES_MAX.min(profile.batch_bytes_max as usize / 2);
        if self.changed.len() >= ROWS_MAX.min(profile.batch_ops_max) || self.bytes >= bytes_max {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes all that waits.
    pub(super) async fn flush(&mut self) -> Result<()> {
        self.bytes = 0;
        let profile = self.catalog.profile();
        let (ops_max, bytes_max) = (profile.batch_ops_max, profile.batch_bytes_max as usize);
        let mut batch = Batch::new();
        let mut bytes = 0;
        for (key, value) in std::mem::take(&mut self.changed) {
            let more = key.as_bytes().len() + value.as_ref().map_or(0, Bytes::len);
            if !batch.is_empty() && (batch.len() == ops_max || bytes + more > bytes_max) {
                self.catalog.apply(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            bytes += more;
            match value {
                Some(value) => batch.put(key, value, Expect::Any),
                None => batch.delete(key, Expect::Any),
            };
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.catalog.apply(batch).await.map(drop)
    }
}
