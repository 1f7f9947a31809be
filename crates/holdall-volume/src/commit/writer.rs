//! The writer of a handle: its epoch, what it knows of the head, and what it is not sure of.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use holdall_core::{BackendExt, Batch, Error, ErrorKind, Expect, Key, Operation, Result, Revision};

use super::committer::{ATTEMPTS_MAX, Inner};
use super::request::Committed;
use crate::format::head::{Head, WriterRow};
use crate::format::policy::VolumeRow;
use crate::format::row;

/// A writer that has taken an epoch.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pub(super) epoch: u64,
    pub(super) row: WriterRow,
    pub(super) row_revision: Revision,
    pub(super) head: Head,
    pub(super) head_revision: Option<Revision>,
    /// Counts the batches.
    pub(super) batch: u64,
    /// Batches of the group under way of which it is not known whether they have happened.
    pub(super) doubts: Vec<Doubt>,
}

/// A batch of which it is not known whether it has happened, or still will.
///
/// It expects the head as it was: once the head has changed it can no longer happen. Until then
/// several may be under way, of which one at most will happen.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    pub(super) batch: u64,
    /// The log row that it writes. Its number alone says too little: what another group left in
    /// doubt may have landed under the same one.
    pub(super) log: Option<(Key, Bytes)>,
    pub(super) results: Vec<Result<Committed>>,
}

impl Inner {
    /// Reads head and writer again after a batch that did not happen, or may have. Returns the
    /// results if it did.
    pub(super) async fn reload(
        &self,
        slot: &mut Option<Writer>,
    ) -> Result<Option<Vec<Result<Committed>>>> {
        let Some(writer) = slot.as_mut() else { return Ok(None) };
        let context = &self.context;
        let keys = [context.keys.head(), context.keys.writer(writer.epoch), context.keys.volume()];
        let rows = context.catalog.get_many(&keys).await?;
        let [found, row, volume] = rows.as_slice() else { return Ok(None) };
        let Some(found) = found else { return Err(missing_head(&keys[0])) };
        let head: Head = row::decode(&keys[0], &found.value)?;
        if head.sequence < writer.head.sequence {
            // Its engine was replaced by a copy that lacks them: opening looks at what is there.
            let reason = "the catalog has lost commits that this writer has seen; open the volume \
                          again";
            self.close(reason);
            return Err(Error::closed(Operation::Commit, reason));
        }
        let (mut head_revision, mut settled) = (found.revision.clone(), None);
        let moved = writer.head_revision.as_ref() != Some(&found.revision);
        if moved && !writer.doubts.is_empty() {
            // What can be read may yet be lost; a write that is answered, and what came before it,
            // are as durable as the profile says.
            let expect = Expect::Revision(head_revision);
            head_revision = context.catalog.put(&keys[0], found.value.clone(), expect).await?;
            settled = self.settle(writer, &head).await?;
            // Those that have not happened by now expect another head: they never will.
            writer.doubts.clear();
        }
        let still = match row {
            Some(object) => {
                writer.row = row::decode(&keys[1], &object.value)?;
                writer.row_revision = object.revision.clone();
                !writer.row.ended
            }
            None => false,
        };
        writer.head = head;
        writer.head_revision = Some(head_revision);
        if !still {
            let reason = "this writer was ended by another after its lease; open the volume again";
            self.close(reason);
            let ended = || Err(Error::closed(Operation::Commit, reason));
            return settled.map_or_else(ended, |results| Ok(Some(results)));
        }
        if let Some(volume) = volume {
            self.set_volume(row::decode(&keys[2], &volume.value)?);
        }
        Ok(settled)
    }

    fn set_volume(&self, volume: VolumeRow) {
        *self.volume.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(volume);
    }

    /// Finds out whether one of the batches in doubt has happened, under a head that is there for
    /// good.
    async fn settle(&self, writer: &Writer, head: &Head) -> Result<Option<Vec<Result<Committed>>>> {
        for doubt in &writer.doubts {
            let mut happened = (head.epoch, head.batch) == (writer.epoch, doubt.batch);
            if let Some((key, value)) = doubt.log.as_ref().filter(|_| !happened) {
                let found = self.context.catalog.get_all(key).await?;
                happened = found.is_some_and(|found| found.value == *value);
            }
            if happened {
                return Ok(Some(doubt.results.clone()));
            }
        }
        Ok(None)
    }

    /// The writer of this handle; takes an epoch the first time.
    pub(super) async fn ensure_writer<'a>(
        &self,
        slot: &'a mut Option<Writer>,
    ) -> Result<&'a mut Writer> {
        if slot.is_none() {
            *slot = Some(self.take_epoch().await?);
        }
        slot.as_mut().ok_or_else(|| Error::closed(Operation::Commit, "the writer was ended"))
    }

    pub(super) async fn take_epoch(&self) -> Result<Writer> {
        let context = &self.context;
        let keys = [context.keys.head(), context.keys.volume()];
        let head_key = keys[0].clone();
        let mut attempt = 0;
        loop {
            let mut rows = context.catalog.get_many(&keys).await?.into_iter();
            let found = rows.next().flatten().ok_or_else(|| missing_head(&head_key))?;
            if let Some(volume) = rows.next().flatten() {
                // Another handle may have changed it since this one was opened.
                self.set_volume(row::decode(&keys[1], &volume.value)?);
            }
            let mut head: Head = row::decode(&head_key, &found.value)?;
            let epoch = head.next_epoch.max(self.epoch_least.load(Ordering::SeqCst));
            head.next_epoch = epoch + 1;
            let now = context.env.now();
            let lease = self.volume.read().unwrap_or_else(PoisonError::into_inner).policy.lease;
            let row = WriterRow {
                holder: context.holder.clone(),
                opened: now,
                lease_until: now.plus(lease),
                ended: false,
            };
            let key = context.keys.writer(epoch);
            let mut batch = Batch::new();
            let value = row::encode(&key, &row);
            batch.put(key, value, Expect::Absent);
            let value = row::encode(&head_key, &head);
            batch.put(head_key.clone(), value, Expect::Revision(found.revision));
            attempt += 1;
            match context.catalog.apply(batch).await {
                Ok(revision) => {
                    let head_revision = Some(revision.clone());
                    return Ok(Writer {
                        epoch,
                        row,
                        row_revision: revision,
                        head,
                        head_revision,
                        batch: 0,
                        doubts: Vec::new(),
                    });
                }
                // An epoch that was taken without our knowing is left to the sweep.
                Err(error)
                    if attempt < ATTEMPTS_MAX
                        && matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unknown) =>
                {
                    self.back_off(attempt, error.kind()).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn missing_head(key: &holdall_core::Key) -> Error {
    let message = "the volume's catalog has no head; run `holdall rebuild`";
    Error::corrupt(Operation::Commit, message).with_key(key)
}
