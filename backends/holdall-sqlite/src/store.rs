//! An opened database: one connection for writing, and a pool of them for reading.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdall_core::waiting::{Queue, pause};
use holdall_core::{Durability, Env, Error, Health, Operation, Result};
use rusqlite::Connection;

use crate::config::{Config, JournalMode};
use crate::connection::{self, LOG_BYTES_MAX};
use crate::error::{self, Failure};

/// How many connections for reading are kept while nobody reads.
const IDLE_MAX: usize = 8;
/// How long the log's end waits for reads that began before it.
const LOG_WAIT: Duration = Duration::from_millis(100);

/// An opened database.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) config: Config,
    pub(crate) queue: Queue,
    writer: Mutex<Connection>,
    idle: Mutex<Vec<Connection>>,
    /// Below this size the log is left to grow.
    log_bytes: AtomicU64,
    closed: AtomicBool,
}

impl Store {
    /// Opens the database once; where it is locked, trying again helps.
    pub(crate) fn open(config: Config) -> Result<Self, Failure> {
        let writer = connection::writing(&config)?;
        let reader = connection::reading(&config)?;
        Ok(Self {
            config,
            queue: Queue::default(),
            writer: Mutex::new(writer),
            idle: Mutex::new(vec![reader]),
            log_bytes: AtomicU64::new(LOG_BYTES_MAX),
            closed: AtomicBool::new(false),
        })
    }

    /// Reads, in the caller's thread, on a connection that nobody else uses meanwhile.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let kept = self.idle().pop();
        let connection = match kept {
            Some(connection) => connection,
            None => connection::reading(&self.config)?,
        };
        let result = work(&connection);
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        result
    }

    /// Reads, and tries again for as long as another process has the database locked, up to
    /// `busy_timeout`. With a write-ahead log that is so only while it is opened or mended.
    pub(crate) async fn read_patiently<T>(
        &self,
        env: &Env,
        operation: Operation,
        work: impl Fn(&Connection) -> Result<T, Failure>,
    ) -> Result<T> {
        let waited = env.stopwatch();
        loop {
            match self.read(&work) {
                Err(failure)
                    if failure.is_busy() && waited.elapsed() < self.config.busy_timeout =>
                {
                    env.sleep(pause(env)).await;
                }
                done => return done.map_err(|failure| failure.into_error(operation)),
            }
        }
    }

    /// The connection for writing. Only the leader asks for it.
    pub(crate) fn writer(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic left open is rolled back where the next one begins.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        // Nothing panics while it holds the list.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn idle_count(&self) -> usize {
        self.idle().len()
    }

    /// Refuses writes once one could not be synced.
    pub(crate) fn check_open(&self, operation: Operation) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            let message = "an earlier write could not be synced; look at the disk and open again";
            return Err(Error::closed(operation, message));
        }
        Ok(())
    }

    /// Takes no more writes.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Ends a log that has grown because somebody was reading whenever it could have been used
    /// anew. Nothing depends on whether that succeeds; if not, it is tried when the log has grown
    /// as much again.
    pub(crate) fn bound_log(&self) {
        if self.config.journal_mode != JournalMode::Wal
            || self.log_size() < self.log_bytes.load(Ordering::Relaxed)
        {
            return;
        }
        let writer = self.writer();
        if writer.busy_timeout(LOG_WAIT).is_ok() {
            // The statement succeeds also where the log could not be ended, and says so in a row.
            let _ = writer.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        }
        self.log_bytes.store(self.log_size() + LOG_BYTES_MAX, Ordering::Relaxed);
    }

    fn log_size(&self) -> u64 {
        let mut path = self.config.path.clone().into_os_string();
        path.push("-wal");
        fs::metadata(PathBuf::from(path)).map_or(0, |metadata| metadata.len())
    }

    /// How much room is taken and left.
    pub(crate) fn health(&self, connection: &Connection) -> Result<Health, Failure> {
        const OPERATION: Operation = Operation::Health;
        self.check_open(OPERATION)?;
        connection::check_in_place(connection)?;
        let number =
            |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
        let transaction = connection.unchecked_transaction()?;
        let (pages, unused) = (number("page_count")?, number("freelist_count")?);
        let page_bytes = number("page_size")?;
        drop(transaction);
        let folder = self.config.path.parent().unwrap_or(&self.config.path);
        let disk =
            rustix::fs::statvfs(folder).map_err(|errno| error::os(OPERATION, errno.into()))?;
        let disk_free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let settings = format!(
            "journal_mode={} synchronous={}",
            self.config.journal_mode.name(),
            self.config.synchronous.name()
        );
        let mut notes = vec![format!("SQLite {}", rusqlite::version()), settings];
        if self.config.durability()? != Durability::Machine {
            notes.push("a loss of power may take the last writes; set synchronous=full".into());
        }
        Ok(Health {
            // Pages of the file that hold nothing are used before it grows.
            bytes_free: Some(disk_free.saturating_add(unused.saturating_mul(page_bytes))),
            bytes_used: Some(pages.saturating_sub(unused).saturating_mul(page_bytes)),
            notes,
        })
    }
}
