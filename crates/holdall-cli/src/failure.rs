//! How a command ends that did not do everything: the message, and the exit code.

use std::process::ExitCode;

use holdall::{Error, ErrorKind};
use serde_json::json;

use crate::output::{complain, shown};

/// The exit code of wrong use.
pub(crate) const USAGE: u8 = 2;
const NOT_FOUND: u8 = 11;
const INTERRUPTED: u8 = 130;

/// Why a command ended.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The engine's error.
    Error(Error),
    /// What was named does not exist.
    NotFound(String),
    /// The command line asks for something that cannot be.
    Usage(String),
    /// Ctrl-C.
    Interrupted,
    /// Whoever read standard output has enough.
    Pipe,
}

/// How far a command got that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Everything was done, and nothing was found.
    Whole,
    /// Done in part, or with findings: each was reported.
    Part,
}

/// What commands return.
pub(crate) type Result<T = Done, E = Failure> = std::result::Result<T, E>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Done {
    /// Whole unless there were findings.
    pub(crate) fn unless(findings: bool) -> Self {
        if findings { Self::Part } else { Self::Whole }
    }
}

impl Failure {
    /// Tells the person or program, and gives the exit code.
    pub(crate) fn report(&self, json: bool, volume: Option<&str>) -> ExitCode {
        let code = self.code();
        if matches!(self, Self::Pipe) {
            return ExitCode::from(code);
        }
        if json {
            complain(&self.object(volume).to_string());
        } else {
            complain(&format!("holdall: {}", self.line(volume)));
        }
        ExitCode::from(code)
    }

    /// The exit code: see `docs/errors.md`.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Error(error) => match error.kind() {
                ErrorKind::Invalid => USAGE,
                ErrorKind::Conflict => 3,
                ErrorKind::Full => 4,
                ErrorKind::Unavailable => 5,
                ErrorKind::Unknown => 6,
                ErrorKind::Corrupt => 7,
                ErrorKind::Denied => 8,
                ErrorKind::Unsupported => 9,
                // Kinds that are newer than this table end as one that asks to begin again.
                _ => 10,
            },
            Self::NotFound(_) => NOT_FOUND,
            Self::Usage(_) => USAGE,
            Self::Interrupted => INTERRUPTED,
            Self::Pipe => 0,
        }
    }

    fn line(&self, volume: Option<&str>) -> String {
        match self {
            Self::Error(error) => {
                let line = describe(error);
                match volume.map(|volume| format!("volume `{volume}`")) {
                    Some(volume) if !line.contains(&volume) => format!("{line} ({volume})"),
                    _ => line,
                }
            }
            Self::NotFound(message) | Self::Usage(message) => shown(message).into_owned(),
            Self::Interrupted => INTERRUPTION.to_owned(),
            Self::Pipe => String::new(),
        }
    }

    fn object(&self, volume: Option<&str>) -> serde_json::Value {
        match self {
            Self::Error(error) => json!({
                "kind": error.kind().as_str(),
                "operation": error.operation().as_str(),
                "message": error.message(),
                "key": error.key().map(holdall::Key::as_str),
                "location": error.location().map(ToString::to_string),
                "volume": volume,
                "causes": causes(error),
            }),
            Self::NotFound(message) => {
                let kind = "not-found";
                json!({ "kind": kind, "operation": "get", "message": message, "volume": volume })
            }
            Self::Usage(message) => {
                json!({ "kind": "invalid", "operation": "configure", "message": message })
            }
            Self::Interrupted => {
                json!({ "kind": "interrupted", "operation": "commit", "message": INTERRUPTION })
            }
            Self::Pipe => serde_json::Value::Null,
        }
    }
}

const INTERRUPTION: &str =
    "interrupted; what was acknowledged is kept, and the same command goes on from there";

/// An error in one line, with its causes.
pub(crate) fn describe(error: &Error) -> String {
    let mut line = error.to_string();
    for cause in causes(error) {
        line.push_str(": ");
        line.push_str(&cause);
    }
    shown(&line).into_owned()
}

fn causes(error: &Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    causes
}
