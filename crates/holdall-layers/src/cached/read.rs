//! Reading: from memory, from further off, and from the back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdall_core::{ByteRange, ErrorKind, Key, Object, Result, Revision};

use super::Shared;
use super::counts::count;
use super::flights::Answer;
use super::guard::Ticket;
use super::held::Held;

/// How many values are brought in behind readers' backs at once.
const FILLS_MAX: usize = 4;
/// A read that moves no bytes of a value, and still tells its revision.
const NOTHING: ByteRange = ByteRange { start: 0, end: Some(0) };

/// What a look at the back says of a copy.
enum Compared {
    Current,
    Gone,
    Other,
}

impl Shared {
    /// A copy that is kept further off, and was not kept by another one of other keys' promises.
    async fn further_off(&self, key: &Key, range: ByteRange) -> Option<Held> {
        let found = self.copies.as_ref()?.load(key, range).await;
        let found = found.unwrap_or_else(|error| {
            let counters = &self.counters;
            let is_damage = error.kind() == ErrorKind::Corrupt;
            count(if is_damage { &counters.damaged } else { &counters.failures });
            None
        });
        found.filter(|held| !held.earlier || self.settings.is_written_once(key.as_str()))
    }

    /// Asks the back whether a copy is current.
    async fn look(&self, key: &Key, held: &Held) -> Result<Compared> {
        count(&self.counters.looks);
        Ok(match self.back.get(key, NOTHING).await? {
            None => Compared::Gone,
            Some(now) if now.revision == held.revision && now.size == held.size => {
                Compared::Current
            }
            Some(_) => Compared::Other,
        })
    }

    fn hit(&self, counter: &AtomicU64, object: Result<Object>) -> Result<Option<Object>> {
        let object = object?;
        count(counter);
        self.counters.hit_bytes.fetch_add(object.value.len() as u64, Ordering::Relaxed);
        Ok(Some(object))
    }

    /// The answer from memory, if nobody needs to be asked about it.
    pub(super) fn read_near(&self, key: &Key, range: ByteRange) -> Option<Result<Option<Object>>> {
        let memory = self.memory.as_ref().filter(|_| self.trusts(key))?;
        let object = memory.object(key, range)?;
        Some(self.hit(&self.counters.memory_hits, object))
    }

    pub(super) async fn read(
        self: &Arc<Self>,
        key: &Key,
        range: ByteRange,
    ) -> Result<Option<Object>> {
        range.clip(0)?;
        let trusted = self.trusts(key);
        let counters = &self.counters;
        let near = self.in_memory(key);
        let in_memory = near.is_some();
        let ticket = self.guard.ticket(key);
        let (counter, found) = match near {
            Some(held) => (&counters.memory_hits, Some(held)),
            None => (&counters.kept_hits, self.further_off(key, range).await),
        };
        if let Some(held) = found {
            let is_current = |revision: &Revision| *revision == held.revision;
            let known =
                trusted && (in_memory || self.names.get(key).is_some_and(|r| is_current(&r)));
            let compared = if known { Compared::Current } else { self.look(key, &held).await? };
            match compared {
                Compared::Current => {
                    if !in_memory {
                        self.note(ticket, key, &held);
                    }
                    return self.hit(counter, held.object(range));
                }
                Compared::Gone => {
                    self.forget(key);
                    return Ok(None);
                }
                Compared::Other => {}
            }
        }
        count(&counters.misses);
        if range == ByteRange::ALL {
            self.read_whole(key, trusted).await
        } else {
            self.read_part(ticket, key, range).await
        }
    }

    async fn read_whole(self: &Arc<Self>, key: &Key, trusted: bool) -> Result<Option<Object>> {
        let (answer, led) = self.fill(key).await;
        let found = answer?;
        if !led {
            count(&self.counters.shared);
        }
        if led || trusted {
            return found.map(|held| held.object(ByteRange::ALL)).transpose();
        }
        // The shared read may have begun before this call did, and others may write to the back.
        if let Some(held) = &found
            && let Compared::Current = self.look(key, held).await?
        {
            return held.object(ByteRange::ALL).map(Some);
        }
        self.back.get(key, ByteRange::ALL).await
    }

    async fn read_part(
        self: &Arc<Self>,
        ticket: Ticket,
        key: &Key,
        range: ByteRange,
    ) -> Result<Option<Object>> {
        let Some(found) = self.back.get(key, range).await? else { return Ok(None) };
        if found.value.len() as u64 == found.size {
            let held = Held::whole(key, found.clone())?;
            self.keep(ticket, key, &held).await;
        } else if self.settings.ranges_fill && found.size <= self.settings.value_bytes_max {
            self.fill_behind(key);
        }
        Ok(Some(found))
    }

    /// Reads the whole value, once for all who ask meanwhile, and keeps it. True if this call was
    /// the first of them.
    async fn fill(self: &Arc<Self>, key: &Key) -> (Answer, bool) {
        let ticket = self.guard.ticket(key);
        let (shared, name) = (Arc::clone(self), key.clone());
        let (flight, led) = self.flights.board(key, ticket.version, async move {
            let Some(found) = shared.back.get(&name, ByteRange::ALL).await? else {
                return Ok(None);
            };
            let held = Held::whole(&name, found)?;
            shared.keep(ticket, &name, &held).await;
            Ok(Some(held))
        });
        (flight.await, led)
    }

    /// Brings the whole value in while its reader goes on; or does not, if enough is on its way.
    fn fill_behind(self: &Arc<Self>, key: &Key) {
        if self.fills.fetch_add(1, Ordering::AcqRel) >= FILLS_MAX {
            self.fills.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let (shared, key) = (Arc::clone(self), key.clone());
        self.env.spawn(async move {
            // Whoever needs the value hears of the error when he asks for it.
            drop(shared.fill(&key).await);
            shared.fills.fetch_sub(1, Ordering::AcqRel);
        });
    }

    /// The answers from memory, if they are all there, and are of one moment where that is
    /// promised; otherwise what the back says.
    pub(super) async fn read_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        let tickets: Vec<Ticket> = keys.iter().map(|key| self.guard.ticket(key)).collect();
        let trusted = |key: &&Key| self.trusts(key);
        let near: Vec<Option<Held>> = keys
            .iter()
            .map(|key| Some(key).filter(trusted).and_then(|k| self.in_memory(k)))
            .collect();
        let all_near = near.iter().all(Option::is_some);
        let whole = !self.back.profile().atomic
            || (all_near && tickets.iter().all(|ticket| self.guard.is_current(*ticket)));
        let wanted: Vec<usize> =
            (0..keys.len()).filter(|at| !whole || near[*at].is_none()).collect();
        let mut answers = vec![None; keys.len()];
        if !wanted.is_empty() {
            let asked: Vec<Key> = wanted.iter().map(|at| keys[*at].clone()).collect();
            for (at, found) in wanted.iter().zip(self.back.get_many(&asked).await?) {
                count(&self.counters.misses);
                if let Some(found) = &found {
                    let held = Held::whole(&keys[*at], found.clone())?;
                    self.keep(tickets[*at], &keys[*at], &held).await;
                }
                answers[*at] = found;
            }
        }
        for (at, held) in near.into_iter().enumerate().filter(|_| whole) {
            if let Some(held) = held {
                answers[at] = self.hit(&self.counters.memory_hits, held.object(ByteRange::ALL))?;
            }
        }
        Ok(answers)
    }
}
