//! Mending: what can be made whole again from another copy, from the log, or by counting.
//!
//! Every change expects the head as it was when what it relies on was read, and writes the head
//! anew: no commit can come in between, and every commit that was being planned is planned again.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use holdall_core::{
    BackendExt, Batch, ErrorKind, Expect, Key, Object, Result, Revision, Timestamp,
};

use super::claims::IndexFix;
use super::counters::Recount;
use super::fetch::Fetcher;
use super::segments::{place_of, read_directory};
use super::{Problem, Verifier, damage_of};
use crate::format::chunk::{ChunkId, ChunkRow, Place};
use crate::format::entry::{Entry, Name};
use crate::format::head::Head;
use crate::format::history::HistoryRow;
use crate::format::row;
use crate::format::segment::{SegmentId, SegmentRow, SegmentState};

/// The most steps of one batch.
const STEPS_MAX: usize = 256;

/// Rows of one moment, and what a change of them must expect.
pub(super) struct Moment {
    pub(super) head: Head,
    pub(super) revision: Revision,
    rows: Vec<Option<Object>>,
}

impl Moment {
    /// Reads rows at one moment; nothing if the head itself is damaged.
    pub(super) async fn read(verifier: &Verifier<'_>, keys: &[Key]) -> Result<Option<Self>> {
        let head_key = verifier.context.catalog_keys.head();
        let mut all = vec![head_key.clone()];
        all.extend_from_slice(keys);
        let mut rows = verifier.context.catalog.get_many(&all).await?;
        let rest = rows.split_off(1);
        let Some(object) = rows.pop().flatten() else {
            return Ok(None);
        };
        let Ok(head) = row::decode(&head_key, &object.value) else {
            return Ok(None);
        };
        Ok(Some(Self { head, revision: object.revision, rows: rest }))
    }

    /// Whether a row is there.
    pub(super) fn has(&self, at: usize) -> bool {
        self.rows.get(at).is_some_and(Option::is_some)
    }

    pub(super) fn decode<T: row::Body>(&self, at: usize, key: &Key) -> Option<T> {
        row::decode(key, &self.rows.get(at)?.as_ref()?.value).ok()
    }
}

/// Applies a change, unless a commit came in between; says whether it did, and the head's new
/// revision.
pub(super) async fn apply(
    verifier: &Verifier<'_>,
    mut batch: Batch,
    head: &Head,
    revision: &Revision,
) -> Result<Option<Revision>> {
    let key = verifier.context.catalog_keys.head();
    batch.put(key.clone(), row::encode(&key, head), Expect::Revision(revision.clone()));
    match verifier.context.catalog.apply(batch).await {
        Ok(revision) => Ok(Some(revision)),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
        Err(error) => Err(error),
    }
}

/// Adds index rows that are missing, and removes those that point at nothing.
pub(super) async fn indexes(verifier: &mut Verifier<'_>) -> Result<()> {
    for fix in std::mem::take(&mut verifier.index_fixes) {
        let (index, of) = match &fix {
            IndexFix::Add { index, of } | IndexFix::Remove { index, of } => (index, of),
        };
        let keys = [of.clone(), index.clone()];
        let Some(moment) = Moment::read(verifier, &keys).await? else {
            return Ok(());
        };
        let value = |at: usize| moment.rows.get(at).and_then(Option::as_ref).map(|o| &o.value);
        let claimed = value(0).map_or(Some(false), |bytes| claims(verifier, of, bytes, index));
        if (claimed.is_none() || !moment.has(0)) && note_idle(verifier, index, of) {
            verifier.note_index(fix);
            continue;
        }
        let Some(wanted) = claimed else { continue };
        let mut batch = Batch::new();
        let found_at = match fix {
            IndexFix::Add { .. } if wanted => {
                batch.put(index.clone(), row::encode(index, &()), Expect::Any);
                of
            }
            IndexFix::Remove { .. } if !wanted => {
                batch.delete(index.clone(), Expect::Any);
                index
            }
            // What it is of has been restored, or has gone, since.
            IndexFix::Add { .. } => {
                verifier.collector.repaired(Problem::Index, of);
                continue;
            }
            IndexFix::Remove { .. } => {
                verifier.collector.repaired(Problem::Index, index);
                continue;
            }
        };
        if apply(verifier, batch, &moment.head, &moment.revision).await?.is_some() {
            verifier.collector.repaired(Problem::Index, found_at);
            verifier.collector.repaired(Problem::DamagedRow, index);
        }
    }
    Ok(())
}

/// Remembers since when a chunk is idle whose row is lost: its index row is all that tells so.
/// Says whether it was not known before.
fn note_idle(verifier: &mut Verifier<'_>, index: &Key, of: &Key) -> bool {
    let keys = &verifier.context.catalog_keys;
    let class = keys.class('i');
    let since = index.as_str().strip_prefix(&class).and_then(|rest| rest.split_once('/'));
    let since = since.and_then(|(hex, _)| u64::from_str_radix(hex, 16).ok());
    let (Some(since), Some(id)) = (since, keys.chunk_id(of)) else {
        return false;
    };
    verifier.idle.insert(id, Timestamp::from_micros(since)).is_none()
}

/// Whether a row is to be found by this index row; nothing if the row is damaged.
fn claims(verifier: &Verifier<'_>, of: &Key, bytes: &Bytes, index: &Key) -> Option<bool> {
    let keys = &verifier.context.catalog_keys;
    if let Some(name) = keys.entry_name(of).and_then(|name| Name::parse(name).ok()) {
        let entry = Entry::decode(of, bytes).ok()?;
        let by_time = entry.expires.is_some_and(|time| keys.expiry(time, &name) == *index);
        let indexed = &verifier.volume.policy.indexed;
        let mut attributes = entry.attributes.iter().filter(|(a, _)| indexed.contains(*a));
        let by_attribute =
            attributes.any(|(a, value)| keys.attribute(a, value, &name).as_ref() == Some(index));
        return Some(by_time || by_attribute);
    }
    if keys.history_parts(of).is_some() {
        let history = HistoryRow::decode(of, bytes).ok()?;
        let prefix = keys.retention(history.superseded, 0);
        let prefix = prefix.as_str().trim_end_matches('0');
        return Some(index.as_str().starts_with(prefix));
    }
    let id = keys.chunk_id(of)?;
    let chunk = row::decode::<ChunkRow>(of, bytes).ok()?;
    Some(chunk.idle_since.is_some_and(|since| keys.idle(since, &id) == *index))
}

/// Writes counted references and totals where the rows say others.
pub(super) async fn counters(verifier: &mut Verifier<'_>, recount: &Recount) -> Result<()> {
    let Some(mut revision) = recount.revision.clone() else {
        return Ok(());
    };
    let keys = verifier.context.catalog_keys.clone();
    let chunks = recount.references.iter().map(|(id, counted)| (keys.chunk(id), Some(*counted)));
    let segments = recount.segments.keys().map(|id| (keys.segment(*id), None));
    let all: Vec<(Key, Option<u64>)> = chunks.chain(segments).collect();
    for some in all.chunks(STEPS_MAX / 4) {
        let wanted: Vec<Key> = some.iter().map(|(key, _)| key.clone()).collect();
        let rows = verifier.context.catalog.get_many(&wanted).await?;
        let mut batch = Batch::new();
        for ((key, counted), object) in some.iter().zip(rows) {
            let Some(object) = object else { continue };
            match counted {
                Some(counted) => recounted_chunk(verifier, &mut batch, key, &object, *counted),
                None => recounted_segment(verifier, &mut batch, key, &object, recount),
            }
        }
        // The totals last: until then the head stays as it was.
        let stored = Moment::read(verifier, &[]).await?;
        let Some(stored) = stored.filter(|stored| stored.revision == revision) else {
            return Ok(());
        };
        let Some(next) = apply(verifier, batch, &stored.head, &revision).await? else {
            return Ok(());
        };
        revision = next;
        wanted.iter().for_each(|key| verifier.collector.repaired(Problem::Counter, key));
    }
    let done = apply(verifier, Batch::new(), &recount.head, &revision).await?;
    if done.is_some() {
        verifier.collector.repaired(Problem::Counter, &keys.head());
    }
    Ok(())
}

fn recounted_chunk(
    verifier: &Verifier<'_>,
    batch: &mut Batch,
    key: &Key,
    object: &Object,
    counted: u64,
) {
    let keys = &verifier.context.catalog_keys;
    let Some(id) = keys.chunk_id(key) else { return };
    let Ok(chunk) = row::decode::<ChunkRow>(key, &object.value) else {
        return;
    };
    let idle_since = (counted == 0).then(|| verifier.context.env.now());
    if let Some(since) = chunk.idle_since.filter(|since| Some(*since) != idle_since) {
        batch.delete(keys.idle(since, &id), Expect::Any);
    }
    if let Some(since) = idle_since {
        let index = keys.idle(since, &id);
        batch.put(index.clone(), row::encode(&index, &()), Expect::Any);
    }
    let chunk = ChunkRow { references: counted, idle_since, ..chunk };
    batch.put(key.clone(), row::encode(key, &chunk), Expect::Any);
}

fn recounted_segment(
    verifier: &Verifier<'_>,
    batch: &mut Batch,
    key: &Key,
    object: &Object,
    recount: &Recount,
) {
    let id = verifier.context.catalog_keys.segment_id(key);
    let Some((chunks, live_bytes)) = id.and_then(|id| recount.segments.get(&id)).copied() else {
        return;
    };
    let Ok(segment) = row::decode::<SegmentRow>(key, &object.value) else {
        return;
    };
    let segment = SegmentRow { chunks, live_bytes, ..segment };
    batch.put(key.clone(), row::encode(key, &segment), Expect::Any);
}

/// Looks for other copies of damaged chunks in other segments, and points their rows there.
pub(super) async fn copies(verifier: &mut Verifier<'_>) -> Result<()> {
    let mut wanted = std::mem::take(&mut verifier.damaged);
    wanted.extend(verifier.idle.keys());
    find(verifier, &mut wanted, None).await?;
    // By now the rows of idle chunks are there again, or their index rows are of no use.
    indexes(verifier).await
}

/// Writes the rows of chunks anew that are named so often and have none. Says whether there was
/// one that could be.
pub(super) async fn lost_chunks(
    verifier: &mut Verifier<'_>,
    lost: &HashMap<ChunkId, u64>,
) -> Result<bool> {
    let mut wanted: HashSet<ChunkId> = lost.keys().copied().collect();
    find(verifier, &mut wanted, Some(lost)).await?;
    Ok(wanted.len() < lost.len())
}

/// Looks for chunks in all segments, and points rows there. What was found is no longer wanted.
async fn find(
    verifier: &mut Verifier<'_>,
    wanted: &mut HashSet<ChunkId>,
    lost: Option<&HashMap<ChunkId, u64>>,
) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let mut fetcher = Fetcher::default();
    let mut segments: Vec<SegmentId> = verifier.found.keys().copied().collect();
    // The first copy is mostly the one that was named.
    segments.sort_unstable();
    for id in segments {
        // A damaged directory was reported with its segment.
        let Ok(directory) = damage_of(read_directory(verifier, id).await)? else {
            continue;
        };
        for frame in directory.frames {
            let raw: u64 = frame.chunks.iter().map(|(_, bytes)| u64::from(*bytes)).sum();
            let mut from = 0;
            for (chunk, bytes) in frame.chunks {
                let span = (u64::from(frame.at), u64::from(frame.bytes));
                let place = place_of(id, span, from, bytes, raw as usize);
                from = from.saturating_add(bytes);
                if !wanted.contains(&chunk) {
                    continue;
                }
                let secret = &verifier.volume.secret;
                let context = verifier.context;
                let read = fetcher.place(context, secret, &chunk, frame.level, place).await;
                if damage_of(read)?.is_err() {
                    continue;
                }
                let key = verifier.context.catalog_keys.chunk(&chunk);
                let references = lost.map(|lost| lost.get(&chunk).copied().unwrap_or(0));
                if references.is_none() && switch(verifier, chunk, place).await? {
                    wanted.remove(&chunk);
                    verifier.collector.repaired(Problem::LostChunk, &key);
                } else if restore_row(verifier, chunk, (frame.level, place), references).await? {
                    wanted.remove(&chunk);
                    verifier.collector.restored(&key);
                    verifier.collector.repaired(Problem::LostChunk, &key);
                }
            }
        }
        if wanted.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Points a chunk's row at another copy, and moves what is counted from segment to segment.
async fn switch(verifier: &Verifier<'_>, id: ChunkId, to: Place) -> Result<bool> {
    let keys = &verifier.context.catalog_keys;
    let chunk_key = keys.chunk(&id);
    let found = verifier.context.catalog.get_all(&chunk_key).await?;
    let found = found.and_then(|o| row::decode::<ChunkRow>(&chunk_key, &o.value).ok());
    let Some(from) = found.map(|chunk| chunk.place).filter(|from| *from != to) else {
        return Ok(false);
    };
    let (old_key, new_key) = (keys.segment(from.segment), keys.segment(to.segment));
    let all = [chunk_key.clone(), old_key.clone(), new_key.clone()];
    let Some(moment) = Moment::read(verifier, &all).await? else {
        return Ok(false);
    };
    let (chunk, new) = (moment.decode(0, &chunk_key), moment.decode(2, &new_key));
    let (Some(chunk), Some(mut new)): (Option<ChunkRow>, Option<SegmentRow>) = (chunk, new) else {
        return Ok(false);
    };
    let usable = matches!(new.state, SegmentState::Live | SegmentState::Dead { .. });
    if chunk.place != from || !usable {
        return Ok(false);
    }
    let mut head = moment.head.clone();
    let live = |place: Place| {
        if chunk.references > 0 { u64::from(place.stored) } else { 0 }
    };
    let mut batch = Batch::new();
    let old: Option<SegmentRow> = moment.decode(1, &old_key);
    if from.segment == to.segment {
        new.live_bytes = (new.live_bytes + live(to)).saturating_sub(live(from));
    } else {
        new.live_bytes += live(to);
        new.chunks += 1;
        if let Some(mut old) = old {
            old.live_bytes = old.live_bytes.saturating_sub(live(from));
            old.chunks = old.chunks.saturating_sub(1);
            batch.put(old_key.clone(), row::encode(&old_key, &old), Expect::Any);
        }
    }
    new.state = SegmentState::Live;
    head.live_bytes = (head.live_bytes + live(to)).saturating_sub(live(from));
    batch.put(new_key.clone(), row::encode(&new_key, &new), Expect::Any);
    let chunk = ChunkRow { place: to, ..chunk };
    batch.put(chunk_key.clone(), row::encode(&chunk_key, &chunk), Expect::Any);
    Ok(apply(verifier, batch, &head, &moment.revision).await?.is_some())
}

/// Writes a chunk's damaged row anew, or one that is missing if it is known how often the chunk
/// is named. Until references are counted it has one, so that nothing takes the chunk for garbage.
async fn restore_row(
    verifier: &Verifier<'_>,
    id: ChunkId,
    (level, place): (u8, Place),
    references: Option<u64>,
) -> Result<bool> {
    let keys = &verifier.context.catalog_keys;
    let (key, segment_key) = (keys.chunk(&id), keys.segment(place.segment));
    let all = [key.clone(), segment_key.clone()];
    let Some(moment) = Moment::read(verifier, &all).await? else {
        return Ok(false);
    };
    let idle_since = verifier.idle.get(&id).copied();
    let there = moment.has(0) || references.is_some() || idle_since.is_some();
    let damaged = there && moment.decode::<ChunkRow>(0, &key).is_none();
    let segment: Option<SegmentRow> = moment.decode(1, &segment_key);
    let live = segment.is_some_and(|segment| segment.state == SegmentState::Live);
    if !damaged || !live {
        return Ok(false);
    }
    let references = references.unwrap_or(u64::from(idle_since.is_none()));
    let idle_since = idle_since.filter(|_| references == 0);
    let chunk = ChunkRow { place, level, references, idle_since };
    let mut batch = Batch::new();
    batch.put(key.clone(), row::encode(&key, &chunk), Expect::Any);
    Ok(apply(verifier, batch, &moment.head, &moment.revision).await?.is_some())
}
