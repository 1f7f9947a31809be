//! One connection while it lives: asking, and what server it leads to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, Value};

use crate::server::{SETTINGS, Survey};

/// A connection. Cheap to ask from many tasks at once: their requests go out one behind the
/// other, and answers come back in that order.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) connection: MultiplexedConnection,
    /// Set by the client library when it notices the end, or by us when we want no more of it.
    pub(crate) ended: Arc<AtomicBool>,
    pub(crate) survey: Arc<Survey>,
}

/// The replicas that must have a write before it counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) replicas: u32,
    pub(crate) timeout: Duration,
}

/// What is asked.
#[derive(Debug)]
pub(crate) enum Call {
    One(Cmd),
    /// Several things that change nothing, sent as one and answered in turn, with an array.
    Together(Vec<Cmd>),
}

impl From<Cmd> for Call {
    fn from(call: Cmd) -> Self {
        Self::One(call)
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) enum Said {
    Value(Value),
    Error(RedisError),
    /// It was done, but only so many replicas have it.
    TooFew(i64),
}

impl Live {
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// The next call makes a new connection; what waits on this one still gets its answer.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    pub(crate) async fn send(
        &mut self,
        call: Call,
        wait: Option<Wait>,
    ) -> Result<Said, RedisError> {
        match call {
            Call::One(call) => self.send_one(call, wait).await,
            Call::Together(calls) => self.send_together(calls).await,
        }
    }

    async fn send_one(&mut self, call: Cmd, wait: Option<Wait>) -> Result<Said, RedisError> {
        let connection = &mut self.connection;
        let Some(wait) = wait else {
            return Ok(match connection.send_packed_command(&call).await? {
                Value::ServerError(error) => Said::Error(error.into()),
                value => Said::Value(value),
            });
        };
        let mut calls = Pipeline::with_capacity(2);
        calls.add_command(call);
        calls.cmd("WAIT").arg(wait.replicas).arg(wait.timeout.as_millis() as u64);
        let mut said = connection.req_packed_commands(&calls, 0, 2).await?.into_iter();
        let reached = match (said.next(), said.next()) {
            (Some(Value::ServerError(error)), _) => return Ok(Said::Error(error.into())),
            // A conflict wrote nothing that could be on its way to a replica.
            (Some(value @ Value::Int(1..)), _) => return Ok(Said::Value(value)),
            (Some(value), Some(Value::Int(reached))) if reached >= i64::from(wait.replicas) => {
                return Ok(Said::Value(value));
            }
            (_, Some(Value::Int(reached))) => reached,
            _ => 0,
        };
        Ok(Said::TooFew(reached))
    }

    async fn send_together(&mut self, calls: Vec<Cmd>) -> Result<Said, RedisError> {
        let count = calls.len();
        let mut together = Pipeline::with_capacity(count);
        for call in calls {
            together.add_command(call);
        }
        let said = self.connection.req_packed_commands(&together, 0, count).await?;
        let failed = said.iter().find_map(|said| match said {
            Value::ServerError(error) => Some(Said::Error(error.clone().into())),
            _ => None,
        });
        Ok(failed.unwrap_or(Said::Value(Value::Array(said))))
    }
}

/// Asks a new connection what server it leads to, and who last opened the location there.
///
/// The inner error is the server's: in a cluster, that the location is on another node.
pub(crate) async fn survey(
    connection: &mut MultiplexedConnection,
    opened: &str,
) -> Result<Result<Survey, RedisError>, RedisError> {
    let mut calls = Pipeline::new();
    calls.cmd("GET").arg(opened).cmd("INFO");
    for setting in SETTINGS {
        calls.cmd("CONFIG").arg("GET").arg(setting);
    }
    let said = connection.req_packed_commands(&calls, 0, SETTINGS.len() + 2).await?;
    let mut said = said.into_iter();
    let mut texts = Vec::new();
    for value in said.by_ref().take(2) {
        match value {
            Value::ServerError(error) => return Ok(Err(error.into())),
            value => texts.push(Option::<String>::from_redis_value(value)?),
        }
    }
    let info = texts.pop().flatten().unwrap_or_default();
    let mut settings = HashMap::new();
    for value in said {
        // Managed servers forbid this; then nobody knows.
        if let Ok(told) = HashMap::<String, String>::from_redis_value(value) {
            settings.extend(told);
        }
    }
    Ok(Ok(Survey::new(&info, &settings, texts.pop().flatten())))
}
