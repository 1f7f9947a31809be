//! Turns what the client and the store say into the house's kinds, with what to do about it.

use std::error::Error as _;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::CancellationReason;
use holdall_core::{Error, ErrorKind, Key, Operation};

use crate::row::Item;

/// Why a call failed, before it is known which call it was.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    message: String,
    /// The client's own words. Its errors hold the items that were there, so they go no further.
    source: Option<String>,
    key: Option<Key>,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, key: None }
    }

    pub(crate) fn conflict(key: &Key) -> Self {
        let message = "the key is not as expected; read it again and decide";
        Self { key: Some(key.clone()), ..Self::new(ErrorKind::Conflict, message) }
    }

    fn because(mut self, source: String) -> Self {
        self.source = Some(source);
        self
    }

    pub(crate) fn at(self, operation: Operation) -> Error {
        let mut error = Error::new(self.kind, operation, self.message);
        if let Some(key) = &self.key {
            error = error.with_key(key);
        }
        match self.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

/// How one request failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Nothing happened, because not every condition held. For each step whose condition did not:
    /// its place, and the item that is there.
    Conditions(Vec<(usize, Option<Item>)>),
    /// Nothing happened, and the same request may succeed later.
    Later(Failure),
    /// Nothing happened: the request or an item is larger than the store takes.
    TooLarge(Failure),
    /// There is no answer, so it may have happened.
    Lost(Failure),
    /// Nothing happened.
    Refused(Failure),
}

impl Fault {
    /// What a caller learns if there is nothing more to try.
    pub(crate) fn failure(self) -> Failure {
        match self {
            Self::Conditions(_) => Failure::new(
                ErrorKind::Unavailable,
                "others write the same keys all the time; try again",
            ),
            Self::Later(failure)
            | Self::TooLarge(failure)
            | Self::Lost(failure)
            | Self::Refused(failure) => failure,
        }
    }

    /// The same for a write: no answer is an open outcome.
    pub(crate) fn of_write(self) -> Failure {
        match self {
            Self::Lost(failure) => Failure {
                kind: ErrorKind::Unknown,
                message: "the answer to the write was lost and it may have happened; look before \
                          writing again"
                    .to_owned(),
                ..failure
            },
            fault => fault.failure(),
        }
    }
}

/// What the client says of a request that failed.
pub(crate) fn fault<E>(error: &SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(said) => {
            let (code, message) = (said.err().code(), said.err().message());
            let server_fault = said.raw().status().is_server_error();
            by_code(code.unwrap_or_default(), message.unwrap_or_default(), server_fault)
        }
        SdkError::ConstructionFailure(_) => Fault::Refused(
            Failure::new(ErrorKind::Invalid, "the request cannot be made; see its reason")
                .because(causes(error)),
        ),
        SdkError::DispatchFailure(_) => undelivered(causes(error)),
        _ => lost(causes(error)),
    }
}

/// A request that did not reach the store, or whose answer did not come back.
fn undelivered(causes: String) -> Fault {
    let (kind, message) = if causes.contains("redential") || causes.contains("identity") {
        (
            ErrorKind::Denied,
            "there are no credentials; give access_key_id and secret_access_key, or set up the \
             surroundings",
        )
    } else if causes.contains("ertificate") {
        (ErrorKind::Denied, "the endpoint does not prove by TLS who it is; look at its certificate")
    } else if causes.contains("(Connect)") || causes.contains("dns error") {
        (
            ErrorKind::Unavailable,
            "the endpoint cannot be reached; look at endpoint and region, and whether it runs",
        )
    } else {
        return lost(causes);
    };
    Fault::Refused(Failure::new(kind, message).because(causes))
}

fn lost(causes: String) -> Fault {
    let message = "the store did not answer in time, or the connection ended; try again, or give \
                   a longer timeout";
    Fault::Lost(Failure::new(ErrorKind::Unavailable, message).because(causes))
}

fn by_code(code: &str, message: &str, server_fault: bool) -> Fault {
    let said = if message.is_empty() { code.to_owned() } else { format!("{code}: {message}") };
    let failure = |kind, message: &str| Failure::new(kind, message).because(said.clone());
    match code {
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "Throttling"
        | "ThrottlingError"
        | "ProvisionedThroughputExceeded"
        | "RequestLimitExceeded" => Fault::Later(failure(
            ErrorKind::Unavailable,
            "the table has used up its units; try again later, or give it more",
        )),
        "LimitExceededException" => Fault::Later(failure(
            ErrorKind::Unavailable,
            "too many tables are being made at this moment; try again later",
        )),
        "TransactionConflictException"
        | "TransactionConflict"
        | "TransactionInProgressException"
        | "ReplicatedWriteConflictException" => Fault::Later(failure(
            ErrorKind::Unavailable,
            "others use the same keys at this moment; try again",
        )),
        "ValidationException" | "ValidationError" if is_about_size(message) => {
            Fault::TooLarge(failure(
                ErrorKind::Invalid,
                "the store takes no item or request of this size; make it smaller",
            ))
        }
        "ItemCollectionSizeLimitExceededException" | "ItemCollectionSizeLimitExceeded" => {
            Fault::Refused(failure(
                ErrorKind::Full,
                "a partition of the table is full; use a table without local indexes",
            ))
        }
        "ResourceNotFoundException" => {
            Fault::Refused(failure(ErrorKind::Closed, "the table is gone; open the backend again"))
        }
        "AccessDeniedException" | "AccessDenied" | "NotAuthorized" | "OptInRequired" => {
            Fault::Refused(failure(
                ErrorKind::Denied,
                "these credentials may not do that; allow them GetItem, PutItem, UpdateItem, \
                 DeleteItem, ConditionCheckItem, Query and DescribeTable on the table",
            ))
        }
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "IncompleteSignature"
        | "SignatureDoesNotMatch"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId" => {
            // What it says of a wrong signature may hold the token that came with it.
            let message = "the store does not take these credentials; mend them, or this \
                           machine's clock";
            Fault::Refused(Failure::new(ErrorKind::Denied, message).because(code.to_owned()))
        }
        _ if server_fault => lost(said),
        _ => Fault::Refused(failure(
            ErrorKind::Unsupported,
            "the store does not understand; see its reason",
        )),
    }
}

fn is_about_size(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["size", "too large", "4 mb", "4mb"].iter().any(|word| message.contains(word))
}

/// What a cancelled transaction says of its steps. As long as one was not even looked at, nothing
/// is known of which conditions hold.
pub(crate) fn cancelled(reasons: &[CancellationReason]) -> Fault {
    let mut failed = Vec::new();
    let mut worst = None;
    for (place, reason) in reasons.iter().enumerate() {
        match reason.code().unwrap_or("None") {
            "None" => {}
            "ConditionalCheckFailed" => {
                let item = reason.item().filter(|item| !item.is_empty());
                failed.push((place, item.cloned()));
            }
            code => {
                let fault = by_code(code, reason.message().unwrap_or_default(), false);
                if !matches!((&worst, &fault), (Some(_), Fault::Later(_))) {
                    worst = Some(fault);
                }
            }
        }
    }
    worst.unwrap_or(Fault::Conditions(failed))
}

/// The words of an error and of what caused it.
fn causes<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: std::error::Error + 'static,
{
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_store_has_its_kind() {
        for (code, message, kind, advice) in [
            ("ThrottlingException", "", ErrorKind::Unavailable, "later"),
            ("ProvisionedThroughputExceededException", "", ErrorKind::Unavailable, "units"),
            ("RequestLimitExceeded", "", ErrorKind::Unavailable, "later"),
            ("TransactionConflictException", "", ErrorKind::Unavailable, "try again"),
            ("ItemCollectionSizeLimitExceededException", "", ErrorKind::Full, "indexes"),
            ("ResourceNotFoundException", "", ErrorKind::Closed, "open the backend again"),
            ("AccessDeniedException", "", ErrorKind::Denied, "PutItem"),
            ("UnrecognizedClientException", "", ErrorKind::Denied, "mend"),
            ("ExpiredTokenException", "", ErrorKind::Denied, "mend"),
            ("ValidationException", "Item size exceeded", ErrorKind::Invalid, "smaller"),
            ("ValidationException", "Bad expression", ErrorKind::Unsupported, "reason"),
            ("SomethingNew", "", ErrorKind::Unsupported, "reason"),
        ] {
            let error = by_code(code, message, false).of_write().at(Operation::Put);
            assert_eq!(error.kind(), kind, "{code}");
            assert!(error.message().contains(advice), "{code}: {error}");
            assert!(format!("{error:?}").contains(code), "{error:?}");
        }
    }

    #[test]
    fn what_is_said_of_a_signature_is_not_shown() {
        let said = "should have been x-amz-security-token:hunter2";
        let error = by_code("InvalidSignatureException", said, false).failure().at(Operation::Get);
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn a_fault_of_the_server_leaves_the_outcome_open() {
        let fault = || by_code("InternalServerError", "", true);
        assert_eq!(fault().failure().kind, ErrorKind::Unavailable);
        assert_eq!(fault().of_write().kind, ErrorKind::Unknown);
    }

    #[test]
    fn undelivered_requests_are_told_apart() {
        for (causes, kind) in [
            ("io error: client error (Connect): refused", ErrorKind::Unavailable),
            ("other: dns error: not known", ErrorKind::Unavailable),
            ("client error (Connect): invalid peer certificate", ErrorKind::Denied),
            ("the credential provider was not enabled", ErrorKind::Denied),
            ("io error: client error (SendRequest): reset", ErrorKind::Unknown),
        ] {
            assert_eq!(undelivered(causes.to_owned()).of_write().kind, kind, "{causes}");
        }
    }

    #[test]
    fn conditions_count_only_where_every_step_was_looked_at() {
        let reason = |code: &str| CancellationReason::builder().code(code).build();
        let (fine, failed) = (reason("None"), reason("ConditionalCheckFailed"));
        let places = match cancelled(&[fine.clone(), failed.clone(), failed.clone()]) {
            Fault::Conditions(failed) => failed.into_iter().map(|(place, _)| place).collect(),
            _ => Vec::new(),
        };
        assert_eq!(places, [1, 2]);
        let contended = reason("TransactionConflict");
        let fault = cancelled(&[failed.clone(), contended.clone()]);
        assert!(matches!(fault, Fault::Later(_)), "{fault:?}");
        let denied = reason("AccessDenied");
        let fault = cancelled(&[denied, contended, fine]);
        assert!(matches!(fault, Fault::Refused(_)), "{fault:?}");
    }
}
