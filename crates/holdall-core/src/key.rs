//! The names under which backends store values.

use std::fmt;
use std::sync::Arc;

use crate::{Error, Operation, Result};

/// The longest key that any backend takes, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// A key: non-empty UTF-8 of at most [`KEY_BYTES_MAX`] bytes, ordered by its bytes.
///
/// Keys are parsed and never rewritten: no separator, case or dot has a meaning to a backend.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Accepts a key as it is.
    ///
    /// # Errors
    /// `Invalid` if it is empty or longer than [`KEY_BYTES_MAX`] bytes.
    pub fn parse(key: impl AsRef<str>) -> Result<Self> {
        let key = key.as_ref();
        if key.is_empty() {
            return Err(Error::invalid(
                Operation::Key,
                "a key is empty; give it at least one byte",
            ));
        }
        if key.len() > KEY_BYTES_MAX {
            let message =
                format!("a key has {} bytes; the longest allowed has {KEY_BYTES_MAX}", key.len());
            return Err(Error::invalid(Operation::Key, message));
        }
        Ok(Self(Arc::from(key)))
    }

    /// The key's characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key's bytes, by which keys are ordered.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Key {
    type Err = Error;

    fn from_str(key: &str) -> Result<Self> {
        Self::parse(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn limits_hold_at_their_edges() {
        assert_eq!(Key::parse("").unwrap_err().kind(), ErrorKind::Invalid);
        assert!(Key::parse("a").is_ok());
        assert!(Key::parse("a".repeat(KEY_BYTES_MAX)).is_ok());
        let long = Key::parse("a".repeat(KEY_BYTES_MAX + 1)).unwrap_err();
        assert_eq!(long.kind(), ErrorKind::Invalid);
        assert!(long.to_string().contains("1025"));
    }

    #[test]
    fn keys_are_ordered_by_bytes_and_never_rewritten() {
        let mut keys: Vec<Key> = ["b", "a/", "a", "ä", "a//b", "A", "../a"]
            .iter()
            .map(|k| Key::parse(k).unwrap())
            .collect();
        keys.sort();
        let order: Vec<&str> = keys.iter().map(Key::as_str).collect();
        assert_eq!(order, ["../a", "A", "a", "a/", "a//b", "b", "ä"]);
    }
}
