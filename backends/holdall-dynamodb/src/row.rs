//! What an item of a key holds, and what a mark in it means.
//!
//! ```text
//!   r   revision: the nonce of the write that put it
//!   n   size of the value in bytes
//!   v   the value, up to 192 KiB            w   or the name of its parts, 384 KiB each
//!   t   a mark: the large batch that wants to change this row
//!   tn, tv, tw   what it wants to put       td  that it wants to delete
//! ```
//!
//! A row without `r` is not there: only a mark is. A row with a mark is as its batch's outcome
//! says. No write gets past a mark: every condition asks that there be none.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use holdall_core::{Bytes, ErrorKind, Expect, Revision};

use crate::error::Failure;
use crate::names::{Nonce, hex};

/// An item as the client has it.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// The largest value that is in its row: a row may hold two, the present and the wanted one, and
/// an item has at most 400 KiB.
pub(crate) const INLINE_BYTES_MAX: usize = 192 << 10;

/// The size of all parts of a large value but the last. What is stored depends on it.
pub(crate) const PART_BYTES: usize = 384 << 10;

/// Where a value's bytes are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    Inline(Bytes),
    Parts(Nonce),
    /// They were not asked for.
    Unread,
}

/// What is under a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) revision: Nonce,
    pub(crate) size: u64,
    pub(crate) body: Body,
}

impl State {
    pub(crate) fn parts(&self) -> Option<Nonce> {
        match self.body {
            Body::Parts(name) => Some(name),
            _ => None,
        }
    }
}

/// What a large batch wants to do to a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Put(State),
    Delete,
    /// Only that it stay as it is.
    Keep,
}

/// That a large batch wants something of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mark {
    pub(crate) batch: Nonce,
    pub(crate) change: Change,
}

/// An item of a key, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) state: Option<State>,
    pub(crate) mark: Option<Mark>,
}

impl Row {
    pub(crate) fn read(mut item: Item) -> Result<Self, Failure> {
        let mut row = Self::default();
        if let Some(revision) = nonce(&mut item, "r")? {
            let (size, body) = value(&mut item, "n", "v", "w")?.ok_or_else(damaged)?;
            row.state = Some(State { revision, size, body });
        }
        if let Some(batch) = nonce(&mut item, "t")? {
            let wanted = value(&mut item, "tn", "tv", "tw")?;
            let change = match wanted {
                Some((size, body)) => Change::Put(State { revision: batch, size, body }),
                None if item.contains_key("td") => Change::Delete,
                None => Change::Keep,
            };
            row.mark = Some(Mark { batch, change });
        }
        Ok(row)
    }

    /// What is under the key if the batch of the mark happened, or did not.
    pub(crate) fn settled(self, happened: bool) -> Option<State> {
        match self.mark {
            Some(Mark { change: Change::Put(state), .. }) if happened => Some(state),
            Some(Mark { change: Change::Delete, .. }) if happened => None,
            _ => self.state,
        }
    }
}

/// Size and bytes of a value, if one is there.
fn value(
    item: &mut Item,
    size: &str,
    inline: &str,
    parts: &str,
) -> Result<Option<(u64, Body)>, Failure> {
    let Some(size) = number(item, size)? else { return Ok(None) };
    if let Some(parts) = nonce(item, parts)? {
        return Ok(Some((size, Body::Parts(parts))));
    }
    let body = match item.remove(inline) {
        Some(AttributeValue::B(bytes)) if bytes.as_ref().len() as u64 == size => {
            Body::Inline(bytes.into_inner().into())
        }
        None => Body::Unread,
        Some(_) => return Err(damaged()),
    };
    Ok(Some((size, body)))
}

pub(crate) fn number(item: &Item, name: &str) -> Result<Option<u64>, Failure> {
    match item.get(name) {
        None => Ok(None),
        Some(AttributeValue::N(text)) => text.parse().map(Some).map_err(|_| damaged()),
        Some(_) => Err(damaged()),
    }
}

fn nonce(item: &mut Item, name: &str) -> Result<Option<Nonce>, Failure> {
    match item.remove(name) {
        None => Ok(None),
        Some(AttributeValue::B(bytes)) => {
            Nonce::try_from(bytes.as_ref()).map(Some).map_err(|_| damaged())
        }
        Some(_) => Err(damaged()),
    }
}

pub(crate) fn binary(bytes: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

pub(crate) fn count(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(crate) fn revision(nonce: &Nonce) -> Revision {
    Revision::text(&hex(nonce))
}

/// Whether something with this revision, or nothing, is as expected.
pub(crate) fn is_expected(expect: &Expect, found: Option<&State>) -> bool {
    expect.holds(found.map(|state| revision(&state.revision)).as_ref())
}

/// The bytes of a revision that was given out; no others are ever found in a row.
pub(crate) fn expected(given: &Revision) -> Vec<u8> {
    let text = given.as_text().unwrap_or_default();
    let pairs = (0..16).map(|at| text.get(2 * at..2 * at + 2));
    let bytes: Option<Vec<u8>> = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
    bytes.filter(|bytes| hex(bytes) == text).unwrap_or_else(|| b"-".to_vec())
}

pub(crate) fn damaged() -> Failure {
    Failure::new(
        ErrorKind::Corrupt,
        "something else changed or removed items of this location; look who it was, and restore \
         the table from a copy",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn item(attributes: &[(&str, AttributeValue)]) -> Item {
        attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn a_revision_survives_a_round_trip() {
        let nonce: Nonce = std::array::from_fn(|at| (at * 17) as u8);
        assert_eq!(expected(&revision(&nonce)), nonce);
        for text in ["", "x", "+1", &"AB".repeat(16), &"00".repeat(17), &"é".repeat(16)] {
            assert_eq!(expected(&Revision::text(text)), b"-", "{text}");
        }
        assert_eq!(expected(&Revision::number(7)), b"-");
    }

    #[test]
    fn a_mark_counts_if_its_batch_happened() {
        let old = [("r", binary([1; 16])), ("n", count(1)), ("v", binary(*b"a"))];
        let put = [("t", binary([2; 16])), ("tn", count(2)), ("tv", binary(*b"bb"))];
        let row = Row::read(item(&[&old[..], &put[..]].concat())).unwrap();
        assert_eq!(row.clone().settled(false).unwrap().revision, [1; 16]);
        let state = row.settled(true).unwrap();
        assert_eq!((state.revision, state.size), ([2; 16], 2));
        assert_eq!(state.body, Body::Inline("bb".into()));
        let delete = [("t", binary([2; 16])), ("td", AttributeValue::Bool(true))];
        let row = Row::read(item(&[&old[..], &delete[..]].concat())).unwrap();
        assert_eq!(row.clone().settled(true), None);
        assert!(row.settled(false).is_some());
        let row = Row::read(item(&put)).unwrap();
        assert_eq!(row.settled(false), None);
        let row = Row::read(item(&[&old[..], &delete[..1]].concat())).unwrap();
        assert_eq!(row.clone().settled(true), row.settled(false));
    }

    #[test]
    fn what_somebody_else_wrote_is_damaged() {
        for wrong in [
            &[("r", binary([1; 15])), ("n", count(0)), ("v", binary(*b""))][..],
            &[("r", binary([1; 16]))],
            &[("r", binary([1; 16])), ("n", count(2)), ("v", binary(*b"a"))],
            &[("r", binary([1; 16])), ("n", binary(*b"2"))],
            &[("t", count(1))],
        ] {
            assert_eq!(Row::read(item(wrong)).unwrap_err().kind, ErrorKind::Corrupt);
        }
    }
}
