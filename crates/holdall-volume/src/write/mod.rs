//! Writing to a volume: values, streams, many at once, transactions, uploads, snapshots.

mod put;
mod snapshot;
mod stream;
#[cfg(test)]
mod tests;
mod transaction;
mod upload;

use std::collections::BTreeMap;

use bytes::Bytes;
use holdall_core::{Error, ErrorKind, Operation, Result, Timestamp};

pub use put::PutItem;
pub use snapshot::SnapshotInfo;
pub use transaction::Transaction;
pub use upload::{PartInfo, Upload, UploadInfo};

use crate::commit::{Condition, Draft};
use crate::data::{EntryHint, Stored};
use crate::format::chunk::{Content, Digest};
use crate::format::entry::{Name, check_attributes, check_content_type};

/// How often bytes are stored again that were collected before a commit could name them.
const STORED_AGAIN_MAX: u32 = 2;

/// Whether bytes are to be stored once more: for those who still have them.
#[derive(Debug, Default)]
struct Again(u32);

impl Again {
    /// After a commit that failed: whether what it relied on may have been collected meanwhile,
    /// so that storing the bytes anew may help.
    fn helps(&mut self, error: &Error) -> bool {
        self.0 += 1;
        error.kind() == ErrorKind::Unavailable && self.0 <= STORED_AGAIN_MAX
    }
}

/// What those hear of a failed commit whose bytes came from a stream and cannot be stored again.
fn stream_is_spent(error: Error) -> Error {
    if error.kind() != ErrorKind::Unavailable {
        return error;
    }
    let message = "nothing was written: what was stored of the stream could not be committed, and \
                   a stream cannot be read twice; send it again";
    Error::unavailable(Operation::Put, message).with_source(error)
}

/// What a put may say beside name and bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// What must be under the name before.
    pub condition: Condition,
    /// The media type.
    pub content_type: Option<String>,
    /// What is to be remembered of the entry.
    pub attributes: BTreeMap<String, String>,
    /// When the entry ends by itself.
    pub expires: Option<Timestamp>,
}

impl PutOptions {
    /// Puts only if this holds.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// Gives the entry a media type.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Gives the entry an attribute.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    /// Lets the entry end at this time.
    #[must_use]
    pub fn expires(mut self, time: Timestamp) -> Self {
        self.expires = Some(time);
        self
    }

    fn check(&self) -> Result<()> {
        self.content_type.as_deref().map_or(Ok(()), check_content_type)?;
        check_attributes(&self.attributes)
    }

    fn hint(&self, name: &Name) -> EntryHint {
        EntryHint {
            name: name.clone(),
            content_type: self.content_type.clone(),
            attributes: self.attributes.clone(),
            expires: self.expires,
        }
    }

    fn draft(&self, size: u64, digest: Digest, content: Content, inline: Bytes) -> Draft {
        Draft {
            size,
            digest,
            content_type: self.content_type.clone(),
            attributes: self.attributes.clone(),
            expires: self.expires,
            content,
            inline,
        }
    }

    /// An entry whose bytes are in its row.
    fn inline(&self, bytes: Bytes) -> Draft {
        self.draft(bytes.len() as u64, Digest::of(&bytes), Content::Inline, bytes)
    }

    /// An entry whose bytes are in chunks.
    fn stored(&self, stored: &Stored) -> Draft {
        let content = Content::Tree(stored.nodes.clone());
        self.draft(stored.size, stored.digest, content, Bytes::new())
    }
}
