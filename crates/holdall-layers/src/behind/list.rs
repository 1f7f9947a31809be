//! Listing: what waits in the front and what lies in the back, in one order.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use holdall_core::{Key, List, Page, Result, Row};

use super::Shared;
use super::rows::{VALUE_HEAD_BYTES, WAITING, Waiting, key_of};

/// The same question about the rows that wait.
fn about_waiting(list: &List) -> List {
    let inside = |text: &String| format!("{WAITING}{text}");
    List {
        prefix: inside(&list.prefix),
        start: match &list.start {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(start) => Bound::Included(inside(start)),
            Bound::Excluded(start) => Bound::Excluded(inside(start)),
        },
        ..list.clone()
    }
}

/// A row of the answer; `None` where a delete waits.
fn shown(key: &Key, row: Row) -> Result<Option<Row>> {
    let size = row.size;
    if size == 0 {
        return Ok(None);
    }
    let object = row.object.map(|object| Waiting::object(key, object)).transpose()?.flatten();
    Ok(Some(Row { key: key.clone(), size: size - VALUE_HEAD_BYTES, object }))
}

impl Shared {
    pub(super) async fn list(self: &Arc<Self>, list: &List) -> Result<Page> {
        list.check()?;
        let mut list = list.clone();
        loop {
            let (page, last) = self.list_some(&list).await?;
            match last {
                // All that was looked at was deleted, and there may be more.
                Some(last) if page.rows.is_empty() && page.more => list = list.after(last.as_str()),
                _ => return Ok(page),
            }
        }
    }

    /// The rows up to the key up to which both sides are known, which is told too where there may
    /// be rows behind it.
    async fn list_some(self: &Arc<Self>, list: &List) -> Result<(Page, Option<Key>)> {
        // In this order: what has gone from the front by now is in the back when it is asked.
        let waiting = self.front.list(&about_waiting(list)).await?;
        let back = self.back.list(list).await?;
        // Of each key its row, if it is not deleted, and whether the back gave it.
        let mut rows: BTreeMap<Key, Option<(Row, bool)>> = BTreeMap::new();
        let (mut waiting_last, back_last) = (None, back.rows.last().map(|row| row.key.clone()));
        for row in back.rows {
            rows.insert(row.key.clone(), Some((row, true)));
        }
        for row in waiting.rows {
            let Some(key) = key_of(&row.key) else { continue };
            waiting_last = Some(key.clone());
            let row = shown(&key, row)?;
            rows.insert(key, row.map(|row| (row, false)));
        }
        let known = [waiting_last.filter(|_| waiting.more), back_last.filter(|_| back.more)];
        let mut last = known.into_iter().flatten().min();
        let mut page: Vec<(Row, bool)> = Vec::new();
        let mut more = last.is_some();
        for (key, row) in rows {
            if last.as_ref().is_some_and(|last| key > *last) {
                break;
            }
            if page.len() == list.limit {
                more = true;
                last = page.last().map(|(row, _)| row.key.clone());
                break;
            }
            page.extend(row);
        }
        let rows = if list.values {
            self.show_rows(page).await?
        } else {
            page.into_iter().map(|(row, _)| row).collect()
        };
        Ok((Page { rows, more }, last))
    }

    /// Gives the rows that came from the back the revisions that callers know, and leaves out what
    /// was deleted meanwhile.
    async fn show_rows(self: &Arc<Self>, mut page: Vec<(Row, bool)>) -> Result<Vec<Row>> {
        let mut asked: Vec<&mut Row> =
            page.iter_mut().filter(|(_, back)| *back).map(|(row, _)| row).collect();
        let keys: Vec<Key> = asked.iter().map(|row| row.key.clone()).collect();
        let found = asked.iter_mut().map(|row| row.object.take()).collect();
        let objects = self.show(&keys, found).await?;
        for (row, object) in asked.into_iter().zip(objects) {
            row.size = object.as_ref().map_or(row.size, |object| object.size);
            row.object = object;
        }
        Ok(page.into_iter().map(|(row, _)| row).filter(|row| row.object.is_some()).collect())
    }
}
