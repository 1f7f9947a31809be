//! What looking after a volume makes of the rows. A step that no longer fits does nothing.

use holdall_core::Result;

use super::plan::{Plan, Step};
use super::request::Maintain;
use crate::format::chunk::{ChunkId, Place};
use crate::format::entry::{Name, Version};
use crate::format::segment::{SegmentId, SegmentState};

impl Plan {
    pub(super) fn maintain(&mut self, step: &mut Step<'_>, maintain: &Maintain) -> Result<()> {
        match maintain {
            Maintain::Renew => self.renew = true,
            Maintain::Prune { name, version, superseded, ordinal } => {
                let key = self.keys.retention(*superseded, *ordinal);
                self.plain.set(key, None);
                return self.prune(step, name, *version, *superseded);
            }
            Maintain::Expire { name, expires } => {
                let ended = self.entries.get(name).is_some_and(|entry| {
                    entry.expires == Some(*expires) && entry.is_expired(step.time)
                });
                if ended {
                    return self.remove(step, name);
                }
            }
            Maintain::LowerSnapshots { from, to } => {
                if self.head.snapshot_last == *from {
                    self.head.snapshot_last = *to;
                }
            }
            Maintain::DropIdle { id, since, children } => {
                return self.drop_idle(step, id, *since, children);
            }
            Maintain::Move { id, from, to } => return self.move_chunk(id, *from, *to),
            Maintain::CopyState { id, place, state, verified } => {
                self.copy_state(*id, *place, *state, *verified);
            }
            Maintain::SwitchCopies(copies) => self.switch_copies(copies),
            Maintain::DropCopy { id, place, left } => self.drop_copy(*id, *place, *left),
            Maintain::CopyDropped { id, place } => self.copy_dropped(*id, *place),
            Maintain::Bury { .. }
            | Maintain::Condemn { .. }
            | Maintain::Deleted { .. }
            | Maintain::Forget { .. } => self.maintain_segment(step, maintain),
        }
        Ok(())
    }

    fn prune(
        &mut self,
        step: &Step<'_>,
        name: &Name,
        version: Version,
        superseded: Version,
    ) -> Result<()> {
        let key = (name.clone(), version);
        let Some(row) = self.histories.get(&key).filter(|row| row.superseded == superseded) else {
            return Ok(());
        };
        let (size, content) = (row.entry.size, row.entry.content.clone());
        self.histories.set(key, None);
        self.head.history_entries = self.head.history_entries.saturating_sub(1);
        self.head.history_bytes = self.head.history_bytes.saturating_sub(size);
        self.release(step, content.nodes().iter().map(|node| node.id))
    }

    fn drop_idle(
        &mut self,
        step: &Step<'_>,
        id: &ChunkId,
        since: holdall_core::Timestamp,
        children: &[ChunkId],
    ) -> Result<()> {
        let Some(row) = self.chunks.get(id).copied() else { return Ok(()) };
        if row.references > 0 || row.idle_since != Some(since) {
            return Ok(());
        }
        self.chunks.set(*id, None);
        self.plain.set(self.keys.idle(since, id), None);
        self.leave_segment(row.place.segment);
        self.release(step, children.iter().copied())
    }

    fn leave_segment(&mut self, id: SegmentId) {
        if let Some(mut row) = self.segments.get(&id).cloned() {
            row.chunks = row.chunks.saturating_sub(1);
            self.segments.set(id, Some(row));
        }
    }

    fn move_chunk(&mut self, id: &ChunkId, from: Place, to: Place) -> Result<()> {
        let Some(mut row) = self.chunks.get(id).copied().filter(|row| row.place == from) else {
            return Ok(());
        };
        self.enter_segment(to.segment)?;
        if row.idle_since.is_none() {
            self.count_live(from.segment, -i64::from(from.stored));
            self.count_live(to.segment, i64::from(to.stored));
        }
        self.leave_segment(from.segment);
        row.place = to;
        self.chunks.set(*id, Some(row));
        Ok(())
    }

    fn maintain_segment(&mut self, step: &Step<'_>, maintain: &Maintain) {
        let id = match maintain {
            Maintain::Bury { id }
            | Maintain::Condemn { id, .. }
            | Maintain::Deleted { id }
            | Maintain::Forget { id } => *id,
            _ => return,
        };
        let Some(mut row) = self.segments.get(&id).cloned() else { return };
        match maintain {
            Maintain::Bury { .. } if row.chunks == 0 && row.state == SegmentState::Live => {
                row.state = SegmentState::Dead { since: step.time };
            }
            Maintain::Condemn { dead_since, .. }
                if row.chunks == 0 && row.state == (SegmentState::Dead { since: *dead_since }) =>
            {
                row.state = SegmentState::Deleting;
            }
            Maintain::Deleted { .. } if row.state == SegmentState::Deleting => {
                self.head.segments = self.head.segments.saturating_sub(1);
                self.head.segment_bytes = self.head.segment_bytes.saturating_sub(row.bytes);
                row.state = SegmentState::Deleted;
            }
            Maintain::Forget { .. } if row.state == SegmentState::Deleted => {
                self.segments.set(id, None);
                return;
            }
            _ => return,
        }
        self.segments.set(id, Some(row));
    }
}
