//! Comfort for callers, built on [`Backend`] alone.

use async_trait::async_trait;

use crate::{Backend, ByteRange, Error, Key, List, Object, Operation, Result, Row};

/// Comfort for callers. Implemented for every backend; not for implementing.
#[async_trait]
pub trait BackendExt: Backend {
    /// Reads one value whole.
    async fn get_all(&self, key: &Key) -> Result<Option<Object>> {
        self.get(key, ByteRange::ALL).await
    }

    /// All rows that begin with `prefix`, page by page, in memory: for small sets.
    async fn list_all(&self, prefix: &str, values: bool) -> Result<Vec<Row>> {
        let mut list = List { values, ..List::prefix(prefix) };
        let mut rows = Vec::new();
        loop {
            let page = self.list(&list).await?;
            let last = page.rows.last().map(|row| row.key.as_str().to_owned());
            rows.extend(page.rows);
            match last {
                Some(last) if page.more => list = list.after(last),
                _ => return Ok(rows),
            }
        }
    }

    /// Refuses keys and values that are over this backend's limits.
    ///
    /// # Errors
    /// `Invalid`, with the limit.
    fn check_limits(&self, operation: Operation, key: &Key, value_bytes: usize) -> Result<()> {
        let profile = self.profile();
        let key_bytes = key.as_bytes().len();
        if key_bytes > profile.key_bytes_max {
            let max = profile.key_bytes_max;
            let message = format!("the key has {key_bytes} bytes; this backend takes {max}");
            return Err(Error::invalid(operation, message).with_key(key));
        }
        if value_bytes as u64 > profile.value_bytes_max {
            let max = profile.value_bytes_max;
            let message = format!("the value has {value_bytes} bytes; this backend takes {max}");
            return Err(Error::invalid(operation, message).with_key(key));
        }
        Ok(())
    }

    /// The answer of a backend that keeps no descriptions to a question for them.
    fn no_metadata(&self) -> Error {
        let message = format!("{} keeps no descriptions of its rows", self.profile().engine);
        Error::unsupported(Operation::Find, message)
    }

    /// Refuses batches that are over this backend's limits, or name a key twice.
    ///
    /// # Errors
    /// `Unsupported` if the backend has no batches; `Invalid`, with the limit.
    fn check_batch(&self, batch: &crate::Batch) -> Result<()> {
        let profile = self.profile();
        if !profile.atomic {
            let message = format!("{} cannot apply a batch all or nothing", profile.engine);
            return Err(Error::unsupported(Operation::Apply, message));
        }
        let (ops, bytes) = (batch.len(), batch.bytes());
        if ops > profile.batch_ops_max || bytes as u64 > profile.batch_bytes_max {
            let message = format!(
                "the batch has {ops} steps and {bytes} bytes; this backend takes {} and {}",
                profile.batch_ops_max, profile.batch_bytes_max
            );
            return Err(Error::invalid(Operation::Apply, message));
        }
        let mut seen = std::collections::HashSet::with_capacity(ops);
        for op in &batch.ops {
            let value_bytes = match op {
                crate::Op::Put { value, .. } => value.len(),
                _ => 0,
            };
            self.check_limits(Operation::Apply, op.key(), value_bytes)?;
            if !seen.insert(op.key()) {
                let message = "the batch names a key twice; name each key once";
                return Err(Error::invalid(Operation::Apply, message).with_key(op.key()));
            }
        }
        Ok(())
    }
}

impl<B: Backend + ?Sized> BackendExt for B {}
