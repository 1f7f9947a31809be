//! Which state of a key a caller has seen, and what it expects to find when it writes.

use std::fmt;
use std::sync::Arc;

/// Names one state of one key's value, as the backend gave it out.
///
/// Two different values under one key have different revisions. Writing the same bytes again may
/// or may not give a new one (an ETag is a digest), so whoever must recognise its own write puts a
/// nonce into the value.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Revision(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Number(u64),
    Text(Arc<str>),
}

impl Revision {
    /// A revision that counts.
    pub fn number(number: u64) -> Self {
        Self(Repr::Number(number))
    }

    /// A revision that is a word of the engine, such as an ETag.
    pub fn text(text: &str) -> Self {
        Self(Repr::Text(Arc::from(text)))
    }

    /// The count, if this revision counts.
    pub fn as_number(&self) -> Option<u64> {
        match self.0 {
            Repr::Number(number) => Some(number),
            Repr::Text(_) => None,
        }
    }

    /// The engine's word, if this revision is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.0 {
            Repr::Number(_) => None,
            Repr::Text(text) => Some(text),
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Number(number) => write!(f, "{number}"),
            Repr::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revision({self})")
    }
}

/// What a write expects to find under its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Anything, or nothing.
    #[default]
    Any,
    /// No value.
    Absent,
    /// The value that has this revision.
    Revision(Revision),
}

impl Expect {
    /// Whether the expectation holds, given the revision that is there now.
    pub fn holds(&self, current: Option<&Revision>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::Revision(revision) => current == Some(revision),
        }
    }
}

impl From<Option<Revision>> for Expect {
    /// The expectation that nothing has changed since this was seen.
    fn from(seen: Option<Revision>) -> Self {
        seen.map_or(Self::Absent, Self::Revision)
    }
}
