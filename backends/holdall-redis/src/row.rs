//! What lies where in the server, and how a value carries its revision.
//!
//! ```text
//!   {prefix}:v:KEY     16 bytes of revision, then the value
//!   {prefix}:index     a sorted set of all keys, ordered by their bytes
//!   {prefix}:opened    the run of the server in which this location was last opened
//! ```
//!
//! A revision is chance, given by the writer: a counter in the server would go back with it when
//! it loses writes, and then give one revision to two values.

use holdall_core::{Bytes, ErrorKind, Expect, Key, Object, Revision};

use crate::error::Failure;

/// How many bytes of a stored value are its revision.
pub(crate) const REVISION_BYTES: usize = 16;

/// Sixteen bytes of chance that name one write.
pub(crate) type Nonce = [u8; REVISION_BYTES];

/// The names of one location's keys in the server. All are in one slot of a cluster, because only
/// what stands in braces decides about that.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) index: String,
    pub(crate) opened: String,
    /// What stands before each key.
    pub(crate) value: String,
}

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            index: format!("{{{prefix}}}:index"),
            opened: format!("{{{prefix}}}:opened"),
            value: format!("{{{prefix}}}:v:"),
        }
    }

    pub(crate) fn value(&self, key: &Key) -> Vec<u8> {
        [self.value.as_bytes(), key.as_bytes()].concat()
    }
}

pub(crate) fn revision(nonce: &[u8]) -> Revision {
    // Every read makes one: the formatter would take longer than all else here.
    let digit =
        |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    let mut text = String::with_capacity(2 * nonce.len());
    for byte in nonce {
        text.extend([digit(byte >> 4), digit(byte & 15)]);
    }
    Revision::text(&text)
}

/// What the script compares a key's first bytes with.
pub(crate) fn expected(expect: &Expect) -> Vec<u8> {
    match expect {
        Expect::Any => b"*".to_vec(),
        Expect::Absent => Vec::new(),
        // No stored revision is one byte long, so what was never given out is never met.
        Expect::Revision(revision) => nonce(revision).map_or(b"-".to_vec(), Vec::from),
    }
}

fn nonce(given: &Revision) -> Option<Nonce> {
    let text = given.as_text().filter(|text| text.len() == 2 * REVISION_BYTES)?;
    let mut nonce = Nonce::default();
    for (at, byte) in nonce.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    (revision(&nonce) == *given).then_some(nonce)
}

/// A stored value, whole.
pub(crate) fn object(stored: Vec<u8>) -> Result<Object, Failure> {
    let stored = Bytes::from(stored);
    if stored.len() < REVISION_BYTES {
        return Err(damaged());
    }
    let value = stored.slice(REVISION_BYTES..);
    let size = value.len() as u64;
    Ok(Object { value, revision: revision(&stored[..REVISION_BYTES]), size })
}

pub(crate) fn damaged() -> Failure {
    Failure::new(
        ErrorKind::Corrupt,
        "something else changed or removed values under this prefix; look who it was, and restore \
         them from a copy",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_revision_survives_a_round_trip() {
        let bytes: Nonce = std::array::from_fn(|at| (at * 17) as u8);
        let given = revision(&bytes);
        assert_eq!(nonce(&given), Some(bytes));
        assert_eq!(expected(&Expect::Revision(given)), bytes);
    }

    #[test]
    fn what_was_never_given_out_is_never_met() {
        let capitals = "AB".repeat(REVISION_BYTES);
        for text in ["", "x", "+1", "éé", "00", &capitals, &"é".repeat(16), &"+0".repeat(16)] {
            assert_eq!(expected(&Expect::Revision(Revision::text(text))), b"-", "{text}");
        }
        assert_eq!(expected(&Expect::Revision(Revision::number(7))), b"-");
        assert_eq!(expected(&Expect::Absent), b"");
    }

    #[test]
    fn a_stored_value_without_a_revision_is_damaged() {
        assert_eq!(object(vec![0; 15]).unwrap_err().kind, ErrorKind::Corrupt);
        let empty = object(vec![0; 16]).unwrap();
        assert_eq!((empty.size, empty.value.len()), (0, 0));
    }
}
