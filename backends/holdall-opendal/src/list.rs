//! Listing keys in order, from services of which not all list in order.

use std::collections::BinaryHeap;
use std::ops::Bound;
use std::sync::atomic::Ordering;

use futures::{StreamExt, TryStreamExt, future, stream};
use holdall_core::{ByteRange, Key, List, Operation, Page, Result, Row};
use opendal::options::ListOptions;
use opendal::{Entry, ErrorKind as Cause, Lister};

use crate::OpenDal;
use crate::error::reading;
use crate::head::HEAD_BYTES;
use crate::names;

/// When a page with values has this many bytes it ends, however few rows it has.
const PAGE_BYTES: u64 = 32 << 20;

/// A key and the size of its value.
type Place = (Key, u64);

impl OpenDal {
    pub(crate) async fn page(&self, list: &List) -> Result<Page> {
        list.check()?;
        let mut list = list.clone();
        loop {
            let (places, more) = self.places(&list).await?;
            let last = places.last().map(|(key, _)| key.as_str().to_owned());
            let rows = self.rows(places, list.values).await?;
            match last {
                // All that was listed has gone meanwhile.
                Some(last) if rows.is_empty() && more => list = list.after(last),
                _ => return Ok(Page { rows, more }),
            }
        }
    }

    /// The places of one page, and whether there are others behind.
    async fn places(&self, list: &List) -> Result<(Vec<Place>, bool)> {
        let mut places = match self.read_ordered(list).await? {
            Some(places) => places,
            None => self.read_all(list).await?,
        };
        let mut more = places.len() > list.limit;
        places.truncate(list.limit);
        if list.values {
            let mut bytes = 0_u64;
            let fits = places.iter().take_while(|(_, size)| {
                bytes = bytes.saturating_add(*size);
                bytes <= PAGE_BYTES
            });
            let fits = fits.count().max(1);
            more |= fits < places.len();
            places.truncate(fits);
        }
        Ok((places, more))
    }

    /// From the listing's start on, until the page is full; `None` if the service does not list in
    /// order.
    async fn read_ordered(&self, list: &List) -> Result<Option<Vec<Place>>> {
        if !self.ordered.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut places: Vec<Place> = Vec::new();
        let mut listed = self.listed(list, true).await?;
        let mut before = String::new();
        while places.len() <= list.limit
            && let Some(entry) = listed.next().await?
        {
            if entry.path() < before.as_str() {
                self.ordered.store(false, Ordering::Relaxed);
                return Ok(None);
            }
            entry.path().clone_into(&mut before);
            places.extend(place(&entry).filter(|(key, _)| list.contains(key.as_str())));
        }
        Ok(Some(places))
    }

    /// All names, of which the smallest are kept: the memory is that of a page.
    async fn read_all(&self, list: &List) -> Result<Vec<Place>> {
        let mut smallest = BinaryHeap::new();
        let mut listed = self.listed(list, false).await?;
        while let Some(entry) = listed.next().await? {
            let found = place(&entry).filter(|(key, _)| list.contains(key.as_str()));
            smallest.extend(found);
            if smallest.len() > list.limit.saturating_add(1) {
                smallest.pop();
            }
        }
        Ok(smallest.into_sorted_vec())
    }

    async fn listed(&self, list: &List, from_start: bool) -> Result<Listed> {
        let start = match list.lower_bound() {
            Bound::Excluded(start) if from_start => Some(names::path(start)),
            _ => None,
        };
        let able = self.operator.info().capability().list_with_start_after;
        let start_after = start.filter(|_| able);
        let options = ListOptions { recursive: true, start_after, ..ListOptions::default() };
        match self.operator.lister_options(&names::path(&list.prefix), options).await {
            Ok(lister) => Ok(Listed(Some((lister, true)))),
            Err(error) if error.kind() == Cause::NotFound => Ok(Listed(None)),
            Err(error) => Err(reading(Operation::List, &error)),
        }
    }

    /// The rows of these places, without those that are gone.
    async fn rows(&self, places: Vec<Place>, values: bool) -> Result<Vec<Row>> {
        let row = async |(key, size): Place| {
            if !values {
                return Ok(Some(Row { key, size, object: None }));
            }
            let object = self.read(&key, ByteRange::ALL).await?;
            Ok::<_, holdall_core::Error>(object.map(|object| Row {
                key,
                size: object.size,
                object: Some(object),
            }))
        };
        let rows = stream::iter(places).map(row).buffered(self.options.concurrency);
        rows.try_filter_map(future::ok).try_collect().await
    }
}

/// A listing, and whether it is at its beginning.
struct Listed(Option<(Lister, bool)>);

impl Listed {
    /// The next entry. Services that keep folders say that there is none where there is no key.
    async fn next(&mut self) -> Result<Option<Entry>> {
        let Some((lister, first)) = &mut self.0 else { return Ok(None) };
        let first = std::mem::take(first);
        match lister.next().await {
            Some(Ok(entry)) => Ok(Some(entry)),
            Some(Err(error)) if first && error.kind() == Cause::NotFound => Ok(None),
            Some(Err(error)) => Err(reading(Operation::List, &error)),
            None => Ok(None),
        }
    }
}

fn place(entry: &Entry) -> Option<Place> {
    let key = names::key(entry.path())?;
    Some((key, entry.metadata().content_length().saturating_sub(HEAD_BYTES)))
}
