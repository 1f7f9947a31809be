//! The stores' errors, turned into the house's kinds with a word on what to do.

use std::error::Error as _;

use holdall_core::{Error, ErrorKind, Operation};
use object_store::client::{HttpError, HttpErrorKind};

/// What the client says went wrong, as far as it can be told.
///
/// The client keeps status and body of an answer in types that cannot be named from outside; they
/// are in its text. From there only the store's own code and message are passed on: the rest of a
/// body may repeat what was signed, tokens included.
#[derive(Debug)]
pub(crate) struct Reason {
    /// The status of the answer, if there was one.
    pub(crate) status: Option<u16>,
    /// The store's own name for what went wrong, or nothing.
    pub(crate) code: String,
    /// How the connection failed, if it did.
    pub(crate) transport: Option<HttpErrorKind>,
    detail: String,
    text: String,
}

impl Reason {
    pub(crate) fn of(error: &object_store::Error) -> Self {
        let text = error.to_string();
        let mut transport = None;
        let mut deepest = String::new();
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(http) = cause.downcast_ref::<HttpError>() {
                transport = Some(http.kind());
            }
            deepest = cause.to_string();
            source = cause.source();
        }
        let status = status_in(&text).or_else(|| status_of(error));
        let code = between(&text, "<Code>", "</Code>").to_owned();
        let message = between(&text, "<Message>", "</Message>").lines().next().unwrap_or_default();
        let detail = match (status, transport) {
            (Some(status), _) => format!("status {status} {code} {message}").trim().to_owned(),
            (None, Some(_)) => deepest,
            // What the client itself did not like, such as an answer that is no XML.
            (None, None) => text.chars().take(300).filter(|c| !c.is_control()).collect(),
        };
        Self { status, code, transport, detail, text }
    }

    /// Whether the bucket itself is missing.
    pub(crate) fn is_no_bucket(&self) -> bool {
        ["NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"].contains(&self.code.as_str())
    }

    /// Whether the range was not understood: by the server, or in its answer by the client.
    pub(crate) fn is_about_ranges(&self) -> bool {
        self.status == Some(416) || (self.status.is_none() && self.transport.is_none())
    }

    /// The error for a caller: of a request that writes, or of one that reads. `missing` is said
    /// where the bucket is.
    pub(crate) fn error(self, operation: Operation, write: bool, missing: &str) -> Error {
        let (kind, message) = self.judge(write, missing);
        Error::new(kind, operation, message).with_source(self.detail)
    }

    fn judge(&self, write: bool, missing: &str) -> (ErrorKind, String) {
        if self.is_no_bucket() {
            return (ErrorKind::Invalid, missing.to_owned());
        }
        if self.asks_for_credentials() {
            let message = "no credentials were given and the default chain found none; give \
                           them as options or in the environment";
            return (ErrorKind::Denied, message.to_owned());
        }
        let (kind, message) =
            self.by_code().or_else(|| self.by_status()).unwrap_or_else(|| self.by_transport(write));
        (kind, message.to_owned())
    }

    /// Whether it was the machine's metadata server that did not answer.
    fn asks_for_credentials(&self) -> bool {
        ["169.254.169.254", "metadata.google.internal", "169.254.170.2"]
            .iter()
            .any(|host| self.text.contains(host))
    }

    fn by_code(&self) -> Option<(ErrorKind, &'static str)> {
        Some(match self.code.as_str() {
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "AuthenticationFailed"
            | "InvalidToken"
            | "InvalidSecurity"
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
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException" => (
                ErrorKind::Invalid,
                "the bucket is in another region or at another endpoint; set region and endpoint",
            ),
            "SlowDown"
            | "ServiceUnavailable"
            | "ServerBusy"
            | "TooManyRequests"
            | "RequestLimitExceeded"
            | "RequestTimeout" => (
                ErrorKind::Unavailable,
                "the store asks to slow down; try again later, with a lower concurrency",
            ),
            "QuotaExceeded" | "XMinioStorageFull" | "InsufficientCapacity" => {
                (ErrorKind::Full, "the store has no room left; free some or raise the quota")
            }
            "EntityTooLarge" | "RequestBodyTooLarge" => {
                (ErrorKind::Invalid, "the store takes no value of this size; lower part_size")
            }
            "EntityTooSmall" => {
                (ErrorKind::Invalid, "the store wants larger parts; raise part_size")
            }
            "KeyTooLongError"
            | "InvalidUri"
            | "InvalidResourceName"
            | "OutOfRangeInput"
            | "XMinioInvalidObjectName" => {
                (ErrorKind::Invalid, "the store cannot hold this key; choose a shorter one")
            }
            "XMinioParentIsObject" | "XMinioObjectExistsAsDirectory" => (
                ErrorKind::Invalid,
                "the server keeps objects as files and cannot hold a key beside one that \
                 continues it; open it with names=flat",
            ),
            "InvalidObjectState" | "BlobArchived" => {
                (ErrorKind::Unavailable, "the value is in an archive; restore it and try again")
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
            413 => (ErrorKind::Invalid, "the store takes no value of this size; lower part_size"),
            408 | 429 | 503 => (
                ErrorKind::Unavailable,
                "the store asks to slow down; try again later, with a lower concurrency",
            ),
            409 | 412 => (ErrorKind::Unavailable, "another request is changing this; try again"),
            507 => (ErrorKind::Full, "the store has no room left; free some or raise the quota"),
            _ => return None,
        })
    }

    /// Where nothing is said by the store, or only that it failed inside.
    fn by_transport(&self, write: bool) -> (ErrorKind, &'static str) {
        if self.transport == Some(HttpErrorKind::Connect) {
            let message = "the store cannot be reached; check endpoint, network and certificate";
            return (ErrorKind::Unavailable, message);
        }
        if write {
            let message = "the store's answer did not come; look whether the write happened";
            return (ErrorKind::Unknown, message);
        }
        if self.text.contains("invalid list response") {
            let message = "what answers at the endpoint is no such store; mend the endpoint";
            return (ErrorKind::Invalid, message);
        }
        (ErrorKind::Unavailable, "the store failed or did not answer; try again")
    }
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
        Store::NotModified { .. } => 304,
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
             x-amz-security-token:atoken</CanonicalRequest></Error>"
        );
        let source = format!("Server returned non-2xx status code: {status}: {body}").into();
        object_store::Error::Generic { store: "S3", source }
    }

    fn transport(kind: HttpErrorKind) -> object_store::Error {
        let source = HttpError::new(kind, std::io::Error::other("the line went dead"));
        object_store::Error::Generic { store: "S3", source: Box::new(source) }
    }

    #[test]
    fn every_answer_gives_its_kind_and_says_what_to_do() {
        use ErrorKind::{Denied, Full, Invalid, Unavailable, Unknown, Unsupported};
        for (status, code, kind, advice) in [
            ("404 Not Found", "NoSuchBucket", Invalid, "make it"),
            ("404 Not Found", "ContainerNotFound", Invalid, "make it"),
            ("403 Forbidden", "InvalidAccessKeyId", Denied, "mend the key"),
            ("403 Forbidden", "SignatureDoesNotMatch", Denied, "mend the key"),
            ("403 Forbidden", "AuthenticationFailed", Denied, "mend the key"),
            ("400 Bad Request", "ExpiredToken", Denied, "expired"),
            ("403 Forbidden", "RequestTimeTooSkewed", Denied, "clock"),
            ("403 Forbidden", "AccessDenied", Denied, "let the credentials"),
            ("401 Unauthorized", "", Denied, "let the credentials"),
            ("400 Bad Request", "AuthorizationHeaderMalformed", Invalid, "region"),
            ("301 Moved", "PermanentRedirect", Invalid, "region"),
            ("307 Temporary", "", Invalid, "region"),
            ("503 Slow Down", "SlowDown", Unavailable, "lower concurrency"),
            ("503 Busy", "ServerBusy", Unavailable, "lower concurrency"),
            ("429 Too Many", "", Unavailable, "lower concurrency"),
            ("403 Forbidden", "QuotaExceeded", Full, "room"),
            ("507 Insufficient", "", Full, "room"),
            ("400 Bad Request", "EntityTooLarge", Invalid, "part_size"),
            ("400 Bad Request", "EntityTooSmall", Invalid, "part_size"),
            ("400 Bad Request", "KeyTooLongError", Invalid, "shorter"),
            ("400 Bad Request", "XMinioParentIsObject", Invalid, "names=flat"),
            ("403 Forbidden", "InvalidObjectState", Unavailable, "restore"),
            ("400 Bad Request", "Strange", Invalid, "reason"),
            ("404 Not Found", "", Invalid, "endpoint"),
            ("405 Not Allowed", "", Unsupported, "offer"),
            ("409 Conflict", "OperationAborted", Unavailable, "try again"),
            ("500 Internal", "InternalError", Unknown, "look"),
            ("502 Bad Gateway", "", Unknown, "look"),
        ] {
            let turned = Reason::of(&answer(status, code)).error(Operation::Put, true, "make it");
            assert_eq!(turned.kind(), kind, "{status} {code}");
            assert!(turned.message().contains(advice), "{status} {code}: {turned}");
            assert!(turned.source().unwrap().to_string().contains(&status[..3]), "{turned:?}");
            assert!(!format!("{turned:?}").contains("atoken"), "{turned:?}");
        }
        let read = Reason::of(&answer("500 Internal", "InternalError"));
        assert_eq!(read.error(Operation::Get, false, "").kind(), Unavailable);
    }

    #[test]
    fn a_lost_answer_is_unknown_only_where_something_may_have_been_written() {
        use HttpErrorKind as Kind;
        for (failed, write) in [
            (Kind::Connect, ErrorKind::Unavailable),
            // The client says so too when a connection ends after the request was sent.
            (Kind::Request, ErrorKind::Unknown),
            (Kind::Timeout, ErrorKind::Unknown),
            (Kind::Interrupted, ErrorKind::Unknown),
            (Kind::Decode, ErrorKind::Unknown),
            (Kind::Unknown, ErrorKind::Unknown),
        ] {
            for (is_write, kind) in [(true, write), (false, ErrorKind::Unavailable)] {
                let turned = Reason::of(&transport(failed)).error(Operation::Put, is_write, "");
                assert_eq!(turned.kind(), kind, "{failed:?} {is_write}");
                assert_eq!(turned.source().unwrap().to_string(), "the line went dead");
            }
        }
    }

    #[test]
    fn missing_credentials_are_told_from_a_missing_network() {
        let source = "Error performing PUT http://169.254.169.254/latest/api/token in 1s".into();
        let error = object_store::Error::Generic { store: "S3", source };
        let turned = Reason::of(&error).error(Operation::List, false, "");
        assert_eq!(turned.kind(), ErrorKind::Denied);
        assert!(turned.message().contains("environment"));
    }
}
