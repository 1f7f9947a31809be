//! Turns what the client and the server say into the house's kinds, with what to do about it.

use holdall_core::{Error, ErrorKind, Operation};
use redis::RedisError;

/// Why a call failed, before it is known which call it was.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    message: String,
    source: Option<RedisError>,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn at(self, operation: Operation) -> Error {
        let error = Error::new(self.kind, operation, self.message);
        match self.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

/// Whether the call that failed may have changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Reads,
    Writes,
}

/// No answer to a request that was sent.
pub(crate) fn unanswered(effect: Effect, source: RedisError) -> Failure {
    let (kind, message) = match (effect, source.is_timeout()) {
        (Effect::Reads, true) => (
            ErrorKind::Unavailable,
            "the server did not answer in time; try again, or give a longer timeout",
        ),
        (Effect::Reads, false) => {
            (ErrorKind::Unavailable, "the connection ended before the answer; try again")
        }
        (Effect::Writes, true) => (
            ErrorKind::Unknown,
            "the server did not answer in time, so the write may have happened; look before \
             writing again",
        ),
        (Effect::Writes, false) => (
            ErrorKind::Unknown,
            "the connection ended before the answer, so the write may have happened; look before \
             writing again",
        ),
    };
    Failure { kind, message: message.to_owned(), source: Some(source) }
}

/// No connection to `server`; nothing was asked of it.
pub(crate) fn unconnected(server: &str, source: RedisError) -> Failure {
    if is_answer(&source) {
        return answered(source);
    }
    use redis::ErrorKind as Redis;
    let (kind, message) = match source.kind() {
        Redis::InvalidClientConfig => (
            ErrorKind::Invalid,
            format!("{server} cannot be connected to as asked; see the reason"),
        ),
        _ if is_tls(&source) => (
            ErrorKind::Denied,
            format!(
                "{server} does not prove by TLS who it is; look at tls_ca, its name and its \
                 certificate"
            ),
        ),
        Redis::RESP3NotSupported => (
            ErrorKind::Unsupported,
            format!("{server} is too old; use Redis 6.2 or newer, or Valkey"),
        ),
        _ if source.is_timeout() => (
            ErrorKind::Unavailable,
            format!("{server} did not answer in time; is it up, and is this its address?"),
        ),
        _ => (
            ErrorKind::Unavailable,
            format!(
                "{server} cannot be reached; is it up, is this its address, and has it room for \
                 another client?"
            ),
        ),
    };
    Failure { kind, message, source: Some(source) }
}

/// Whether the two sides could not agree on TLS: the library says so in words alone.
fn is_tls(error: &RedisError) -> bool {
    let text = error.to_string();
    let words = ["certificate", "received corrupt message"];
    error.kind() == redis::ErrorKind::Client || words.iter().any(|word| text.contains(word))
}

/// Whether this is something the server said.
pub(crate) fn is_answer(error: &RedisError) -> bool {
    use redis::ErrorKind as Redis;
    matches!(error.kind(), Redis::Server(_) | Redis::Extension | Redis::AuthenticationFailed)
}

/// What the server said in a call's stead. It says so before it begins, so nothing was written.
pub(crate) fn answered(source: RedisError) -> Failure {
    let text = source.to_string();
    let (kind, message) = reaction(&code(&source), &text);
    // The server repeats the arguments of a command that it does not know: values among them.
    let source = (!text.contains("args beginning with")).then_some(source);
    Failure { kind, message: message.to_owned(), source }
}

/// The first word of the server's error. Servers before Redis 7 put that of a script's command
/// behind a general one.
pub(crate) fn code(error: &RedisError) -> String {
    let code = error.code().unwrap_or_default();
    let text = error.to_string();
    if code == "ERR" || code.is_empty() {
        let known = |word: &&str| CODES.contains(word);
        let within = text.split([' ', '-', ':']).find(known);
        return within.unwrap_or(code).to_owned();
    }
    code.to_owned()
}

/// Words that are looked for within a message that has no code of its own.
const CODES: [&str; 11] = [
    "OOM",
    "READONLY",
    "NOPERM",
    "WRONGPASS",
    "NOAUTH",
    "MISCONF",
    "NOREPLICAS",
    "WRONGTYPE",
    "LOADING",
    "DENIED",
    "MASTERDOWN",
];

const NO_PERMISSION: &str = "the user lacks a permission; allow it `~{prefix}:* +@read +@write \
                             +@scripting +info +config|get +wait`";

fn reaction(code: &str, text: &str) -> (ErrorKind, &'static str) {
    match code {
        "OOM" => (
            ErrorKind::Full,
            "the server's memory is full; remove something, or raise its maxmemory",
        ),
        "LOADING" => (ErrorKind::Unavailable, "the server is still loading its data; try again"),
        "READONLY" => (
            ErrorKind::Unavailable,
            "the server is a replica, which takes no writes; name its primary, or wait until it \
             is one",
        ),
        "MASTERDOWN" => (
            ErrorKind::Unavailable,
            "the replica has lost its primary; name the primary, or try again",
        ),
        "CLUSTERDOWN" => (
            ErrorKind::Unavailable,
            "the cluster does not serve this location now; look at `cluster info` and try again",
        ),
        "TRYAGAIN" | "ASK" => (
            ErrorKind::Unavailable,
            "this location is just being moved to another node of the cluster; try again",
        ),
        "MOVED" => (
            ErrorKind::Invalid,
            "the server is a node of a cluster; add cluster=true to the location",
        ),
        "NOAUTH" => (
            ErrorKind::Denied,
            "the server wants a password; add password=env:NAME to the location",
        ),
        "WRONGPASS" => (ErrorKind::Denied, "the server refused user or password; mend them"),
        "NOPERM" => (ErrorKind::Denied, NO_PERMISSION),
        "DENIED" => (
            ErrorKind::Denied,
            "the server serves its own machine alone; give it a password, or bind it elsewhere",
        ),
        "MISCONF" if text.contains("No space left") => {
            (ErrorKind::Full, "the server's disk is full; free some room there")
        }
        "MISCONF" => (
            ErrorKind::Unavailable,
            "the server cannot write to its disk; look at its log and try again",
        ),
        "NOREPLICAS" => (
            ErrorKind::Unavailable,
            "the server lacks replicas that it is told to have; bring them back and try again",
        ),
        "BUSY" => (ErrorKind::Unavailable, "the server runs somebody's long script; try again"),
        "WRONGTYPE" => (
            ErrorKind::Corrupt,
            "something else wrote under this prefix; choose another prefix, or look who it was",
        ),
        _ => unnamed(text),
    }
}

/// Errors that have no word of their own.
fn unnamed(text: &str) -> (ErrorKind, &'static str) {
    let says = |part: &str| text.to_ascii_lowercase().contains(part);
    if says("invalid password") || says("authentication") || says("without any password") {
        (ErrorKind::Denied, "the server refused user or password; mend them")
    } else if says("the user executing the script") {
        (ErrorKind::Denied, NO_PERMISSION)
    } else if says("db index") || says("select is not allowed") {
        (ErrorKind::Invalid, "the server has no database of this number; give a smaller one")
    } else if says("max number of clients") {
        (
            ErrorKind::Unavailable,
            "the server has too many clients; try again, or raise its maxclients",
        )
    } else if says("unknown command") || says("not supported") || says("disabled") {
        (
            ErrorKind::Unsupported,
            "the server lacks a command that is needed; use Redis 6.2 or newer, or Valkey",
        )
    } else {
        (ErrorKind::Unavailable, "the server refused; see its reason and try again")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::error::Error as _;

    use super::*;

    /// What the client makes of the server's line.
    fn said(line: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        match value {
            redis::Value::ServerError(error) => error.into(),
            other => panic!("{other:?} is no error"),
        }
    }

    #[test]
    fn every_word_of_the_server_has_its_kind() {
        for (line, kind, advice) in [
            ("OOM command not allowed when used memory > 'maxmemory'.", ErrorKind::Full, "remove"),
            (
                "ERR Error running script (call to f_1): @user_script:7: -OOM command not allowed",
                ErrorKind::Full,
                "maxmemory",
            ),
            ("LOADING Redis is loading the dataset", ErrorKind::Unavailable, "loading"),
            ("READONLY You can't write against a replica", ErrorKind::Unavailable, "primary"),
            ("MASTERDOWN Link with MASTER is down", ErrorKind::Unavailable, "primary"),
            ("CLUSTERDOWN Hash slot not served", ErrorKind::Unavailable, "cluster info"),
            ("TRYAGAIN Multiple keys request during rehashing", ErrorKind::Unavailable, "moved"),
            ("ASK 5 127.0.0.1:1", ErrorKind::Unavailable, "moved"),
            ("MOVED 5 127.0.0.1:1", ErrorKind::Invalid, "cluster=true"),
            ("NOAUTH Authentication required.", ErrorKind::Denied, "password=env:NAME"),
            ("WRONGPASS invalid username-password pair", ErrorKind::Denied, "mend"),
            ("NOPERM this user has no permissions", ErrorKind::Denied, "+@write"),
            ("DENIED Redis is running in protected mode", ErrorKind::Denied, "bind"),
            ("MISCONF Errors writing to the AOF file: No space left", ErrorKind::Full, "disk"),
            ("MISCONF Redis is configured to save", ErrorKind::Unavailable, "log"),
            ("NOREPLICAS Not enough good replicas", ErrorKind::Unavailable, "replicas"),
            ("BUSY Redis is busy running a script", ErrorKind::Unavailable, "script"),
            ("WRONGTYPE Operation against a key", ErrorKind::Corrupt, "prefix"),
            ("ERR invalid password", ErrorKind::Denied, "mend"),
            ("ERR The user executing the script can't run", ErrorKind::Denied, "+@scripting"),
            ("ERR DB index is out of range", ErrorKind::Invalid, "database"),
            ("ERR max number of clients reached", ErrorKind::Unavailable, "maxclients"),
            (
                "ERR unknown command 'X', with args beginning with: 'secret'",
                ErrorKind::Unsupported,
                "6.2",
            ),
            ("ERR something new", ErrorKind::Unavailable, "reason"),
        ] {
            let error = answered(said(line)).at(Operation::Put);
            assert_eq!(error.kind(), kind, "{line}");
            assert!(error.message().contains(advice), "{line}: {error}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
            assert_eq!(error.source().is_none(), line.contains("secret"), "{line}");
        }
    }
}
