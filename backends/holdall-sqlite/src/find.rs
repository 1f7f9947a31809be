//! Rows by what is told of them.
//!
//! Of two ways SQLite cannot tell the shorter one, as it does not know how many rows fit: along
//! the keys until the page is full, or by an index and then sorted. So the index is looked into
//! first, and taken if few rows fit.

use holdall_core::{ContentType, Description, Error, Filter, Find, Operation, Page, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::error::Failure;
use crate::read::{self, Among};

/// With more rows than this an index is not taken.
const FEW: i64 = 10_000;

/// A size as its column has it; none is larger than the column's largest.
pub(crate) fn number(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A time as its column has it.
pub(crate) fn time(time: Timestamp) -> i64 {
    number(time.as_micros())
}

/// The attributes of a row as JSON, if there are any.
pub(crate) fn attributes(told: &Description) -> Result<Option<String>, Failure> {
    if told.attributes.is_empty() {
        return Ok(None);
    }
    serde_json::to_string(&told.attributes).map(Some).map_err(|source| {
        let message = "the attributes cannot be written as JSON; give others";
        Error::invalid(Operation::Apply, message).with_source(source).into()
    })
}

/// One page of the rows for which all that is asked holds.
pub(crate) fn find(connection: &Connection, find: &Find) -> Result<Page, Failure> {
    find.list.check()?;
    // What was few when it was looked at is still read from the same moment.
    let transaction = connection.unchecked_transaction()?;
    let among = among(&transaction, find)?;
    read::page(&transaction, &find.list, &among)
}

/// Numbers between two bounds, both included, in a column that has an index.
struct Range {
    column: &'static str,
    from: i64,
    to: i64,
}

impl Range {
    fn of(filter: &Filter) -> Vec<Self> {
        let bytes = Self {
            column: "bytes",
            from: filter.size_min.map_or(0, number),
            to: filter.size_max.map_or(i64::MAX, number),
        };
        let written = Self {
            column: "written",
            from: filter.written_after.map_or(0, time),
            to: filter.written_before.map_or(i64::MAX, |before| time(before) - 1),
        };
        let ranges = [bytes, written].into_iter();
        ranges.filter(|range| (range.from, range.to) != (0, i64::MAX)).collect()
    }

    fn is_few(&self, connection: &Connection) -> Result<bool, Failure> {
        let column = self.column;
        let mut statement = connection.prepare_cached(&format!(
            "SELECT count(*) FROM (SELECT 1 FROM holdall_rows INDEXED BY holdall_by_{column} \
            WHERE name IS NOT NULL AND {column} BETWEEN ?1 AND ?2 LIMIT ?3)"
        ))?;
        let bounds = [self.from, self.to, FEW + 1];
        let count: i64 = statement.query_row(params_from_iter(bounds), |row| row.get(0))?;
        Ok(count <= FEW)
    }
}

/// The filter as a condition.
fn among(connection: &Connection, find: &Find) -> Result<Among, Failure> {
    let mut among = Among::default();
    let mut value = |value: Value| {
        among.values.push(value);
        // The first is where the page begins.
        among.values.len() + 1
    };
    let mut condition = "AND name IS NOT NULL".to_owned();
    let mut index = None;
    let end = value(Value::Blob(behind(&find.list.prefix)));
    condition += &format!(" AND key < ?{end}");
    for range in Range::of(&find.filter) {
        let few = index.is_none() && range.is_few(connection)?;
        let column = range.column;
        if few {
            index = Some(format!("INDEXED BY holdall_by_{column}"));
        }
        // The sign keeps SQLite from an index.
        let sign = if few { "" } else { "+" };
        let (from, to) = (value(range.from.into()), value(range.to.into()));
        condition += &format!(" AND {sign}{column} BETWEEN ?{from} AND ?{to}");
    }
    match &find.filter.content_type {
        Some(ContentType::Exactly(wanted)) => {
            let wanted = value(wanted.clone().into());
            condition += &format!(" AND content_type = ?{wanted}");
        }
        Some(ContentType::Beginning(kind)) => {
            let kind = value(kind.clone().into());
            condition += &format!(" AND substr(content_type, 1, length(?{kind})) = ?{kind}");
        }
        None => {}
    }
    for (name, wanted) in &find.filter.attributes {
        let (name, wanted) = (value(name.clone().into()), value(wanted.clone().into()));
        condition += &format!(
            " AND EXISTS (SELECT 1 FROM json_each(attributes) AS told \
            WHERE told.key = ?{name} AND told.value = ?{wanted})"
        );
    }
    among.index = index.unwrap_or_default();
    among.condition = condition;
    Ok(among)
}

/// The first key behind all that begin with a prefix. UTF-8 has no byte 255, so that every last
/// byte has a next one, and a key of this byte alone is behind all keys.
fn behind(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(u8::MAX),
    }
    end
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use holdall_core::List;

    use super::*;
    use crate::layout;

    /// A table of 30,000 rows, of which every second is described.
    fn large() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        layout::make(&mut connection).unwrap();
        connection
            .execute_batch(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
                INSERT INTO holdall_rows (key, revision, size, value, volume, name, bytes, written,
                    content_type, attributes)
                SELECT CAST(printf('k%05d', i) AS BLOB), i, 0, x'', 'v',
                    iif(i % 2, printf('%05d', i), NULL), i, i, 't/' || (i % 100), '{}' FROM n",
            )
            .unwrap();
        connection
    }

    fn plan(connection: &Connection, filter: Filter) -> (String, usize) {
        let asked = Find { list: List::prefix("k").limit(100_000), filter };
        let among = among(connection, &asked).unwrap();
        let (text, start) = read::question(&asked.list, &among);
        let values = [&start].into_iter().chain(&among.values);
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
        let steps = plan.query_map(params_from_iter(values), |row| row.get::<_, String>(3));
        let steps: Vec<String> = steps.unwrap().map(Result::unwrap).collect();
        (steps.join("; "), find(connection, &asked).unwrap().rows.len())
    }

    #[test]
    fn an_index_is_taken_where_it_leads_to_few_rows() {
        let connection = large();
        let filter = Filter::default;
        for (filter, index, count) in [
            (Filter { size_min: Some(29_991), ..filter() }, "holdall_by_bytes (bytes>", 5),
            (Filter { size_max: Some(10), ..filter() }, "holdall_by_bytes (bytes>", 5),
            (Filter { size_min: Some(10), ..filter() }, "PRIMARY KEY (key>", 14_995),
            (
                Filter { written_before: Some(Timestamp::from_micros(11)), ..filter() },
                "holdall_by_written (written>",
                5,
            ),
            (
                Filter {
                    size_min: Some(10),
                    written_after: Some(Timestamp::from_micros(29_991)),
                    ..filter()
                },
                "holdall_by_written (written>",
                5,
            ),
            (
                Filter { content_type: Some(ContentType::parse("t/7")), ..filter() },
                "holdall_by_content_type (content_type=? AND key>",
                300,
            ),
            (filter(), "PRIMARY KEY (key>", 15_000),
        ] {
            let (plan, found) = plan(&connection, filter.clone());
            assert!(plan.contains(index), "{filter:?}: {plan}");
            assert_eq!(found, count, "{filter:?}: {plan}");
        }
    }

    #[test]
    fn rows_of_which_nothing_is_told_are_in_no_index() {
        let connection = large();
        for index in ["bytes", "written", "content_type"] {
            let count: i64 = connection
                .query_row(
                    &format!(
                        "SELECT count(*) FROM holdall_rows INDEXED BY holdall_by_{index}
                        WHERE name IS NOT NULL"
                    ),
                    [],
                    |row| row.get(0),
                )
                .unwrap();
            assert_eq!(count, 15_000);
        }
    }
}
