//! Object stores: Amazon S3 and everything that speaks its protocol, Google Cloud Storage, Azure
//! Blob Storage, and anything that implements `object_store::ObjectStore`.
//!
//! ```text
//!   get, list   asked again when they fail
//!   put, delete sent once: a lost answer is `Unknown`
//!   open        tries out which conditions the store really keeps, and says no more than those
//! ```
//!
//! There are no batches here, so that no catalog can be held: segments are what this is for.

mod config;
mod error;
mod list;
mod names;
mod probe;
mod read;
mod revision;
mod write;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use futures::StreamExt;
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Conditions, Durability, Env, Error, Expect, Find,
    Health, Key, List, Location, Object, Operation, Page, Profile, Reach, Result, Revision,
};
use object_store::ObjectStore;

pub use config::{AzureConfig, Config, GcsConfig, Options, Preset, S3Config};
pub use revision::RevisionBy;

use config::Client;
use names::Names;

/// Keeps values as objects of a bucket.
#[derive(Debug)]
pub struct ObjectBackend {
    profile: Profile,
    /// Asks again when a request fails.
    reads: Arc<dyn ObjectStore>,
    /// Sends every request once.
    writes: Arc<dyn ObjectStore>,
    names: Names,
    options: Options,
    by: RevisionBy,
    location: Location,
    /// What to say where the bucket is missing.
    missing: String,
    /// Whether the store lists in order, as far as is known.
    ordered: AtomicBool,
    notes: Vec<String>,
    env: Env,
}

impl ObjectBackend {
    /// Opens a bucket, and tries out what its store really does, unless the options say not to.
    ///
    /// # Errors
    /// `Invalid` if the bucket is missing or elsewhere, `Denied` if the credentials do not suffice
    /// to read, write, delete and list, `Unavailable` if the store does not answer, and
    /// `Unsupported` if it keeps less than the options ask for, or cannot be used.
    pub async fn open(config: Config, env: &Env) -> Result<Self> {
        let location = config.location();
        let clients = config
            .client(Client::Reads)
            .and_then(|reads| Ok((reads, config.client(Client::Writes)?)));
        let (reads, writes) = clients.map_err(|error| {
            let message = "the settings of the store do not fit together; see the reason";
            let source = error::Reason::of(&error).error(Operation::Open, false, "");
            Error::invalid(Operation::Open, message).with_source(source).with_location(&location)
        })?;
        let opened = Self {
            profile: profile(config.engine(), config.options())?,
            names: Names::new(config.options()).map_err(|error| error.with_location(&location))?,
            options: config.options().clone(),
            by: config.revision_by(),
            missing: config.missing(),
            reads,
            writes,
            location,
            ordered: AtomicBool::new(true),
            notes: Vec::new(),
            env: env.clone(),
        };
        opened.begin().await
    }

    /// Makes a backend of anything that implements `ObjectStore`. Its client should not ask again
    /// by itself when a write fails: a write whose answer was lost would meet itself.
    ///
    /// No order is assumed of its listings, as `ObjectStore` promises none: every page of a listing
    /// reads all names of its folder.
    ///
    /// Of the options those that are about the client's connections mean nothing here.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn new(
        store: Arc<dyn ObjectStore>,
        options: Options,
        by: RevisionBy,
        env: &Env,
    ) -> Result<Self> {
        let location = Location::from_path("object-store", &format!("/{}", options.prefix));
        let opened = Self {
            profile: profile("object-store", &options)?,
            names: Names::new(&options).map_err(|error| error.with_location(&location))?,
            by,
            missing: format!("there is no bucket behind {store}; make it"),
            reads: Arc::clone(&store),
            writes: store,
            location,
            // `ObjectStore` promises no order, and a few names in order prove nothing: a folder of
            // files that lists by chance in order once would hide names from a listing in pages.
            ordered: AtomicBool::new(false),
            notes: Vec::new(),
            env: env.clone(),
            options,
        };
        opened.begin().await
    }

    /// Asks whether the bucket is there, and what its store does.
    async fn begin(mut self) -> Result<Self> {
        self.first().await.map_err(|error| self.located(error))?;
        let asked = self.options.conditional;
        if !self.options.probe {
            self.profile.conditions = asked.unwrap_or(Conditions::None);
            self.notes.push("the store was not tried out: the probe is off".to_owned());
            return Ok(self);
        }
        let found = self.probe().await.map_err(|error| self.located(error))?;
        if let Some(asked) = asked.filter(|asked| *asked > found.conditions) {
            let lack = found.lack.unwrap_or("keeps less");
            let message = format!(
                "the store does not keep conditional={}: it {lack}; ask for less, or use \
                 another store",
                config::show_conditions(asked)
            );
            return Err(self.located(Error::unsupported(Operation::Open, message)));
        }
        self.profile.conditions = asked.unwrap_or(found.conditions);
        let ordered = self.ordered.get_mut();
        *ordered &= found.ordered;
        if !*ordered {
            let note = "the store is not known to list in order: every page reads all names";
            self.notes.push(note.to_owned());
        }
        if let Some(lack) = found.lack {
            self.notes.push(format!("the store {lack}"));
        }
        // Whole seconds are compared, and the answer took its time.
        if found.clock.abs() > 2 {
            let way = if found.clock > 0 { "ahead" } else { "behind" };
            let seconds = found.clock.unsigned_abs();
            self.notes.push(format!("the store's clock is {seconds} s {way}"));
        }
        Ok(self)
    }

    /// The first name under the prefix: the cheapest question that needs the bucket.
    async fn first(&self) -> Result<()> {
        let folder = self.names.folder();
        match self.reads.list(folder.as_ref()).next().await {
            Some(Err(error)) => Err(self.failed_reading(Operation::Open, error)),
            _ => Ok(()),
        }
    }

    /// An error of a request that reads.
    fn failed_reading(&self, operation: Operation, error: object_store::Error) -> Error {
        error::Reason::of(&error).error(operation, false, &self.missing)
    }

    /// An error of a request that writes.
    fn failed_writing(&self, operation: Operation, error: object_store::Error) -> Error {
        error::Reason::of(&error).error(operation, true, &self.missing)
    }

    fn located(&self, error: Error) -> Error {
        error.with_location(&self.location)
    }
}

/// The profile of a bucket of which nothing is known yet.
fn profile(engine: &'static str, options: &Options) -> Result<Profile> {
    Ok(Profile {
        engine,
        key_bytes_max: Names::new(options)?.key_bytes_max(),
        value_bytes_max: options.value_bytes_max(),
        batch_ops_max: 0,
        batch_bytes_max: 0,
        atomic: false,
        metadata: false,
        conditions: Conditions::None,
        reach: Reach::Network,
        durability: Durability::Store,
    })
}

#[async_trait]
impl Backend for ObjectBackend {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        self.read(key, range).await.map_err(|error| self.located(error))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        self.read_many(keys).await.map_err(|error| self.located(error))
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        let written = self.write(key, value, expect).await;
        written.map_err(|error| self.located(error.with_key(key)))
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let removed = self.remove(key, expect).await;
        removed.map_err(|error| self.located(error.with_key(key)))
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.page(list).await.map_err(|error| self.located(error))
    }

    async fn find(&self, _: &Find) -> Result<Page> {
        Err(self.no_metadata())
    }

    async fn apply(&self, _: Batch) -> Result<Revision> {
        let message = "an object store cannot apply a batch all or nothing; keep the catalog \
                       elsewhere";
        Err(self.located(Error::unsupported(Operation::Apply, message)))
    }

    async fn health(&self) -> Result<Health> {
        self.first().await.map_err(|error| self.located(error))?;
        let mut notes = vec![format!("{}", self.reads)];
        notes.extend(self.notes.iter().cloned());
        Ok(Health { notes, ..Health::default() })
    }
}
