//! The tables of a database, and what makes a file one of ours.
//!
//! ```text
//!   holdall_state   the last revision given out
//!   holdall_rows    key │ revision │ size │ value         up to 512 bytes: in the row itself
//!                   key │ revision │ size │ part ──┐      larger: in parts of 128 KiB,
//!   holdall_parts   id, id + 1, … │ data   ◄───────┘      numbered in a row
//!   holdall_entries the described rows, as a person reads them
//! ```
//!
//! What is told of a row stands in the row itself, so it ends with it. The indexes have described
//! rows alone: others cost them nothing.
//!
//! Rows lie in the order of their keys, with no second tree to look through. They stay small, so
//! that a page holds several and a listing reads little. SQLite finds the middle of a large value
//! only by way of its beginning; parts let a range be read without what is before it.

use holdall_core::{Error, Operation};
use rusqlite::{Connection, TransactionBehavior};

use crate::error::Failure;

/// `Hold`, in the head of the file.
const APPLICATION_ID: i64 = 0x486f_6c64;
/// The number of this layout. It changes with the tables, and with the two sizes below.
const LAYOUT: i64 = 2;
/// The layout without descriptions.
const UNDESCRIBED: i64 = 1;

/// Values up to this size are in their row: the largest that lets a page hold four rows whose keys
/// are not long.
pub(crate) const INLINE_BYTES_MAX: usize = 512;
/// The size of each part of a larger value, but for its last.
pub(crate) const PART_BYTES: usize = 128 << 10;
/// The largest value.
pub(crate) const VALUE_BYTES_MAX: u64 = 128 << 20;

/// Layout 1.
const CREATE: &str = "
    CREATE TABLE holdall_state (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        revision INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE holdall_rows (
        key BLOB NOT NULL PRIMARY KEY,
        revision INTEGER NOT NULL,
        size INTEGER NOT NULL,
        part INTEGER,
        value BLOB
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE holdall_parts (
        id INTEGER PRIMARY KEY,
        data BLOB NOT NULL
    ) STRICT;
    INSERT INTO holdall_state (id, revision) VALUES (0, 0);
";

/// What layout 2 adds. Times are microseconds since 1970.
const DESCRIBE: &str = "
    ALTER TABLE holdall_rows ADD COLUMN volume TEXT;
    ALTER TABLE holdall_rows ADD COLUMN name TEXT;
    ALTER TABLE holdall_rows ADD COLUMN bytes INTEGER;
    ALTER TABLE holdall_rows ADD COLUMN written INTEGER;
    ALTER TABLE holdall_rows ADD COLUMN expires INTEGER;
    ALTER TABLE holdall_rows ADD COLUMN content_type TEXT;
    ALTER TABLE holdall_rows ADD COLUMN attributes TEXT CHECK (json_valid(attributes));
    CREATE INDEX holdall_by_bytes ON holdall_rows (bytes) WHERE name IS NOT NULL;
    CREATE INDEX holdall_by_written ON holdall_rows (written) WHERE name IS NOT NULL;
    CREATE INDEX holdall_by_content_type ON holdall_rows (content_type, key)
        WHERE name IS NOT NULL;
    CREATE VIEW holdall_entries AS SELECT volume, name, bytes AS size,
        strftime('%Y-%m-%dT%H:%M:%S', written / 1000000, 'unixepoch')
            || printf('.%06dZ', written % 1000000) AS written,
        strftime('%Y-%m-%dT%H:%M:%S', expires / 1000000, 'unixepoch')
            || printf('.%06dZ', expires % 1000000) AS expires,
        content_type, attributes
        FROM holdall_rows WHERE name IS NOT NULL;
";

/// The layout of our tables in the file; 0 if there is nothing yet. Does not change the file.
pub(crate) fn made(connection: &Connection) -> Result<i64, Failure> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, layout) = (number("application_id")?, number("user_version")?);
    let tables = "SELECT count(*) FROM sqlite_schema";
    let tables: i64 = connection.query_row(tables, [], |row| row.get(0))?;
    let message = match (application, layout, tables) {
        (APPLICATION_ID, UNDESCRIBED | LAYOUT, _) => return Ok(layout),
        (0, 0, 0) => return Ok(0),
        (APPLICATION_ID, ..) => {
            "the database was made by a newer holdall; open it with that, or choose another file"
        }
        _ => "the file is an SQLite database of another program; choose another file",
    };
    Err(Error::invalid(Operation::Open, message).into())
}

/// Makes the tables, or what they lack, unless another process was faster.
pub(crate) fn make(connection: &mut Connection) -> Result<(), Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let made = made(&transaction)?;
    if made < UNDESCRIBED {
        transaction.execute_batch(CREATE)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    if made < LAYOUT {
        transaction.execute_batch(DESCRIBE)?;
        transaction.pragma_update(None, "user_version", LAYOUT)?;
    }
    Ok(transaction.commit()?)
}
