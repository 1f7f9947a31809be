//! What an open volume does by itself: it keeps its writer's lease, seals what has waited, and
//! mends the volume's object on the data backend.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use holdall_core::{BackendExt, Env, Error, ErrorKind, Expect, Operation, Result};

use super::Shared;
use crate::commit::{Maintain, Request, Write};
use crate::format::head::Sealed;
use crate::format::keys::{CatalogKeys, DataKeys};
use crate::format::policy::VolumeRow;
use crate::format::row;
use crate::format::segment::{ReplicaState, SegmentId};
use crate::seal::seal;

/// How often an open writer looks whether there is something to seal or a lease to renew.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How many reports of copies are written in one commit.
const REPORTS_AT_ONCE: usize = 256;

/// After the n-th failure to seal in a row, 2ⁿ − 1 of these looks are left out; of n, this counts.
const FAILURES_MAX: u32 = 4;

impl Shared {
    pub(crate) async fn seal(self: &Arc<Self>) -> Result<Sealed> {
        let _one_at_a_time = self.sealing.lock().await;
        let sealed = seal(&self.seal_context().await?).await?;
        if !self.object_is_current.load(Ordering::SeqCst) {
            // The log is sealed whatever comes of this, and the next seal tries it again.
            let _ = self.mend_object().await;
        }
        Ok(sealed)
    }

    /// Seals in the background. What cannot be sealed now, the heartbeat tries again.
    async fn seal_waiting(self: &Arc<Self>) -> Result<()> {
        let sealed = self.seal().await.inspect_err(|_| self.committer.keep_unsealed());
        sealed.map(drop)
    }

    /// The volume's row as the catalog has it now.
    pub(super) async fn row(&self) -> Result<VolumeRow> {
        let key = CatalogKeys::new(self.id).volume();
        let found = self.resources.catalog.get_all(&key).await?;
        let found = found.ok_or_else(|| {
            let message = "the volume has lost its own row; run `holdall rebuild`";
            Error::corrupt(Operation::Get, message).with_key(&key)
        })?;
        row::decode(&key, &found.value)
    }

    /// Writes the volume's object as the row is.
    pub(super) async fn write_object(&self) -> Result<()> {
        let key = DataKeys::new(self.id).volume();
        loop {
            let row = self.row().await?;
            let object = row.encode_object(self.id)?;
            self.data.put(&key, object, Expect::Any).await?;
            // Another handle may have changed the row and written its object before this one.
            if self.row().await? == row {
                self.object_is_current.store(true, Ordering::SeqCst);
                return Ok(());
            }
        }
    }

    /// Writes the volume's object anew if it is missing, damaged, or not as the row: whoever
    /// changed the row may have ended before writing it.
    async fn mend_object(&self) -> Result<()> {
        let found = self.data.get_all(&DataKeys::new(self.id).volume()).await;
        let object = found.and_then(|found| {
            found.map(|found| VolumeRow::decode_object(self.id, &found.value)).transpose()
        });
        match object {
            Ok(Some(object))
                if object == self.row().await?
                    && self.spread.object_is_everywhere(&object).await =>
            {
                self.object_is_current.store(true, Ordering::SeqCst);
                Ok(())
            }
            // What a newer program wrote, or cannot be read now, may well be right.
            Err(error) if error.kind() != ErrorKind::Corrupt => Err(error),
            _ => self.write_object().await,
        }
    }

    /// As [`mend_object`](Self::mend_object), where a place may have got it back.
    pub(crate) async fn mend_objects(&self) -> Result<()> {
        self.mend_object().await
    }

    /// Writes into the rows of segments what was found out about their copies. It is found out
    /// again where that fails.
    pub(crate) async fn flush_reports(&self) -> Result<()> {
        let reports = self.spread.take_reports();
        for some in reports.chunks(REPORTS_AT_ONCE) {
            let step = |((id, place), state): &((SegmentId, u16), ReplicaState)| {
                let (id, place, state) = (*id, *place, *state);
                Write::Maintain(Maintain::CopyState { id, place, state, verified: None })
            };
            let writes = some.iter().map(step).collect();
            self.committer.submit(Request { writes, ..Request::default() }).await?;
        }
        Ok(())
    }

    pub(super) fn seal_in_background(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        self.resources.env.spawn(async move {
            // Nothing is lost meanwhile: the commits are in the catalog.
            let _ = shared.seal_waiting().await;
        });
    }
}

/// Keeps a writer's lease and seals what has waited, as long as the volume is open. After failures
/// it waits longer and longer before it tries to seal again.
pub(super) async fn heartbeat(shared: Weak<Shared>, env: Env) {
    let (mut failures, mut left_out) = (0_u32, 0_u32);
    loop {
        let Some(lease) = shared.upgrade().map(|s| s.committer.volume().policy.lease) else {
            return;
        };
        env.sleep(HEARTBEAT.min(lease / 3)).await;
        let Some(shared) = shared.upgrade() else { return };
        if left_out > 0 {
            left_out -= 1;
        } else if shared.committer.take_unsealed(1) {
            let sealed = shared.seal_waiting().await.is_ok();
            failures = if sealed { 0 } else { (failures + 1).min(FAILURES_MAX) };
            left_out = (1 << failures) - 1;
        }
        // Nothing is lost with reports: a scrub finds the same.
        let _ = shared.flush_reports().await;
        let renew = shared.committer.needs_renewal().await;
        if renew
            && let Err(error) =
                shared.committer.submit(Request::one(Write::Maintain(Maintain::Renew))).await
            && error.kind() == ErrorKind::Closed
        {
            return;
        }
    }
}
