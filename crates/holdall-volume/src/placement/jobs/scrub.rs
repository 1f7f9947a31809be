//! Scrubbing: every copy is read and checked within a period, also those that nobody reads.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use holdall_core::{Backend as _, ByteRange, ErrorKind, Key, Result, Throttle};
use serde::Serialize;

use crate::commit::{Maintain, Request, Write};
use crate::format::policy::PlaceState;
use crate::format::row;
use crate::format::segment::{Replica, ReplicaState, SegmentId, SegmentRow, SegmentState};
use crate::gc::pages::Pages;
use crate::placement::jobs::check_segment;
use crate::placement::member::Member;
use crate::placement::spread::Spread;
use crate::placement::spread::get::is_whole;
use crate::volume::{Shared, Volume};

/// How many copies are read at once.
const AT_ONCE: usize = 4;

/// Told what a scrub has found so far.
pub type ScrubProgressFn = dyn Fn(&ScrubReport) + Send + Sync;

/// What a scrub is told to do.
#[derive(Clone)]
pub struct ScrubOptions {
    /// Copies that were checked within this time are left alone; 30 days by default.
    pub period: Duration,
    /// Takes the bytes that are read; none is no limit.
    pub throttle: Option<Throttle>,
    /// Called now and then.
    pub progress: Option<Arc<ScrubProgressFn>>,
    /// Set from elsewhere to stop; the report then says what was done so far.
    pub cancel: Arc<AtomicBool>,
}

impl Default for ScrubOptions {
    fn default() -> Self {
        let period = Duration::from_secs(30 * 24 * 3600);
        Self { period, throttle: None, progress: None, cancel: Arc::default() }
    }
}

impl fmt::Debug for ScrubOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ScrubOptions");
        debug.field("period", &self.period);
        debug.field("throttle", &self.throttle).finish_non_exhaustive()
    }
}

/// What a scrub has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ScrubReport {
    /// Whether it went through to its end: false if it was cancelled.
    pub complete: bool,
    /// Copies that were read and are whole.
    pub copies_whole: u64,
    /// Copies that are missing or damaged; a repair makes them anew.
    pub copies_damaged: u64,
    /// Copies whose place does not answer.
    pub copies_unreachable: u64,
    /// Copies that were checked within the period.
    pub copies_recent: u64,
    /// Objects of the log and checkpoints that were damaged, and written anew from a whole copy.
    pub log_objects_damaged: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
}

impl Volume {
    /// Reads every copy of every segment that was not checked within the period, and notes in its
    /// row what was found.
    ///
    /// # Errors
    /// Those of the catalog; `Closed` if the volume was closed. It may be repeated, and goes on
    /// where it was.
    pub async fn scrub(&self, options: ScrubOptions) -> Result<ScrubReport> {
        self.shared.check_nothing_lost().await?;
        let mut taken = 0;
        let spread = Arc::clone(&self.shared.spread);
        let mut report = ScrubReport::default();
        let mut pages = Pages::rows(spread.keys.class('s'));
        while let Some(rows) = pages.next(spread.catalog.as_ref()).await? {
            let mut copies = Vec::new();
            for listed in &rows {
                let Some(id) = spread.keys.segment_id(&listed.key) else { continue };
                let Some(object) = &listed.object else { continue };
                let row: SegmentRow = row::decode(&listed.key, &object.value)?;
                due(&spread, id, &row, &options, (&mut copies, &mut report));
            }
            for some in copies.chunks(AT_ONCE) {
                check_some(&self.shared, &spread, some, &mut report).await?;
                if let Some(progress) = &options.progress {
                    progress(&report);
                }
                if let Some(throttle) = &options.throttle {
                    throttle.take(report.bytes_read - taken).await;
                }
                taken = report.bytes_read;
                if options.cancel.load(Ordering::Relaxed) {
                    return Ok(report);
                }
            }
        }
        report.complete = check_log(&spread, &options, &mut report).await?;
        Ok(report)
    }
}

/// Reads every copy of the log and the checkpoints, and writes those anew that are damaged: no row
/// says of them what there is to repair. Whether it came to its end.
async fn check_log(
    spread: &Spread,
    options: &ScrubOptions,
    report: &mut ScrubReport,
) -> Result<bool> {
    let table = spread.table();
    if !spread.is_many() {
        return Ok(true);
    }
    for member in table.active().filter_map(|seat| seat.member.as_ref()) {
        for prefix in [spread.data_keys.logs(), spread.data_keys.checkpoints()] {
            let Ok(keys) = member.list_all(&prefix).await else { continue };
            for key in keys.into_keys() {
                check_object(spread, member, &key, report).await?;
                if options.cancel.load(Ordering::Relaxed) {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

async fn check_object(
    spread: &Spread,
    member: &Member,
    key: &Key,
    report: &mut ScrubReport,
) -> Result<()> {
    let damaged = match member.get(key, ByteRange::ALL).await {
        Ok(Some(object)) => {
            report.bytes_read += object.size;
            !is_whole(&object.value)
        }
        // It may have gone since it was listed: old log does.
        Ok(None) => false,
        Err(error) => error.kind() == ErrorKind::Corrupt,
    };
    if !damaged {
        return Ok(());
    }
    report.log_objects_damaged += 1;
    let whole = spread.get(key, ByteRange::ALL).await?;
    if let Some(whole) = whole.filter(|whole| is_whole(&whole.value)) {
        // What cannot be written now is found again.
        let _ = member.replace(key, whole.value).await;
    }
    Ok(())
}

/// The copies of a segment that are to be read.
fn due(
    spread: &Spread,
    id: SegmentId,
    row: &SegmentRow,
    options: &ScrubOptions,
    (copies, report): (&mut Vec<(SegmentId, u16)>, &mut ScrubReport),
) {
    if row.state != SegmentState::Live {
        return;
    }
    let (table, now) = (spread.table(), spread.env.now());
    for Replica { backend, verified, .. } in &row.replicas {
        let lost = table.seat(*backend).is_none_or(|seat| seat.row.state == PlaceState::Lost);
        if verified.is_some_and(|verified| now.since(verified) < options.period) {
            report.copies_recent += 1;
        } else if !lost {
            copies.push((id, *backend));
        }
    }
}

async fn check_some(
    shared: &Arc<Shared>,
    spread: &Spread,
    copies: &[(SegmentId, u16)],
    report: &mut ScrubReport,
) -> Result<()> {
    let checked = join_all(copies.iter().map(|copy| check(spread, *copy))).await;
    let mut writes = Vec::new();
    for ((id, place), found) in copies.iter().copied().zip(checked) {
        let state = match found {
            Ok(Some(bytes)) => {
                report.copies_whole += 1;
                report.bytes_read += bytes;
                ReplicaState::Healthy
            }
            Ok(None) => {
                report.copies_damaged += 1;
                ReplicaState::Damaged
            }
            Err(error) if error.kind() == ErrorKind::Closed => return Err(error),
            Err(_) => {
                report.copies_unreachable += 1;
                continue;
            }
        };
        let verified = Some(spread.env.now());
        writes.push(Write::Maintain(Maintain::CopyState { id, place, state, verified }));
        spread.located.forget(id);
    }
    if writes.is_empty() {
        return Ok(());
    }
    shared.commit(Request { writes, ..Request::default() }).await.map(drop)
}

/// Reads one copy: how long it is, or nothing if it is missing or damaged.
async fn check(spread: &Spread, (id, place): (SegmentId, u16)) -> Result<Option<u64>> {
    let (table, key) = (spread.table(), spread.data_keys.segment(id));
    let Some(seat) = table.seat(place) else { return Ok(None) };
    match seat.member()?.get(&key, ByteRange::ALL).await {
        Ok(Some(object)) => {
            let whole = check_segment(spread.data_keys.volume_id(), id, &object.value).is_ok();
            Ok(whole.then_some(object.size))
        }
        Ok(None) => Ok(None),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
        Err(error) => Err(error),
    }
}
