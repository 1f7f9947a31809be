//! Entries of a view in the order of their names, with jumps over what nobody wants to see.

use std::collections::VecDeque;
use std::ops::Bound;

use holdall_core::{Error, List, Operation, Result, Row, Timestamp};

use super::ReadContext;
use super::pin::Pin;
use crate::format::entry::{Entry, Name};

/// The most rows that are read at once.
pub(super) const ROWS_MAX: usize = 1000;

/// The fewest rows that are read at once while reading jumps.
const ROWS_MIN: usize = 8;

/// Reads the entries of a view, page by page.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    pub(super) context: &'a ReadContext,
    pub(super) pin: Option<&'a Pin>,
    /// What all names begin with.
    pub(super) prefix: &'a str,
    /// Where the next page begins; nothing behind the last.
    pub(super) from: Option<Bound<String>>,
    /// How many rows the next page shall have.
    pub(super) rows: usize,
    rows_max: usize,
    /// How many entries the last page gave.
    loaded: usize,
    /// What was read and not yet taken.
    pub(super) buffer: VecDeque<(Name, Entry)>,
    now: Option<Timestamp>,
}

impl<'a> Scan<'a> {
    /// Begins behind `after`, or at the beginning. Reads `rows` rows at first, and `rows_max` when
    /// it has seen that all are wanted.
    pub(super) fn new(
        context: &'a ReadContext,
        pin: Option<&'a Pin>,
        prefix: &'a str,
        after: Option<&str>,
        (rows, rows_max): (usize, usize),
    ) -> Self {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.to_owned()));
        // No name holds a NUL.
        let from = (!prefix.contains('\0')).then_some(from);
        let (rows, rows_max) = (rows.clamp(1, ROWS_MAX), rows_max.clamp(1, ROWS_MAX));
        Self {
            context,
            pin,
            prefix,
            from,
            rows,
            rows_max,
            loaded: 0,
            buffer: VecDeque::new(),
            now: None,
        }
    }

    /// Reads on if everything that was read has been taken, and says whether there is an entry.
    pub(super) async fn ready(&mut self) -> Result<bool> {
        while self.buffer.is_empty() {
            let Some(from) = self.from.take() else { return Ok(false) };
            match self.pin {
                None => self.load(from).await?,
                Some(pin) => self.load_as_of(pin, from).await?,
            }
            self.rows = (self.rows * 2).min(self.rows_max);
            self.loaded = self.buffer.len();
        }
        Ok(true)
    }

    /// The name of the next entry that was read.
    pub(super) fn peek(&self) -> Option<&Name> {
        self.buffer.front().map(|(name, _)| name)
    }

    /// Takes the next entry that was read.
    pub(super) fn take(&mut self) -> Option<(Name, Entry)> {
        self.buffer.pop_front()
    }

    /// Whether there may be more entries.
    pub(super) fn may_go_on(&self) -> bool {
        !self.buffer.is_empty() || self.from.is_some()
    }

    /// Goes on behind all names that begin with `prefix`.
    pub(super) fn skip(&mut self, prefix: &str) {
        let mut dropped = 0;
        while self.peek().is_some_and(|name| name.as_str().starts_with(prefix)) {
            self.buffer.pop_front();
            dropped += 1;
        }
        if !self.buffer.is_empty() {
            return;
        }
        if 2 * dropped >= self.loaded {
            // Most of a page was read to be thrown away: fewer rows next time.
            self.rows = (self.rows / 4).max(ROWS_MIN).min(self.rows_max);
        }
        let Some(from) = &self.from else { return };
        match successor(prefix) {
            Some(next) => {
                let jumps = match from {
                    Bound::Unbounded => true,
                    Bound::Included(from) | Bound::Excluded(from) => *from < next,
                };
                if jumps {
                    self.from = Some(Bound::Included(next));
                }
            }
            None => self.from = None,
        }
    }

    async fn load(&mut self, from: Bound<String>) -> Result<()> {
        let (rows, more) = self.entries(&from).await?;
        for row in &rows {
            let (name, entry) = self.decode(row)?;
            if entry.expires.is_none() || !entry.is_expired(self.now()) {
                self.buffer.push_back((name, entry));
            }
        }
        if more && let Some(last) = rows.last() {
            let name = row_name(self.context, last)?;
            self.from = Some(Bound::Excluded(name.to_owned()));
        }
        Ok(())
    }

    /// One page of current entries, and whether there may be more.
    pub(super) async fn entries(&self, from: &Bound<String>) -> Result<(Vec<Row>, bool)> {
        let keys = &self.context.keys;
        let mut list = List::prefix(keys.entries(self.prefix)).limit(self.rows).with_values();
        list.start = match from {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(name) => Bound::Included(keys.entries(name)),
            Bound::Excluded(name) => Bound::Excluded(keys.entries(name)),
        };
        let page = self.context.catalog.list(&list).await?;
        Ok((page.rows, page.more))
    }

    pub(super) fn decode(&self, row: &Row) -> Result<(Name, Entry)> {
        let name = Name::parse(row_name(self.context, row)?)?;
        let Some(object) = &row.object else { return Err(no_value(row)) };
        Ok((name, Entry::decode(&row.key, &object.value)?))
    }

    /// The clock, read once a scan.
    fn now(&mut self) -> Timestamp {
        *self.now.get_or_insert_with(|| self.context.env.now())
    }
}

/// The name in the key of an entry's row.
pub(super) fn row_name<'a>(context: &ReadContext, row: &'a Row) -> Result<&'a str> {
    context.keys.entry_name(&row.key).ok_or_else(|| {
        let message = "a row is not of the class that was listed; check the backend";
        Error::corrupt(Operation::List, message).with_key(&row.key)
    })
}

pub(super) fn no_value(row: &Row) -> Error {
    let message = "a listing came without the values that were asked for; check the backend";
    Error::corrupt(Operation::List, message).with_key(&row.key)
}

/// The first text behind all that begin with these characters; nothing if there is none.
pub(super) fn successor(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        // `Step` knows of the hole that surrogates leave.
        if let Some(next) = (last..=char::MAX).nth(1) {
            text.push(next);
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::successor;

    #[test]
    fn the_successor_is_the_first_text_behind() {
        assert_eq!(successor("a/"), Some("a0".to_owned()));
        assert_eq!(successor("a\u{d7ff}"), Some("a\u{e000}".to_owned()));
        assert_eq!(successor("a\u{10ffff}\u{10ffff}"), Some("b".to_owned()));
        assert_eq!(successor("\u{10ffff}"), None);
        assert_eq!(successor(""), None);
    }
}
