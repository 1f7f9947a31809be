//! Errors of the operating system, turned into the house's kinds with a word on what to do.

use std::io;

use holdall_core::{Error, ErrorKind, Operation};

/// An error of the operating system while `doing` something, such as "write a value".
pub(crate) fn os(operation: Operation, doing: &str, source: impl Into<io::Error>) -> Error {
    let source = source.into();
    let advice = match source.kind() {
        io::ErrorKind::StorageFull => "the disk is full; free some room",
        io::ErrorKind::QuotaExceeded => "the disk quota is used up; raise it or free some room",
        io::ErrorKind::FileTooLarge => "the file system takes no file of this size",
        io::ErrorKind::PermissionDenied => "it is not permitted; mend the folder's permissions",
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only; mount it writable",
        io::ErrorKind::NotADirectory => "a part of the path is a file; choose another folder",
        io::ErrorKind::IsADirectory => "a folder is in the value's place; move it away",
        io::ErrorKind::InvalidFilename => "the file system takes no name of this length",
        io::ErrorKind::NotFound => "a folder has gone; put it back or open again",
        _ => "the operating system refused; see its reason and try again",
    };
    Error::io(operation, format!("could not {doing}: {advice}"), source)
}

/// The same for a step after which nobody knows whether the write will survive.
pub(crate) fn unknown(operation: Operation, doing: &str, source: impl Into<io::Error>) -> Error {
    let message = format!("could not {doing}, so the write may or may not last; read it back");
    Error::new(ErrorKind::Unknown, operation, message).with_source(source.into())
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn every_arm_gives_its_kind_and_advice() {
        for (errno, kind, advice) in [
            (Errno::NOSPC, ErrorKind::Full, "disk is full"),
            (Errno::DQUOT, ErrorKind::Full, "quota"),
            (Errno::FBIG, ErrorKind::Full, "this size"),
            (Errno::ACCESS, ErrorKind::Denied, "permissions"),
            (Errno::PERM, ErrorKind::Denied, "permissions"),
            (Errno::ROFS, ErrorKind::Denied, "read-only"),
            (Errno::NOTDIR, ErrorKind::Invalid, "is a file"),
            (Errno::ISDIR, ErrorKind::Invalid, "folder is in the value's place"),
            (Errno::NAMETOOLONG, ErrorKind::Invalid, "length"),
            (Errno::NOENT, ErrorKind::Unavailable, "has gone"),
            (Errno::IO, ErrorKind::Unavailable, "try again"),
        ] {
            let error = os(Operation::Put, "write a value", errno);
            assert_eq!(error.kind(), kind, "{errno:?}");
            assert!(error.message().contains(advice), "{errno:?}: {error}");
            assert!(error.source().is_some());
        }
    }

    #[test]
    fn an_open_outcome_is_unknown_whatever_the_reason() {
        let error = unknown(Operation::Put, "sync the folder", Errno::NOSPC);
        assert_eq!(error.kind(), ErrorKind::Unknown);
    }
}
