//! From nothing: who gets what.

use super::*;

#[test]
fn a_fast_set_weighs_as_much_as_many_slow_ones() {
    assert_eq!(Weight::of(1_000, 100_000), Weight::of(100_000, 10_000_000));
    assert!(Weight::of(24, 3_600_000_000) > Weight::default(), "also what comes once an hour");
    assert_eq!(Weight::of(500, 1_000_000).bytes_per_s(), 500.0);
}

#[test]
fn sets_of_one_producer_stay_together_where_that_costs_nothing() {
    let sets: Vec<PlacedSet> = (0..30).flat_map(|producer| [set(producer, 700), set(producer, 300)]).collect();
    let placement = place_sets(&sets, &[true; 3], Band::default());
    assert_eq!(placement.loads, [Weight(10_000); 3]);
    for pair in placement.owners.chunks(2) {
        assert_eq!(pair[0], pair[1]);
    }
}

#[test]
fn a_giant_gets_an_aggregator_of_its_own() {
    let mut sets: Vec<PlacedSet> = (1..=40).map(|producer| set(producer, 10)).collect();
    sets.push(set(0, 400));
    let placement = place_sets(&sets, &[true; 3], Band::default());
    assert_eq!(heaviest(&placement), 400);
    let with_giant = placement.owners.iter().filter(|owner| **owner == placement.owners[40]).count();
    assert_eq!(with_giant, 1);
}

#[test]
fn sets_without_weight_have_owners_and_are_spread_too() {
    let sets: Vec<PlacedSet> = (0..9).map(|producer| set(producer, 0)).collect();
    let placement = place_sets(&sets, &[true; 3], Band::default());
    for aggregator in 0..3 {
        assert_eq!(placement.owners.iter().filter(|owner| **owner == Some(aggregator)).count(), 3);
    }
}

#[test]
fn without_an_aggregator_nobody_owns_anything() {
    let placement = place_sets(&[set(0, 5)], &[false, false], Band::default());
    assert_eq!((placement.owners, placement.moves), (vec![None], vec![]));
}

#[test]
fn a_producer_is_torn_for_more_than_a_hundredth() {
    let sets = [set(0, 1_000), set(0, 30), set(0, 30), set(1, 1_000)];
    assert_eq!(place_sets(&sets, &[true; 2], Band::default()).loads, [Weight(1_030); 2]);
    let sets = [set(0, 1_000), set(0, 9), set(0, 9), set(1, 1_000)];
    assert_eq!(heaviest(&place_sets(&sets, &[true; 2], Band::default())), 1_018);
}

#[test]
fn weights_beyond_measure_are_placed_as_well() {
    let sets: Vec<PlacedSet> = (0..40).map(|producer| set(producer, u64::MAX)).collect();
    let placement = place_sets(&sets, &[true; 4], Band::default());
    for aggregator in 0..4 {
        assert_eq!(placement.owners.iter().filter(|owner| **owner == Some(aggregator)).count(), 10);
    }
    assert_eq!(Weight::of(u64::MAX, 0), Weight(u64::MAX));
}
