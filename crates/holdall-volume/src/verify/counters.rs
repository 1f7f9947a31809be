//! Counts references, live bytes and totals again, and compares them with what the rows say.

use std::collections::HashMap;

use holdall_core::{BackendExt, Key, List, Result, Revision};

use super::entries::value_of;
use super::fetch::Fetcher;
use super::segments::chunk_of;
use super::{
    DAMAGED_MAX, FINDINGS_MAX, GoOn, PAGE_ROWS, Pages, Problem, Severity, Verifier, damage, repair,
};
use crate::format::chunk::{ChunkId, Node, decode_list};
use crate::format::head::Head;
use crate::format::history::SnapshotRow;
use crate::format::row;
use crate::format::segment::{SegmentId, SegmentRow, SegmentState};

const RECOUNT: &str = super::rows::REBUILD;

/// For how many chunks references are counted at once: about 64 MiB of memory.
const CHUNKS_AT_ONCE: u64 = if cfg!(test) { 3 } else { 1 << 20 };

/// How often counting is tried while commits go on.
const ATTEMPTS_MAX: usize = 3;

/// What counting gave.
#[derive(Default)]
pub(super) struct Recount {
    /// The state of the head for which this holds.
    pub(super) revision: Option<Revision>,
    pub(super) head: Head,
    /// Chunk rows whose references are others.
    pub(super) references: Vec<(ChunkId, u64)>,
    /// How many chunks are named but have no row.
    missing: u64,
    /// How often some of them are named.
    lost: HashMap<ChunkId, u64>,
    /// Of each segment, chunk rows and live bytes.
    pub(super) segments: HashMap<SegmentId, (u64, u64)>,
    epoch: u64,
}

/// Counts, and compares if no commit came in between.
pub(super) async fn verify(verifier: &mut Verifier<'_>) -> Result<GoOn> {
    let key = verifier.context.catalog_keys.head();
    let mut attempts = 0;
    while attempts < ATTEMPTS_MAX {
        let before = verifier.context.catalog.get_all(&key).await?;
        let Some(head) = before else {
            let message = "the volume has no head";
            verifier.collector.error(Problem::MissingRow, &key, message, super::rows::REBUILD);
            return Ok(true);
        };
        // A damaged head was reported with the rows.
        let Ok(stored) = row::decode::<Head>(&key, &head.value) else {
            return Ok(true);
        };
        let mut recount = Recount { revision: Some(head.revision.clone()), ..Recount::default() };
        if !count(verifier, &mut recount).await? {
            return Ok(false);
        }
        let after = verifier.context.catalog.get_all(&key).await?;
        if after.is_none_or(|after| after.revision != head.revision) {
            attempts += 1;
            continue;
        }
        // A list that comes back names chunks that may be lost too, so this is done again.
        let repair = verifier.collector.options.repair && !recount.lost.is_empty();
        if !repair || !repair::lost_chunks(verifier, &recount.lost).await? {
            return compare(verifier, recount, stored).await.map(|()| true);
        }
    }
    let message = "commits went on, so references and counters were not compared";
    let advice = "verify again while nobody writes";
    verifier.collector.find(Problem::Busy, Severity::Notice, &key, message, advice);
    Ok(true)
}

/// The totals, and the highest epoch that rows tell of; nothing if chunks or lists are lost.
pub(super) async fn totals(verifier: &mut Verifier<'_>) -> Result<Option<(Head, u64)>> {
    let mut recount = Recount::default();
    let done = count(verifier, &mut recount).await?;
    let whole = done && recount.missing == 0 && !verifier.lists_missing;
    Ok(whole.then_some((recount.head, recount.epoch)))
}

async fn count(verifier: &mut Verifier<'_>, recount: &mut Recount) -> Result<GoOn> {
    let chunks = verifier.collector.report.counts.chunks;
    let passes = (chunks / CHUNKS_AT_ONCE + 1).min(1 << 16) as u32;
    for pass in 0..passes {
        let bounds = (pass * (1 << 16) / passes, (pass + 1) * (1 << 16) / passes);
        if !count_range(verifier, recount, bounds, pass == 0).await? {
            return Ok(false);
        }
    }
    rest(verifier, recount).await?;
    Ok(true)
}

/// Counts references of the chunks whose ids begin with two bytes between the bounds.
async fn count_range(
    verifier: &mut Verifier<'_>,
    recount: &mut Recount,
    (start, end): (u32, u32),
    first: bool,
) -> Result<GoOn> {
    let context = verifier.context;
    let mut references: HashMap<ChunkId, u64> = HashMap::new();
    let mut name = |nodes: &[Node]| {
        for node in nodes {
            let prefix = u32::from(node.id.0[0]) << 8 | u32::from(node.id.0[1]);
            if (start..end).contains(&prefix) {
                *references.entry(node.id).or_default() += 1;
            }
        }
    };
    for class in ['e', 'h', 'q'] {
        let mut pages = Pages::new(context.catalog_keys.class(class));
        while let Some(rows) = pages.next(context.catalog.as_ref()).await? {
            for value in rows.iter().filter_map(|found| value_of(class, found)) {
                name(value.content.nodes());
                if first {
                    total(&mut recount.head, class, value.size);
                }
            }
            if verifier.collector.progress() {
                return Ok(false);
            }
        }
    }
    let mut fetcher = Fetcher::default();
    let mut pages = Pages::new(context.catalog_keys.class('c'));
    while let Some(rows) = pages.next(context.catalog.as_ref()).await? {
        for (key, chunk) in rows.iter().filter_map(chunk_of).filter(|(_, c)| c.level > 0) {
            let Some(id) = context.catalog_keys.chunk_id(key) else {
                continue;
            };
            let secret = &verifier.volume.secret;
            let bytes = fetcher.place(context, secret, &id, chunk.level, chunk.place).await;
            match bytes.and_then(|bytes| decode_list(&bytes)) {
                Ok(nodes) => name(&nodes),
                Err(error) => {
                    damage(error)?;
                    verifier.lists_missing = true;
                }
            }
        }
        if verifier.collector.progress() {
            return Ok(false);
        }
    }
    compare_range(verifier, recount, (start, end), references).await?;
    Ok(true)
}

fn total(head: &mut Head, class: char, size: u64) {
    match class {
        'e' => {
            head.entries += 1;
            head.bytes = head.bytes.saturating_add(size);
        }
        'h' => {
            head.history_entries += 1;
            head.history_bytes = head.history_bytes.saturating_add(size);
        }
        _ => head.upload_bytes = head.upload_bytes.saturating_add(size),
    }
}

/// Compares the chunk rows between the bounds with what was counted.
async fn compare_range(
    verifier: &Verifier<'_>,
    recount: &mut Recount,
    (start, end): (u32, u32),
    mut references: HashMap<ChunkId, u64>,
) -> Result<()> {
    let context = verifier.context;
    let class = context.catalog_keys.class('c');
    let list = List::prefix(&class).at(format!("{class}{start:04x}")).with_values();
    let mut pages = Pages { list: Some(list.limit(PAGE_ROWS)) };
    let stop = format!("{class}{end:04x}");
    'pages: while let Some(rows) = pages.next(context.catalog.as_ref()).await? {
        for (key, chunk) in rows.iter().filter_map(chunk_of) {
            if end < 1 << 16 && key.as_str() >= stop.as_str() {
                break 'pages;
            }
            let Some(id) = context.catalog_keys.chunk_id(key) else {
                continue;
            };
            let counted = references.remove(&id).unwrap_or(0);
            if counted != chunk.references && recount.references.len() < FINDINGS_MAX {
                recount.references.push((id, counted));
            }
            let (chunks, live) = recount.segments.entry(chunk.place.segment).or_default();
            *chunks += 1;
            *live += if counted > 0 { u64::from(chunk.place.stored) } else { 0 };
        }
    }
    recount.missing += references.len() as u64;
    let room = DAMAGED_MAX.saturating_sub(recount.lost.len());
    recount.lost.extend(references.into_iter().take(room));
    Ok(())
}

/// Segments, snapshots and writers.
async fn rest(verifier: &Verifier<'_>, recount: &mut Recount) -> Result<()> {
    let context = verifier.context;
    let keys = &context.catalog_keys;
    for class in ['s', 'p', 'w'] {
        let mut pages = Pages::new(keys.class(class));
        while let Some(rows) = pages.next(context.catalog.as_ref()).await? {
            for found in rows {
                let bytes = found.object.map(|object| object.value).unwrap_or_default();
                let head = &mut recount.head;
                match class {
                    's' => {
                        let segment = row::decode::<SegmentRow>(&found.key, &bytes).ok();
                        let deleted = SegmentState::Deleted;
                        if segment.as_ref().is_none_or(|segment| segment.state != deleted) {
                            head.segments += 1;
                            head.segment_bytes += segment.map_or(0, |segment| segment.bytes);
                        }
                        let epoch = keys.segment_id(&found.key).map_or(0, |id| id.epoch);
                        recount.epoch = recount.epoch.max(epoch);
                    }
                    'p' => {
                        let snapshot = row::decode::<SnapshotRow>(&found.key, &bytes).ok();
                        let pinned = snapshot.map_or(0, |snapshot| snapshot.sequence);
                        head.snapshot_last = head.snapshot_last.max(pinned);
                    }
                    _ => {
                        let epoch = keys.writer_epoch(&found.key).unwrap_or(0);
                        recount.epoch = recount.epoch.max(epoch);
                    }
                }
            }
        }
    }
    recount.head.live_bytes = recount.segments.values().map(|(_, live)| live).sum();
    Ok(())
}

async fn compare(verifier: &mut Verifier<'_>, mut recount: Recount, stored: Head) -> Result<()> {
    let head_key = verifier.context.catalog_keys.head();
    for id in recount.lost.keys() {
        let key = verifier.context.catalog_keys.chunk(id);
        let message = "the chunk is named but has no row";
        verifier.collector.error(Problem::MissingRow, &key, message, super::rows::REBUILD);
    }
    if recount.missing > recount.lost.len() as u64 {
        let message = format!("{} chunks are named but have no row", recount.missing);
        verifier.collector.error(Problem::MissingRow, &head_key, message, super::rows::REBUILD);
    }
    if verifier.lists_missing {
        let message = "lists of chunks cannot be read, so references were not compared";
        let severity = Severity::Warning;
        verifier.collector.find(Problem::Counter, severity, &head_key, message, RECOUNT);
        return Ok(());
    }
    for (id, counted) in recount.references.clone() {
        let key = verifier.context.catalog_keys.chunk(&id);
        let message = format!("{counted} nodes name the chunk, which its row does not say");
        counter(verifier, &key, message);
    }
    let wrong = compare_segments(verifier, &recount).await?;
    let counted = std::mem::take(&mut recount.segments);
    let counted = |id: &SegmentId| counted.get(id).copied().unwrap_or_default();
    recount.segments = wrong.into_iter().map(|id| (id, counted(&id))).collect();
    let rows_agree = compare_head(verifier, &mut recount, stored, &head_key);
    if verifier.collector.options.repair && rows_agree && !open_damage(verifier) {
        repair::counters(verifier, &recount).await?;
    }
    Ok(())
}

/// Whether rows are damaged or missing. What they name must not be taken for garbage, so then
/// nothing is set to what was counted.
fn open_damage(verifier: &Verifier<'_>) -> bool {
    let report = &verifier.collector.report;
    let rows = [Problem::DamagedRow, Problem::MissingRow];
    let mut open = report.findings.iter().filter(|found| !found.repaired);
    report.findings_dropped > 0 || open.any(|found| rows.contains(&found.problem))
}

fn counter(verifier: &mut Verifier<'_>, key: &Key, message: String) {
    verifier.collector.error(Problem::Counter, key, message, RECOUNT);
}

/// Reports segments whose counters are others, and returns them.
async fn compare_segments(
    verifier: &mut Verifier<'_>,
    recount: &Recount,
) -> Result<Vec<SegmentId>> {
    let context = verifier.context;
    let mut wrong = Vec::new();
    let mut pages = Pages::new(context.catalog_keys.class('s'));
    while let Some(rows) = pages.next(context.catalog.as_ref()).await? {
        for found in rows {
            let Some(id) = context.catalog_keys.segment_id(&found.key) else {
                continue;
            };
            let bytes = found.object.map(|object| object.value).unwrap_or_default();
            let Ok(segment) = row::decode::<SegmentRow>(&found.key, &bytes) else {
                continue;
            };
            let (chunks, live) = recount.segments.get(&id).copied().unwrap_or_default();
            if (segment.chunks, segment.live_bytes) != (chunks, live) {
                let message = format!(
                    "the row says {} chunks and {} live bytes; there are {chunks} and {live}",
                    segment.chunks, segment.live_bytes
                );
                counter(verifier, &found.key, message);
                wrong.push(id);
            }
        }
    }
    Ok(wrong)
}

/// Compares the totals, and leaves in `recount.head` what the head should be. Says whether there
/// are as many entries, versions and parts as the head says: if not, rows may have been lost.
fn compare_head(
    verifier: &mut Verifier<'_>,
    recount: &mut Recount,
    stored: Head,
    key: &Key,
) -> bool {
    let counted = std::mem::take(&mut recount.head);
    let rows = [
        ("entries", stored.entries, counted.entries),
        ("bytes", stored.bytes, counted.bytes),
        ("versions", stored.history_entries, counted.history_entries),
        ("bytes of versions", stored.history_bytes, counted.history_bytes),
        ("bytes of parts", stored.upload_bytes, counted.upload_bytes),
    ];
    let mut rows_agree = true;
    for (what, says, are) in rows.into_iter().filter(|(_, says, are)| says != are) {
        rows_agree = false;
        let message = format!("the head says {says} {what}; there are {are}");
        verifier.collector.error(Problem::Counter, key, message, super::rows::REBUILD);
    }
    let stored_data = [
        ("segments", stored.segments, counted.segments),
        ("bytes of segments", stored.segment_bytes, counted.segment_bytes),
        ("live bytes", stored.live_bytes, counted.live_bytes),
    ];
    for (what, says, are) in stored_data.into_iter().filter(|(_, says, are)| says != are) {
        counter(verifier, key, format!("the head says {says} {what}; there are {are}"));
    }
    if stored.next_epoch <= recount.epoch {
        let epoch = recount.epoch;
        counter(verifier, key, format!("the next epoch is not above {epoch}, which was given out"));
    }
    // It is lowered late, after a snapshot is gone; too high only keeps history longer.
    if stored.snapshot_last < counted.snapshot_last {
        let last = counted.snapshot_last;
        counter(verifier, key, format!("the head does not know that commit {last} is pinned"));
    }
    recount.head = Head {
        sequence: stored.sequence,
        time: stored.time,
        next_epoch: stored.next_epoch.max(recount.epoch + 1),
        snapshot_last: stored.snapshot_last.max(counted.snapshot_last),
        epoch: stored.epoch,
        batch: stored.batch,
        ..counted
    };
    rows_agree
}
