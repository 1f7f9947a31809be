//! Reading: one statement sees one moment.

use std::ops::Bound;

use holdall_core::{ByteRange, Bytes, Key, List, Object, Operation, Page, Result, Revision, Row};
use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params_from_iter};

use crate::error::Failure;
use crate::layout::{INLINE_BYTES_MAX, PART_BYTES, VALUE_BYTES_MAX};

/// When a page has this many bytes it ends, however few rows it has.
const PAGE_BYTES: usize = 32 << 20;

const ROW: &str = "SELECT revision, size, part, value FROM holdall_rows WHERE key = ?1";
const HEAD: &str = "SELECT revision, size, part, name IS NOT NULL FROM holdall_rows WHERE key = ?1";
const PARTS: &str = "SELECT data FROM holdall_parts WHERE id >= ?1 AND id < ?2 ORDER BY id";

/// A row without its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) revision: u64,
    pub(crate) size: u64,
    /// The first of its parts, if its value is in parts.
    pub(crate) part: Option<i64>,
}

impl Head {
    /// From a row's first columns: revision, size and part.
    fn of(row: &rusqlite::Row<'_>, operation: Operation) -> Result<Self, Failure> {
        let head = Self { revision: row.get(0)?, size: row.get(1)?, part: row.get(2)? };
        let fits = if head.part.is_some() { VALUE_BYTES_MAX } else { INLINE_BYTES_MAX as u64 };
        if head.size > fits {
            return Err(Failure::damaged(operation));
        }
        Ok(head)
    }

    /// The numbers of its parts.
    pub(crate) fn parts(&self) -> std::ops::Range<i64> {
        let first = self.part.unwrap_or(0);
        let count = self.part.map_or(0, |_| self.size.div_ceil(PART_BYTES as u64));
        first..first.saturating_add_unsigned(count)
    }
}

/// What is under a key now, as a writer needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present {
    pub(crate) head: Head,
    /// Whether something is told of it.
    pub(crate) described: bool,
}

/// What is under a key now.
pub(crate) fn present(
    connection: &Connection,
    operation: Operation,
    key: &Key,
) -> Result<Option<Present>, Failure> {
    let mut row = connection.prepare_cached(HEAD)?;
    let mut rows = row.query([key.as_bytes()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(Present { head: Head::of(row, operation)?, described: row.get(3)? }))
}

/// Reads values. A statement that has begun holds the moment for those that begin within it, so
/// a row and its parts fit together.
struct Reader<'c> {
    operation: Operation,
    parts: CachedStatement<'c>,
}

impl<'c> Reader<'c> {
    fn new(connection: &'c Connection, operation: Operation) -> Result<Self, Failure> {
        Ok(Self { operation, parts: connection.prepare_cached(PARTS)? })
    }

    /// Adds a range of a row's value to the buffer. The row's fourth column is the value.
    fn value(
        &mut self,
        head: &Head,
        row: &rusqlite::Row<'_>,
        range: std::ops::Range<u64>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let damaged = || Failure::damaged(self.operation);
        let range = range.start as usize..range.end as usize;
        let Some(first) = head.part else {
            let value = row.get_ref(3)?.as_blob().map_err(|_| damaged())?;
            if value.len() as u64 != head.size {
                return Err(damaged());
            }
            buffer.extend_from_slice(value.get(range).unwrap_or_default());
            return Ok(());
        };
        if range.is_empty() {
            return Ok(());
        }
        let begin = range.start / PART_BYTES;
        let end = range.end.div_ceil(PART_BYTES);
        let mut rows = self.parts.query([first + begin as i64, first + end as i64])?;
        for number in begin..end {
            let start = number * PART_BYTES;
            let row = rows.next()?.ok_or_else(damaged)?;
            let data = row.get_ref(0)?.as_blob().map_err(|_| damaged())?;
            if data.len() != PART_BYTES.min(head.size as usize - start) {
                return Err(damaged());
            }
            let from = range.start.saturating_sub(start);
            let to = data.len().min(range.end - start);
            buffer.extend_from_slice(data.get(from..to).unwrap_or_default());
        }
        Ok(())
    }
}

/// Reads a value, or a range of it.
pub(crate) fn get(
    connection: &Connection,
    key: &Key,
    range: ByteRange,
) -> Result<Option<Object>, Failure> {
    const OPERATION: Operation = Operation::Get;
    let mut row = connection.prepare_cached(ROW)?;
    let mut rows = row.query([key.as_bytes()])?;
    let Some(row) = rows.next()? else {
        // Also a missing key has no range that ends before it starts.
        return Ok(range.clip(0).map(|_| None)?);
    };
    let head = Head::of(row, OPERATION)?;
    let range = range.clip(head.size)?;
    let mut value = Vec::with_capacity((range.end - range.start) as usize);
    Reader::new(connection, OPERATION)?.value(&head, row, range, &mut value)?;
    let revision = Revision::number(head.revision);
    Ok(Some(Object { value: Bytes::from(value), revision, size: head.size }))
}

/// Reads many values, all of one moment.
pub(crate) fn get_many(
    connection: &Connection,
    keys: &[Key],
) -> Result<Vec<Option<Object>>, Failure> {
    let transaction = connection.unchecked_transaction()?;
    keys.iter().map(|key| get(&transaction, key, ByteRange::ALL)).collect()
}

/// One page of rows.
pub(crate) fn list(connection: &Connection, list: &List) -> Result<Page, Failure> {
    page(connection, list, &Among::default())
}

/// Which of the rows that a listing names are wanted.
#[derive(Debug, Default)]
pub(crate) struct Among {
    /// What follows the table's name, if that is not left to SQLite.
    pub(crate) index: String,
    /// What must hold, each beginning with `AND`. Its values are `?2` and so on.
    pub(crate) condition: String,
    pub(crate) values: Vec<Value>,
}

/// The statement for a page, and its first value.
pub(crate) fn question(list: &List, among: &Among) -> (String, Value) {
    let (bound, start) = match list.lower_bound() {
        Bound::Included(start) => (">=", start),
        Bound::Excluded(start) => (">", start),
        Bound::Unbounded => (">=", ""),
    };
    let value = if list.values { "value" } else { "NULL" };
    let Among { index, condition, .. } = among;
    let text = format!(
        "SELECT revision, size, part, {value}, key FROM holdall_rows {index} \
        WHERE key {bound} ?1 {condition} ORDER BY key"
    );
    (text, Value::Blob(start.as_bytes().to_vec()))
}

/// One page of the rows that are wanted.
///
/// The values of a page lie in one buffer that its rows share, so a caller who keeps one small
/// value for long should copy it.
pub(crate) fn page(connection: &Connection, list: &List, among: &Among) -> Result<Page, Failure> {
    const OPERATION: Operation = Operation::List;
    list.check()?;
    let (text, start) = question(list, among);
    let mut statement = connection.prepare_cached(&text)?;
    let mut reader = Reader::new(connection, OPERATION)?;
    let values = [&start].into_iter().chain(&among.values);
    let mut rows = statement.query(params_from_iter(values))?;
    let mut page = Page::default();
    let (mut buffer, mut revisions, mut key_bytes) = (Vec::new(), Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let key = row.get_ref(4)?.as_blob().map_err(|_| Failure::damaged(OPERATION))?;
        if !key.starts_with(list.prefix.as_bytes()) {
            break;
        }
        if page.rows.len() == list.limit || buffer.len() + key_bytes >= PAGE_BYTES {
            page.more = true;
            break;
        }
        let head = Head::of(row, OPERATION)?;
        let key = std::str::from_utf8(key).ok().and_then(|key| Key::parse(key).ok());
        let key = key.ok_or_else(|| Failure::damaged(OPERATION))?;
        key_bytes += key.as_bytes().len();
        if list.values {
            reader.value(&head, row, 0..head.size, &mut buffer)?;
            revisions.push(head.revision);
        }
        page.rows.push(Row { key, size: head.size, object: None });
    }
    let mut rest = Bytes::from(buffer);
    for (row, revision) in page.rows.iter_mut().zip(revisions) {
        row.object = Some(Object {
            value: rest.split_to(row.size as usize),
            revision: Revision::number(revision),
            size: row.size,
        });
    }
    Ok(page)
}

/// The last revision given out.
pub(crate) fn last_revision(connection: &Connection, operation: Operation) -> Result<u64, Failure> {
    let mut statement = connection.prepare_cached("SELECT revision FROM holdall_state")?;
    let last = statement.query_row([], |row| row.get(0)).optional()?;
    last.ok_or_else(|| Failure::damaged(operation))
}
