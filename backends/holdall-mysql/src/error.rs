//! What the server and the client library say, turned into the house's kinds with a word on what
//! to do.

use std::error::Error as Source;
use std::fmt;

use holdall_core::{Error, ErrorKind, Operation};
use mysql_async as mysql;
use mysql_async::{DriverError, IoError};

/// A row with this key is there already.
pub(crate) const DUPLICATE: u16 = 1062;
/// A number became too large: how a batch says that an expectation does not hold.
pub(crate) const OUT_OF_RANGE: u16 = 1690;
/// There is such a column already.
pub(crate) const COLUMN_EXISTS: u16 = 1060;
/// There is no such table.
pub(crate) const NO_TABLE: u16 = 1146;
/// After these the transaction is surely rolled back, or can be, and may be tried again: lock
/// wait, deadlock, a row that changed since the snapshot, refused by the other replicas.
const AGAIN: [u16; 4] = [1205, 1213, 1020, 3101];
/// These end a statement or connection from outside, or a commit half-way: whether what was asked
/// for has happened is open.
const OPEN: [u16; 9] = [1053, 1080, 1180, 1317, 1927, 1969, 3024, 3169, 4031];
/// Their text repeats a part of the statement, and so perhaps of a value.
const TELLTALE: [u16; 4] = [1064, 1292, 1366, 1406];

/// The code of an error that the server answered with; none if there was no answer.
pub(crate) fn code(error: &mysql::Error) -> Option<u16> {
    match error {
        mysql::Error::Server(error) => Some(error.code),
        _ => None,
    }
}

/// Whether the server has rolled back, or will, and the same may be tried again.
pub(crate) fn may_be_tried_again(error: &mysql::Error) -> bool {
    code(error).is_some_and(|code| AGAIN.contains(&code))
}

/// Whether it is open what has become of a write that the server was asked for.
pub(crate) fn leaves_open(error: &mysql::Error) -> bool {
    if is_too_large(error) {
        // The library looks at a packet before it sends any of it.
        return false;
    }
    code(error).is_none_or(|code| OPEN.contains(&code))
}

/// Whether the library did not send, or the server did not read, so large a packet. The library
/// tells its own refusal from the network's errors by its text alone.
fn is_too_large(error: &mysql::Error) -> bool {
    match error {
        mysql::Error::Driver(DriverError::PacketTooLarge) => true,
        mysql::Error::Io(IoError::Io(error)) => error.to_string().contains("max_allowed_packet"),
        mysql::Error::Server(error) => matches!(error.code, 1153 | 1301),
        _ => false,
    }
}

/// A write whose outcome is open.
pub(crate) fn unknown(operation: Operation, source: mysql::Error) -> Error {
    let message = "the server's answer was lost, so the write may have happened; read it back";
    with_source(Error::unknown(operation, message), source)
}

/// An error before which nothing was written.
pub(crate) fn mysql(operation: Operation, source: mysql::Error) -> Error {
    let (kind, message) = match &source {
        _ if is_too_large(&source) => (
            ErrorKind::Invalid,
            "the server takes no packet of this size any more; raise its max_allowed_packet or \
             open again",
        ),
        mysql::Error::Server(error) => server(error.code, &error.message),
        mysql::Error::Io(IoError::Tls(_)) => (
            ErrorKind::Denied,
            "no trusted encrypted connection; give the server's authority as tls_ca, and the \
             host name that its certificate is for",
        ),
        mysql::Error::Io(IoError::Io(error)) => match error.kind() {
            std::io::ErrorKind::ConnectionRefused => (
                ErrorKind::Unavailable,
                "nothing listens there; start the server or mend the host and port",
            ),
            std::io::ErrorKind::InvalidData => (
                ErrorKind::Denied,
                "no trusted encrypted connection; give the server's authority as tls_ca, and \
                 the host name that its certificate is for",
            ),
            _ => (
                ErrorKind::Unavailable,
                "the server is not reached; look at the network and the host name, and try again",
            ),
        },
        mysql::Error::Driver(DriverError::NoClientSslFlagFromServer) => (
            ErrorKind::Invalid,
            "the server offers no encryption; give it a certificate, or write tls=off",
        ),
        mysql::Error::Driver(
            DriverError::UnknownAuthPlugin { .. }
            | DriverError::MysqlOldPasswordDisabled
            | DriverError::CleartextPluginDisabled,
        ) => (
            ErrorKind::Denied,
            "the user logs in by a way that is not offered here; give it a password",
        ),
        _ => (ErrorKind::Unavailable, "the connection to the server was lost; try again"),
    };
    with_source(Error::new(kind, operation, message), source)
}

fn server(code: u16, text: &str) -> (ErrorKind, &'static str) {
    match code {
        1044 | 1045 | 1130 | 1698 | 3118 | 4151 => (
            ErrorKind::Denied,
            "the server does not let this user in; mend user and password, or write tls=require \
             if it wants encryption",
        ),
        1142 | 1143 | 1227 | 1370 => (
            ErrorKind::Denied,
            "the user may not do this; grant it SELECT, INSERT, UPDATE, DELETE and CREATE",
        ),
        1290 | 1792 | 1836 => {
            (ErrorKind::Denied, "the server is read-only; name the one that takes writes")
        }
        1049 => (ErrorKind::Invalid, "there is no such database; create it or name another"),
        3159 => (ErrorKind::Invalid, "the server wants encryption; write tls=require"),
        NO_TABLE => (ErrorKind::Closed, "the table has gone; open again to make it anew"),
        1118 | 1406 => (ErrorKind::Invalid, "the server takes no row of this size"),
        1021 | 1114 => (ErrorKind::Full, "the server has no room; free some on its disk"),
        1026 | 1030 if text.contains(" 28 ") || text.contains("No space left") => {
            (ErrorKind::Full, "the server's disk is full; free some room there")
        }
        1034 | 1194 | 1195 | 1712 | 1877 => (
            ErrorKind::Corrupt,
            "the server says that the table is damaged; check it and restore it from a copy",
        ),
        1040 | 1203 | 1226 => (
            ErrorKind::Unavailable,
            "the server has too many connections; lower max_connections or raise its limit",
        ),
        1205 | 1213 => (
            ErrorKind::Unavailable,
            "other writers kept these rows locked; nothing was written, try again",
        ),
        1053 | 1317 | 1927 | 1969 | 3024 | 3169 | 4031 => {
            (ErrorKind::Unavailable, "the server ended the statement; try again")
        }
        _ => (ErrorKind::Unavailable, "the server refused; see its reason and try again"),
    }
}

fn with_source(error: Error, source: mysql::Error) -> Error {
    match code(&source) {
        Some(code) if TELLTALE.contains(&code) => error.with_source(Code(code)),
        _ => error.with_source(source),
    }
}

/// An answer of the server whose text is better not shown.
#[derive(Debug)]
struct Code(u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server's error {}", self.0)
    }
}

impl Source for Code {}

/// What was expected is not there.
pub(crate) fn conflict(operation: Operation, key: &holdall_core::Key) -> Error {
    let message = "the key has changed since it was read; read it again";
    Error::conflict(operation, message).with_key(key)
}

/// A row that no write of the house leaves.
pub(crate) fn damaged(operation: Operation) -> Error {
    let message = "a row of the table is damaged; restore it from a copy";
    Error::corrupt(operation, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn answered(code: u16, text: &str) -> mysql::Error {
        let (message, state) = (text.to_owned(), "HY000".to_owned());
        mysql::Error::Server(mysql::ServerError { code, message, state })
    }

    #[test]
    fn every_answer_gives_its_kind() {
        for (code, text, kind) in [
            (1045, "", ErrorKind::Denied),
            (1142, "", ErrorKind::Denied),
            (1290, "", ErrorKind::Denied),
            (1049, "", ErrorKind::Invalid),
            (3159, "", ErrorKind::Invalid),
            (1153, "", ErrorKind::Invalid),
            (1118, "", ErrorKind::Invalid),
            (NO_TABLE, "", ErrorKind::Closed),
            (1114, "", ErrorKind::Full),
            (1030, "Got error 28 \"No space left on device\" from storage", ErrorKind::Full),
            (1030, "Got error 168 from storage engine", ErrorKind::Unavailable),
            (1712, "", ErrorKind::Corrupt),
            (1040, "", ErrorKind::Unavailable),
            (1205, "", ErrorKind::Unavailable),
            (1927, "", ErrorKind::Unavailable),
            (9999, "", ErrorKind::Unavailable),
        ] {
            let error = mysql(Operation::Put, answered(code, text));
            assert_eq!(error.kind(), kind, "{code} {text}");
            assert!(error.source().is_some());
        }
    }

    #[test]
    fn an_answer_that_ends_a_statement_from_outside_leaves_a_write_open() {
        assert!(leaves_open(&answered(1927, "")));
        assert!(leaves_open(&answered(1180, "")));
        assert!(!leaves_open(&answered(1213, "")));
        assert!(!leaves_open(&answered(DUPLICATE, "")));
        let lost = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        assert!(leaves_open(&mysql::Error::from(lost)));
        assert!(!leaves_open(&mysql::Error::Driver(DriverError::PacketTooLarge)));
    }

    #[test]
    fn what_repeats_a_statement_is_not_shown() {
        let error = mysql(Operation::Put, answered(1064, "near 'hunter2'"));
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        assert!(format!("{error:?}").contains("1064"), "{error:?}");
    }
}
