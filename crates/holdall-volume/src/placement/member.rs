//! A place with its backend: calls have a deadline, and what comes of them is noted.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{Either, select};
use holdall_core::{
    Backend, BackendExt, ByteRange, Conditions, Durability, Env, Error, ErrorKind, Expect, Key,
    List, Object, Operation, Page, Result,
};

use crate::placement::Place;
use crate::placement::vitals::Vitals;

/// A place that was opened. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Member(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    env: Env,
    place: Place,
    vitals: Vitals,
}

impl Member {
    pub(crate) fn new(env: Env, place: Place) -> Self {
        Self(Arc::new(Inner { env, place, vitals: Vitals::default() }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.place.name
    }

    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.0.place.backend
    }

    pub(crate) fn vitals(&self) -> &Vitals {
        &self.0.vitals
    }

    pub(crate) fn is_up(&self) -> bool {
        self.0.vitals.is_up(&self.0.place.health, self.0.env.elapsed())
    }

    pub(crate) fn has_room(&self) -> bool {
        self.0.vitals.has_room(self.0.env.elapsed())
    }

    /// Makes a call that writes so many bytes, or none; one that takes too long has failed.
    async fn call<T>(
        &self,
        operation: Operation,
        bytes: u64,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Inner { env, place, vitals } = &*self.0;
        let call = std::pin::pin!(call);
        let result = match select(call, env.sleep(place.health.deadline(bytes))).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => {
                let message = format!("place `{}` does not answer; look after it", place.name);
                Err(Error::unavailable(operation, message))
            }
        };
        vitals.note(&place.health, env.elapsed(), &result);
        result
    }

    /// Reads an object, or a part of it.
    pub(crate) async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        let watch = self.0.env.stopwatch();
        let found = self.call(Operation::Get, 0, self.backend().get(key, range)).await;
        if found.is_ok() {
            self.0.vitals.note_latency(watch.elapsed());
        }
        found
    }

    pub(crate) async fn list(&self, list: &List) -> Result<Page> {
        self.call(Operation::List, 0, self.backend().list(list)).await
    }

    /// Every key with this beginning, and how long its object is.
    pub(crate) async fn list_all(&self, prefix: &str) -> Result<BTreeMap<Key, u64>> {
        let mut found = BTreeMap::new();
        let mut list = List::prefix(prefix);
        loop {
            let page = self.list(&list).await?;
            let last = page.rows.last().map(|row| row.key.as_str().to_owned());
            found.extend(page.rows.into_iter().map(|row| (row.key, row.size)));
            match last {
                Some(last) if page.more => list = list.after(last),
                _ => return Ok(found),
            }
        }
    }

    pub(crate) async fn delete(&self, key: &Key) -> Result<()> {
        self.call(Operation::Delete, 0, self.backend().delete(key, Expect::Any)).await
    }

    /// Writes an object over whatever is there.
    pub(crate) async fn replace(&self, key: &Key, bytes: Bytes) -> Result<()> {
        let length = bytes.len() as u64;
        let put = self.backend().put(key, bytes, Expect::Any);
        self.call(Operation::Put, length, put).await.map(drop)
    }

    /// Writes an object that nobody else may ever write: one that is there already must be it.
    ///
    /// # Errors
    /// `Conflict` if other bytes are there, or it is not certain that they are durable; otherwise
    /// the backend's.
    pub(crate) async fn create(&self, key: &Key, bytes: Bytes) -> Result<()> {
        let length = bytes.len() as u64;
        let profile = self.backend().profile();
        let checked = profile.conditions != Conditions::None;
        let expect = if checked { Expect::Absent } else { Expect::Any };
        let put = self.backend().put(key, bytes.clone(), expect);
        let error = match self.call(Operation::Put, length, put).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        // On one machine, bytes that can be read back may still be in memory alone.
        let sure = profile.durability != Durability::Machine;
        if !sure || !matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unknown) {
            return Err(error);
        }
        let found = self.call(Operation::Get, 0, self.backend().get_all(key)).await;
        match found {
            Ok(Some(object)) if object.value == bytes => Ok(()),
            _ => Err(error),
        }
    }
}
