//! Opening connections, and setting and checking how they work.

use std::fs;
use std::path::Path;
use std::time::Duration;

use holdall_core::{Error, Operation};
use rusqlite::{Connection, FileControl, MAIN_DB, OpenFlags, ffi};
use rustix::fs::Access;

use crate::config::Config;
use crate::error::{self, Failure};
use crate::layout;

/// The size of pages in new databases. With larger ones small commits write more, and with smaller
/// ones large values take longer.
const PAGE_BYTES: u32 = 4096;
/// A log or journal that has grown larger is cut to this size when it is used anew.
pub(crate) const LOG_BYTES_MAX: u64 = 64 << 20;
/// How many pages of log are carried into the file at once. SQLite's own number, a quarter of it,
/// made scattered small puts take a fifth longer.
const LOG_PAGES: u32 = 4000;
/// More than the number of different statements, so that each is compiled once.
const STATEMENTS: usize = 32;

/// The connection for writing. Makes the file, its folder and its tables if they are missing.
pub(crate) fn writing(config: &Config) -> Result<Connection, Failure> {
    make_writing(config).map_err(|failure| explain(&config.path, failure))
}

fn make_writing(config: &Config) -> Result<Connection, Failure> {
    let path = &config.path;
    if let Some(folder) = path.parent() {
        create_synced(folder).map_err(|source| error::os(Operation::Open, source))?;
    }
    let mut connection = connect(config, OpenFlags::SQLITE_OPEN_CREATE)?;
    if connection.is_readonly(MAIN_DB)? {
        let message =
            "the database may not be written; mend the permissions of the file and its folder";
        return Err(Error::denied(Operation::Open, message).into());
    }
    // Before anything is changed: the file may be somebody else's.
    if layout::made(&connection)? == 0 {
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    }
    let wanted = config.journal_mode.name();
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", wanted, |row| row.get(0))?;
    if mode != wanted {
        let message = format!(
            "the database stays in journal_mode={mode}; its file system may not allow {wanted}: \
            choose a local one, or that mode"
        );
        return Err(Error::unsupported(Operation::Open, message).into());
    }
    layout::make(&mut connection)?;
    // The names of the files that SQLite has made are as durable as what they will hold.
    if let Some(folder) = path.parent() {
        fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| error::os(Operation::Open, source))?;
    }
    Ok(connection)
}

/// A connection for reading.
pub(crate) fn reading(config: &Config) -> Result<Connection, Failure> {
    let connection = connect(config, OpenFlags::empty())?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn connect(config: &Config, flags: OpenFlags) -> Result<Connection, Failure> {
    // Each connection is behind a lock of ours, and so needs none of SQLite's.
    let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&config.path, flags)?;
    // Who waits does so outside SQLite, whose waiting lets a busy process starve another.
    connection.busy_timeout(Duration::ZERO)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch(&format!(
        "PRAGMA synchronous = {};
        PRAGMA fullfsync = 1;
        PRAGMA checkpoint_fullfsync = 1;
        PRAGMA cache_size = -{};
        PRAGMA mmap_size = {};
        PRAGMA temp_store = {};
        PRAGMA journal_size_limit = {LOG_BYTES_MAX};
        PRAGMA wal_autocheckpoint = {LOG_PAGES};
        PRAGMA cell_size_check = 1;
        PRAGMA trusted_schema = 0;",
        config.synchronous.name(),
        config.cache_size >> 10,
        config.mmap_size,
        config.temp_store.name(),
    ))?;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if synchronous != config.synchronous.number() {
        let message = "this SQLite does not take the synchronous setting; build it as bundled";
        return Err(Error::unsupported(Operation::Open, message).into());
    }
    Ok(connection)
}

/// SQLite only says that it cannot open a file. The system knows why.
fn explain(path: &Path, failure: Failure) -> Failure {
    if !failure.is_cannot_open() {
        return failure;
    }
    if path.is_dir() {
        let message = "the path is a folder; name a file in it, such as sqlite:///path/file.db";
        return Error::invalid(Operation::Open, message).into();
    }
    let file = path.exists().then_some(path);
    for path in file.into_iter().chain(path.parent()) {
        let access = Access::READ_OK | Access::WRITE_OK;
        if let Err(errno) = rustix::fs::access(path, access) {
            return error::os(Operation::Open, errno.into()).into();
        }
    }
    failure
}

/// Refuses a file that is no longer under its name. With a write-ahead log SQLite would go on
/// writing to it, where nobody finds it again.
pub(crate) fn check_in_place(connection: &Connection) -> Result<(), Failure> {
    let mut moved = 0;
    connection.file_control(Some(MAIN_DB), FileControl::HasMoved(&mut moved))?;
    if moved == 0 {
        return Ok(());
    }
    let code = ffi::Error::new(ffi::SQLITE_READONLY_DBMOVED);
    Err(rusqlite::Error::SqliteFailure(code, None).into())
}

/// Makes a folder and all above it that are missing, and syncs every folder that got a new entry.
fn create_synced(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_synced(parent)?;
    }
    match fs::create_dir(path) {
        Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => {
            // Another process was faster, or a file is in the folder's place.
            if !path.is_dir() {
                return Err(rustix::io::Errno::NOTDIR.into());
            }
        }
        made => made?,
    }
    fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
