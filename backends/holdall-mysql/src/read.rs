//! Reading: one statement each. A connection that turns out dead is replaced once, as reading
//! again changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use holdall_core::{
    ByteRange, Bytes, Error, Find, KEY_BYTES_MAX, Key, List, Object, Operation, Page, Result,
    Revision, Row,
};
use mysql_async as mysql;
use mysql_async::Value;

use crate::describe;
use crate::error;
use crate::parts::{self, Valued, Whole};
use crate::pool::within;
use crate::sql::PageOf;
use crate::store::Store;

/// The most rows of a page.
const PAGE_ROWS: usize = 10_000;
/// The most bytes of values in a page, unless its first row alone has more.
const PAGE_BYTES: usize = 16 << 20;

/// What is asked of the server.
enum Question {
    /// A prepared statement with its values.
    Statement(String, Vec<Value>),
    /// Texts, one after the other on one connection, with no transaction open behind them.
    Texts(Vec<Vec<u8>>),
}

impl Store {
    /// Reads a value, or a range of it.
    pub(crate) async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        const OPERATION: Operation = Operation::Get;
        // Also a missing key has no range that ends before it starts.
        range.clip(0)?;
        let sql = &self.statements;
        if range == ByteRange::ALL {
            let name = Value::Bytes(key.as_bytes().to_vec());
            let question = Question::Statement(sql.get.clone(), vec![name]);
            let mut rows = self.ask(OPERATION, question, Vec::new).await?;
            let Some(row) = rows.pop() else { return Ok(None) };
            let (revision, size, value, parts) =
                taken(OPERATION, row).map_err(|e| e.with_key(key))?;
            let parts: Option<u64> = parts;
            if parts.is_none() {
                return Ok(Some(object(revision, size, value)));
            }
        }
        let values = parts::range_values(key.as_bytes(), range);
        let question = Question::Statement(sql.get_range.clone(), values);
        let found = self.ask(OPERATION, question, || Whole::of(range)).await?;
        let found = whole(OPERATION, found).map_err(|error| error.with_key(key))?;
        Ok(found.into_values().next().map(Valued::into_object))
    }

    /// Reads many values, all of one moment.
    pub(crate) async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        const OPERATION: Operation = Operation::Get;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut names: Vec<&[u8]> = keys.iter().map(Key::as_bytes).collect();
        names.sort_unstable();
        names.dedup();
        let texts = Question::Texts(self.statements.get_many(&names, self.packet_bytes));
        let found = self.ask(OPERATION, texts, || Whole::of(ByteRange::ALL)).await?;
        let found = whole(OPERATION, found)?.into_iter();
        let found: HashMap<_, _> = found.map(|(name, row)| (name, row.into_object())).collect();
        Ok(keys.iter().map(|key| found.get(key.as_bytes()).cloned()).collect())
    }

    /// The revisions of these keys, where there are any.
    pub(crate) async fn revisions(
        &self,
        operation: Operation,
        keys: &[&Key],
    ) -> Result<HashMap<Vec<u8>, Revision>> {
        let names: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let texts = self.statements.revisions(&names, self.packet_bytes);
        let rows = self.ask(operation, Question::Texts(texts), Vec::new).await?;
        rows.into_iter()
            .map(|row| {
                let (name, revision): (Vec<u8>, u64) = taken(operation, row)?;
                Ok((name, Revision::number(revision)))
            })
            .collect()
    }

    /// Whether there is a row with this key.
    pub(crate) async fn exists(&self, operation: Operation, key: &Key) -> Result<bool> {
        let name = Value::Bytes(key.as_bytes().to_vec());
        let question = Question::Statement(self.statements.exists.clone(), vec![name]);
        Ok(!self.ask(operation, question, Vec::new).await?.is_empty())
    }

    /// One page of rows.
    pub(crate) async fn list(&self, list: &List) -> Result<Page> {
        self.page(list, Vec::new()).await
    }

    /// One page of the rows for which all that is asked holds.
    pub(crate) async fn find(&self, find: &Find) -> Result<Page> {
        self.page(&find.list, describe::condition(&find.filter)).await
    }

    async fn page(&self, list: &List, filter: Vec<u8>) -> Result<Page> {
        const OPERATION: Operation = Operation::List;
        list.check()?;
        let (start, inclusive) = lower_bound(list);
        let question = PageOf {
            start,
            inclusive,
            end: behind(list.prefix.as_bytes()),
            rows: list.limit.min(PAGE_ROWS),
            filter,
            value_bytes: list.values.then_some(PAGE_BYTES),
        };
        let text = self.statements.list(&question);
        let text = Question::Texts(vec![text]);
        let mut page = Page::default();
        if list.values {
            let found = self.ask(OPERATION, text, || Whole::of(ByteRange::ALL)).await?;
            for (name, row) in whole(OPERATION, found)? {
                page.more = row.found > page.rows.len() as u64 + 1;
                page.rows.push(listed(name, row.size, Some(row.into_object()))?);
            }
        } else {
            let rows = self.ask(OPERATION, text, Vec::new).await?;
            page.more = rows.len() > question.rows;
            for row in rows.into_iter().take(question.rows) {
                let (name, size): (Vec<u8>, u64) = taken(OPERATION, row)?;
                page.rows.push(listed(name, size, None)?);
            }
        }
        Ok(page)
    }

    /// The bytes that the tables have on the server, as far as it knows, and whether the server is
    /// read-only. The table itself is asked too.
    pub(crate) async fn health(&self) -> Result<(Option<u64>, bool)> {
        const OPERATION: Operation = Operation::Health;
        let text = self.statements.health.clone().into_bytes();
        let mut rows = self.ask(OPERATION, Question::Texts(vec![text]), Vec::new).await?;
        let Some(row) = rows.pop() else { return Err(error::damaged(OPERATION)) };
        let (used, read_only): (Option<u64>, u64) = taken(OPERATION, row)?;
        Ok((used, read_only != 0))
    }

    /// Asks, and gathers the rows of the answer.
    async fn ask<T: Extend<mysql::Row>>(
        &self,
        operation: Operation,
        question: Question,
        empty: impl Fn() -> T,
    ) -> Result<T> {
        let mut again = true;
        loop {
            match self.ask_once(operation, &question, empty()).await? {
                Ok(rows) => return Ok(rows),
                Err(source) if again && source.is_fatal() => again = false,
                Err(source) => return Err(error::mysql(operation, source)),
            }
        }
    }

    async fn ask_once<T: Extend<mysql::Row>>(
        &self,
        operation: Operation,
        question: &Question,
        mut rows: T,
    ) -> Result<mysql::Result<T>> {
        let mut lease = self.pool.lease(operation).await?;
        let work = async {
            match question {
                Question::Statement(text, values) => {
                    let statement = lease.prepare(text).await?;
                    lease.execute(&statement, values.clone(), &mut rows).await?;
                }
                Question::Texts(texts) => {
                    for text in texts {
                        lease.query_into(text, &mut rows).await?;
                    }
                }
            }
            Ok(rows)
        };
        let Some(answer) = within(&self.env, self.statement_timeout, work).await else {
            let message = "the server did not answer in time; try again, or raise \
                           statement_timeout";
            return Err(Error::unavailable(operation, message));
        };
        // After an error between several texts their snapshot may still be open.
        if answer.is_ok() {
            lease.done();
        }
        Ok(answer)
    }
}

/// The columns of a row.
fn taken<T: mysql::prelude::FromRow>(operation: Operation, row: mysql::Row) -> Result<T> {
    mysql::from_row_opt(row).map_err(|_| error::damaged(operation))
}

/// The rows by their keys.
fn whole(operation: Operation, found: Whole) -> Result<BTreeMap<Vec<u8>, Valued>> {
    found.rows().ok_or_else(|| error::damaged(operation))
}

impl Valued {
    fn into_object(self) -> Object {
        object(self.revision, self.size, self.value)
    }
}

fn object(revision: u64, size: u64, value: Vec<u8>) -> Object {
    Object { value: Bytes::from(value), revision: Revision::number(revision), size }
}

fn listed(name: Vec<u8>, size: u64, object: Option<Object>) -> Result<Row> {
    let damaged = || error::damaged(Operation::List);
    let name = String::from_utf8(name).map_err(|_| damaged())?;
    Ok(Row { key: Key::parse(name).map_err(|_| damaged())?, size, object })
}

/// Where the page begins. The server is not asked to compare with more bytes than a key can have.
fn lower_bound(list: &List) -> (&[u8], bool) {
    let (bytes, inclusive) = match list.lower_bound() {
        Bound::Included(bound) => (bound.as_bytes(), true),
        Bound::Excluded(bound) => (bound.as_bytes(), false),
        Bound::Unbounded => (&b""[..], true),
    };
    match bytes.get(..KEY_BYTES_MAX) {
        // A key that fits and is not before the bound is behind the part of it that fits.
        Some(part) if part.len() < bytes.len() => (part, false),
        _ => (bytes, inclusive),
    }
}

/// The first key behind all that begin with the prefix; none if there is no such key.
pub(crate) fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.get(..KEY_BYTES_MAX.min(prefix.len()))?.to_vec();
    // UTF-8 has no byte 0xFF, so the last byte can always be made larger.
    *end.last_mut()? += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_a_prefix_is_behind_all_keys_with_it() {
        assert_eq!(behind(b""), None);
        assert_eq!(behind(b"a/"), Some(b"a0".to_vec()));
        let last = behind("\u{10ffff}".as_bytes());
        assert_eq!(last, Some(vec![0xF4, 0x8F, 0xBF, 0xC0]));
    }
}
