//! Entries: the named objects of a volume.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use holdall_core::{Error, Key, Operation, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::chunk::{Content, Digest};
use super::row;

/// The longest name of an entry in bytes.
pub const NAME_BYTES_MAX: usize = 900;

/// The most attributes of one entry.
pub const ATTRIBUTES_MAX: usize = 64;

/// The most bytes of all attribute names and values of one entry.
pub const ATTRIBUTE_BYTES_MAX: usize = 8192;

/// The longest content type of an entry in bytes.
pub const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// An entry's name: non-empty UTF-8 of at most [`NAME_BYTES_MAX`] bytes without NUL, ordered by
/// its bytes. Never rewritten.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    /// Accepts a name as it is.
    ///
    /// # Errors
    /// `Invalid` if it is empty, too long, or holds a NUL.
    pub fn parse(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let invalid = |message: String| Err(Error::invalid(Operation::Key, message));
        if name.is_empty() {
            return invalid("a name is empty; give it at least one byte".to_owned());
        }
        if name.len() > NAME_BYTES_MAX {
            let bytes = name.len();
            return invalid(format!(
                "a name has {bytes} bytes; at most {NAME_BYTES_MAX} are allowed"
            ));
        }
        if name.contains('\0') {
            return invalid("a name holds a NUL character; use another".to_owned());
        }
        Ok(Self(name))
    }

    /// The name's characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name's characters, owned.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::parse(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// One version of an entry: the number of the commit that wrote it.
pub type Version = u64;

/// One version of a named object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The commit that wrote it.
    pub version: Version,
    /// When it was committed.
    pub written: Timestamp,
    /// Its size in bytes.
    pub size: u64,
    /// The digest of its bytes, as `b3sum` prints it.
    pub digest: Digest,
    /// Its media type, if the writer gave one.
    pub content_type: Option<String>,
    /// What the writer wants remembered of it.
    pub attributes: BTreeMap<String, String>,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// Where its bytes are.
    pub content: Content,
    /// Its bytes, if they are inline; empty otherwise. They stand behind the row's body.
    #[serde(skip)]
    pub inline: Bytes,
}

impl Entry {
    /// Encodes the row.
    pub fn encode(&self, key: &Key) -> Bytes {
        row::encode_with_tail(key, self, &self.inline)
    }

    /// Decodes the row.
    ///
    /// # Errors
    /// As [`row::decode`]; `Corrupt` too if size and inline bytes contradict each other.
    pub fn decode(key: &Key, bytes: &Bytes) -> Result<Self> {
        let (mut entry, inline): (Self, Bytes) = row::decode_with_tail(key, bytes)?;
        entry.restore_inline(key, inline)?;
        Ok(entry)
    }

    /// Takes the bytes that stood behind the row's body.
    pub(super) fn restore_inline(&mut self, key: &Key, inline: Bytes) -> Result<()> {
        check_inline(key, &self.content, self.size, &inline)?;
        self.inline = inline;
        Ok(())
    }

    /// Whether the entry has ended by this time.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// Refuses a row whose inline bytes are not as many as its size says.
pub(super) fn check_inline(key: &Key, content: &Content, size: u64, inline: &Bytes) -> Result<()> {
    let expected = if *content == Content::Inline { size } else { 0 };
    if inline.len() as u64 == expected {
        return Ok(());
    }
    let message = "a row has not as many inline bytes as it says; run `holdall verify`";
    Err(Error::corrupt(Operation::Decode, message).with_key(key))
}

/// Refuses a content type that no header could carry.
///
/// # Errors
/// `Invalid`, with the limit.
pub fn check_content_type(content_type: &str) -> Result<()> {
    let bytes = content_type.len();
    if bytes > CONTENT_TYPE_BYTES_MAX {
        let message = format!(
            "a content type has {bytes} bytes; at most {CONTENT_TYPE_BYTES_MAX} are allowed"
        );
        return Err(Error::invalid(Operation::Put, message));
    }
    if content_type.contains(char::is_control) {
        let message = format!(
            "a content type holds a control character; give at most {CONTENT_TYPE_BYTES_MAX} bytes \
             of others"
        );
        return Err(Error::invalid(Operation::Put, message));
    }
    Ok(())
}

/// Refuses more attributes than a row should carry.
///
/// # Errors
/// `Invalid`, with the limit.
pub fn check_attributes(attributes: &BTreeMap<String, String>) -> Result<()> {
    let bytes: usize = attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    if attributes.len() > ATTRIBUTES_MAX || bytes > ATTRIBUTE_BYTES_MAX {
        let count = attributes.len();
        let message = format!(
            "an entry has {count} attributes of {bytes} bytes; at most {ATTRIBUTES_MAX} of \
             {ATTRIBUTE_BYTES_MAX} bytes are allowed"
        );
        return Err(Error::invalid(Operation::Put, message));
    }
    if attributes.keys().any(String::is_empty) {
        let message = "an attribute's name is empty; give it at least one byte";
        return Err(Error::invalid(Operation::Put, message));
    }
    // SQL engines keep them as text, which cannot hold it.
    if attributes.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
        let message = "an attribute's name or value holds a NUL character; use another";
        return Err(Error::invalid(Operation::Put, message));
    }
    Ok(())
}
