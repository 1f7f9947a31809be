//! Revisions, and the marks of values that were removed under a condition.

use holdall_core::{Env, Revision};
use object_store::{ObjectMeta, PutResult, UpdateVersion};

/// Which of its words a store checks when it is asked for a revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RevisionBy {
    /// The ETag, as S3 and Azure do.
    #[default]
    ETag,
    /// The version, as Google Cloud Storage does (there it is called generation).
    Version,
}

impl RevisionBy {
    /// The revision of a value that was written, if the store said it.
    pub(crate) fn of_put(self, put: &PutResult) -> Option<Revision> {
        self.choose(put.e_tag.as_deref(), put.version.as_deref())
    }

    /// The revision of a value that was found, if the store said it.
    pub(crate) fn of_meta(self, meta: &ObjectMeta) -> Option<Revision> {
        self.choose(meta.e_tag.as_deref(), meta.version.as_deref())
    }

    fn choose(self, e_tag: Option<&str>, version: Option<&str>) -> Option<Revision> {
        let word = match self {
            Self::ETag => e_tag,
            Self::Version => version,
        };
        word.map(Revision::text)
    }

    /// What to send; `None` for revisions that no store gave out.
    pub(crate) fn update(self, revision: &Revision) -> Option<UpdateVersion> {
        let word = revision.as_text()?;
        // `*` is any ETag, commas make a list of them, and generation 0 means absence.
        let one = match self {
            Self::ETag => word != "*" && word.bytes().all(|b| b.is_ascii_graphic() && b != b','),
            Self::Version => word != "0" && word.bytes().all(|b| b.is_ascii_alphanumeric()),
        };
        if word.is_empty() || !one {
            return None;
        }
        let word = Some(word.to_owned());
        Some(match self {
            Self::ETag => UpdateVersion { e_tag: word, version: None },
            Self::Version => UpdateVersion { e_tag: None, version: word },
        })
    }
}

/// What every mark begins with. It was drawn at random.
const MARK: &[u8; 45] = b"holdall removed this 5f1d3a94c07be8264b9a0e7d";

/// How many bytes a mark has: what it begins with, and a random end, so that no two are equal.
pub(crate) const MARK_BYTES: usize = MARK.len() + 16;

/// A new mark.
///
/// The stores' client cannot delete under a condition, but it can write under one: so a delete
/// that expects a revision writes a mark in its stead, and a mark is read as nothing. It cannot be
/// taken away afterwards, for somebody may have written again meanwhile; it stays until the key
/// is written, or deleted without a condition.
pub(crate) fn mark(env: &Env) -> Vec<u8> {
    let mut bytes = MARK.to_vec();
    bytes.extend(env.random::<16>());
    bytes
}

/// Whether a value is a mark.
pub(crate) fn is_mark(value: &[u8]) -> bool {
    value.len() == MARK_BYTES && value.starts_with(MARK)
}
