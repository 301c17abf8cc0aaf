//! Placement of sets: who gets what, how even it is, and how little moves.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn set(producer: u32, weight: u64) -> PlacedSet {
    PlacedSet { producer, weight: Weight(weight), owner: None }
}

/// The sets as they are after a placement.
fn placed(sets: &[PlacedSet], placement: &SetPlacement) -> Vec<PlacedSet> {
    sets.iter().zip(&placement.owners).map(|(set, owner)| PlacedSet { owner: *owner, ..*set }).collect()
}

fn heaviest(placement: &SetPlacement) -> u64 {
    placement.loads.iter().map(|load| load.0).max().unwrap()
}

/// Who has something of a producer.
fn holders(sets: &[PlacedSet], placement: &SetPlacement, producer: u32) -> BTreeSet<u16> {
    let of_producer = sets.iter().zip(&placement.owners).filter(|(set, _)| set.producer == producer);
    of_producer.map(|(_, owner)| owner.unwrap()).collect()
}

fn torn_producers(sets: &[PlacedSet], placement: &SetPlacement) -> Vec<u32> {
    let producers: BTreeSet<u32> = sets.iter().map(|set| set.producer).collect();
    producers.into_iter().filter(|producer| holders(sets, placement, *producer).len() > 1).collect()
}

/// How far the heaviest of those that may be used is from the lightest.
fn spread(placement: &SetPlacement, usable: &[bool]) -> u64 {
    let loads = || placement.loads.iter().zip(usable).filter(|(_, usable)| **usable).map(|(load, _)| load.0);
    loads().max().unwrap() - loads().min().unwrap()
}

/// The heaviest set.
fn heaviest_set(sets: &[PlacedSet]) -> u64 {
    sets.iter().map(|set| set.weight.0).max().unwrap_or(0)
}

/// Every combination of a few sets: the heaviest aggregator of the best placement.
fn optimum(weights: &[u64], aggregators: usize) -> u64 {
    fn search(weights: &[u64], loads: &mut [u64], best: &mut u64) {
        let Some((first, rest)) = weights.split_first() else {
            *best = (*best).min(loads.iter().copied().max().unwrap());
            return;
        };
        for index in 0..loads.len() {
            if loads[index] + first < *best && !loads[..index].contains(&loads[index]) {
                loads[index] += first;
                search(rest, loads, best);
                loads[index] -= first;
            }
        }
    }
    let mut best = weights.iter().sum::<u64>() + 1;
    search(weights, &mut vec![0; aggregators], &mut best);
    best
}

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
fn every_move_has_its_reason() {
    let sets: Vec<PlacedSet> = (0..12).map(|producer| set(producer, 100)).collect();
    let first = place_sets(&sets, &[true; 3], Band::default());
    assert!(first.moves.iter().all(|moved| moved.reason == Reason::New && moved.from.is_none()));
    let sets = placed(&sets, &first);
    let lost = place_sets(&sets, &[true, false, true], Band::default());
    assert_eq!(lost.moves.len(), 4);
    assert!(lost.moves.iter().all(|moved| moved.reason == Reason::OwnerLost && moved.from == Some(1)));
    let back = place_sets(&placed(&sets, &lost), &[true; 3], Band::default());
    assert_eq!(back.moves.len(), 4);
    assert!(back.moves.iter().all(|moved| moved.reason == Reason::Imbalance && moved.to == 1));
}

/// As many producers as said, each with the same sets of different weights.
fn equal_producers(producers: u32) -> Vec<PlacedSet> {
    (0..producers).flat_map(|producer| [500, 250, 120, 80, 30, 20].map(|weight| set(producer, weight))).collect()
}

#[test]
fn who_comes_back_gets_whole_producers_and_no_more_than_his_share() {
    let sets = equal_producers(6);
    let mut usable = [true, true, false];
    let sets = placed(&sets, &place_sets(&sets, &usable, Band::default()));
    usable[2] = true;
    let back = place_sets(&sets, &usable, Band::default());
    assert_eq!(back.loads, [Weight(2_000); 3]);
    let moved: BTreeSet<u32> = back.moves.iter().map(|moved| sets[moved.set].producer).collect();
    assert_eq!((moved.len(), back.moves.len()), (2, 12));
}

#[test]
fn one_producer_is_torn_where_whole_ones_cannot_be_even() {
    let sets = equal_producers(7);
    let before = placed(&sets, &place_sets(&sets, &[true, true, false], Band::default()));
    let placement = place_sets(&before, &[true; 3], Band::default());
    assert_eq!(torn_producers(&sets, &placement).len(), 1, "{:?}", placement.loads);
    assert!(spread(&placement, &[true; 3]) <= 500, "{:?}", placement.loads);
}

#[test]
fn a_new_set_goes_where_its_producer_is_unless_that_is_too_much() {
    let mut sets = equal_producers(30);
    sets = placed(&sets, &place_sets(&sets, &[true; 3], Band::default()));
    sets.extend([4, 9, 20].map(|producer| set(producer, 400)));
    let placement = place_sets(&sets, &[true; 3], Band::default());
    assert!(torn_producers(&sets, &placement).is_empty());
    assert_eq!(placement.moves.len(), 3);
    sets.push(set(7, 5_000));
    assert_eq!(torn_producers(&sets, &place_sets(&sets, &[true; 3], Band::default())), [7]);
}

#[test]
fn what_is_left_of_a_torn_producer_goes_to_who_has_nothing_of_it() {
    let mut sets: Vec<PlacedSet> = (1..=60).map(|producer| set(producer, 100)).collect();
    for (number, set) in (0..).zip(&mut sets) {
        set.owner = Some(number % 4);
    }
    for owner in [0, 1] {
        sets.push(PlacedSet { owner: Some(owner), ..set(0, 300) });
    }
    // Whoever has the other part is a little lighter than those who should have it.
    sets.retain(|set| set.owner != Some(1) || !(6..30).contains(&set.producer));
    let placement = place_sets(&sets, &[false, true, true, true], Band::default());
    let after = holders(&sets, &placement, 0);
    assert_eq!(after.len(), 2, "{after:?}");
    assert!(after.contains(&1));
}

#[test]
fn parts_of_a_producer_come_together_where_that_moves_no_more() {
    let on = |owner, producers: std::ops::Range<u32>| {
        producers.map(move |producer| PlacedSet { owner: Some(owner), ..set(producer, 100) })
    };
    let sets: Vec<PlacedSet> = on(0, 0..30).chain(on(1, 30..40)).chain(on(1, 15..16)).collect();
    let placement = place_sets(&sets, &[true; 2], Band::default());
    assert!(torn_producers(&sets, &placement).is_empty());
    assert_eq!(placement.moves.len(), 9);
}

#[test]
fn what_must_be_torn_is_torn_once() {
    let sets: Vec<PlacedSet> = (0..400).map(|number| set(number % 4, u64::from(number * 79 % 101))).collect();
    let placement = place_sets(&sets, &[true, true, false], Band::default());
    assert!(torn_producers(&sets, &placement).is_empty());
    let placement = place_sets(&placed(&sets, &placement), &[true; 3], Band::default());
    assert_eq!(torn_producers(&sets, &placement).len(), 2, "one of each aggregator");
}

#[test]
fn without_an_aggregator_nobody_owns_anything() {
    let placement = place_sets(&[set(0, 5)], &[false, false], Band::default());
    assert_eq!((placement.owners, placement.moves), (vec![None], vec![]));
}

#[test]
fn a_small_imbalance_moves_nothing() {
    let mut sets: Vec<PlacedSet> = (0..300).map(|producer| set(producer, 100)).collect();
    let first = place_sets(&sets, &[true; 3], Band::default());
    sets = placed(&sets, &first);
    // One aggregator's sets grow by some hundredths.
    for set in sets.iter_mut().filter(|set| set.owner == Some(0)) {
        set.weight = Weight(105);
    }
    assert_eq!(place_sets(&sets, &[true; 3], Band::default()).moves, []);
    for set in sets.iter_mut().filter(|set| set.owner == Some(0)) {
        set.weight = Weight(150);
    }
    let moves = place_sets(&sets, &[true; 3], Band::default()).moves;
    assert!((10..=30).contains(&moves.len()), "{} moves", moves.len());
}

fn any_sets() -> impl Strategy<Value = Vec<PlacedSet>> {
    let weight = prop_oneof![Just(0u64), 1u64..1_000, 1u64..10, 1_000u64..1_000_000];
    proptest::collection::vec((0u32..20, weight), 0..60)
        .prop_map(|sets| sets.into_iter().map(|(producer, weight)| set(producer, weight)).collect())
}

proptest! {
    #[test]
    fn each_set_has_one_owner_that_may_be_used_through_losses_and_returns(
        sets in any_sets(),
        aggregators in 1usize..6,
        faults in proptest::collection::vec((0usize..6, any::<bool>()), 0..10),
    ) {
        let mut usable = vec![true; aggregators];
        let mut sets = placed(&sets, &place_sets(&sets, &usable, Band::default()));
        for (which, up) in faults {
            let which = which % aggregators;
            let before = sets.clone();
            usable[which] = up;
            let placement = place_sets(&sets, &usable, Band::default());
            if usable.contains(&true) {
                prop_assert!(placement.owners.iter().all(|owner| owner.is_some_and(|o| usable[usize::from(o)])));
                let mut loads = vec![0; aggregators];
                for (set, owner) in sets.iter().zip(&placement.owners) {
                    loads[usize::from(owner.unwrap())] += set.weight.0;
                }
                prop_assert_eq!(loads, placement.loads.iter().map(|load| load.0).collect::<Vec<_>>());
                let changed: BTreeSet<usize> =
                    (0..sets.len()).filter(|set| before[*set].owner != placement.owners[*set]).collect();
                prop_assert_eq!(placement.moves.iter().map(|moved| moved.set).collect::<BTreeSet<_>>(), changed);
            }
            sets = placed(&sets, &placement);
            let again = place_sets(&sets, &usable, Band::default());
            prop_assert_eq!(again.owners, placement.owners, "a second look moves nothing");
        }
    }

    #[test]
    fn nobody_is_further_from_another_than_the_heaviest_set(
        sets in any_sets(),
        aggregators in 1usize..6,
        faults in proptest::collection::vec((0usize..6, any::<bool>()), 0..10),
    ) {
        let mut usable = vec![true; aggregators];
        let mut sets = sets;
        for (which, up) in [(0, true)].into_iter().chain(faults) {
            usable[which % aggregators] = up;
            if usable.contains(&true) {
                let placement = place_sets(&sets, &usable, Band::default());
                prop_assert!(spread(&placement, &usable) <= heaviest_set(&sets), "{:?}", placement.loads);
                sets = placed(&sets, &placement);
            }
        }
    }

    #[test]
    fn from_nothing_it_is_within_a_third_of_the_optimum(
        weights in proptest::collection::vec(1u64..100, 1..11),
        aggregators in 1usize..5,
    ) {
        let sets: Vec<PlacedSet> = (0..).zip(&weights).map(|(producer, weight)| set(producer / 2, *weight)).collect();
        let placement = place_sets(&sets, &vec![true; aggregators], Band::default());
        let optimum = optimum(&weights, aggregators);
        prop_assert!(placement.lower_bound.0 <= optimum, "bound {} above {optimum}", placement.lower_bound.0);
        prop_assert!(heaviest(&placement) * 3 <= optimum * 4, "{} for {optimum}", heaviest(&placement));
    }

    #[test]
    fn after_a_loss_only_orphans_move_while_the_rest_is_within_the_band(
        weights in proptest::collection::vec(50u64..100, 60..200),
        aggregators in 3usize..6,
    ) {
        let sets: Vec<PlacedSet> = (0..).zip(&weights).map(|(producer, weight)| set(producer / 3, *weight)).collect();
        let mut usable = vec![true; aggregators];
        let sets = placed(&sets, &place_sets(&sets, &usable, Band::default()));
        usable[1] = false;
        let placement = place_sets(&sets, &usable, Band::default());
        prop_assert!(placement.moves.iter().all(|moved| moved.reason == Reason::OwnerLost));
        prop_assert!(heaviest(&placement) * 100 <= placement.lower_bound.0 * 110);
    }
}
