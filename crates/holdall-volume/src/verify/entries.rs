//! Every entry, version and part, read whole by its own tree.

use bytes::Bytes;
use holdall_core::{BackendExt, Key, Result, Row};

use super::fetch::Fetcher;
use super::{GoOn, Pages, Problem, Verifier, damage, unreadable};
use crate::format::chunk::{Content, Digest, Node, ROOT_NODES_MAX, decode_list};
use crate::format::entry::Entry;
use crate::format::history::HistoryRow;
use crate::format::upload::PartRow;

const ADVICE: &str = "run `holdall verify --repair`; if that does not mend it, put it again or \
                      restore another version";

/// What is read of a row.
pub(super) struct Value {
    pub(super) size: u64,
    /// None where it is not that of the value's own bytes alone.
    digest: Option<Digest>,
    pub(super) content: Content,
    inline: Bytes,
}

/// Reads all of them.
pub(super) async fn verify(verifier: &mut Verifier<'_>) -> Result<GoOn> {
    let context = verifier.context;
    let mut fetcher = Fetcher::default();
    for class in ['e', 'h', 'q'] {
        let mut pages = Pages::new(context.catalog_keys.class(class));
        while let Some(rows) = pages.next(context.catalog.as_ref()).await? {
            for found in rows {
                let Some(value) = value_of(class, &found) else {
                    continue;
                };
                let read = read(verifier, &mut fetcher, &value).await;
                verifier.collector.counts().entries_read += 1;
                verifier.collector.counts().bytes_read += std::mem::take(&mut fetcher.bytes);
                if let Err(error) = read {
                    let message = damage(error)?;
                    // What was overwritten meanwhile may be gone.
                    let now = context.catalog.get_all(&found.key).await?;
                    let same = now.map(|now| now.value) == found.object.map(|then| then.value);
                    if same {
                        report(verifier, &found.key, &message);
                    }
                }
                if verifier.collector.progress() {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

fn report(verifier: &mut Verifier<'_>, key: &Key, message: &str) {
    let message = format!("it cannot be read whole: {message}");
    verifier.collector.error(Problem::UnreadableEntry, key, message, ADVICE);
}

/// What a row of one of the classes `e`, `h`, `q` says of its bytes, if it is whole.
pub(super) fn value_of(class: char, found: &Row) -> Option<Value> {
    let bytes = &found.object.as_ref()?.value;
    if class == 'q' {
        let part = PartRow::decode(&found.key, bytes).ok()?;
        // The digest of a stream's part is of the stream up to there.
        return Some(Value {
            size: part.size,
            digest: None,
            content: part.content,
            inline: part.inline,
        });
    }
    let entry = match class {
        'h' => HistoryRow::decode(&found.key, bytes).ok()?.entry,
        _ => Entry::decode(&found.key, bytes).ok()?,
    };
    Some(Value {
        size: entry.size,
        digest: Some(entry.digest),
        content: entry.content,
        inline: entry.inline,
    })
}

/// Reads a value; what is held is a chunk, and the lists above it.
async fn read(verifier: &Verifier<'_>, fetcher: &mut Fetcher, value: &Value) -> Result<()> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&value.inline);
    let mut size = value.inline.len() as u64;
    if value.content.nodes().len() > ROOT_NODES_MAX {
        return Err(unreadable("it has too many nodes"));
    }
    let mut stack: Vec<Node> = value.content.nodes().iter().rev().copied().collect();
    while let Some(node) = stack.pop() {
        let secret = &verifier.volume.secret;
        let (row, bytes) = fetcher.chunk(verifier.context, secret, &node.id).await?;
        if row.level != node.level {
            return Err(unreadable("a node names a chunk of another level"));
        }
        if node.level == 0 {
            if bytes.len() as u64 != node.bytes {
                return Err(unreadable("a node has another size than its chunk"));
            }
            hasher.update(&bytes);
            size += node.bytes;
            continue;
        }
        let nodes = decode_list(&bytes)?;
        let total = nodes.iter().try_fold(0_u64, |sum, child| sum.checked_add(child.bytes));
        let below = nodes.iter().all(|child| child.level.checked_add(1) == Some(node.level));
        if total != Some(node.bytes) || !below {
            return Err(unreadable("a list of chunks does not fit to its node"));
        }
        stack.extend(nodes.into_iter().rev());
    }
    let digest = Digest(*hasher.finalize().as_bytes());
    if size != value.size || value.digest.is_some_and(|expected| expected != digest) {
        return Err(unreadable("its bytes have another size or digest"));
    }
    Ok(())
}
