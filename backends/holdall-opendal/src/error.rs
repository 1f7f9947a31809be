//! OpenDAL's errors, turned into the house's kinds with a word on what to do.

use std::error::Error as _;
use std::io;

use holdall_core::{Error, ErrorKind, Operation};
use opendal::ErrorKind as Cause;

/// Whether the value is missing, and not the bucket or container that it would lie in: OpenDAL
/// has one word for both.
pub(crate) fn is_absent(error: &opendal::Error) -> bool {
    let text = error.to_string();
    let of_the_place = ["NoSuchBucket", "ContainerNotFound", "bucket does not exist"];
    error.kind() == Cause::NotFound && !of_the_place.iter().any(|words| text.contains(words))
}

/// An error of a request that reads: nothing was to be written.
pub(crate) fn reading(operation: Operation, error: &opendal::Error) -> Error {
    judge(operation, error, ErrorKind::Unavailable)
}

/// An error of a request that writes: what is not known to have been refused may have happened.
pub(crate) fn writing(operation: Operation, error: &opendal::Error) -> Error {
    judge(operation, error, ErrorKind::Unknown)
}

fn judge(operation: Operation, error: &opendal::Error, otherwise: ErrorKind) -> Error {
    let (kind, message) = match error.kind() {
        _ if is_full(error) => {
            (ErrorKind::Full, "the service has no room left; free some or raise the quota")
        }
        Cause::PermissionDenied => (
            ErrorKind::Denied,
            "the service does not allow this; let the operator's credentials read, write, delete \
             and list",
        ),
        Cause::NotFound => (
            ErrorKind::Invalid,
            "the service has no such place; make the operator's bucket, table or root",
        ),
        Cause::ConfigInvalid => {
            (ErrorKind::Invalid, "the operator's settings are not right; mend them")
        }
        Cause::IsADirectory | Cause::NotADirectory | Cause::AlreadyExists => (
            ErrorKind::Invalid,
            "something else lies where the value belongs; give the operator a root of its own",
        ),
        Cause::Unsupported => (ErrorKind::Unsupported, "the service does not offer this"),
        Cause::RateLimited => {
            (ErrorKind::Unavailable, "the service asks to slow down; try again later")
        }
        Cause::Conflict | Cause::ConditionNotMatch => {
            (ErrorKind::Unavailable, "another request is changing this; try again")
        }
        _ if otherwise == ErrorKind::Unknown => (
            otherwise,
            "the service's answer did not come or said nothing; look whether the write happened",
        ),
        _ => (otherwise, "the service failed or did not answer; try again"),
    };
    Error::new(kind, operation, message).with_source(detail(error))
}

fn is_full(error: &opendal::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            );
        }
        source = cause.source();
    }
    false
}

/// The kind and the message. What OpenDAL adds in between may hold an address with what it was
/// signed by, so it is left out.
fn detail(error: &opendal::Error) -> String {
    let text = error.to_string();
    let message = text.split_once(" => ").map_or("", |(_, message)| message);
    let message: String = message.chars().take_while(|c| !c.is_control()).take(200).collect();
    format!("{} {message}", error.kind()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(cause: Cause) -> opendal::Error {
        opendal::Error::new(cause, "why")
            .with_operation("Writer::close")
            .with_context("uri", "https://host/a?sig=hunter2")
    }

    #[test]
    fn every_cause_gives_its_kind_and_shows_no_address() {
        use ErrorKind::{Denied, Invalid, Unavailable, Unknown, Unsupported};
        for (cause, read, write) in [
            (Cause::PermissionDenied, Denied, Denied),
            (Cause::NotFound, Invalid, Invalid),
            (Cause::ConfigInvalid, Invalid, Invalid),
            (Cause::NotADirectory, Invalid, Invalid),
            (Cause::Unsupported, Unsupported, Unsupported),
            (Cause::RateLimited, Unavailable, Unavailable),
            (Cause::Conflict, Unavailable, Unavailable),
            (Cause::Unexpected, Unavailable, Unknown),
        ] {
            let (reading, writing) =
                (reading(Operation::Get, &error(cause)), writing(Operation::Put, &error(cause)));
            assert_eq!((reading.kind(), writing.kind()), (read, write), "{cause}");
            for shown in [format!("{reading:?}"), format!("{writing:?}")] {
                assert!(shown.contains("why"), "{shown}");
                assert!(!shown.contains("hunter2") && !shown.contains("host"), "{shown}");
            }
        }
    }

    #[test]
    fn a_missing_bucket_is_no_missing_value() {
        let says = |words: &str| opendal::Error::new(Cause::NotFound, words);
        assert!(is_absent(&says("OssError { code: \"NoSuchKey\" }")));
        assert!(!is_absent(&says("OssError { code: \"NoSuchBucket\" }")));
        assert!(!is_absent(&says("AzblobError { code: \"ContainerNotFound\" }")));
        assert!(!is_absent(&says("The specified bucket does not exist.")));
        assert!(!is_absent(&error(Cause::PermissionDenied)));
    }

    #[test]
    fn a_full_disk_is_full() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let full = opendal::Error::new(Cause::Unexpected, "why").set_source(full);
        assert_eq!(writing(Operation::Put, &full).kind(), ErrorKind::Full);
    }
}
