//! What can be asked of a commit.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdall_core::Timestamp;

use crate::data::{StagedChunk, StagedSegment};
use crate::format::chunk::{ChunkId, Content, Digest, Place};
use crate::format::entry::{Entry, Name, Version};
use crate::format::policy::{PlaceRow, Policy, Tier};
use crate::format::segment::{Replica, ReplicaState, SegmentId};
use crate::format::upload::{PartRow, UploadRow};

/// What a write expects to find under its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Anything, or nothing.
    #[default]
    Always,
    /// No entry.
    Absent,
    /// Some entry.
    Present,
    /// The entry of this version.
    Version(Version),
}

/// An entry before its commit has given it a version.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub size: u64,
    pub digest: Digest,
    pub content_type: Option<String>,
    pub attributes: BTreeMap<String, String>,
    pub expires: Option<Timestamp>,
    pub content: Content,
    pub inline: Bytes,
}

impl Draft {
    /// The entry that this becomes in a commit.
    pub(crate) fn into_entry(self, version: Version, written: Timestamp) -> Entry {
        Entry {
            version,
            written,
            size: self.size,
            digest: self.digest,
            content_type: self.content_type,
            attributes: self.attributes,
            expires: self.expires,
            content: self.content,
            inline: self.inline,
        }
    }
}

/// One step of a [`Request`].
#[derive(Clone, Debug)]
pub(crate) enum Write {
    /// Do nothing, but only if the condition holds.
    Check { name: Name, condition: Condition },
    /// Write an entry.
    Put { name: Name, condition: Condition, draft: Box<Draft> },
    /// Remove an entry. Removing a missing one succeeds.
    Delete { name: Name, condition: Condition },
    /// Write an entry that has the bytes and attributes of another.
    Copy { from: Name, to: Name, condition: Condition },
    /// The same, and remove the other.
    Rename { from: Name, to: Name, condition: Condition },
    /// Pin the state that this commit leaves.
    Snapshot { name: Name },
    /// Unpin.
    Unsnapshot { name: Name },
    /// Begin an upload in parts.
    BeginUpload { id: String, row: Box<UploadRow> },
    /// Add a part, or replace it.
    PutPart { id: String, number: u32, part: Box<PartRow> },
    /// Make the parts an entry, which these must be all: nothing was put since the upload's row
    /// said this of its lease.
    CompleteUpload {
        id: String,
        parts: Vec<u32>,
        lease_until: Timestamp,
        condition: Condition,
        draft: Box<Draft>,
    },
    /// Forget an upload and these of its parts, which must be all.
    AbortUpload { id: String, parts: Vec<u32> },
    /// Give the volume another name.
    SetName(String),
    /// Tell the volume to do something else.
    SetPolicy(Box<Policy>),
    /// Tell the volume where its data lies, and what goes there.
    SetPlaces(Vec<PlaceRow>, Vec<Tier>),
    /// A step of looking after the volume.
    Maintain(Maintain),
}

/// Steps that look after the volume. Each does nothing where it no longer fits, so each may be
/// repeated.
#[derive(Clone, Debug)]
pub(crate) enum Maintain {
    /// Rewrite the writer's lease.
    Renew,
    /// Forget a superseded version.
    Prune { name: Name, version: Version, superseded: Version, ordinal: u32 },
    /// Remove an entry that has ended.
    Expire { name: Name, expires: Timestamp },
    /// Say which is the newest commit that a snapshot pins.
    LowerSnapshots { from: Version, to: Version },
    /// Forget a chunk that nothing has named since then; its children lose a reference each.
    DropIdle { id: ChunkId, since: Timestamp, children: Vec<ChunkId> },
    /// Mark a segment into which no chunk row points.
    Bury { id: SegmentId },
    /// Mark a dead segment as about to be deleted.
    Condemn { id: SegmentId, dead_since: Timestamp },
    /// Mark a condemned segment as deleted.
    Deleted { id: SegmentId },
    /// Forget the row of a deleted segment whose writer's epoch has ended.
    Forget { id: SegmentId },
    /// Point a chunk row at a copy of the chunk.
    Move { id: ChunkId, from: Place, to: Place },
    /// Say what is known of a copy of a segment.
    CopyState { id: SegmentId, place: u16, state: ReplicaState, verified: Option<Timestamp> },
    /// Name new copies of a segment, and no longer others.
    SwitchCopies(Box<NewCopies>),
    /// Delete a copy that was left over then and still is: it is not named again.
    DropCopy { id: SegmentId, place: u16, left: Timestamp },
    /// Forget a copy that was left over, and is deleted.
    CopyDropped { id: SegmentId, place: u16 },
}

/// Copies of a segment that were made and checked.
#[derive(Clone, Debug)]
pub(crate) struct NewCopies {
    pub id: SegmentId,
    /// The copies as they were when this was begun.
    pub before: Vec<Replica>,
    /// Where there is one now.
    pub added: Vec<u16>,
    /// Where one is left over.
    pub leave: Vec<u16>,
    /// When they were checked.
    pub at: Timestamp,
}

/// Steps that happen together or not at all, and the stored bytes that they name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub writes: Vec<Write>,
    pub chunks: Vec<StagedChunk>,
    pub segments: Vec<StagedSegment>,
}

impl Request {
    /// A request of one step that names no stored bytes.
    pub(crate) fn one(write: Write) -> Self {
        Self { writes: vec![write], ..Self::default() }
    }

    /// Bytes and steps that this adds to a batch, roughly: for limiting groups.
    pub(crate) fn weight(&self) -> (usize, usize) {
        let bytes = |write: &Write| match write {
            Write::Put { draft, .. } => 512 + 2 * draft.inline.len(),
            Write::PutPart { part, .. } => 512 + 2 * part.inline.len(),
            _ => 512,
        };
        let steps = self.writes.len() * 4 + self.chunks.len() * 3;
        (steps, self.writes.iter().map(bytes).sum::<usize>() + self.chunks.len() * 256)
    }
}

/// What a commit has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Its number: the version of every entry it wrote. Where nothing changed, the newest before.
    pub version: Version,
    /// Its time.
    pub time: Timestamp,
    /// For each step the version that was there before, if there was one.
    pub before: Vec<Option<Version>>,
}
