//! Listing keys in order, from services of which not all list in order.

use std::collections::BinaryHeap;
use std::ops::Bound;
use std::sync::atomic::Ordering;

use futures::{StreamExt, TryStreamExt, future, stream};
use holdall_core::{ByteRange, Key, List, Operation, Page, Result, Row};
use opendal::options::ListOptions;
use opendal::{Entry, Lister};

use crate::OpenDal;
use crate::error::{is_absent, reading};
use crate::head::HEAD_BYTES;
use crate::names;

/// When a page with values has this many bytes it ends, however few rows it has.
const PAGE_BYTES: u64 = 32 << 20;

/// A key and the size of its value, if the service lists sizes.
type Place = (Key, Option<u64>);

impl OpenDal {
    pub(crate) async fn page(&self, list: &List) -> Result<Page> {
        list.check()?;
        let mut list = list.clone();
        loop {
            let (places, mut more) = self.places(&list).await?;
            let mut last = places.last().map(|(key, _)| key.clone());
            let mut places = self.sized(places).await?;
            if list.values && places.len() > fits(&places) {
                places.truncate(fits(&places));
                last = places.last().map(|(key, _)| key.clone());
                more = true;
            }
            let rows = self.rows(places, list.values).await?;
            match last {
                // All that was listed has gone meanwhile.
                Some(last) if rows.is_empty() && more => list = list.after(last.as_str()),
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
        let more = places.len() > list.limit;
        places.truncate(list.limit);
        Ok((places, more))
    }

    /// These places with their sizes, which are in the heads where the service lists none; without
    /// those that are gone.
    async fn sized(&self, places: Vec<Place>) -> Result<Vec<(Key, u64)>> {
        let sized = async |(key, size): Place| {
            if let Some(size) = size {
                return Ok(Some((key, size)));
            }
            let seen = self.head(Operation::List, &names::path(key.as_str())).await;
            let seen = seen.map_err(|error| error.with_key(&key))?;
            Ok::<_, holdall_core::Error>(seen.map(|seen| (key, seen.head.size)))
        };
        let sized = stream::iter(places).map(sized).buffered(self.options.concurrency);
        sized.try_filter_map(future::ok).try_collect().await
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
            Err(error) if is_absent(&error) => Ok(Listed(None)),
            Err(error) => Err(reading(Operation::List, &error)),
        }
    }

    /// The rows of these places, without those that are gone.
    async fn rows(&self, places: Vec<(Key, u64)>, values: bool) -> Result<Vec<Row>> {
        let row = async |(key, size): (Key, u64)| {
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
            Some(Err(error)) if first && is_absent(&error) => Ok(None),
            Some(Err(error)) => Err(reading(Operation::List, &error)),
            None => Ok(None),
        }
    }
}

/// How many of these places' values a page takes; at least one.
fn fits(places: &[(Key, u64)]) -> usize {
    let mut bytes = 0_u64;
    let fits = places.iter().take_while(|(_, size)| {
        bytes = bytes.saturating_add(*size);
        bytes <= PAGE_BYTES
    });
    fits.count().max(1)
}

fn place(entry: &Entry) -> Option<Place> {
    let key = names::key(entry.path())?;
    // A value has a head, so that no bytes mean that the service does not say.
    let stored = Some(entry.metadata().content_length()).filter(|bytes| *bytes > 0);
    Some((key, stored.map(|bytes| bytes.saturating_sub(HEAD_BYTES))))
}
