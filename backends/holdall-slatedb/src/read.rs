//! Reading: what is durable, and of one moment where it is one answer.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use holdall_core::{
    ByteRange, Error, ErrorKind, Key, List, Object, Operation, Page, Result, Revision, Row,
};
use slatedb::config::{CloseOptions, DurabilityLevel, ReadOptions, ScanOptions};
use slatedb::{CloseReason, Db, DbIterator, DbReader, KeyValue};

use crate::{SlateDb, error};

/// When a page has this many bytes it ends, however few rows it has.
const PAGE_BYTES: usize = 32 << 20;
/// How many bytes a listing asks for at once.
const AHEAD_BYTES: usize = 256 << 10;
/// How many values of one call are on their way at the same time.
const CONCURRENCY: usize = 32;

/// The library, as a writer or as a reader.
#[derive(Clone)]
pub(crate) enum Engine {
    Writer(Db),
    Reader(Arc<DbReader>),
}

impl Engine {
    /// Ends the library's tasks, and writes nothing more.
    pub(crate) async fn close(self) {
        // What fails here fails after all was answered; nobody is left to be told.
        let _ = match self {
            Self::Writer(db) => {
                let options = CloseOptions::default().with_flush_type(None);
                db.close_with_options(options).await
            }
            Self::Reader(reader) => reader.close().await,
        };
    }

    async fn row(&self, key: &[u8]) -> Result<Option<KeyValue>, slatedb::Error> {
        let options = ReadOptions::default().with_durability_filter(DurabilityLevel::Remote);
        match self {
            Self::Writer(db) => db.get_key_value_with_options(key, &options).await,
            Self::Reader(reader) => reader.get_key_value_with_options(key, &options).await,
        }
    }

    /// An iterator over the rows of one moment. The bounds must leave room for a key.
    async fn scan(
        &self,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        ahead: usize,
    ) -> Result<DbIterator, slatedb::Error> {
        let options = ScanOptions::default()
            .with_durability_filter(DurabilityLevel::Remote)
            .with_read_ahead_bytes(ahead)
            .with_cache_blocks(true);
        match self {
            Self::Writer(db) => db.scan_with_options(bounds, &options).await,
            Self::Reader(reader) => reader.scan_with_options(bounds, &options).await,
        }
    }
}

impl SlateDb {
    /// Reads a value, or a range of it.
    pub(crate) async fn read(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        // Also a missing key has no range that ends before it starts.
        range.clip(0)?;
        let row = self.engine.row(key.as_bytes()).await;
        let row = row.map_err(|error| self.failed(Operation::Get, &error).with_key(key))?;
        let Some(row) = row else { return Ok(None) };
        let mut object = object(&row);
        let range = range.clip(object.size)?;
        object.value = object.value.slice(range.start as usize..range.end as usize);
        Ok(Some(object))
    }

    /// Reads many values, all of one moment.
    pub(crate) async fn read_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        let failed = |error| self.failed(Operation::Get, &error);
        // One at a time they are found by their filters, many at once. If meanwhile more has
        // become durable they may be of two moments, and are read again as a listing is.
        if let Engine::Writer(db) = &self.engine {
            let before = db.subscribe().borrow().durable_seq;
            let rows: Vec<_> = keys.iter().map(|key| self.engine.row(key.as_bytes())).collect();
            let rows = stream::iter(rows).buffered(CONCURRENCY).try_collect::<Vec<_>>().await;
            let rows = rows.map_err(failed)?;
            if db.subscribe().borrow().durable_seq == before {
                return Ok(rows.iter().map(|row| row.as_ref().map(object)).collect());
            }
        }
        let sorted: BTreeSet<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else {
            return Ok(Vec::new());
        };
        let bounds = (Bound::Included(*first), Bound::Included(*last));
        let mut rows = self.engine.scan(bounds, 1).await.map_err(failed)?;
        let mut found = std::collections::HashMap::with_capacity(sorted.len());
        // The row that was read last, which lies at or behind the key that was asked for.
        let mut row: Option<KeyValue> = None;
        for key in sorted {
            if row.as_ref().is_none_or(|row| &*row.key < key) {
                rows.seek(key).await.map_err(failed)?;
                row = rows.next().await.map_err(failed)?;
                if row.is_none() {
                    break;
                }
            }
            if let Some(row) = row.as_ref().filter(|row| row.key == key) {
                found.insert(key, object(row));
            }
        }
        Ok(keys.iter().map(|key| found.get(key.as_bytes()).cloned()).collect())
    }

    /// One page of rows.
    pub(crate) async fn page(&self, list: &List) -> Result<Page> {
        list.check()?;
        let failed = |error| self.failed(Operation::List, &error);
        let mut page = Page::default();
        let mut behind = list.prefix.clone().into_bytes();
        // No byte of UTF-8 is 255, so this is what lies right behind all that has the prefix.
        if let Some(last) = behind.last_mut() {
            *last += 1;
        }
        let upper = if behind.is_empty() { Bound::Unbounded } else { Bound::Excluded(&*behind) };
        let lower = list.lower_bound().map(str::as_bytes);
        if is_empty(lower, upper) {
            return Ok(page);
        }
        let mut rows = self.engine.scan((lower, upper), AHEAD_BYTES).await.map_err(failed)?;
        let mut bytes = 0;
        while let Some(row) = rows.next().await.map_err(failed)? {
            if page.rows.len() == list.limit || bytes >= PAGE_BYTES {
                page.more = true;
                break;
            }
            let text = std::str::from_utf8(&row.key).ok();
            let key = text.and_then(|text| Key::parse(text).ok()).ok_or_else(|| {
                let message = "a row of the store has a key that Holdall does not write; use a \
                               store of its own";
                Error::new(ErrorKind::Corrupt, Operation::List, message)
            })?;
            let size = row.value.len() as u64;
            bytes += row.key.len() + if list.values { row.value.len() } else { 0 };
            page.rows.push(Row { key, size, object: list.values.then(|| object(&row)) });
        }
        Ok(page)
    }

    /// Whether this handle is still of use.
    pub(crate) fn check_open(&self, operation: Operation) -> Result<()> {
        let reason = match &self.engine {
            Engine::Writer(db) => db.subscribe().borrow().close_reason,
            Engine::Reader(reader) => reader.subscribe().borrow().close_reason,
        };
        reason.map_or(Ok(()), |reason| Err(self.closed(operation, reason)))
    }

    pub(crate) fn closed(&self, operation: Operation, reason: CloseReason) -> Error {
        let error = slatedb::Error::closed("the store is closed".to_owned(), reason);
        self.failed(operation, &error)
    }

    /// What the tables in use are, for a person.
    pub(crate) fn tables(&self) -> String {
        let manifest = match &self.engine {
            Engine::Writer(db) => db.manifest(),
            Engine::Reader(reader) => reader.manifest(),
        };
        let logs = manifest.next_wal_sst_id().saturating_sub(manifest.replay_after_wal_id() + 1);
        let (new, runs) = (manifest.l0().len(), manifest.compacted().len());
        format!("{new} new tables, {runs} sorted runs and at least {logs} log files")
    }

    pub(crate) fn failed(&self, operation: Operation, error: &slatedb::Error) -> Error {
        error::slate(operation, error, &self.store.missing)
    }
}

fn object(row: &KeyValue) -> Object {
    Object {
        value: row.value.clone(),
        revision: Revision::number(row.seq),
        size: row.value.len() as u64,
    }
}

/// Whether no key lies within these bounds.
fn is_empty(lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> bool {
    match (lower, upper) {
        (Bound::Included(from), Bound::Excluded(to)) => from >= to,
        // Between a key and the same key with a zero byte behind it there is none.
        (Bound::Excluded(from), Bound::Excluded(to)) => {
            from >= to || to.strip_prefix(from) == Some(&[0])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_without_a_key_between_are_known() {
        use Bound::{Excluded, Included, Unbounded};
        let keys: [&[u8]; 4] = [b"a", b"a\0", b"b", b""];
        let [a, a0, b, none] = keys;
        for (lower, upper, empty) in [
            (Included(a), Excluded(b), false),
            (Included(b), Excluded(b), true),
            (Included(b), Excluded(a), true),
            (Excluded(a), Excluded(b), false),
            (Excluded(a), Excluded(a0), true),
            (Excluded(a0), Excluded(a), true),
            (Included(none), Unbounded, false),
            (Excluded(b), Unbounded, false),
        ] {
            assert_eq!(is_empty(lower, upper), empty, "{lower:?} {upper:?}");
        }
    }
}
