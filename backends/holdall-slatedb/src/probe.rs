//! Whether the store underneath keeps conditions, tried out when it is opened to write.
//!
//! By them an old writer is fenced off. On a store that ignores them two could write at once and
//! each would be told that all is well.

use futures::future;
use holdall_core::{Bytes, Env, Error, ErrorKind, Operation, Result};
use slatedb::object_store::path::Path;
use slatedb::object_store::{
    Error as StoreError, ObjectStoreExt, PutMode, PutOptions, PutPayload, PutResult, UpdateVersion,
};

use crate::error;
use crate::store::Store;

/// How many create one object at once.
const RACERS: usize = 8;
/// What they create: a crowd that was turned away as a whole tries again.
const RACES: [&str; 3] = ["race-0", "race-1", "race-2"];

/// Tries the store out under its root, and removes what that wrote. `updates` says whether
/// replacing under a condition is wanted too.
pub(crate) async fn probe(store: &Store, env: &Env, updates: bool) -> Result<()> {
    let run = env.random::<8>().map(|byte| format!("{byte:02x}")).concat();
    let probe = Probe { store, env, run };
    let found = probe.run(updates).await;
    let removed = probe.remove().await;
    found?;
    removed
}

struct Probe<'a> {
    store: &'a Store,
    env: &'a Env,
    run: String,
}

impl Probe<'_> {
    /// The objects lie beside the store's folders: a directory would keep an empty one of ours.
    fn path(&self, name: &str) -> Path {
        self.store.root.clone().join(format!(".holdall-probe-{}-{name}", self.run))
    }

    async fn run(&self, updates: bool) -> Result<()> {
        let first = self.creates().await?;
        if updates {
            self.updates(first).await?;
        }
        self.races().await
    }

    /// Creating twice fails, and leaves what was there.
    async fn creates(&self) -> Result<PutResult> {
        let first = self.put("create", "first", PutMode::Create).await;
        let first = first.map_err(|error| {
            let error = self.failed(&error);
            match error.kind() {
                ErrorKind::Denied => {
                    let message = "the credentials do not suffice to write; mend them, or open \
                                   with read_only=true";
                    Error::denied(Operation::Open, message).with_source(error)
                }
                ErrorKind::Unsupported | ErrorKind::Invalid => {
                    unfit("refuses to create under a condition").with_source(error)
                }
                _ => error,
            }
        })?;
        let again = self.put("create", "second", PutMode::Create).await;
        match again {
            Err(StoreError::AlreadyExists { .. }) => {}
            Err(error) => return Err(self.failed(&error)),
            Ok(_) => return Err(unfit("overwrites where it was told to create")),
        }
        if self.value("create").await? != "first" {
            return Err(unfit("overwrites where it was told to create"));
        }
        Ok(first)
    }

    /// What expects an older version fails, and leaves what was there.
    async fn updates(&self, first: PutResult) -> Result<()> {
        let update = |put: PutResult| {
            PutMode::Update(UpdateVersion { e_tag: put.e_tag, version: put.version })
        };
        let old = update(first);
        let second = self.put("create", "second", old.clone()).await;
        second.map_err(|error| match self.failed(&error) {
            error if error.kind() == ErrorKind::Unsupported => {
                unfit("refuses to replace under a condition").with_source(error)
            }
            error => error,
        })?;
        match self.put("create", "third", old).await {
            Err(StoreError::Precondition { .. } | StoreError::AlreadyExists { .. }) => {}
            Err(error) => return Err(self.failed(&error)),
            Ok(_) => return Err(unfit("replaces where it was told to expect another version")),
        }
        if self.value("create").await? != "second" {
            return Err(unfit("replaces where it was told to expect another version"));
        }
        Ok(())
    }

    /// Of many who create at once one succeeds, and its value is there.
    async fn races(&self) -> Result<()> {
        for name in RACES {
            let values: Vec<String> = (0..RACERS)
                .map(|racer| format!("{racer} {}", u64::from_le_bytes(self.env.random())))
                .collect();
            let puts = values.iter().map(|value| self.put(name, value, PutMode::Create));
            let answers = future::join_all(puts).await;
            let won: Vec<&String> = values
                .iter()
                .zip(&answers)
                .filter(|(_, answer)| answer.is_ok())
                .map(|(value, _)| value)
                .collect();
            match won.as_slice() {
                // Turned away as a crowd; nothing was learnt.
                [] => {}
                [one] if self.value(name).await? == one.as_str() => return Ok(()),
                _ => return Err(unfit("lets more than one of many racing creators win")),
            }
        }
        let message = "the store answers none of many who write at once; try again";
        Err(Error::unavailable(Operation::Open, message))
    }

    async fn put(&self, name: &str, value: &str, mode: PutMode) -> Result<PutResult, StoreError> {
        let options = PutOptions { mode, ..PutOptions::default() };
        let payload = PutPayload::from(value.to_owned());
        self.store.asking.put_opts(&self.path(name), payload, options).await
    }

    async fn value(&self, name: &str) -> Result<Bytes> {
        let path = self.path(name);
        let read = async { self.store.asking.get(&path).await?.bytes().await };
        read.await.map_err(|error| self.failed(&error))
    }

    async fn remove(&self) -> Result<()> {
        let names = ["create"].into_iter().chain(RACES);
        let removing = names.map(|name| async move {
            let path = self.path(name);
            self.store.asking.delete(&path).await
        });
        for removed in future::join_all(removing).await {
            match removed {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Ok(())
    }

    fn failed(&self, error: &StoreError) -> Error {
        error::store(Operation::Open, error, &self.store.missing)
    }
}

fn unfit(what: &str) -> Error {
    let message = format!(
        "an old writer cannot be fenced off on this store: it {what}; use one that keeps \
         conditions, and a catalog of another kind here"
    );
    Error::unsupported(Operation::Open, message)
}
