//! What lies in the front: keys and values of its rows, as pure functions.
//!
//! | key | value |
//! |---|---|
//! | `behind/owner` | a line of text that ends with the opener's random number |
//! | `behind/w/<key>` | a write that waits: the byte 1 and the value, or nothing for a delete |
//! | `behind/t/<key>` | of a key that is in the back: its revision there, and the one shown |
//!
//! A revision that is shown is a word: `w` and the front's revision of the row that waited, or `b`
//! and the back's revision of a value that never waited. So a revision does not change when its
//! value moves, and the two never meet.

use bytes::Bytes;
use holdall_core::{Error, Key, Object, Operation, Result, Revision};

use crate::revision_text::{from_text, to_text};

/// The row of whoever opened the queue last.
pub(super) const OWNER: &str = "behind/owner";
/// What the keys of writes that wait begin with.
pub(super) const WAITING: &str = "behind/w/";
/// What the keys of rows begin with that tell the revision of what is in the back.
pub(super) const THERE: &str = "behind/t/";
/// What the owner's row begins with: what the rows are, and in which form.
pub(super) const FORM: &str = "holdall behind 1 ";

/// The first byte of a value that waits.
const VALUE: u8 = 1;

/// A value or a delete that waits for the back.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Waiting {
    Value(Bytes),
    Delete,
}

/// A key of whose value in the back the shown revision is remembered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct There {
    /// The back's revision.
    pub(super) back: Revision,
    /// The revision that callers know.
    pub(super) shown: Revision,
}

pub(super) fn owner_key() -> Result<Key> {
    Key::parse(OWNER)
}

pub(super) fn waiting_key(key: &Key) -> Result<Key> {
    Key::parse(format!("{WAITING}{key}"))
}

pub(super) fn there_key(key: &Key) -> Result<Key> {
    Key::parse(format!("{THERE}{key}"))
}

/// The caller's key of a row that waits.
pub(super) fn key_of(row: &Key) -> Option<Key> {
    Key::parse(row.as_str().strip_prefix(WAITING)?).ok()
}

/// The revision that is shown of a row that waits.
pub(super) fn shown_waiting(front: &Revision) -> Revision {
    Revision::text(&format!("w{}", to_text(front)))
}

/// The revision that is shown of a value in the back that never waited.
pub(super) fn shown_back(back: &Revision) -> Revision {
    Revision::text(&format!("b{}", to_text(back)))
}

/// How many bytes lie in front of a value that waits.
pub(super) const VALUE_HEAD_BYTES: u64 = 1;

impl Waiting {
    pub(super) fn encode(&self) -> Bytes {
        match self {
            Self::Value(value) => [&[VALUE], value.as_ref()].concat().into(),
            Self::Delete => Bytes::new(),
        }
    }

    pub(super) fn decode(key: &Key, row: &Bytes) -> Result<Self> {
        match row.first() {
            None => Ok(Self::Delete),
            Some(&VALUE) => Ok(Self::Value(row.slice(1..))),
            Some(_) => Err(damaged(key)),
        }
    }

    /// What a whole waiting row says of its key: nothing, if it was deleted.
    pub(super) fn object(key: &Key, row: Object) -> Result<Option<Object>> {
        let revision = shown_waiting(&row.revision);
        Ok(match Self::decode(key, &row.value)? {
            Self::Delete => None,
            Self::Value(value) => {
                let size = value.len() as u64;
                Some(Object { value, revision, size })
            }
        })
    }
}

impl There {
    pub(super) fn encode(&self) -> Bytes {
        let back = to_text(&self.back);
        format!("{}:{back}{}", back.len(), to_text(&self.shown)).into()
    }

    pub(super) fn decode(key: &Key, row: &Bytes) -> Result<Self> {
        let decode = || {
            let (length, rest) = str::from_utf8(row).ok()?.split_once(':')?;
            let (back, shown) = rest.split_at_checked(length.parse().ok()?)?;
            Some(Self { back: from_text(back)?, shown: from_text(shown)? })
        };
        decode().ok_or_else(|| damaged(key))
    }
}

fn damaged(key: &Key) -> Error {
    let message = "a row of the queue in front is not what was written; verify the front";
    Error::corrupt(Operation::Decode, message).with_key(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use holdall_core::ErrorKind;

    use super::*;

    #[test]
    fn rows_come_back_as_they_were() {
        let key = Key::parse("a").unwrap();
        for waiting in [
            Waiting::Delete,
            Waiting::Value(Bytes::new()),
            Waiting::Value(Bytes::from_static(b"\0x")),
        ] {
            assert_eq!(Waiting::decode(&key, &waiting.encode()).unwrap(), waiting);
        }
        assert_eq!(Waiting::Value(Bytes::from("v")).encode(), "\u{1}v");
        let back = [Revision::number(7), Revision::text("\"3:n\"")];
        for back in back {
            let there = There { back, shown: shown_waiting(&Revision::number(9)) };
            assert_eq!(There::decode(&key, &there.encode()).unwrap(), there);
        }
        let there = There { back: Revision::number(7), shown: Revision::text("wn9") };
        assert_eq!(there.encode(), "2:n7twn9");
        for damaged in ["", "x", "9:n7", "2:n7", "2:x7twn9"] {
            let error = There::decode(&key, &Bytes::from(damaged)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{damaged}");
        }
        assert!(Waiting::decode(&key, &Bytes::from("2x")).is_err());
    }

    #[test]
    fn keys_and_revisions_stay_apart() {
        let key = Key::parse("owner/ü").unwrap();
        assert_eq!(key_of(&waiting_key(&key).unwrap()).unwrap(), key);
        assert_eq!(key_of(&there_key(&key).unwrap()), None);
        let number = Revision::number(1);
        assert_ne!(shown_waiting(&number), shown_back(&number));
    }
}
