//! Places as whoever verifies a volume reads them: every segment from a copy that is whole, if
//! there is one. Which copies are not is for the scrub to say.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use holdall_core::{
    Backend, Batch, ByteRange, Expect, Find, Health, Key, List, Object, Page, Profile, Result,
    Revision, async_trait,
};

use crate::placement::jobs::check_segment;
use crate::placement::spread::Spread;

/// The segment read last is in memory.
#[derive(Debug)]
pub(crate) struct Whole {
    spread: Arc<Spread>,
    last: Mutex<Option<(Key, Object)>>,
}

impl Whole {
    pub(crate) fn new(spread: Arc<Spread>) -> Self {
        Self { spread, last: Mutex::new(None) }
    }

    fn held(&self, key: &Key) -> Option<Object> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(held, _)| held == key).map(|(_, object)| object.clone())
    }
}

#[async_trait]
impl Backend for Whole {
    fn profile(&self) -> &Profile {
        self.spread.profile()
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        let Some(id) = self.spread.data_keys.segment_id(key) else {
            return self.spread.get(key, range).await;
        };
        let volume = self.spread.data_keys.volume_id();
        let (mut object, mut tried, mut first) = (self.held(key), Vec::new(), None);
        while object.is_none() {
            let read = self.spread.get_segment(id, ByteRange::ALL, &tried).await?;
            let Some((found, place)) = read else { break };
            if check_segment(volume, id, &found.value).is_ok() {
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                *last = Some((key.clone(), found.clone()));
                object = Some(found);
            } else {
                self.spread.damaged(id, place);
                tried.push(place);
                first.get_or_insert(found);
            }
        }
        let Some(object) = object.or(first) else { return Ok(None) };
        let wanted = range.clip(object.size)?;
        let value = object.value.slice(wanted.start as usize..wanted.end as usize);
        Ok(Some(Object { value, ..object }))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.spread.get_many(keys).await
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.spread.put(key, value, expect).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        self.spread.delete(key, expect).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.spread.list(list).await
    }

    async fn find(&self, find: &Find) -> Result<Page> {
        self.spread.find(find).await
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        self.spread.apply(batch).await
    }

    async fn health(&self) -> Result<Health> {
        self.spread.health().await
    }
}
