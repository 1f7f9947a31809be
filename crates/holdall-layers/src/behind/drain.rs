//! Works off the queue: writes to the back what waits in the front, the longest waiting first.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use holdall_core::{Batch, Conditions, Error, ErrorKind, Expect, Key, Operation, Result, Revision};

use super::queue::Taken;
use super::rows::{OWNER, There, Waiting, owner_key, shown_waiting, there_key, waiting_key};
use super::{NOTHING, Shared};

/// How often one key's write is made anew because the back was not as it was known to be.
const SURPRISES_MAX: u32 = 4;

/// Runs until nothing waits or the layer has gone.
pub(super) async fn run(shared: Arc<Shared>) {
    let first = shared.settings.pause_first;
    let mut pause = first;
    while !shared.abandoned.load(Ordering::Acquire) {
        let taken = shared.queue.take();
        if taken.is_empty() {
            return;
        }
        let mut refused = false;
        let moves = taken.iter().map(|taken| move_one(&shared, taken));
        for (taken, moved) in taken.iter().zip(join_all(moves).await) {
            match moved {
                Ok(()) => shared.queue.done(taken),
                Err(error) => {
                    refused = true;
                    shared.queue.failed(taken, error);
                }
            }
        }
        if !refused {
            pause = first;
            continue;
        }
        let micros = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        let drawn = shared.env.random_below(micros.saturating_add(1));
        shared.env.sleep(Duration::from_micros(drawn)).await;
        pause = pause.saturating_mul(2).min(shared.settings.pause_max);
    }
    shared.queue.stop();
}

/// A row that waits, and what is remembered of its key in the back.
struct Move {
    key: Key,
    waiting_key: Key,
    waiting: Waiting,
    revision: Revision,
    there_key: Key,
    there: Option<There>,
    /// The row of `there` as it was read.
    there_row: Expect,
}

async fn move_one(shared: &Shared, taken: &Taken) -> Result<()> {
    let mut surprises = 0;
    loop {
        let Some(step) = Move::read(shared, &taken.key).await? else { return Ok(()) };
        let expect = step.expectation(shared, surprises > 0).await?;
        let moved = match &step.waiting {
            Waiting::Value(value) => {
                shared.back.put(&step.key, value.clone(), expect).await.map(Some)
            }
            Waiting::Delete => shared.back.delete(&step.key, expect).await.map(|()| None),
        };
        match moved {
            Ok(now) => return step.settle(shared, now).await,
            // An earlier try has happened unheard of, or somebody else writes to the back. What is
            // acknowledged here comes after either.
            Err(error) if error.kind() == ErrorKind::Conflict && surprises < SURPRISES_MAX => {
                surprises += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

impl Move {
    async fn read(shared: &Shared, key: &Key) -> Result<Option<Self>> {
        let (waiting_key, there_key) = (waiting_key(key)?, there_key(key)?);
        let rows = shared.front.get_many(&[waiting_key.clone(), there_key.clone()]).await?;
        let [waiting, there] = <[_; 2]>::try_from(rows).map_err(|_| {
            Error::corrupt(Operation::Get, "the front answered for other keys; verify the front")
        })?;
        let Some(row) = waiting else { return Ok(None) };
        let waiting = Waiting::decode(key, &row.value)?;
        let there_row = Expect::from(there.as_ref().map(|row| row.revision.clone()));
        let there = there.map(|row| There::decode(key, &row.value)).transpose()?;
        let (key, revision) = (key.clone(), row.revision);
        Ok(Some(Self { key, waiting_key, waiting, revision, there_key, there, there_row }))
    }

    /// What the back must hold, as far as it can check that: so a write that was sent earlier and
    /// arrives later cannot undo a newer one.
    async fn expectation(&self, shared: &Shared, look: bool) -> Result<Expect> {
        if shared.back.profile().conditions < Conditions::Revision {
            return Ok(Expect::Any);
        }
        match &self.there {
            Some(there) if !look => Ok(Expect::Revision(there.back.clone())),
            None if !look && shared.settings.is_written_once(self.key.as_str()) => {
                Ok(Expect::Absent)
            }
            _ => {
                let found = shared.back.get(&self.key, NOTHING).await?;
                Ok(found.map(|found| found.revision).into())
            }
        }
    }

    /// The back has the write: what waited is no more, and its revision is remembered.
    async fn settle(&self, shared: &Shared, now: Option<Revision>) -> Result<()> {
        let there = now.map(|back| There { back, shown: shown_waiting(&self.revision) });
        let mut batch = Batch::new();
        batch.check(owner_key()?, Expect::Revision(shared.owner.clone()));
        match &there {
            Some(there) => {
                batch.put(self.there_key.clone(), there.encode(), self.there_row.clone())
            }
            None => batch.delete(self.there_key.clone(), self.there_row.clone()),
        };
        let remembered = batch.clone();
        batch.delete(self.waiting_key.clone(), Expect::Revision(self.revision.clone()));
        let _turn = shared.turn(&self.key).await;
        let settled = match shared.front.apply(batch).await {
            // The key was written again meanwhile: it goes on waiting.
            Err(error) if is_about(&error, &self.waiting_key) => {
                shared.front.apply(remembered).await
            }
            settled => settled,
        };
        match settled {
            Err(error) if error.kind() == ErrorKind::Conflict => Err(shared.conflict(error)),
            settled => settled.map(drop),
        }
    }
}

fn is_about(error: &Error, key: &Key) -> bool {
    error.kind() == ErrorKind::Conflict && error.key() == Some(key)
}

impl Shared {
    /// A conflict that only another opener of the same queue can have made.
    pub(super) fn conflict(&self, error: Error) -> Error {
        if error.key().is_none_or(|key| key.as_str() != OWNER) {
            return error;
        }
        let message = "another process has opened the queue in this front; open it again to take \
                       it back";
        let closed = Error::closed(Operation::Apply, message);
        self.queue.close(closed.clone());
        closed
    }
}
