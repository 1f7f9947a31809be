//! References, indexes, live bytes and totals: counted from the rows that there are.
//!
//! A list of chunks holds references as long as its own row exists. So lists are opened from the
//! highest level down, and those that nothing names lose their rows instead. Bytes that nothing
//! names wait for collection like any others.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use holdall_core::{Key, Result, Row};

use super::{Rebuild, is_damage};
use crate::format::chunk::{ChunkId, ChunkRow, Node, decode_list};
use crate::format::entry::{Entry, Name, Version};
use crate::format::history::HistoryRow;
use crate::format::row;
use crate::format::segment::{Replica, ReplicaState, SegmentId, SegmentRow, SegmentState};
use crate::format::upload::PartRow;
use crate::gc::history::{is_pinned, pinned_commits};
use crate::gc::pages::Pages;
use crate::placement::Spread;

/// Counts everything, and writes what follows from it.
pub(super) async fn count(rebuild: &mut Rebuild) -> Result<()> {
    entries(rebuild).await?;
    histories(rebuild).await?;
    uploads(rebuild).await?;
    rebuild.report.snapshots = rows_of(rebuild, 'p').await?;
    let keep = lists(rebuild).await?;
    chunks(rebuild, keep).await?;
    segments(rebuild).await
}

fn value(listed: Row) -> (Key, Bytes) {
    // A row without its value does not decode, which is what it should not do.
    (listed.key, listed.object.map(|object| object.value).unwrap_or_default())
}

async fn entries(rebuild: &mut Rebuild) -> Result<()> {
    let mut pages = Pages::rows(rebuild.keys.class('e'));
    while let Some(rows) = pages.next(rebuild.rows.catalog()).await? {
        for (key, bytes) in rows.into_iter().map(value) {
            let entry = Entry::decode(&key, &bytes)?;
            let name = Name::parse(rebuild.keys.entry_name(&key).unwrap_or_default())?;
            rebuild.note_time(entry.written);
            rebuild.head.entries += 1;
            rebuild.head.bytes += entry.size;
            index(rebuild, &name, &entry);
            refer(rebuild, entry.content.nodes(), name.as_str()).await?;
        }
        rebuild.progress();
    }
    rebuild.report.entries = rebuild.head.entries;
    rebuild.rows.flush().await
}

/// Writes the index rows of an entry.
fn index(rebuild: &mut Rebuild, name: &Name, entry: &Entry) {
    let mut keys: Vec<Key> = Vec::new();
    keys.extend(entry.expires.map(|expires| rebuild.keys.expiry(expires, name)));
    for (attribute, value) in &entry.attributes {
        if rebuild.volume.policy.indexed.contains(attribute) {
            keys.extend(rebuild.keys.attribute(attribute, value, name));
        }
    }
    for key in keys {
        let value = row::encode(&key, &());
        rebuild.rows.set(key, Some(value));
    }
}

/// Superseded versions. Those that the policy no longer keeps go, and those that it did not keep
/// before it was changed: replaying brings them back, but their bytes may have been collected.
async fn histories(rebuild: &mut Rebuild) -> Result<()> {
    let pinned = pinned_commits(rebuild.rows.catalog(), &rebuild.keys).await?;
    let (now, keep) = (rebuild.env.now(), rebuild.volume.policy.history);
    let kept_from = rebuild.volume.history_from;
    let mut pages = Pages::rows(rebuild.keys.class('h'));
    while let Some(rows) = pages.next(rebuild.rows.catalog()).await? {
        let mut found = Vec::with_capacity(rows.len());
        for (key, bytes) in rows.into_iter().map(value) {
            let history = HistoryRow::decode(&key, &bytes)?;
            let (name, version) = rebuild.keys.history_parts(&key).unwrap_or_default();
            let name = Name::parse(name)?;
            rebuild.note_time(history.superseded_time);
            let superseded = history.superseded_time;
            let outdated = now.since(superseded) >= keep || superseded < kept_from;
            if outdated && !is_pinned(&pinned, version, history.superseded) {
                rebuild.rows.set(key, None);
                continue;
            }
            rebuild.head.history_entries += 1;
            rebuild.head.history_bytes += history.entry.size;
            refer(rebuild, history.entry.content.nodes(), name.as_str()).await?;
            found.push((name, version, history.superseded));
        }
        retain(rebuild, found).await?;
        rebuild.progress();
    }
    rebuild.report.versions = rebuild.head.history_entries;
    rebuild.rows.flush().await
}

/// Writes the index of when versions were superseded. Their ordinals are not known any more, but
/// need only differ within a commit: each begins at a number made of the name.
async fn retain(rebuild: &mut Rebuild, mut found: Vec<(Name, Version, Version)>) -> Result<()> {
    let mut step: u32 = 0;
    while !found.is_empty() {
        let key = |(name, _, superseded): &(Name, Version, Version)| {
            let digest = *blake3::hash(name.as_str().as_bytes()).as_bytes();
            let start = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);
            rebuild.keys.retention(*superseded, start.wrapping_add(step))
        };
        let keys: Vec<Key> = found.iter().map(key).collect();
        let taken = rebuild.rows.get(&keys).await?;
        let mut rest = Vec::new();
        let mut new: BTreeMap<Key, Bytes> = BTreeMap::new();
        for ((version, key), taken) in found.into_iter().zip(keys).zip(taken) {
            if taken.is_some() || new.contains_key(&key) {
                rest.push(version);
                continue;
            }
            let value = row::encode(&key, &(&version.0, version.1));
            new.insert(key, value);
        }
        new.into_iter().for_each(|(key, value)| rebuild.rows.set(key, Some(value)));
        found = rest;
        step += 1;
    }
    rebuild.rows.settle().await
}

/// Parts of uploads. A part that was copied after its upload had been completed goes; so does one
/// whose bytes are not there any more, as the log does not say which uploads have ended since.
async fn uploads(rebuild: &mut Rebuild) -> Result<()> {
    rebuild.report.uploads = rows_of(rebuild, 'u').await?;
    let class = rebuild.keys.class('q');
    let mut pages = Pages::rows(class.clone());
    while let Some(rows) = pages.next(rebuild.rows.catalog()).await? {
        for (key, bytes) in rows.into_iter().map(value) {
            let part = PartRow::decode(&key, &bytes)?;
            let rest = key.as_str().strip_prefix(&class).unwrap_or_default();
            let id = rest.rsplit_once('/').map_or(rest, |(id, _)| id);
            let nodes = part.content.nodes().iter();
            let mut needed = vec![rebuild.keys.upload(id)];
            needed.extend(nodes.map(|node| rebuild.keys.chunk(&node.id)));
            if rebuild.rows.get(&needed).await?.iter().any(Option::is_none) {
                rebuild.rows.set(key, None);
                continue;
            }
            rebuild.note_time(part.written);
            rebuild.head.upload_bytes += part.size;
            refer(rebuild, part.content.nodes(), rest).await?;
        }
        rebuild.rows.settle().await?;
    }
    rebuild.rows.flush().await
}

async fn rows_of(rebuild: &Rebuild, class: char) -> Result<u64> {
    let mut pages = Pages::keys(rebuild.keys.class(class));
    let mut count = 0;
    while let Some(rows) = pages.next(rebuild.rows.catalog()).await? {
        count += rows.len() as u64;
    }
    Ok(count)
}

/// Counts one more reference on each node. Says whether a list was among them that is missing.
async fn refer(rebuild: &mut Rebuild, nodes: &[Node], of: &str) -> Result<()> {
    if nodes.is_empty() {
        return Ok(());
    }
    let mut named: HashMap<ChunkId, u64> = HashMap::with_capacity(nodes.len());
    for node in nodes {
        *named.entry(node.id).or_default() += 1;
    }
    let levels: HashMap<ChunkId, u8> = nodes.iter().map(|node| (node.id, node.level)).collect();
    let ids: Vec<ChunkId> = named.keys().copied().collect();
    let keys: Vec<Key> = ids.iter().map(|id| rebuild.keys.chunk(id)).collect();
    let found = rebuild.rows.get(&keys).await?;
    let mut whole = true;
    for ((id, key), bytes) in ids.iter().zip(keys).zip(found) {
        let Some(bytes) = bytes else {
            whole = false;
            rebuild.report.chunks_missing += 1;
            let is_list = levels.get(id).is_some_and(|level| *level > 0);
            rebuild.report.lists_damaged += u64::from(is_list);
            continue;
        };
        let mut chunk: ChunkRow = row::decode(&key, &bytes)?;
        chunk.references += named.get(id).copied().unwrap_or(0);
        let value = row::encode(&key, &chunk);
        rebuild.rows.set(key, Some(value));
    }
    if !whole {
        rebuild.report.note_incomplete(of);
    }
    rebuild.rows.settle().await
}

/// Opens lists and counts what they name. Returns whether one could not be opened: then what it
/// names is not known, and nothing may count as unnamed.
async fn lists(rebuild: &mut Rebuild) -> Result<bool> {
    for level in (1..=rebuild.segments.level_max).rev() {
        rebuild.rows.flush().await?;
        let mut pages = Pages::rows(rebuild.keys.class('c'));
        while let Some(rows) = pages.next(rebuild.rows.catalog()).await? {
            for (key, bytes) in rows.into_iter().map(value) {
                let chunk: ChunkRow = row::decode(&key, &bytes)?;
                if chunk.level == level {
                    list(rebuild, key).await?;
                }
            }
            rebuild.progress();
        }
    }
    rebuild.rows.flush().await?;
    Ok(rebuild.report.lists_damaged > 0)
}

async fn list(rebuild: &mut Rebuild, key: Key) -> Result<()> {
    let Some(id) = rebuild.keys.chunk_id(&key) else { return Ok(()) };
    let found = rebuild.rows.get(std::slice::from_ref(&key)).await?;
    let Some(bytes) = found.into_iter().flatten().next() else { return Ok(()) };
    let mut chunk: ChunkRow = row::decode(&key, &bytes)?;
    if chunk.references == 0 && rebuild.report.lists_damaged == 0 {
        rebuild.rows.set(key, None);
        return rebuild.rows.settle().await;
    }
    let node = Node { id, bytes: 0, level: chunk.level };
    let nodes = match rebuild.reader.chunk(&node).await {
        Ok(bytes) => decode_list(&bytes),
        Err(error) => Err(error),
    };
    match nodes {
        Ok(nodes) => {
            if chunk.references == 0 {
                // Perhaps a list that cannot be read names it.
                chunk.references = 1;
                let value = row::encode(&key, &chunk);
                rebuild.rows.set(key, Some(value));
            }
            refer(rebuild, &nodes, &format!("the list of chunks {id}")).await
        }
        Err(error) if is_damage(&error) => {
            if chunk.references > 0 {
                rebuild.report.lists_damaged += 1;
                rebuild.report.note_incomplete(&format!("the list of chunks {id}"));
            } else {
                rebuild.rows.set(key, None);
            }
            rebuild.rows.settle().await
        }
        Err(error) => Err(error),
    }
}

/// Counts what lies in which segment. What nothing names waits for collection; if it is not known
/// what is named, everything is taken to be.
async fn chunks(rebuild: &mut Rebuild, keep: bool) -> Result<()> {
    let now = rebuild.env.now().max(rebuild.head.time);
    let mut pages = Pages::rows(rebuild.keys.class('c'));
    while let Some(rows) = pages.next(rebuild.rows.catalog()).await? {
        for (key, bytes) in rows.into_iter().map(value) {
            let mut chunk: ChunkRow = row::decode(&key, &bytes)?;
            let segment = rebuild.segments.found.entry(chunk.place.segment).or_default();
            segment.chunks += 1;
            if chunk.references > 0 || keep {
                segment.live_bytes += u64::from(chunk.place.stored);
                rebuild.report.chunks += 1;
            }
            if chunk.references > 0 {
                continue;
            }
            if keep {
                chunk.references = 1;
            } else if let Some(id) = rebuild.keys.chunk_id(&key) {
                chunk.idle_since = Some(now);
                let idle = rebuild.keys.idle(now, &id);
                let value = row::encode(&idle, &());
                rebuild.rows.set(idle, Some(value));
            }
            let value = row::encode(&key, &chunk);
            rebuild.rows.set(key, Some(value));
        }
        rebuild.rows.settle().await?;
        rebuild.progress();
    }
    Ok(())
}

/// The copies of a segment. Whether they are whole is for a scrub to say.
async fn replicas(spread: Option<&Spread>, id: SegmentId) -> Result<Vec<Replica>> {
    let places = match spread {
        None => vec![0],
        Some(spread) => spread.holders(id).await?,
    };
    let replica = |backend| Replica { backend, state: ReplicaState::Healthy, verified: None };
    Ok(places.into_iter().map(replica).collect())
}

async fn segments(rebuild: &mut Rebuild) -> Result<()> {
    let created = rebuild.env.now().max(rebuild.head.time);
    for (id, found) in std::mem::take(&mut rebuild.segments.found) {
        rebuild.head.segments += 1;
        rebuild.head.segment_bytes += found.bytes;
        rebuild.head.live_bytes += found.live_bytes;
        let replicas = replicas(rebuild.context.spread.as_deref(), id).await?;
        let segment = SegmentRow {
            created,
            bytes: found.bytes,
            live_bytes: found.live_bytes,
            chunks: found.chunks,
            tier: 0,
            key_id: 0,
            state: SegmentState::Live,
            replicas,
        };
        let key = rebuild.keys.segment(id);
        let value = row::encode(&key, &segment);
        rebuild.rows.set(key, Some(value));
        rebuild.rows.settle().await?;
    }
    rebuild.rows.flush().await
}
