//! What reads ask for and what they return.

use std::ops::Bound;

use bytes::Bytes;

use crate::{Error, Key, Operation, Result, Revision};

/// Part of a value's bytes: from `start`, up to but without `end` where there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte wanted.
    pub start: u64,
    /// The first byte no longer wanted; `None` is the end of the value.
    pub end: Option<u64>,
}

impl ByteRange {
    /// The whole value.
    pub const ALL: Self = Self { start: 0, end: None };

    /// The bytes from `start` up to but without `end`.
    pub fn new(start: u64, end: u64) -> Self {
        Self { start, end: Some(end) }
    }

    /// Everything from `start` on.
    pub fn from(start: u64) -> Self {
        Self { start, end: None }
    }

    /// Clips the range to a value of `size` bytes: the positions to read, possibly none.
    ///
    /// # Errors
    /// `Invalid` if the range ends before it starts.
    pub fn clip(self, size: u64) -> Result<std::ops::Range<u64>> {
        let end = self.end.unwrap_or(u64::MAX);
        if end < self.start {
            return Err(Error::invalid(
                Operation::Get,
                format!("the range ends at {end}, before its start {}", self.start),
            ));
        }
        Ok(self.start.min(size)..end.min(size))
    }
}

/// A value, or the asked range of it, with what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The bytes of the range that was asked for.
    pub value: Bytes,
    /// Which state of the key this is.
    pub revision: Revision,
    /// The size of the whole value in bytes, whatever range was asked for.
    pub size: u64,
}

/// A question for one page of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Only keys that begin with these characters. Empty means all.
    pub prefix: String,
    /// Where to begin within them. The bound need not be a key that exists.
    pub start: Bound<String>,
    /// How many rows at the most; at least one.
    pub limit: usize,
    /// Whether the rows carry their values.
    pub values: bool,
}

impl List {
    /// Keys that begin with `prefix`, from the first, up to 1,000, without values.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), start: Bound::Unbounded, limit: 1000, values: false }
    }

    /// Begins behind this key.
    #[must_use]
    pub fn after(mut self, key: impl Into<String>) -> Self {
        self.start = Bound::Excluded(key.into());
        self
    }

    /// Begins at this key.
    #[must_use]
    pub fn at(mut self, key: impl Into<String>) -> Self {
        self.start = Bound::Included(key.into());
        self
    }

    /// Returns at most this many rows.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Carries values too.
    #[must_use]
    pub fn with_values(mut self) -> Self {
        self.values = true;
        self
    }

    /// Whether `key` comes at or after the start and has the prefix.
    pub fn contains(&self, key: &str) -> bool {
        let started = match &self.start {
            Bound::Unbounded => true,
            Bound::Included(start) => key >= start.as_str(),
            Bound::Excluded(start) => key > start.as_str(),
        };
        started && key.starts_with(&self.prefix)
    }

    /// Where an ordered engine sets its cursor: the later of prefix and start.
    pub fn lower_bound(&self) -> Bound<&str> {
        match &self.start {
            Bound::Included(start) if *start > self.prefix => Bound::Included(start),
            Bound::Excluded(start) if *start >= self.prefix => Bound::Excluded(start),
            _ => Bound::Included(&self.prefix),
        }
    }

    /// Refuses a page of nothing.
    ///
    /// # Errors
    /// `Invalid` if `limit` is 0.
    pub fn check(&self) -> Result<()> {
        if self.limit == 0 {
            return Err(Error::invalid(Operation::List, "the limit is 0; ask for at least 1 row"));
        }
        Ok(())
    }
}

/// One row of a [`Page`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Key,
    /// The size of its value in bytes.
    pub size: u64,
    /// The value and its revision, if the listing asked for values.
    pub object: Option<Object>,
}

/// Consecutive rows in ascending byte order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Whether there may be rows behind the last one. To go on, list after the last key.
    pub more: bool,
}
