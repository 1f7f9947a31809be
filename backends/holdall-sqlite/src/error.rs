//! SQLite's errors, turned into the house's kinds with a word on what to do.

use holdall_core::{Error, ErrorKind, Operation};
use rusqlite::ErrorCode as Code;
use rusqlite::ffi;

/// Why something could not be done, before it is known for which call.
#[derive(Debug)]
pub(crate) enum Failure {
    /// SQLite refused.
    Sqlite(rusqlite::Error),
    /// What SQLite gave is not as this crate wrote it, or the call is wrong.
    Ours(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(source: rusqlite::Error) -> Self {
        Self::Sqlite(source)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl Failure {
    /// A row is not as it was written.
    pub(crate) fn damaged(operation: Operation) -> Self {
        let message = "a row of the database is damaged; restore it from a copy";
        Self::Ours(Error::corrupt(operation, message))
    }

    /// Whether another connection has the database locked, so that waiting helps.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(
            self.code(),
            Some(Code::DatabaseBusy | Code::DatabaseLocked | Code::FileLockingProtocolFailed)
        )
    }

    /// Whether there is no room for what was to be written.
    pub(crate) fn is_full(&self) -> bool {
        self.code() == Some(Code::DiskFull)
    }

    /// Whether SQLite could not open a file, which it does not explain.
    pub(crate) fn is_cannot_open(&self) -> bool {
        self.code() == Some(Code::CannotOpen)
    }

    fn code(&self) -> Option<Code> {
        match self {
            Self::Sqlite(source) => source.sqlite_error_code(),
            Self::Ours(_) => None,
        }
    }

    /// The error of a call before which nothing was written. What a failed commit leaves behind
    /// is judged where the commit is.
    pub(crate) fn into_error(self, operation: Operation) -> Error {
        match self {
            Self::Ours(error) => error,
            Self::Sqlite(source) => sqlite(operation, source),
        }
    }
}

fn sqlite(operation: Operation, source: rusqlite::Error) -> Error {
    let (kind, message) = match &source {
        rusqlite::Error::SqliteFailure(failure, _) => kind_of(failure),
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::QueryReturnedNoRows => {
            (ErrorKind::Corrupt, "a row of the database is damaged; restore it from a copy")
        }
        _ => (ErrorKind::Unavailable, "SQLite refused; see its reason and try again"),
    };
    Error::new(kind, operation, message).with_source(source)
}

fn kind_of(failure: &ffi::Error) -> (ErrorKind, &'static str) {
    match (failure.code, failure.extended_code) {
        (Code::DatabaseBusy | Code::DatabaseLocked | Code::FileLockingProtocolFailed, _) => (
            ErrorKind::Unavailable,
            "another connection had the database locked for all of busy_timeout; try again, or \
            open it with a longer one",
        ),
        (Code::DiskFull, _) => {
            (ErrorKind::Full, "the disk or the database is full; free some room")
        }
        (Code::ReadOnly, ffi::SQLITE_READONLY_DBMOVED) => (
            ErrorKind::Closed,
            "the database's file was moved or deleted while it was open; open it again",
        ),
        (Code::ReadOnly | Code::PermissionDenied | Code::AuthorizationForStatementDenied, _) => (
            ErrorKind::Denied,
            "the database may not be written; mend the permissions of the file and its folder",
        ),
        (Code::DatabaseCorrupt, _)
        | (
            Code::SystemIoFailure,
            ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS | ffi::SQLITE_IOERR_DATA,
        ) => (ErrorKind::Corrupt, "the database is damaged; restore it from a copy"),
        (Code::NotADatabase, _) => (
            ErrorKind::Invalid,
            "the file is no SQLite database, or its beginning is destroyed; choose another file, \
            or restore this one from a copy",
        ),
        (Code::TooBig, _) => {
            (ErrorKind::Invalid, "SQLite takes no value of this size; make it smaller")
        }
        (Code::CannotOpen, _) => (
            ErrorKind::Unavailable,
            "the database's files cannot be opened; look at the folder and at how many files \
            are open",
        ),
        (Code::OutOfMemory, _) => {
            (ErrorKind::Unavailable, "SQLite had no memory; try again or give less cache_size")
        }
        (Code::SystemIoFailure, _) => {
            (ErrorKind::Unavailable, "the operating system refused; look at the disk and try again")
        }
        _ => (ErrorKind::Unavailable, "SQLite refused; see its reason and try again"),
    }
}

/// An error of the operating system.
pub(crate) fn os(operation: Operation, source: std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let message = match source.kind() {
        Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => {
            "the disk is full; free some room"
        }
        Io::PermissionDenied | Io::ReadOnlyFilesystem => {
            "the database may not be written; mend the permissions of the file and its folder"
        }
        Io::NotADirectory | Io::AlreadyExists => {
            "a part of the path is a file; choose another path"
        }
        _ => "the operating system refused; see its reason and try again",
    };
    Error::io(operation, message, source)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::error::Error as _;
    use std::io;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn every_code_gives_its_kind() {
        use ErrorKind::{Closed, Corrupt, Denied, Full, Invalid, Unavailable};
        for (code, kind) in [
            (ffi::SQLITE_BUSY, Unavailable),
            (ffi::SQLITE_BUSY_RECOVERY, Unavailable),
            (ffi::SQLITE_LOCKED, Unavailable),
            (ffi::SQLITE_PROTOCOL, Unavailable),
            (ffi::SQLITE_FULL, Full),
            (ffi::SQLITE_READONLY, Denied),
            (ffi::SQLITE_READONLY_DIRECTORY, Denied),
            (ffi::SQLITE_READONLY_DBMOVED, Closed),
            (ffi::SQLITE_PERM, Denied),
            (ffi::SQLITE_AUTH, Denied),
            (ffi::SQLITE_CORRUPT, Corrupt),
            (ffi::SQLITE_CORRUPT_INDEX, Corrupt),
            (ffi::SQLITE_IOERR_SHORT_READ, Corrupt),
            (ffi::SQLITE_IOERR_DATA, Corrupt),
            (ffi::SQLITE_IOERR_CORRUPTFS, Corrupt),
            (ffi::SQLITE_IOERR_READ, Unavailable),
            (ffi::SQLITE_NOTADB, Invalid),
            (ffi::SQLITE_TOOBIG, Invalid),
            (ffi::SQLITE_CANTOPEN, Unavailable),
            (ffi::SQLITE_NOMEM, Unavailable),
            (ffi::SQLITE_INTERNAL, Unavailable),
            (ffi::SQLITE_ERROR, Unavailable),
        ] {
            let source = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let turned = Failure::from(source).into_error(Operation::Get);
            assert_eq!(turned.kind(), kind, "{code}");
            assert!(turned.source().is_some());
        }
        let turned = Failure::from(rusqlite::Error::QueryReturnedNoRows);
        assert_eq!(turned.into_error(Operation::Get).kind(), Corrupt);
    }

    #[test]
    fn errors_of_the_system_say_what_to_do() {
        for (errno, kind, advice) in [
            (Errno::NOSPC, ErrorKind::Full, "disk is full"),
            (Errno::ACCESS, ErrorKind::Denied, "permissions"),
            (Errno::ROFS, ErrorKind::Denied, "permissions"),
            (Errno::NOTDIR, ErrorKind::Invalid, "is a file"),
            (Errno::IO, ErrorKind::Unavailable, "see its reason"),
        ] {
            let turned = os(Operation::Open, io::Error::from(errno));
            assert_eq!(turned.kind(), kind, "{errno:?}");
            assert!(turned.message().contains(advice), "{errno:?}: {turned}");
        }
    }
}
