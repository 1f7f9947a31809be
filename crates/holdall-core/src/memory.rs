//! The memory backend: the contract as its shortest code.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Backend, BackendExt, Batch, ByteRange, Conditions, Description, Durability, Error, Expect,
    Find, Health, KEY_BYTES_MAX, Key, List, Object, Op, Operation, Page, Profile, Reach, Result,
    Revision, Row,
};

/// Keeps everything in this process's memory, and nothing after it ends.
#[derive(Debug)]
pub struct Memory {
    profile: Profile,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<Key, Stored>,
    revision: u64,
}

#[derive(Clone, Debug)]
struct Stored {
    value: Bytes,
    revision: u64,
    description: Option<Box<Description>>,
}

impl State {
    fn expect(&self, operation: Operation, key: &Key, expect: &Expect) -> Result<()> {
        let current = self.rows.get(key).map(|found| Revision::number(found.revision));
        if expect.holds(current.as_ref()) {
            return Ok(());
        }
        let message = "the key has changed since it was read; read it again";
        Err(Error::conflict(operation, message).with_key(key))
    }

    fn write(&mut self, op: Op) {
        match op {
            Op::Put { key, value, description, .. } => {
                let revision = self.revision;
                self.rows.insert(key, Stored { value, revision, description });
            }
            Op::Delete { key, .. } => {
                self.rows.remove(&key);
            }
            Op::Check { .. } => {}
        }
    }
}

impl Memory {
    /// An empty backend.
    pub fn new() -> Self {
        let profile = Profile {
            engine: "memory",
            key_bytes_max: KEY_BYTES_MAX,
            value_bytes_max: 1 << 30,
            batch_ops_max: 100_000,
            batch_bytes_max: 1 << 30,
            atomic: true,
            metadata: false,
            conditions: Conditions::Revision,
            reach: Reach::Process,
            durability: Durability::Process,
        };
        Self { profile, state: RwLock::default() }
    }

    /// The same, keeping the descriptions of its rows, so that they can be found by them.
    #[must_use]
    pub fn with_metadata(mut self) -> Self {
        self.profile.metadata = true;
        self
    }

    // No code below can panic while it holds the lock, so a poisoned lock still guards a whole
    // state.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn page(&self, list: &List, asked: impl Fn(&Stored) -> bool) -> Page {
        let state = self.read();
        let mut page = Page::default();
        let behind = state.rows.range::<str, _>((list.lower_bound(), Bound::Unbounded));
        let within = behind.take_while(|(key, _)| key.as_str().starts_with(&list.prefix));
        for (key, found) in within.filter(|(_, found)| asked(found)) {
            if page.rows.len() == list.limit {
                page.more = true;
                break;
            }
            let object = list.values.then(|| object(found));
            page.rows.push(Row { key: key.clone(), size: found.value.len() as u64, object });
        }
        page
    }

    fn write_one(&self, operation: Operation, op: Op) -> Result<Revision> {
        let mut state = self.write();
        state.expect(operation, op.key(), op.expect())?;
        state.revision += 1;
        state.write(op);
        Ok(Revision::number(state.revision))
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Backend for Memory {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        let found = self.read().rows.get(key).cloned();
        let size = found.as_ref().map_or(0, |found| found.value.len() as u64);
        let range = range.clip(size)?;
        Ok(found.map(|found| Object {
            value: found.value.slice(range.start as usize..range.end as usize),
            revision: Revision::number(found.revision),
            size,
        }))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        let state = self.read();
        Ok(keys.iter().map(|key| state.rows.get(key).map(object)).collect())
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.check_limits(Operation::Put, key, value.len())?;
        self.write_one(Operation::Put, Op::put(key.clone(), value, expect))
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.write_one(Operation::Delete, Op::Delete { key: key.clone(), expect }).map(drop)
    }

    async fn list(&self, list: &List) -> Result<Page> {
        list.check()?;
        Ok(self.page(list, |_| true))
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        if !self.profile.metadata {
            return Err(self.no_metadata());
        }
        find.list.check()?;
        Ok(self.page(&find.list, |found| {
            found.description.as_ref().is_some_and(|told| find.filter.fits_description(told))
        }))
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.check_batch(&batch)?;
        let mut state = self.write();
        for op in &batch.ops {
            state.expect(Operation::Apply, op.key(), op.expect())?;
        }
        state.revision += 1;
        batch.ops.into_iter().for_each(|op| state.write(op));
        Ok(Revision::number(state.revision))
    }

    async fn health(&self) -> Result<Health> {
        let bytes = self.read().rows.values().map(|found| found.value.len() as u64).sum();
        Ok(Health { bytes_used: Some(bytes), ..Health::default() })
    }
}

fn object(found: &Stored) -> Object {
    Object {
        value: found.value.clone(),
        revision: Revision::number(found.revision),
        size: found.value.len() as u64,
    }
}
