//! One file a key in a folder: values that `rsync`, `git` and people can read.
//!
//! ```text
//!   <root>/3f/segments+0001     the file of the key `segments/0001`, holding just its value
//!   <root>/.tmp/…               values being written
//!   <root>/.lock                taken for the last step of every write
//! ```
//!
//! A put writes a temporary file, syncs it, renames it over the old one and syncs the folder: a
//! reader sees the old value or the new one, never a mix, and a returned write survives a loss of
//! power. Files and folders that are not written by this crate are left alone.

mod buffers;
mod config;
mod direct;
mod error;
mod folder;
mod list;
mod names;
mod read;
mod revision;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, Bytes, Conditions, Durability, Env, Expect, Find,
    Health, KEY_BYTES_MAX, Key, List, Object, Operation, Page, Profile, Reach, Result, Revision,
};

pub use config::Config;

use folder::Folder;

/// Keeps every value in a file of its own. Processes of one machine can share the folder.
#[derive(Debug)]
pub struct File {
    profile: Profile,
    folder: Arc<Folder>,
    env: Env,
}

impl File {
    /// Opens a folder, and makes it if it is missing.
    ///
    /// # Errors
    /// `Denied` if the folder may not be written, `Invalid` if its path leads through a file,
    /// `Full` if there is no room for its subfolders.
    pub async fn open(config: Config, env: &Env) -> Result<Self> {
        let location = config.location();
        let inner = env.clone();
        let folder = env.blocking(move || Folder::open(&config, &inner)).await?;
        let folder = folder.map_err(|error| error.with_location(&location))?;
        let profile = Profile {
            engine: "file",
            key_bytes_max: KEY_BYTES_MAX,
            value_bytes_max: 1 << 30,
            batch_ops_max: 0,
            batch_bytes_max: 0,
            atomic: false,
            metadata: false,
            conditions: Conditions::Revision,
            reach: Reach::Machine,
            durability: Durability::Machine,
        };
        Ok(Self { profile, folder: Arc::new(folder), env: env.clone() })
    }

    /// Runs the whole of one call where it may block. The job goes on if the caller stops waiting.
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Folder) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let folder = Arc::clone(&self.folder);
        let done = self.env.blocking(move || job(&folder)).await;
        done.flatten().map_err(|error| error.with_location(&self.folder.location))
    }
}

#[async_trait]
impl Backend for File {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn get(&self, key: &Key, range: ByteRange) -> Result<Option<Object>> {
        let key = key.clone();
        self.run(move |folder| folder.get(&key, range)).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Object>>> {
        let keys = keys.to_vec();
        self.run(move |folder| keys.iter().map(|key| folder.get(key, ByteRange::ALL)).collect())
            .await
    }

    async fn put(&self, key: &Key, value: Bytes, expect: Expect) -> Result<Revision> {
        self.check_limits(Operation::Put, key, value.len())?;
        let key = key.clone();
        self.run(move |folder| folder.put(&key, &value, &expect)).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<()> {
        let key = key.clone();
        self.run(move |folder| folder.delete(&key, &expect)).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        let list = list.clone();
        self.run(move |folder| folder.list(list)).await
    }

    async fn find(&self, _: &Find) -> Result<Page> {
        Err(self.no_metadata())
    }

    async fn apply(&self, batch: Batch) -> Result<Revision> {
        // The profile is not atomic, so this always refuses; if that ever changes, so must this.
        self.check_batch(&batch)?;
        let message = "file cannot apply a batch all or nothing";
        Err(holdall_core::Error::unsupported(Operation::Apply, message))
    }

    async fn health(&self) -> Result<Health> {
        self.run(|folder| folder.health()).await
    }
}
