//! A journal in front of an ordered engine: durable writes at the speed of a log, reads at the
//! speed of the engine.
//!
//! Above: [`Limited`](crate::Limited) and [`Metered`](crate::Metered). Below: any atomic backend
//! that lists in order, in practice LMDB, and a local folder with the journal's files.
//!
//! ```text
//!    put, delete, apply                                  get, get_many, list
//!          │                                                    │
//!        queue ── leader: decide, one write + one sync ──┐      │ first
//!                               │                        ▼      ▼
//!                          journal-7              overlay: active 7, flushing 6
//!                          journal-6 (full)              │      │ then
//!                               │ recycled         flush │      │
//!                               └───────────────┐        ▼      ▼
//!                                             inner backend, marker row: 5 applied
//! ```
//!
//! What holds at every moment:
//! - A write is answered, and seen by readers, only when its record is on the disk.
//! - The inner backend and the overlay together are the state; what the overlay has wins.
//! - Every generation above the marker row's is whole in its journal file.
//! - A revision is the number of the op-set, and lies in front of the value in the inner backend
//!   too, so that it does not change when a row moves there.
//! - After a failed write or sync of the journal no write is taken any more, because nobody can
//!   know what is on the disk (Rebello et al., "Can Applications Recover from fsync Failures?",
//!   USENIX ATC 2020); reads go on, and opening again replays what is there.
//!
//! Memory: two generations of at most `overlay_bytes` and one group of writes (up to 4 MiB) each,
//! the group being written, and a batch of about `flush_bytes` on its way to the inner backend. An
//! op-set that is larger counts once for each.

mod commit;
mod disk;
mod file;
mod flush;
mod folder;
mod format;
mod open;
mod overlay;
mod queue;
mod read;
mod settings;
mod spare;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use futures::channel::oneshot;
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Env, Error, Expect, Find, Health, Key, List, Object, Op,
    Operation, Page, Profile, Result, Revision, async_trait,
};

#[doc(hidden)]
pub fn fuzz_journal(bytes: &[u8]) {
    format::decode_anything(bytes);
}

pub use disk::{Disk, RealDisk};
pub use settings::JournalSettings;

use commit::Writer;
use folder::Folder;
use overlay::Overlay;
use queue::{Group, Queue, Request, Seen, Verdict, Write};
use spare::Spare;

/// The row of the inner backend that belongs to the journal. Nobody sees it through the layer.
pub const MARKER_KEY: &str = "\u{1}journal";

/// Key and value bytes of the marker row.
const MARKER_ROW_BYTES: usize = MARKER_KEY.len() + format::MARKER_BYTES;

fn marker_key() -> Key {
    Key::parse(MARKER_KEY).expect("the marker's key is a right key")
}

/// A journal in front of an ordered engine. See the module's head.
pub struct Journaled {
    shared: Arc<Shared>,
}

/// What callers, the leader and the flush have in common.
struct Shared {
    inner: Arc<dyn Backend>,
    env: Env,
    settings: JournalSettings,
    profile: Profile,
    folder: Folder,
    disk: Arc<dyn Disk>,
    overlay: RwLock<Overlay>,
    queue: Mutex<Queue>,
    writer: Mutex<Writer>,
    spare: Mutex<Spare>,
    flushes: Mutex<Flushes>,
    /// Whether nobody holds the layer any more, so that background work should end.
    abandoned: AtomicBool,
}

/// How the flushes go.
#[derive(Default)]
struct Flushes {
    /// Who waits for which generation.
    waiting: Vec<(u64, oneshot::Sender<Result<()>>)>,
    /// Why the last try failed, if it did.
    failure: Option<Error>,
}

/// What the locks guard is whole between any two statements, and a leader that panics refuses all
/// later writes, so a poisoned lock needs no answer of its own.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn overlay(&self) -> RwLockReadGuard<'_, Overlay> {
        self.overlay.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn overlay_mut(&self) -> RwLockWriteGuard<'_, Overlay> {
        self.overlay.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<Self>, request: Request) -> Result<()> {
        let start = lock(&self.queue).join(request)?;
        if start {
            self.start_leader();
        }
        Ok(())
    }

    fn start_leader(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        // The job runs whether or not anybody waits for it.
        drop(self.env.blocking(move || commit::lead(&shared)));
    }

    fn next_group(&self) -> Option<Group> {
        lock(&self.queue).next(self.settings.group_bytes())
    }

    /// Puts back a group that must wait for the flush; `false` if the flush ended meanwhile.
    fn stall(&self, group: Group) -> bool {
        let mut queue = lock(&self.queue);
        queue.stall(group);
        if self.overlay().flushing().is_some() {
            return true;
        }
        !queue.resume()
    }

    /// A generation is in the inner backend: the overlay lets go of it, and who waited goes on.
    fn flushed(self: &Arc<Self>, number: u64) {
        self.overlay_mut().retire();
        {
            let mut flushes = lock(&self.flushes);
            flushes.failure = None;
            let waiting = std::mem::take(&mut flushes.waiting);
            for (generation, answer) in waiting {
                if generation <= number {
                    drop(answer.send(Ok(())));
                } else {
                    flushes.waiting.push((generation, answer));
                }
            }
        }
        if lock(&self.queue).resume() {
            self.start_leader();
        }
    }

    /// A flush failed and will be tried again: who waits for it is told.
    fn flush_failed(&self, error: &Error) {
        let mut flushes = lock(&self.flushes);
        for (_, answer) in flushes.waiting.drain(..) {
            drop(answer.send(Err(error.clone())));
        }
        flushes.failure = Some(error.clone());
    }

    /// No write is taken any more.
    fn poison(&self, why: &str) {
        let message = format!("{why}, so no more writes are taken; open the store again");
        self.refuse(Error::closed(Operation::Apply, message));
    }

    fn refuse(&self, refusal: Error) {
        let waiting = lock(&self.queue).refuse(refusal.clone());
        waiting.into_iter().for_each(|request| request.refuse(&refusal));
    }
}

impl Journaled {
    /// Commits one op-set.
    async fn commit(&self, operation: Operation, mut ops: Vec<Op>) -> Result<Revision> {
        if let Some(op) = ops.iter().find(|op| op.key().as_str() == MARKER_KEY) {
            let message = "this key belongs to the journal; choose another";
            return Err(Error::invalid(operation, message).with_key(op.key()));
        }
        loop {
            let seen = self.look(&ops).await?;
            let (answer, verdict) = oneshot::channel();
            self.shared.join(Request::Write(Write { operation, ops, seen, answer }))?;
            match verdict.await {
                Ok(Ok(Verdict::Done(revision))) => return Ok(revision),
                Ok(Ok(Verdict::Stale(again))) => ops = again,
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    let message = "the write ended without an answer; open the store again";
                    return Err(Error::unknown(operation, message));
                }
            }
        }
    }

    /// Looks up what the overlay does not know of the keys that have conditions: only the
    /// revision, which lies in front of the value. The overlay is asked again by the leader.
    async fn look(&self, ops: &[Op]) -> Result<Seen> {
        if ops.iter().all(|op| *op.expect() == Expect::Any) {
            return Ok(Seen::default());
        }
        let (generation, unknown) = {
            let overlay = self.shared.overlay();
            let unknown = |op: &Op| *op.expect() != Expect::Any && overlay.find(op.key()).is_none();
            (overlay.active().number(), ops.iter().map(unknown).collect::<Vec<bool>>())
        };
        let mut revisions = Vec::with_capacity(ops.len());
        for (op, unknown) in ops.iter().zip(unknown) {
            revisions.push(if unknown { Some(self.inner_revision(op.key()).await?) } else { None });
        }
        Ok(Seen { generation, revisions })
    }

    async fn inner_revision(&self, key: &Key) -> Result<Option<u64>> {
        let front = ByteRange::new(0, format::REVISION_BYTES as u64);
        let Some(object) = self.shared.inner.get(key, front).await? else {
            return Ok(None);
        };
        let split = format::split_stored(&object.value);
        split.map(|(revision, _)| Some(revision)).ok_or_else(|| read::no_revision(key))
    }

    /// Moves everything to the inner backend and waits for it, so that opening again replays
    /// nothing. Writes may go on meanwhile; those that began before this was called are included.
    ///
    /// # Errors
    /// Why the inner backend did not take the rows: they stay in the journal, and are tried again.
    /// `Closed` after a failed write to the journal, or after [`close`](Self::close).
    pub async fn flush(&self) -> Result<()> {
        let ended = |_| {
            Error::closed(Operation::Apply, "the journal ended before its flush; open it again")
        };
        let (answer, begun) = oneshot::channel();
        self.shared.join(Request::Flush(answer))?;
        let Some(generation) = begun.await.map_err(ended)?? else {
            return Ok(());
        };
        let (answer, done) = oneshot::channel();
        {
            let mut flushes = lock(&self.shared.flushes);
            if self.shared.overlay().applied() >= generation {
                return Ok(());
            }
            flushes.waiting.push((generation, answer));
        }
        done.await.map_err(ended)?
    }

    /// An orderly end: flushes, takes no more writes, and gives the room of the journal's files
    /// back. Not needed for safety.
    ///
    /// # Errors
    /// As [`flush`](Self::flush); then writes are still taken.
    pub async fn close(&self) -> Result<()> {
        self.flush().await?;
        let message = "this store was closed; open it again";
        self.shared.refuse(Error::closed(Operation::Apply, message));
        let shared = Arc::clone(&self.shared);
        let emptied = self.shared.env.blocking(move || {
            spare::end(&shared);
            // What came between the two is in the journal, as after a crash, and stays there.
            lock(&shared.writer).file.give_back();
        });
        emptied.await
    }
}

impl Drop for Journaled {
    fn drop(&mut self) {
        self.shared.abandoned.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for Journaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journaled")
            .field("inner", &self.shared.inner)
            .field("folder", &self.shared.folder)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for Journaled {
    fn profile(&self) -> &Profile {
        &self.shared.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.read_one(key, range).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.read_many(keys).await
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.check_limits(Operation::Put, key, value.len())?;
        let op = Op::put(key.clone(), value, expect);
        self.commit(Operation::Put, vec![op]).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.check_limits(Operation::Delete, key, 0)?;
        let op = Op::Delete { key: key.clone(), expect };
        self.commit(Operation::Delete, vec![op]).await.map(drop)
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.read_page(list).await
    }

    async fn find(&self, _: &Find) -> Result<Page> {
        Err(self.no_metadata())
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.check_batch(&batch)?;
        self.commit(Operation::Apply, batch.ops).await
    }

    async fn health(&self) -> Result<Health> {
        let mut health = self.shared.inner.health().await?;
        if let Some(refusal) = lock(&self.shared.queue).refusal() {
            return Err(refusal.clone());
        }
        let (rows, bytes) = {
            let overlay = self.shared.overlay();
            let flushing = overlay.flushing().map_or((0, 0), |old| (old.len(), old.bytes()));
            let active = overlay.active();
            (active.len() + flushing.0, active.bytes() + flushing.1)
        };
        let waiting = lock(&self.shared.queue).len();
        health.notes.push(format!(
            "journal: {rows} rows in {bytes} bytes not yet in the engine, {waiting} writes waiting"
        ));
        if let Some(failure) = &lock(&self.shared.flushes).failure {
            health.notes.push(format!("journal: the engine does not take its rows: {failure}"));
        }
        Ok(health)
    }
}
