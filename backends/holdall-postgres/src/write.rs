//! Writing: a batch is one call of the schema's function. A put of one row, which is what most
//! writes are, has a statement of its own that costs the server less.

use async_trait::async_trait;
use holdall_core::waiting::{Gather, Gathering};
use holdall_core::{Description, Error, Expect, Key, Op, Operation, Result, Revision};
use tokio_postgres::types::ToSql;

use crate::call::{Kind, Server, column};
use crate::config::Values;
use crate::find::Told;
use crate::lock::{self, Locks};

/// The number of a revision that was never given.
const NEVER: i64 = -1;

/// The steps of a batch as the function takes them: columns.
#[derive(Debug, Default)]
struct Steps<'a> {
    expected: Vec<&'a Key>,
    expected_keys: Vec<&'a [u8]>,
    /// The revision that must be there; none where nothing may be.
    expected_revisions: Vec<Option<i64>>,
    puts: Vec<(&'a [u8], &'a [u8], Option<&'a Description>)>,
    deletes: Vec<&'a [u8]>,
}

impl<'a> Steps<'a> {
    fn new(ops: &'a [Op]) -> Self {
        let mut steps = Self::default();
        for op in ops {
            let expected = match op.expect() {
                Expect::Any => None,
                Expect::Absent => Some(None),
                Expect::Revision(revision) => Some(Some(number(revision))),
            };
            let key = op.key();
            if let Some(expected) = expected {
                steps.expected.push(key);
                steps.expected_keys.push(key.as_bytes());
                steps.expected_revisions.push(expected);
            }
            match op {
                Op::Put { value, description, .. } => {
                    steps.puts.push((key.as_bytes(), value, description.as_deref()));
                }
                Op::Delete { .. } => steps.deletes.push(key.as_bytes()),
                Op::Check { .. } => {}
            }
        }
        // Neighbours share pages of the index.
        steps.puts.sort_unstable_by_key(|(key, ..)| *key);
        steps.deletes.sort_unstable();
        steps
    }
}

/// A revision as the table holds it.
fn number(revision: &Revision) -> i64 {
    revision.as_number().and_then(|number| i64::try_from(number).ok()).unwrap_or(NEVER)
}

/// Puts that wait at the same time share one round trip and one sync of the server's log.
#[async_trait]
impl Gather for Server {
    fn gathering(&self) -> &Gathering {
        &self.gathering
    }

    async fn write_together(&self, operation: Operation, ops: &[Op]) -> Result<Revision> {
        self.write(operation, ops).await
    }
}

impl Server {
    /// Lets the steps happen, all or nothing. Each key is named once.
    pub(crate) async fn write(&self, operation: Operation, ops: &[Op]) -> Result<Revision> {
        match ops {
            [Op::Put { key, value, expect, description: None }] if !self.is_large(value) => {
                self.put(operation, key, value, expect).await
            }
            ops => self.batch(operation, ops).await,
        }
    }

    fn is_large(&self, value: &[u8]) -> bool {
        self.values != Values::Bytea && value.len() as u64 > self.large_above.cast_unsigned()
    }

    async fn put(
        &self,
        operation: Operation,
        key: &Key,
        value: &[u8],
        expect: &Expect,
    ) -> Result<Revision> {
        let name = key.as_bytes();
        let (schema_lock, key_lock) = lock::of_key(&self.schema, name);
        let expected = match expect {
            Expect::Revision(revision) => number(revision),
            Expect::Any | Expect::Absent => NEVER,
        };
        let all: [&(dyn ToSql + Sync); 5] = [&schema_lock, &key_lock, &name, &value, &expected];
        let (statement, arguments) = match expect {
            Expect::Any => (&self.statements.put, &all[..4]),
            Expect::Absent => (&self.statements.put_absent, &all[..4]),
            Expect::Revision(_) => (&self.statements.put_revision, &all[..]),
        };
        let answer = self.call(operation, Kind::Write, statement, arguments).await?;
        let row = answer.first().ok_or_else(|| conflict(operation).with_key(key))?;
        Ok(Revision::number(column::<i64>(operation, row, 0)?.cast_unsigned()))
    }

    async fn batch(&self, operation: Operation, ops: &[Op]) -> Result<Revision> {
        let locks = Locks::of(&self.schema, ops, self.locks_max);
        let steps = Steps::new(ops);
        let keys: Vec<&[u8]> = steps.puts.iter().map(|(key, ..)| *key).collect();
        let values: Vec<&[u8]> = steps.puts.iter().map(|(_, value, _)| *value).collect();
        let told = steps.puts.iter().map(|(.., told)| *told);
        let told = if self.describes { Told::of(operation, told)? } else { Told::default() };
        let form = self.values.as_str();
        let answer = self
            .call(
                operation,
                Kind::Write,
                &self.statements.write,
                &[
                    &locks.numbers,
                    &locks.shared,
                    &steps.expected_keys,
                    &steps.expected_revisions,
                    &keys,
                    &values,
                    &steps.deletes,
                    &form,
                    &self.large_above,
                    &told.volumes,
                    &told.names,
                    &told.bytes,
                    &told.written,
                    &told.expires,
                    &told.content_types,
                    &told.attributes,
                ],
            )
            .await?;
        let strange = || Error::unknown(operation, "the server did not say what was written");
        let row = answer.first().ok_or_else(strange)?;
        if let Some(failed) = column::<Option<i64>>(operation, row, 0)? {
            let error = conflict(operation);
            let key = usize::try_from(failed - 1).ok().and_then(|at| steps.expected.get(at));
            return Err(match key {
                Some(key) => error.with_key(key),
                None => error,
            });
        }
        let given: i64 = column::<Option<i64>>(operation, row, 1)?.ok_or_else(strange)?;
        Ok(Revision::number(given.cast_unsigned()))
    }
}

fn conflict(operation: Operation) -> Error {
    Error::conflict(operation, "the key has changed since it was read; read it again")
}
