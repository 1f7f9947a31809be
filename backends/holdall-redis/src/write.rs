//! Writing: one script a batch. Small puts that wait at the same time share one.

use std::sync::Arc;

use async_trait::async_trait;
use holdall_core::waiting::{GATHERED_BYTES_MAX, Gather, Gathering, gather};
use holdall_core::{Env, Error, ErrorKind, Expect, Location, Op, Operation, Result, Revision};
use redis::Value;

use crate::error::{Effect, Failure};
use crate::link::Link;
use crate::row::{Names, Nonce, revision};
use crate::{not_understood, script};

/// What writes under one location.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) names: Names,
    pub(crate) link: Link,
    pub(crate) location: Location,
    pub(crate) env: Env,
    pub(crate) gathering: Gathering,
}

#[async_trait]
impl Gather for Writer {
    fn gathering(&self) -> &Gathering {
        &self.gathering
    }

    async fn write_together(&self, operation: Operation, ops: &[Op]) -> Result<Revision> {
        self.write(operation, ops).await
    }
}

impl Writer {
    /// Lets the steps happen, all or nothing.
    pub(crate) async fn write(&self, operation: Operation, ops: &[Op]) -> Result<Revision> {
        let nonce = self.nonce();
        let call = |by| script::write(&self.names, &nonce, ops, by);
        let said = self.link.ask(Effect::Writes, call).await;
        match said.map_err(|failure| self.failed(operation, failure))? {
            Value::Int(0) => Ok(revision(&nonce)),
            Value::Int(place) => Err(self.conflict(operation, ops, place)),
            _ => Err(self.failed(operation, not_understood(ErrorKind::Unknown))),
        }
    }

    /// One put; together with others that wait, if it is small and expects nothing.
    pub(crate) async fn put(self: &Arc<Self>, op: Op) -> Result<Revision> {
        let alone = op.bytes() > GATHERED_BYTES_MAX || *op.expect() != Expect::Any;
        match alone {
            true => self.write(Operation::Put, &[op]).await,
            false => gather(self, &self.env, Operation::Put, op).await,
        }
    }

    pub(crate) fn nonce(&self) -> Nonce {
        self.env.random()
    }

    fn conflict(&self, operation: Operation, ops: &[Op], place: i64) -> Error {
        let message = "the key is not as expected; read it again and decide";
        let error = Error::conflict(operation, message).with_location(&self.location);
        let at = usize::try_from(place - 1).unwrap_or(usize::MAX);
        ops.get(at).map(Op::key).into_iter().fold(error, Error::with_key)
    }

    pub(crate) fn failed(&self, operation: Operation, failure: Failure) -> Error {
        failure.at(operation).with_location(&self.location)
    }
}
