//! One error for the whole house: what kind, doing what, where, and what to do about it.

use std::fmt;

use crate::{Key, Location};

/// The result of anything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller should do. A new kind exists only if the reaction is a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call is wrong: mend it. Nothing was written.
    Invalid,
    /// An expectation did not hold: read again and decide. Nothing was written.
    Conflict,
    /// There is no room: free some, or raise the quota. Nothing was written.
    Full,
    /// Could not be done now: try again. Nothing was written.
    Unavailable,
    /// A write may have happened or not: look before writing again.
    Unknown,
    /// Stored bytes are not what was written: stop, and verify.
    Corrupt,
    /// Not allowed: mend credentials or permissions. Nothing was written.
    Denied,
    /// This backend or volume can never do that. Nothing was written.
    Unsupported,
    /// This handle can no longer be used: open again. Nothing was written by this call.
    Closed,
}

impl ErrorKind {
    /// The kind as one lower-case word, as in `--json` output and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::Full => "full",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::Corrupt => "corrupt",
            Self::Denied => "denied",
            Self::Unsupported => "unsupported",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was being done when an error happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Operation {
    /// Parsing a key.
    Key,
    /// Parsing a location, or opening what it names.
    Open,
    /// Reading a value.
    Get,
    /// Writing a value.
    Put,
    /// Removing a value.
    Delete,
    /// Listing keys.
    List,
    /// Finding rows by their descriptions.
    Find,
    /// Applying a batch.
    Apply,
    /// Asking for health.
    Health,
    /// Running a background job.
    Compute,
    /// Decoding stored bytes.
    Decode,
    /// Committing to a volume.
    Commit,
    /// Looking after a volume: collecting, verifying, rebuilding.
    Maintain,
    /// Reading settings.
    Configure,
}

impl Operation {
    /// The operation as one lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Open => "open",
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Find => "find",
            Self::Apply => "apply",
            Self::Health => "health",
            Self::Compute => "compute",
            Self::Decode => "decode",
            Self::Commit => "commit",
            Self::Maintain => "maintain",
            Self::Configure => "configure",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What went wrong, doing what, where.
///
/// Shown on one line: the message, then where it happened. The source's text is not repeated;
/// walk [`source`](std::error::Error::source) for it. Locations show no secrets.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: Operation,
    message: String,
    location: Option<Location>,
    key: Option<Key>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident),* $(,)?) => {
        impl Error {
            $($(#[$doc])*
            pub fn $name(operation: Operation, message: impl Into<String>) -> Self {
                Self::new(ErrorKind::$kind, operation, message)
            })*
        }
    };
}

constructors! {
    /// The call is wrong: mend it.
    invalid => Invalid,
    /// An expectation did not hold: read again and decide.
    conflict => Conflict,
    /// There is no room: free some, or raise the quota.
    full => Full,
    /// Could not be done now: try again.
    unavailable => Unavailable,
    /// A write may have happened or not: look before writing again.
    unknown => Unknown,
    /// Stored bytes are not what was written.
    corrupt => Corrupt,
    /// Not allowed.
    denied => Denied,
    /// This backend or volume can never do that.
    unsupported => Unsupported,
    /// This handle can no longer be used: open again.
    closed => Closed,
}

impl Error {
    /// An error of any kind. Messages are lower-case, one sentence, and say what to do.
    pub fn new(kind: ErrorKind, operation: Operation, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            operation,
            message: message.into(),
            location: None,
            key: None,
            source: None,
        }))
    }

    /// Turns an I/O error of the operating system into the kind that fits it. Writes whose
    /// outcome an I/O error leaves open must be made `Unknown` by the caller.
    pub fn io(operation: Operation, message: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => ErrorKind::Full,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
            Io::InvalidInput | Io::InvalidFilename | Io::NotADirectory | Io::IsADirectory => {
                ErrorKind::Invalid
            }
            Io::InvalidData | Io::UnexpectedEof => ErrorKind::Corrupt,
            Io::Unsupported => ErrorKind::Unsupported,
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, operation, message).with_source(source)
    }

    /// Adds the key that the error is about.
    #[must_use]
    pub fn with_key(mut self, key: &Key) -> Self {
        self.0.key = Some(key.clone());
        self
    }

    /// Adds where it happened.
    #[must_use]
    pub fn with_location(mut self, location: &Location) -> Self {
        self.0.location = Some(location.clone());
        self
    }

    /// Adds what caused it.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error, of another kind: for a caller who knows more about the outcome.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// The message without its context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The key that the error is about, if it is about one.
    pub fn key(&self) -> Option<&Key> {
        self.0.key.as_ref()
    }

    /// Where it happened, if that is known.
    pub fn location(&self) -> Option<&Location> {
        self.0.location.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(key) = &self.0.key {
            write!(f, " key=`{key}`")?;
        }
        if let Some(location) = &self.0.location {
            write!(f, " at=`{location}`")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} during {}: {self}", self.0.kind, self.0.operation)?;
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            write!(f, "; because {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Errors are shared when several callers wait for one commit: the copy keeps kind, operation,
/// message and place, and names the original's causes in its message's stead of a source.
impl Clone for Error {
    fn clone(&self) -> Self {
        let mut causes = Vec::new();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        Self(Box::new(Inner {
            kind: self.0.kind,
            operation: self.0.operation,
            message: self.0.message.clone(),
            location: self.0.location.clone(),
            key: self.0.key.clone(),
            source: (!causes.is_empty()).then(|| causes.join("; because ").into()),
        }))
    }
}
