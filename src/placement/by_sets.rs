//! Placement of a group's metric sets, told as who collects which producer.
//!
//! A producer whose sets all have one owner is whole: its owner then also collects what appears later, with nothing to
//! send. Only where the weights demand it is a producer split, and each of its sets is named.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Ownership;
use super::sets::{Band, PlacedSet, Reason, Weight, place_sets};
use crate::notation::Name;

/// What is known of the metric sets of a producer, by their names: the weight of each.
pub type SetWeights = BTreeMap<String, Weight>;

/// Who is to collect what, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlacementBySets {
    /// Who collects each producer.
    pub owners: BTreeMap<Name, Ownership>,
    /// What each aggregator that may be used carries.
    pub loads: BTreeMap<Name, Load>,
    /// What the heaviest carries at least, whoever places.
    pub lower_bound: Weight,
    /// The sets that have another owner than before, put together where all else is equal.
    pub moves: Vec<ShareMove>,
}

/// What an aggregator carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// The weight of its sets.
    pub weight: Weight,
    /// The number of its sets.
    pub sets: usize,
}

impl Load {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Load) -> Load {
        Load { weight: [self.weight, other.weight].into_iter().sum(), sets: self.sets + other.sets }
    }

    /// One set of this weight.
    #[must_use]
    pub fn of(weight: Weight) -> Load {
        Load { weight, sets: 1 }
    }
}

/// Sets of a producer that get another owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareMove {
    /// The producer.
    pub producer: Name,
    /// Who had them; `None` for sets that nobody had.
    pub from: Option<Name>,
    /// Who gets them.
    pub to: Name,
    /// Why.
    pub reason: Reason,
    /// How many sets.
    pub sets: usize,
    /// Their weight.
    pub weight: Weight,
}

/// Places the sets of `producers` on those of `aggregators` that are `usable`.
///
/// A producer of which nothing is known (`None`) counts as much as the others do on average, so that many that are down
/// do not all end on one aggregator; one that is known to have no set weighs nothing. `current` says who collects what
/// now; owners that are not usable count as lost. With no usable aggregator `current` comes back as it was.
#[must_use]
pub fn place_by_sets(
    producers: &BTreeMap<Name, Option<SetWeights>>,
    aggregators: &[Name],
    usable: &BTreeSet<Name>,
    current: &BTreeMap<Name, Ownership>,
    band: Band,
) -> PlacementBySets {
    let may_be_used: Vec<bool> = aggregators.iter().map(|name| usable.contains(name)).collect();
    if !may_be_used.contains(&true) {
        return PlacementBySets { owners: current.clone(), ..PlacementBySets::default() };
    }
    let numbers: BTreeMap<&Name, u16> = aggregators.iter().zip(0..).collect();
    let sets = placed_sets(producers, &numbers, current);
    let placement = place_sets(&sets, &may_be_used, band);

    let loads = aggregators.iter().zip(&placement.loads).filter(|(name, _)| usable.contains(*name));
    let mut plan = PlacementBySets {
        owners: BTreeMap::new(),
        loads: loads.map(|(name, weight)| (name.clone(), Load { weight: *weight, sets: 0 })).collect(),
        lower_bound: placement.lower_bound,
        moves: Vec::new(),
    };
    let owner_name = |owner: &Option<u16>| owner.and_then(|number| aggregators.get(usize::from(number)));
    let mut begin = 0;
    for (producer, known) in producers {
        let count = items_of(known.as_ref());
        let owners: Vec<&Name> = placement.owners[begin..begin + count].iter().filter_map(owner_name).collect();
        begin += count;
        let Some(first) = owners.first() else { continue };
        let names = known.iter().flat_map(BTreeMap::keys);
        let ownership = if owners.iter().all(|owner| owner == first) {
            Ownership::Whole((*first).clone())
        } else {
            let mut shares: BTreeMap<Name, BTreeSet<String>> = BTreeMap::new();
            for (set, owner) in names.zip(&owners) {
                shares.entry((*owner).clone()).or_default().insert(set.clone());
            }
            Ownership::Split(shares)
        };
        for owner in known.iter().flatten().zip(&owners).map(|(_, owner)| *owner) {
            if let Some(load) = plan.loads.get_mut(owner) {
                load.sets += 1;
            }
        }
        plan.owners.insert(producer.clone(), ownership);
    }
    let names: Vec<&Name> = producers.keys().collect();
    plan.moves = share_moves(&sets, &placement.moves, aggregators, &names);
    plan
}

/// How many sets a producer has for the placement: one without any has a nameless one, since somebody must have it.
fn items_of(known: Option<&SetWeights>) -> usize {
    known.map_or(1, |sets| sets.len().max(1))
}

/// The sets of all producers, in their order.
fn placed_sets(
    producers: &BTreeMap<Name, Option<SetWeights>>,
    numbers: &BTreeMap<&Name, u16>,
    current: &BTreeMap<Name, Ownership>,
) -> Vec<PlacedSet> {
    let known: Vec<Weight> = producers.values().flatten().map(|sets| sets.values().copied().sum()).collect();
    // Of equal ones as good as any where nothing at all is known.
    let average = if known.is_empty() { Weight::of(1_000, 1_000_000) } else { Weight::average(&known) };
    let mut placed = Vec::new();
    for ((producer, known), number) in producers.iter().zip(0..) {
        let ownership = current.get(producer);
        let number_of = |owner: Option<&Name>| owner.and_then(|owner| numbers.get(owner)).copied();
        match known {
            Some(sets) if !sets.is_empty() => placed.extend(sets.iter().map(|(name, weight)| PlacedSet {
                producer: number,
                weight: *weight,
                owner: number_of(ownership.and_then(|ownership| ownership.owner_of(name))),
            })),
            known => placed.push(PlacedSet {
                producer: number,
                weight: if known.is_some() { Weight::default() } else { average },
                owner: number_of(ownership.and_then(|ownership| ownership.aggregators().next())),
            }),
        }
    }
    placed
}

fn share_moves(
    sets: &[PlacedSet],
    moves: &[super::sets::Move],
    aggregators: &[Name],
    producers: &[&Name],
) -> Vec<ShareMove> {
    type Key = (u32, Option<u16>, u16, Reason);
    let mut shares: BTreeMap<Key, (usize, Weight)> = BTreeMap::new();
    for moved in moves {
        let set = &sets[moved.set];
        let share = shares.entry((set.producer, moved.from, moved.to, moved.reason)).or_default();
        *share = (share.0 + 1, [share.1, set.weight].into_iter().sum());
    }
    let told = shares.into_iter().filter_map(|((producer, from, to, reason), (sets, weight))| {
        Some(ShareMove {
            producer: (*producers.get(usize::try_from(producer).ok()?)?).clone(),
            from: from.and_then(|from| aggregators.get(usize::from(from))).cloned(),
            to: aggregators.get(usize::from(to))?.clone(),
            reason,
            sets,
            weight,
        })
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn aggregators(count: usize) -> Vec<Name> {
        (1..=count).map(|number| Name::from(format!("a-{number}"))).collect()
    }

    fn weight(bytes_per_s: u64) -> Weight {
        Weight::of(bytes_per_s, 1_000_000)
    }

    /// Producers `p-1`, `p-2`, … with sets `p-1/1`, `p-1/2`, … of so many bytes per second.
    fn producers(weights: &[Option<Vec<u64>>]) -> BTreeMap<Name, Option<SetWeights>> {
        let sets = |producer: usize, weights: &Vec<u64>| -> SetWeights {
            weights.iter().zip(1..).map(|(bytes, set)| (format!("p-{producer}/{set}"), weight(*bytes))).collect()
        };
        let numbered = weights.iter().zip(1..);
        numbered
            .map(|(weights, number)| (Name::from(format!("p-{number}")), weights.as_ref().map(|w| sets(number, w))))
            .collect()
    }

    fn place(
        producers: &BTreeMap<Name, Option<SetWeights>>,
        usable: &[Name],
        current: &BTreeMap<Name, Ownership>,
    ) -> PlacementBySets {
        place_by_sets(producers, &aggregators(4), &usable.iter().cloned().collect(), current, Band::default())
    }

    #[test]
    fn only_a_giant_among_producers_is_split() {
        let small = Some(vec![100, 100]);
        let giant = Some(vec![1_000; 6]);
        let producers = producers(&[giant, small.clone(), small.clone(), small.clone(), small]);
        let placed = place(&producers, &aggregators(2), &BTreeMap::new());
        let split: Vec<&Name> =
            placed.owners.iter().filter(|(_, owner)| owner.whole().is_none()).map(|(name, _)| name).collect();
        assert_eq!(split, [&Name::from("p-1")]);
        let loads: Vec<u64> = placed.loads.values().map(|load| load.weight.bytes_per_s().round() as u64).collect();
        assert_eq!(loads, [3_400, 3_400]);
    }

    #[test]
    fn many_of_which_nothing_is_known_are_shared_out() {
        let mut weights = vec![Some(vec![500]); 4];
        weights.extend(vec![None; 8]);
        let placed = place(&producers(&weights), &aggregators(4), &BTreeMap::new());
        for aggregator in aggregators(4) {
            let count = placed.owners.values().filter(|owner| owner.includes(&aggregator)).count();
            assert_eq!(count, 3, "{aggregator}: {:?}", placed.owners);
        }
    }

    #[test]
    fn a_set_that_appears_stays_with_the_owner_of_its_whole_producer() {
        let two = aggregators(2);
        let before = place(&producers(&[Some(vec![100]), Some(vec![100])]), &two, &BTreeMap::new());
        let after = place(&producers(&[Some(vec![100, 5]), Some(vec![100])]), &two, &before.owners);
        assert_eq!(after.owners, before.owners);
        assert_eq!(after.moves, []);
    }

    #[test]
    fn a_lost_owner_is_the_reason_of_a_move() {
        let all = aggregators(3);
        let producers = producers(&vec![Some(vec![10, 20]); 6]);
        let before = place(&producers, &all, &BTreeMap::new());
        let after = place(&producers, &all[1..], &before.owners);
        assert!(!after.moves.is_empty());
        for moved in &after.moves {
            assert_eq!((moved.reason, &moved.from, moved.sets), (Reason::OwnerLost, &Some(all[0].clone()), 2));
        }
    }

    proptest! {
        #[test]
        fn each_set_has_one_usable_owner_and_nothing_moves_twice(
            weights in proptest::collection::vec(
                proptest::option::of(proptest::collection::vec(prop_oneof![Just(0u64), 1u64..50, 1_000u64..9_000], 0..6)),
                0..12,
            ),
            lost in 0usize..4,
        ) {
            let all = aggregators(4);
            let producers = producers(&weights);
            let first = place(&producers, &all, &BTreeMap::new());
            let usable: Vec<Name> = all.iter().enumerate().filter(|(index, _)| *index != lost).map(|(_, a)| a.clone()).collect();
            let second = place(&producers, &usable, &first.owners);
            let back = place(&producers, &all, &second.owners);
            for (placed, usable) in [(&first, &all), (&second, &usable), (&back, &all)] {
                prop_assert_eq!(placed.owners.len(), producers.len());
                for (producer, known) in &producers {
                    let owner = &placed.owners[producer];
                    prop_assert!(owner.aggregators().all(|aggregator| usable.contains(aggregator)));
                    for set in known.iter().flat_map(BTreeMap::keys) {
                        prop_assert!(owner.owner_of(set).is_some(), "{set} of {owner:?}");
                    }
                    if let Ownership::Split(shares) = owner {
                        let names: Vec<&String> = shares.values().flatten().collect();
                        let distinct: BTreeSet<&String> = names.iter().copied().collect();
                        prop_assert_eq!(names.len(), distinct.len());
                        prop_assert!(shares.len() > 1 && shares.values().all(|share| !share.is_empty()));
                    }
                }
                let again = place(&producers, usable, &placed.owners);
                prop_assert_eq!(&again.owners, &placed.owners);
                prop_assert_eq!(again.moves, vec![]);
                let carried: usize = placed.loads.values().map(|load| load.sets).sum();
                prop_assert_eq!(carried, producers.values().flatten().map(BTreeMap::len).sum::<usize>());
            }
        }
    }
}
