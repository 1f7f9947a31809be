//! What rows say of each other, looked at again at one moment before anything is reported.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{Key, Object, Result, Timestamp};

use super::rows::{REBUILD, REINDEX};
use super::{Problem, Severity, Verifier};
use crate::format::chunk::ChunkRow;
use crate::format::entry::{Entry, Name, Version};
use crate::format::head::Sealed;
use crate::format::history::HistoryRow;
use crate::format::{log, row};

/// Something that one row says of another.
pub(super) struct Claim {
    /// The row that says so.
    pub(super) source: Key,
    /// The row that must be there.
    pub(super) target: Key,
    /// What the target must be.
    pub(super) what: What,
    /// The source's bytes when the claim was made.
    pub(super) seen: Bytes,
}

/// What a claim is about.
pub(super) enum What {
    /// The target must be there: an index row of its source.
    Indexed,
    /// An entry that ends then.
    Expires(Timestamp),
    /// An entry with this attribute.
    Attribute(String, String),
    /// A chunk that nothing has named since then.
    IdleSince(Timestamp),
    /// A version that was superseded by this commit.
    Superseded(Version),
    /// An upload.
    Upload,
    /// The inline bytes of the source's commits.
    InlineOf,
    /// The commits of the source's inline bytes.
    CommitsOf,
}

impl What {
    /// Whether the claim holds for these bytes of the target.
    fn holds(&self, claim: &Claim, source: &Bytes, target: &Bytes) -> bool {
        let key = &claim.target;
        match self {
            Self::Indexed | Self::Upload | Self::CommitsOf => true,
            Self::Expires(time) => {
                Entry::decode(key, target).is_ok_and(|entry| entry.expires == Some(*time))
            }
            Self::Attribute(name, value) => Entry::decode(key, target)
                .is_ok_and(|entry| entry.attributes.get(name) == Some(value)),
            Self::IdleSince(time) => row::decode::<ChunkRow>(key, target)
                .is_ok_and(|chunk| chunk.idle_since == Some(*time)),
            Self::Superseded(version) => {
                HistoryRow::decode(key, target).is_ok_and(|row| row.superseded == *version)
            }
            Self::InlineOf => log::decode_commits(&claim.source, source)
                .and_then(|mut commits| log::restore_inline(key, target, &mut commits))
                .is_ok(),
        }
    }
}

/// Looks whether claims hold; those that seem not to are looked at again at one moment.
pub(super) async fn check(verifier: &mut Verifier<'_>, claims: Vec<Claim>) -> Result<()> {
    let catalog = Arc::clone(&verifier.context.catalog);
    let mut claims = VecDeque::from(claims);
    while !claims.is_empty() {
        let some: Vec<Claim> = claims.drain(..claims.len().min(super::PAGE_ROWS)).collect();
        let targets: Vec<Key> = some.iter().map(|claim| claim.target.clone()).collect();
        let objects = catalog.get_many(&targets).await?;
        for (claim, object) in some.iter().zip(objects) {
            let holds =
                |object: &Object, source: &Bytes| claim.what.holds(claim, source, &object.value);
            if object.is_some_and(|object| holds(&object, &claim.seen)) {
                continue;
            }
            let sealed_key = verifier.context.catalog_keys.sealed();
            let three = [claim.source.clone(), claim.target.clone(), sealed_key.clone()];
            let mut objects = catalog.get_many(&three).await?.into_iter();
            let (source, target) = (objects.next().flatten(), objects.next().flatten());
            let Some(source) = source else { continue };
            let sealed = objects.next().flatten();
            let sealed = sealed.and_then(|s| row::decode::<Sealed>(&sealed_key, &s.value).ok());
            let last = verifier.context.catalog_keys.log_sequence(&claim.source);
            let gone = sealed.is_some_and(|sealed| last.is_some_and(|last| last <= sealed.upto));
            if gone && matches!(claim.what, What::InlineOf) {
                continue;
            }
            let is_there = target.is_some();
            // A source that has changed has claims of its own, which the next pass checks.
            if source.value == claim.seen && !target.is_some_and(|t| holds(&t, &source.value)) {
                if let (What::InlineOf, Some(last)) = (&claim.what, last) {
                    verifier.lost.inline.insert(last);
                }
                if matches!(claim.what, What::Superseded(_)) && !is_there {
                    lost_history(verifier, claim);
                } else {
                    report(verifier, claim);
                    note_index(verifier, claim);
                }
            }
        }
    }
    Ok(())
}

fn report(verifier: &mut Verifier<'_>, claim: &Claim) {
    let key = &claim.source;
    let upto = |claim: &Claim| format!("`{}` does not fit to it", claim.target);
    let (problem, severity, message, advice) = match claim.what {
        What::InlineOf => {
            let message = "the inline bytes of its commits are missing or damaged";
            (Problem::MissingRow, Severity::Error, message.to_owned(), REBUILD)
        }
        What::CommitsOf | What::Upload => {
            let message = format!("`{}`, to which it belongs, is missing", claim.target);
            (Problem::MissingRow, Severity::Error, message, REBUILD)
        }
        What::Indexed => {
            let message = format!("its index row `{}` is missing", claim.target);
            (Problem::Index, Severity::Warning, message, REINDEX)
        }
        _ => (Problem::Index, Severity::Warning, upto(claim), REINDEX),
    };
    verifier.collector.find(problem, severity, key, message, advice);
}

/// A version is missing which an index row names. The two go in one commit, so it was lost; and
/// its index row is all that tells so.
fn lost_history(verifier: &mut Verifier<'_>, claim: &Claim) {
    let message = format!("the version is missing, which `{}` names", claim.source);
    let (problem, key) = (Problem::MissingRow, &claim.target);
    verifier.collector.error(problem, key, message, REBUILD);
    let parts = verifier.context.catalog_keys.history_parts(&claim.target);
    if let Some((name, version)) = parts
        && let Ok(name) = Name::parse(name)
        && verifier.lost.histories.len() < super::FINDINGS_MAX
    {
        verifier.lost.histories.insert((name, version));
    }
}

/// Remembers how an index can be mended.
fn note_index(verifier: &mut Verifier<'_>, claim: &Claim) {
    let fix = match claim.what {
        What::Indexed => IndexFix::Add { index: claim.target.clone(), of: claim.source.clone() },
        What::Expires(_) | What::Attribute(..) | What::IdleSince(_) | What::Superseded(_) => {
            IndexFix::Remove { index: claim.source.clone(), of: claim.target.clone() }
        }
        What::Upload | What::InlineOf | What::CommitsOf => return,
    };
    verifier.note_index(fix);
}

/// How an index can be mended.
pub(super) enum IndexFix {
    /// The index row is missing.
    Add {
        /// The index row.
        index: Key,
        /// The row that it is for.
        of: Key,
    },
    /// The index row is wrong.
    Remove {
        /// The index row.
        index: Key,
        /// The row that it points at.
        of: Key,
    },
}
