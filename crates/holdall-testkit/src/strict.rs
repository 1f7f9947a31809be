//! A backend stricter than any real one: it uses every freedom that the contract leaves.
//!
//! Code that works here does not lean on what memory or LMDB happen to do. Pages are of one or two
//! rows and claim that more may follow even at the end; revisions are words that do not count, and
//! on request repeat for equal bytes as an ETag does; limits are small; every call suspends before
//! and after it acts, so that others run in between and a future can be dropped at either point.
//! Without its replica its reads show writes that were never acknowledged, and that are gone when
//! the replica takes over.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Conditions, Durability, Error, Expect, Find,
    Health, Key, List, Object, Op, Operation, Page, Profile, Reach, Result, Revision, Row,
    async_trait,
};

use crate::method::suspend;

/// A memory backend that uses every freedom the contract leaves.
#[derive(Debug)]
pub struct Strict {
    profile: Profile,
    digests: bool,
    plain_keys: bool,
    state: Mutex<State>,
}

type Rows = BTreeMap<Key, (Bytes, Revision)>;

#[derive(Debug, Default)]
struct State {
    rows: Rows,
    /// What the replica has, while it hears of nothing.
    replica: Option<Rows>,
    writes: u64,
    lists: u64,
}

impl Strict {
    /// An empty backend with small limits, batches and all conditions.
    pub fn new() -> Self {
        let profile = Profile {
            engine: "strict",
            key_bytes_max: 400,
            value_bytes_max: 1 << 20,
            batch_ops_max: 64,
            batch_bytes_max: 1 << 20,
            atomic: true,
            metadata: false,
            conditions: Conditions::Revision,
            reach: Reach::Process,
            durability: Durability::Process,
        };
        Self { profile, digests: false, plain_keys: false, state: Mutex::default() }
    }

    /// Revisions become digests of what was written: equal bytes have equal revisions.
    #[must_use]
    pub fn with_digests(mut self) -> Self {
        self.digests = true;
        self
    }

    /// Without batches, as an object store.
    #[must_use]
    pub fn without_batches(mut self) -> Self {
        self.profile.atomic = false;
        self.profile.batch_ops_max = 0;
        self.profile.batch_bytes_max = 0;
        self
    }

    /// Checks only these expectations.
    #[must_use]
    pub fn with_conditions(mut self, conditions: Conditions) -> Self {
        self.profile.conditions = conditions;
        self
    }

    /// States this reach.
    #[must_use]
    pub fn with_reach(mut self, reach: Reach) -> Self {
        self.profile.reach = reach;
        self
    }

    /// States this durability. Nothing is any safer for it.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.profile.durability = durability;
        self
    }

    /// Refuses keys of anything but ASCII letters, digits, `-`, `_`, `.` and `/`.
    #[must_use]
    pub fn with_plain_keys(mut self) -> Self {
        self.plain_keys = true;
        self
    }

    /// Takes values of at most so many bytes.
    #[must_use]
    pub fn with_value_bytes_max(mut self, bytes: u64) -> Self {
        self.profile.value_bytes_max = bytes;
        self
    }

    /// Takes batches of at most so many steps and bytes.
    #[must_use]
    pub fn with_batch_limits(mut self, ops: usize, bytes: u64) -> Self {
        self.profile.batch_ops_max = ops;
        self.profile.batch_bytes_max = bytes;
        self
    }

    /// From now on its replica hears of no write: each happens and can be read, but is `Unknown`.
    pub fn lose_replica(&self) {
        let mut state = self.lock();
        if state.replica.is_none() {
            state.replica = Some(state.rows.clone());
        }
    }

    /// The replica hears of everything again, and of what it has missed.
    pub fn find_replica(&self) {
        self.lock().replica = None;
    }

    /// The replica takes over: what it has not heard of never was.
    pub fn fail_over(&self) {
        let mut state = self.lock();
        if let Some(rows) = state.replica.take() {
            state.rows = rows;
        }
    }

    // Nothing below panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_key(&self, operation: Operation, key: &Key) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if self.plain_keys && !key.as_str().chars().all(plain) {
            let message = "the key has a character that this backend does not take";
            return Err(Error::invalid(operation, message).with_key(key));
        }
        Ok(())
    }

    fn check_expect(&self, operation: Operation, expect: &Expect) -> Result<()> {
        let needed = match expect {
            Expect::Any => Conditions::None,
            Expect::Absent => Conditions::Absent,
            Expect::Revision(_) => Conditions::Revision,
        };
        if self.profile.conditions < needed {
            let message = "this backend cannot check what the write expects";
            return Err(Error::unsupported(operation, message));
        }
        Ok(())
    }

    fn write(&self, operation: Operation, ops: Vec<Op>) -> Result<Revision> {
        for op in &ops {
            self.check_key(operation, op.key())?;
            self.check_expect(operation, op.expect())?;
        }
        let mut state = self.lock();
        for op in &ops {
            let current = state.rows.get(op.key()).map(|(_, revision)| revision);
            if !op.expect().holds(current) {
                let message = "the key is not as expected; read it again";
                return Err(Error::conflict(operation, message).with_key(op.key()));
            }
        }
        state.writes += 1;
        let revision = self.revision(state.writes, &ops);
        for op in ops {
            match op {
                Op::Put { key, value, .. } => {
                    // A copy of its own: nobody may change or free what is stored.
                    let value = Bytes::copy_from_slice(&value);
                    state.rows.insert(key, (value, revision.clone()));
                }
                Op::Delete { key, .. } => drop(state.rows.remove(&key)),
                Op::Check { .. } => {}
            }
        }
        if state.replica.is_some() {
            let message = "no replica has acknowledged this write; look before trying again";
            return Err(Error::unknown(operation, message));
        }
        Ok(revision)
    }

    fn revision(&self, writes: u64, ops: &[Op]) -> Revision {
        let mut digest = DefaultHasher::new();
        if !self.digests {
            writes.hash(&mut digest);
            // The count at the end keeps two revisions from ever being equal by chance.
            return Revision::text(&format!("\"{:08x}-{writes}\"", digest.finish() >> 32));
        }
        for op in ops {
            if let Op::Put { key, value, .. } = op {
                // One put's digest is of its bytes alone, as an ETag; a batch's, of all its rows.
                (ops.len() > 1).then(|| key.hash(&mut digest));
                value.hash(&mut digest);
            }
        }
        Revision::text(&format!("\"{:016x}\"", digest.finish()))
    }
}

impl Default for Strict {
    fn default() -> Self {
        Self::new()
    }
}

fn object((value, revision): &(Bytes, Revision)) -> Object {
    Object { value: value.clone(), revision: revision.clone(), size: value.len() as u64 }
}

#[async_trait]
impl Backend for Strict {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        suspend().await;
        range.clip(0)?;
        let found = self.lock().rows.get(key).map(object);
        suspend().await;
        let Some(mut found) = found else {
            return Ok(None);
        };
        let range = range.clip(found.size)?;
        found.value = found.value.slice(range.start as usize..range.end as usize);
        Ok(Some(found))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        suspend().await;
        // Only an atomic backend's answer is of one moment; another's may be of many.
        let mut answer = Vec::with_capacity(keys.len());
        if self.profile.atomic {
            let state = self.lock();
            answer.extend(keys.iter().map(|key| state.rows.get(key).map(object)));
        } else {
            for key in keys {
                answer.push(self.lock().rows.get(key).map(object));
                suspend().await;
            }
        }
        suspend().await;
        Ok(answer)
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        suspend().await;
        self.check_limits(Operation::Put, key, value.len())?;
        let op = Op::put(key.clone(), value, expect);
        let revision = self.write(Operation::Put, vec![op]);
        suspend().await;
        revision
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        suspend().await;
        let done = self.write(Operation::Delete, vec![Op::Delete { key: key.clone(), expect }]);
        suspend().await;
        done.map(drop)
    }

    async fn list(&self, list: &List) -> Result<Page> {
        suspend().await;
        list.check()?;
        let page = {
            let mut state = self.lock();
            state.lists += 1;
            let limit = list.limit.min(1 + (state.lists % 2) as usize);
            let fits = state.rows.iter().filter(|(key, _)| list.contains(key.as_str()));
            let rows: Vec<Row> = fits
                .take(limit)
                .map(|(key, found)| Row {
                    key: key.clone(),
                    size: found.0.len() as u64,
                    object: list.values.then(|| object(found)),
                })
                .collect();
            // "There may be more" is allowed to be wrong, as long as this page is not empty.
            Page { more: !rows.is_empty(), rows }
        };
        suspend().await;
        Ok(page)
    }

    async fn find(&self, _: &Find) -> Result<Page> {
        Err(self.no_metadata())
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        suspend().await;
        self.check_batch(&batch)?;
        let revision = self.write(Operation::Apply, batch.ops);
        suspend().await;
        revision
    }

    async fn health(&self) -> Result<Health> {
        suspend().await;
        // It knows nothing about room, as most stores do.
        Ok(Health::default())
    }
}
