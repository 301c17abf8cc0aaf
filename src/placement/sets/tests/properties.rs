//! What holds for whatever sets and changes there are.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// How aggregators fail and come back: the number of one, and whether it may be used from then on.
type Faults = Vec<(usize, bool)>;

/// Sets of some producers on some aggregators, with what happens to these.
fn a_story(
    producers: u32,
    most_sets: usize,
    weights: std::ops::Range<u64>,
    most_aggregators: usize,
) -> impl Strategy<Value = (Vec<PlacedSet>, usize, Faults)> {
    let sets = proptest::collection::vec((0..producers, weights), 1..=most_sets)
        .prop_map(|sets| sets.into_iter().map(|(producer, weight)| set(producer, weight * 1_000)).collect());
    (sets, 2..=most_aggregators, proptest::collection::vec((0..=most_aggregators, any::<bool>()), 1..6))
}

/// So small a one that every placement can be tried.
fn a_small_story(
    weights: std::ops::Range<u64>,
    most_aggregators: usize,
) -> impl Strategy<Value = (Vec<PlacedSet>, usize, Faults)> {
    a_story(6, 8, weights, most_aggregators)
}

/// What a change found, who might be used, and what it made of that.
type Changed = (Vec<PlacedSet>, Vec<bool>, SetPlacement);

fn tell((mut sets, aggregators, faults): (Vec<PlacedSet>, usize, Faults)) -> Vec<Changed> {
    let mut usable = vec![true; aggregators];
    let mut story = Vec::new();
    for (which, up) in [(0, true)].into_iter().chain(faults) {
        usable[which % aggregators] = up;
        if usable.contains(&true) {
            let placement = place_sets(&sets, &usable, Band::default());
            let after = placed(&sets, &placement);
            story.push((sets, usable.clone(), placement));
            sets = after;
        }
    }
    story
}

/// The least weight of what has an owner that moves until nobody is above the band nor further from another than the
/// heaviest set, if what an aggregator has of a producer stays together; `None` if that cannot be.
fn least_moved_whole(sets: &[PlacedSet], usable: &[bool]) -> Option<u64> {
    fn search(
        units: &[(Option<u16>, u64)],
        loads: &mut BTreeMap<u16, u64>,
        moved: u64,
        ends: &impl Fn(&[u64]) -> bool,
    ) -> Option<u64> {
        let Some(((owner, weight), rest)) = units.split_first() else {
            return ends(&loads.values().copied().collect::<Vec<_>>()).then_some(moved);
        };
        let mut least = None;
        for aggregator in loads.keys().copied().collect::<Vec<_>>() {
            *loads.entry(aggregator).or_default() += weight;
            let moved = if owner.is_none_or(|owner| owner == aggregator) { moved } else { moved + weight };
            least = [least, search(rest, loads, moved, ends)].into_iter().flatten().min();
            *loads.entry(aggregator).or_default() -= weight;
        }
        least
    }
    let mut units: BTreeMap<(u32, Option<u16>), u64> = BTreeMap::new();
    for set in sets {
        let owner = set.owner.filter(|owner| usable[usize::from(*owner)]);
        *units.entry((set.producer, owner)).or_default() += set.weight.0;
    }
    let units: Vec<(Option<u16>, u64)> = units.into_iter().map(|((_, owner), weight)| (owner, weight)).collect();
    let mut loads = (0..).zip(usable).filter(|(_, usable)| **usable).map(|(number, _)| (number, 0)).collect();
    let bound = lower_bound(sets.iter().map(|set| set.weight), usable.iter().filter(|usable| **usable).count());
    let ends = |loads: &[u64]| {
        let (heaviest, lightest) = (loads.iter().max().unwrap(), loads.iter().min().unwrap());
        *heaviest <= Band::default().limit(bound.0) && heaviest - lightest <= heaviest_set(sets)
    };
    search(&units, &mut loads, 0, &ends)
}

/// The producers of which somebody who has had several sets keeps some and loses some.
fn interrupted(sets: &[PlacedSet], usable: &[bool], placement: &SetPlacement) -> usize {
    let mut shares: BTreeMap<(u32, Option<u16>), BTreeSet<bool>> = BTreeMap::new();
    for (set, owner) in sets.iter().zip(&placement.owners) {
        if set.owner.is_some_and(|owner| usable[usize::from(owner)]) {
            shares.entry((set.producer, set.owner)).or_default().insert(set.owner == *owner);
        }
    }
    shares.values().filter(|stays| stays.len() > 1).count()
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
    fn among_few_shares_the_least_moves_and_none_is_torn_needlessly(story in a_small_story(30..60, 3)) {
        for (sets, usable, placement) in tell(story) {
            let up = usable.iter().filter(|usable| **usable).count() as u64;
            let total: u64 = sets.iter().map(|set| set.weight.0).sum();
            // A giant makes it even at less than here.
            if sets.iter().all(|set| set.owner.is_some()) && heaviest_set(&sets) * up < total
                && let Some(least) = least_moved_whole(&sets, &usable)
            {
                let moved = placement.moves.iter().filter(|moved| moved.reason == Reason::Imbalance);
                let moved: u64 = moved.map(|moved| sets[moved.set].weight.0).sum();
                prop_assert!(moved <= least, "{moved} and not {least}");
                prop_assert_eq!(interrupted(&sets, &usable, &placement), 0);
            }
        }
    }

    #[test]
    fn through_losses_and_returns_it_stays_within_a_third_of_the_optimum(story in a_small_story(1..60, 4)) {
        for (sets, usable, placement) in tell(story) {
            let weights: Vec<u64> = sets.iter().map(|set| set.weight.0).collect();
            let optimum = optimum(&weights, usable.iter().filter(|usable| **usable).count());
            prop_assert!(heaviest(&placement) * 3 <= optimum * 4, "{} for {optimum}", heaviest(&placement));
            let again = place_sets(&placed(&sets, &placement), &usable, Band::default());
            prop_assert_eq!(again.moves, [], "a second look moves nothing");
        }
    }

    /// However many sets there are: nobody need know the optimum.
    #[test]
    fn it_is_always_within_a_third_of_the_bound(story in a_story(20, 40, 1..60, 12)) {
        for (_, _, placement) in tell(story) {
            let bound = placement.lower_bound.0;
            prop_assert!(heaviest(&placement) * 3 <= bound * 4, "{} for {bound}", heaviest(&placement));
        }
    }

    #[test]
    fn what_is_within_the_band_stays_where_it_is(
        sets in proptest::collection::vec((0u32..40, 1u64..1_000, 0u16..4), 60..200),
        percent in 5u64..100,
    ) {
        let owned = |(producer, weight, owner)| PlacedSet { owner: Some(owner), ..set(producer, weight) };
        let sets: Vec<PlacedSet> = sets.into_iter().map(owned).collect();
        let mut loads = [0; 4];
        for set in &sets {
            loads[usize::from(set.owner.unwrap())] += set.weight.0;
        }
        let placement = place_sets(&sets, &[true; 4], Band { percent });
        let above = loads.iter().max().unwrap() * 100 <= placement.lower_bound.0 * (100 + percent);
        let apart = loads.iter().max().unwrap() - loads.iter().min().unwrap();
        if above && apart * 100 <= placement.lower_bound.0 * percent {
            prop_assert_eq!(placement.moves, []);
        } else if above && apart > heaviest_set(&sets).max(placement.lower_bound.0 * percent / 100) {
            prop_assert!(!placement.moves.is_empty());
        }
    }

    #[test]
    fn many_small_sets_are_within_a_fiftieth_of_the_bound(
        weights in proptest::collection::vec(50u64..100, 600..900),
        aggregators in 2usize..8,
        together in 1u32..20,
    ) {
        let sets: Vec<PlacedSet> = (0..).zip(&weights).map(|(number, weight)| set(number / together, *weight)).collect();
        let placement = place_sets(&sets, &vec![true; aggregators], Band::default());
        prop_assert!(heaviest(&placement) * 50 <= placement.lower_bound.0 * 51);
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
