//! A catalog row's shell: version, body, tail, checksum.
//!
//! ```text
//! version u8 | body (postcard) | tail (raw bytes, often none) | CRC32C u32 LE
//! ```
//!
//! The checksum also covers the row's key, so that two swapped rows are noticed. Bodies are
//! [postcard](https://postcard.jamesmunns.com/wire-format) of the structs in this folder, which
//! [`Body`] lists.

use bytes::Bytes;
use holdall_core::{Error, ErrorKind, Key, Operation, Result};
use serde::{Serialize, de::DeserializeOwned};

use super::FORMAT_VERSION;
use super::chunk::ChunkRow;
use super::entry::{Entry, Name, Version};
use super::head::{Head, Sealed, WriterRow};
use super::history::{HistoryRow, SnapshotRow};
use super::segment::{LeftOver, SegmentRow};
use super::upload::{PartRow, UploadRow};

const CHECKSUM_BYTES: usize = 4;

/// What a row may hold. A body that was once encoded otherwise reads its earlier versions too.
pub trait Body: DeserializeOwned {
    /// Takes the body off the front of bytes that this version of the format wrote.
    ///
    /// # Errors
    /// `Corrupt`; `Unsupported` if a newer program wrote them.
    fn take(version: u8, bytes: &[u8]) -> Result<(Self, &[u8])> {
        let _the_same_in_all = version;
        take(bytes)
    }
}

impl Body for () {}
impl Body for String {}
impl Body for (Name, Version) {}
impl Body for u64 {}
impl Body for ChunkRow {}
impl Body for Entry {}
impl Body for Head {}
impl Body for HistoryRow {}
impl Body for LeftOver {}
impl Body for PartRow {}
impl Body for Sealed {}
impl Body for SegmentRow {}
impl Body for SnapshotRow {}
impl Body for UploadRow {}
impl Body for WriterRow {}

/// Takes a value off the front of its postcard.
pub(super) fn take<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8])> {
    postcard::take_from_bytes(bytes).map_err(|e| {
        let message = "its body cannot be decoded";
        Error::corrupt(Operation::Decode, message).with_source(e)
    })
}

/// Encodes a row that has no tail.
pub fn encode(key: &Key, body: &impl Serialize) -> Bytes {
    encode_with_tail(key, body, &[])
}

/// Encodes a row: the body, and raw bytes behind it.
pub fn encode_with_tail(key: &Key, body: &impl Serialize, tail: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(128 + tail.len());
    bytes.push(FORMAT_VERSION);
    let mut bytes = postcard::to_extend(body, bytes)
        .expect("row bodies are plain data, which postcard writes to a Vec without failing");
    bytes.extend_from_slice(tail);
    let checksum = checksum(key, &bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Bytes::from(bytes)
}

/// Decodes a row that has no tail.
///
/// # Errors
/// `Corrupt` if the bytes are not what was written under this key; `Unsupported` if a newer
/// program wrote them.
pub fn decode<T: Body>(key: &Key, bytes: &Bytes) -> Result<T> {
    let (body, tail) = decode_with_tail(key, bytes)?;
    if tail.is_empty() { Ok(body) } else { Err(corrupt(key, "has bytes behind its body")) }
}

/// Decodes a row: its body, and the raw bytes behind it, which are not copied.
///
/// # Errors
/// As [`decode`].
pub fn decode_with_tail<T: Body>(key: &Key, bytes: &Bytes) -> Result<(T, Bytes)> {
    let Some(end) = bytes.len().checked_sub(CHECKSUM_BYTES).filter(|end| *end >= 1) else {
        return Err(corrupt(key, "is too short"));
    };
    let (content, stored) = bytes.split_at(end);
    if checksum(key, content).to_le_bytes() != stored {
        return Err(corrupt(key, "does not match its checksum"));
    }
    let (version, rest) = (content[0], &content[1..]);
    if !(1..=FORMAT_VERSION).contains(&version) {
        let message = "a catalog row was written by a newer program; update holdall";
        return Err(Error::unsupported(Operation::Decode, message).with_key(key));
    }
    let (body, tail) = T::take(version, rest).map_err(|error| match error.kind() {
        ErrorKind::Corrupt => corrupt(key, "cannot be decoded").with_source(error),
        _ => error.with_key(key),
    })?;
    let tail_at = end - tail.len();
    Ok((body, bytes.slice(tail_at..end)))
}

/// Whether these are the bytes that were written under this key, whatever their body is.
///
/// # Errors
/// As [`decode`].
pub fn check(key: &Key, bytes: &Bytes) -> Result<()> {
    // A unit is no bytes, so that the body counts as a tail.
    decode_with_tail::<()>(key, bytes).map(drop)
}

fn checksum(key: &Key, content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key.as_bytes()), content)
}

/// What is wrong with a row.
pub(super) fn corrupt(key: &Key, what: &str) -> Error {
    let message = format!("a catalog row {what}; run `holdall verify`, then `holdall rebuild`");
    Error::corrupt(Operation::Decode, message).with_key(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flip_cut_and_swap_is_noticed() {
        let key = Key::parse("a/row").unwrap();
        let name = Name::parse("text").unwrap();
        let bytes = encode_with_tail(&key, &(name.clone(), 7_u64), b"tail");
        let (body, tail): ((Name, Version), Bytes) = decode_with_tail(&key, &bytes).unwrap();
        assert_eq!((body, &tail[..]), ((name, 7), &b"tail"[..]));
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.to_vec();
                damaged[position] ^= 1 << bit;
                let damaged = Bytes::from(damaged);
                assert!(decode_with_tail::<(Name, Version)>(&key, &damaged).is_err());
            }
            assert!(decode_with_tail::<(Name, Version)>(&key, &bytes.slice(..position)).is_err());
        }
        let other = Key::parse("another/row").unwrap();
        assert!(decode_with_tail::<(Name, Version)>(&other, &bytes).is_err());
    }
}
