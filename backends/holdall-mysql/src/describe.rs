//! What is told of rows: columns of the same row, so that it ends with it, and filters on them.
//!
//! Texts are bytes, which compare to the letter; the view shows them as text. Times are UTC.
//! `attributes` is null where there are none.

use std::collections::BTreeMap;

use holdall_core::{ContentType, Description, Filter, Op, Timestamp};
use mysql_async::Value;

use crate::read::behind;
use crate::sql::{literal, quote};

/// The columns, and the indexes that lead to few of the rows.
pub(crate) const COLUMNS: [&str; 10] = [
    "volume VARBINARY(1024) NULL",
    "name VARBINARY(1024) NULL",
    "bytes BIGINT UNSIGNED NULL",
    "written DATETIME(6) NULL",
    "expires DATETIME(6) NULL",
    "content_type VARBINARY(1024) NULL",
    "attributes JSON NULL",
    "KEY by_bytes (bytes)",
    "KEY by_written (written)",
    "KEY by_content_type (content_type)",
];

/// Ends what was told of the row before.
pub(crate) const UNTOLD: &str = "volume = NULL, name = NULL, bytes = NULL, written = NULL, \
     expires = NULL, content_type = NULL, attributes = NULL";

/// The places of [`values`] in a prepared statement.
pub(crate) const PLACES: &str = "?, ?, ?, TIMESTAMP'1970-01-01 00:00:00' + INTERVAL ? \
     MICROSECOND, TIMESTAMP'1970-01-01 00:00:00' + INTERVAL ? MICROSECOND, ?, \
     CONVERT(? USING utf8mb4)";

/// The end of the year 9999, the last that the columns take, in microseconds. Later times are
/// told as this one.
const LAST_MICROS: u64 = 253_402_300_799_999_999;

/// A column or an index as it is added to a table that is there.
pub(crate) fn added(column: &str) -> String {
    format!("ADD {column}")
}

/// The view for people.
pub(crate) fn view(table: &str) -> String {
    let text =
        |column: &str| format!("CONVERT({column} USING utf8mb4) COLLATE utf8mb4_bin AS {column}");
    format!(
        "CREATE VIEW `{table}_entries` AS SELECT {}, {}, bytes AS size, written, expires, {}, \
         attributes FROM `{table}` WHERE name IS NOT NULL",
        text("volume"),
        text("name"),
        text("content_type"),
    )
}

fn description(op: &Op) -> Option<&Description> {
    match op {
        Op::Put { description, .. } => description.as_deref(),
        Op::Delete { .. } | Op::Check { .. } => None,
    }
}

fn micros(time: Timestamp) -> u64 {
    time.as_micros().min(LAST_MICROS)
}

/// What a row's column gets, if there are any.
fn json(attributes: &BTreeMap<String, String>) -> Option<String> {
    // Texts under texts can always be written as JSON.
    (!attributes.is_empty()).then(|| serde_json::to_string(attributes).unwrap_or_default())
}

/// What is told of a row, for a prepared statement.
pub(crate) fn values(op: &Op) -> Vec<Value> {
    let Some(told) = description(op) else { return vec![Value::NULL; 7] };
    let bytes = |text: &str| Value::Bytes(text.as_bytes().to_vec());
    let null = || Value::NULL;
    vec![
        bytes(&told.volume),
        bytes(&told.name),
        Value::UInt(told.size),
        Value::UInt(micros(told.written)),
        told.expires.map_or_else(null, |time| Value::UInt(micros(time))),
        told.content_type.as_deref().map_or_else(null, bytes),
        json(&told.attributes).map_or_else(null, |json| bytes(&json)),
    ]
}

/// Adds what is told of a row to the text of its values.
pub(crate) fn write(op: &Op, row: &mut Vec<u8>) {
    let Some(told) = description(op) else {
        row.extend_from_slice(b",NULL,NULL,NULL,NULL,NULL,NULL,NULL");
        return;
    };
    let null = || b"NULL".to_vec();
    for part in [
        literal(told.volume.as_bytes()),
        literal(told.name.as_bytes()),
        told.size.to_string().into_bytes(),
        moment(told.written),
        told.expires.map_or_else(null, moment),
        told.content_type.as_deref().map_or_else(null, |text| literal(text.as_bytes())),
        json(&told.attributes).map_or_else(null, |json| document(&json)),
    ] {
        row.push(b',');
        row.extend_from_slice(&part);
    }
}

fn moment(time: Timestamp) -> Vec<u8> {
    let micros = micros(time);
    format!("TIMESTAMP'1970-01-01 00:00:00' + INTERVAL {micros} MICROSECOND").into_bytes()
}

/// JSON in a text of statements, whose literals are bytes.
fn document(json: &str) -> Vec<u8> {
    let mut text = b"CONVERT(".to_vec();
    quote(json.as_bytes(), &mut text);
    text.extend_from_slice(b" USING utf8mb4)");
    text
}

/// A filter as conditions that follow others.
pub(crate) fn condition(filter: &Filter) -> Vec<u8> {
    let mut text = b" AND name IS NOT NULL".to_vec();
    let mut and = |test: &str, value: Vec<u8>| {
        text.extend_from_slice(b" AND ");
        text.extend_from_slice(test.as_bytes());
        text.extend_from_slice(&value);
    };
    if let Some(least) = filter.size_min {
        and("bytes >= ", least.to_string().into_bytes());
    }
    if let Some(most) = filter.size_max {
        and("bytes <= ", most.to_string().into_bytes());
    }
    if let Some(after) = filter.written_after {
        and("written >= ", moment(after));
    }
    if let Some(before) = filter.written_before {
        and("written < ", moment(before));
    }
    match &filter.content_type {
        Some(ContentType::Exactly(wanted)) => and("content_type = ", literal(wanted.as_bytes())),
        Some(ContentType::Beginning(kind)) => {
            and("content_type >= ", literal(kind.as_bytes()));
            if let Some(end) = behind(kind.as_bytes()) {
                and("content_type < ", literal(&end));
            }
        }
        None => {}
    }
    if let Some(wanted) = json(&filter.attributes) {
        let wanted = [document(&wanted), b")".to_vec()].concat();
        and("JSON_CONTAINS(attributes, ", wanted);
    }
    text
}
