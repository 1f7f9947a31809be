//! Uploads in parts: in any order, completed or aborted, across restarts.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use holdall_core::{BackendExt, Error, ErrorKind, Key, Operation, Result, Timestamp};
use serde::Serialize;

use super::{Again, PutOptions, stream_is_spent};
use crate::commit::{Committed, Condition, Draft, Request, Write};
use crate::data::{EntryHint, Source, Stored, source_of};
use crate::format::chunk::{Content, Digest, Node};
use crate::format::entry::Name;
use crate::format::keys::CatalogKeys;
use crate::format::row;
use crate::format::upload::{PART_NUMBER_MAX, PartRow, UPLOAD_LEASE, UploadRow};
use crate::volume::Volume;

/// How often the parts are looked at again that others write while an upload is completed.
const LOOKS_MAX: u32 = 8;

/// An upload in parts. Dropping it changes nothing: it goes on under its id.
#[derive(Clone, Debug)]
pub struct Upload {
    volume: Volume,
    id: String,
    row: UploadRow,
}

/// What is known of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UploadInfo {
    /// Its id.
    pub id: String,
    /// The entry that it will become.
    pub name: Name,
    /// When it was begun.
    pub begun: Timestamp,
}

/// What is known of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartInfo {
    /// Its number.
    pub number: u32,
    /// Its size in bytes.
    pub size: u64,
    /// The digest of its bytes.
    pub digest: Digest,
    /// When it was written.
    pub written: Timestamp,
}

impl Volume {
    /// Begins an upload in parts. The condition is checked when it is completed.
    ///
    /// # Errors
    /// `Invalid` for too many attributes; those of the catalog.
    pub async fn begin_upload(&self, name: &Name, options: PutOptions) -> Result<Upload> {
        options.check()?;
        let env = &self.shared.resources.env;
        let id = u128::from_le_bytes(env.random());
        let id = format!("{id:032x}");
        let now = env.now();
        let row = UploadRow {
            name: name.clone(),
            content_type: options.content_type,
            attributes: options.attributes,
            expires: options.expires,
            begun: now,
            lease_until: now.plus(UPLOAD_LEASE),
        };
        let write = Write::BeginUpload { id: id.clone(), row: Box::new(row.clone()) };
        self.shared.commit(Request::one(write)).await?;
        Ok(Upload { volume: self.clone(), id, row })
    }

    /// Goes on with an upload that was begun before.
    ///
    /// # Errors
    /// `Invalid` if there is no such upload.
    pub async fn resume_upload(&self, id: &str) -> Result<Upload> {
        let key = CatalogKeys::new(self.shared.id).upload(id);
        let Some(found) = self.shared.resources.catalog.get_all(&key).await? else {
            let message = format!("there is no upload `{id}`: it was completed or aborted");
            return Err(Error::invalid(Operation::Get, message));
        };
        let row = row::decode(&key, &found.value)?;
        Ok(Upload { volume: self.clone(), id: id.to_owned(), row })
    }

    /// The uploads that are neither completed nor aborted.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn uploads(&self) -> Result<Vec<UploadInfo>> {
        let prefix = CatalogKeys::new(self.shared.id).class('u');
        let mut uploads = Vec::new();
        for found in self.shared.resources.catalog.list_all(&prefix, true).await? {
            let Some(object) = found.object else { continue };
            let row: UploadRow = row::decode(&found.key, &object.value)?;
            let id = found.key.as_str().get(prefix.len()..).unwrap_or_default().to_owned();
            uploads.push(UploadInfo { id, name: row.name, begun: row.begun });
        }
        Ok(uploads)
    }
}

impl Upload {
    /// The id under which the upload can be resumed.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The entry that it will become.
    pub fn name(&self) -> &Name {
        &self.row.name
    }

    /// Writes a part, or replaces it. Numbers are from 1 and give the order.
    ///
    /// # Errors
    /// `Invalid` for a number out of range; `Conflict` if the upload has ended; else as
    /// [`Volume::put`].
    pub async fn put_part(&self, number: u32, bytes: impl Into<Bytes>) -> Result<PartInfo> {
        let bytes = bytes.into();
        let mut again = Again::default();
        loop {
            let stored = self.store_part(number, source_of(bytes.clone())).await?;
            match self.commit_part(number, stored).await {
                Err(error) if again.helps(&error) => {}
                other => return other,
            }
        }
    }

    /// Writes a part from a stream, or replaces it.
    ///
    /// # Errors
    /// The stream's first error; else as [`put_part`](Self::put_part). After any of them nothing
    /// was written but if it is `Unknown`, and the part can be sent again.
    pub async fn put_part_stream(
        &self,
        number: u32,
        source: impl Stream<Item = Result<Bytes>> + Send + 'static,
    ) -> Result<PartInfo> {
        let stored = self.store_part(number, Box::pin(source)).await?;
        self.commit_part(number, stored).await.map_err(stream_is_spent)
    }

    async fn store_part(&self, number: u32, source: Source) -> Result<Stored> {
        if !(1..=PART_NUMBER_MAX).contains(&number) {
            let message = format!("a part has number {number}; allowed are 1 to {PART_NUMBER_MAX}");
            return Err(Error::invalid(Operation::Put, message));
        }
        let shared = &self.volume.shared;
        let compression = shared.committer.volume().policy.compression;
        shared.writer().await?.packer.store(source, compression, None).await
    }

    /// Commits a part whose bytes are stored.
    pub(super) async fn commit_part(&self, number: u32, stored: Stored) -> Result<PartInfo> {
        let (size, digest) = (crate::data::tree_size(&stored.nodes), stored.digest);
        let part = PartRow {
            size,
            digest,
            content: Content::Tree(stored.nodes),
            written: Timestamp::EPOCH,
            inline: Bytes::new(),
        };
        let write = Write::PutPart { id: self.id.clone(), number, part: Box::new(part) };
        let request =
            Request { writes: vec![write], chunks: stored.chunks, segments: stored.segments };
        let committed = self.volume.shared.commit(request).await?;
        Ok(PartInfo { number, size, digest, written: committed.time })
    }

    /// The parts that were written, in order.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn parts(&self) -> Result<Vec<PartInfo>> {
        let rows = self.part_rows().await?;
        let info = |(number, part): (u32, PartRow)| PartInfo {
            number,
            size: part.size,
            digest: part.digest,
            written: part.written,
        };
        Ok(rows.into_iter().map(info).collect())
    }

    /// All parts, if the upload has not ended, and by what to know whether they still are.
    pub(super) async fn listed(&self) -> Result<Listed> {
        let Some(lease_until) = self.lease_until().await? else {
            let id = &self.id;
            let message = format!("there is no upload `{id}`: it was completed or aborted");
            return Err(Error::conflict(Operation::Put, message));
        };
        // Behind the lease: a part that is written after this was read changes that too.
        Ok(Listed { parts: self.part_rows().await?, lease_until })
    }

    /// What the upload's row says of its lease; nothing if it has ended.
    async fn lease_until(&self) -> Result<Option<Timestamp>> {
        let shared = &self.volume.shared;
        let key = CatalogKeys::new(shared.id).upload(&self.id);
        let found = shared.resources.catalog.get_all(&key).await?;
        let row = found.map(|found| row::decode::<UploadRow>(&key, &found.value)).transpose()?;
        Ok(row.map(|row| row.lease_until))
    }

    async fn part_rows(&self) -> Result<Vec<(u32, PartRow)>> {
        let shared = &self.volume.shared;
        let prefix = CatalogKeys::new(shared.id).parts(&self.id);
        let mut parts = Vec::new();
        for found in shared.resources.catalog.list_all(&prefix, true).await? {
            let Some(object) = found.object else { continue };
            parts.push((part_number(&found.key)?, PartRow::decode(&found.key, &object.value)?));
        }
        Ok(parts)
    }

    /// Makes the parts an entry. It reads them all once, for the entry's digest, and again if a
    /// part is written meanwhile: none that was acknowledged before this returns is left out.
    ///
    /// With `chosen`, only these parts count, in ascending order, and must have these digests;
    /// the others are dropped.
    ///
    /// # Errors
    /// `Conflict` if the condition does not hold, the upload has ended, or parts are written
    /// without end; `Invalid` if a chosen part is missing or another.
    pub async fn complete(
        &self,
        chosen: Option<&[(u32, Digest)]>,
        condition: Condition,
    ) -> Result<Committed> {
        let mut looks = 0;
        loop {
            let parts = self.listed().await?;
            let kept = self.choose(&parts, chosen)?;
            let digest = self.digest_of(&parts, &kept).await?;
            let conflict = match self.complete_as(digest, &parts, &kept, condition).await {
                Err(error) if error.kind() == ErrorKind::Conflict => error,
                other => return other,
            };
            looks += 1;
            let now = self.lease_until().await?;
            if looks == LOOKS_MAX || now.is_none_or(|now| now == parts.lease_until) {
                return Err(conflict);
            }
        }
    }

    /// The digest of these parts' bytes, one behind the other.
    async fn digest_of(&self, parts: &Listed, kept: &BTreeSet<u32>) -> Result<Digest> {
        let reader = self.volume.shared.read.reader();
        let mut hasher = blake3::Hasher::new();
        for (_, part) in parts.parts.iter().filter(|(number, _)| kept.contains(number)) {
            let nodes = part.content.nodes().to_vec();
            let mut pieces = std::pin::pin!(reader.stream(nodes, 0..part.size));
            while let Some(piece) = pieces.next().await {
                hasher.update(&piece?);
            }
        }
        Ok(Digest(*hasher.finalize().as_bytes()))
    }

    fn choose(&self, parts: &Listed, chosen: Option<&[(u32, Digest)]>) -> Result<BTreeSet<u32>> {
        let Some(chosen) = chosen else { return Ok(parts.numbers()) };
        let found: BTreeMap<u32, Digest> = parts.digests().collect();
        for (number, digest) in chosen {
            if found.get(number) != Some(digest) {
                let message = format!("part {number} of upload `{}` is not as chosen", self.id);
                return Err(Error::invalid(Operation::Put, message));
            }
        }
        Ok(chosen.iter().map(|(number, _)| *number).collect())
    }

    /// Makes those parts an entry that are kept, whose digest is known; the others are dropped.
    pub(super) async fn complete_as(
        &self,
        digest: Digest,
        parts: &Listed,
        kept: &BTreeSet<u32>,
        condition: Condition,
    ) -> Result<Committed> {
        let nodes: Vec<Node> = parts
            .parts
            .iter()
            .filter(|(number, _)| kept.contains(number))
            .flat_map(|(_, part)| part.content.nodes().iter().copied())
            .collect();
        let shared = &self.volume.shared;
        let compression = shared.committer.volume().policy.compression;
        let row = &self.row;
        let hint = EntryHint {
            name: row.name.clone(),
            content_type: row.content_type.clone(),
            attributes: row.attributes.clone(),
            expires: row.expires,
        };
        let size = crate::data::tree_size(&nodes);
        let packer = &shared.writer().await?.packer;
        let mut again = Again::default();
        loop {
            let (nodes, hint) = (nodes.clone(), Some(hint.clone()));
            let stored = packer.join(nodes, digest, compression, hint).await?;
            let content = if size == 0 { Content::Inline } else { Content::Tree(stored.nodes) };
            let draft = Draft {
                size,
                digest,
                content_type: row.content_type.clone(),
                attributes: row.attributes.clone(),
                expires: row.expires,
                content,
                inline: Bytes::new(),
            };
            let write = Write::CompleteUpload {
                id: self.id.clone(),
                parts: parts.numbers().into_iter().collect(),
                lease_until: parts.lease_until,
                condition,
                draft: Box::new(draft),
            };
            let request =
                Request { writes: vec![write], chunks: stored.chunks, segments: stored.segments };
            match shared.commit(request).await {
                Err(error) if again.helps(&error) => {}
                other => return other,
            }
        }
    }

    /// Ends the upload and drops its parts. Aborting again succeeds.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn abort(&self) -> Result<()> {
        let parts = self.part_rows().await?.into_iter().map(|(number, _)| number).collect();
        let write = Write::AbortUpload { id: self.id.clone(), parts };
        self.volume.shared.commit(Request::one(write)).await.map(drop)
    }
}

/// The parts of an upload as they were at one time.
#[derive(Debug)]
pub(super) struct Listed {
    parts: Vec<(u32, PartRow)>,
    lease_until: Timestamp,
}

impl Listed {
    pub(super) fn numbers(&self) -> BTreeSet<u32> {
        self.parts.iter().map(|(number, _)| *number).collect()
    }

    pub(super) fn digests(&self) -> impl Iterator<Item = (u32, Digest)> {
        self.parts.iter().map(|(number, part)| (*number, part.digest))
    }
}

fn part_number(key: &Key) -> Result<u32> {
    let number = key.as_str().rsplit_once('/').map(|(_, number)| u32::from_str_radix(number, 16));
    match number {
        Some(Ok(number)) => Ok(number),
        _ => {
            let message = "the key of a part has no number; run `holdall verify`";
            Err(Error::corrupt(Operation::Decode, message).with_key(key))
        }
    }
}
