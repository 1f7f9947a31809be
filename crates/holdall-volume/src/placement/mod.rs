//! Where data lies: in one place or in several, and in how many copies.
//!
//! ```text
//! decide    which places a segment belongs to: pure
//! vitals    how a place does, as its calls show
//! member    a place with its backend: calls with a deadline, and one copy written
//! table     the places as the volume's row has them, joined with what was opened
//! spread    all places as one backend: what the rest of the volume reads and writes
//!   put     copies of a segment or object, until enough of them are durable
//!   get     the nearest copy, past those that are missing or damaged
//! jobs      repair: copies brought back to their number; scrub: copies read and checked
//! ```
//!
//! A volume with one place uses none of this: its backend is called as it is.

pub(crate) mod decide;
mod jobs;
mod member;
mod spread;
mod table;
mod vitals;

use std::sync::Arc;

use holdall_core::Backend;

pub use jobs::repair::{RepairOptions, RepairProgressFn, RepairReport};
pub use jobs::replicas::{PlaceInfo, ReplicasReport, ZoneLoss};
pub use jobs::scrub::{ScrubOptions, ScrubProgressFn, ScrubReport};
pub(crate) use spread::{Copies, Spread, VolumeRowSource, Whole};
pub use vitals::PlaceHealth;

use crate::format::policy::{PlaceRow, PlaceState};

/// A data backend that a volume may use, under the name that the volume has for it.
#[derive(Clone, Debug)]
pub struct Place {
    /// What people call it.
    pub name: String,
    /// The failure domain it is in.
    pub zone: String,
    /// Its share of the segments beside the others', such as its capacity in GiB.
    pub weight: u32,
    /// When it counts as healthy.
    pub health: PlaceHealth,
    /// The backend. One that cannot be opened now answers `Unavailable` until it can.
    pub backend: Arc<dyn Backend>,
}

impl Place {
    /// A place in no zone that is named.
    pub fn new(name: impl Into<String>, backend: Arc<dyn Backend>) -> Self {
        let (name, zone, health) = (name.into(), String::new(), PlaceHealth::default());
        Self { name, zone, weight: 1, health, backend }
    }

    /// Says in which failure domain it is.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = zone.into();
        self
    }
}

/// The data backends of a volume. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Places {
    list: Arc<[Place]>,
    own_zone: Option<Arc<str>>,
}

impl Places {
    /// These places; the first is the one of a volume that never had another.
    ///
    /// # Panics
    /// Panics if there is none.
    pub fn new(list: impl IntoIterator<Item = Place>) -> Self {
        let list: Arc<[Place]> = list.into_iter().collect();
        assert!(!list.is_empty(), "data lies in at least one place");
        Self { list, own_zone: None }
    }

    /// One place.
    pub fn one(backend: Arc<dyn Backend>) -> Self {
        Self::new([Place::new("", backend)])
    }

    /// Says in which zone whoever opens the volume is: that is nearest.
    #[must_use]
    pub fn in_zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.own_zone = Some(zone.into());
        self
    }

    /// All places.
    pub fn list(&self) -> &[Place] {
        &self.list
    }

    pub(crate) fn own_zone(&self) -> Option<&str> {
        self.own_zone.as_deref()
    }

    /// As the volume's row names them when it is created.
    pub(crate) fn rows(&self) -> Vec<PlaceRow> {
        let row = |(number, place): (usize, &Place)| PlaceRow {
            number: number as u16,
            name: place.name.clone(),
            zone: place.zone.clone(),
            weight: place.weight,
            state: PlaceState::Active,
        };
        self.list.iter().enumerate().map(row).collect()
    }
}

impl From<Arc<dyn Backend>> for Places {
    fn from(backend: Arc<dyn Backend>) -> Self {
        Self::one(backend)
    }
}
