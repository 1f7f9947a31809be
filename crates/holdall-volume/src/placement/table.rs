//! The places of a volume, as its row has them, with what was opened.

use std::cmp::Reverse;
use std::time::Duration;

use holdall_core::{Error, Operation, Result};

use crate::format::policy::{PlaceRow, PlaceState, Tier, VolumeRow};
use crate::placement::decide::Candidate;
use crate::placement::member::Member;

/// How many bytes of copies that lag may be under way to a place.
const LAG_BYTES_MAX: u64 = 64 << 20;

/// A place of the volume.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub row: PlaceRow,
    /// Its backend, if whoever opened the volume gave one of its name.
    pub member: Option<Member>,
}

impl Seat {
    pub(crate) fn is_up(&self) -> bool {
        self.member.as_ref().is_some_and(Member::is_up)
    }

    /// The backend.
    ///
    /// # Errors
    /// `Unavailable` if none was given.
    pub(crate) fn member(&self) -> Result<&Member> {
        self.member.as_ref().ok_or_else(|| {
            let message = format!("place `{}` was not given; name its backend", self.row.name);
            Error::unavailable(Operation::Open, message)
        })
    }

    /// The backend, if it is worth asking.
    ///
    /// # Errors
    /// `Unavailable` if none was given, or it has failed a short while ago.
    pub(crate) fn reachable(&self) -> Result<&Member> {
        let member = self.member()?;
        if member.is_up() {
            return Ok(member);
        }
        let message = format!("place `{}` did not answer a short while ago", self.row.name);
        Err(Error::unavailable(Operation::Open, message))
    }

    /// Why it takes no new copies, if so.
    fn why_not(&self, patient: bool) -> Option<&'static str> {
        match (&self.member, self.row.state) {
            (_, PlaceState::Draining) => Some("is draining"),
            (_, PlaceState::Lost) => Some("is lost"),
            (None, _) => Some("was not given"),
            (Some(member), _) if !member.is_up() => Some("does not answer"),
            (Some(member), _) if !member.has_room() => Some("is full"),
            (Some(member), _) if !patient && member.vitals().writing() > LAG_BYTES_MAX => {
                Some("lags behind")
            }
            _ => None,
        }
    }
}

/// All places of a volume at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub seats: Vec<Seat>,
    pub tiers: Vec<Tier>,
    own_zone: Option<String>,
}

impl Table {
    /// Joins places by their names; the only place of a volume that never had another is the first
    /// that was given.
    pub(crate) fn new(volume: &VolumeRow, members: &[Member], own_zone: Option<&str>) -> Self {
        let unnamed = |row: &PlaceRow| volume.places.len() == 1 && row.name.is_empty();
        let alone = volume.places.len() == 1 && members.len() == 1;
        let member = |row: &PlaceRow| match members {
            [first, ..] if unnamed(row) || alone => Some(first.clone()),
            _ => members.iter().find(|member| member.name() == row.name).cloned(),
        };
        let seats = volume.places.iter();
        let seats = seats.map(|row| Seat { row: row.clone(), member: member(row) }).collect();
        let own_zone = own_zone.map(str::to_owned);
        Self { seats, tiers: volume.policy.tiers.clone(), own_zone }
    }

    pub(crate) fn own_zone(&self) -> Option<&str> {
        self.own_zone.as_deref()
    }

    pub(crate) fn seat(&self, number: u16) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.row.number == number)
    }

    pub(crate) fn zone(&self, number: u16) -> &str {
        self.seat(number).map_or("", |seat| seat.row.zone.as_str())
    }

    /// The tier of this number, or the last: rows may name one that was taken away.
    pub(crate) fn tier(&self, number: u8) -> &Tier {
        self.tiers.get(usize::from(number)).or(self.tiers.last()).expect("there is a tier")
    }

    fn in_tier<'a>(&'a self, tier: &'a Tier) -> impl Iterator<Item = &'a Seat> {
        let named = |seat: &&Seat| tier.places.is_empty() || tier.places.contains(&seat.row.name);
        self.seats.iter().filter(named)
    }

    /// The places of a tier that would take a copy now. Who is patient does not mind one that lags.
    pub(crate) fn candidates<'a>(
        &'a self,
        tier: &'a Tier,
        patient: bool,
        without: &'a [u16],
    ) -> Vec<Candidate<'a>> {
        let takes = self
            .in_tier(tier)
            .filter(|seat| seat.why_not(patient).is_none() && !without.contains(&seat.row.number));
        let candidate = |seat: &'a Seat| Candidate {
            number: seat.row.number,
            zone: &seat.row.zone,
            weight: seat.row.weight,
        };
        takes.map(candidate).collect()
    }

    /// Which places of a tier take no copies, and why.
    pub(crate) fn excuses(&self, tier: &Tier, patient: bool) -> String {
        let excuse = |seat: &Seat| Some(format!("{} {}", seat.row.name, seat.why_not(patient)?));
        let excuses: Vec<String> = self.in_tier(tier).filter_map(excuse).collect();
        if excuses.is_empty() { "all places answer".to_owned() } else { excuses.join(", ") }
    }

    /// The places that may hold something, the nearest first: those that answer, of the own zone,
    /// by how long they take.
    pub(crate) fn readable(&self) -> Vec<&Seat> {
        let mut seats: Vec<&Seat> =
            self.seats.iter().filter(|seat| seat.row.state != PlaceState::Lost).collect();
        seats.sort_by_key(|seat| {
            let near = self.own_zone.as_deref() == Some(&seat.row.zone);
            let latency = seat.member.as_ref().and_then(|member| member.vitals().latency());
            (Reverse(seat.is_up()), Reverse(near), latency.unwrap_or(Duration::ZERO))
        });
        seats
    }

    /// The places that new objects other than segments go to.
    pub(crate) fn active(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(|seat| seat.row.state == PlaceState::Active)
    }

    /// How many copies a write needs to count as done, and in how many zones they must be. What is
    /// written to all places counts as done under the same conditions as a segment.
    pub(crate) fn needed(&self) -> (usize, usize) {
        let tier = self.tier(0);
        let needed = tier.ack.needed(usize::from(tier.replicas));
        (needed, usize::from(tier.min_zones).min(needed))
    }
}
