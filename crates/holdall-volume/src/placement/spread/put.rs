//! Writing copies: all at once, done as soon as enough of them are durable.
//!
//! Each copy is written by a task of its own, which goes on when the write counts as done, or as
//! failed. What a failed write leaves behind is named by nothing, and the sweep finds it.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use holdall_core::{Error, ErrorKind, Expect, Key, Operation, Result, Revision};

use crate::format::policy::Acknowledge;
use crate::format::segment::{ReplicaState, SegmentId};
use crate::placement::decide::{Choice, Rule, choose, suffices};
use crate::placement::member::Member;
use crate::placement::spread::Spread;
use crate::placement::spread::copies::Copies;
use crate::placement::table::Table;

/// What became of one copy.
type Outcome = (u16, Result<()>);

/// How a copy is written.
#[derive(Clone, Copy)]
enum How {
    Create,
    Replace,
}

/// A write that is under way to several places.
struct Writing<'a> {
    table: &'a Table,
    needed: usize,
    min_zones: usize,
    /// The places where a copy is under way, and those where it is durable.
    running: Vec<u16>,
    durable: Vec<u16>,
    failures: Vec<(u16, Error)>,
}

impl<'a> Writing<'a> {
    fn new(table: &'a Table) -> Self {
        let (needed, min_zones) = table.needed();
        let (running, durable, failures) = (Vec::new(), Vec::new(), Vec::new());
        Self { table, needed, min_zones, running, durable, failures }
    }

    fn note(&mut self, (place, result): Outcome) {
        self.running.retain(|number| *number != place);
        match result {
            Ok(()) => self.durable.push(place),
            Err(error) => self.failures.push((place, error)),
        }
    }

    fn is_done(&self) -> bool {
        self.suffice(self.durable.iter())
    }

    /// Whether it can still come to be done.
    fn can_be_done(&self) -> bool {
        self.suffice(self.durable.iter().chain(&self.running))
    }

    fn suffice<'b>(&self, places: impl Iterator<Item = &'b u16>) -> bool {
        let zones: Vec<&str> = places.map(|number| self.table.zone(*number)).collect();
        suffices(&zones, self.needed, self.min_zones)
    }

    /// Why the write has failed: which places did what.
    fn error(self, key: &Key, lacking: &str) -> Error {
        let name = |number: u16| {
            self.table.seat(number).map_or_else(String::new, |seat| seat.row.name.clone())
        };
        let reason =
            |(number, error): &(u16, Error)| format!("{}: {}", name(*number), error.message());
        let mut reasons: Vec<String> = self.failures.iter().map(reason).collect();
        reasons.push(lacking.to_owned());
        let (durable, needed) = (self.durable.len(), self.needed);
        let message = format!(
            "only {durable} of the {needed} copies that a write needs could be written ({}); \
             try again, bring places back, or add some",
            reasons.join("; ")
        );
        let all = |kind| self.failures.iter().all(|(_, error)| error.kind() == kind);
        let kind = match self.failures.is_empty() {
            false if all(ErrorKind::Full) => ErrorKind::Full,
            _ => ErrorKind::Unavailable,
        };
        let error = Error::new(kind, Operation::Put, message).with_key(key);
        match self.failures.into_iter().next() {
            Some((_, cause)) => error.with_source(cause),
            None => error,
        }
    }
}

impl Spread {
    /// Writes the copies of a new segment. Returns once as many are durable as the policy asks of
    /// a write; the others go on, and what becomes of them is noted.
    ///
    /// # Errors
    /// `Unavailable`, or `Full`, if there are not enough places that take it; `Closed` if another
    /// has its name. Nothing names the segment then.
    pub(crate) async fn put_segment(
        self: &Arc<Self>,
        id: SegmentId,
        bytes: Bytes,
    ) -> Result<Copies> {
        let (table, key) = (self.table(), self.data_keys.segment(id));
        let mut writing = Writing::new(&table);
        let copies = Copies::under_way();
        let (sender, mut outcomes) = mpsc::unbounded();
        let mut choice = self.more(&table, &writing, id);
        loop {
            for place in choice.places.iter().copied() {
                let known = writing.running.contains(&place) || writing.durable.contains(&place);
                let Some(member) = table.seat(place).and_then(|seat| seat.member.as_ref()) else {
                    continue;
                };
                if !known {
                    writing.running.push(place);
                    copies.note(place, false);
                    self.begin_copy(member, (id, place), &key, &bytes, &copies, &sender);
                }
            }
            if writing.is_done() {
                break;
            }
            if !writing.can_be_done() {
                let excuses = table.excuses(table.tier(0), false);
                return Err(taken(&writing, &key)
                    .unwrap_or_else(|| writing.error(&key, &format!("{choice}: {excuses}"))));
            }
            // The sender is kept here, so that there is always one more to come.
            let Some(outcome) = outcomes.next().await else { break };
            writing.note(outcome);
            choice = self.more(&table, &writing, id);
        }
        self.located.insert(id, copies.replicas());
        Ok(copies)
    }

    /// Where copies should be, given those that are on their way.
    fn more(&self, table: &Table, writing: &Writing<'_>, id: SegmentId) -> Choice {
        let tier = table.tier(0);
        let failed: Vec<u16> = writing.failures.iter().map(|(number, _)| *number).collect();
        let patient = tier.ack == Acknowledge::All;
        let begun: Vec<u16> = writing.durable.iter().chain(&writing.running).copied().collect();
        let mut candidates = table.candidates(tier, patient, &failed);
        // A place that has begun to lag meanwhile still counts for what it has taken on.
        for number in &begun {
            if let Some(seat) = table.seat(*number)
                && !candidates.iter().any(|known| known.number == *number)
            {
                let (zone, weight) = (seat.row.zone.as_str(), seat.row.weight);
                candidates.push(crate::placement::decide::Candidate {
                    number: *number,
                    zone,
                    weight,
                });
            }
        }
        choose(id, &candidates, &begun, Rule::new(tier, table.own_zone()))
    }

    fn begin_copy(
        self: &Arc<Self>,
        member: &Member,
        copy: (SegmentId, u16),
        key: &Key,
        bytes: &Bytes,
        copies: &Copies,
        outcomes: &mpsc::UnboundedSender<Outcome>,
    ) {
        let (spread, member, key) = (Arc::clone(self), member.clone(), key.clone());
        let (bytes, copies, outcomes) = (bytes.clone(), copies.clone(), outcomes.clone());
        let length = bytes.len() as u64;
        member.vitals().begin_write(length);
        self.env.spawn(async move {
            let result = member.create(&key, bytes).await;
            member.vitals().end_write(length);
            match &result {
                Ok(()) => copies.note(copy.1, true),
                Err(_) => copies.forget(copy.1),
            }
            if let Err(unheard) = outcomes.unbounded_send((copy.1, result)) {
                // The write counts as done, or as failed, without this copy.
                let durable = unheard.into_inner().1.is_ok();
                let state = if durable { ReplicaState::Healthy } else { ReplicaState::Damaged };
                spread.located.forget(copy.0);
                spread.reports.add(copy, state);
            }
        });
    }

    /// Writes an object that is not a segment to every place, until enough have it.
    pub(super) async fn put_object(
        &self,
        key: &Key,
        value: Bytes,
        expect: Expect,
    ) -> Result<Revision> {
        let how = match expect {
            Expect::Any => How::Replace,
            Expect::Absent => How::Create,
            Expect::Revision(_) => {
                let message = "places have no revision in common; write whatever is there";
                return Err(Error::unsupported(Operation::Put, message).with_key(key));
            }
        };
        let table = self.table();
        let mut writing = Writing::new(&table);
        let (sender, mut outcomes) = mpsc::unbounded();
        for seat in table.active() {
            let number = seat.row.number;
            match seat.member() {
                Ok(member) if member.is_up() => {
                    writing.running.push(number);
                    let (member, key) = (member.clone(), key.clone());
                    let (value, sender) = (value.clone(), sender.clone());
                    let length = value.len() as u64;
                    member.vitals().begin_write(length);
                    self.env.spawn(async move {
                        let result = match how {
                            How::Create => member.create(&key, value).await,
                            How::Replace => member.replace(&key, value).await,
                        };
                        member.vitals().end_write(length);
                        // A write that counts as done needs no more answers.
                        let _ = sender.unbounded_send((number, result));
                    });
                }
                Ok(_) => {
                    let message = "does not answer";
                    writing.note((number, Err(Error::unavailable(Operation::Put, message))));
                }
                Err(error) => writing.note((number, Err(error))),
            }
        }
        drop(sender);
        while !writing.is_done() {
            let Some(outcome) = outcomes.next().await else { break };
            writing.note(outcome);
        }
        if writing.is_done() {
            return Ok(Revision::number(u64::from_le_bytes(self.env.random())));
        }
        let conflict = |(_, error): &(u16, Error)| error.kind() == ErrorKind::Conflict;
        let conflicts = writing.failures.iter().any(conflict);
        // Otherwise some may have it, and those that do not answer too.
        let kind = if conflicts { ErrorKind::Conflict } else { ErrorKind::Unknown };
        Err(writing.error(key, "every place was asked").with_kind(kind))
    }
}

/// Says that a segment's name is taken, if that is why it could not be written.
fn taken(writing: &Writing<'_>, key: &Key) -> Option<Error> {
    let conflict = |(_, error): &&(u16, Error)| error.kind() == ErrorKind::Conflict;
    let (_, cause) = writing.failures.iter().find(conflict)?;
    let message = "a segment's name is taken, so another writer has this epoch; open again";
    Some(Error::closed(Operation::Put, message).with_key(key).with_source(cause.clone()))
}
