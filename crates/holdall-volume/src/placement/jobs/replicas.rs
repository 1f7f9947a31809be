//! How the copies of a volume stand: what each place has, what lags, and what the loss of a zone
//! would cost now.

use std::collections::{BTreeMap, BTreeSet};

use holdall_core::{Result, Timestamp};
use serde::Serialize;

use crate::format::policy::PlaceState;
use crate::format::row;
use crate::format::segment::{Replica, ReplicaState, SegmentRow, SegmentState};
use crate::gc::pages::Pages;
use crate::placement::table::Table;
use crate::volume::Volume;

/// A place, and what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlaceInfo {
    /// Its number in rows.
    pub number: u16,
    /// What people call it.
    pub name: String,
    /// The failure domain it is in.
    pub zone: String,
    /// Whether it takes part.
    pub state: PlaceState,
    /// Whether it answers, as far as this process has tried.
    pub answers: bool,
    /// Whole copies there.
    pub copies: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Copies that should be there and lag, or are missing or damaged.
    pub copies_lagging: u64,
    /// When the copy there that was not checked for the longest time was last checked; nothing if
    /// one never was.
    pub verified: Option<Timestamp>,
}

/// What would be lost with a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ZoneLoss {
    /// The zone.
    pub zone: String,
    /// Segments that have no whole copy elsewhere.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How the copies of a volume stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReplicasReport {
    /// The places, by their numbers.
    pub places: Vec<PlaceInfo>,
    /// Segments in use.
    pub segments: u64,
    /// Those with fewer whole copies than the policy asks for.
    pub segments_short: u64,
    /// Those in fewer zones than the policy asks for.
    pub segments_close: u64,
    /// How many copies are missing in all.
    pub copies_missing: u64,
    /// Their bytes: how far the copies lag behind.
    pub bytes_missing: u64,
    /// Segments without any whole copy.
    pub segments_lost: u64,
    /// Copies that are left over and wait to be deleted.
    pub copies_left_over: u64,
    /// What would be lost if a zone were lost now, for each zone.
    pub if_lost: Vec<ZoneLoss>,
}

impl Volume {
    /// How the copies stand, as the rows of segments say.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn replicas(&self) -> Result<ReplicasReport> {
        let spread = &self.shared.spread;
        let table = spread.table();
        let mut counts = Counts::new(&table);
        let mut pages = Pages::rows(spread.keys.class('s'));
        while let Some(rows) = pages.next(spread.catalog.as_ref()).await? {
            for listed in &rows {
                let Some(object) = &listed.object else { continue };
                counts.add(&row::decode(&listed.key, &object.value)?);
            }
        }
        let mut pages = Pages::keys(spread.keys.class('d'));
        while let Some(rows) = pages.next(spread.catalog.as_ref()).await? {
            counts.report.copies_left_over += rows.len() as u64;
        }
        Ok(counts.finish())
    }
}

struct Counts<'a> {
    table: &'a Table,
    report: ReplicasReport,
    places: BTreeMap<u16, PlaceInfo>,
    never_verified: BTreeSet<u16>,
    zones: BTreeMap<&'a str, ZoneLoss>,
}

impl<'a> Counts<'a> {
    fn new(table: &'a Table) -> Self {
        let info = |seat: &crate::placement::table::Seat| PlaceInfo {
            number: seat.row.number,
            name: seat.row.name.clone(),
            zone: seat.row.zone.clone(),
            state: seat.row.state,
            answers: seat.is_up(),
            copies: 0,
            bytes: 0,
            copies_lagging: 0,
            verified: None,
        };
        let places = table.seats.iter().map(|seat| (seat.row.number, info(seat))).collect();
        let there = table.seats.iter().filter(|seat| seat.row.state != PlaceState::Lost);
        let zone =
            |zone: &'a str| (zone, ZoneLoss { zone: zone.to_owned(), ..ZoneLoss::default() });
        let zones = there.map(|seat| zone(&seat.row.zone)).collect();
        let (report, never_verified) = (ReplicasReport::default(), BTreeSet::new());
        Self { table, report, places, never_verified, zones }
    }

    fn add(&mut self, row: &SegmentRow) {
        // What waits for its deletion is not repaired, and nobody misses it.
        if row.state != SegmentState::Live {
            return;
        }
        self.report.segments += 1;
        let (mut whole, mut zones) = (0_u64, BTreeSet::new());
        for replica in &row.replicas {
            if self.add_copy(row, replica) {
                whole += 1;
                zones.insert(self.table.zone(replica.backend));
            }
        }
        let tier = self.table.tier(row.tier);
        let missing = u64::from(tier.replicas).saturating_sub(whole);
        self.report.segments_short += u64::from(missing > 0);
        self.report.segments_close += u64::from(zones.len() < usize::from(tier.min_zones));
        self.report.copies_missing += missing;
        self.report.bytes_missing += missing * row.bytes;
        self.report.segments_lost += u64::from(whole == 0);
        let mut zones = zones.into_iter();
        if let (Some(only), None) = (zones.next(), zones.next())
            && let Some(loss) = self.zones.get_mut(only)
        {
            loss.segments += 1;
            loss.bytes += row.bytes;
        }
    }

    /// Counts a copy; whether it is whole.
    fn add_copy(&mut self, row: &SegmentRow, replica: &Replica) -> bool {
        let Some(place) = self.places.get_mut(&replica.backend) else { return false };
        if place.state == PlaceState::Lost {
            return false;
        }
        if replica.state != ReplicaState::Healthy {
            place.copies_lagging += 1;
            return false;
        }
        place.copies += 1;
        place.bytes += row.bytes;
        match (replica.verified, place.verified) {
            (None, _) => drop(self.never_verified.insert(replica.backend)),
            (Some(this), Some(oldest)) => place.verified = Some(this.min(oldest)),
            (this, None) => place.verified = this,
        }
        true
    }

    fn finish(mut self) -> ReplicasReport {
        for number in self.never_verified {
            if let Some(place) = self.places.get_mut(&number) {
                place.verified = None;
            }
        }
        self.report.places = self.places.into_values().collect();
        self.report.if_lost = self.zones.into_values().collect();
        self.report
    }
}
