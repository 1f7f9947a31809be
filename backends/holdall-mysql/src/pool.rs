//! Connections: made when they are needed, kept, handed out one to a call.
//!
//! The library's own pool is not used: a caller that goes away between being woken and taking its
//! turn there leaves the others asleep. Here a place that is handed to someone who has gone goes
//! to the next.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};
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
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How many more calls may have a connection.
    free: usize,
    waiting: VecDeque<oneshot::Sender<Place>>,
    /// The one used last is at the end, and taken first.
    idle: Vec<Idle>,
}

#[derive(Debug)]
struct Idle {
    conn: Conn,
    since: Duration,
}

/// Leave to have a connection, given back when it is dropped.
#[derive(Debug)]
struct Place(Option<Pool>);

impl Pool {
    pub(crate) fn new(
        opts: Opts,
        env: &Env,
        timeout: Duration,
        (least, most): (usize, usize),
    ) -> Self {
        let state = State { free: most, waiting: VecDeque::new(), idle: Vec::new() };
        Self(Arc::new(Shared { opts, env: env.clone(), timeout, least, state: Mutex::new(state) }))
    }

    /// Waits for a connection: one that is free, or a new one.
    ///
    /// # Errors
    /// Those of connecting; `Unavailable` if it takes too long. Nothing was asked of the server.
    pub(crate) async fn lease(&self, operation: Operation) -> Result<Lease> {
        let shared = &self.0;
        let work = async {
            let place = self.enter().await;
            let conn = match self.used().await {
                Some(conn) => conn,
                None => Conn::new(shared.opts.clone()).await?,
            };
            Ok(Lease { conn: Some(conn), pool: self.clone(), _place: place })
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

    async fn enter(&self) -> Place {
        let receiver = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Place(Some(self.clone()));
            }
            let (sender, receiver) = oneshot::channel();
            state.waiting.push_back(sender);
            receiver
        };
        // The sender lies in the state that this handle keeps, and is only ever used.
        receiver.await.expect("a place in the queue is not forgotten")
    }

    /// A connection that was used before and still answers.
    async fn used(&self) -> Option<Conn> {
        loop {
            let Idle { mut conn, since } = self.state().idle.pop()?;
            if self.0.env.elapsed().saturating_sub(since) < FRESH || conn.ping().await.is_ok() {
                return Some(conn);
            }
            self.forget();
        }
    }

    /// Closes the connections that nobody uses: one of them was found dead.
    fn forget(&self) {
        let idle = std::mem::take(&mut self.state().idle);
        drop(idle);
    }

    fn put_back(&self, conn: Conn) {
        let now = self.0.env.elapsed();
        let mut old = Vec::new();
        {
            let mut state = self.state();
            state.idle.push(Idle { conn, since: now });
            let unused = |idle: &Idle| now.saturating_sub(idle.since) > IDLE_MAX;
            while state.idle.len() > self.0.least && state.idle.first().is_some_and(unused) {
                old.push(state.idle.remove(0));
            }
        }
        drop(old);
    }

    fn leave(&self) {
        loop {
            let next = {
                let mut state = self.state();
                let next = state.waiting.pop_front();
                state.free += usize::from(next.is_none());
                next
            };
            let Some(next) = next else { return };
            match next.send(Place(Some(self.clone()))) {
                Ok(()) => return,
                // That one has gone. Its place must not come back here by being dropped.
                Err(mut place) => drop(place.0.take()),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pool) = self.0.take() {
            pool.leave();
        }
    }
}

/// A connection for one call. Unless the call says that it is [`done`](Lease::done), the connection
/// is closed: what goes on in it is not known then.
#[derive(Debug)]
pub(crate) struct Lease {
    conn: Option<Conn>,
    pool: Pool,
    // Dropped after the connection was put back.
    _place: Place,
}

/// What a statement with parameters was answered with.
pub(crate) struct Answer {
    pub(crate) rows: Vec<Row>,
    pub(crate) affected: u64,
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
        let conn = self.conn();
        let rows = async {
            let mut result = conn.query_iter(text).await?;
            let mut rows = Vec::new();
            loop {
                while let Some(row) = result.next().await? {
                    rows.push(row);
                }
                if result.is_empty() {
                    break;
                }
            }
            // An error of a later statement comes out here.
            result.drop_result().await?;
            Ok(rows)
        };
        let rows = rows.await;
        self.note(rows)
    }

    /// Has the statement ready to be executed; asks the server only the first time.
    pub(crate) async fn prepare(&mut self, statement: &str) -> mysql::Result<Statement> {
        let prepared = self.conn().prep(statement).await;
        self.note(prepared)
    }

    /// Executes it.
    pub(crate) async fn execute(
        &mut self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> mysql::Result<Answer> {
        let conn = self.conn();
        let answer = async {
            let mut result = conn.exec_iter(statement, values).await?;
            let mut rows = Vec::new();
            while let Some(row) = result.next().await? {
                rows.push(row);
            }
            let affected = result.affected_rows();
            result.drop_result().await?;
            Ok(Answer { rows, affected })
        };
        let answer = answer.await;
        self.note(answer)
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
