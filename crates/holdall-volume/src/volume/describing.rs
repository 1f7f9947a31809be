//! The catalog as the volume sees it where its engine keeps metadata: every entry's row that is
//! written, by whatever part of the volume, is described, so that it can be found by that.

use std::sync::Arc;

use holdall_core::{
    Backend, Batch, ByteRange, Bytes, Description, Expect, Find, Health, Key, List, Object, Op,
    Page, Profile, Result, Revision, async_trait,
};

use crate::format::entry::Entry;
use crate::format::keys::{CatalogKeys, VolumeId};

/// A catalog whose entry rows are described.
#[derive(Debug)]
struct Describing {
    inner: Arc<dyn Backend>,
    keys: CatalogKeys,
    volume: VolumeId,
}

/// The catalog of this volume, with its entry rows described if the engine keeps that.
pub(crate) fn describing(catalog: Arc<dyn Backend>, volume: VolumeId) -> Arc<dyn Backend> {
    if !catalog.profile().metadata {
        return catalog;
    }
    Arc::new(Describing { inner: catalog, keys: CatalogKeys::new(volume), volume })
}

impl Describing {
    fn describe(&self, key: &Key, value: &Bytes) -> Option<Box<Description>> {
        let name = self.keys.entry_name(key)?;
        // What does not decode was not written by a volume and cannot be found by what it says.
        let entry = Entry::decode(key, value).ok()?;
        Some(Box::new(Description {
            volume: self.volume.to_string(),
            name: name.to_owned(),
            size: entry.size,
            written: entry.written,
            expires: entry.expires,
            content_type: entry.content_type,
            attributes: entry.attributes,
        }))
    }
}

#[async_trait]
impl Backend for Describing {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.inner.get(key, range).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.inner.get_many(keys).await
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        let description = self.describe(key, &value);
        if description.is_none() {
            return self.inner.put(key, value, expect).await;
        }
        let op = Op::Put { key: key.clone(), value, expect, description };
        self.inner.apply(Batch { ops: vec![op] }).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.inner.delete(key, expect).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.inner.list(list).await
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        self.inner.find(find).await
    }

    async fn apply(&self, mut batch: Batch) -> Result<Revision> {
        for op in &mut batch.ops {
            if let Op::Put { key, value, description, .. } = op {
                *description = self.describe(key, value);
            }
        }
        self.inner.apply(batch).await
    }

    async fn health(&self) -> Result<Health> {
        self.inner.health().await
    }
}
