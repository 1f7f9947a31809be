//! LMDB's errors, turned into the house's kinds with a word on what to do.

use heed::MdbError as Mdb;
use holdall_core::{Error, ErrorKind, Operation};

/// An error of LMDB before which nothing was written. What a failed commit leaves behind is
/// judged where the commit is.
pub(crate) fn lmdb(operation: Operation, source: heed::Error) -> Error {
    let (kind, message) = match &source {
        heed::Error::Mdb(error) => match error {
            Mdb::MapFull => (
                ErrorKind::Full,
                "the database is full; remove rows or open it with a larger map_size",
            ),
            Mdb::TxnFull => {
                (ErrorKind::Full, "the batch touches too many pages; write it in parts")
            }
            Mdb::ReadersFull => (
                ErrorKind::Unavailable,
                "too many reads at the same time; try again or open it with more readers",
            ),
            Mdb::MapResized => (
                ErrorKind::Closed,
                "another process has grown the database; open it again with that map_size",
            ),
            Mdb::Panic => (
                ErrorKind::Closed,
                "an earlier write could not be synced; look at the disk and open again",
            ),
            Mdb::PageNotFound | Mdb::Corrupted | Mdb::Invalid | Mdb::CursorFull | Mdb::PageFull => {
                (
                    ErrorKind::Corrupt,
                    "the database is damaged or not of LMDB; restore it from a copy",
                )
            }
            Mdb::VersionMismatch | Mdb::Incompatible => (
                ErrorKind::Invalid,
                "the database is of another program or version; choose another folder",
            ),
            Mdb::BadValSize => {
                (ErrorKind::Invalid, "LMDB takes no key or value of this size; make it smaller")
            }
            Mdb::KeyExist
            | Mdb::NotFound
            | Mdb::DbsFull
            | Mdb::TlsFull
            | Mdb::BadRslot
            | Mdb::BadTxn
            | Mdb::BadDbi
            | Mdb::Problem
            | Mdb::Other(_) => (ErrorKind::Unavailable, "LMDB refused; try again"),
        },
        heed::Error::Encoding(_) | heed::Error::Decoding(_) => {
            (ErrorKind::Corrupt, "a row of the database is damaged; restore it from a copy")
        }
        heed::Error::EnvAlreadyOpened => {
            (ErrorKind::Unavailable, "this process is still closing the database; try again")
        }
        heed::Error::Io(_) => {
            return match source {
                heed::Error::Io(source) => os(operation, source),
                _ => Error::unavailable(operation, "LMDB refused; try again"),
            };
        }
    };
    Error::new(kind, operation, message).with_source(source)
}

/// An error of the operating system.
pub(crate) fn os(operation: Operation, source: std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let message = match source.kind() {
        Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => {
            "the disk is full; free some room"
        }
        Io::PermissionDenied | Io::ReadOnlyFilesystem => {
            "the database may not be written; mend the folder's permissions"
        }
        Io::NotADirectory | Io::AlreadyExists => {
            "a part of the path is a file; choose another folder"
        }
        Io::OutOfMemory => "the map does not fit into the process; give a smaller map_size",
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
    fn every_arm_gives_its_kind() {
        for (error, kind) in [
            (Mdb::MapFull, ErrorKind::Full),
            (Mdb::TxnFull, ErrorKind::Full),
            (Mdb::ReadersFull, ErrorKind::Unavailable),
            (Mdb::MapResized, ErrorKind::Closed),
            (Mdb::Panic, ErrorKind::Closed),
            (Mdb::PageNotFound, ErrorKind::Corrupt),
            (Mdb::Corrupted, ErrorKind::Corrupt),
            (Mdb::Invalid, ErrorKind::Corrupt),
            (Mdb::CursorFull, ErrorKind::Corrupt),
            (Mdb::PageFull, ErrorKind::Corrupt),
            (Mdb::VersionMismatch, ErrorKind::Invalid),
            (Mdb::Incompatible, ErrorKind::Invalid),
            (Mdb::BadValSize, ErrorKind::Invalid),
            (Mdb::KeyExist, ErrorKind::Unavailable),
            (Mdb::NotFound, ErrorKind::Unavailable),
            (Mdb::DbsFull, ErrorKind::Unavailable),
            (Mdb::TlsFull, ErrorKind::Unavailable),
            (Mdb::BadRslot, ErrorKind::Unavailable),
            (Mdb::BadTxn, ErrorKind::Unavailable),
            (Mdb::BadDbi, ErrorKind::Unavailable),
            (Mdb::Problem, ErrorKind::Unavailable),
            (Mdb::Other(7), ErrorKind::Unavailable),
        ] {
            let turned = lmdb(Operation::Put, heed::Error::Mdb(error));
            assert_eq!(turned.kind(), kind, "{error:?}");
            assert!(turned.source().is_some());
        }
        let turned = lmdb(Operation::Open, heed::Error::EnvAlreadyOpened);
        assert_eq!(turned.kind(), ErrorKind::Unavailable);
        let turned = lmdb(Operation::Get, heed::Error::Decoding("no".into()));
        assert_eq!(turned.kind(), ErrorKind::Corrupt);
        let turned = lmdb(Operation::Get, heed::Error::Encoding("no".into()));
        assert_eq!(turned.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn errors_of_the_system_say_what_to_do() {
        for (errno, kind, advice) in [
            (Errno::NOSPC, ErrorKind::Full, "disk is full"),
            (Errno::DQUOT, ErrorKind::Full, "disk is full"),
            (Errno::ACCESS, ErrorKind::Denied, "permissions"),
            (Errno::ROFS, ErrorKind::Denied, "permissions"),
            (Errno::NOTDIR, ErrorKind::Invalid, "is a file"),
            (Errno::NOMEM, ErrorKind::Unavailable, "smaller map_size"),
            (Errno::IO, ErrorKind::Unavailable, "see its reason"),
        ] {
            let turned = lmdb(Operation::Put, heed::Error::Io(io::Error::from(errno)));
            assert_eq!(turned.kind(), kind, "{errno:?}");
            assert!(turned.message().contains(advice), "{errno:?}: {turned}");
            assert!(turned.source().is_some());
        }
    }
}
