//! RocksDB's errors, turned into the house's kinds with a word on what to do.

use holdall_core::{Error, ErrorKind, Operation};
use rocksdb::ErrorKind as Rocks;

/// Why something could not be done, before it is known for which call.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What is asked for is not in memory: it must be read where waiting for the disk does no harm.
    Cold,
    /// RocksDB refused.
    Rocks(rocksdb::Error),
    /// What RocksDB gave is not as this crate wrote it, or the call is wrong.
    Ours(Error),
}

impl From<rocksdb::Error> for Failure {
    fn from(source: rocksdb::Error) -> Self {
        match source.kind() {
            Rocks::Incomplete => Self::Cold,
            _ => Self::Rocks(source),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl Failure {
    /// The error of a call before which nothing was written. What a failed write leaves behind
    /// is judged where the write is.
    pub(crate) fn into_error(self, operation: Operation) -> Error {
        match self {
            Self::Ours(error) => error,
            Self::Rocks(source) => rocks(operation, source),
            Self::Cold => Error::unavailable(operation, "RocksDB did not finish; try again"),
        }
    }
}

/// An error of RocksDB.
pub(crate) fn rocks(operation: Operation, source: rocksdb::Error) -> Error {
    let (kind, message) = match source.kind() {
        Rocks::Corruption => {
            (ErrorKind::Corrupt, "the database is damaged; restore it from a copy")
        }
        Rocks::IOError => of_system(source.as_ref()),
        Rocks::InvalidArgument => (
            ErrorKind::Invalid,
            "RocksDB does not take this; the database may be of another program or version",
        ),
        Rocks::NotSupported => (
            ErrorKind::Unsupported,
            "this RocksDB cannot do that; the database may be of a newer one",
        ),
        Rocks::ShutdownInProgress | Rocks::ColumnFamilyDropped => {
            (ErrorKind::Closed, "the database is being closed; open it again")
        }
        _ => (ErrorKind::Unavailable, "RocksDB refused; see its reason and try again"),
    };
    Error::new(kind, operation, message).with_source(source)
}

/// What the system told RocksDB, which passes it on as words alone.
fn of_system(text: &str) -> (ErrorKind, &'static str) {
    const KNOWN: [(&str, ErrorKind, &str); 10] = [
        ("No space left", ErrorKind::Full, "the disk is full; free some room"),
        ("quota exceeded", ErrorKind::Full, "the disk is full; free some room"),
        ("File too large", ErrorKind::Full, "a file may not grow so large; raise that limit"),
        ("Permission denied", ErrorKind::Denied, NOT_ALLOWED),
        ("not permitted", ErrorKind::Denied, NOT_ALLOWED),
        ("Read-only file system", ErrorKind::Denied, NOT_ALLOWED),
        ("Not a directory", ErrorKind::Invalid, "a part of the path is a file; choose another"),
        (
            "No such file",
            ErrorKind::Corrupt,
            "a file of the database is missing; restore it from a copy",
        ),
        (
            "Too many open files",
            ErrorKind::Unavailable,
            "too many files are open; raise that limit, or give a smaller max_open_files",
        ),
        ("", ErrorKind::Unavailable, "the system refused; see its reason and try again"),
    ];
    let found = KNOWN.iter().find(|(words, ..)| text.contains(words));
    found.map_or((ErrorKind::Unavailable, ""), |(_, kind, message)| (*kind, message))
}

const NOT_ALLOWED: &str =
    "the database may not be written; mend the permissions of the folder and its files";

/// An error of the operating system.
pub(crate) fn os(operation: Operation, source: std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let message = match source.kind() {
        Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => {
            "the disk is full; free some room"
        }
        Io::PermissionDenied | Io::ReadOnlyFilesystem => NOT_ALLOWED,
        Io::NotADirectory | Io::AlreadyExists => {
            "a part of the path is a file; choose another folder"
        }
        _ => "the system refused; see its reason and try again",
    };
    Error::io(operation, message, source)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::io;

    use rustix::io::Errno;

    use super::*;

    /// RocksDB passes on what the system calls an error; here the system itself says it.
    #[test]
    fn errors_of_the_system_say_what_to_do() {
        for (errno, kind, advice) in [
            (Errno::NOSPC, ErrorKind::Full, "disk is full"),
            (Errno::DQUOT, ErrorKind::Full, "disk is full"),
            (Errno::FBIG, ErrorKind::Full, "limit"),
            (Errno::ACCESS, ErrorKind::Denied, "permissions"),
            (Errno::PERM, ErrorKind::Denied, "permissions"),
            (Errno::ROFS, ErrorKind::Denied, "permissions"),
            (Errno::NOTDIR, ErrorKind::Invalid, "is a file"),
            (Errno::NOENT, ErrorKind::Corrupt, "missing"),
            (Errno::MFILE, ErrorKind::Unavailable, "max_open_files"),
            (Errno::IO, ErrorKind::Unavailable, "see its reason"),
        ] {
            let said = io::Error::from(errno).to_string();
            let (found, message) = of_system(&format!("IO error: While appending to file: {said}"));
            assert_eq!(found, kind, "{said}");
            assert!(message.contains(advice), "{said}: {message}");
        }
        for (errno, kind, advice) in [
            (Errno::NOSPC, ErrorKind::Full, "disk is full"),
            (Errno::ACCESS, ErrorKind::Denied, "permissions"),
            (Errno::NOTDIR, ErrorKind::Invalid, "is a file"),
            (Errno::IO, ErrorKind::Unavailable, "see its reason"),
        ] {
            let turned = os(Operation::Open, io::Error::from(errno));
            assert_eq!(turned.kind(), kind, "{errno:?}");
            assert!(turned.message().contains(advice), "{errno:?}: {turned}");
        }
    }

    #[test]
    fn what_rocksdb_says_gets_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let options = rocksdb::Options::default();
        let missing = rocksdb::DB::open(&options, folder.path().join("none")).unwrap_err();
        let turned = rocks(Operation::Open, missing);
        assert_eq!(turned.kind(), ErrorKind::Invalid, "{turned:?}");
        let file = folder.path().join("CURRENT");
        std::fs::write(file, "nonsense").unwrap();
        let damaged = rocksdb::DB::open(&options, folder.path()).unwrap_err();
        let turned = rocks(Operation::Open, damaged);
        assert_eq!(turned.kind(), ErrorKind::Corrupt, "{turned:?}");
        let turned = Failure::Cold.into_error(Operation::Get);
        assert_eq!(turned.kind(), ErrorKind::Unavailable);
    }
}
