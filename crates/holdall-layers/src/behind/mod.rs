//! Write-behind: a write is acknowledged when a near backend has it, and brought to a far one
//! afterwards.
//!
//! Above: anything, such as a cache. Below: the front, an atomic backend whose rows under
//! `behind/` are the queue (LMDB, say), and the back, any backend (an object store, say).
//!
//! ```text
//!   put, delete ──▶ front: one row a key that waits ──▶ acknowledged
//!                             │ later, the longest waiting first
//!   get, list  ──▶ front ──▶ back
//! ```
//!
//! What holds at every moment:
//! - An acknowledged write is in the front until the back has taken it and said so; so it is as
//!   durable as the weaker of the two, which is what the profile says.
//! - The front's row wins: a read asks the front first, and the back only where the front says that
//!   nothing waits. An error of the front is the answer; it is never taken for absence.
//! - A revision does not change when its value moves to the back: for each key that has moved the
//!   front keeps a row of some 60 bytes beside the key, until the key is deleted (`rows.rs`).
//! - The back gets each key's last write; keys that are written anew before their turn are written
//!   to it once. Between keys there is no order.
//! - Where the back can check revisions, it is told what it must hold, so that a write that was
//!   sent earlier and arrives late cannot undo a newer one.
//! - One opener at a time: whoever opens the queue writes the owner's row, every change of the
//!   front expects it as it was, and so an earlier opener finds itself `Closed`. Nobody else may
//!   write to the back's keys; if somebody does, what was acknowledged here comes after.
//!
//! There are no batches: the back could not show one whole. Opening lists what waits and goes on
//! with it. Memory: some 200 bytes a key that waits, and `calls_max` values on their way.

mod drain;
mod list;
mod queue;
mod rows;
mod settings;

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::channel::oneshot;
use futures::lock::{Mutex, MutexGuard};
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Conditions, Env, Error, ErrorKind, Expect, Find, Health,
    Key, List, Object, Operation, Page, Profile, Reach, Result, Revision, async_trait,
};

pub use queue::Backlog;
pub use settings::BehindSettings;

use queue::Queue;
use rows::{
    FORM, There, VALUE_HEAD_BYTES, WAITING, Waiting, key_of, owner_key, shown_back, shown_waiting,
    there_key, waiting_key,
};

/// A read that moves no bytes of a value, and still tells its revision.
const NOTHING: ByteRange = ByteRange { start: 0, end: Some(0) };
/// What one batch takes beside the value: three keys, and the row of what is there.
const BATCH_BESIDE_BYTES: u64 = 8 << 10;
/// How many keys can be compared or moved at once, about.
const TURNS: usize = 64;
/// The least that a key must still have room for.
const KEY_BYTES_LEFT: usize = 128;

/// A backend whose writes are brought to it later. See the module's head.
#[derive(Debug)]
pub struct Behind {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    front: Arc<dyn Backend>,
    back: Arc<dyn Backend>,
    env: Env,
    settings: BehindSettings,
    profile: Profile,
    queue: Arc<Queue>,
    /// The revision of the owner's row as this opener wrote it.
    owner: Revision,
    /// Held while a write compares what is there, and while a drain says that something has moved:
    /// a key that was written, moved and removed in between looks as if nothing had happened.
    turns: Vec<Mutex<()>>,
    /// Whether nobody holds the layer any more, so that the drain should end.
    abandoned: AtomicBool,
}

fn profile(front: &Profile, back: &Profile) -> Result<Profile> {
    let refused = |message: String| Err(Error::unsupported(Operation::Open, message));
    if !front.atomic || front.conditions < Conditions::Revision {
        return refused(format!(
            "{} cannot hold a queue of writes: it must apply batches all or nothing, and check \
             revisions",
            front.engine
        ));
    }
    let key_bytes_max = back.key_bytes_max.min(front.key_bytes_max.saturating_sub(WAITING.len()));
    if key_bytes_max < KEY_BYTES_LEFT {
        return refused(format!("the keys of {} are too short to hold a queue", front.engine));
    }
    let value = front.value_bytes_max.saturating_sub(VALUE_HEAD_BYTES);
    let batch = front.batch_bytes_max.saturating_sub(BATCH_BESIDE_BYTES);
    Ok(Profile {
        engine: back.engine,
        key_bytes_max,
        value_bytes_max: back.value_bytes_max.min(value).min(batch),
        batch_ops_max: 0,
        batch_bytes_max: 0,
        atomic: false,
        metadata: false,
        conditions: Conditions::Revision,
        reach: Reach::Process,
        durability: back.durability.min(front.durability),
    })
}

impl Behind {
    /// Takes the queue in `front`, whoever had it, and goes on with what waits there for `back`.
    ///
    /// # Errors
    /// `Unsupported` if the front cannot hold a queue; `Invalid` if it holds one of another form;
    /// those of the front.
    pub async fn open(
        front: Arc<dyn Backend>,
        back: Arc<dyn Backend>,
        settings: BehindSettings,
        env: &Env,
    ) -> Result<Arc<Self>> {
        settings.check()?;
        let profile = profile(front.profile(), back.profile())?;
        let owner_key = owner_key()?;
        if let Some(found) = front.get_all(&owner_key).await?
            && !found.value.starts_with(FORM.as_bytes())
        {
            let message = "the front holds a queue of another form; use the program that wrote it";
            return Err(Error::invalid(Operation::Open, message));
        }
        let owner = format!("{FORM}{:032x}\n", u128::from_le_bytes(env.random()));
        let owner = front.put(&owner_key, owner.into(), Expect::Any).await?;
        let queue = Arc::new(Queue::new(settings.clone()));
        let shared = Shared {
            front,
            back,
            env: env.clone(),
            settings,
            profile,
            queue,
            owner,
            turns: (0..TURNS).map(|_| Mutex::default()).collect(),
            abandoned: AtomicBool::new(false),
        };
        let shared = Arc::new(shared);
        let mut list = List::prefix(WAITING);
        let mut start = false;
        loop {
            let page = shared.front.list(&list).await?;
            for row in &page.rows {
                if let Some(key) = key_of(&row.key) {
                    start |= shared.queue.add(key, row.size + row.key.as_bytes().len() as u64);
                }
            }
            match page.rows.last() {
                Some(last) if page.more => list = list.after(last.key.as_str()),
                _ => break,
            }
        }
        if start {
            shared.start_drain();
        }
        Ok(Arc::new(Self { shared }))
    }

    /// How much waits for the back.
    pub fn backlog(&self) -> Backlog {
        self.shared.queue.backlog()
    }

    /// Waits until nothing waits for the back.
    ///
    /// # Errors
    /// What the back answers if it does not take a write; the write goes on waiting.
    pub async fn flush(&self) -> Result<()> {
        self.shared.queue.empty().await
    }

    /// Takes no more writes, and waits until nothing more is sent to the back. What waits stays in
    /// the front, for the next opener.
    pub async fn close(&self) {
        let message = "the queue was closed; open it again to write";
        self.shared.queue.close(Error::closed(Operation::Put, message));
        self.shared.abandoned.store(true, Ordering::Release);
        self.shared.queue.still().await;
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.shared.abandoned.store(true, Ordering::Release);
    }
}

impl Shared {
    fn start_drain(self: &Arc<Self>) {
        self.env.spawn(drain::run(Arc::clone(self)));
    }

    /// Reads one value from where it is.
    async fn read(self: &Arc<Self>, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        range.clip(0)?;
        let (waiting_key, there_key) = (waiting_key(key)?, there_key(key)?);
        let shift = |at: u64| at.saturating_add(VALUE_HEAD_BYTES);
        let shifted = ByteRange { start: shift(range.start), end: range.end.map(shift) };
        let mut seen = None;
        loop {
            if let Some(row) = self.front.get(&waiting_key, shifted).await? {
                return Ok(self.waiting(key, row));
            }
            let Some(found) = self.back.get(key, range).await? else { return Ok(None) };
            if self.front.get(&waiting_key, NOTHING).await?.is_some() {
                // Perhaps what was found is that write, on its way.
                continue;
            }
            let there = self.front.get_all(&there_key).await?;
            let there = there.map(|row| There::decode(key, &row.value)).transpose()?;
            // A value that moved between the questions is asked for again. One that goes on being
            // other than was remembered was written by somebody else.
            let revision = match &there {
                Some(there) if there.back == found.revision => there.shown.clone(),
                Some(there) if seen.as_ref() != Some(&(there.clone(), found.revision.clone())) => {
                    seen = Some((there.clone(), found.revision));
                    continue;
                }
                _ => shown_back(&found.revision),
            };
            return Ok(Some(Object { revision, ..found }));
        }
    }

    /// What a row that waits says of its key. Its value's range comes without the row's head.
    fn waiting(self: &Arc<Self>, key: &Key, row: Object) -> Option<Object> {
        // A write that was reported as unknown may have come to the front after all.
        if self.queue.found(key, row.size) {
            self.start_drain();
        }
        let size = row.size.checked_sub(VALUE_HEAD_BYTES)?;
        Some(Object { value: row.value, revision: shown_waiting(&row.revision), size })
    }

    async fn read_many(self: &Arc<Self>, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        let rows: Vec<Key> = keys.iter().map(waiting_key).collect::<Result<_>>()?;
        let waiting = self.front.get_many(&rows).await?;
        let mut answers = vec![None; keys.len()];
        let mut others = Vec::new();
        for (at, row) in waiting.into_iter().enumerate() {
            match row {
                Some(row) => answers[at] = Waiting::object(&keys[at], row)?,
                None => others.push(at),
            }
        }
        let asked: Vec<Key> = others.iter().map(|at| keys[*at].clone()).collect();
        let found = self.back.get_many(&asked).await?;
        for (at, object) in others.into_iter().zip(self.show(&asked, found).await?) {
            answers[at] = object;
        }
        Ok(answers)
    }

    /// Gives values that the back gave the revisions that callers know.
    async fn show(
        self: &Arc<Self>,
        keys: &[Key],
        found: Vec<Option<Object>>,
    ) -> Result<Vec<Option<Object>>> {
        let mut rows: Vec<Key> = keys.iter().map(there_key).collect::<Result<_>>()?;
        for key in keys {
            rows.push(waiting_key(key)?);
        }
        let mut rows = self.front.get_many(&rows).await?;
        let waiting = rows.split_off(keys.len());
        let mut answers = Vec::with_capacity(keys.len());
        for (((key, object), there), waiting) in keys.iter().zip(found).zip(rows).zip(waiting) {
            let there = there.map(|row| There::decode(key, &row.value)).transpose()?;
            answers.push(match (object, there) {
                _ if waiting.is_some() => self.read(key, ByteRange::ALL).await?,
                (Some(object), Some(there)) if there.back == object.revision => {
                    Some(Object { revision: there.shown, ..object })
                }
                (Some(_), Some(_)) => self.read(key, ByteRange::ALL).await?,
                (Some(object), None) => {
                    let revision = shown_back(&object.revision);
                    Some(Object { revision, ..object })
                }
                (None, _) => None,
            });
        }
        Ok(answers)
    }

    /// Puts a write into the front, in a task of its own: it is never given up half-way.
    async fn write(
        self: &Arc<Self>,
        operation: Operation,
        key: &Key,
        waiting: Waiting,
        expect: Expect,
    ) -> Result<Revision> {
        let (sender, receiver) = oneshot::channel();
        let (shared, key) = (Arc::clone(self), key.clone());
        self.env.spawn(async move {
            // A caller who has gone needs no answer.
            drop(sender.send(shared.write_here(operation, key, waiting, expect).await));
        });
        receiver.await.unwrap_or_else(|_| {
            let message = "the environment ended before the write did; look before writing again";
            Err(Error::unknown(operation, message))
        })
    }

    async fn write_here(
        self: &Arc<Self>,
        operation: Operation,
        key: Key,
        waiting: Waiting,
        expect: Expect,
    ) -> Result<Revision> {
        let row = waiting.encode();
        let bytes = (row.len() + key.as_bytes().len()) as u64;
        let room = self.queue.room(operation, bytes).await?;
        let waiting_key = waiting_key(&key)?;
        loop {
            let mut batch = Batch::new();
            batch.check(owner_key()?, Expect::Revision(self.owner.clone()));
            let (turn, row_expect) = if expect == Expect::Any {
                (None, Expect::Any)
            } else {
                let turn = self.turn(&key).await;
                let (row, there) = self.expected(operation, &key, &expect).await?;
                batch.check(there_key(&key)?, there);
                (Some(turn), row)
            };
            batch.put(waiting_key.clone(), row.clone(), row_expect);
            let answer = self.front.apply(batch).await;
            drop(turn);
            match answer {
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    let error = self.conflict(error);
                    if error.kind() != ErrorKind::Conflict {
                        return Err(error);
                    }
                    // The key was written or moved since it was looked at: its new state decides.
                }
                Err(error) if error.kind() != ErrorKind::Unknown => {
                    return Err(error.with_key(&key));
                }
                answer => {
                    let start = self.queue.add(key.clone(), bytes);
                    drop(room);
                    if start {
                        self.start_drain();
                    }
                    let answer = answer.map_err(|error| error.with_key(&key));
                    return answer.map(|front| shown_waiting(&front));
                }
            }
        }
    }

    /// Lets nobody else compare or move this key.
    async fn turn(&self, key: &Key) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        self.turns[hash as usize % TURNS].lock().await
    }

    /// Checks a write's expectation, and says in which state the front's rows of the key must be
    /// for that to hold still: the row that waits, and the row of what is there.
    async fn expected(
        self: &Arc<Self>,
        operation: Operation,
        key: &Key,
        expect: &Expect,
    ) -> Result<(Expect, Expect)> {
        let there = self.front.get_all(&there_key(key)?).await?;
        let waiting = self.front.get(&waiting_key(key)?, NOTHING).await?;
        let there_expect = Expect::from(there.as_ref().map(|row| row.revision.clone()));
        let waiting_expect = Expect::from(waiting.as_ref().map(|row| row.revision.clone()));
        let current = match waiting {
            Some(row) => (row.size > 0).then(|| shown_waiting(&row.revision)),
            None if there.is_none() && self.settings.is_written_once(key.as_str()) => None,
            None => {
                let there = there.map(|row| There::decode(key, &row.value)).transpose()?;
                let found = self.back.get(key, NOTHING).await?;
                found.map(|found| match there {
                    Some(there) if there.back == found.revision => there.shown,
                    _ => shown_back(&found.revision),
                })
            }
        };
        if expect.holds(current.as_ref()) {
            return Ok((waiting_expect, there_expect));
        }
        let message = "the key has changed since it was read; read it again";
        Err(Error::conflict(operation, message).with_key(key))
    }

    async fn health(&self) -> Result<Health> {
        self.front.health().await?;
        let Backlog { rows, bytes, failure } = self.queue.backlog();
        let note = format!("{rows} writes with {bytes} bytes wait in front");
        match self.back.health().await {
            Ok(mut health) => {
                let failed = failure.map(|error| format!("; the last try: {}", error.message()));
                health.notes.push(note + &failed.unwrap_or_default());
                Ok(health)
            }
            Err(error) => {
                let message = format!("the backend behind does not serve, and {note}");
                Err(Error::new(error.kind(), Operation::Health, message).with_source(error))
            }
        }
    }
}

#[async_trait]
impl Backend for Behind {
    fn profile(&self) -> &Profile {
        &self.shared.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        range.clip(0)?;
        if key.as_bytes().len() > self.shared.profile.key_bytes_max {
            // Nothing can be under a key that is too long to be written.
            return Ok(None);
        }
        self.shared.read(key, range).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        let fits = |key: &&Key| key.as_bytes().len() <= self.shared.profile.key_bytes_max;
        let asked: Vec<Key> = keys.iter().filter(fits).cloned().collect();
        let mut found = self.shared.read_many(&asked).await?.into_iter();
        let answer = |key| if fits(&key) { found.next().flatten() } else { None };
        Ok(keys.iter().map(answer).collect())
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.check_limits(Operation::Put, key, value.len())?;
        self.shared.write(Operation::Put, key, Waiting::Value(value), expect).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.check_limits(Operation::Delete, key, 0)?;
        self.shared.write(Operation::Delete, key, Waiting::Delete, expect).await.map(drop)
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.shared.list(list).await
    }

    async fn find(&self, _find: &Find) -> Result<Page> {
        let message = "rows that wait to be written behind have no descriptions";
        Err(Error::unsupported(Operation::Find, message))
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.check_batch(&batch)?;
        Err(Error::unsupported(Operation::Apply, "a write-behind has no batches"))
    }

    async fn health(&self) -> Result<Health> {
        self.shared.health().await
    }
}
