//! The volume, on the embedded default, opened as a program would.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use holdall::{Engine, Settings};
use holdall_core::Env;
use holdall_volume::format::entry::Name;
use holdall_volume::{Condition, ListOptions, PutItem, PutOptions, Volume};

use super::Store;
use crate::Result;

/// Who it is in every table.
pub const NAME: &str = "holdall";

/// What it does before it says that something is written.
pub const DURABILITY: &str = "journal synced at each group; segments and folders synced before";

/// Its volume.
pub const VOLUME: &str = "bench";

/// How often it is looked whether the background is quiet, and how long at the most.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS_MAX: u32 = 200;

/// A volume in a folder.
pub struct Ours {
    env: Env,
    engine: Engine,
    volume: Volume,
}

impl Ours {
    /// Opens the volume in this folder, and makes it if it is not there.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn open(folder: &Path, env: &Env) -> Result<Self> {
        let engine = Engine::builder().home(folder).holder("holdall-bench").open().await?;
        let volume = engine.get_or_create_volume(VOLUME).await?;
        Ok(Self { env: env.clone(), engine, volume })
    }

    /// Makes a volume with its catalog and its data at these locations.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn on(catalog: &str, data: &str, env: &Env) -> Result<Self> {
        let builder = Engine::builder().catalog(catalog).data(data).holder("holdall-bench");
        let engine = builder.open().await?;
        let volume = engine.get_or_create_volume(VOLUME).await?;
        Ok(Self { env: env.clone(), engine, volume })
    }

    /// Makes a volume as these settings say.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn with(settings: Settings, env: &Env) -> Result<Self> {
        let engine = Engine::open(settings).await?;
        let volume = engine.get_or_create_volume(VOLUME).await?;
        Ok(Self { env: env.clone(), engine, volume })
    }

    /// The volume.
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    /// An orderly end.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn close(self) -> Result<()> {
        Ok(self.engine.close().await?)
    }

    /// Writes entries, packed together.
    ///
    /// # Errors
    /// The first that there is.
    pub async fn put_many(&self, values: impl Iterator<Item = (String, Bytes)>) -> Result<()> {
        let item = |(name, bytes)| -> Result<PutItem> {
            Ok(PutItem { name: Name::parse(name)?, bytes, options: PutOptions::default() })
        };
        let items = values.map(item).collect::<Result<Vec<_>>>()?;
        for written in self.volume.put_many(items).await? {
            written?;
        }
        Ok(())
    }

    /// Writes a stream.
    ///
    /// # Errors
    /// Those of the volume.
    pub async fn put_stream(
        &self,
        name: &str,
        source: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<()> {
        let name = Name::parse(name)?;
        self.volume.put_stream(&name, source.map(Ok), PutOptions::default()).await?;
        Ok(())
    }

    /// Reads an entry piece by piece and says how many bytes it has. The volume has verified each
    /// of them against its digest.
    ///
    /// # Errors
    /// If it is not there; those of the volume.
    pub async fn read_stream(&self, name: &str, mut look: impl FnMut(&[u8])) -> Result<u64> {
        let found = self.volume.get(&Name::parse(name)?).await?.ok_or("the entry is missing")?;
        let mut pieces = Box::pin(found.stream());
        let mut bytes = 0;
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            look(&piece);
            bytes += piece.len() as u64;
        }
        Ok(bytes)
    }

    /// Lists everything in pages of `limit`; says how many entries there are.
    ///
    /// # Errors
    /// Those of the volume.
    pub async fn list(&self, limit: usize) -> Result<u64> {
        let mut count = 0;
        let mut options = ListOptions::prefix("").limit(limit);
        loop {
            let page = self.volume.list(options).await?;
            count += page.entries.len() as u64;
            let Some(after) = page.next else { return Ok(count) };
            options = ListOptions::prefix("").limit(limit).after(after);
        }
    }
}

#[async_trait]
impl Store for Ours {
    fn name(&self) -> &'static str {
        NAME
    }

    fn durability(&self) -> &'static str {
        DURABILITY
    }

    async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.volume.put(&Name::parse(name)?, bytes, PutOptions::default()).await?;
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        match self.volume.get(&Name::parse(name)?).await? {
            Some(found) => Ok(Some(found.bytes().await?)),
            None => Ok(None),
        }
    }

    async fn remove(&self, name: &str) -> Result<()> {
        self.volume.delete(&Name::parse(name)?, Condition::Always).await?;
        Ok(())
    }

    /// The journal tells how many rows the engine does not have yet; when that number stands
    /// still, nothing moves them.
    async fn settle(&self) -> Result<()> {
        let mut before = Vec::new();
        for _ in 0..LOOKS_MAX {
            let now = self.engine.catalog().health().await?.notes;
            if now == before {
                return Ok(());
            }
            before = now;
            self.env.sleep(LOOK).await;
        }
        Err("the volume's background work did not end".into())
    }
}
