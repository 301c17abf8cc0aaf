//! Where producers stand by in a group that is balanced by metric sets.
//!
//! Whole producers only: of one that is split each part has an owner, and none can stand by for another, since an
//! aggregator that is connected to a producer for a part of it has no second connection for the rest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::by_sets::SetWeights;
use super::ownership::Ownership;
use super::sets::{Band, Weight};
use crate::notation::Name;

/// The aggregator that is to take over each whole producer when its owner is lost while the others in `usable` are not:
/// so that the heaviest of these is then as light as can be without much ado, the heaviest producer first.
///
/// `before` says where they have stood by so far; that stays unless the heaviest would be above the mean by more than
/// the `band`, and another way were better. Producers of which nothing is known (`None`) weigh as much as the others do on
/// average. None stands by while fewer than two aggregators are usable.
#[must_use]
pub fn place_standbys_by_sets(
    producers: &BTreeMap<Name, Option<SetWeights>>,
    usable: &BTreeSet<Name>,
    owners: &BTreeMap<Name, Ownership>,
    before: &BTreeMap<Name, Name>,
    band: Band,
) -> BTreeMap<Name, Name> {
    let known: Vec<Weight> = producers.values().flatten().map(|sets| sets.values().copied().sum()).collect();
    let average = Weight::average(&known);
    let mut loads: BTreeMap<&Name, Weight> = usable.iter().map(|aggregator| (aggregator, Weight::default())).collect();
    let mut of_owner: BTreeMap<&Name, Vec<(&Name, Weight)>> = BTreeMap::new();
    for (producer, sets) in producers {
        let weight = sets.as_ref().map_or(average, |sets| sets.values().copied().sum());
        match owners.get(producer) {
            Some(Ownership::Whole(owner)) => {
                add(&mut loads, owner, weight);
                of_owner.entry(owner).or_default().push((producer, weight));
            }
            Some(Ownership::Split(shares)) => {
                for (owner, share) in shares {
                    let known = sets.iter().flatten().filter(|(set, _)| share.contains(*set));
                    add(&mut loads, owner, known.map(|(_, weight)| *weight).sum());
                }
            }
            None => {}
        }
    }
    let mut standbys = BTreeMap::new();
    for (lost, mut orphans) in of_owner {
        let mut left = loads.clone();
        if left.remove(lost).is_none() || left.is_empty() {
            continue;
        }
        // Among equals in counting order.
        orphans.sort_by_key(|(_, weight)| Reverse(*weight));
        let (stay, stay_heaviest) = spread(&orphans, left.clone(), before);
        let total: Weight = left.values().copied().chain(orphans.iter().map(|(_, weight)| *weight)).sum();
        let is_even = stay_heaviest.scaled(100 * left.len(), 1) <= total.scaled(100 + percent(band), 1);
        let (afresh, heaviest) = spread(&orphans, left, &BTreeMap::new());
        standbys.extend(if is_even || stay_heaviest <= heaviest { stay } else { afresh });
    }
    standbys
}

fn percent(band: Band) -> usize {
    usize::try_from(band.percent).unwrap_or(usize::MAX)
}

fn add(loads: &mut BTreeMap<&Name, Weight>, aggregator: &Name, weight: Weight) {
    if let Some(load) = loads.get_mut(aggregator) {
        *load = [*load, weight].into_iter().sum();
    }
}

/// Gives each orphan to who has had it so far, and then the others to who has least. Tells what the heaviest carries.
fn spread(
    orphans: &[(&Name, Weight)],
    mut loads: BTreeMap<&Name, Weight>,
    before: &BTreeMap<Name, Name>,
) -> (BTreeMap<Name, Name>, Weight) {
    let mut on = BTreeMap::new();
    let had = |orphan: &Name| before.get(orphan).filter(|aggregator| loads.contains_key(*aggregator)).cloned();
    let (stay, go): (Vec<_>, Vec<_>) =
        orphans.iter().map(|(orphan, weight)| (*orphan, *weight, had(orphan))).partition(|(.., had)| had.is_some());
    for (orphan, weight, had) in stay.into_iter().chain(go) {
        // Of several that have least weight, who has least orphans: many may weigh nothing.
        let lightest = || {
            let fewest = |aggregator: &Name| on.values().filter(|on| *on == aggregator).count();
            let least = loads.values().min()?;
            let candidates = loads.iter().filter(|(_, load)| *load == least).map(|(aggregator, _)| *aggregator);
            candidates.min_by_key(|aggregator| fewest(aggregator)).cloned()
        };
        let Some(aggregator) = had.or_else(lightest) else { continue };
        add(&mut loads, &aggregator, weight);
        on.insert(orphan.clone(), aggregator);
    }
    let heaviest = loads.values().max().copied().unwrap_or_default();
    (on, heaviest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(prefix: &str, number: usize) -> Name {
        Name::from(format!("{prefix}-{number}"))
    }

    fn aggregators(count: usize) -> BTreeSet<Name> {
        (0..count).map(|number| name("a", number)).collect()
    }

    fn producers(weights: &[Option<u64>]) -> BTreeMap<Name, Option<SetWeights>> {
        let sets = |weight: u64| SetWeights::from([("set".to_owned(), Weight::of(weight, 1_000_000))]);
        weights.iter().enumerate().map(|(number, weight)| (name("p", number), weight.map(sets))).collect()
    }

    fn owned_by(owners: &[usize]) -> BTreeMap<Name, Ownership> {
        owners.iter().enumerate().map(|(p, owner)| (name("p", p), Ownership::Whole(name("a", *owner)))).collect()
    }

    fn place(
        weights: &[Option<u64>],
        count: usize,
        owners: &[usize],
        before: &BTreeMap<Name, Name>,
    ) -> BTreeMap<Name, Name> {
        let producers = producers(weights);
        place_standbys_by_sets(&producers, &aggregators(count), &owned_by(owners), before, Band::default())
    }

    #[test]
    fn the_weight_of_a_lost_one_is_shared_by_the_others() {
        let weights = [Some(400), Some(100), Some(100), Some(100), Some(100), Some(300), Some(400)];
        let standbys = place(&weights, 3, &[0, 0, 0, 0, 0, 1, 2], &BTreeMap::new());
        let on: Vec<&str> = (0..7).map(|number| standbys[&name("p", number)].as_str()).collect();
        // The heaviest goes to who has least, and then the others up to the same weight.
        assert_eq!(on, ["a-1", "a-2", "a-2", "a-2", "a-1", "a-2", "a-1"]);
    }

    #[test]
    fn many_that_weigh_nothing_are_shared_as_well() {
        let standbys = place(&[Some(0); 6], 3, &[0; 6], &BTreeMap::new());
        assert_eq!(standbys.values().filter(|on| ***on == *"a-1").count(), 3, "{standbys:?}");
    }

    #[test]
    fn a_producer_of_which_several_have_parts_stands_by_nowhere() {
        let producers = producers(&[Some(100), Some(100)]);
        let mut owners = owned_by(&[0, 1]);
        let shares = [(name("a", 0), ["set".to_owned()].into()), (name("a", 1), ["other".to_owned()].into())];
        owners.insert(name("p", 0), Ownership::Split(shares.into()));
        let standbys = place_standbys_by_sets(&producers, &aggregators(2), &owners, &BTreeMap::new(), Band::default());
        assert_eq!(standbys, [(name("p", 1), name("a", 0))].into());
    }

    proptest! {
        #[test]
        fn each_stands_by_on_another_that_is_usable_and_stays_there(
            weights in proptest::collection::vec(proptest::option::of(prop_oneof![Just(0u64), 1u64..100, 1_000u64..9_000]), 1..40),
            owners in proptest::collection::vec(0usize..6, 40),
            before in proptest::collection::vec(0usize..7, 40),
            count in 1usize..6,
        ) {
            let owners = &owners[..weights.len()];
            let before: BTreeMap<Name, Name> = before.iter().enumerate().map(|(p, on)| (name("p", p), name("a", *on))).collect();
            let standbys = place(&weights, count, owners, &before);
            for (number, owner) in owners.iter().enumerate() {
                let on = standbys.get(&name("p", number));
                prop_assert_eq!(on.is_some(), *owner < count && count > 1);
                prop_assert!(on.is_none_or(|on| *on != name("a", *owner) && aggregators(count).contains(on)));
            }
            prop_assert_eq!(place(&weights, count, owners, &standbys), standbys);
        }

        #[test]
        fn a_loss_leaves_the_heaviest_within_what_the_heaviest_producer_weighs(
            weights in proptest::collection::vec(1u64..1_000, 1..40),
            owners in proptest::collection::vec(0usize..4, 40),
        ) {
            let owners = &owners[..weights.len()];
            let known: Vec<Option<u64>> = weights.iter().copied().map(Some).collect();
            let standbys = place(&known, 4, owners, &BTreeMap::new());
            for lost in 0..4 {
                let mut loads = [0; 4];
                let (mut own, mut total) = ([0; 4], 0);
                for (number, weight) in weights.iter().enumerate() {
                    own[owners[number]] += weight;
                    let on = if owners[number] == lost { &standbys[&name("p", number)] } else { &name("a", owners[number]) };
                    loads[on.trim_start_matches("a-").parse::<usize>().unwrap()] += weight;
                    total += weight;
                }
                own[lost] = 0;
                let heaviest = weights.iter().max().unwrap();
                let bound = (total / 3 + heaviest).max(*own.iter().max().unwrap());
                prop_assert!(loads.iter().max().unwrap() <= &bound, "{:?} after the loss of {}", loads, lost);
            }
        }
    }
}
