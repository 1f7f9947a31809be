//! Writing: everything is a batch, and a batch is one call of the schema's function.

use holdall_core::{Error, Expect, Key, Op, Operation, Result, Revision};

use crate::call::{Kind, Server, column};
use crate::lock::Locks;

/// The number of a revision that was never given.
const NEVER: i64 = -1;

/// The steps of a batch as the function takes them: columns.
#[derive(Debug, Default)]
struct Steps<'a> {
    expected: Vec<&'a Key>,
    expected_keys: Vec<&'a [u8]>,
    /// The revision that must be there; none where nothing may be.
    expected_revisions: Vec<Option<i64>>,
    puts: Vec<(&'a [u8], &'a [u8])>,
    deletes: Vec<&'a [u8]>,
}

impl<'a> Steps<'a> {
    fn new(ops: &'a [Op]) -> Self {
        let mut steps = Self::default();
        for op in ops {
            let expected = match op.expect() {
                Expect::Any => None,
                Expect::Absent => Some(None),
                Expect::Revision(revision) => {
                    let number = revision.as_number().and_then(|number| i64::try_from(number).ok());
                    Some(Some(number.unwrap_or(NEVER)))
                }
            };
            let key = op.key();
            if let Some(expected) = expected {
                steps.expected.push(key);
                steps.expected_keys.push(key.as_bytes());
                steps.expected_revisions.push(expected);
            }
            match op {
                Op::Put { value, .. } => steps.puts.push((key.as_bytes(), value)),
                Op::Delete { .. } => steps.deletes.push(key.as_bytes()),
                Op::Check { .. } => {}
            }
        }
        // Neighbours share pages of the index.
        steps.puts.sort_unstable_by_key(|(key, _)| *key);
        steps.deletes.sort_unstable();
        steps
    }
}

impl Server {
    /// Lets the steps happen, all or nothing. Each key is named once.
    pub(crate) async fn write(&self, operation: Operation, ops: &[Op]) -> Result<Revision> {
        let locks = Locks::of(&self.schema, ops, self.locks_max);
        let steps = Steps::new(ops);
        let (keys, values): (Vec<&[u8]>, Vec<&[u8]>) = steps.puts.into_iter().unzip();
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
                ],
            )
            .await?;
        let strange = || Error::unknown(operation, "the server did not say what was written");
        let row = answer.first().ok_or_else(strange)?;
        if let Some(failed) = column::<Option<i64>>(operation, row, 0)? {
            let message = "the key has changed since it was read; read it again";
            let error = Error::conflict(operation, message);
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
