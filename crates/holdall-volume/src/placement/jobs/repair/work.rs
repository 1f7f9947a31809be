//! What one segment needs, and doing it.

use bytes::Bytes;
use holdall_core::{ByteRange, ErrorKind, Key, Result};

use crate::commit::{Maintain, NewCopies};
use crate::format::policy::PlaceState;
use crate::format::segment::{Replica, ReplicaState, SegmentId, SegmentRow, SegmentState};
use crate::placement::decide::{Choice, Rule, choose};
use crate::placement::jobs::check_segment;
use crate::placement::member::Member;
use crate::placement::spread::Spread;
use crate::placement::table::Table;

/// A segment whose copies are not as they should be.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub id: SegmentId,
    pub bytes: usize,
    /// Where its copies should be.
    pub choice: Choice,
    /// Where one is to be made.
    pub add: Vec<u16>,
    /// Which its row should no longer name once those are there.
    pub leave: Vec<u16>,
    /// Its copies as the row has them.
    pub before: Vec<Replica>,
}

impl Job {
    /// What a segment needs; nothing if all is well, or it is about to be deleted.
    pub(super) fn of(
        id: SegmentId,
        row: &SegmentRow,
        table: &Table,
        rebalance: bool,
    ) -> Option<Self> {
        if row.state != SegmentState::Live {
            return None;
        }
        let tier = table.tier(row.tier);
        let whole = |replica: &&Replica| {
            let state = table.seat(replica.backend).map(|seat| seat.row.state);
            replica.state == ReplicaState::Healthy
                && state.is_some_and(|state| state != PlaceState::Lost)
        };
        let healthy: Vec<u16> =
            row.replicas.iter().filter(whole).map(|replica| replica.backend).collect();
        let rule = Rule::new(tier, None);
        // A copy that is there counts also while its place does not answer: it may come back.
        let mut candidates = table.candidates(tier, true, &[]);
        for number in &healthy {
            let known = candidates.iter().any(|known| known.number == *number);
            if let Some(seat) = table.seat(*number)
                && seat.row.state == PlaceState::Active
                && (tier.places.is_empty() || tier.places.contains(&seat.row.name))
                && !known
            {
                let (zone, weight) = (seat.row.zone.as_str(), seat.row.weight);
                candidates.push(crate::placement::decide::Candidate {
                    number: *number,
                    zone,
                    weight,
                });
            }
        }
        let kept: &[u16] = if rebalance { &[] } else { &healthy };
        let choice = choose(id, &candidates, kept, rule);
        let missing = choice.places.iter().filter(|number| !healthy.contains(number));
        let add: Vec<u16> = missing.copied().collect();
        let named = row.replicas.iter().map(|replica| replica.backend);
        let leave: Vec<u16> = named.filter(|number| !choice.places.contains(number)).collect();
        // With too few places, a copy that should not be where it is stays all the same.
        let leave = if choice.is_whole() { leave } else { Vec::new() };
        if add.is_empty() && leave.is_empty() && choice.is_whole() {
            return None;
        }
        let bytes = row.bytes as usize;
        Some(Self { id, bytes, choice, add, leave, before: row.replicas.clone() })
    }
}

/// What was done for a segment.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub copies: u64,
    pub bytes: u64,
    pub left_over: u64,
    /// Whether a copy could not be written.
    pub short: bool,
    /// Why it cannot be repaired, if not.
    pub unreadable: Option<String>,
    /// What makes it so.
    pub steps: Vec<Maintain>,
}

/// Makes the copies that are missing, and checks them.
pub(super) async fn run(spread: &Spread, table: &Table, job: Job) -> Made {
    let key = spread.data_keys.segment(job.id);
    let mut made = Made::default();
    let mut added = Vec::new();
    if !job.add.is_empty() {
        let bytes = match read_whole(spread, table, &job, &mut made).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                made.unreadable = Some(format!("{}: no whole copy can be read", job.id));
                return made;
            }
            Err(error) => {
                made.unreadable = Some(format!("{}: {error}", job.id));
                return made;
            }
        };
        for place in &job.add {
            let Some(member) = table.seat(*place).and_then(|seat| seat.member.as_ref()) else {
                continue;
            };
            match write_checked(member, &key, &bytes).await {
                Ok(()) => {
                    made.copies += 1;
                    made.bytes += bytes.len() as u64;
                    added.push(*place);
                }
                // The next repair tries it again, perhaps elsewhere.
                Err(_) => made.short = true,
            }
        }
    }
    // Nothing is left before all that should be there is.
    let leave = if made.short { Vec::new() } else { job.leave };
    if !added.is_empty() || !leave.is_empty() {
        made.left_over = leave.len() as u64;
        spread.located.forget(job.id);
        let (before, at) = (job.before, spread.env.now());
        let copies = NewCopies { id: job.id, before, added, leave, at };
        made.steps.push(Maintain::SwitchCopies(Box::new(copies)));
    }
    made
}

/// The bytes of a segment from the first copy that is whole. Copies that are not are noted.
async fn read_whole(
    spread: &Spread,
    table: &Table,
    job: &Job,
    made: &mut Made,
) -> Result<Option<Bytes>> {
    let key = spread.data_keys.segment(job.id);
    let mut sources: Vec<(bool, u16)> = table
        .readable()
        .into_iter()
        .map(|seat| {
            let named = |replica: &Replica| {
                replica.backend == seat.row.number && replica.state == ReplicaState::Healthy
            };
            (!job.before.iter().any(named), seat.row.number)
        })
        .collect();
    sources.sort_by_key(|(unnamed, _)| *unnamed);
    let mut failed = None;
    for (unnamed, place) in sources {
        let Some(member) = table.seat(place).and_then(|seat| seat.member.as_ref()) else {
            continue;
        };
        let damaged = match member.get(&key, ByteRange::ALL).await {
            Ok(Some(object)) => {
                if check_segment(spread.data_keys.volume_id(), job.id, &object.value).is_ok() {
                    return Ok(Some(object.value));
                }
                true
            }
            Ok(None) => true,
            Err(error) if error.kind() == ErrorKind::Corrupt => true,
            Err(error) => {
                failed = Some(error);
                false
            }
        };
        if damaged && !unnamed {
            let (id, state) = (job.id, ReplicaState::Damaged);
            made.steps.push(Maintain::CopyState { id, place, state, verified: None });
        }
    }
    failed.map_or(Ok(None), Err)
}

/// Writes a copy over whatever is there, and reads it back.
///
/// # Errors
/// The backend's; `Corrupt` if it does not come back as it was written.
pub(super) async fn write_checked(member: &Member, key: &Key, bytes: &Bytes) -> Result<()> {
    match member.create(key, bytes.clone()).await {
        Ok(()) => {}
        // No row names what is there as whole, and what is about to be written was checked. It is
        // never deleted first: perhaps it is what was read.
        Err(error) if error.kind() == ErrorKind::Conflict => {
            member.replace(key, bytes.clone()).await?;
        }
        Err(error) => return Err(error),
    }
    match member.get(key, ByteRange::ALL).await? {
        Some(found) if found.value == *bytes => Ok(()),
        _ => Err(crate::placement::spread::get::nowhere(key)),
    }
}
