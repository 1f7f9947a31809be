//! What becomes of the rows of segments whose copies are made, lost and left over, and of the
//! places they lie in.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdall_core::{Error, Operation, Result, Timestamp};

use super::plan::Plan;
use super::request::NewCopies;
use crate::format::policy::{PlaceRow, PlaceState, Tier, check_places};
use crate::format::segment::{LeftOver, Replica, ReplicaState, SegmentId, SegmentState};

impl Plan {
    /// Notes what is known of a copy, if the row still names it.
    pub(super) fn copy_state(
        &mut self,
        id: SegmentId,
        place: u16,
        state: ReplicaState,
        verified: Option<Timestamp>,
    ) {
        let Some(mut row) = self.segments.get(&id).cloned() else { return };
        let named = row.replicas.iter_mut().find(|replica| replica.backend == place);
        let Some(replica) = named else { return };
        let before = replica.clone();
        replica.state = state;
        replica.verified = verified.or(replica.verified);
        if *replica != before {
            self.segments.set(id, Some(row));
        }
    }

    /// Switches to new copies, if the segment is still in use and its copies are where they were.
    pub(super) fn switch_copies(&mut self, new: &NewCopies) {
        let Some(mut row) = self.segments.get(&new.id).cloned() else { return };
        let places = |replicas: &[Replica]| -> BTreeSet<u16> {
            replicas.iter().map(|replica| replica.backend).collect()
        };
        let as_before = places(&row.replicas) == places(&new.before);
        if row.state != SegmentState::Live || !as_before {
            return;
        }
        for place in &new.added {
            if self.left_overs.get(&(new.id, *place)) == Some(&LeftOver::Dropping) {
                return;
            }
        }
        for place in &new.added {
            let (backend, state) = (*place, ReplicaState::Healthy);
            let made = Replica { backend, state, verified: Some(new.at) };
            row.replicas.retain(|replica| replica.backend != *place);
            row.replicas.push(made);
        }
        let stays = |replica: &&Replica| !new.leave.contains(&replica.backend);
        let healthy = |replica: &Replica| replica.state == ReplicaState::Healthy;
        if !row.replicas.iter().filter(stays).any(healthy) {
            return;
        }
        row.replicas.retain(|replica| stays(&replica));
        for place in new.added.iter().map(|place| (new.id, *place)) {
            if self.left_overs.get(&place).is_some() {
                self.left_overs.set(place, None);
            }
        }
        for place in &new.leave {
            self.left_overs.set((new.id, *place), Some(LeftOver::Kept(new.at)));
        }
        self.segments.set(new.id, Some(row));
    }

    /// Decides that a copy is deleted which was left over then, unless it is named again.
    pub(super) fn drop_copy(&mut self, id: SegmentId, place: u16, left: Timestamp) {
        if self.left_overs.get(&(id, place)) == Some(&LeftOver::Kept(left)) {
            self.left_overs.set((id, place), Some(LeftOver::Dropping));
        }
    }

    /// Forgets a copy that was deleted.
    pub(super) fn copy_dropped(&mut self, id: SegmentId, place: u16) {
        if self.left_overs.get(&(id, place)) == Some(&LeftOver::Dropping) {
            self.left_overs.set((id, place), None);
        }
    }

    /// Takes over places, whose numbers stay theirs for ever, and tiers that fit to them.
    pub(super) fn set_places(&mut self, places: &[PlaceRow], tiers: &[Tier]) -> Result<()> {
        check_places(places, tiers)?;
        let numbers: BTreeSet<u16> = places.iter().map(|place| place.number).collect();
        let gone = self.volume.places.iter().find(|place| !numbers.contains(&place.number));
        if let Some(gone) = gone {
            let message = format!(
                "place `{}` cannot be taken away, because rows may name it; drain it, or say that \
                 it is lost",
                gone.name
            );
            return Err(Error::invalid(Operation::Configure, message));
        }
        let is_new = |place: &&PlaceRow| !self.volume.places.contains(place);
        let draining = |place: &&PlaceRow| place.state == PlaceState::Draining;
        if let Some(drained) = places.iter().filter(is_new).find(draining) {
            check_drain(drained, places, tiers)?;
        }
        let volume = Arc::make_mut(&mut self.volume);
        volume.places = places.to_vec();
        volume.policy.tiers = tiers.to_vec();
        self.note_change();
        Ok(())
    }

    /// Notes that the volume's own row has changed.
    pub(super) fn note_change(&mut self) {
        Arc::make_mut(&mut self.volume).changes += 1;
        self.volume_changed = true;
    }
}

/// Refuses to empty a place without which there are too few: what is lost takes no copies.
fn check_drain(drained: &PlaceRow, places: &[PlaceRow], tiers: &[Tier]) -> Result<()> {
    for tier in tiers {
        let takes = |place: &&PlaceRow| {
            let named = tier.places.is_empty() || tier.places.contains(&place.name);
            named && place.state == PlaceState::Active
        };
        let left = places.iter().filter(takes).count();
        if left < usize::from(tier.replicas) {
            let message = format!(
                "without `{}` there are {left} places for {} copies: add one first, or ask for \
                 fewer copies",
                drained.name, tier.replicas
            );
            return Err(Error::invalid(Operation::Configure, message));
        }
    }
    Ok(())
}
