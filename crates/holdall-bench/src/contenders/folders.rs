//! Files in a folder: a plain file each, and the two libraries that make a folder an object store.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::local::LocalFileSystem;
use opendal::Operator;
use opendal::services::Fs;

use super::Store;
use crate::Result;

/// How much is read from a file at once.
const READ_BYTES: usize = 1 << 20;

/// A plain file for each name.
pub struct Plain(PathBuf);

impl Plain {
    /// Files in this folder.
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Writes a new file, syncs it, and syncs the folder.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut file = File::create_new(self.0.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(File::open(&self.0)?.sync_all()?)
    }

    /// Reads a file through a small buffer and hashes it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn hash(&self, name: &str) -> Result<blake3::Hash> {
        let mut file = File::open(self.0.join(name))?;
        let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; READ_BYTES]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hasher.finalize()),
                read => hasher.update(&buffer[..read]),
            };
        }
    }

    /// Reads a file whole into new memory and hashes it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read_and_hash(&self, name: &str) -> Result<(Vec<u8>, blake3::Hash)> {
        let bytes = fs::read(self.0.join(name))?;
        let hash = blake3::hash(&bytes);
        Ok((bytes, hash))
    }

    /// Removes a file.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        Ok(fs::remove_file(self.0.join(name))?)
    }
}

/// The `object_store` crate on a folder.
pub struct Objects(LocalFileSystem);

impl Objects {
    /// Objects in this folder.
    ///
    /// # Errors
    /// If the folder is not there.
    pub fn new(folder: &Path) -> Result<Self> {
        Ok(Self(LocalFileSystem::new_with_prefix(folder)?.with_fsync(true)))
    }
}

#[async_trait]
impl Store for Objects {
    fn name(&self) -> &'static str {
        "object_store"
    }

    fn durability(&self) -> &'static str {
        "fsync of file and folder (off by default, here on)"
    }

    async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.0.put(&name.into(), bytes.into()).await?;
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        match self.0.get(&name.into()).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn remove(&self, name: &str) -> Result<()> {
        Ok(self.0.delete(&name.into()).await?)
    }

    async fn settle(&self) -> Result<()> {
        Ok(())
    }
}

/// OpenDAL on a folder.
pub struct Dal(Operator);

impl Dal {
    /// Objects in this folder, which are written under another name first, as a put that is all
    /// or nothing must be.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub fn new(folder: &Path) -> Result<Self> {
        let text = |path: &Path| path.to_str().map(str::to_owned);
        let (root, temporary) = (folder.join("objects"), folder.join("temporary"));
        let root = text(&root).ok_or("OpenDAL takes only paths that are UTF-8")?;
        let temporary = text(&temporary).ok_or("OpenDAL takes only paths that are UTF-8")?;
        let service = Fs::default().root(&root).atomic_write_dir(&temporary);
        Ok(Self(Operator::new(service)?))
    }
}

#[async_trait]
impl Store for Dal {
    fn name(&self) -> &'static str {
        "OpenDAL fs"
    }

    fn durability(&self) -> &'static str {
        "fsync of the file only: WEAKER, it cannot sync the folder"
    }

    async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.0.write(name, bytes).await?;
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        match self.0.read(name).await {
            Ok(found) => Ok(Some(found.to_bytes())),
            Err(error) if error.kind() == opendal::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn remove(&self, name: &str) -> Result<()> {
        Ok(self.0.delete(name).await?)
    }

    async fn settle(&self) -> Result<()> {
        Ok(())
    }
}
