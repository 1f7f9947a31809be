//! Reading: each answer is of one statement, so of one moment.

use holdall_core::{
    ByteRange, Bytes, Error, Key, List, Object, Operation, Page, Result, Revision, Row,
};
use tokio_postgres::Row as Answer;
use tokio_postgres::types::ToSql;

use crate::VALUE_BYTES_MAX;
use crate::call::{Kind, Server, column};
use crate::config::Values;

/// The most rows of one page.
const PAGE_ROWS_MAX: usize = 10_000;
/// The most bytes of values in one page of more than one row.
const PAGE_BYTES_MAX: i64 = 16 << 20;

impl Server {
    pub(crate) async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        const OPERATION: Operation = Operation::Get;
        let range = range.clip(VALUE_BYTES_MAX as u64)?;
        let (start, length) = (range.start.cast_signed(), (range.end - range.start).cast_signed());
        let key = key.as_bytes();
        let whole = start == 0 && length == VALUE_BYTES_MAX as i64;
        let statements = &self.statements;
        let (plain, large) = match whole {
            true => (&statements.get, &statements.get_large),
            false => (&statements.get_range, &statements.get_range_large),
        };
        let all: [&(dyn ToSql + Sync); 3] = [&key, &start, &length];
        let arguments = if whole { &all[..1] } else { &all };
        if self.values == Values::Bytea {
            // Almost always the value is in its row; the statement that finds it anywhere costs
            // more, and the answer of either is of one moment.
            let answer = self.call(OPERATION, Kind::Read, plain, arguments).await?;
            let Some(row) = answer.first() else {
                return Ok(None);
            };
            if column::<Option<&[u8]>>(OPERATION, row, 2)?.is_some() {
                return object(OPERATION, row, start..start + length).map(Some);
            }
        }
        let answer = self.call(OPERATION, Kind::Read, large, arguments).await?;
        let Some(row) = answer.first() else {
            return Ok(None);
        };
        object(OPERATION, row, start..start + length).map(Some)
    }

    pub(crate) async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        const OPERATION: Operation = Operation::Get;
        let mut objects = vec![None; keys.len()];
        if keys.is_empty() {
            return Ok(objects);
        }
        let asked: Vec<&[u8]> = keys.iter().map(Key::as_bytes).collect();
        let statement = &self.statements.get_many;
        for row in self.call(OPERATION, Kind::Read, statement, &[&asked]).await? {
            let place: i64 = column(OPERATION, &row, 3)?;
            let place = usize::try_from(place - 1).ok().and_then(|at| objects.get_mut(at));
            if let Some(place) = place {
                *place = Some(object(OPERATION, &row, 0..i64::MAX)?);
            }
        }
        Ok(objects)
    }

    pub(crate) async fn list(&self, list: &List) -> Result<Page> {
        let statement = match list.values {
            true => &self.statements.list_values,
            false => &self.statements.list,
        };
        self.page(list, statement, &[]).await
    }

    /// One page by a statement that takes these arguments behind those of the listing.
    pub(crate) async fn page(
        &self,
        list: &List,
        statement: &str,
        arguments: &[Box<dyn ToSql + Sync + Send>],
    ) -> Result<Page> {
        const OPERATION: Operation = Operation::List;
        let (first, end) = (first(list), end(&list.prefix));
        let limit = list.limit.min(PAGE_ROWS_MAX);
        // Without values one row more, to know whether there are more.
        let asked = if list.values { limit as i64 } else { limit as i64 + 1 };
        let mut all: Vec<&(dyn ToSql + Sync)> = vec![&first, &end, &asked];
        if list.values {
            all.push(&PAGE_BYTES_MAX);
        }
        all.extend(arguments.iter().map(|argument| -> &(dyn ToSql + Sync) { argument.as_ref() }));
        let answer = self.call(OPERATION, Kind::Read, statement, &all).await?;
        if list.values { values(&answer) } else { keys(&answer, limit) }
    }
}

fn keys(answer: &[Answer], limit: usize) -> Result<Page> {
    const OPERATION: Operation = Operation::List;
    let mut page = Page { more: answer.len() > limit, ..Page::default() };
    for row in answer.iter().take(limit) {
        let key = key(column(OPERATION, row, 0)?)?;
        page.rows.push(Row { key, size: size(column(OPERATION, row, 1)?), object: None });
    }
    Ok(page)
}

fn values(answer: &[Answer]) -> Result<Page> {
    const OPERATION: Operation = Operation::List;
    let mut page = Page::default();
    for row in answer {
        let key = key(column(OPERATION, row, 3)?)?;
        let object = object(OPERATION, row, 0..i64::MAX)?;
        page.more = column::<Option<bool>>(OPERATION, row, 4)?.unwrap_or(false);
        page.rows.push(Row { key, size: object.size, object: Some(object) });
    }
    Ok(page)
}

/// The first key that a listing wants.
fn first(list: &List) -> Vec<u8> {
    use std::ops::Bound;
    match list.lower_bound() {
        Bound::Included(start) => start.as_bytes().to_vec(),
        // The key right behind another is that key and a zero byte.
        Bound::Excluded(start) => [start.as_bytes(), &[0]].concat(),
        Bound::Unbounded => Vec::new(),
    }
}

/// The first key behind all that begin with a prefix. UTF-8 has no byte 255, so that every last
/// byte has a next one, and a key of this byte alone is behind all keys.
fn end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(u8::MAX),
    }
    end
}

fn key(bytes: &[u8]) -> Result<Key> {
    let key = std::str::from_utf8(bytes).ok().and_then(|text| Key::parse(text).ok());
    key.ok_or_else(|| {
        let message = "a key of the table is no UTF-8 of 1 to 1024 bytes; another program wrote it";
        Error::corrupt(Operation::List, message)
    })
}

fn size(bytes: i64) -> u64 {
    bytes.max(0).cast_unsigned()
}

/// Revision, size and value of a row, of which these bytes were asked.
fn object(operation: Operation, row: &Answer, asked: std::ops::Range<i64>) -> Result<Object> {
    let revision: i64 = column(operation, row, 0)?;
    let whole: i64 = column(operation, row, 1)?;
    let value: Option<&[u8]> = column(operation, row, 2)?;
    let expected = asked.end.min(whole) - asked.start.min(whole);
    match value {
        Some(value) if value.len() as i64 == expected => Ok(Object {
            value: Bytes::copy_from_slice(value),
            revision: Revision::number(revision.cast_unsigned()),
            size: size(whole),
        }),
        _ => {
            let message = "a part of the value is missing; restore the tables from a copy";
            Err(Error::corrupt(operation, message))
        }
    }
}
