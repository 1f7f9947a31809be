//! Entries as of a commit: what is still current and what history has, in the order of names.

use std::ops::Bound;

use holdall_core::{List, Result, Row};

use super::ReadContext;
use super::pin::Pin;
use super::scan::{Scan, no_value};
use crate::format::entry::{Entry, Name, Version};
use crate::format::history::HistoryRow;

impl Scan<'_> {
    /// Reads a stretch of names from both classes.
    ///
    /// Current entries are read before the history of the same names: what is superseded between
    /// the two is found in at least one, and in both it is the same.
    pub(super) async fn load_as_of(&mut self, pin: &Pin, from: Bound<String>) -> Result<()> {
        let (rows, more) = self.entries(&from).await?;
        let current = rows.iter().map(|row| self.decode(row)).collect::<Result<Vec<_>>>()?;
        let read_upto = current.last().filter(|_| more).map(|(name, _)| name.clone());
        let past = Past { scan: self, commit: pin.commit, found: Vec::new(), open: None };
        let (past, next) = past.read(&from, read_upto.as_ref()).await?;
        let is_before = |name: &Name| match &next {
            None | Some(Bound::Unbounded) => true,
            Some(Bound::Included(next)) => name.as_str() < next.as_str(),
            Some(Bound::Excluded(next)) => name.as_str() <= next.as_str(),
        };
        let mut past = past.into_iter().filter(|(name, _)| is_before(name)).peekable();
        let current = current
            .into_iter()
            .filter(|(name, entry)| entry.version <= pin.commit && is_before(name));
        for (name, entry) in current {
            while let Some(older) = past.next_if(|(older, _)| *older < name) {
                self.push(pin, older);
            }
            past.next_if(|(same, _)| *same == name);
            self.push(pin, (name, entry));
        }
        past.for_each(|older| self.push(pin, older));
        self.from = next;
        Ok(())
    }

    fn push(&mut self, pin: &Pin, (name, entry): (Name, Entry)) {
        if !entry.is_expired(pin.time) {
            self.buffer.push_back((name, entry));
        }
    }
}

/// Reads history rows: of each name the one that held at the commit.
struct Past<'a, 'b> {
    scan: &'a Scan<'b>,
    commit: Version,
    found: Vec<(Name, Entry)>,
    /// The name being read, and its newest row that is not younger than the commit.
    open: Option<(String, Option<Row>)>,
}

impl Past<'_, '_> {
    /// Reads from here up to a name, or less if much is found. Returns what held, and where to go
    /// on.
    async fn read(
        mut self,
        from: &Bound<String>,
        upto: Option<&Name>,
    ) -> Result<(Vec<(Name, Entry)>, Option<Bound<String>>)> {
        let keys = &self.scan.context.keys;
        let mut list =
            List::prefix(keys.histories(self.scan.prefix)).limit(self.scan.rows).with_values();
        list.start = match from {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(name) => Bound::Included(keys.histories(name)),
            // The versions of a name stand behind a NUL, which no name holds.
            Bound::Excluded(name) => Bound::Included(keys.histories(&format!("{name}\u{1}"))),
        };
        let covered = upto.map(|upto| Bound::Excluded(upto.as_str().to_owned()));
        loop {
            let page = self.scan.context.catalog.list(&list).await?;
            let last = page.rows.last().map(|row| row.key.as_str().to_owned());
            for row in page.rows {
                if !self.take_in(row, upto)? {
                    return Ok((self.found, covered));
                }
            }
            let Some(last) = last.filter(|_| page.more) else {
                self.close()?;
                return Ok((self.found, covered));
            };
            if self.found.len() >= self.scan.rows
                && let Some((name, _)) = self.open
            {
                return Ok((self.found, Some(Bound::Included(name))));
            }
            list = list.after(last);
        }
    }

    /// Looks at the next row; false if its name lies behind `upto`.
    fn take_in(&mut self, row: Row, upto: Option<&Name>) -> Result<bool> {
        let (name, version) = history_parts(self.scan.context, &row)?;
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            let name = name.to_owned();
            self.close()?;
            if upto.is_some_and(|upto| name.as_str() > upto.as_str()) {
                return Ok(false);
            }
            self.open = Some((name, None));
        }
        if version <= self.commit
            && let Some((_, newest)) = &mut self.open
        {
            *newest = Some(row);
        }
        Ok(true)
    }

    /// Decides on the name that was read.
    fn close(&mut self) -> Result<()> {
        if let Some((name, Some(row))) = self.open.take() {
            let Some(object) = &row.object else { return Err(no_value(&row)) };
            let history = HistoryRow::decode(&row.key, &object.value)?;
            if history.superseded > self.commit {
                self.found.push((Name::parse(name)?, history.entry));
            }
        }
        Ok(())
    }
}

/// The name and version in the key of a history row.
pub(super) fn history_parts<'a>(context: &ReadContext, row: &'a Row) -> Result<(&'a str, Version)> {
    context.keys.history_parts(&row.key).ok_or_else(|| {
        let message = "a history row's key has no version; run `holdall verify`";
        holdall_core::Error::corrupt(holdall_core::Operation::Decode, message).with_key(&row.key)
    })
}
