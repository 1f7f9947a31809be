//! Between a plan and the catalog: loading the rows it needs, and the batch it makes.

use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{Backend, Batch, Expect, Key, Object, Result, Revision};

use super::plan::Plan;
use crate::format::chunk::ChunkId;
use crate::format::entry::{Entry, Name, Version};
use crate::format::history::HistoryRow;
use crate::format::log;
use crate::format::row;
use crate::format::segment::SegmentId;
use crate::format::upload::PartRow;

/// A row that a plan needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    Entry(Name),
    History(Name, Version),
    Snapshot(Name),
    Chunk(ChunkId),
    Segment(SegmentId),
    Upload(String),
    Part(String, u32),
    LeftOver(SegmentId, u16),
}

impl Plan {
    /// The rows that the plan has asked for and not found loaded, each once.
    pub(super) fn take_wanted(&mut self) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        wanted.extend(self.entries.take_missing().into_iter().map(Wanted::Entry));
        let histories = self.histories.take_missing().into_iter();
        wanted.extend(histories.map(|(name, version)| Wanted::History(name, version)));
        wanted.extend(self.snapshots.take_missing().into_iter().map(Wanted::Snapshot));
        wanted.extend(self.chunks.take_missing().into_iter().map(Wanted::Chunk));
        wanted.extend(self.segments.take_missing().into_iter().map(Wanted::Segment));
        wanted.extend(self.uploads.take_missing().into_iter().map(Wanted::Upload));
        let parts = self.parts.take_missing().into_iter();
        wanted.extend(parts.map(|(id, number)| Wanted::Part(id, number)));
        let left_overs = self.left_overs.take_missing().into_iter();
        wanted.extend(left_overs.map(|(id, place)| Wanted::LeftOver(id, place)));
        let mut seen = std::collections::HashSet::new();
        wanted.retain(|wanted| seen.insert(wanted.clone()));
        wanted
    }

    /// Loads rows as they are in the catalog now.
    pub(super) async fn load(
        &mut self,
        catalog: &Arc<dyn Backend>,
        wanted: Vec<Wanted>,
    ) -> Result<()> {
        let keys: Vec<Key> = wanted.iter().map(|wanted| self.key(wanted)).collect();
        let rows = catalog.get_many(&keys).await?;
        for ((wanted, key), row) in wanted.into_iter().zip(&keys).zip(rows) {
            self.take_in(wanted, key, row.as_ref())?;
        }
        Ok(())
    }

    fn key(&self, wanted: &Wanted) -> Key {
        match wanted {
            Wanted::Entry(name) => self.keys.entry(name),
            Wanted::History(name, version) => self.keys.history(name, *version),
            Wanted::Snapshot(name) => self.keys.snapshot(name),
            Wanted::Chunk(id) => self.keys.chunk(id),
            Wanted::Segment(id) => self.keys.segment(*id),
            Wanted::Upload(id) => self.keys.upload(id),
            Wanted::Part(id, number) => self.keys.part(id, *number),
            Wanted::LeftOver(id, place) => self.keys.left_over(*id, *place),
        }
    }

    fn take_in(&mut self, wanted: Wanted, key: &Key, found: Option<&Object>) -> Result<()> {
        let value = found.map(|object| &object.value);
        match wanted {
            Wanted::Entry(name) => {
                self.entries.load(name, value.map(|row| Entry::decode(key, row)).transpose()?);
            }
            Wanted::History(name, version) => {
                let row = value.map(|row| HistoryRow::decode(key, row)).transpose()?;
                self.histories.load((name, version), row);
            }
            Wanted::Snapshot(name) => self.snapshots.load(name, plain(key, value)?),
            Wanted::Chunk(id) => self.chunks.load(id, plain(key, value)?),
            Wanted::Segment(id) => self.segments.load(id, plain(key, value)?),
            Wanted::Upload(id) => self.uploads.load(id, plain(key, value)?),
            Wanted::Part(id, number) => {
                let row = value.map(|row| PartRow::decode(key, row)).transpose()?;
                self.parts.load((id, number), row);
            }
            Wanted::LeftOver(id, place) => self.left_overs.load((id, place), plain(key, value)?),
        }
        Ok(())
    }

    /// Entries that the requests name and the plan will ask for first.
    pub(super) fn wants_entry(&self, name: &Name) -> Option<Wanted> {
        (!self.entries.is_loaded(name)).then(|| Wanted::Entry(name.clone()))
    }

    /// Chunks that the requests name and the plan will ask for first.
    pub(super) fn wants_chunk(&self, id: &ChunkId) -> Option<Wanted> {
        (!self.chunks.is_loaded(id)).then_some(Wanted::Chunk(*id))
    }

    /// The batch that makes the plan come true, if the head is still of this revision.
    pub(super) fn batch(&mut self, head: Option<Revision>) -> Batch {
        let keys = self.keys.clone();
        let mut batch = Batch::new();
        for (name, entry) in self.entries.take_changed() {
            let key = keys.entry(&name);
            let value = entry.map(|entry| entry.encode(&key));
            write(&mut batch, key, value);
        }
        for ((name, version), row) in self.histories.take_changed() {
            let key = keys.history(&name, version);
            let value = row.map(|row| row.encode(&key));
            write(&mut batch, key, value);
        }
        for ((id, number), part) in self.parts.take_changed() {
            let key = keys.part(&id, number);
            let value = part.map(|part| part.encode(&key));
            write(&mut batch, key, value);
        }
        for (name, snapshot) in self.snapshots.take_changed() {
            write_row(&mut batch, keys.snapshot(&name), snapshot.as_ref());
        }
        for (id, chunk) in self.chunks.take_changed() {
            write_row(&mut batch, keys.chunk(&id), chunk.as_ref());
        }
        for (id, segment) in self.segments.take_changed() {
            write_row(&mut batch, keys.segment(id), segment.as_ref());
        }
        for (id, upload) in self.uploads.take_changed() {
            write_row(&mut batch, keys.upload(&id), upload.as_ref());
        }
        for ((id, place), since) in self.left_overs.take_changed() {
            write_row(&mut batch, keys.left_over(id, place), since.as_ref());
        }
        for (key, value) in self.plain.take_changed() {
            write(&mut batch, key, value);
        }
        if self.volume_changed {
            write_row(&mut batch, keys.volume(), Some(&*self.volume));
        }
        if let Some(last) = self.commits.last().map(|commit| commit.sequence) {
            let key = keys.log(last);
            let value = log::encode_commits(&key, &self.commits);
            batch.put(key, value, Expect::Any);
            let key = keys.unsealed(last);
            let value = log::encode_inline(&key, &self.commits);
            batch.put(key, value, Expect::Any);
        }
        let key = keys.head();
        let value = row::encode(&key, &self.head);
        batch.put(key, value, Expect::from(head));
        batch
    }
}

fn plain<T: row::Body>(key: &Key, value: Option<&Bytes>) -> Result<Option<T>> {
    value.map(|value| row::decode(key, value)).transpose()
}

fn write_row<T: serde::Serialize>(batch: &mut Batch, key: Key, row: Option<&T>) {
    let value = row.map(|body| row::encode(&key, body));
    write(batch, key, value);
}

fn write(batch: &mut Batch, key: Key, value: Option<Bytes>) {
    match value {
        Some(value) => batch.put(key, value, Expect::Any),
        None => batch.delete(key, Expect::Any),
    };
}
