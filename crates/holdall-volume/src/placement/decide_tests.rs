//! What placing promises, for any places and any segment.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const ZONES: [&str; 4] = ["a", "b", "c", "d"];

fn id(n: u64) -> SegmentId {
    SegmentId { epoch: 1 + n / 1000, counter: n % 1000 }
}

fn place(number: u16, zone: usize, weight: u32) -> Candidate<'static> {
    Candidate { number, zone: ZONES[zone % ZONES.len()], weight }
}

fn rule(replicas: usize, min_zones: usize) -> Rule<'static> {
    Rule { replicas, min_zones, prefer_zone: None }
}

fn places() -> impl Strategy<Value = Vec<Candidate<'static>>> {
    prop::collection::vec((0..4_usize, 1..100_u32), 0..10).prop_map(|found| {
        let numbered = found.into_iter().enumerate();
        numbered.map(|(n, (zone, weight))| place(n as u16, zone, weight)).collect()
    })
}

fn zones_of(chosen: &[u16], places: &[Candidate<'static>]) -> BTreeSet<&'static str> {
    let of = |number: &u16| places.iter().find(|place| place.number == *number);
    chosen.iter().filter_map(of).map(|place| place.zone).collect()
}

proptest! {
    #[test]
    fn copies_are_as_many_and_as_far_apart_as_asked_or_it_says_what_is_lacking(
        places in places(), n in any::<u32>(), replicas in 1..6_usize, zones in 1..4_usize,
    ) {
        let min_zones = zones.min(replicas);
        let choice = choose(id(n.into()), &places, &[], rule(replicas, min_zones));
        let distinct: BTreeSet<u16> = choice.places.iter().copied().collect();
        prop_assert_eq!(distinct.len(), choice.places.len());
        prop_assert_eq!(choice.places.len(), replicas.min(places.len()));
        prop_assert_eq!(choice.copies_lacking, replicas - choice.places.len());
        let there: BTreeSet<&str> = places.iter().map(|place| place.zone).collect();
        let covered = zones_of(&choice.places, &places).len();
        prop_assert_eq!(choice.zones_lacking, min_zones.saturating_sub(covered));
        if places.len() >= replicas {
            prop_assert!(covered >= min_zones.min(there.len()));
        }
    }

    #[test]
    fn a_place_that_goes_moves_only_what_it_had(
        places in places(), n in any::<u32>(), replicas in 1..5_usize, gone in any::<usize>(),
    ) {
        prop_assume!(places.len() > replicas);
        let before = choose(id(n.into()), &places, &[], rule(replicas, 1)).places;
        let mut fewer = places.clone();
        let gone = fewer.remove(gone % places.len());
        let after = choose(id(n.into()), &fewer, &[], rule(replicas, 1)).places;
        let stayed: Vec<u16> = before.iter().copied().filter(|p| *p != gone.number).collect();
        prop_assert!(stayed.iter().all(|place| after.contains(place)));
        if !before.contains(&gone.number) {
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn what_is_kept_moves_only_for_zones(
        places in places(), n in any::<u32>(), kept in prop::collection::vec(0..10_u16, 0..4),
    ) {
        let choice = choose(id(n.into()), &places, &kept, rule(4, 1));
        let there = kept.iter().filter(|number| places.iter().any(|p| p.number == **number));
        let there: BTreeSet<&u16> = there.collect();
        prop_assert!(there.iter().all(|number| choice.places.contains(number)));
    }

    #[test]
    fn one_copy_is_near_if_it_can_be(places in places(), n in any::<u32>()) {
        let near = Rule { prefer_zone: Some("a"), ..rule(2, 1) };
        let choice = choose(id(n.into()), &places, &[], near);
        let possible = places.iter().any(|place| place.zone == "a");
        prop_assert_eq!(zones_of(&choice.places, &places).contains("a"), possible);
    }
}

#[test]
fn places_get_segments_by_their_weight() {
    let places = [place(0, 0, 1), place(1, 1, 2), place(2, 2, 5)];
    let mut counts = [0_i64; 3];
    for n in 0..16_000 {
        counts[usize::from(choose(id(n), &places, &[], rule(1, 1)).places[0])] += 1;
    }
    for (count, expected) in counts.into_iter().zip([2_000, 4_000, 10_000]) {
        assert!((count - expected).abs() < 300, "{counts:?}");
    }
}

#[test]
fn kept_copies_in_one_zone_give_way_to_another_zone() {
    let places = [place(0, 0, 1), place(1, 0, 1), place(2, 1, 1)];
    let choice = choose(id(7), &places, &[0, 1], rule(2, 2));
    assert!(choice.is_whole() && choice.places.contains(&2), "{choice:?}");
}

#[test]
fn a_write_needs_as_many_copies_and_zones_as_its_level_says() {
    assert!(suffices(&["a"], 1, 3));
    assert!(!suffices(&["a", "a"], 2, 2));
    assert!(suffices(&["a", "b"], 2, 3));
    assert!(!suffices(&["a", "b"], 3, 1));
}
