//! A part of a backend: all keys under one prefix, which callers do not see.
//!
//! Below: any backend. So several engines can share a database or a bucket.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{
    Backend, Batch, ByteRange, Error, Expect, Find, Health, Key, List, Object, Op, Operation, Page,
    Profile, Result, Revision, Row, async_trait,
};

/// The least that a key must still have room for.
const KEY_BYTES_LEFT: usize = 128;

/// The least that a batch must still have room for.
const BATCH_BYTES_LEFT: u64 = 16 << 10;

/// A backend that sees only the keys under a prefix, without it.
#[derive(Debug)]
pub struct Prefixed {
    inner: Arc<dyn Backend>,
    prefix: Key,
    profile: Profile,
}

impl Prefixed {
    /// The part of `inner` whose keys begin with `prefix`, to the letter: end it with a slash if
    /// it is to be a folder.
    ///
    /// # Errors
    /// `Invalid` if the prefix is no key, or leaves too little room for keys or batches.
    pub fn new(inner: Arc<dyn Backend>, prefix: &str) -> Result<Self> {
        let prefix = Key::parse(prefix)?;
        let bytes = prefix.as_bytes().len();
        let mut profile = inner.profile().clone();
        profile.key_bytes_max = profile.key_bytes_max.saturating_sub(bytes);
        let batch_bytes = bytes as u64 * profile.batch_ops_max as u64;
        profile.batch_bytes_max = profile.batch_bytes_max.saturating_sub(batch_bytes);
        let batches = !profile.atomic || profile.batch_bytes_max >= BATCH_BYTES_LEFT;
        if profile.key_bytes_max < KEY_BYTES_LEFT || !batches {
            let message = format!(
                "the prefix has {bytes} bytes and leaves too little room on {}; take a shorter one",
                profile.engine
            );
            return Err(Error::invalid(Operation::Configure, message));
        }
        Ok(Self { inner, prefix, profile })
    }

    /// A caller's key as the backend has it.
    fn inside(&self, operation: Operation, key: &Key) -> Result<Key> {
        let (bytes, max) = (key.as_bytes().len(), self.profile.key_bytes_max);
        if bytes > max {
            let message = format!("the key has {bytes} bytes; under this prefix {max} are taken");
            return Err(Error::invalid(operation, message).with_key(key));
        }
        Key::parse(format!("{}{key}", self.prefix))
    }

    /// A caller's question as the backend has it.
    fn inside_list(&self, list: &List) -> List {
        let inside = |text: &String| format!("{}{text}", self.prefix);
        List {
            prefix: inside(&list.prefix),
            start: match &list.start {
                Bound::Unbounded => Bound::Unbounded,
                Bound::Included(start) => Bound::Included(inside(start)),
                Bound::Excluded(start) => Bound::Excluded(inside(start)),
            },
            ..list.clone()
        }
    }

    /// A backend's answer as callers have it.
    fn outside_page(&self, page: Result<Page>) -> Result<Page> {
        let page = page.map_err(|e| self.shown(e))?;
        let rows = page
            .rows
            .into_iter()
            .filter_map(|row| Some(Row { key: self.outside(&row.key)?, ..row }))
            .collect();
        Ok(Page { rows, more: page.more })
    }

    /// A backend's key as callers have it.
    fn outside(&self, key: &Key) -> Option<Key> {
        Key::parse(key.as_str().strip_prefix(self.prefix.as_str())?).ok()
    }

    /// An error that names keys as callers have them.
    fn shown(&self, error: Error) -> Error {
        match error.key().and_then(|key| self.outside(key)) {
            Some(key) => error.with_key(&key),
            None => error,
        }
    }
}

#[async_trait]
impl Backend for Prefixed {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        // Nothing can be under a key that is too long to be written.
        let Ok(key) = self.inside(Operation::Get, key) else { return Ok(None) };
        self.inner.get(&key, range).await.map_err(|e| self.shown(e))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        let inside: Vec<Option<Key>> =
            keys.iter().map(|key| self.inside(Operation::Get, key).ok()).collect();
        let asked: Vec<Key> = inside.iter().flatten().cloned().collect();
        let mut found = self.inner.get_many(&asked).await.map_err(|e| self.shown(e))?.into_iter();
        Ok(inside.iter().map(|key| key.as_ref().and_then(|_| found.next().flatten())).collect())
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        let key = self.inside(Operation::Put, key)?;
        self.inner.put(&key, value, expect).await.map_err(|e| self.shown(e))
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let key = self.inside(Operation::Delete, key)?;
        self.inner.delete(&key, expect).await.map_err(|e| self.shown(e))
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.outside_page(self.inner.list(&self.inside_list(list)).await)
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        let inner = Find { list: self.inside_list(&find.list), filter: find.filter.clone() };
        self.outside_page(self.inner.find(&inner).await)
    }

    async fn apply(&self, mut batch: Batch) -> Result<Revision> {
        for op in &mut batch.ops {
            let (Op::Put { key, .. } | Op::Delete { key, .. } | Op::Check { key, .. }) = op;
            *key = self.inside(Operation::Apply, key)?;
        }
        self.inner.apply(batch).await.map_err(|e| self.shown(e))
    }

    async fn health(&self) -> Result<Health> {
        self.inner.health().await
    }
}
