//! One request to the server: a connection, a deadline, and another try where nothing happened.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use deadpool_postgres::{Client, Object, Pool};
use futures::FutureExt;
use futures::future::{Either, select};
use holdall_core::waiting::Gathering;
use holdall_core::{Env, Error, Operation, Result};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::config::Values;
use crate::error;
use crate::statements::Statements;

/// How often a transaction that the server ended in favour of another is tried.
const TRIES: u32 = 8;
/// The first pause between two tries; each further one is up to twice as long.
const PAUSE_MS: u64 = 5;

/// What a statement is given.
pub(crate) type Arguments<'a> = &'a [&'a (dyn ToSql + Sync)];

/// An opened schema of a server.
pub(crate) struct Server {
    pub(crate) pool: Pool,
    pub(crate) gathering: Gathering,
    pub(crate) env: Env,
    pub(crate) statements: Statements,
    pub(crate) schema: String,
    pub(crate) values: Values,
    pub(crate) large_above: i64,
    /// How many locks of keys a write may take.
    pub(crate) locks_max: usize,
    /// Whether it keeps what is told of rows.
    pub(crate) describes: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) statement_timeout: Duration,
}

/// What an error after sending means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
}

/// Why one try failed.
enum Failed {
    /// For good.
    Final(Error),
    /// The transaction did surely not happen, and may be tried again.
    Again(Error),
}

impl Server {
    /// Runs one statement that commits by itself.
    pub(crate) async fn call(
        &self,
        operation: Operation,
        kind: Kind,
        statement: &str,
        arguments: Arguments<'_>,
    ) -> Result<Vec<Row>> {
        let mut tries = 1;
        loop {
            match self.try_call(operation, kind, statement, arguments).await {
                Ok(rows) => return Ok(rows),
                Err(Failed::Again(_)) if tries < TRIES => {
                    let pause = PAUSE_MS << tries;
                    let pause = pause / 2 + self.env.random_below(pause / 2);
                    self.env.sleep(Duration::from_millis(pause)).await;
                    tries += 1;
                }
                Err(Failed::Again(error) | Failed::Final(error)) => return Err(error),
            }
        }
    }

    async fn try_call(
        &self,
        operation: Operation,
        kind: Kind,
        statement: &str,
        arguments: Arguments<'_>,
    ) -> Result<Vec<Row>, Failed> {
        let client = self.connection(operation).await.map_err(Failed::Final)?;
        // The server ends a statement that takes too long; if not even that is heard of, the
        // connection is silent and of no more use.
        let limit = self.statement_timeout + self.connect_timeout;
        let prepared = within(&self.env, limit, client.prepare_cached(statement)).await;
        let Some(prepared) = prepared else {
            give_up(client);
            return Err(Failed::Final(error::slow(operation)));
        };
        let prepared =
            prepared.map_err(|source| Failed::Final(error::unsent(operation, source)))?;
        let Some(answer) = within(&self.env, limit, client.query(&prepared, arguments)).await
        else {
            give_up(client);
            return Err(Failed::Final(match kind {
                Kind::Read => error::slow(operation),
                Kind::Write => error::unknown(operation),
            }));
        };
        answer.map_err(|source| {
            if error::is_transient(&source) {
                return Failed::Again(error::read(operation, source));
            }
            Failed::Final(match kind {
                Kind::Read => error::read(operation, source),
                Kind::Write => error::written(operation, source),
            })
        })
    }

    /// A connection that is free, or a new one.
    pub(crate) async fn connection(&self, operation: Operation) -> Result<Client> {
        match within(&self.env, self.connect_timeout, self.pool.get()).await {
            Some(client) => client.map_err(|source| error::unconnected(operation, source)),
            None => Err(Error::unavailable(
                operation,
                "no connection was free or could be made in time; try again, or allow more with \
                    connect_timeout or max_connections",
            )),
        }
    }
}

/// Closes a connection of which nothing is heard.
pub(crate) fn give_up(client: Client) {
    drop(Object::take(client));
}

/// What the work gives, unless it takes longer.
pub(crate) async fn within<T>(
    env: &Env,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    // A free connection and a statement that is known are there at once, and need no clock.
    if let Some(answer) = work.as_mut().now_or_never() {
        return Some(answer);
    }
    match select(work, env.sleep(limit)).await {
        Either::Left((answer, _)) => Some(answer),
        Either::Right(_) => None,
    }
}

/// A column of an answer. The statements and this code agree on types, so it does not fail.
pub(crate) fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    operation: Operation,
    row: &'a Row,
    index: usize,
) -> Result<T> {
    row.try_get(index).map_err(|source| {
        let message = "the server answers with other columns; the schema was changed";
        Error::corrupt(operation, message).with_source(source)
    })
}
