//! Rows by what is told of them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use holdall_core::{
    ContentType, Description, Error, Filter, Find, Operation, Page, Result, Timestamp,
};
use tokio_postgres::types::ToSql;

use crate::call::Server;

/// The end of the year 9999, in microseconds. Later times are told as this one.
const LAST_MICROS: u64 = 253_402_300_799_999_999;

/// What is told of the rows of a batch as the function `write` takes it: columns, each with a
/// place for every row; empty where nothing is told of any.
#[derive(Debug, Default)]
pub(crate) struct Told<'a> {
    pub(crate) volumes: Vec<Option<&'a str>>,
    pub(crate) names: Vec<Option<&'a str>>,
    pub(crate) bytes: Vec<Option<i64>>,
    pub(crate) written: Vec<Option<SystemTime>>,
    pub(crate) expires: Vec<Option<SystemTime>>,
    pub(crate) content_types: Vec<Option<&'a str>>,
    pub(crate) attributes: Vec<Option<String>>,
}

impl<'a> Told<'a> {
    pub(crate) fn of(
        operation: Operation,
        rows: impl Iterator<Item = Option<&'a Description>> + Clone,
    ) -> Result<Self> {
        let mut told = Self::default();
        if rows.clone().all(|row| row.is_none()) {
            return Ok(told);
        }
        for row in rows {
            told.volumes.push(row.map(|row| row.volume.as_str()));
            told.names.push(row.map(|row| row.name.as_str()));
            told.bytes.push(row.map(|row| number(row.size)));
            told.written.push(row.map(|row| time(row.written)));
            told.expires.push(row.and_then(|row| row.expires).map(time));
            told.content_types.push(row.and_then(|row| row.content_type.as_deref()));
            let some = row.map(|row| &row.attributes).filter(|some| !some.is_empty());
            told.attributes.push(some.map(|some| json(operation, some)).transpose()?);
        }
        Ok(told)
    }
}

/// A size as its column has it; none is larger than the column's largest.
fn number(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn time(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(time.as_micros().min(LAST_MICROS))
}

fn json(operation: Operation, attributes: &BTreeMap<String, String>) -> Result<String> {
    serde_json::to_string(attributes).map_err(|source| {
        let message = "the attributes cannot be written as JSON; give others";
        Error::invalid(operation, message).with_source(source)
    })
}

/// A filter as a condition and its arguments.
struct Condition {
    text: String,
    arguments: Vec<Box<dyn ToSql + Sync + Send>>,
    /// How many arguments come before them.
    before: usize,
}

impl Condition {
    fn of(filter: &Filter, before: usize) -> Result<Self> {
        let text = "AND name IS NOT NULL".to_owned();
        let mut condition = Self { text, arguments: Vec::new(), before };
        if let Some(least) = filter.size_min {
            condition.and("bytes >= ", "bigint", number(least));
        }
        if let Some(most) = filter.size_max {
            condition.and("bytes <= ", "bigint", number(most));
        }
        if let Some(after) = filter.written_after {
            condition.and("written >= ", "timestamptz", time(after));
        }
        if let Some(before) = filter.written_before {
            condition.and("written < ", "timestamptz", time(before));
        }
        match &filter.content_type {
            Some(ContentType::Exactly(wanted)) => {
                condition.and("content_type = ", "text", wanted.clone());
            }
            Some(ContentType::Beginning(kind)) => {
                condition.and("content_type ^@ ", "text", kind.clone());
            }
            None => {}
        }
        if !filter.attributes.is_empty() {
            let wanted = json(Operation::List, &filter.attributes)?;
            condition.and("attributes @> ", "text::jsonb", wanted);
        }
        Ok(condition)
    }

    fn and(&mut self, test: &str, kind: &str, argument: impl ToSql + Sync + Send + 'static) {
        self.arguments.push(Box::new(argument));
        let place = self.before + self.arguments.len();
        self.text += &format!(" AND {test}${place}::{kind}");
    }
}

impl Server {
    /// One page of the rows for which all that is asked holds.
    pub(crate) async fn find(&self, find: &Find) -> Result<Page> {
        let before = if find.list.values { 4 } else { 3 };
        let Condition { text, arguments, .. } = Condition::of(&find.filter, before)?;
        let statement = self.statements.find(find.list.values, &text);
        self.page(&find.list, &statement, &arguments).await
    }
}
