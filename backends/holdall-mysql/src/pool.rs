//! Connections: made when they are needed, kept, handed out one to a call.
//!
//! The library's own pool is not used: a caller that goes away between being woken and taking its
//! turn there leaves the others asleep.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{Either, select};
use holdall_core::waiting::{Permit, Turnstile};
use holdall_core::{Env, Error, Operation, Result};
use mysql_async as mysql;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Row, Statement, Value};

use crate::error;

/// A connection that was used so shortly ago is taken to be alive.
const FRESH: Duration = Duration::from_secs(1);
/// Connections above the least number that were not used for so long are closed.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The connections of one backend.
#[derive(Clone, Debug)]
pub(crate) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    opts: Opts,
    env: Env,
    timeout: Duration,
    least: usize,
    /// Lets as many calls in as there may be connections.
    turnstile: Turnstile,
    /// The one used last is at the end, and taken first.
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    conn: Conn,
    since: Duration,
}

impl Pool {
    pub(crate) fn new(
        opts: Opts,
        env: &Env,
        timeout: Duration,
        (least, most): (usize, usize),
    ) -> Self {
        let (env, turnstile, idle) = (env.clone(), Turnstile::new(most), Mutex::default());
        Self(Arc::new(Shared { opts, env, timeout, least, turnstile, idle }))
    }

    /// Waits for a connection: one that is free, or a new one.
    ///
    /// # Errors
    /// Those of connecting; `Unavailable` if it takes too long. Nothing was asked of the server.
    pub(crate) async fn lease(&self, operation: Operation) -> Result<Lease> {
        let shared = &self.0;
        let work = async {
            let permit = shared.turnstile.enter().await;
            let conn = match self.used().await {
                Some(conn) => conn,
                None => Conn::new(shared.opts.clone()).await?,
            };
            Ok(Lease { conn: Some(conn), pool: self.clone(), _permit: permit })
        };
        let late = || {
            let message = "no connection to the server came in time; try again, or raise \
                           max_connections or connect_timeout";
            Error::unavailable(operation, message)
        };
        match within(&shared.env, shared.timeout, work).await {
            Some(lease) => lease.map_err(|source| error::mysql(operation, source)),
            None => Err(late()),
        }
    }

    /// Makes the least number of connections.
    pub(crate) async fn fill(&self, operation: Operation) -> Result<()> {
        let leases = (0..self.0.least).map(|_| self.lease(operation));
        let leases = futures::future::try_join_all(leases).await?;
        leases.into_iter().for_each(Lease::done);
        Ok(())
    }

    /// A connection that was used before and still answers.
    async fn used(&self) -> Option<Conn> {
        loop {
            let Idle { mut conn, since } = self.idle().pop()?;
            if self.0.env.elapsed().saturating_sub(since) < FRESH || conn.ping().await.is_ok() {
                return Some(conn);
            }
            self.forget();
        }
    }

    /// Closes the connections that nobody uses: one of them was found dead.
    fn forget(&self) {
        let idle = std::mem::take(&mut *self.idle());
        drop(idle);
    }

    fn put_back(&self, conn: Conn) {
        let now = self.0.env.elapsed();
        let mut old = Vec::new();
        {
            let mut idle = self.idle();
            idle.push(Idle { conn, since: now });
            let unused = |idle: &Idle| now.saturating_sub(idle.since) > IDLE_MAX;
            while idle.len() > self.0.least && idle.first().is_some_and(unused) {
                old.push(idle.remove(0));
            }
        }
        drop(old);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection for one call. Unless the call says that it is [`done`](Lease::done), the connection
/// is closed: what goes on in it is not known then.
#[derive(Debug)]
pub(crate) struct Lease {
    conn: Option<Conn>,
    pool: Pool,
    // Dropped after the connection was put back.
    _permit: Permit,
}

impl Lease {
    /// Gives the connection back. No transaction is open in it.
    pub(crate) fn done(mut self) {
        if let Some(conn) = self.conn.take() {
            self.pool.put_back(conn);
        }
    }

    fn conn(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("a lease has its connection until it is done")
    }

    /// Sends one text of statements, and returns the rows of all of them.
    pub(crate) async fn query(&mut self, text: &[u8]) -> mysql::Result<Vec<Row>> {
        let mut rows = Vec::new();
        self.query_into(text, &mut rows).await?;
        Ok(rows)
    }

    /// The same, and each row goes where it is wanted as it comes.
    pub(crate) async fn query_into(
        &mut self,
        text: &[u8],
        rows: &mut impl Extend<Row>,
    ) -> mysql::Result<()> {
        let conn = self.conn();
        let done = async {
            let mut result = conn.query_iter(text).await?;
            loop {
                while let Some(row) = result.next().await? {
                    rows.extend([row]);
                }
                if result.is_empty() {
                    break;
                }
            }
            // An error of a later statement comes out here.
            result.drop_result().await
        };
        let done = done.await;
        self.note(done)
    }

    /// Has the statement ready to be executed; asks the server only the first time.
    pub(crate) async fn prepare(&mut self, statement: &str) -> mysql::Result<Statement> {
        let prepared = self.conn().prep(statement).await;
        self.note(prepared)
    }

    /// Executes it, and returns how many rows it changed. Each row of its answer goes where it is
    /// wanted as it comes.
    pub(crate) async fn execute(
        &mut self,
        statement: &Statement,
        values: Vec<Value>,
        rows: &mut impl Extend<Row>,
    ) -> mysql::Result<u64> {
        let conn = self.conn();
        let affected = async {
            let mut result = conn.exec_iter(statement, values).await?;
            while let Some(row) = result.next().await? {
                rows.extend([row]);
            }
            let affected = result.affected_rows();
            result.drop_result().await?;
            Ok(affected)
        };
        let affected = affected.await;
        self.note(affected)
    }

    /// A connection that died has perhaps died with its server, and the others with it.
    fn note<T>(&self, result: mysql::Result<T>) -> mysql::Result<T> {
        if result.as_ref().is_err_and(mysql::Error::is_fatal) {
            self.pool.forget();
        }
        result
    }
}

/// Waits for the work, but not longer than this; none if it took longer.
pub(crate) async fn within<T>(
    env: &Env,
    time: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    match select(pin!(work), env.sleep(time)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}
