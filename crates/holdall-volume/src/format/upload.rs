//! Uploads in parts.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use holdall_core::{Key, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::chunk::{Content, Digest};
use super::entry::{Name, check_inline};
use super::row;

/// The highest number of a part.
pub const PART_NUMBER_MAX: u32 = 10_000;

/// How long an upload may go without a new part before it may be aborted by others.
pub const UPLOAD_LEASE: Duration = Duration::from_secs(7 * 24 * 3600);

/// An upload that is neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRow {
    /// The entry that it will become.
    pub name: Name,
    /// The media type that the entry will have.
    pub content_type: Option<String>,
    /// The attributes that the entry will have.
    pub attributes: BTreeMap<String, String>,
    /// When the entry will end.
    pub expires: Option<Timestamp>,
    /// When it was begun.
    pub begun: Timestamp,
    /// When it may be aborted by others. Every part moves this on, if only by a microsecond, so
    /// that it also tells whether the parts are still those that were listed.
    pub lease_until: Timestamp,
}

/// One part of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRow {
    /// Its size in bytes.
    pub size: u64,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Where its bytes are.
    pub content: Content,
    /// When it was committed.
    pub written: Timestamp,
    /// Its bytes, if they are inline; they stand behind the row's body.
    #[serde(skip)]
    pub inline: Bytes,
}

impl PartRow {
    /// Encodes the row.
    pub fn encode(&self, key: &Key) -> Bytes {
        row::encode_with_tail(key, self, &self.inline)
    }

    /// Decodes the row.
    ///
    /// # Errors
    /// As [`row::decode`]; `Corrupt` too if size and inline bytes contradict each other.
    pub fn decode(key: &Key, bytes: &Bytes) -> Result<Self> {
        let (mut part, inline): (Self, Bytes) = row::decode_with_tail(key, bytes)?;
        check_inline(key, &part.content, part.size, &inline)?;
        part.inline = inline;
        Ok(part)
    }
}
