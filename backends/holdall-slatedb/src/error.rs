//! The errors of SlateDB and of the store underneath, turned into the house's kinds with a word
//! on what to do.
//!
//! The store's own texts are not passed on whole: the body of an answer may repeat what was
//! signed, tokens included.

use std::error::Error as StdError;
use std::sync::Arc;

use holdall_core::{Error, ErrorKind, Operation};
use slatedb::object_store::client::{HttpError, HttpErrorKind};
use slatedb::{CloseReason, ErrorKind as SlateKind, object_store};

/// How long a cause that is no answer of a store may be.
const DETAIL_CHARS: usize = 300;

/// An error of SlateDB in something that has written nothing. `missing` is said where the bucket
/// is.
pub(crate) fn slate(operation: Operation, error: &slatedb::Error, missing: &str) -> Error {
    let (kind, message) = match error.kind() {
        SlateKind::Closed(CloseReason::Fenced) => (
            ErrorKind::Closed,
            "another has opened this store to write and taken it over; let one write, and others \
             open it with read_only=true",
        ),
        SlateKind::Closed(CloseReason::Clean) => {
            (ErrorKind::Closed, "the store was closed; open it again")
        }
        SlateKind::Closed(CloseReason::Panic) => {
            (ErrorKind::Closed, "a background task of the store failed; open it again")
        }
        SlateKind::Transaction => (ErrorKind::Unavailable, "others write the same; try again"),
        SlateKind::Invalid => (ErrorKind::Invalid, "SlateDB refused this as wrong; see its reason"),
        SlateKind::Data if is_missing(error) => {
            // A reader that was slower than the collector; a writer's own tables never go.
            let message = "a table of the store is no longer there; try again, and if that does \
                           not help restore it from a copy";
            (ErrorKind::Unavailable, message)
        }
        SlateKind::Data if error.to_string().contains("format version") => (
            ErrorKind::Invalid,
            "the store was written by another version of SlateDB; open it with that",
        ),
        SlateKind::Data => (ErrorKind::Corrupt, "the store is damaged; restore it from a copy"),
        _ => match in_chain(error) {
            Some(cause) => return store(operation, cause, missing),
            None => (ErrorKind::Unavailable, "the store failed; try again"),
        },
    };
    Error::new(kind, operation, message).with_source(detail(error))
}

/// An error of SlateDB in something that may have been written.
pub(crate) fn open_outcome(operation: Operation, error: &slatedb::Error) -> Error {
    let message = match error.kind() {
        SlateKind::Closed(CloseReason::Fenced) => {
            "another has taken this store over while the write was on its way; open it again and \
             look whether the write happened"
        }
        _ => "the store failed while the write was on its way; look whether it happened",
    };
    Error::unknown(operation, message).with_source(detail(error))
}

/// An error of the store underneath, in something that has written nothing.
pub(crate) fn store(operation: Operation, error: &object_store::Error, missing: &str) -> Error {
    let reason = Reason::of(error);
    let (kind, message) = reason.judge(missing);
    Error::new(kind, operation, message).with_source(reason.detail)
}

/// An error of the operating system about the directory.
pub(crate) fn directory(source: std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let message = match source.kind() {
        Io::NotFound => "there is no such directory; open it once to write, or mend the path",
        Io::PermissionDenied | Io::ReadOnlyFilesystem => {
            "the directory may not be used; mend its permissions"
        }
        Io::NotADirectory | Io::AlreadyExists => {
            "a part of the path is a file; choose another directory"
        }
        Io::StorageFull | Io::QuotaExceeded => "the disk is full; free some room",
        _ => "the operating system refused; see its reason and try again",
    };
    let invalid = matches!(source.kind(), Io::NotFound | Io::NotADirectory | Io::AlreadyExists);
    let error = Error::io(Operation::Open, message, source);
    if invalid { error.with_kind(ErrorKind::Invalid) } else { error }
}

/// What the store underneath said.
struct Reason {
    status: Option<u16>,
    code: String,
    transport: Option<HttpErrorKind>,
    io: Option<std::io::ErrorKind>,
    asks_for_credentials: bool,
    detail: String,
}

impl Reason {
    fn of(error: &object_store::Error) -> Self {
        let text = error.to_string();
        let (mut transport, mut io, mut deepest) = (None, None, String::new());
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(http) = cause.downcast_ref::<HttpError>() {
                transport = Some(http.kind());
            }
            if let Some(os) = cause.downcast_ref::<std::io::Error>() {
                io = Some(os.kind());
            }
            deepest = cause.to_string();
            source = cause.source();
        }
        let status = status_in(&text).or_else(|| status_of(error));
        let code = between(&text, "<Code>", "</Code>").to_owned();
        let said = between(&text, "<Message>", "</Message>").lines().next().unwrap_or_default();
        let detail = match (status, transport) {
            (Some(status), _) => format!("status {status} {code} {said}").trim().to_owned(),
            (None, Some(_)) => deepest,
            (None, None) => shorten(&text),
        };
        let metadata = ["169.254.169.254", "metadata.google.internal", "169.254.170.2"].iter();
        let asks_for_credentials = metadata.into_iter().any(|host| text.contains(host));
        Self { status, code, transport, io, asks_for_credentials, detail }
    }

    fn judge(&self, missing: &str) -> (ErrorKind, String) {
        let no_bucket = ["NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"];
        if no_bucket.contains(&self.code.as_str()) {
            return (ErrorKind::Invalid, missing.to_owned());
        }
        let known = if self.asks_for_credentials {
            let message = "no credentials were given and the default chain found none; give them \
                           as options or in the environment";
            Some((ErrorKind::Denied, message))
        } else {
            self.by_code().or_else(|| self.by_status()).or_else(|| self.by_io())
        };
        let (kind, message) = known.unwrap_or(match self.transport {
            Some(HttpErrorKind::Connect) => (
                ErrorKind::Unavailable,
                "the store cannot be reached; check endpoint, network and certificate",
            ),
            _ => (ErrorKind::Unavailable, "the store failed or did not answer; try again"),
        });
        (kind, message.to_owned())
    }

    fn by_code(&self) -> Option<(ErrorKind, &'static str)> {
        Some(match self.code.as_str() {
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "AuthenticationFailed"
            | "InvalidToken"
            | "InvalidAuthenticationInfo" => (
                ErrorKind::Denied,
                "the store does not know these credentials; mend the key and its secret",
            ),
            "ExpiredToken" | "TokenRefreshRequired" | "ExpiredTokenException" => {
                (ErrorKind::Denied, "the credentials have expired; get new ones and open again")
            }
            "RequestTimeTooSkewed" | "RequestExpired" => (
                ErrorKind::Denied,
                "this machine's clock differs too much from the store's; set it",
            ),
            "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed" => (
                ErrorKind::Invalid,
                "the bucket is in another region or at another endpoint; set region and endpoint",
            ),
            "SlowDown" | "ServerBusy" | "TooManyRequests" | "RequestLimitExceeded" => {
                (ErrorKind::Unavailable, "the store asks to slow down; try again later")
            }
            "QuotaExceeded" | "XMinioStorageFull" | "InsufficientCapacity" => {
                (ErrorKind::Full, "the store has no room left; free some or raise the quota")
            }
            _ => return None,
        })
    }

    fn by_status(&self) -> Option<(ErrorKind, &'static str)> {
        Some(match self.status? {
            301 | 302 | 307 | 308 => (
                ErrorKind::Invalid,
                "the bucket is in another region or at another endpoint; set region and endpoint",
            ),
            400 | 411 | 414 | 422 => {
                (ErrorKind::Invalid, "the store refused the request as wrong; see its reason")
            }
            401 | 403 => (
                ErrorKind::Denied,
                "the store does not allow this; let the credentials read, write, delete and list",
            ),
            404 => (
                ErrorKind::Invalid,
                "there is no such thing at this endpoint; mend endpoint and bucket",
            ),
            405 | 501 => (ErrorKind::Unsupported, "the store does not offer this"),
            408 | 409 | 412 | 429 | 503 => {
                (ErrorKind::Unavailable, "the store asks to slow down; try again later")
            }
            507 => (ErrorKind::Full, "the store has no room left; free some or raise the quota"),
            _ => return None,
        })
    }

    fn by_io(&self) -> Option<(ErrorKind, &'static str)> {
        use std::io::ErrorKind as Io;
        // What the network says of itself is told apart by the transport.
        if self.transport.is_some() {
            return None;
        }
        Some(match self.io? {
            Io::StorageFull | Io::QuotaExceeded => {
                (ErrorKind::Full, "the disk is full; free some room")
            }
            Io::PermissionDenied | Io::ReadOnlyFilesystem => {
                (ErrorKind::Denied, "the directory may not be used; mend its permissions")
            }
            _ => return None,
        })
    }
}

/// The store's error that caused this one.
fn in_chain(error: &slatedb::Error) -> Option<&object_store::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(found) = cause.downcast_ref::<object_store::Error>() {
            return Some(found);
        }
        if let Some(found) = cause.downcast_ref::<Arc<object_store::Error>>() {
            return Some(found);
        }
        source = cause.source();
    }
    None
}

fn is_missing(error: &slatedb::Error) -> bool {
    matches!(in_chain(error), Some(object_store::Error::NotFound { .. }))
}

/// The cause in words that hold no secret.
fn detail(error: &slatedb::Error) -> String {
    match in_chain(error) {
        Some(cause) => Reason::of(cause).detail,
        None => shorten(&error.to_string()),
    }
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(DETAIL_CHARS).collect()
}

/// The status that stands in the client's text.
fn status_in(text: &str) -> Option<u16> {
    if text.contains("redirect without LOCATION") {
        return Some(301);
    }
    let (_, rest) = text.split_once("non-2xx status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// The status that the client turned into a kind of error.
fn status_of(error: &object_store::Error) -> Option<u16> {
    use object_store::Error as Store;
    Some(match error {
        Store::NotFound { .. } => 404,
        Store::AlreadyExists { .. } => 409,
        Store::Precondition { .. } => 412,
        Store::PermissionDenied { .. } => 403,
        Store::Unauthenticated { .. } => 401,
        Store::NotSupported { .. } | Store::NotImplemented { .. } => 501,
        _ => return None,
    })
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let rest = text.split_once(from).map_or("", |(_, rest)| rest);
    rest.split_once(to).map_or("", |(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn answer(status: &str, code: &str) -> object_store::Error {
        let body = format!(
            "<Error><Code>{code}</Code><Message>why</Message><CanonicalRequest>PUT\n\
             x-amz-security-token:hunter2</CanonicalRequest></Error>"
        );
        let source = format!("Server returned non-2xx status code: {status}: {body}").into();
        object_store::Error::Generic { store: "S3", source }
    }

    /// As the library wraps it.
    fn wrapped(error: slatedb::Error, source: object_store::Error) -> slatedb::Error {
        error.with_source(Box::new(Arc::new(source)))
    }

    #[test]
    fn every_kind_of_the_library_gives_its_kind_and_says_what_to_do() {
        let text = || "why".to_owned();
        let missing = object_store::Error::NotFound { path: text(), source: "gone".into() };
        for (error, kind, advice) in [
            (slatedb::Error::closed(text(), CloseReason::Fenced), ErrorKind::Closed, "read_only"),
            (slatedb::Error::closed(text(), CloseReason::Clean), ErrorKind::Closed, "open it"),
            (slatedb::Error::closed(text(), CloseReason::Panic), ErrorKind::Closed, "open it"),
            (slatedb::Error::transaction(text()), ErrorKind::Unavailable, "try again"),
            (slatedb::Error::invalid(text()), ErrorKind::Invalid, "reason"),
            (slatedb::Error::data(text()), ErrorKind::Corrupt, "restore"),
            (
                slatedb::Error::data("unsupported manifest format version".to_owned()),
                ErrorKind::Invalid,
                "another version",
            ),
            (wrapped(slatedb::Error::data(text()), missing), ErrorKind::Unavailable, "no longer"),
            (slatedb::Error::internal(text()), ErrorKind::Unavailable, "try again"),
            (slatedb::Error::unavailable(text()), ErrorKind::Unavailable, "try again"),
            (
                wrapped(
                    slatedb::Error::unavailable(text()),
                    answer("403 Forbidden", "ExpiredToken"),
                ),
                ErrorKind::Denied,
                "expired",
            ),
            (
                wrapped(
                    slatedb::Error::unavailable(text()),
                    answer("404 Not Found", "NoSuchBucket"),
                ),
                ErrorKind::Invalid,
                "make it",
            ),
        ] {
            let turned = slate(Operation::Get, &error, "make it");
            assert_eq!(turned.kind(), kind, "{error}");
            assert!(turned.message().contains(advice), "{error}: {turned}");
            assert!(turned.source().is_some());
            let outcome = open_outcome(Operation::Put, &error);
            assert_eq!(outcome.kind(), ErrorKind::Unknown);
            for shown in [turned, outcome] {
                assert!(!format!("{shown:?}").contains("hunter2"), "{shown:?}");
            }
        }
    }

    #[test]
    fn errors_of_a_directory_say_what_to_do() {
        use std::io::ErrorKind as Io;
        for (io, kind, advice) in [
            (Io::NotFound, ErrorKind::Invalid, "mend the path"),
            (Io::NotADirectory, ErrorKind::Invalid, "is a file"),
            (Io::AlreadyExists, ErrorKind::Invalid, "is a file"),
            (Io::PermissionDenied, ErrorKind::Denied, "permissions"),
            (Io::ReadOnlyFilesystem, ErrorKind::Denied, "permissions"),
            (Io::StorageFull, ErrorKind::Full, "room"),
        ] {
            let turned = directory(io.into());
            assert_eq!(turned.kind(), kind, "{io:?}");
            assert!(turned.message().contains(advice), "{io:?}: {turned}");
        }
        for (io, kind) in [
            (Io::StorageFull, ErrorKind::Full),
            (Io::QuotaExceeded, ErrorKind::Full),
            (Io::PermissionDenied, ErrorKind::Denied),
            (Io::TimedOut, ErrorKind::Unavailable),
        ] {
            let source = Box::new(std::io::Error::from(io));
            let error = object_store::Error::Generic { store: "LocalFileSystem", source };
            assert_eq!(store(Operation::Put, &error, "").kind(), kind, "{io:?}");
        }
    }
}
