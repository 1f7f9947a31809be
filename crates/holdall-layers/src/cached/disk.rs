//! Copies on a disk, in the files of the foyer library: bounded, checked by a checksum at each
//! read, the oldest blocks making room.
//!
//! What lies in the folder:
//! ```text
//!   holdall-cache             locked while the cache is open; names the store and the sizes
//!   foyer-storage-direct-fs-* blocks of entries, the library's own format
//! ```
//! An entry's key is the value's key; its value is: session (8 bytes, little-endian), length of
//! the revision as text (2), that text, length of the bytes (8), and the bytes as the back held
//! them. The library gives out an entry for some time after it was replaced, and finds replaced
//! ones again when it is opened anew; so nothing is taken from here without comparing revisions.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, Code, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy, Load, RecoverMode,
};
use futures::channel::oneshot;
use holdall_core::{ByteRange, Env, Error, Key, Operation, Result, async_trait};

use super::held::{Copies, Held};
use super::settings::CacheDisk;
use crate::revision_text::{from_text, to_text};

const MARK: &str = "holdall-cache";
const BLOCKS: &str = "foyer-storage-direct-fs-";
/// How many blocks there are at the least: the library needs some clean ones at any time.
const BLOCKS_MIN: u64 = 8;
const BLOCK_BYTES_MIN: u64 = 1 << 20;
/// Room beside a value for its header, key and the block's own index.
const BESIDE_BYTES: u64 = 64 << 10;

/// Copies on a disk.
pub(super) struct Disk {
    cache: HybridCache<Name, Entry>,
    env: Env,
    session: u64,
    bytes_max: u64,
    /// The largest value that fits into a block.
    value_bytes_max: u64,
    lock: Mutex<Option<File>>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("bytes_max", &self.bytes_max).finish_non_exhaustive()
    }
}

/// A key as the library has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name(Key);

/// A copy as the library has it.
#[derive(Debug)]
struct Entry {
    session: u64,
    revision: String,
    bytes: Bytes,
}

impl Code for Name {
    fn encode(&self, writer: &mut impl Write) -> foyer::Result<()> {
        let bytes = self.0.as_bytes();
        let length = bytes.len() as u16;
        let written =
            writer.write_all(&length.to_le_bytes()).and_then(|()| writer.write_all(bytes));
        written.map_err(foyer::Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> foyer::Result<Self> {
        let text = read_text(reader).map_err(foyer::Error::io_error)?;
        let key = Key::parse(text).map_err(|error| foyer::Error::io_error(invalid(error)))?;
        Ok(Self(key))
    }

    fn estimated_size(&self) -> usize {
        2 + self.0.as_bytes().len()
    }
}

impl Code for Entry {
    fn encode(&self, writer: &mut impl Write) -> foyer::Result<()> {
        let mut head = self.session.to_le_bytes().to_vec();
        head.extend((self.revision.len() as u16).to_le_bytes());
        head.extend(self.revision.as_bytes());
        head.extend((self.bytes.len() as u64).to_le_bytes());
        let written = writer.write_all(&head).and_then(|()| writer.write_all(&self.bytes));
        written.map_err(foyer::Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> foyer::Result<Self> {
        Self::read(reader).map_err(foyer::Error::io_error)
    }

    fn estimated_size(&self) -> usize {
        8 + 2 + self.revision.len() + 8 + self.bytes.len()
    }
}

impl Entry {
    fn read(reader: &mut impl Read) -> io::Result<Self> {
        let session = u64::from_le_bytes(read_some(reader)?);
        let revision = read_text(reader)?;
        let length = u64::from_le_bytes(read_some(reader)?);
        let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(invalid)?);
        reader.take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self { session, revision, bytes: bytes.into() })
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn read_some<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_text(reader: &mut impl Read) -> io::Result<String> {
    let mut text = vec![0; usize::from(u16::from_le_bytes(read_some(reader)?))];
    reader.read_exact(&mut text)?;
    String::from_utf8(text).map_err(invalid)
}

impl Disk {
    /// Takes the folder, and finds in it what was kept there of the same store.
    pub(super) async fn open(
        settings: &CacheDisk,
        value_bytes_max: u64,
        env: &Env,
    ) -> Result<Self> {
        let block = value_bytes_max.saturating_add(BESIDE_BYTES);
        let block = block.max(BLOCK_BYTES_MIN).min(settings.bytes / BLOCKS_MIN) & !4095;
        let bytes = settings.bytes / block * block;
        let CacheDisk { folder, store, .. } = settings.clone();
        let taken = env.blocking({
            let folder = folder.clone();
            move || take(&folder, &format!("holdall cache 1 of {store}, {bytes} by {block}\n"))
        });
        let lock = taken.await??;
        let (sender, receiver) = oneshot::channel();
        // The library asks for the runtime of the task that it is opened in.
        env.spawn(async move {
            drop(sender.send(build(&folder, bytes as usize, block as usize).await));
        });
        let built = receiver.await.map_err(|_| {
            Error::unavailable(Operation::Open, "the cache on disk did not open; try again")
        })?;
        let cache = built.map_err(|error| failed(Operation::Open, "open", error))?;
        let session = u64::from_le_bytes(env.random());
        let lock = Mutex::new(Some(lock));
        let value_bytes_max = block.saturating_sub(BESIDE_BYTES / 4);
        Ok(Self { cache, env: env.clone(), session, bytes_max: bytes, value_bytes_max, lock })
    }
}

async fn build(
    folder: &Path,
    bytes: usize,
    block: usize,
) -> foyer::Result<HybridCache<Name, Entry>> {
    let device = FsDeviceBuilder::new(folder).with_capacity(bytes).build()?;
    let buffer = block.max(16 << 20);
    let engine = BlockEngineConfig::new(device)
        .with_block_size(block)
        .with_buffer_pool_size(buffer)
        .with_submit_queue_size_threshold(2 * buffer);
    HybridCacheBuilder::new()
        .with_name("holdall")
        .with_policy(HybridCachePolicy::WriteOnInsertion)
        .with_flush_on_close(false)
        // Entries go past the library's memory: the layer has its own, in front of this.
        .memory(1)
        .with_shards(1)
        .storage()
        .with_recover_mode(RecoverMode::Quiet)
        .with_engine_config(engine)
        .build()
        .await
}

fn failed(operation: Operation, what: &str, source: foyer::Error) -> Error {
    let message = format!("the cache on disk did not {what}; look after its disk");
    Error::unavailable(operation, message).with_source(source)
}

/// Takes the folder for this process, and empties it if it was the cache of something else.
fn take(folder: &Path, text: &str) -> Result<File> {
    let io = |error| Error::io(Operation::Open, "cannot use the cache's folder", error);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    let mark = folder.join(MARK);
    if !mark.exists() && fs::read_dir(folder).map_err(io)?.next().is_some() {
        let message = "the cache's folder holds other things; give the cache a folder of its own";
        return Err(Error::invalid(Operation::Open, message));
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut lock = options.open(mark).map_err(io)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let message = "the cache's folder is in use by another process, or is just being let \
                           go of; give each process a folder of its own";
            return Err(Error::unavailable(Operation::Open, message));
        }
        Err(TryLockError::Error(error)) => return Err(io(error)),
    }
    let mut found = String::new();
    // What is no text is not ours either.
    let same = lock.read_to_string(&mut found).is_ok() && found == text;
    if !same {
        for entry in fs::read_dir(folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(BLOCKS)) {
                fs::remove_file(entry.path()).map_err(io)?;
            }
        }
        lock.set_len(0).and_then(|()| lock.rewind()).map_err(io)?;
        lock.write_all(text.as_bytes()).map_err(io)?;
    }
    Ok(lock)
}

#[async_trait]
impl Copies for Disk {
    async fn load(&self, key: &Key, _range: ByteRange) -> Result<Option<Held>> {
        let held = |entry: &Entry| {
            let revision = from_text(&entry.revision)?;
            let (size, bytes) = (entry.bytes.len() as u64, entry.bytes.clone());
            let earlier = entry.session != self.session;
            Some(Held { revision, size, start: 0, bytes, earlier })
        };
        match self.cache.storage().load(&Name(key.clone())).await {
            Ok(Load::Entry { value, .. }) => Ok(held(&value)),
            Ok(Load::Piece { piece, .. }) => Ok(held(piece.value())),
            Ok(Load::Throttled | Load::Miss) => Ok(None),
            Err(error) => Err(failed(Operation::Get, "read", error)),
        }
    }

    async fn keep(&self, key: &Key, held: &Held) -> Result<()> {
        let revision = to_text(&held.revision);
        let beside = revision.len() + key.as_bytes().len();
        if held.size + beside as u64 > self.value_bytes_max || u16::try_from(beside).is_err() {
            return Ok(());
        }
        let entry = Entry { session: self.session, revision, bytes: held.bytes.clone() };
        drop(self.cache.storage_writer(Name(key.clone())).force().insert(entry));
        Ok(())
    }

    fn note(&self) -> String {
        format!("up to {} bytes on disk", self.bytes_max)
    }

    async fn flush(&self) {
        self.cache.storage().wait().await;
    }

    async fn close(&self) -> Result<()> {
        let closed = self.cache.close().await;
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        closed.map_err(|error| failed(Operation::Open, "close", error))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(lock) = lock {
            let cache = self.cache.clone();
            // Nobody else may write to the files before the library has let go of them.
            self.env.spawn(async move {
                drop(cache.close().await);
                drop(lock);
            });
        }
    }
}
