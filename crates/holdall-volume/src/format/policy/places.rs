//! The places of a volume's data, and what a tier asks of them.

use std::collections::BTreeSet;

use holdall_core::{Error, Operation, Result};
use serde::{Deserialize, Serialize};

/// The most copies of a segment.
const REPLICAS_MAX: u8 = 16;

/// Whether a place takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlaceState {
    /// It is read, and new copies go there.
    #[default]
    Active,
    /// It is read, but gets no new copies, and a repair brings those that it has elsewhere.
    Draining,
    /// It is gone for good: nothing that lay there counts any more.
    Lost,
}

/// One data backend of a volume, under a number that is never given to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceRow {
    /// What rows of segments call it.
    pub number: u16,
    /// What people call it; empty for the only place of a volume that never had another.
    pub name: String,
    /// The failure domain it is in. All places that say none are in one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// Its share of the segments beside the others', such as its capacity in GiB.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u32,
    /// Whether it takes part.
    #[serde(default)]
    pub state: PlaceState,
}

fn one() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_one(weight: &u32) -> bool {
    *weight == 1
}

/// When a write counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acknowledge {
    /// One copy is durable; the others follow.
    One,
    /// More than half of the copies are durable; the others follow.
    Quorum,
    /// Every copy is durable.
    #[default]
    All,
}

impl Acknowledge {
    /// How many of so many copies must be durable.
    pub fn needed(self, replicas: usize) -> usize {
        match self {
            Self::One => 1,
            Self::Quorum => replicas / 2 + 1,
            Self::All => replicas,
        }
    }
}

/// A set of places, and how many copies lie there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tier {
    /// What people call it.
    pub name: String,
    /// The names of its places; none for all that the volume has.
    pub places: Vec<String>,
    /// How many copies of each segment there are, each in another place.
    pub replicas: u8,
    /// In how many zones these are at the least.
    pub min_zones: u8,
    /// Whether one copy goes to the zone of who writes, if there is room.
    pub prefer_local: bool,
    /// When a write counts as done.
    pub ack: Acknowledge,
}

impl Default for Tier {
    fn default() -> Self {
        Self {
            name: "hot".to_owned(),
            places: Vec::new(),
            replicas: 1,
            min_zones: 1,
            prefer_local: false,
            ack: Acknowledge::All,
        }
    }
}

impl Tier {
    /// Refuses settings that cannot work.
    ///
    /// # Errors
    /// `Invalid`, naming the setting and its limits.
    pub fn check(&self) -> Result<()> {
        if !(1..=REPLICAS_MAX).contains(&self.replicas) {
            return invalid(format!("replicas must be from 1 to {REPLICAS_MAX}"));
        }
        if !(1..=self.replicas).contains(&self.min_zones) {
            return invalid("min_zones must be from 1 to replicas".to_owned());
        }
        Ok(())
    }
}

fn invalid(message: String) -> Result<()> {
    Err(Error::invalid(Operation::Configure, message))
}

/// The places of a volume that has one.
pub(super) fn only_place() -> Vec<PlaceRow> {
    let (name, zone) = (String::new(), String::new());
    vec![PlaceRow { number: 0, name, zone, weight: 1, state: PlaceState::Active }]
}

pub(super) fn is_only_place(places: &[PlaceRow]) -> bool {
    places == only_place()
}

pub(super) fn default_tiers() -> Vec<Tier> {
    vec![Tier::default()]
}

pub(super) fn are_default_tiers(tiers: &[Tier]) -> bool {
    tiers == default_tiers()
}

/// Refuses places and tiers that do not fit together.
///
/// # Errors
/// `Invalid`, saying which do not.
pub fn check_places(places: &[PlaceRow], tiers: &[Tier]) -> Result<()> {
    let names: BTreeSet<&str> = places.iter().map(|place| place.name.as_str()).collect();
    let numbers: BTreeSet<u16> = places.iter().map(|place| place.number).collect();
    if places.is_empty() || names.len() < places.len() || numbers.len() < places.len() {
        let message = "a volume needs a place, and each its own name and number";
        return invalid(message.to_owned());
    }
    if places.iter().any(|place| place.weight == 0) {
        return invalid("a place's weight must be at least 1; drain it instead".to_owned());
    }
    for tier in tiers {
        let unknown = tier.places.iter().find(|name| !names.contains(name.as_str()));
        if let Some(unknown) = unknown {
            let message = format!("tier `{}` names no place `{unknown}`; add it", tier.name);
            return invalid(message);
        }
        // What is lost is to be replaced, and saying so must always be possible.
        let of_tier = |place: &&PlaceRow| {
            let named = tier.places.is_empty() || tier.places.contains(&place.name);
            named && place.state != PlaceState::Draining
        };
        let active: Vec<&PlaceRow> = places.iter().filter(of_tier).collect();
        let zones: BTreeSet<&str> = active.iter().map(|place| place.zone.as_str()).collect();
        let few_zones = tier.min_zones > 1 && zones.len() < usize::from(tier.min_zones);
        if active.len() < usize::from(tier.replicas) || few_zones {
            let message = format!(
                "tier `{}` asks for {} copies in {} zones, and has {} places in {} that are not \
                 draining: add places, or ask for fewer",
                tier.name,
                tier.replicas,
                tier.min_zones,
                active.len(),
                zones.len()
            );
            return invalid(message);
        }
    }
    Ok(())
}
