//! What reading and writing share: connections, statements, and how long to wait.

use std::time::Duration;

use holdall_core::Env;

use crate::pool::Pool;
use crate::sql::Statements;

/// An opened table.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) pool: Pool,
    pub(crate) statements: Statements,
    pub(crate) env: Env,
    /// How long a call waits for the server's answer.
    pub(crate) statement_timeout: Duration,
    /// The most bytes of one packet to the server.
    pub(crate) packet_bytes: usize,
}
