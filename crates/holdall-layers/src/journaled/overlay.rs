//! The rows that are durable in the journal and not yet in the inner backend.
//!
//! Two generations: the active one, which takes writes, and the one being flushed, which is
//! frozen. One generation is one journal file. Values are slices of the records as they were
//! written, so a generation's memory is that of its file, plus the maps.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{Key, List};

use super::format::{self, PlacedRow};

/// What the maps need for a row, about: two handles on the key, the slice, and the maps' slack.
const ROW_BYTES: usize = 160;

/// A stored value (its revision in front), or `None` for a deleted key.
pub(crate) type Stored = Option<Bytes>;

/// The rows of one journal file: hashed for lookups, ordered for listings and flushes.
#[derive(Debug, Default)]
pub(crate) struct Generation {
    number: u64,
    rows: HashMap<Key, Stored>,
    order: BTreeSet<Key>,
    bytes: usize,
}

impl Generation {
    /// An empty one.
    pub(crate) fn new(number: u64) -> Self {
        Self { number, ..Self::default() }
    }

    /// The number of its journal file.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// How much memory it uses, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many keys it has rows for.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes the rows of one record.
    pub(crate) fn insert(&mut self, record: &Bytes, rows: Vec<PlacedRow>) {
        // What a row replaces stays in memory with its record, so nothing is taken off.
        self.bytes += record.len();
        for PlacedRow { key, stored } in rows {
            let stored = stored.map(|at| record.slice(at));
            if self.rows.insert(key.clone(), stored).is_none() {
                self.bytes += ROW_BYTES + key.as_bytes().len();
                self.order.insert(key);
            }
        }
    }

    /// All rows in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &Stored)> {
        self.from(Bound::Unbounded)
    }

    fn from<'a>(&'a self, start: Bound<&str>) -> impl Iterator<Item = (&'a Key, &'a Stored)> {
        let keys = self.order.range::<str, _>((start, Bound::Unbounded));
        keys.filter_map(|key| self.rows.get_key_value(key))
    }
}

/// Both generations.
#[derive(Debug)]
pub(crate) struct Overlay {
    active: Generation,
    flushing: Option<Arc<Generation>>,
    applied: u64,
}

impl Overlay {
    /// `applied` is the highest generation that the inner backend has.
    pub(crate) fn new(active: Generation, flushing: Option<Arc<Generation>>, applied: u64) -> Self {
        Self { active, flushing, applied }
    }

    /// What the overlay knows of a key, if anything.
    pub(crate) fn find(&self, key: &Key) -> Option<&Stored> {
        let flushing = || self.flushing.as_ref().and_then(|rows| rows.rows.get(key));
        if self.active.is_empty() {
            return flushing();
        }
        self.active.rows.get(key).or_else(flushing)
    }

    /// The revision of a key, if the overlay knows the key.
    pub(crate) fn revision(&self, key: &Key) -> Option<Option<u64>> {
        let stored = self.find(key)?.as_ref();
        Some(stored.and_then(|stored| format::split_stored(stored)).map(|(revision, _)| revision))
    }

    /// The generation that takes writes.
    pub(crate) fn active(&self) -> &Generation {
        &self.active
    }

    /// The generation that takes writes, to add to it.
    pub(crate) fn active_mut(&mut self) -> &mut Generation {
        &mut self.active
    }

    /// The generation being flushed.
    pub(crate) fn flushing(&self) -> Option<&Arc<Generation>> {
        self.flushing.as_ref()
    }

    /// The highest generation that the inner backend has and the overlay no longer.
    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    /// Freezes the active generation and begins the next. The caller made sure that none is
    /// being flushed.
    pub(crate) fn rotate(&mut self) -> Arc<Generation> {
        let next = Generation::new(self.active.number + 1);
        let frozen = Arc::new(std::mem::replace(&mut self.active, next));
        self.flushing = Some(Arc::clone(&frozen));
        frozen
    }

    /// Lets go of the generation being flushed: the inner backend has it now.
    pub(crate) fn retire(&mut self) {
        if let Some(flushed) = self.flushing.take() {
            self.applied = flushed.number;
        }
    }

    /// The first rows that a listing could show or must hide, up to `limit` of them, and whether
    /// there are more.
    pub(crate) fn window(&self, list: &List, limit: usize) -> Window {
        let mut window = Window::default();
        let mut new = self.active.from(list.lower_bound()).peekable();
        let mut old =
            self.flushing.iter().flat_map(|rows| rows.from(list.lower_bound())).peekable();
        loop {
            let take_new = match (new.peek(), old.peek()) {
                (None, None) => return window,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some((a, _)), Some((b, _))) => {
                    if a == b {
                        old.next();
                        continue;
                    }
                    a < b
                }
            };
            let row = if take_new { new.next() } else { old.next() };
            let Some((key, stored)) = row.filter(|(key, _)| key.as_str().starts_with(&list.prefix))
            else {
                return window;
            };
            if window.rows.len() == limit {
                window.more = true;
                return window;
            }
            window.rows.push((key.clone(), stored.clone()));
        }
    }
}

/// Rows of the overlay for one page.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pub(crate) rows: Vec<(Key, Stored)>,
    pub(crate) more: bool,
}
