//! Reading: in the caller's thread, because the rows are in memory or one page fault away.

use std::ops::Bound;

use holdall_core::{
    ByteRange, Bytes, KEY_BYTES_MAX, Key, List, Object, Operation, Page, Result, Revision, Row,
};

use crate::error;
use crate::row;
use crate::store::Store;

/// When a page with values has this many bytes it ends, however few rows it has.
const PAGE_BYTES: usize = 32 << 20;

impl Store {
    /// Reads a value, or a range of it.
    pub(crate) fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        const OPERATION: Operation = Operation::Get;
        let txn = self.read(OPERATION)?;
        let found = self.rows.get(&txn, key.as_bytes());
        let Some(found) = found.map_err(|source| error::lmdb(OPERATION, source))? else {
            // Also a missing key has no range that ends before it starts.
            return range.clip(0).map(|_| None);
        };
        let (revision, value) =
            row::split(OPERATION, found).map_err(|error| error.with_key(key))?;
        let size = value.len() as u64;
        let range = range.clip(size)?;
        let part = value.get(range.start as usize..range.end as usize).unwrap_or_default();
        Ok(Some(Object {
            value: Bytes::copy_from_slice(part),
            revision: Revision::number(revision),
            size,
        }))
    }

    /// Reads many values, all of one moment.
    pub(crate) fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        const OPERATION: Operation = Operation::Get;
        let txn = self.read(OPERATION)?;
        let mut objects = Vec::with_capacity(keys.len());
        for key in keys {
            let found = self.rows.get(&txn, key.as_bytes());
            let found = found.map_err(|source| error::lmdb(OPERATION, source))?;
            let Some(found) = found else {
                objects.push(None);
                continue;
            };
            let (revision, value) =
                row::split(OPERATION, found).map_err(|error| error.with_key(key))?;
            objects.push(Some(Object {
                value: Bytes::copy_from_slice(value),
                revision: Revision::number(revision),
                size: value.len() as u64,
            }));
        }
        Ok(objects)
    }

    /// One page of rows.
    ///
    /// The values of a page lie in one buffer that its rows share, so a caller who keeps one small
    /// value for long should copy it.
    pub(crate) fn list(&self, list: &List) -> Result<Page> {
        const OPERATION: Operation = Operation::List;
        list.check()?;
        let failed = |source| error::lmdb(OPERATION, source);
        let txn = self.read(OPERATION)?;
        let range = (lower_bound(list), Bound::Unbounded);
        let mut page = Page::default();
        let mut buffer = Vec::new();
        let mut revisions = Vec::new();
        for found in self.rows.range(&txn, &range).map_err(failed)? {
            let (key, found) = found.map_err(failed)?;
            if !key.starts_with(list.prefix.as_bytes()) || row::is_internal(key) {
                break;
            }
            if page.rows.len() == list.limit || buffer.len() >= PAGE_BYTES {
                page.more = true;
                break;
            }
            let key = row::key(OPERATION, key)?;
            let (revision, value) =
                row::split(OPERATION, found).map_err(|error| error.with_key(&key))?;
            if list.values {
                buffer.extend_from_slice(value);
                revisions.push(revision);
            }
            let size = value.len() as u64;
            page.rows.push(Row { key, size, object: None });
        }
        let mut rest = Bytes::from(buffer);
        for (row, revision) in page.rows.iter_mut().zip(revisions) {
            row.object = Some(Object {
                value: rest.split_to(row.size as usize),
                revision: Revision::number(revision),
                size: row.size,
            });
        }
        Ok(page)
    }
}

/// Where the cursor is set. LMDB takes neither an empty key nor one that is too long.
fn lower_bound(list: &List) -> Bound<&[u8]> {
    let bound = list.lower_bound().map(str::as_bytes);
    match bound {
        Bound::Included(b"") | Bound::Excluded(b"") | Bound::Unbounded => Bound::Unbounded,
        Bound::Included(key) | Bound::Excluded(key) => match key.get(..KEY_BYTES_MAX) {
            // A key that fits and is not before the bound is behind the part of it that fits.
            Some(part) if part.len() < key.len() => Bound::Excluded(part),
            _ => bound,
        },
    }
}
