//! Reading a copy: the nearest first, another if it is slow, past those that are missing or
//! damaged. As long as there is one good copy that can be reached, there is an answer.

use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use holdall_core::{ByteRange, Error, ErrorKind, Key, Object, Operation, Result};

use crate::format::frame;
use crate::format::segment::{ReplicaState, SegmentId};
use crate::placement::spread::{Failed, Spread};
use crate::placement::table::{Seat, Table};

/// After how many times its usual time a read counts as slow.
const SLOW: u32 = 3;

/// The least time that a read is given before another is begun, and the most.
const PATIENCE_MIN: Duration = Duration::from_millis(10);
const PATIENCE_MAX: Duration = Duration::from_secs(2);

/// What reads that gave nothing have shown.
#[derive(Default)]
struct Outcome {
    /// Copies that the row names and that cannot be reached.
    named: Failed,
    /// Other places that cannot be reached.
    others: Failed,
    damage: Option<Error>,
}

/// Where a copy may be.
struct Attempt<'a> {
    seat: &'a Seat,
    /// Whether the segment's row names this copy as whole, or at all.
    named: Option<ReplicaState>,
}

impl Spread {
    /// Reads a part of a segment, but not from these places. Also says from which it was read.
    ///
    /// # Errors
    /// `Unavailable` if those that cannot be reached may have it; `Corrupt` if a backend noticed
    /// damage in the only copy.
    pub(crate) async fn get_segment(
        &self,
        id: SegmentId,
        range: ByteRange,
        without: &[u16],
    ) -> Result<Option<(Object, u16)>> {
        let table = self.table();
        let key = self.data_keys.segment(id);
        let attempts = self.attempts(&table, id, without).await?;
        let mut waiting = attempts.iter();
        let mut running = FuturesUnordered::new();
        let mut outcome = Outcome::default();
        loop {
            // Where the row names no copy, one place is asked after the other.
            let hurry = waiting.as_slice().first().is_some_and(|next| next.named.is_some());
            if (running.is_empty() || hurry)
                && let Some(next) = waiting.next()
            {
                let patience = patience(next.seat);
                running.push(read(next, &key, range).boxed());
                if let Some(done) = self.first(&mut running, patience).await
                    && let Some(found) = self.take(id, done, &mut outcome)
                {
                    return Ok(Some(found));
                }
                continue;
            }
            let Some(done) = running.next().await else { break };
            if let Some(found) = self.take(id, done, &mut outcome) {
                return Ok(Some(found));
            }
        }
        outcome.named.judge_hard()?;
        outcome.others.judge(&table)?;
        outcome.damage.map_or(Ok(None), Err)
    }

    /// Waits for one of the reads, but not for long.
    async fn first<T>(
        &self,
        running: &mut FuturesUnordered<impl Future<Output = T> + Unpin>,
        patience: Duration,
    ) -> Option<T> {
        match select(running.next(), self.env.sleep(patience)).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => None,
        }
    }

    /// What came of a read: the object, or nothing, which is noted.
    fn take(
        &self,
        id: SegmentId,
        (number, named, found): (u16, Option<ReplicaState>, Result<Option<Object>>),
        outcome: &mut Outcome,
    ) -> Option<(Object, u16)> {
        match found {
            Ok(Some(object)) => return Some((object, number)),
            Ok(None) if named == Some(ReplicaState::Healthy) => self.damaged(id, number),
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.damaged(id, number);
                outcome.damage = Some(error);
            }
            Err(error) if named.is_some() => outcome.named.note(error),
            Err(error) => outcome.others.note(error),
        }
        None
    }

    /// Notes that a copy is missing or damaged, so that a repair comes.
    pub(crate) fn damaged(&self, id: SegmentId, place: u16) {
        self.located.forget(id);
        self.reports.add((id, place), ReplicaState::Damaged);
    }

    /// Where to look for a segment, in which order: the copies that its row names, the whole ones
    /// first; then everywhere else, because a row may be older than a move.
    async fn attempts<'a>(
        &self,
        table: &'a Table,
        id: SegmentId,
        without: &[u16],
    ) -> Result<Vec<Attempt<'a>>> {
        let replicas = self.replicas(id).await?;
        let seats = table.readable().into_iter();
        let mut attempts: Vec<Attempt<'a>> = seats
            .filter(|seat| !without.contains(&seat.row.number))
            .map(|seat| {
                let named = replicas.iter().find(|replica| replica.backend == seat.row.number);
                Attempt { seat, named: named.map(|replica| replica.state) }
            })
            .collect();
        // Stable, so that nearer ones stay before others of their kind.
        attempts.sort_by_key(|attempt| match (attempt.named, attempt.seat.is_up()) {
            (Some(ReplicaState::Healthy), true) => 0,
            (Some(ReplicaState::Damaged), true) => 1,
            (Some(_), false) => 2,
            (None, true) => 3,
            (None, false) => 4,
        });
        Ok(attempts)
    }

    /// Reads an object that is not a segment: from the first place that has it whole.
    pub(super) async fn get_object(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        let table = self.table();
        let (mut failed, mut damaged) = (Failed::default(), None);
        for seat in table.readable() {
            let found = match seat.member() {
                Ok(member) => member.get(key, range).await,
                Err(error) => Err(error),
            };
            match found {
                // Whoever reads the object decides what is wrong with it.
                Ok(Some(object)) if range == ByteRange::ALL && !is_whole(&object.value) => {
                    damaged.get_or_insert(Ok(Some(object)));
                }
                Ok(Some(object)) => return Ok(Some(object)),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    damaged.get_or_insert(Err(error));
                }
                Err(error) => failed.note(error),
            }
        }
        match damaged {
            Some(damaged) => failed.judge_hard().and(damaged),
            None => failed.judge(&table).map(|()| None),
        }
    }
}

/// Whether an object that is one frame is as it was written.
pub(crate) fn is_whole(bytes: &Bytes) -> bool {
    frame::check_whole(bytes).is_ok()
}

async fn read(
    attempt: &Attempt<'_>,
    key: &Key,
    range: ByteRange,
) -> (u16, Option<ReplicaState>, Result<Option<Object>>) {
    let found = match attempt.seat.member() {
        Ok(member) => member.get(key, range).await,
        Err(error) => Err(error),
    };
    (attempt.seat.row.number, attempt.named, found)
}

/// How long to wait for a place before another is asked too.
fn patience(seat: &Seat) -> Duration {
    let latency = seat.member.as_ref().and_then(|member| member.vitals().latency());
    let usual = latency.map_or(PATIENCE_MIN * 10, |latency| latency * SLOW + PATIENCE_MIN);
    usual.min(PATIENCE_MAX)
}

/// Says that no copy of a segment was found.
pub(crate) fn nowhere(key: &Key) -> Error {
    let message = "no copy of a segment can be read; bring the places back that have one";
    Error::corrupt(Operation::Maintain, message).with_key(key)
}
