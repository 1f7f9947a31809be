//! Batches that are too large for one transaction of the store, carried by marks.
//!
//! ```text
//!   1  the batch's outcome is written: open
//!   2  every row gets a mark with what is wanted of it, if it is as expected and has no other
//!   3  the outcome becomes: happened      this one write, with the counters of deletes, decides
//!   4  every row becomes what was wanted, and its mark goes
//!   5  the outcome is removed
//! ```
//!
//! A reader that meets a mark reads the outcome: before step 3 it sees all rows as they were, after
//! it all as wanted. A writer that meets a mark waits for a while, and then cancels the batch by
//! making its outcome so, which step 3 then finds; or it clears the mark of a batch that is
//! decided.
//! So a program may end at any point, and nobody has to look after it. No clock decides anything:
//! whoever waits too short a time only makes others begin again. Of two batches in each other's way
//! the one with the smaller name goes on, so that one of them does.

use std::ops::Range;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use holdall_core::{ErrorKind, Expect, Key};

use crate::call::{Condition, Store, together};
use crate::error::{Failure, Fault};
use crate::names::{Nonce, outcome};
use crate::read::{ITEMS_MAX, Outcome};
use crate::row::{Body, Change, Item, Row, binary, count};
use crate::write::{ROUNDS_MAX, Step, TRANSACTION_BYTES_MAX, Wish, condition, rows};

/// How many transactions of one batch are under way at once.
const AT_ONCE: usize = 4;
const PAUSE_MS: u64 = 20;

const PUT_INLINE: &str = "SET r = t, n = tn, v = tv REMOVE t, tn, tv, w";
const PUT_PARTS: &str = "SET r = t, n = tn, w = tw REMOVE t, tn, tw, v";
const UNMARK: &str = "REMOVE t, tn, tv, tw, td";

impl Store {
    /// Lets the steps happen, all or nothing.
    pub(crate) async fn carry(&self, steps: &[Step]) -> Result<Nonce, Failure> {
        for _ in 0..ROUNDS_MAX {
            let batch = self.nonce();
            let mut record = self.outcome_key(&batch);
            record.insert("s".to_owned(), count(Outcome::Open.number()));
            self.put_own(record).await?;
            let happened = match self.mark_all(&batch, steps).await {
                Ok(true) => self.decide(&batch, steps).await,
                beaten => beaten,
            };
            match happened {
                Ok(true) => {
                    self.finish(&batch, steps, true).await;
                    return Ok(batch);
                }
                Err(failure) if failure.kind == ErrorKind::Unknown => return Err(failure),
                Ok(false) | Err(_) => {
                    // Before marks are cleared all must know that it will not happen.
                    if self.cancel(&batch).await.is_ok() {
                        self.finish(&batch, steps, false).await;
                    }
                    happened?;
                }
            }
            self.pause().await;
        }
        Err(Fault::Conditions(Vec::new()).failure())
    }

    /// Marks every row. `false` if another batch has cancelled this one.
    async fn mark_all(&self, batch: &Nonce, steps: &[Step]) -> Result<bool, Failure> {
        let portions = portions(steps).into_iter();
        let marks: Vec<BoxFuture<'_, _>> =
            portions.map(|portion| self.mark(batch, steps, portion).boxed()).collect();
        let marked: Vec<_> = stream::iter(marks).buffered(AT_ONCE).collect().await;
        let (mut all, mut conflict) = (true, None);
        for marked in marked {
            match marked {
                Ok(marked) => all &= marked,
                Err(failure) if failure.kind == ErrorKind::Conflict => {
                    // The first in the order of the batch is the one to name.
                    conflict.get_or_insert(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        match conflict {
            Some(conflict) if all => Err(conflict),
            _ => Ok(all),
        }
    }

    /// Marks the rows of one transaction.
    async fn mark(
        &self,
        batch: &Nonce,
        steps: &[Step],
        portion: Range<usize>,
    ) -> Result<bool, Failure> {
        let mut todo = vec![portion];
        let mut rounds = 0;
        while let Some(portion) = todo.pop() {
            let steps = steps.get(portion.clone()).unwrap_or_default();
            let marks = steps.iter().map(|step| self.mark_step(batch, step));
            let marks = marks.collect::<Result<Vec<_>, _>>().map_err(Fault::failure)?;
            match self.transact(marks).await {
                Ok(()) => {}
                Err(Fault::TooLarge(_)) if portion.len() > 1 => {
                    let middle = portion.start + portion.len() / 2;
                    todo.extend([middle..portion.end, portion.start..middle]);
                }
                Err(Fault::Conditions(failed)) if rounds < ROUNDS_MAX => {
                    rounds += 1;
                    let rows = rows(failed)?;
                    if !self.meet(steps, rows, &mut vec![None; steps.len()], Some(batch)).await? {
                        return Ok(false);
                    }
                    todo.push(portion);
                }
                // A mark that may have been set is of a batch that does not happen.
                Err(fault) => return Err(fault.failure()),
            }
        }
        Ok(true)
    }

    fn mark_step(
        &self,
        batch: &Nonce,
        step: &Step,
    ) -> Result<aws_sdk_dynamodb::types::TransactWriteItem, Fault> {
        let mut condition = condition(&step.expect);
        let mut set = |name: &str, value| drop(condition.values.insert(name.to_owned(), value));
        set(":t", binary(*batch));
        let expression = match &step.wish {
            Wish::Put { size, body } => {
                set(":n", count(*size));
                match body {
                    Body::Parts(name) => {
                        set(":v", binary(*name));
                        "SET t = :t, tn = :n, tw = :v"
                    }
                    Body::Inline(bytes) => {
                        set(":v", binary(&bytes[..]));
                        "SET t = :t, tn = :n, tv = :v"
                    }
                    Body::Unread => "SET t = :t, tn = :n",
                }
            }
            Wish::Delete => {
                set(":d", aws_sdk_dynamodb::types::AttributeValue::Bool(true));
                "SET t = :t, td = :d"
            }
            Wish::Keep => "SET t = :t",
        };
        self.update_step(self.place_of(&step.key), expression, condition)
    }

    /// Lets the batch happen. `false` if another has cancelled it.
    async fn decide(&self, batch: &Nonce, steps: &[Step]) -> Result<bool, Failure> {
        let decision = self.become_step(batch, Outcome::Happened).map_err(Fault::failure)?;
        let mut writes = vec![decision];
        writes.extend(self.counts(steps).map_err(Fault::failure)?);
        let lost = match self.transact(writes).await {
            Ok(()) => return Ok(true),
            Err(Fault::Conditions(_)) => return Ok(false),
            Err(lost @ Fault::Lost(_)) => lost,
            Err(fault) => return Err(fault.failure()),
        };
        // It has happened, or it can still be prevented: then it has not.
        match self.cancel(batch).await {
            Ok(()) => match self.outcome(batch).await {
                Ok(Some(Outcome::Happened)) => Ok(true),
                Ok(Some(Outcome::Cancelled)) => Err(lost.failure()),
                _ => Err(lost.of_write()),
            },
            Err(_) => Err(lost.of_write()),
        }
    }

    /// Makes sure that a batch is decided: it does not happen unless it has.
    async fn cancel(&self, batch: &Nonce) -> Result<(), Failure> {
        let step = self.become_step(batch, Outcome::Cancelled).map_err(Fault::failure)?;
        match self.transact(vec![step]).await {
            Ok(()) | Err(Fault::Conditions(_)) => Ok(()),
            Err(fault) => Err(fault.failure()),
        }
    }

    /// Turns an open outcome into another.
    fn become_step(
        &self,
        batch: &Nonce,
        outcome: Outcome,
    ) -> Result<aws_sdk_dynamodb::types::TransactWriteItem, Fault> {
        let values = [(":open", Outcome::Open), (":s", outcome)];
        let values = values.map(|(name, outcome)| (name.to_owned(), count(outcome.number())));
        let condition = Condition { text: "s = :open".to_owned(), values: values.into() };
        self.update_step(self.outcome_key(batch), "SET s = :s", condition)
    }

    fn outcome_key(&self, batch: &Nonce) -> Item {
        Self::key(self.names.meta(), &outcome(batch))
    }

    /// Clears the marks of a batch that is decided, and then forgets it.
    async fn finish(&self, batch: &Nonce, steps: &[Step], happened: bool) {
        let portions = portions(steps).into_iter().map(|portion| {
            let steps = steps.get(portion).unwrap_or_default();
            self.finish_some(batch, steps, happened).boxed()
        });
        // As long as a mark may be there, somebody needs the outcome.
        if together(portions.collect(), AT_ONCE).await.is_ok() {
            let _ = self.delete_item(self.outcome_key(batch)).await;
        }
    }

    async fn finish_some(
        &self,
        batch: &Nonce,
        steps: &[Step],
        happened: bool,
    ) -> Result<(), Failure> {
        let cleared = match happened {
            true => self.advance(batch, steps).await,
            false => self.retreat(batch, steps).await,
        };
        if cleared.is_ok() {
            return Ok(());
        }
        let each = steps.iter().map(|step| self.settle(&step.key, batch, happened).boxed());
        together(each.collect(), AT_ONCE).await.map(drop)
    }

    /// Turns rows into what was wanted of them, where no large value is replaced.
    async fn advance(&self, batch: &Nonce, steps: &[Step]) -> Result<(), Fault> {
        let small = || of_batch(batch, " AND attribute_not_exists(w)");
        let advance = |step: &Step| {
            let key = self.place_of(&step.key);
            match &step.wish {
                Wish::Put { body: Body::Parts(_), .. } => self.update_step(key, PUT_PARTS, small()),
                Wish::Put { .. } => self.update_step(key, PUT_INLINE, small()),
                Wish::Delete => self.delete_step(key, small()),
                Wish::Keep if step.expect == Expect::Absent => {
                    self.delete_step(key, of_batch(batch, ""))
                }
                Wish::Keep => self.update_step(key, UNMARK, of_batch(batch, "")),
            }
        };
        self.transact(steps.iter().map(advance).collect::<Result<_, _>>()?).await
    }

    /// Turns rows into what they were, where they were as one would think.
    async fn retreat(&self, batch: &Nonce, steps: &[Step]) -> Result<(), Fault> {
        let retreat = |step: &Step| {
            let key = self.place_of(&step.key);
            match step.expect {
                Expect::Absent => self.delete_step(key, of_batch(batch, "")),
                _ => self.update_step(key, UNMARK, of_batch(batch, " AND attribute_exists(r)")),
            }
        };
        self.transact(steps.iter().map(retreat).collect::<Result<_, _>>()?).await
    }

    /// Clears the mark of a batch that is decided from one row, if it is there.
    async fn settle(&self, key: &Key, batch: &Nonce, happened: bool) -> Result<(), Failure> {
        for _ in 0..ROUNDS_MAX {
            let row = self.marked_row(key, batch).await?;
            let Some((row, change)) = row else { return Ok(()) };
            let (place, mine) = (self.place_of(key), of_batch(batch, ""));
            let step = match (&change, happened) {
                (Change::Put(state), true) if state.parts().is_some() => {
                    self.update_step(place, PUT_PARTS, mine)
                }
                (Change::Put(_), true) => self.update_step(place, PUT_INLINE, mine),
                (Change::Delete, true) => self.delete_step(place, mine),
                _ if row.state.is_some() => self.update_step(place, UNMARK, mine),
                _ => self.delete_step(place, mine),
            };
            match self.transact(vec![step.map_err(Fault::failure)?]).await {
                Ok(()) => {
                    if let (Some(old), true) = (row.state, happened && change != Change::Keep) {
                        self.discard(&old.body, old.size).await;
                    }
                    return Ok(());
                }
                // Somebody else was faster: look again.
                Err(Fault::Conditions(_)) => {}
                Err(fault) => return Err(fault.failure()),
            }
        }
        Err(Fault::Conditions(Vec::new()).failure())
    }

    /// A row that has this batch's mark.
    async fn marked_row(&self, key: &Key, batch: &Nonce) -> Result<Option<(Row, Change)>, Failure> {
        let item = self.item(&self.names.row(key), key.as_bytes()).await?;
        let row = item.map_or_else(|| Ok(Row::default()), Row::read)?;
        let mark = row.mark.clone().filter(|mark| mark.batch == *batch);
        Ok(mark.map(|mark| (row, mark.change)))
    }

    /// Waits until a row no longer has a batch's mark, and sees to it that this comes. `false` if
    /// meanwhile the batch that waits, with marks of its own, was cancelled.
    pub(crate) async fn clear(
        &self,
        key: &Key,
        batch: &Nonce,
        holder: Option<&Nonce>,
    ) -> Result<bool, Failure> {
        let watch = self.env.stopwatch();
        let goes_first = holder.is_some_and(|holder| holder < batch);
        loop {
            match self.outcome(batch).await? {
                Some(Outcome::Open) => {}
                decided => {
                    // Of a batch that is over no mark is left but those of one that was cancelled
                    // and came late.
                    let happened = decided == Some(Outcome::Happened);
                    return self.settle(key, batch, happened).await.map(|()| true);
                }
            }
            if goes_first || watch.elapsed() >= self.lock_wait {
                self.cancel(batch).await?;
                continue;
            }
            if let Some(holder) = holder
                && self.outcome(holder).await? == Some(Outcome::Cancelled)
            {
                return Ok(false);
            }
            self.pause().await;
        }
    }

    async fn pause(&self) {
        let pause = 1 + self.env.random_below(PAUSE_MS);
        self.env.sleep(Duration::from_millis(pause)).await;
    }
}

/// That a row has the mark of this batch, and more.
fn of_batch(batch: &Nonce, more: &str) -> Condition {
    let values = [(":t".to_owned(), binary(*batch))];
    Condition { text: format!("t = :t{more}"), values: values.into() }
}

/// Steps as many at a time as one transaction takes.
fn portions(steps: &[Step]) -> Vec<Range<usize>> {
    let (mut portions, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (place, step) in steps.iter().enumerate() {
        let more = step.bytes();
        if place - start == ITEMS_MAX || (place > start && bytes + more > TRANSACTION_BYTES_MAX) {
            portions.push(start..place);
            (start, bytes) = (place, 0);
        }
        bytes += more;
    }
    portions.push(start..steps.len());
    portions
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn step(bytes: usize) -> Step {
        let body = Body::Inline(vec![0; bytes].into());
        let wish = Wish::Put { size: bytes as u64, body };
        Step { key: Key::parse("k").unwrap(), expect: Expect::Any, wish }
    }

    #[test]
    fn portions_are_what_the_store_takes() {
        assert_eq!(portions(&vec![step(0); 250]), [0..100, 100..200, 200..250]);
        assert_eq!(portions(&vec![step(0); 101]), [0..100, 100..101]);
        let large = portions(&vec![step(192 << 10); 40]);
        assert_eq!(large, [0..15, 15..30, 30..40]);
    }
}
