//! Listing: a range of sort keys in every partition of rows, merged.

use std::ops::Bound;

use futures::future::try_join_all;
use holdall_core::{Bytes, KEY_BYTES_MAX, Key, List, Object, Page, Row as Line};

use crate::call::{Range, Store};
use crate::error::Failure;
use crate::row::{Item, Row, State, damaged, revision};

/// The most rows that one query asks for.
const ROWS_MAX: usize = 10_000;
/// The most bytes of values in one page of more than one row.
const PAGE_BYTES_MAX: u64 = 8 << 20;
/// What a listing without values needs.
const HEADS: &str = "k, r, n, t, td, tn";

/// What one partition has from a place on.
struct Part {
    rows: Vec<(Vec<u8>, Row)>,
    /// Up to where it was looked at, if not to the end.
    end: Option<Vec<u8>>,
}

impl Store {
    pub(crate) async fn list(&self, list: &List) -> Result<Page, Failure> {
        let Some((mut from, to)) = bounds(list) else { return Ok(Page::default()) };
        let partitions = self.names.rows();
        // Each partition has its share of the rows, more or less.
        let share = list.limit.div_ceil(partitions.len()).saturating_add(8);
        let limit = share.min(list.limit.saturating_add(1)).min(ROWS_MAX);
        loop {
            let (from_key, skip) = match &from {
                Bound::Excluded(key) => (key.clone(), Some(key.clone())),
                Bound::Included(key) => (key.clone(), None),
                Bound::Unbounded => (vec![0], None),
            };
            if from_key > to {
                return Ok(Page::default());
            }
            let attributes = (!list.values).then_some(HEADS);
            let range = Range { from: from_key, to: to.clone(), limit, attributes };
            let queries = partitions.iter().map(|partition| self.part_of(partition, &range));
            let parts = try_join_all(queries).await?;
            // Behind the nearest end some partition may still have rows.
            let end = parts.iter().filter_map(|part| part.end.clone()).min();
            let mut rows: Vec<_> = parts.into_iter().flat_map(|part| part.rows).collect();
            rows.retain(|(key, _)| {
                end.as_ref().is_none_or(|end| key <= end) && skip.as_ref() != Some(key)
            });
            rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            let page = self.page(rows, end.is_some(), list).await?;
            match end {
                Some(end) if page.rows.is_empty() => from = Bound::Excluded(end),
                _ => return Ok(page),
            }
        }
    }

    async fn part_of(&self, partition: &str, range: &Range) -> Result<Part, Failure> {
        let said = self.query(partition, range).await?;
        let end = match said.last_evaluated_key {
            Some(mut last) if !last.is_empty() => Some(sort_key(&mut last)?),
            _ => None,
        };
        let read = |mut item: Item| Ok((sort_key(&mut item)?, Row::read(item)?));
        let rows = said.items.unwrap_or_default().into_iter().map(read);
        Ok(Part { rows: rows.collect::<Result<_, Failure>>()?, end })
    }

    /// The rows that are there, as many as the page may have.
    async fn page(
        &self,
        rows: Vec<(Vec<u8>, Row)>,
        mut more: bool,
        list: &List,
    ) -> Result<Page, Failure> {
        let happened = self.happened(rows.iter().map(|(_, row)| row)).await?;
        let (mut lines, mut bytes) = (Vec::new(), 0_u64);
        for (key, row) in rows {
            let key = String::from_utf8(key).ok().and_then(|key| Key::parse(key).ok());
            let key = key.ok_or_else(damaged)?;
            let told = match &row.mark {
                Some(mark) => happened.get(&mark.batch).copied().flatten(),
                None => Some(false),
            };
            let state = match told {
                Some(happened) => row.settled(happened),
                None => self.current(&key).await?,
            };
            let Some(state) = state else { continue };
            bytes = bytes.saturating_add(state.size);
            let full = list.values && bytes > PAGE_BYTES_MAX && !lines.is_empty();
            if full || lines.len() == list.limit {
                more = true;
                break;
            }
            if let Some(line) = self.line(key, state, list.values).await? {
                lines.push(line);
            }
        }
        Ok(Page { rows: lines, more })
    }

    /// A row for the caller; nothing if it was removed while its parts were read.
    async fn line(&self, key: Key, state: State, values: bool) -> Result<Option<Line>, Failure> {
        if !values {
            return Ok(Some(Line { key, size: state.size, object: None }));
        }
        let object = match self.bytes(&state, 0..state.size).await? {
            Some(value) => Some(object(&state, value)),
            None => self.get(&key, holdall_core::ByteRange::ALL).await?,
        };
        Ok(object.map(|object| Line { key, size: object.size, object: Some(object) }))
    }
}

fn object(state: &State, value: Bytes) -> Object {
    Object { value, revision: revision(&state.revision), size: state.size }
}

fn sort_key(item: &mut Item) -> Result<Vec<u8>, Failure> {
    match item.remove("k") {
        Some(aws_sdk_dynamodb::types::AttributeValue::B(key)) => Ok(key.into_inner()),
        _ => Err(damaged()),
    }
}

/// The sort keys from which and up to which to look; nothing if there are none.
fn bounds(list: &List) -> Option<(Bound<Vec<u8>>, Vec<u8>)> {
    if list.prefix.len() > KEY_BYTES_MAX {
        return None;
    }
    let from = match list.lower_bound() {
        // No sort key is empty, or longer than a key.
        Bound::Included("") | Bound::Unbounded => Bound::Unbounded,
        Bound::Excluded("") => Bound::Unbounded,
        Bound::Included(key) if key.len() <= KEY_BYTES_MAX => Bound::Included(key.into()),
        Bound::Included(key) | Bound::Excluded(key) => {
            let end = key.len().min(KEY_BYTES_MAX);
            Bound::Excluded(key.as_bytes().get(..end)?.to_vec())
        }
    };
    // No byte of UTF-8 is 0xff, so this lies behind all that begins with the prefix.
    let mut to = list.prefix.clone().into_bytes();
    if to.len() < KEY_BYTES_MAX {
        to.push(0xff);
    }
    Some((from, to))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn bounds_are_keys_that_the_store_takes() {
        let long = "x".repeat(KEY_BYTES_MAX);
        let start = |start: &str| List::prefix("").at(start);
        for (list, from, to) in [
            (List::prefix(""), Bound::Unbounded, b"\xff".to_vec()),
            (start(""), Bound::Unbounded, b"\xff".to_vec()),
            (List::prefix("").after(""), Bound::Unbounded, b"\xff".to_vec()),
            (List::prefix("a"), Bound::Included(b"a".to_vec()), b"a\xff".to_vec()),
            (List::prefix("a").after("ab"), Bound::Excluded(b"ab".to_vec()), b"a\xff".to_vec()),
            (start(&long), Bound::Included(long.clone().into()), b"\xff".to_vec()),
            (start(&format!("{long}y")), Bound::Excluded(long.clone().into()), b"\xff".to_vec()),
            (List::prefix(&long), Bound::Included(long.clone().into()), long.clone().into()),
        ] {
            assert_eq!(bounds(&list), Some((from, to)), "{list:?}");
        }
        assert_eq!(bounds(&List::prefix(format!("{long}y"))), None);
    }
}
