//! A whole backend in one file: values in a sorted map behind a lock, used for a volume's data.
//!
//! Copy it, and put your store in the map's place. It holds every clause of `docs/contract.md`;
//! `holdall_testkit::conformance!(Shelf::default);` in a test shows that yours does, too, as
//! `tests/own_backend.rs` does for this one.
//!
//! `cargo run --example own_backend`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdall::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Conditions, Durability, Engine, Error, Expect,
    Find, Health, Key, List, Object, Operation, Page, Profile, Reach, ReadOptions, Result,
    Revision, Row, WriteOptions, async_trait,
};

/// Values on a shelf in this process.
#[derive(Debug)]
pub(crate) struct Shelf {
    profile: Profile,
    values: Mutex<Values>,
}

#[derive(Debug, Default)]
struct Values {
    written: u64,
    rows: BTreeMap<Key, (Revision, Bytes)>,
}

impl Default for Shelf {
    fn default() -> Self {
        // What is said here is all that callers rely on, and the suite tests each word of it.
        let profile = Profile {
            engine: "shelf",
            key_bytes_max: holdall::KEY_BYTES_MAX,
            value_bytes_max: 256 << 20,
            batch_ops_max: 0,
            batch_bytes_max: 0,
            atomic: false,
            metadata: false,
            conditions: Conditions::Revision,
            reach: Reach::Process,
            durability: Durability::Process,
        };
        Self { profile, values: Mutex::default() }
    }
}

impl Shelf {
    fn values(&self) -> MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(values: &Values, operation: Operation, key: &Key, expect: &Expect) -> Result<()> {
    if expect.holds(values.rows.get(key).map(|(revision, _)| revision)) {
        return Ok(());
    }
    Err(Error::conflict(operation, "what is there is not as expected; read it again").with_key(key))
}

fn object(revision: &Revision, value: &Bytes, range: ByteRange) -> Result<Object> {
    let size = value.len() as u64;
    let wanted = range.clip(size)?;
    let value = value.slice(wanted.start as usize..wanted.end as usize);
    Ok(Object { value, revision: revision.clone(), size })
}

#[async_trait]
impl Backend for Shelf {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        range.clip(0)?;
        let values = self.values();
        let found = values.rows.get(key);
        found.map(|(revision, value)| object(revision, value, range)).transpose()
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        let values = self.values();
        let find = |key| match values.rows.get(key) {
            Some((revision, value)) => object(revision, value, ByteRange::ALL).map(Some),
            None => Ok(None),
        };
        keys.iter().map(find).collect()
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.check_limits(Operation::Put, key, value.len())?;
        let mut values = self.values();
        check(&values, Operation::Put, key, &expect)?;
        values.written += 1;
        let revision = Revision::number(values.written);
        values.rows.insert(key.clone(), (revision.clone(), value));
        Ok(revision)
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let mut values = self.values();
        check(&values, Operation::Delete, key, &expect)?;
        values.rows.remove(key);
        Ok(())
    }

    async fn list(&self, list: &List) -> Result<Page> {
        list.check()?;
        let values = self.values();
        let from = list.lower_bound();
        let mut found = values
            .rows
            .range::<str, _>((from, std::ops::Bound::Unbounded))
            .take_while(|(key, _)| key.as_str().starts_with(&list.prefix));
        let mut page = Page::default();
        for (key, (revision, value)) in found.by_ref().take(list.limit) {
            let object =
                list.values.then(|| object(revision, value, ByteRange::ALL)).transpose()?;
            page.rows.push(Row { key: key.clone(), size: value.len() as u64, object });
        }
        page.more = found.next().is_some();
        Ok(page)
    }

    async fn find(&self, _: &Find) -> Result<Page> {
        Err(self.no_metadata())
    }

    async fn apply(&self, _: Batch) -> Result<Revision> {
        // The profile says so; with batches it could hold catalogs as well.
        Err(Error::unsupported(Operation::Apply, "shelf cannot apply a batch all or nothing"))
    }

    async fn health(&self) -> Result<Health> {
        let used = self.values().rows.values().map(|(_, value)| value.len() as u64).sum();
        Ok(Health { bytes_used: Some(used), ..Health::default() })
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let shelf = Arc::new(Shelf::default());
    let engine = Engine::builder().data_backend(Arc::<Shelf>::clone(&shelf)).open().await?;
    engine.create_volume("things").await?;
    let bytes = Bytes::from(vec![b'x'; 1 << 20]);
    engine.write("things", "large", bytes.clone(), WriteOptions::default()).await?;
    assert_eq!(engine.read("things", "large", ReadOptions::default()).await?, Some(bytes));
    engine.close().await?;
    for key in shelf.values().rows.keys() {
        println!("{key}");
    }
    Ok(())
}
