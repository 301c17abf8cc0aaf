//! Placement of producers that advertise themselves to the aggregators of a group.
//!
//! Nobody knows their names beforehand, so none has a home: each stays with the aggregator that collects it, and
//! only an aggregator that a producer has connected to can collect it at all. New ones fill the aggregators that
//! have least, in blocks; as many move as the balance asks for, and no more.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::notation::Name;

/// The owner of each advertised producer.
///
/// `reachable` names, for each, the usable aggregators that it has connected to; one without any is left out.
/// `held` has every usable aggregator with the number of other producers that it collects, which stay.
/// `current` says who owns what now; owners that are not reachable count as lost.
#[must_use]
pub fn place_advertised(
    reachable: &BTreeMap<Name, BTreeSet<Name>>,
    held: &BTreeMap<Name, usize>,
    current: &BTreeMap<Name, Name>,
) -> BTreeMap<Name, Name> {
    let mut shares = Shares::new(held);
    let mut orphans = Vec::new();
    for (producer, aggregators) in reachable.iter().filter(|(_, aggregators)| !aggregators.is_empty()) {
        match current.get(producer).filter(|owner| aggregators.contains(*owner)) {
            Some(owner) => shares.give(producer, owner),
            None => orphans.push((producer, aggregators)),
        }
    }
    let quotas = shares.quotas(orphans.len());
    for (producer, aggregators) in orphans {
        let below_quota = aggregators.iter().find(|name| shares.load(name) < quotas.get(name).copied().unwrap_or(0));
        if let Some(owner) = below_quota.or_else(|| aggregators.iter().min_by_key(|name| shares.load(name))) {
            shares.give(producer, owner);
        }
    }
    while let Some((producer, from, to)) = shares.best_move(reachable) {
        shares.take(producer, from);
        shares.give(producer, to);
    }
    shares.into_owners()
}

/// Who owns what, while it is being decided.
struct Shares<'a> {
    held: &'a BTreeMap<Name, usize>,
    owned: BTreeMap<&'a Name, BTreeSet<&'a Name>>,
}

impl<'a> Shares<'a> {
    fn new(held: &'a BTreeMap<Name, usize>) -> Shares<'a> {
        Shares { held, owned: held.keys().map(|aggregator| (aggregator, BTreeSet::new())).collect() }
    }

    fn load(&self, aggregator: &Name) -> usize {
        self.held.get(aggregator).copied().unwrap_or(0) + self.owned.get(aggregator).map_or(0, BTreeSet::len)
    }

    fn give(&mut self, producer: &'a Name, to: &'a Name) {
        self.owned.entry(to).or_default().insert(producer);
    }

    fn take(&mut self, producer: &Name, from: &Name) {
        if let Some(owned) = self.owned.get_mut(from) {
            owned.remove(producer);
        }
    }

    /// What each aggregator may hold when `more` producers come; the larger shares go to those who hold most.
    fn quotas(&self, more: usize) -> BTreeMap<&'a Name, usize> {
        let mut by_load: Vec<&'a Name> = self.owned.keys().copied().collect();
        by_load.sort_by_key(|aggregator| Reverse(self.load(aggregator)));
        let total = by_load.iter().map(|aggregator| self.load(aggregator)).sum::<usize>() + more;
        let (share, larger) = (total / by_load.len().max(1), total % by_load.len().max(1));
        by_load.into_iter().enumerate().map(|(rank, name)| (name, share + usize::from(rank < larger))).collect()
    }

    /// A producer that evens out the loads when it moves: from one of the fullest to one of the emptiest.
    fn best_move(&self, reachable: &'a BTreeMap<Name, BTreeSet<Name>>) -> Option<(&'a Name, &'a Name, &'a Name)> {
        let mut by_load: Vec<&'a Name> = self.owned.keys().copied().collect();
        by_load.sort_by_key(|aggregator| self.load(aggregator));
        for from in by_load.iter().rev().copied() {
            for to in by_load.iter().copied().take_while(|to| self.load(to) + 1 < self.load(from)) {
                let can_go = |producer: &&'a Name| reachable.get(*producer).is_some_and(|there| there.contains(to));
                if let Some(producer) = self.owned[from].iter().rev().copied().find(can_go) {
                    return Some((producer, from, to));
                }
            }
        }
        None
    }

    fn into_owners(self) -> BTreeMap<Name, Name> {
        let pairs =
            self.owned.into_iter().flat_map(|(owner, producers)| producers.into_iter().map(move |p| (p, owner)));
        pairs.map(|(producer, owner)| (producer.clone(), owner.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(prefix: &str, number: usize) -> Name {
        Name::from(format!("{prefix}-{number}"))
    }

    fn everywhere(producers: usize, aggregators: &[Name]) -> BTreeMap<Name, BTreeSet<Name>> {
        (1..=producers).map(|number| (name("node", number), aggregators.iter().cloned().collect())).collect()
    }

    fn aggregators(count: usize) -> Vec<Name> {
        (1..=count).map(|number| name("a", number)).collect()
    }

    fn loads(held: &BTreeMap<Name, usize>, owners: &BTreeMap<Name, Name>) -> BTreeMap<Name, usize> {
        owners.values().fold(held.clone(), |mut loads, owner| {
            *loads.entry(owner.clone()).or_default() += 1;
            loads
        })
    }

    #[test]
    fn new_ones_fill_the_aggregators_in_blocks() {
        let three = aggregators(3);
        let held = three.iter().map(|name| (name.clone(), 0)).collect();
        let owners = place_advertised(&everywhere(8, &three), &held, &BTreeMap::new());
        let on = |owner: &str| {
            owners.iter().filter(|(_, name)| **name == *owner).map(|(p, _)| p.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(on("a-1"), ["node-1", "node-2", "node-3"]);
        assert_eq!(on("a-2"), ["node-4", "node-5", "node-6"]);
        assert_eq!(on("a-3"), ["node-7", "node-8"]);
    }

    #[test]
    fn what_is_collected_besides_counts() {
        let two = aggregators(2);
        let held = [(two[0].clone(), 4), (two[1].clone(), 1)].into();
        let owners = place_advertised(&everywhere(3, &two), &held, &BTreeMap::new());
        assert!(owners.values().all(|owner| *owner == two[1]), "{owners:?}");
    }

    #[test]
    fn one_that_has_connected_to_one_aggregator_only_is_collected_there() {
        let two = aggregators(2);
        let held = [(two[0].clone(), 9), (two[1].clone(), 0)].into();
        let reachable = [(name("node", 1), [two[0].clone()].into()), (name("node", 2), BTreeSet::new())].into();
        let owners = place_advertised(&reachable, &held, &BTreeMap::new());
        assert_eq!(owners, [(name("node", 1), two[0].clone())].into());
    }

    proptest! {
        #[test]
        fn is_balanced_stable_and_moves_no_more_than_it_must(
            producers in 0usize..40,
            held in proptest::collection::vec(0usize..4, 1..6),
            owned_by in proptest::collection::vec(0usize..8, 40),
        ) {
            let names = aggregators(held.len());
            let held: BTreeMap<Name, usize> = names.iter().cloned().zip(held).collect();
            let reachable = everywhere(producers, &names);
            // Owners beyond the list of aggregators are lost ones.
            let current: BTreeMap<Name, Name> =
                reachable.keys().cloned().zip(owned_by.iter().map(|number| name("a", number + 1))).collect();
            let owners = place_advertised(&reachable, &held, &current);
            prop_assert_eq!(owners.len(), producers);

            let after = loads(&held, &owners);
            let (most, least) = (after.values().max().copied().unwrap_or(0), after.values().min().copied().unwrap_or(0));
            // Only what others hold can be above the share.
            prop_assert!(most - least <= 1 || after.iter().all(|(name, load)| *load <= least + 1 || *load == held[name]));

            // Somebody gives producers away only when he is left with no less than others have whom any were given.
            let most = after.iter().filter(|(name, load)| **load > held[*name]).map(|(_, load)| *load).max().unwrap_or(0);
            for (producer, owner) in &owners {
                let before = &current[producer];
                if held.contains_key(before) && before != owner {
                    prop_assert!(after[before] + 1 >= most, "{producer} left {before}");
                }
            }
            prop_assert_eq!(&place_advertised(&reachable, &held, &owners), &owners);
        }

        #[test]
        fn each_is_collected_by_one_that_it_has_connected_to(
            connected in proptest::collection::vec(proptest::collection::btree_set(0usize..5, 0..5), 0..30),
        ) {
            let names = aggregators(5);
            let held: BTreeMap<Name, usize> = names.iter().map(|name| (name.clone(), 0)).collect();
            let reachable: BTreeMap<Name, BTreeSet<Name>> = connected
                .iter()
                .enumerate()
                .map(|(number, to)| (name("node", number), to.iter().map(|index| names[*index].clone()).collect()))
                .collect();
            let owners = place_advertised(&reachable, &held, &BTreeMap::new());
            for (producer, there) in &reachable {
                prop_assert_eq!(owners.contains_key(producer), !there.is_empty());
                prop_assert!(owners.get(producer).is_none_or(|owner| there.contains(owner)));
            }
        }
    }
}
