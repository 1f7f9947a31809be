//! Listing keys in order, from stores that list up to two kinds of names, and not always in order.

use std::collections::BinaryHeap;
use std::sync::atomic::Ordering;

use futures::{StreamExt, TryStreamExt, future, stream};
use holdall_core::{ByteRange, Key, List, Operation, Page, Result, Row};

use crate::ObjectBackend;
use crate::names::Area;
use crate::revision::MARK_BYTES;

/// When a page with values has this many bytes it ends, however few rows it has.
const PAGE_BYTES: u64 = 32 << 20;

/// A key and the size of its value.
type Entry = (Key, u64);

/// What reading one area in the store's order gave.
enum Read {
    /// The smallest entries, one more than the page needs if there are so many.
    Entries(Vec<Entry>),
    /// The store does not list in order.
    Unordered,
}

impl ObjectBackend {
    pub(crate) async fn page(&self, list: &List) -> Result<Page> {
        list.check()?;
        let mut list = list.clone();
        loop {
            let (entries, more) = self.entries(&list).await?;
            let last = entries.last().map(|(key, _)| key.as_str().to_owned());
            let rows = self.rows(entries, list.values).await?;
            match last {
                // All that was listed has gone meanwhile, or was marks.
                Some(last) if rows.is_empty() && more => list = list.after(last),
                _ => return Ok(Page { rows, more }),
            }
        }
    }

    /// The entries of one page, and whether there are others behind.
    async fn entries(&self, list: &List) -> Result<(Vec<Entry>, bool)> {
        let areas = self.names.areas().iter().map(|area| self.area(*area, list));
        let mut entries = future::try_join_all(areas).await?.concat();
        entries.sort();
        let mut more = entries.len() > list.limit;
        entries.truncate(list.limit);
        if list.values {
            let mut bytes = 0_u64;
            let fits = entries.iter().take_while(|(_, size)| {
                bytes = bytes.saturating_add(*size);
                bytes <= PAGE_BYTES
            });
            let fits = fits.count().max(1);
            more |= fits < entries.len();
            entries.truncate(fits);
        }
        Ok((entries, more))
    }

    async fn area(&self, area: Area, list: &List) -> Result<Vec<Entry>> {
        if self.ordered.load(Ordering::Relaxed) {
            match self.read_ordered(area, list).await? {
                Read::Entries(entries) => return Ok(entries),
                Read::Unordered => self.ordered.store(false, Ordering::Relaxed),
            }
        }
        self.read_all(area, list).await
    }

    /// From the listing's start on, until the page is full.
    async fn read_ordered(&self, area: Area, list: &List) -> Result<Read> {
        let mut entries = Vec::new();
        let Some(scan) = self.names.scan(area, list) else { return Ok(Read::Entries(entries)) };
        let mut names = match &scan.offset {
            Some(offset) => self.reads.list_with_offset(scan.folder.as_ref(), offset),
            None => self.reads.list(scan.folder.as_ref()),
        };
        let mut before = String::new();
        while entries.len() <= list.limit
            && let Some(meta) = names.next().await
        {
            let meta = meta.map_err(|error| self.failed_reading(Operation::List, error))?;
            if meta.location.as_ref() < before.as_str() {
                return Ok(Read::Unordered);
            }
            meta.location.as_ref().clone_into(&mut before);
            let Some(key) = self.names.key(area, &meta.location) else { continue };
            if list.contains(key.as_str()) {
                entries.push((key, meta.size));
            } else if key.as_str() > list.prefix.as_str() && !key.as_str().starts_with(&list.prefix)
            {
                break;
            }
        }
        Ok(Read::Entries(entries))
    }

    /// All names of the folder, of which the smallest are kept: the memory is that of a page.
    async fn read_all(&self, area: Area, list: &List) -> Result<Vec<Entry>> {
        let Some(scan) = self.names.scan(area, list) else { return Ok(Vec::new()) };
        let mut names = self.reads.list(scan.folder.as_ref());
        let mut smallest = BinaryHeap::new();
        while let Some(meta) = names.next().await {
            let meta = meta.map_err(|error| self.failed_reading(Operation::List, error))?;
            let key = self.names.key(area, &meta.location);
            let Some(key) = key.filter(|key| list.contains(key.as_str())) else { continue };
            smallest.push((key, meta.size));
            if smallest.len() > list.limit.saturating_add(1) {
                smallest.pop();
            }
        }
        Ok(smallest.into_sorted_vec())
    }

    /// The rows of these entries, without those that are gone or marks.
    async fn rows(&self, entries: Vec<Entry>, values: bool) -> Result<Vec<Row>> {
        let row = async |(key, size): Entry| {
            // Only a value of a mark's size can be one.
            if !values && size != MARK_BYTES as u64 {
                return Ok(Some(Row { key, size, object: None }));
            }
            let object = self.read(&key, ByteRange::ALL).await?;
            Ok::<_, holdall_core::Error>(object.map(|object| Row {
                key,
                size: object.size,
                object: values.then_some(object),
            }))
        };
        let rows = stream::iter(entries).map(row).buffered(self.options.concurrency);
        rows.try_filter_map(future::ok).try_collect().await
    }
}
