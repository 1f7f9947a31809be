//! Large values: rows of a second table hold their parts, so that a range is read without what is
//! before it. The server finds the middle of a value in one column only by way of its beginning.
//!
//! ```text
//!   k, revision, number   whose part it is, of which write, and which one from 0 on
//!   data                  256 KiB; the last has what is left
//! ```
//!
//! The row of a large value has no bytes in `v`, and says in its column `parts` under which
//! revision they are: its own. Reading joins the two in one statement, and what stands under
//! another revision is never seen. Both change in one transaction.

use std::collections::BTreeMap;

use holdall_core::{ByteRange, KEY_BYTES_MAX, Op};
use mysql_async::{Row, Value, from_row_opt};

use crate::VALUE_BYTES_MAX;
use crate::sql::FRAME_BYTES;

/// The size of a part. Values up to this are in their row. Another size is another layout.
pub(crate) const PART_BYTES: usize = 256 << 10;
/// How many parts a statement writes, where so many are left and have room in a packet.
pub(crate) const GROUP: usize = 8;

/// The name of the table of parts.
pub(crate) fn name(table: &str) -> String {
    format!("{table}_parts")
}

/// Makes the table of parts.
pub(crate) fn create(table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS `{}` (\
         k VARBINARY({KEY_BYTES_MAX}) NOT NULL, revision BIGINT UNSIGNED NOT NULL, \
         number INT NOT NULL, data MEDIUMBLOB NOT NULL, PRIMARY KEY (k, revision, number)) \
         ENGINE=InnoDB ROW_FORMAT=DYNAMIC",
        name(table)
    )
}

/// Writes so many parts.
pub(crate) fn insert(table: &str, count: usize) -> String {
    let places = vec!["(?, ?, ?, ?)"; count].join(", ");
    format!("INSERT INTO `{}` (k, revision, number, data) VALUES {places}", name(table))
}

/// Removes the parts of values, up to the list of their keys.
pub(crate) fn clear(table: &str) -> String {
    format!("DELETE p FROM `{}` p FORCE INDEX (PRIMARY) WHERE p.k IN ", name(table))
}

/// Joins the parts of the rows `t`, of which those without parts are not looked for.
pub(crate) fn join(table: &str) -> String {
    format!(
        "LEFT JOIN `{}` p FORCE INDEX (PRIMARY) ON p.k = t.k AND p.revision = t.parts",
        name(table)
    )
}

/// One row by its key, with the bytes of a range; [`range_values`] are its values.
pub(crate) fn range(table: &str) -> String {
    let skipped = format!("GREATEST(? - p.number * {PART_BYTES}, 0)");
    let end = format!("LEAST(? - p.number * {PART_BYTES}, {PART_BYTES})");
    format!(
        "SELECT t.k, t.size, t.revision, SUBSTRING(t.v, ?, ?), p.number, \
         SUBSTRING(p.data, 1 + {skipped}, {end} - {skipped}), 1 FROM `{table}` t {} \
         AND p.number BETWEEN ? AND ? WHERE t.k = ?",
        join(table)
    )
}

/// The values of [`range`].
pub(crate) fn range_values(key: &[u8], range: ByteRange) -> Vec<Value> {
    // No value is so long; the server takes no place that is much larger.
    let clipped = |place: u64| i64::try_from(place.min(VALUE_BYTES_MAX)).unwrap_or(i64::MAX);
    let (start, end) = (clipped(range.start), clipped(range.end.unwrap_or(u64::MAX)));
    let part = PART_BYTES as i64;
    let numbers = [start + 1, end - start, start, end, start, start / part, (end - 1) / part];
    let key = Value::Bytes(key.to_vec());
    numbers.into_iter().map(Value::Int).chain([key]).collect()
}

/// Whether the operation writes a value in parts.
pub(crate) fn is_large(op: &Op) -> bool {
    matches!(op, Op::Put { value, .. } if value.len() > PART_BYTES)
}

/// Which parts of an operation's value are written together: the first of them, and how many.
/// That is [`GROUP`] or one.
pub(crate) fn groups(op: &Op, packet_bytes: usize) -> Vec<(usize, usize)> {
    let Op::Put { value, .. } = op else { return Vec::new() };
    if !is_large(op) {
        return Vec::new();
    }
    let fits = GROUP * (PART_BYTES + KEY_BYTES_MAX + FRAME_BYTES) <= packet_bytes;
    let count = value.len().div_ceil(PART_BYTES);
    let together = if fits { count - count % GROUP } else { 0 };
    let groups = (0..together).step_by(GROUP).map(|first| (first, GROUP));
    groups.chain((together..count).map(|first| (first, 1))).collect()
}

/// The values of [`insert`] for a group.
pub(crate) fn values(op: &Op, revision: u64, (first, count): (usize, usize)) -> Vec<Value> {
    let Op::Put { key, value, .. } = op else { return Vec::new() };
    let parts = value.chunks(PART_BYTES).enumerate().skip(first).take(count);
    let values = parts.flat_map(|(number, part)| {
        let key = Value::Bytes(key.as_bytes().to_vec());
        let part = Value::Bytes(part.to_vec());
        [key, Value::UInt(revision), Value::UInt(number as u64), part]
    });
    values.collect()
}

/// Rows with the bytes of a range of their values, put together as they come.
#[derive(Debug)]
pub(crate) struct Whole {
    range: ByteRange,
    rows: BTreeMap<Vec<u8>, Valued>,
    damaged: bool,
}

/// A row with its value.
#[derive(Debug)]
pub(crate) struct Valued {
    pub(crate) size: u64,
    pub(crate) revision: u64,
    pub(crate) value: Vec<u8>,
    /// What a page says of the rows that it was chosen from.
    pub(crate) found: u64,
    /// How many bytes of the value have come.
    filled: usize,
}

/// The columns: key, size, revision, value, the number and bytes of a part, and `found`.
type Columns = (Vec<u8>, u64, u64, Vec<u8>, Option<u64>, Option<Vec<u8>>, u64);

impl Whole {
    /// None yet.
    pub(crate) fn of(range: ByteRange) -> Self {
        Self { range, rows: BTreeMap::new(), damaged: false }
    }

    /// The rows by their keys; none if something is missing of one.
    pub(crate) fn rows(self) -> Option<BTreeMap<Vec<u8>, Valued>> {
        let whole = self.rows.values().all(|row| row.filled == row.value.len());
        (whole && !self.damaged).then_some(self.rows)
    }

    fn add(&mut self, row: Row) -> Option<()> {
        let (key, size, revision, value, number, data, found): Columns = from_row_opt(row).ok()?;
        let wanted = self.range.clip(size).ok().filter(|_| size <= VALUE_BYTES_MAX)?;
        let bytes = usize::try_from(wanted.end.saturating_sub(wanted.start)).ok()?;
        let (Some(number), Some(data)) = (number, data) else {
            let row = Valued { size, revision, found, filled: value.len(), value };
            let fits = row.filled == bytes;
            self.rows.insert(key, row);
            return fits.then_some(());
        };
        let row = self.rows.entry(key).or_insert_with(|| {
            let value = vec![0; bytes];
            Valued { size, revision, found, filled: 0, value }
        });
        // The server may bring the parts in any order.
        let place = number.checked_mul(PART_BYTES as u64)?.saturating_sub(wanted.start);
        let place = usize::try_from(place).ok()?;
        row.value.get_mut(place..place.checked_add(data.len())?)?.copy_from_slice(&data);
        row.filled += data.len();
        Some(())
    }
}

impl Extend<Row> for Whole {
    fn extend<T: IntoIterator<Item = Row>>(&mut self, rows: T) {
        for row in rows {
            self.damaged |= self.add(row).is_none();
        }
    }
}
