//! What requests make of the rows: pure, apart from all I/O.
//!
//! A plan works on rows that were loaded before. Where it needs one that is not there it notes
//! so; the committer then loads it and makes the plan anew.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{Error, Key, Operation, Result, Timestamp};

use super::request::{Committed, Condition, Draft, Request, Write};
use super::table::Table;
use crate::data::StagedChunk;
use crate::format::chunk::{ChunkId, ChunkRow, Node};
use crate::format::entry::{Entry, Name, Version};
use crate::format::head::Head;
use crate::format::history::{HistoryRow, SnapshotRow};
use crate::format::keys::CatalogKeys;
use crate::format::log::{Change, Commit};
use crate::format::policy::{Policy, VolumeRow, check_places};
use crate::format::segment::{LeftOver, SegmentId, SegmentRow, SegmentState};
use crate::format::upload::{PartRow, UploadRow};

/// The rows of a volume as a plan sees them, and what the plan makes of them.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) keys: CatalogKeys,
    pub(super) head: Head,
    pub(super) volume: Arc<VolumeRow>,
    pub(super) epoch: u64,
    /// The wall clock when planning began.
    pub(super) now: Timestamp,
    pub(super) entries: Table<Name, Entry>,
    pub(super) histories: Table<(Name, Version), HistoryRow>,
    pub(super) snapshots: Table<Name, SnapshotRow>,
    pub(super) chunks: Table<ChunkId, ChunkRow>,
    pub(super) segments: Table<SegmentId, SegmentRow>,
    pub(super) uploads: Table<String, UploadRow>,
    pub(super) parts: Table<(String, u32), PartRow>,
    pub(super) left_overs: Table<(SegmentId, u16), LeftOver>,
    /// Rows that are only written: indexes, the volume's own row.
    pub(super) plain: Table<Key, Bytes>,
    pub(super) commits: Vec<Commit>,
    pub(super) volume_changed: bool,
    /// Whether the writer's lease shall be rewritten.
    pub(super) renew: bool,
}

/// What one request does while it is planned.
pub(super) struct Step<'a> {
    pub(super) version: Version,
    pub(super) time: Timestamp,
    pub(super) staged: HashMap<ChunkId, &'a StagedChunk>,
    pub(super) changes: Vec<Change>,
    ordinal: u32,
}

impl Plan {
    pub(crate) fn new(
        keys: CatalogKeys,
        head: Head,
        volume: Arc<VolumeRow>,
        epoch: u64,
        now: Timestamp,
    ) -> Self {
        Self {
            keys,
            head,
            volume,
            epoch,
            now,
            entries: Table::default(),
            histories: Table::default(),
            snapshots: Table::default(),
            chunks: Table::default(),
            segments: Table::default(),
            uploads: Table::default(),
            parts: Table::default(),
            left_overs: Table::default(),
            plain: Table::default(),
            commits: Vec::new(),
            volume_changed: false,
            renew: false,
        }
    }

    /// Adds a request: all of it or, if it fails, nothing but its segments' rows.
    pub(crate) fn add(&mut self, request: &Request) -> Result<Committed> {
        self.adopt_segments(request);
        let before = (self.head.clone(), Arc::clone(&self.volume), self.volume_changed);
        let mut step = Step {
            version: self.head.sequence + 1,
            time: self.now.max(self.head.time),
            staged: request.chunks.iter().map(|chunk| (chunk.id, chunk)).collect(),
            changes: Vec::new(),
            ordinal: 0,
        };
        match self.writes(&mut step, &request.writes) {
            Ok(found) => {
                self.keep();
                Ok(self.finish(step, found))
            }
            Err(error) => {
                self.undo();
                (self.head, self.volume, self.volume_changed) = before;
                Err(error)
            }
        }
    }

    fn writes(&mut self, step: &mut Step<'_>, writes: &[Write]) -> Result<Vec<Option<Version>>> {
        let mut names = BTreeSet::new();
        for name in writes.iter().flat_map(Write::names) {
            if !names.insert(name) {
                let message = format!("a transaction names {name:?} twice; name each entry once");
                return Err(Error::invalid(Operation::Commit, message));
            }
        }
        let bytes_before = self.head.bytes + self.head.upload_bytes;
        let found = writes.iter().map(|write| self.write(step, write)).collect::<Result<_>>()?;
        self.check_quota(bytes_before)?;
        Ok(found)
    }

    /// Deleting is allowed over the quota too: that is how one gets below it.
    fn check_quota(&self, bytes_before: u64) -> Result<()> {
        let bytes = self.head.bytes + self.head.upload_bytes;
        match self.volume.policy.quota_bytes {
            Some(quota) if bytes > quota && bytes > bytes_before => {
                let message = format!(
                    "volume `{}` would hold {bytes} bytes; its quota is {quota}: delete something \
                     or raise the quota",
                    self.volume.name
                );
                Err(Error::full(Operation::Commit, message))
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, step: Step<'_>, before: Vec<Option<Version>>) -> Committed {
        if step.changes.is_empty() {
            return Committed { version: self.head.sequence, time: self.head.time, before };
        }
        self.head.sequence = step.version;
        self.head.time = step.time;
        self.commits.push(Commit {
            sequence: step.version,
            time: step.time,
            epoch: self.epoch,
            changes: step.changes,
        });
        Committed { version: step.version, time: step.time, before }
    }

    fn write(&mut self, step: &mut Step<'_>, write: &Write) -> Result<Option<Version>> {
        match write {
            Write::Check { name, condition } => self.expect(step, name, *condition),
            Write::Put { name, condition, draft } => {
                let before = self.expect(step, name, *condition)?;
                self.put(step, name, (**draft).clone())?;
                Ok(before)
            }
            Write::Delete { name, condition } => {
                let before = self.expect(step, name, *condition)?;
                self.remove(step, name)?;
                Ok(before)
            }
            Write::Copy { from, to, condition } => self.copy(step, from, to, *condition),
            Write::Rename { from, to, condition } => {
                let before = self.copy(step, from, to, *condition)?;
                self.remove(step, from)?;
                Ok(before)
            }
            Write::Snapshot { name } => self.snapshot(step, name),
            Write::Unsnapshot { name } => Ok(self.unsnapshot(step, name)),
            Write::BeginUpload { id, row } => self.begin_upload(id, row),
            Write::PutPart { id, number, part } => self.put_part(step, id, *number, part),
            Write::CompleteUpload { id, parts, lease_until, condition, draft } => {
                self.complete_upload(step, id, (parts, *lease_until), *condition, draft)
            }
            Write::AbortUpload { id, parts } => self.abort_upload(step, id, parts),
            Write::SetName(name) => {
                Arc::make_mut(&mut self.volume).name.clone_from(name);
                self.note_change();
                Ok(None)
            }
            Write::SetPolicy(policy) => self.set_policy(step, policy).map(|()| None),
            Write::SetPlaces(places, tiers) => self.set_places(places, tiers).map(|()| None),
            Write::Maintain(maintain) => self.maintain(step, maintain).map(|()| None),
        }
    }

    /// Takes over a policy. What a shorter history has let go does not come back with a longer one.
    fn set_policy(&mut self, step: &Step<'_>, policy: &Policy) -> Result<()> {
        if policy.indexed != self.volume.policy.indexed {
            let message = "the indexed attributes of a volume are fixed when it is created";
            return Err(Error::unsupported(Operation::Configure, message));
        }
        check_places(&self.volume.places, &policy.tiers)?;
        let volume = Arc::make_mut(&mut self.volume);
        if policy.history > volume.policy.history {
            let kept_from = step.time.minus(volume.policy.history);
            volume.history_from = volume.history_from.max(kept_from);
        }
        volume.policy = policy.clone();
        self.note_change();
        Ok(())
    }

    /// Checks what is under a name: its version, if there is an entry that has not ended.
    pub(super) fn expect(
        &mut self,
        step: &Step<'_>,
        name: &Name,
        condition: Condition,
    ) -> Result<Option<Version>> {
        let entry = self.entries.get(name).filter(|entry| !entry.is_expired(step.time));
        let version = entry.map(|entry| entry.version);
        let found = match (condition, version) {
            (Condition::Always, _) | (Condition::Absent, None) | (Condition::Present, Some(_)) => {
                return Ok(version);
            }
            (Condition::Version(wanted), Some(found)) if wanted == found => return Ok(version),
            (_, Some(found)) => format!("is there, in version {found}"),
            (_, None) => "is not there".to_owned(),
        };
        let volume = &self.volume.name;
        let message = format!("entry {name:?} of volume `{volume}` {found}; read it and decide");
        Err(Error::conflict(Operation::Commit, message))
    }

    pub(super) fn put(&mut self, step: &mut Step<'_>, name: &Name, draft: Draft) -> Result<()> {
        let entry = draft.into_entry(step.version, step.time);
        // Named before what it replaces is released, so that what both share never gets idle.
        self.refer(step, entry.content.nodes())?;
        self.take_away(step, name)?;
        self.head.entries += 1;
        self.head.bytes += entry.size;
        self.index(name, &entry, true);
        self.entries.set(name.clone(), Some(entry.clone()));
        step.changes.push(Change::Put { name: name.clone(), entry });
        Ok(())
    }

    pub(super) fn remove(&mut self, step: &mut Step<'_>, name: &Name) -> Result<()> {
        if self.take_away(step, name)? {
            step.changes.push(Change::Delete { name: name.clone() });
        }
        Ok(())
    }

    /// Takes an entry out of the present: into history, or for good.
    fn take_away(&mut self, step: &mut Step<'_>, name: &Name) -> Result<bool> {
        let Some(old) = self.entries.get(name).cloned() else { return Ok(false) };
        self.head.entries = self.head.entries.saturating_sub(1);
        self.head.bytes = self.head.bytes.saturating_sub(old.size);
        self.index(name, &old, false);
        self.entries.set(name.clone(), None);
        let pinned = old.version <= self.head.snapshot_last;
        if !pinned && self.volume.policy.history.is_zero() {
            self.release(step, old.content.nodes().iter().map(|node| node.id))?;
            return Ok(true);
        }
        self.head.history_entries += 1;
        self.head.history_bytes += old.size;
        let retention = self.keys.retention(step.version, step.ordinal);
        step.ordinal += 1;
        let value = crate::format::row::encode(&retention, &(name, old.version));
        self.plain.set(retention, Some(value));
        let version = old.version;
        let history =
            HistoryRow { entry: old, superseded: step.version, superseded_time: step.time };
        self.histories.set((name.clone(), version), Some(history));
        Ok(true)
    }

    fn copy(
        &mut self,
        step: &mut Step<'_>,
        from: &Name,
        to: &Name,
        condition: Condition,
    ) -> Result<Option<Version>> {
        let before = self.expect(step, to, condition)?;
        self.expect(step, from, Condition::Present)?;
        let Some(source) = self.entries.get(from).cloned() else { return Ok(None) };
        let draft = Draft {
            size: source.size,
            digest: source.digest,
            content_type: source.content_type,
            attributes: source.attributes,
            expires: source.expires,
            content: source.content,
            inline: source.inline,
        };
        self.put(step, to, draft)?;
        Ok(before)
    }

    fn snapshot(&mut self, step: &mut Step<'_>, name: &Name) -> Result<Option<Version>> {
        if self.snapshots.get(name).is_some() {
            let message = format!("there is a snapshot {name:?} already; choose another name");
            return Err(Error::conflict(Operation::Commit, message));
        }
        let snapshot = SnapshotRow { sequence: step.version, time: step.time, created: step.time };
        self.snapshots.set(name.clone(), Some(snapshot.clone()));
        self.head.snapshot_last = step.version;
        step.changes.push(Change::Snapshot { name: name.clone(), snapshot });
        Ok(None)
    }

    fn unsnapshot(&mut self, step: &mut Step<'_>, name: &Name) -> Option<Version> {
        let pinned = self.snapshots.get(name)?.sequence;
        self.snapshots.set(name.clone(), None);
        step.changes.push(Change::Unsnapshot { name: name.clone() });
        Some(pinned)
    }

    /// Writes or removes the index rows of an entry.
    fn index(&mut self, name: &Name, entry: &Entry, there: bool) {
        let mut keys: Vec<Key> = Vec::new();
        keys.extend(entry.expires.map(|expires| self.keys.expiry(expires, name)));
        for (attribute, value) in &entry.attributes {
            if self.volume.policy.indexed.contains(attribute) {
                keys.extend(self.keys.attribute(attribute, value, name));
            }
        }
        for key in keys {
            let value = there.then(|| crate::format::row::encode(&key, &()));
            self.plain.set(key, value);
        }
    }

    /// Counts one more reference on each node.
    pub(super) fn refer(&mut self, step: &Step<'_>, nodes: &[Node]) -> Result<()> {
        // So that all rows that are not loaded are asked for at once.
        for node in nodes {
            self.chunks.get(&node.id);
        }
        nodes.iter().try_for_each(|node| self.refer_one(step, node))
    }

    fn refer_one(&mut self, step: &Step<'_>, node: &Node) -> Result<()> {
        if let Some(mut row) = self.chunks.get(&node.id).copied() {
            row.references += 1;
            if let Some(since) = row.idle_since.take() {
                self.plain.set(self.keys.idle(since, &node.id), None);
                self.count_live(row.place.segment, i64::from(row.place.stored));
            }
            self.chunks.set(node.id, Some(row));
            return Ok(());
        }
        let staged = step.staged.get(&node.id);
        let Some((chunk, place)) = staged.and_then(|chunk| Some((chunk, chunk.place?))) else {
            let message = "stored bytes were collected before they were committed; try again";
            return Err(Error::unavailable(Operation::Commit, message));
        };
        let row = ChunkRow { place, level: chunk.level, references: 1, idle_since: None };
        self.enter_segment(place.segment)?;
        self.chunks.set(node.id, Some(row));
        self.count_live(place.segment, i64::from(place.stored));
        self.refer(step, &chunk.children)
    }

    /// Counts one chunk row more in a segment, which must still be there.
    pub(super) fn enter_segment(&mut self, id: SegmentId) -> Result<()> {
        match self.segments.get(&id).cloned() {
            Some(mut row)
                if matches!(row.state, SegmentState::Live | SegmentState::Dead { .. }) =>
            {
                row.state = SegmentState::Live;
                row.chunks += 1;
                self.segments.set(id, Some(row));
                Ok(())
            }
            _ => {
                let message = "a segment was collected before it was committed; try again";
                Err(Error::unavailable(Operation::Commit, message))
            }
        }
    }

    /// Takes one reference from each chunk; those that nothing names now wait for collection.
    pub(super) fn release(
        &mut self,
        step: &Step<'_>,
        ids: impl Iterator<Item = ChunkId>,
    ) -> Result<()> {
        for id in ids {
            // A row that is missing here is damage, which verify reports; it must not stop a
            // person from deleting the entry.
            let Some(mut row) = self.chunks.get(&id).copied() else { continue };
            row.references = row.references.saturating_sub(1);
            if row.references == 0 && row.idle_since.is_none() {
                row.idle_since = Some(step.time);
                let key = self.keys.idle(step.time, &id);
                let value = crate::format::row::encode(&key, &());
                self.plain.set(key, Some(value));
                self.count_live(row.place.segment, -i64::from(row.place.stored));
            }
            self.chunks.set(id, Some(row));
        }
        Ok(())
    }

    pub(super) fn count_live(&mut self, id: SegmentId, bytes: i64) {
        self.head.live_bytes = self.head.live_bytes.saturating_add_signed(bytes);
        if let Some(mut row) = self.segments.get(&id).cloned() {
            row.live_bytes = row.live_bytes.saturating_add_signed(bytes);
            self.segments.set(id, Some(row));
        }
    }

    /// Adds the rows of new segments. They stay also if the request fails: the objects are there.
    fn adopt_segments(&mut self, request: &Request) {
        for staged in &request.segments {
            if self.segments.get(&staged.id).is_some() {
                continue;
            }
            self.head.segments += 1;
            self.head.segment_bytes += staged.bytes;
            let row = SegmentRow {
                created: self.now,
                bytes: staged.bytes,
                live_bytes: 0,
                chunks: 0,
                tier: 0,
                key_id: 0,
                state: SegmentState::Live,
                replicas: staged.copies.replicas(),
            };
            self.segments.set(staged.id, Some(row));
        }
        self.keep();
    }

    fn keep(&mut self) {
        self.entries.keep();
        self.histories.keep();
        self.snapshots.keep();
        self.chunks.keep();
        self.segments.keep();
        self.uploads.keep();
        self.parts.keep();
        self.left_overs.keep();
        self.plain.keep();
    }

    fn undo(&mut self) {
        self.entries.undo();
        self.histories.undo();
        self.snapshots.undo();
        self.chunks.undo();
        self.segments.undo();
        self.uploads.undo();
        self.parts.undo();
        self.left_overs.undo();
        self.plain.undo();
    }

    /// Forgets what was planned, but not what was loaded.
    pub(crate) fn restart(&mut self, head: Head, volume: Arc<VolumeRow>) {
        self.entries.restart();
        self.histories.restart();
        self.snapshots.restart();
        self.chunks.restart();
        self.segments.restart();
        self.uploads.restart();
        self.parts.restart();
        self.left_overs.restart();
        self.plain.restart();
        self.commits.clear();
        self.volume_changed = false;
        self.renew = false;
        self.head = head;
        self.volume = volume;
    }
}

impl Write {
    /// The entries that this names.
    fn names(&self) -> impl Iterator<Item = &Name> {
        let (first, second) = match self {
            Self::Check { name, .. } | Self::Put { name, .. } | Self::Delete { name, .. } => {
                (Some(name), None)
            }
            Self::Copy { to, .. } => (Some(to), None),
            Self::Rename { from, to, .. } => (Some(from), Some(to)),
            _ => (None, None),
        };
        first.into_iter().chain(second)
    }
}
