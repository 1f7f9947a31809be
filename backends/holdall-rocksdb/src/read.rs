//! Reading: each answer is of one moment.
//!
//! ```text
//!   in the caller's thread    what is in memory: write buffers, cached blocks
//!   where it may block        the rest, once the first has said that something is not in memory
//! ```

use std::ops::{Bound, Range};

use holdall_core::{ByteRange, Bytes, Key, List, Object, Operation, Page, Revision, Row};
use rocksdb::{ReadOptions, ReadTier};

use crate::error::Failure;
use crate::layout::{self, Head, PART_BYTES};
use crate::store::Store;

/// When a page has this many bytes it ends, however few rows it has.
const PAGE_BYTES: usize = 32 << 20;

/// How far to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Only in memory; what is not there is [`Failure::Cold`].
    Memory,
    /// In memory and on the disk.
    Disk,
}

impl Depth {
    fn options(self) -> ReadOptions {
        let mut options = ReadOptions::default();
        if self == Self::Memory {
            options.set_read_tier(ReadTier::BlockCache);
        }
        options
    }
}

impl Store {
    /// Reads a value, or a range of it.
    pub(crate) fn get(
        &self,
        key: &Key,
        range: ByteRange,
        depth: Depth,
    ) -> Result<Option<Object>, Failure> {
        const OPERATION: Operation = Operation::Get;
        let mut options = depth.options();
        // A row and its parts are of one moment. A value in its row needs no such care.
        let moment = (depth == Depth::Disk).then(|| self.db.snapshot());
        if let Some(moment) = &moment {
            options.set_snapshot(moment);
        }
        let Some(row) = self.db.get_pinned_cf_opt(self.rows()?, key.as_bytes(), &options)? else {
            // Also a missing key has no range that ends before it starts.
            return Ok(range.clip(0).map(|_| None)?);
        };
        let (head, value) = layout::split(OPERATION, &row)?;
        let range = range.clip(head.size)?;
        let value = if head.step.is_some() {
            let mut buffer = Vec::with_capacity((range.end - range.start) as usize);
            self.read_parts(OPERATION, &head, range, (depth, &options), &mut buffer)?;
            Bytes::from(buffer)
        } else {
            let part = value.get(range.start as usize..range.end as usize);
            Bytes::copy_from_slice(part.unwrap_or_default())
        };
        Ok(Some(Object { value, revision: Revision::number(head.revision), size: head.size }))
    }

    /// Reads many values, all of one moment.
    pub(crate) fn get_many(
        &self,
        keys: &[Key],
        depth: Depth,
    ) -> Result<Vec<Option<Object>>, Failure> {
        const OPERATION: Operation = Operation::Get;
        let mut options = depth.options();
        let moment = self.db.snapshot();
        options.set_snapshot(&moment);
        let (family, names) = (self.rows()?, keys.iter().map(Key::as_bytes));
        let rows: Vec<_> = match depth {
            // Asked for many at once, RocksDB reads from the disk though it is told not to.
            Depth::Memory => {
                names.map(|name| self.db.get_pinned_cf_opt(family, name, &options)).collect()
            }
            Depth::Disk => self.db.batched_multi_get_cf_opt(family, names, false, &options),
        };
        let mut objects = Vec::with_capacity(keys.len());
        for (key, row) in keys.iter().zip(rows) {
            let Some(row) = row? else {
                objects.push(None);
                continue;
            };
            let split = layout::split(OPERATION, &row);
            let (head, value) = split.map_err(|error| error.with_key(key))?;
            let mut buffer = Vec::with_capacity(head.size as usize);
            buffer.extend_from_slice(value);
            self.read_parts(OPERATION, &head, 0..head.size, (depth, &options), &mut buffer)?;
            objects.push(Some(Object {
                value: Bytes::from(buffer),
                revision: Revision::number(head.revision),
                size: head.size,
            }));
        }
        Ok(objects)
    }

    /// One page of rows.
    ///
    /// The values of a page lie in one buffer that its rows share, so a caller who keeps one small
    /// value for long should copy it.
    pub(crate) fn list(&self, list: &List, depth: Depth) -> Result<Page, Failure> {
        const OPERATION: Operation = Operation::List;
        list.check()?;
        let moment = self.db.snapshot();
        let in_moment = || {
            let mut options = depth.options();
            options.set_snapshot(&moment);
            options
        };
        let part_options = in_moment();
        let mut options = in_moment();
        options.set_iterate_upper_bound(layout::prefix_end(&list.prefix));
        let mut cursor = self.db.raw_iterator_cf_opt(self.rows()?, options);
        let (start, included) = match list.lower_bound() {
            Bound::Included(start) => (start, true),
            Bound::Excluded(start) => (start, false),
            Bound::Unbounded => ("", true),
        };
        cursor.seek(start);
        if !included && cursor.key() == Some(start.as_bytes()) {
            cursor.next();
        }
        let mut page = Page::default();
        let (mut buffer, mut revisions, mut key_bytes) = (Vec::new(), Vec::new(), 0);
        while let Some((key, row)) = cursor.item() {
            if page.rows.len() == list.limit || buffer.len() + key_bytes >= PAGE_BYTES {
                page.more = true;
                break;
            }
            let key = layout::key(OPERATION, key)?;
            let split = layout::split(OPERATION, row);
            let (head, value) = split.map_err(|error| error.with_key(&key))?;
            key_bytes += key.as_bytes().len();
            if list.values {
                buffer.extend_from_slice(value);
                let whole = 0..head.size;
                self.read_parts(OPERATION, &head, whole, (depth, &part_options), &mut buffer)?;
                revisions.push(head.revision);
            }
            page.rows.push(Row { key, size: head.size, object: None });
            cursor.next();
        }
        // A cursor that has ended has come to the end, or could not go on.
        cursor.status()?;
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

    /// Adds a range of a value to the buffer, if the value is in parts. Parts are never cached.
    fn read_parts(
        &self,
        operation: Operation,
        head: &Head,
        range: Range<u64>,
        (depth, options): (Depth, &ReadOptions),
        buffer: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        for (number, key) in head.parts(range.clone()) {
            if depth == Depth::Memory {
                return Err(Failure::Cold);
            }
            // One by one: the allocator gives the room of many back to the system, and is slow to
            // get it again.
            let data = self.db.get_pinned_cf_opt(self.parts()?, key, options)?;
            let data = data.ok_or_else(|| layout::damaged(operation))?;
            let start = u64::from(number) * PART_BYTES as u64;
            if data.len() as u64 != (head.size - start).min(PART_BYTES as u64) {
                return Err(layout::damaged(operation).into());
            }
            let from = range.start.saturating_sub(start) as usize;
            let to = (range.end - start).min(data.len() as u64) as usize;
            buffer.extend_from_slice(data.get(from..to).unwrap_or_default());
        }
        Ok(())
    }
}
