//! Checkpoints: from time to time, a copy of the catalog's rows on the data backend, so that
//! rebuilding need not read the log from its beginning, and old log can go.
//!
//! Steps: copy the rows in parts; seal the commits that came meanwhile; read the parts back; write
//! the manifest; point `m/sealed` at it; delete what two whole checkpoints make needless. A
//! manifest is there only if all parts were read back whole and the log covers what the copy
//! missed, so a crash at any step leaves either a whole checkpoint or none.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{
    Backend, BackendExt, Batch, Error, ErrorKind, Expect, Key, List, Operation, Result,
};

use crate::format::checkpoint::{self, CHECKPOINT_CLASSES, CheckpointId, CheckpointRow, Manifest};
use crate::format::chunk::Digest;
use crate::format::head::Sealed;
use crate::format::keys::{CatalogKeys, DataKeys};
use crate::log_reader;
use crate::seal::{SealContext, State, part_bytes_max, seal};

/// How many rows are read at once. With rows of at most some 80 KiB this bounds memory.
const PAGE_ROWS: usize = if cfg!(test) { 3 } else { 128 };

/// How many whole checkpoints are kept: if the newest is damaged, the other loses nothing.
const KEPT: usize = 2;

/// With less log than this no checkpoint is due.
const LOG_BYTES_MIN: u64 = 32 << 20;

/// How often somebody else may move `m/sealed` before this gives up.
const ATTEMPTS_MAX: usize = 64;

/// Makes a checkpoint of the catalog as it is now, and deletes log and checkpoints that are no
/// longer needed. Nothing is made, and nothing returned, where there is no commit yet.
///
/// Holds at most one part (8 MiB) and one page of rows in memory. One writer makes one checkpoint
/// at a time; it may be repeated after any error.
///
/// # Errors
/// Those of the backends; `Corrupt` if a row of the catalog is damaged, or what was written does
/// not come back.
pub async fn checkpoint(context: &SealContext) -> Result<Option<CheckpointId>> {
    let first = State::read(context).await?.head.sequence;
    if first == 0 {
        return Ok(None);
    }
    let id = CheckpointId { sequence: first, epoch: context.epoch };
    let manifest = match earlier_attempt(context, id).await? {
        Some(manifest) => manifest,
        None => write(context, id).await?,
    };
    switch(context, &manifest).await?;
    clean_up(context).await?;
    Ok(Some(id))
}

/// Whether so much log was written since the last checkpoint that another is worth making: about
/// as much as the checkpoint itself will write, and never little.
pub fn is_due(sealed: &Sealed) -> bool {
    sealed.log_bytes >= sealed.checkpoint_bytes.max(LOG_BYTES_MIN)
}

/// The whole checkpoint of an earlier attempt. A damaged one loses its manifest first, so that it
/// does not count while it is written anew.
async fn earlier_attempt(context: &SealContext, id: CheckpointId) -> Result<Option<Manifest>> {
    let keys = (&context.catalog_keys, &context.data_keys);
    match verify_checkpoint(&context.data, keys, id).await {
        Ok(manifest) => Ok(Some(manifest)),
        Err(error) if is_unreadable(&error) => {
            let key = context.data_keys.manifest(id.sequence, id.epoch);
            context.data.delete(&key, Expect::Any).await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_unreadable(error: &Error) -> bool {
    let newer = error.kind() == ErrorKind::Unsupported && error.operation() == Operation::Decode;
    newer || error.kind() == ErrorKind::Corrupt
}

async fn write(context: &SealContext, id: CheckpointId) -> Result<Manifest> {
    let mut writer = PartWriter::new(context, id)?;
    for class in CHECKPOINT_CLASSES {
        writer.copy_class(class).await?;
    }
    let mut manifest = writer.finish().await?;
    manifest.upto = State::read(context).await?.head.sequence;
    let sealed = seal(context).await?;
    if sealed.upto < manifest.upto {
        let message = "the commit log does not reach as far as the checkpoint; run it again";
        return Err(Error::unavailable(Operation::Maintain, message));
    }
    let mut reader =
        CheckpointReader::with_manifest(&context.data, &context.data_keys, id, manifest);
    reader.read_to_end(&context.catalog_keys).await?;
    let bytes = reader.manifest.encode(context.data_keys.volume_id(), id)?;
    let key = context.data_keys.manifest(id.sequence, id.epoch);
    context.data.put(&key, bytes, Expect::Any).await?;
    let written = CheckpointReader::open(&context.data, &context.data_keys, id).await?;
    if written.manifest != reader.manifest {
        let message = "a checkpoint's manifest does not come back as it was written";
        return Err(Error::corrupt(Operation::Maintain, message).with_key(&key));
    }
    Ok(reader.manifest)
}

/// Collects rows, and writes a part whenever there are enough.
struct PartWriter<'a> {
    context: &'a SealContext,
    id: CheckpointId,
    part_bytes: usize,
    rows: Vec<CheckpointRow>,
    row_bytes: usize,
    hasher: blake3::Hasher,
    manifest: Manifest,
}

impl<'a> PartWriter<'a> {
    fn new(context: &'a SealContext, id: CheckpointId) -> Result<Self> {
        let manifest = Manifest {
            first: id.sequence,
            upto: id.sequence,
            created: context.env.now(),
            parts: 0,
            rows: 0,
            bytes: 0,
            digest: Digest::of(&[]),
        };
        let part_bytes = part_bytes_max(context.data.as_ref())?;
        let (rows, hasher) = (Vec::new(), blake3::Hasher::new());
        Ok(Self { context, id, part_bytes, rows, row_bytes: 0, hasher, manifest })
    }

    async fn copy_class(&mut self, class: char) -> Result<()> {
        let keys = &self.context.catalog_keys;
        let mut list = List::prefix(keys.class(class)).with_values().limit(PAGE_ROWS);
        loop {
            let page = self.context.catalog.list(&list).await?;
            let last = page.rows.last().map(|row| row.key.as_str().to_owned());
            for found in page.rows {
                let Some(object) = found.object else {
                    return Err(without_value(&found.key));
                };
                let key = found.key.as_str().strip_prefix(keys.root()).unwrap_or_default();
                let row = CheckpointRow { key: key.to_owned(), value: object.value };
                row.check(keys)?;
                self.add(row).await?;
            }
            match last {
                Some(last) if page.more => list = list.after(last),
                _ => return Ok(()),
            }
        }
    }

    async fn add(&mut self, row: CheckpointRow) -> Result<()> {
        // Two lengths of at most four bytes each stand before key and value.
        let bytes = row.key.len() + row.value.len() + 8;
        if self.row_bytes + bytes > self.part_bytes && !self.rows.is_empty() {
            self.write_part().await?;
        }
        self.row_bytes += bytes;
        self.rows.push(row);
        Ok(())
    }

    async fn write_part(&mut self) -> Result<()> {
        let (context, id, part) = (self.context, self.id, self.manifest.parts);
        self.row_bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        self.manifest.rows += rows.len() as u64;
        let (volume, compression) = (context.data_keys.volume_id(), context.compression);
        let encode = move || checkpoint::encode_part(volume, id, part, &rows, compression);
        let bytes = context.env.blocking(encode).await??;
        self.hasher.update(&bytes);
        self.manifest.parts += 1;
        self.manifest.bytes += bytes.len() as u64;
        let key = context.data_keys.checkpoint(id.sequence, id.epoch, part);
        context.data.put(&key, bytes, Expect::Any).await.map(drop)
    }

    async fn finish(mut self) -> Result<Manifest> {
        if !self.rows.is_empty() {
            self.write_part().await?;
        }
        self.manifest.digest = Digest(*self.hasher.finalize().as_bytes());
        Ok(self.manifest)
    }
}

fn without_value(key: &Key) -> Error {
    let message = "the catalog listed a row without the value that was asked for";
    Error::corrupt(Operation::List, message).with_key(key)
}

/// Points `m/sealed` at the checkpoint, unless it points at a newer one.
async fn switch(context: &SealContext, manifest: &Manifest) -> Result<()> {
    let mut attempts = 0;
    loop {
        let state = State::read(context).await?;
        if state.sealed.checkpoint >= manifest.first {
            return Ok(());
        }
        let sealed = Sealed {
            checkpoint: manifest.first,
            checkpoint_bytes: manifest.bytes,
            log_bytes: 0,
            ..state.sealed.clone()
        };
        let mut batch = Batch::new();
        state.replace(&context.catalog_keys, &sealed, &mut batch);
        attempts += 1;
        match context.catalog.apply(batch).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Conflict && attempts < ATTEMPTS_MAX => {}
            Err(error) => return Err(error),
        }
    }
}

/// Deletes checkpoints before the two newest whole ones, and log before both.
async fn clean_up(context: &SealContext) -> Result<()> {
    let (data, keys) = (&context.data, &context.data_keys);
    let mut kept = Vec::new();
    for id in list_checkpoints(data.as_ref(), keys).await? {
        match CheckpointReader::open(data, keys, id).await {
            Ok(_) => kept.push(id),
            // One flipped bit can make it look as if a newer program wrote it.
            Err(error) if is_unreadable(&error) => {}
            Err(error) => return Err(error),
        }
        if kept.len() == KEPT {
            break;
        }
    }
    let Some(oldest) = kept.get(KEPT - 1).copied() else {
        return Ok(());
    };
    // Manifests first: a checkpoint that has begun to go must not count.
    for manifests in [true, false] {
        let mut list = List::prefix(keys.checkpoints());
        loop {
            let page = data.list(&list).await?;
            for row in &page.rows {
                let Some((id, part)) = parse_key(keys, &row.key) else {
                    continue;
                };
                if id < oldest && part.is_none() == manifests {
                    data.delete(&row.key, Expect::Any).await?;
                }
            }
            match page.rows.last() {
                Some(last) if page.more => list = list.after(last.key.as_str()),
                _ => break,
            }
        }
    }
    log_reader::delete_log(data.as_ref(), keys, oldest.sequence).await.map(drop)
}

/// The checkpoints that have a manifest, newest first. Whether they are whole is not looked at.
///
/// # Errors
/// Those of the backend.
pub async fn list_checkpoints(data: &dyn Backend, keys: &DataKeys) -> Result<Vec<CheckpointId>> {
    let mut list = List::prefix(keys.checkpoints());
    let mut found = BTreeSet::new();
    loop {
        let page = data.list(&list).await?;
        let parsed = page.rows.iter().filter_map(|row| parse_key(keys, &row.key));
        found.extend(parsed.filter(|(_, part)| part.is_none()).map(|(id, _)| id));
        match page.rows.last() {
            Some(last) if page.more => list = list.after(last.key.as_str()),
            _ => return Ok(found.into_iter().rev().collect()),
        }
    }
}

/// The checkpoint and part that an object is named for; no part is the manifest.
pub(crate) fn parse_key(keys: &DataKeys, key: &Key) -> Option<(CheckpointId, Option<u32>)> {
    let (id, part) = key.as_str().strip_prefix(&keys.checkpoints())?.split_once('/')?;
    let (sequence, epoch) = id.split_once('-')?;
    let number = |hex| u64::from_str_radix(hex, 16).ok();
    let id = CheckpointId { sequence: number(sequence)?, epoch: number(epoch)? };
    if *key == keys.manifest(id.sequence, id.epoch) {
        return Some((id, None));
    }
    let part = u32::from_str_radix(part, 16).ok()?;
    (*key == keys.checkpoint(id.sequence, id.epoch, part)).then_some((id, Some(part)))
}

/// Reads a whole checkpoint and says what it is.
///
/// # Errors
/// `Corrupt` if anything of it is damaged or missing; those of the backend.
pub async fn verify_checkpoint(
    data: &Arc<dyn Backend>,
    (catalog_keys, data_keys): (&CatalogKeys, &DataKeys),
    id: CheckpointId,
) -> Result<Manifest> {
    let mut reader = CheckpointReader::open(data, data_keys, id).await?;
    reader.read_to_end(catalog_keys).await?;
    Ok(reader.manifest)
}

/// Reads the rows of a checkpoint, part by part.
#[derive(Debug)]
pub struct CheckpointReader {
    data: Arc<dyn Backend>,
    keys: DataKeys,
    id: CheckpointId,
    manifest: Manifest,
    part: u32,
    rows: u64,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl CheckpointReader {
    /// Reads the manifest.
    ///
    /// # Errors
    /// `Corrupt` if it is damaged or missing; those of the backend.
    pub async fn open(data: &Arc<dyn Backend>, keys: &DataKeys, id: CheckpointId) -> Result<Self> {
        let key = keys.manifest(id.sequence, id.epoch);
        let bytes = read_object(data.as_ref(), &key).await?;
        let manifest =
            Manifest::decode(keys.volume_id(), id, &bytes).map_err(|e| e.with_key(&key))?;
        Ok(Self::with_manifest(data, keys, id, manifest))
    }

    fn with_manifest(
        data: &Arc<dyn Backend>,
        keys: &DataKeys,
        id: CheckpointId,
        manifest: Manifest,
    ) -> Self {
        let (data, keys, hasher) = (Arc::clone(data), keys.clone(), blake3::Hasher::new());
        Self { data, keys, id, manifest, part: 0, rows: 0, bytes: 0, hasher }
    }

    /// What the checkpoint is made of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The rows of the next part; nothing behind the last.
    ///
    /// # Errors
    /// `Corrupt` if the part is damaged or missing, or the parts together are not what the
    /// manifest says; those of the backend, after which it may be called again.
    pub async fn next(&mut self) -> Result<Option<Vec<CheckpointRow>>> {
        if self.part == self.manifest.parts {
            let digest = Digest(*self.hasher.finalize().as_bytes());
            let found = (self.rows, self.bytes, digest);
            if found != (self.manifest.rows, self.manifest.bytes, self.manifest.digest) {
                let key = self.keys.manifest(self.id.sequence, self.id.epoch);
                let message = "a checkpoint's parts are not those that its manifest names";
                return Err(Error::corrupt(Operation::Decode, message).with_key(&key));
            }
            return Ok(None);
        }
        let key = self.keys.checkpoint(self.id.sequence, self.id.epoch, self.part);
        let bytes = read_object(self.data.as_ref(), &key).await?;
        let rows = checkpoint::decode_part(self.keys.volume_id(), self.id, self.part, &bytes)
            .map_err(|e| e.with_key(&key))?;
        self.hasher.update(&bytes);
        self.part += 1;
        self.rows += rows.len() as u64;
        self.bytes += bytes.len() as u64;
        Ok(Some(rows))
    }

    /// Reads all parts and checks every row.
    async fn read_to_end(&mut self, keys: &CatalogKeys) -> Result<()> {
        while let Some(rows) = self.next().await? {
            for row in &rows {
                row.check(keys)?;
            }
        }
        Ok(())
    }
}

async fn read_object(data: &dyn Backend, key: &Key) -> Result<Bytes> {
    let object = data.get_all(key).await?;
    object.map(|object| object.value).ok_or_else(|| {
        let message = "an object of a checkpoint is missing";
        Error::corrupt(Operation::Get, message).with_key(key)
    })
}

#[cfg(test)]
mod tests;
