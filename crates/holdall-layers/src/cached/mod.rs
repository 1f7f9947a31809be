//! Copies of values nearer than the backend that has them: in memory, and on a disk or in another
//! backend.
//!
//! Above: [`Prefixed`](crate::Prefixed), so that keys are whole here. Below: the back, which is
//! the truth: all that is here may be lost at any time, and nothing else is lost with it.
//!
//! ```text
//!   get ──▶ memory ──▶ disk or front ──▶ one flight for all who ask ──▶ back
//!             ▲              ▲                        │
//!             └──────────────┴── whole values, if no write came in between
//! ```
//!
//! What holds at every moment:
//! - Whole values are kept, each with the revision that the back gave it, and a range is cut out of
//!   the whole.
//! - A copy is given out only if its revision is the current one, and there are three ways to
//!   know: the back's reach is this process, so that every write came through here; the key is
//!   [written once](CacheSettings::written_once); or the back was asked during the call, which
//!   moves no bytes of the value. A copy of before this cache was opened is used for keys that are
//!   written once, and the back is asked of it once.
//! - What a read brings is kept only if no write of its key began, went on or ended meanwhile
//!   (`guard.rs`). After a write whose outcome is not known its keys are asked for each time.
//! - Absence is not kept, and neither is an error: what the back answers is the answer. A disk or
//!   front that fails is passed by, counted, and told by `health`; the back has all that it had.
//!
//! What is read of a disk or front is compared with the checksum that was kept with it; a copy that
//! does not match is dropped, counted, and read from the back anew. Copies in memory are of checked
//! bytes, and are not checked again.
//!
//! Copies are the very bytes that the back holds. A volume hands its backends sealed frames and
//! segments, so the copies of a sealed volume are sealed.
//!
//! Memory: `memory_bytes`, which counts keys, values and an estimate for the maps; where there is a
//! disk or front also the revisions of the 100,000 keys used last (about 20 MiB) and the index of
//! what lies there (30 bytes a value on disk, 200 in front); and the values being read.

mod blocks;
mod counts;
mod disk;
mod flights;
mod front;
mod guard;
mod held;
mod memory;
mod read;
mod settings;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use holdall_core::{
    Backend, Batch, ByteRange, Env, Error, ErrorKind, Expect, Find, Health, Key, List, Object, Op,
    Operation, Page, Profile, Reach, Result, Revision, async_trait,
};

pub use counts::CacheCounts;
pub use settings::{CacheDisk, CacheSettings, Writes};

use counts::{Counters, count};
use disk::Disk;
use flights::Flights;
use front::Front;
use guard::{Guard, Ticket};
use held::{Copies, Held};
use memory::Memory;

/// Of how many keys the current revision is remembered where copies lie on a disk or in front.
const NAMES_MAX: usize = 100_000;

/// A backend whose values are kept nearer too. See the module's head.
#[derive(Debug)]
pub struct Cached {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    back: Arc<dyn Backend>,
    env: Env,
    settings: CacheSettings,
    memory: Option<Memory>,
    /// Current revisions of keys whose copies lie further off.
    names: foyer::Cache<Key, Revision>,
    copies: Option<Box<dyn Copies>>,
    /// Whether nobody but this process reaches the back.
    alone: bool,
    guard: Guard,
    flights: Arc<Flights>,
    fills: AtomicUsize,
    counters: Counters,
}

impl Shared {
    /// Whether no other process can have changed what this one knows of the key.
    fn trusts(&self, key: &Key) -> bool {
        (self.alone || self.settings.is_written_once(key.as_str())) && !self.guard.doubts(key)
    }

    fn in_memory(&self, key: &Key) -> Option<Held> {
        self.memory.as_ref()?.get(key)
    }

    fn forget(&self, key: &Key) {
        if let Some(memory) = &self.memory {
            memory.remove(key);
        }
        self.names.remove(key);
    }

    /// Notes what is current, if the ticket still holds.
    fn note(&self, ticket: Ticket, key: &Key, held: &Held) -> bool {
        self.guard.if_current(ticket, || {
            if let (Some(memory), true) = (&self.memory, held.is_whole()) {
                memory.insert(key, held);
            }
            if self.copies.is_some() {
                self.names.insert(key.clone(), held.revision.clone());
            }
        })
    }

    /// Keeps a whole value, if the ticket still holds.
    async fn keep(&self, ticket: Ticket, key: &Key, held: &Held) {
        if held.size > self.settings.value_bytes_max {
            return;
        }
        if !self.note(ticket, key, held) {
            return count(&self.counters.overtaken);
        }
        count(&self.counters.fills);
        // A copy further off may be overtaken on its way: it is compared before it is used.
        if let Some(copies) = &self.copies
            && copies.keep(key, held).await.is_err()
        {
            count(&self.counters.failures);
        }
    }

    /// Makes a write in a task of its own, so that one whose caller goes away leaves no doubt.
    async fn write<T: Clone + Send + Sync + 'static>(
        self: &Arc<Self>,
        operation: Operation,
        keys: Vec<Key>,
        write: impl FnOnce(Arc<dyn Backend>) -> BoxFuture<'static, Result<T>> + Send + 'static,
        written: impl FnOnce(&T) -> Vec<(Key, Bytes, Revision)> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let shared = Arc::clone(self);
        self.env.spawn(async move {
            let write = write(Arc::clone(&shared.back));
            // A caller who has gone needs no answer.
            drop(sender.send(shared.write_here(&keys, write, written).await));
        });
        receiver.await.unwrap_or_else(|_| {
            let message = "the environment ended before the write did; look before writing again";
            Err(Error::unknown(operation, message))
        })
    }

    /// Makes a write, and keeps what it wrote if that is wanted and nobody else wrote meanwhile.
    async fn write_here<T>(
        &self,
        keys: &[Key],
        write: BoxFuture<'static, Result<T>>,
        written: impl FnOnce(&T) -> Vec<(Key, Bytes, Revision)>,
    ) -> Result<T> {
        let under_way = self.guard.begin(keys.iter());
        keys.iter().for_each(|key| self.forget(key));
        let answer = write.await;
        if matches!(&answer, Err(error) if error.kind() == ErrorKind::Unknown) {
            // Dropping it leaves the doubt that there is.
            drop(under_way);
            return answer;
        }
        let tickets = under_way.ended();
        let rows = match (&answer, self.settings.writes) {
            (Ok(done), Writes::Through) => written(done),
            _ => Vec::new(),
        };
        for (key, bytes, revision) in rows {
            let size = bytes.len() as u64;
            let held = Held { revision, size, start: 0, bytes, earlier: false };
            if let Some(ticket) = tickets.ticket(&key) {
                self.keep(ticket, &key, &held).await;
            }
        }
        answer
    }
}

impl Cached {
    /// A cache of `back` in memory, and on a disk or in `front` if that is given. The disk needs
    /// the real environment: its files are the library's, and so are its threads.
    ///
    /// # Errors
    /// `Invalid` if the settings keep nothing, or keep it in two places; those of the disk and the
    /// front.
    pub async fn open(
        back: Arc<dyn Backend>,
        front: Option<Arc<dyn Backend>>,
        settings: CacheSettings,
        env: &Env,
    ) -> Result<Arc<Self>> {
        settings.check()?;
        let invalid = |message: &str| Err(Error::invalid(Operation::Configure, message));
        let copies: Option<Box<dyn Copies>> = match (front, &settings.disk) {
            (Some(_), Some(_)) => {
                return invalid(
                    "the cache has a disk and a front; choose one, or stack two caches",
                );
            }
            (Some(front), None) => Some(Box::new(Front::open(front, settings.front_bytes).await?)),
            (None, Some(disk)) => {
                Some(Box::new(Disk::open(disk, settings.value_bytes_max, env).await?))
            }
            (None, None) => None,
        };
        if settings.memory_bytes == 0 && copies.is_none() {
            return invalid("the cache has no memory, no disk and no front; give it one of them");
        }
        let names = foyer::CacheBuilder::new(NAMES_MAX).with_shards(16).build();
        let shared = Shared {
            alone: back.profile().reach == Reach::Process,
            back,
            env: env.clone(),
            memory: (settings.memory_bytes > 0).then(|| Memory::new(&settings)),
            settings,
            names,
            copies,
            guard: Guard::default(),
            flights: Arc::default(),
            fills: AtomicUsize::new(0),
            counters: Counters::default(),
        };
        Ok(Arc::new(Self { shared: Arc::new(shared) }))
    }

    /// What the cache has done so far.
    pub fn counts(&self) -> CacheCounts {
        self.shared.counters.snapshot()
    }

    /// Waits until what was kept lies on the disk.
    pub async fn flush(&self) {
        if let Some(copies) = &self.shared.copies {
            copies.flush().await;
        }
    }

    /// Writes down what is on its way to the disk, and lets go of its folder. Nothing more is kept
    /// there; reads and writes go on. Dropping the cache does the same a little later.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn close(&self) -> Result<()> {
        match &self.shared.copies {
            Some(copies) => copies.close().await,
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Backend for Cached {
    fn profile(&self) -> &Profile {
        self.shared.back.profile()
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        if let Some(answer) = self.shared.read_near(key, range) {
            return answer;
        }
        // In a box of its own, so that a hit is not moved about with all that a miss needs.
        Box::pin(self.shared.read(key, range)).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.shared.read_many(keys).await
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        let (name, row) = (key.clone(), (key.clone(), value.clone()));
        let put = |back: Arc<dyn Backend>| -> BoxFuture<'static, Result<Revision>> {
            Box::pin(async move { back.put(&name, value, expect).await })
        };
        let written = |revision: &Revision| vec![(row.0, row.1, revision.clone())];
        self.shared.write(Operation::Put, vec![key.clone()], put, written).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let name = key.clone();
        let delete = |back: Arc<dyn Backend>| -> BoxFuture<'static, Result<()>> {
            Box::pin(async move { back.delete(&name, expect).await })
        };
        let keys = vec![key.clone()];
        self.shared.write(Operation::Delete, keys, delete, |()| Vec::new()).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.shared.back.list(list).await
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        self.shared.back.find(find).await
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        let keys: Vec<Key> = batch.ops.iter().map(|op| op.key().clone()).collect();
        let puts = batch.ops.iter().filter_map(|op| match op {
            Op::Put { key, value, .. } => Some((key.clone(), value.clone())),
            Op::Delete { .. } | Op::Check { .. } => None,
        });
        let puts: Vec<(Key, Bytes)> = puts.collect();
        let written = |revision: &Revision| {
            puts.into_iter().map(|(key, value)| (key, value, revision.clone())).collect()
        };
        let apply = |back: Arc<dyn Backend>| -> BoxFuture<'static, Result<Revision>> {
            Box::pin(async move { back.apply(batch).await })
        };
        self.shared.write(Operation::Apply, keys, apply, written).await
    }

    async fn health(&self) -> Result<Health> {
        let mut health = self.shared.back.health().await?;
        let counts = self.counts();
        let memory = self.shared.memory.as_ref().map_or(0, |memory| memory.usage());
        let copies = self.shared.copies.as_ref().map(|copies| format!(", {}", copies.note()));
        let doubted = self.shared.guard.doubted();
        health.notes.push(format!(
            "cache: {} hits, {} misses, {} failures, {memory} bytes in memory{}{}{}",
            counts.memory_hits + counts.kept_hits,
            counts.misses,
            counts.failures,
            copies.unwrap_or_default(),
            match counts.damaged {
                0 => String::new(),
                damaged => format!(", {damaged} damaged copies in front were read anew"),
            },
            if doubted > 0 { ", some keys in doubt after writes of unknown outcome" } else { "" }
        ));
        Ok(health)
    }
}
