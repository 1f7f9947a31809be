//! The server's and the connection's errors, turned into the house's kinds with a word on what to
//! do.

use deadpool_postgres::{HookError, PoolError};
use holdall_core::{Error, ErrorKind, Operation};
use tokio_postgres::error::Severity;

use crate::pool;

/// An error of a connection that could not be made or a statement that could not be prepared: the
/// request itself was not sent.
pub(crate) fn unsent(operation: Operation, source: tokio_postgres::Error) -> Error {
    let (kind, message) = match source.code() {
        Some(code) => by_code(operation, code.code()),
        None => by_connection(&source),
    };
    caused(Error::new(kind, operation, message), source)
}

/// An error of a read that was sent.
pub(crate) fn read(operation: Operation, source: tokio_postgres::Error) -> Error {
    let (kind, message) = match source.code() {
        Some(code) => by_code(operation, code.code()),
        None => (ErrorKind::Unavailable, "the connection was lost; try again"),
    };
    caused(Error::new(kind, operation, message), source)
}

/// An error of a write that was sent. Only a plain error of the server says that nothing happened;
/// a connection can also be ended, by the network or by the server, when all is done.
pub(crate) fn written(operation: Operation, source: tokio_postgres::Error) -> Error {
    let severity = source.as_db_error().and_then(|error| error.parsed_severity());
    if severity == Some(Severity::Error) {
        return read(operation, source);
    }
    caused(unknown(operation), source)
}

/// Adds what the server said: its message alone, because its details can show a row.
fn caused(error: Error, source: tokio_postgres::Error) -> Error {
    let said = source
        .as_db_error()
        .map(|said| format!("{} {}: {}", said.severity(), said.code().code(), said.message()));
    match said {
        Some(said) => error.with_source(said),
        None => error.with_source(source),
    }
}

/// A write whose answer is lost.
pub(crate) fn unknown(operation: Operation) -> Error {
    let message = "the answer to the write was lost and it may have happened; read it back";
    Error::unknown(operation, message)
}

/// A request that took too long.
pub(crate) fn slow(operation: Operation) -> Error {
    let message = "the server did not answer in time; try again, or allow more with \
        statement_timeout";
    Error::unavailable(operation, message)
}

/// An error of the pool. Nothing was sent.
pub(crate) fn unconnected(operation: Operation, source: PoolError) -> Error {
    match source {
        PoolError::Backend(source) | PoolError::PostCreateHook(HookError::Backend(source)) => {
            unsent(operation, source)
        }
        // The hook's own words about this server.
        PoolError::PostCreateHook(HookError::Message(message)) if message == pool::STANDBY => {
            Error::unavailable(operation, message)
        }
        PoolError::PostCreateHook(HookError::Message(message)) => {
            Error::unsupported(operation, message)
        }
        PoolError::Closed => {
            Error::closed(operation, "the connections were closed; open the backend again")
        }
        source @ (PoolError::Timeout(_) | PoolError::NoRuntimeSpecified) => {
            Error::unavailable(operation, "there is no free connection; try again")
                .with_source(source)
        }
    }
}

/// Whether the transaction did surely not happen, and would if it were tried again.
pub(crate) fn is_transient(source: &tokio_postgres::Error) -> bool {
    let code = source.code().map(|code| code.code());
    matches!(code, Some("40001" | "40P01"))
}

fn by_connection(source: &tokio_postgres::Error) -> (ErrorKind, &'static str) {
    let said = source.to_string();
    if said.starts_with("error performing TLS") {
        return if is_refused(source) {
            let message = "TLS could not be agreed; name the server's authority with tls_ca, or \
                choose another tls";
            (ErrorKind::Denied, message)
        } else {
            (ErrorKind::Unavailable, "the connection was lost; try again")
        };
    }
    if said.starts_with("authentication") || said.starts_with("invalid configuration") {
        return (ErrorKind::Denied, "the server asks for another login; give a password");
    }
    let message = "the server cannot be reached; look at host and port and whether it runs";
    (ErrorKind::Unavailable, message)
}

/// Whether TLS failed because of what one side is, not because of the network.
fn is_refused(source: &tokio_postgres::Error) -> bool {
    let mut cause = std::error::Error::source(source);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            let inner = error.get_ref();
            return inner.is_some_and(|inner| inner.is::<rustls::Error>());
        }
        cause = error.source();
    }
    // There is no I/O error: the server said that it has no TLS.
    true
}

fn by_code(operation: Operation, code: &str) -> (ErrorKind, &'static str) {
    use ErrorKind::{Closed, Corrupt, Denied, Full, Invalid, Unavailable, Unsupported};
    match code {
        "28P01" | "28000" => {
            (Denied, "the server refuses this login; mend user and password, or its pg_hba.conf")
        }
        "3D000" => (Invalid, "there is no such database; create it or name another"),
        "42501" if operation == Operation::Open => (
            Denied,
            "this role may not use the schema; grant it CREATE on the database, or USAGE on the \
                schema and rights on all in it",
        ),
        "42501" => (
            Denied,
            "this role may not do that; grant it SELECT, INSERT, UPDATE and DELETE on the \
                schema's tables and USAGE on its sequence",
        ),
        "25006" => (Denied, "the server takes no writes from this role; name the primary"),
        "53100" => (Full, "the server's disk is full; free some room there"),
        "53200" => (
            Unavailable,
            "the server is out of memory or of room for locks; give it more, or raise its \
                max_locks_per_transaction",
        ),
        "53300" => (
            Unavailable,
            "the server has no connection left; lower max_connections here or raise it there",
        ),
        "57014" => (
            Unavailable,
            "the server took too long; try again, or allow more with statement_timeout",
        ),
        "57P03" => (Unavailable, "the server is starting or ending; try again"),
        "57P01" | "57P02" => (Unavailable, "the server ended the connection; try again"),
        "40001" | "40P01" | "55P03" => (Unavailable, "others are writing the same keys; try again"),
        "54000" => (Invalid, "the server takes no row of this size; make it smaller"),
        "XX001" | "XX002" => (Corrupt, "the server's tables are damaged; restore them from a copy"),
        "42P01" | "42883" | "3F000" => {
            (Closed, "the schema's tables are gone; open the backend again to make new ones")
        }
        "42P07" | "42723" | "42710" => {
            (Invalid, "the schema holds tables of another program; choose another schema")
        }
        "42939" => (Invalid, "the server keeps this name for itself; give the schema another name"),
        "26000" | "42P05" => (
            Unsupported,
            "a pooler before the server forgets prepared statements; let it pool sessions, or \
                connect to the server itself",
        ),
        code if code.starts_with("42") || code.starts_with("0A") => {
            (Unsupported, "the server does not understand; see its reason")
        }
        _ => (Unavailable, "the server refused; see its reason and try again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_give_the_kind_whose_reaction_fits() {
        for (code, kind) in [
            ("28P01", ErrorKind::Denied),
            ("3D000", ErrorKind::Invalid),
            ("42501", ErrorKind::Denied),
            ("25006", ErrorKind::Denied),
            ("53100", ErrorKind::Full),
            ("53200", ErrorKind::Unavailable),
            ("53300", ErrorKind::Unavailable),
            ("57014", ErrorKind::Unavailable),
            ("57P03", ErrorKind::Unavailable),
            ("40001", ErrorKind::Unavailable),
            ("40P01", ErrorKind::Unavailable),
            ("54000", ErrorKind::Invalid),
            ("XX001", ErrorKind::Corrupt),
            ("42P01", ErrorKind::Closed),
            ("42P07", ErrorKind::Invalid),
            ("26000", ErrorKind::Unsupported),
            ("42601", ErrorKind::Unsupported),
            ("58030", ErrorKind::Unavailable),
        ] {
            assert_eq!(by_code(Operation::Put, code).0, kind, "{code}");
        }
        let at_open = by_code(Operation::Open, "42501").1;
        assert!(at_open.contains("CREATE"), "{at_open}");
    }
}
