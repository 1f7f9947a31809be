//! Reading: the overlay first, then the inner backend, as of one moment.
//!
//! The overlay is asked before the inner backend. What it does not have is in the inner backend
//! already, and stays there unchanged until the flush of the generation that was active begins.
//! So an answer made of both is of one moment if that generation is still the active one at the
//! end; if not, it is made again. A single key needs no such care: whatever the inner backend
//! answers was the newest at some time during the call.

use std::ops::Bound;

use bytes::Bytes;
use holdall_core::{ByteRange, Error, Key, List, Object, Operation, Page, Result, Revision, Row};

use super::format::{self, REVISION_BYTES};
use super::overlay::{Stored, Window};
use super::{Journaled, MARKER_KEY};

/// Values up to this size are copied out of the overlay, so that a caller who keeps one does not
/// keep the record of a whole group of writes in memory.
const COPY_BYTES_MAX: usize = 64 << 10;

impl Journaled {
    pub(super) async fn read_one(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        // A wrong range is refused for missing keys too.
        range.clip(0)?;
        let known = self.shared.overlay().find(key).cloned();
        if let Some(stored) = known {
            return stored.map(|stored| from_overlay(key, &stored, range)).transpose();
        }
        if key.as_str() == MARKER_KEY {
            return Ok(None);
        }
        // The revision lies in front of the value, so everything up to the range's end is read.
        let front = REVISION_BYTES as u64;
        let whole = ByteRange { start: 0, end: range.end.map(|end| end.saturating_add(front)) };
        let object = self.shared.inner.get(key, whole).await?;
        object.map(|object| from_inner(key, object, range)).transpose()
    }

    pub(super) async fn read_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        loop {
            let (generation, known) = {
                let overlay = self.shared.overlay();
                let known: Vec<Option<Stored>> =
                    keys.iter().map(|key| self.known(overlay.find(key), key)).collect();
                (overlay.active().number(), known)
            };
            let ask = keys.iter().zip(&known).filter(|(_, known)| known.is_none());
            let ask: Vec<Key> = ask.map(|(key, _)| key.clone()).collect();
            let mut found = Vec::new();
            if !ask.is_empty() {
                found = self.shared.inner.get_many(&ask).await?;
                if self.shared.overlay().active().number() != generation {
                    continue;
                }
            }
            let mut found = found.into_iter();
            let object = |(key, known): (&Key, Option<Stored>)| match known {
                Some(stored) => {
                    stored.map(|stored| from_overlay(key, &stored, ByteRange::ALL)).transpose()
                }
                None => {
                    let object = found.next().flatten();
                    object.map(|object| from_inner(key, object, ByteRange::ALL)).transpose()
                }
            };
            return keys.iter().zip(known).map(object).collect();
        }
    }

    /// The marker's key is known to have no value.
    fn known(&self, found: Option<&Stored>, key: &Key) -> Option<Stored> {
        found.cloned().or_else(|| (key.as_str() == MARKER_KEY).then_some(None))
    }

    pub(super) async fn read_page(&self, list: &List) -> Result<Page> {
        list.check()?;
        let mut list = list.clone();
        loop {
            let limit = list.limit.saturating_add(1);
            let (generation, window) = {
                let overlay = self.shared.overlay();
                (overlay.active().number(), overlay.window(&list, limit))
            };
            let inner = List { limit, ..list.clone() };
            let page = self.shared.inner.list(&inner).await?;
            if self.shared.overlay().active().number() != generation {
                continue;
            }
            let (page, end) = merge(&list, window, page)?;
            match end {
                // Everything in sight was deleted: look further.
                Some(end) if page.rows.is_empty() => list.start = Bound::Excluded(end),
                _ => return Ok(page),
            }
        }
    }
}

/// Merges both sides as far as both are known. The second part is where that ends, if there may be
/// rows behind it.
fn merge(list: &List, window: Window, inner: Page) -> Result<(Page, Option<String>)> {
    let end =
        |last: Option<&Key>, more: bool| last.filter(|_| more).map(|key| key.as_str().to_owned());
    let known = [
        end(window.rows.last().map(|(key, _)| key), window.more),
        end(inner.rows.last().map(|row| &row.key), inner.more),
    ];
    let end = known.into_iter().flatten().min();
    let within = |key: &Key| end.as_deref().is_none_or(|end| key.as_str() <= end);
    let mut rows = Vec::with_capacity(inner.rows.len().min(list.limit));
    let mut overlay = window.rows.into_iter().filter(|(key, _)| within(key)).peekable();
    let inner = inner.rows.into_iter().filter(|row| within(&row.key));
    for row in inner.filter(|row| row.key.as_str() != MARKER_KEY) {
        while let Some((key, stored)) = overlay.next_if(|(key, _)| *key < row.key) {
            rows.extend(overlay_row(list, key, stored)?);
        }
        if let Some((key, stored)) = overlay.next_if(|(key, _)| *key == row.key) {
            rows.extend(overlay_row(list, key, stored)?);
        } else {
            rows.push(inner_row(row)?);
        }
    }
    for (key, stored) in overlay {
        rows.extend(overlay_row(list, key, stored)?);
    }
    let more = end.is_some() || rows.len() > list.limit;
    rows.truncate(list.limit);
    Ok((Page { rows, more }, end))
}

fn overlay_row(list: &List, key: Key, stored: Stored) -> Result<Option<Row>> {
    let Some(stored) = stored else {
        return Ok(None);
    };
    let size = (stored.len() - REVISION_BYTES) as u64;
    let object = list.values.then(|| from_overlay(&key, &stored, ByteRange::ALL)).transpose()?;
    Ok(Some(Row { key, size, object }))
}

fn inner_row(row: Row) -> Result<Row> {
    let Row { key, size, object } = row;
    let size = size.checked_sub(REVISION_BYTES as u64).ok_or_else(|| no_revision(&key))?;
    let object = object.map(|object| from_inner(&key, object, ByteRange::ALL)).transpose()?;
    Ok(Row { key, size, object })
}

fn from_overlay(key: &Key, stored: &Bytes, range: ByteRange) -> Result<Object> {
    let (revision, value) = format::split_stored(stored).ok_or_else(|| no_revision(key))?;
    let size = value.len() as u64;
    let range = range.clip(size)?;
    let (start, end) = (range.start as usize, range.end as usize);
    let value = if end - start <= COPY_BYTES_MAX {
        Bytes::copy_from_slice(&value[start..end])
    } else {
        stored.slice(REVISION_BYTES + start..REVISION_BYTES + end)
    };
    Ok(Object { value, revision: Revision::number(revision), size })
}

/// Takes the revision off a value that was read from its beginning up to the range's end.
fn from_inner(key: &Key, object: Object, range: ByteRange) -> Result<Object> {
    let (revision, _) = format::split_stored(&object.value).ok_or_else(|| no_revision(key))?;
    let front = REVISION_BYTES as u64;
    let size = object.size.checked_sub(front).ok_or_else(|| no_revision(key))?;
    let range = range.clip(size)?;
    let range = (range.start + front) as usize..(range.end + front) as usize;
    if range.end > object.value.len() {
        let message = "the engine returned less of a value than it said; verify the store";
        return Err(Error::corrupt(Operation::Get, message).with_key(key));
    }
    Ok(Object { value: object.value.slice(range), revision: Revision::number(revision), size })
}

/// A row of the inner backend that this layer did not write.
pub(super) fn no_revision(key: &Key) -> Error {
    let message = "a stored value is too short to hold its revision; verify the store";
    Error::corrupt(Operation::Get, message).with_key(key)
}
