//! What a store really does, tried out when it is opened.
//!
//! Its name says little: there are servers that speak S3 and ignore `If-None-Match`, that check it
//! and let two racing creators win, or that list in another order.

use futures::{StreamExt, TryStreamExt, future};
use holdall_core::{ByteRange, Bytes, Conditions, Error, ErrorKind, Operation, Result};
use object_store::path::Path;
use object_store::{
    Error as StoreError, ObjectStoreExt, PutMode, PutOptions, PutPayload, PutResult,
};

use crate::ObjectBackend;

/// How many write at once, and how often.
const RACERS: usize = 12;
const ROUNDS: usize = 4;

/// Names whose order tells byte order from others, and a store of objects from one of files.
const NAMES: &[&str] = &["A", "Z", "_", "a", "a-", "a/b", "a0"];
/// The same for flat names.
const FLAT_NAMES: &[&str] = &["41", "5a", "61", "612d", "612d~/2f", "612e"];

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) conditions: Conditions,
    /// Why there are no more.
    pub(crate) lack: Option<&'static str>,
    /// Whether names are listed in the order of their bytes.
    pub(crate) ordered: bool,
    /// How many seconds the store's clock is ahead.
    pub(crate) clock: i64,
}

impl ObjectBackend {
    /// Tries the store out under the prefix, and removes what that wrote.
    pub(crate) async fn probe(&self) -> Result<Found> {
        let run = self.env.random::<8>().map(|byte| format!("{byte:02x}")).concat();
        let probe = Probe { backend: self, folder: run };
        let found = probe.run().await;
        let removed = probe.remove().await;
        let found = found?;
        removed?;
        Ok(found)
    }
}

struct Probe<'a> {
    backend: &'a ObjectBackend,
    folder: String,
}

impl Probe<'_> {
    async fn run(&self) -> Result<Found> {
        let clock = self.reads_follow_writes().await?;
        let ordered = self.listing().await?;
        let (conditions, lack) = self.conditions().await?;
        Ok(Found { conditions, lack, ordered, clock })
    }

    fn path(&self, name: &str) -> Path {
        self.backend.names.probe(&format!("{}/{name}", self.folder))
    }

    /// A value is there once its put has returned; says how far the store's clock is ahead.
    async fn reads_follow_writes(&self) -> Result<i64> {
        let path = self.path("value");
        for value in ["one", "two"] {
            let put = self.put(&path, value, PutMode::Overwrite).await;
            put.map_err(|error| {
                let error = self.backend.failed_reading(Operation::Open, error);
                if error.kind() != ErrorKind::Denied {
                    return error;
                }
                let message = "the credentials do not suffice to write, which opening tries; \
                               mend them, or to read alone open with probe=off&conditional=none";
                Error::denied(Operation::Open, message).with_source(error)
            })?;
            if self.value(&path).await? != Some(Bytes::from(value)) {
                return Err(unfit("does not show what was just written"));
            }
        }
        let now = i64::try_from(self.backend.env.now().as_micros() / 1_000_000).unwrap_or(0);
        let head = self.backend.head(&path).await;
        let head = head.map_err(|error| self.backend.failed_reading(Operation::Open, error))?;
        Ok(head.map_or(0, |meta| meta.last_modified.timestamp().saturating_sub(now)))
    }

    /// A listing shows what was written; says whether in order.
    async fn listing(&self) -> Result<bool> {
        let folder = self.path("names");
        let names = if self.backend.options.flat { FLAT_NAMES } else { NAMES };
        let put = |name: &&'static str| {
            let name = *name;
            let path = self.path(&format!("names/{name}"));
            async move { self.put(&path, name, PutMode::Overwrite).await }
        };
        for answer in future::join_all(names.iter().map(put)).await {
            answer.map_err(|error| {
                let message = "the store cannot hold a key beside one that continues it; if it \
                               keeps objects as files, open it with names=flat";
                let known = self.backend.failed_reading(Operation::Open, error);
                Error::unsupported(Operation::Open, message).with_source(known)
            })?;
        }
        let listed = self.names(&folder).await?;
        let mut sorted = listed.clone();
        sorted.sort();
        if sorted == names {
            return Ok(listed == sorted);
        }
        let message = "does not list what was just written, or cannot hold a key beside one that \
                       continues it; if it keeps objects as files, open it with names=flat";
        Err(unfit(message))
    }

    async fn names(&self, folder: &Path) -> Result<Vec<String>> {
        let listed = self.backend.reads.list(Some(folder)).try_collect::<Vec<_>>().await;
        let listed = listed.map_err(|error| self.backend.failed_reading(Operation::Open, error))?;
        let start = folder.as_ref().len() + 1;
        let name = |path: &Path| path.as_ref().get(start..).unwrap_or_default().to_owned();
        Ok(listed.iter().map(|meta| name(&meta.location)).collect())
    }

    async fn conditions(&self) -> Result<(Conditions, Option<&'static str>)> {
        if let Some(lack) = self.creating().await? {
            return Ok((Conditions::None, Some(lack)));
        }
        match self.updating().await? {
            Some(lack) => Ok((Conditions::Absent, Some(lack))),
            None => Ok((Conditions::Revision, None)),
        }
    }

    /// What is wrong with creating, if something is.
    async fn creating(&self) -> Result<Option<&'static str>> {
        let path = self.path("create");
        match self.put(&path, "first", PutMode::Create).await {
            Ok(_) => {}
            Err(error) => return self.cannot(error, "refuses to create under a condition"),
        }
        let again = self.put(&path, "second", PutMode::Create).await;
        let kept = self.value(&path).await? == Some(Bytes::from("first"));
        if !kept || !matches!(again, Err(StoreError::AlreadyExists { .. })) {
            return Ok(Some("overwrites where it was told to create"));
        }
        for round in 0..ROUNDS {
            let path = self.path(&format!("create-{round}"));
            if self.race(&path, PutMode::Create).await? != Some(1) {
                return Ok(Some("lets more than one of many racing creators win"));
            }
        }
        Ok(None)
    }

    /// What is wrong with writing where a revision is, if something is.
    async fn updating(&self) -> Result<Option<&'static str>> {
        let by = self.backend.by;
        let path = self.path("update");
        let update = |put: &PutResult| {
            by.of_put(put).and_then(|revision| by.update(&revision)).map(PutMode::Update)
        };
        let put = self.put(&path, "first", PutMode::Overwrite).await;
        let put = put.map_err(|error| self.backend.failed_reading(Operation::Open, error))?;
        let Some(first) = update(&put) else {
            return Ok(Some("says no revision of what it wrote"));
        };
        let current = match self.put(&path, "second", first.clone()).await {
            Ok(put) => update(&put),
            Err(error) => return self.cannot(error, "refuses to write where a revision is"),
        };
        let stale = self.put(&path, "third", first).await.is_err();
        if !stale || self.value(&path).await? != Some(Bytes::from("second")) {
            return Ok(Some("overwrites where it was told to expect another revision"));
        }
        let Some(mut current) = current else {
            return Ok(Some("says no revision of what it wrote"));
        };
        for _ in 0..ROUNDS {
            if self.race(&path, current.clone()).await? != Some(1) {
                return Ok(Some("lets more than one of many win who expect one revision"));
            }
            let meta = self.backend.head(&path).await;
            let meta = meta.map_err(|error| self.backend.failed_reading(Operation::Open, error))?;
            let seen = meta.and_then(|meta| by.of_meta(&meta));
            match seen.and_then(|seen| by.update(&seen)) {
                Some(version) => current = PutMode::Update(version),
                None => return Ok(Some("says no revision of what it reads")),
            }
        }
        self.backend.erase(&path).await?;
        if self.put(&path, "fourth", current).await.is_ok() {
            return Ok(Some("creates where it was told to expect a revision"));
        }
        Ok(None)
    }

    /// How many of many succeed who write at once; `None` if the value there is no winner's.
    async fn race(&self, path: &Path, mode: PutMode) -> Result<Option<usize>> {
        // No two values are ever equal: an ETag is a digest, and equal bytes would keep it.
        let nonce = |racer| format!("{racer} {}", u64::from_le_bytes(self.backend.env.random()));
        let values: Vec<String> = (0..RACERS).map(nonce).collect();
        // A crowd may be turned away as a whole; then nothing was learnt.
        for _ in 0..ROUNDS {
            let put = |value: &String| {
                let (value, mode) = (value.clone(), mode.clone());
                async move { self.put(path, &value, mode).await }
            };
            let answers = future::join_all(values.iter().map(put)).await;
            let won: Vec<&String> = values
                .iter()
                .zip(&answers)
                .filter(|(_, put)| put.is_ok())
                .map(|(v, _)| v)
                .collect();
            let there = self.value(path).await?;
            match won.as_slice() {
                [] => {}
                [one] if there == Some(Bytes::from((*one).clone())) => return Ok(Some(1)),
                [_] => return Ok(None),
                many => return Ok(Some(many.len())),
            }
        }
        let message = "the store answers none of many who write at once; try again";
        Err(Error::unavailable(Operation::Open, message))
    }

    /// A lack, if the store said that it does not offer this; else its error.
    fn cannot(&self, error: StoreError, lack: &'static str) -> Result<Option<&'static str>> {
        let error = self.backend.failed_reading(Operation::Open, error);
        match error.kind() {
            ErrorKind::Unsupported | ErrorKind::Invalid => Ok(Some(lack)),
            _ => Err(error),
        }
    }

    async fn put(
        &self,
        path: &Path,
        value: &str,
        mode: PutMode,
    ) -> object_store::Result<PutResult> {
        let options = PutOptions { mode, ..PutOptions::default() };
        let payload = PutPayload::from(value.to_owned());
        self.backend.writes.put_opts(path, payload, options).await
    }

    async fn value(&self, path: &Path) -> Result<Option<Bytes>> {
        let found = self.backend.fetch_raw(path, ByteRange::ALL).await;
        let found = found.map_err(|error| self.backend.failed_reading(Operation::Open, error))?;
        Ok(found.map(|(value, _)| value))
    }

    async fn remove(&self) -> Result<()> {
        let folder = self.path("");
        let mut listed = self.backend.reads.list(Some(&folder));
        while let Some(meta) = listed.next().await {
            let meta = meta.map_err(|error| self.backend.failed_reading(Operation::Open, error))?;
            let deleted = self.backend.writes.delete(&meta.location).await;
            match deleted {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => {
                    return Err(self.backend.failed_writing(Operation::Open, error));
                }
            }
        }
        Ok(())
    }
}

fn unfit(what: &str) -> Error {
    let message = format!("this store, if the endpoint is one, cannot be used: it {what}");
    Error::unsupported(Operation::Open, message)
}
