//! Where the copies of a segment belong: pure, apart from all I/O.
//!
//! Rendezvous hashing: every place draws a number for the segment, and the highest win. A place
//! that comes or goes changes only what it wins or had won. Weighted as by Schindelhauer and
//! Schomaker, "Weighted Distributed Hash Tables" (SPAA 2005), in the logarithmic form: of a number
//! `u` drawn evenly between 0 and 1 the score is `-weight / ln u`, so that each place wins in
//! proportion to its weight.

use std::collections::BTreeSet;
use std::fmt;

use crate::format::policy::Tier;
use crate::format::segment::SegmentId;

/// A place that could take a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate<'a> {
    pub number: u16,
    pub zone: &'a str,
    pub weight: u32,
}

/// What is asked of the copies of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule<'a> {
    pub replicas: usize,
    pub min_zones: usize,
    /// A zone in which one copy should be, if there is a place.
    pub prefer_zone: Option<&'a str>,
}

impl<'a> Rule<'a> {
    pub(crate) fn new(tier: &Tier, own_zone: Option<&'a str>) -> Self {
        Self {
            replicas: usize::from(tier.replicas),
            min_zones: usize::from(tier.min_zones),
            prefer_zone: own_zone.filter(|_| tier.prefer_local),
        }
    }
}

/// Places for a segment, those first that have it already, then by how well they suit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    pub places: Vec<u16>,
    /// How many copies have no place.
    pub copies_lacking: usize,
    /// In how many zones more there should be a copy.
    pub zones_lacking: usize,
}

impl Choice {
    pub(crate) fn is_whole(&self) -> bool {
        self.copies_lacking == 0 && self.zones_lacking == 0
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.copies_lacking, self.zones_lacking) {
            (0, 0) => write!(f, "nothing is lacking"),
            (copies, 0) => write!(f, "there is no place for {copies} of the copies"),
            (0, zones) => write!(f, "there are copies in {zones} zones fewer than asked"),
            (copies, zones) => {
                write!(f, "there is no place for {copies} of the copies, and {zones} zones too few")
            }
        }
    }
}

/// Chooses places for a segment: those of `kept` if they fit, and the best of the others. Fewer
/// than asked if there are too few, which the answer says.
pub(crate) fn choose(
    segment: SegmentId,
    candidates: &[Candidate<'_>],
    kept: &[u16],
    rule: Rule<'_>,
) -> Choice {
    let mut left: Vec<Candidate<'_>> = ranked(segment, candidates);
    // Stable, so that each half stays in its order.
    left.sort_by_key(|candidate| !kept.contains(&candidate.number));
    let mut places = Vec::with_capacity(rule.replicas);
    let mut zones: BTreeSet<&str> = BTreeSet::new();
    while places.len() < rule.replicas && !left.is_empty() {
        let slots = rule.replicas - places.len();
        let local = left.iter().position(|candidate| Some(candidate.zone) == rule.prefer_zone);
        let wants_local = rule.prefer_zone.is_some_and(|zone| !zones.contains(zone));
        // Zones are looked at last: until then the best place is taken, wherever it is.
        let wants_zone = rule.min_zones.saturating_sub(zones.len()) >= slots;
        let elsewhere = left.iter().position(|candidate| !zones.contains(candidate.zone));
        let next = match (wants_local.then_some(local).flatten(), wants_zone) {
            (Some(local), _) => local,
            (None, true) => elsewhere.unwrap_or(0),
            (None, false) => 0,
        };
        let candidate = left.remove(next);
        zones.insert(candidate.zone);
        places.push(candidate.number);
    }
    Choice {
        copies_lacking: rule.replicas - places.len(),
        zones_lacking: rule.min_zones.saturating_sub(zones.len()),
        places,
    }
}

/// The candidates, those that suit best first.
pub(crate) fn ranked<'a>(segment: SegmentId, candidates: &[Candidate<'a>]) -> Vec<Candidate<'a>> {
    let mut scored: Vec<(f64, Candidate<'a>)> =
        candidates.iter().map(|candidate| (score(segment, candidate), *candidate)).collect();
    scored.sort_by(|(a, x), (b, y)| b.total_cmp(a).then(x.number.cmp(&y.number)));
    scored.into_iter().map(|(_, candidate)| candidate).collect()
}

fn score(segment: SegmentId, candidate: &Candidate<'_>) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&segment.epoch.to_le_bytes());
    hasher.update(&segment.counter.to_le_bytes());
    hasher.update(&candidate.number.to_le_bytes());
    let mut drawn = [0; 8];
    hasher.finalize_xof().fill(&mut drawn);
    // As many bits as a float holds, and never 0 or 1.
    let evenly = ((u64::from_le_bytes(drawn) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(candidate.weight) / evenly.ln()
}

/// Whether copies in these zones, one for each copy, are as many and as far apart as a write needs
/// to count as done.
pub(crate) fn suffices(zones: &[&str], needed: usize, min_zones: usize) -> bool {
    let apart: BTreeSet<&str> = zones.iter().copied().collect();
    zones.len() >= needed && apart.len() >= min_zones.min(needed)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
