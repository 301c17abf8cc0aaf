//! Placement of whole producers over the aggregators of a group.
//!
//! - *Home*: with all aggregators in use, the block partition of the producers in counting order; the
//!   first `n mod m` aggregators get one more (8 over 3: {1,2,3} {4,5,6} {7,8}).
//! - *Loss*: only the lost aggregator's producers move, so that loads differ by at most one.
//! - *Return*: the producers whose home is back go home. The guests that are still without their own
//!   home move only as far as the balance asks.

use std::collections::{BTreeMap, BTreeSet};

use crate::notation::Name;

/// The home of each producer: contiguous blocks in the order given, earlier aggregators one larger.
#[must_use]
pub fn home_blocks(producers: &[Name], aggregators: &[Name]) -> BTreeMap<Name, Name> {
    let homes = home_numbers(producers.len(), aggregators.len());
    producers.iter().zip(homes).map(|(producer, home)| (producer.clone(), aggregators[home].clone())).collect()
}

/// The home of each producer, by number; nobody has one where there is no aggregator.
fn home_numbers(producers: usize, aggregators: usize) -> impl Iterator<Item = usize> {
    let size = producers.checked_div(aggregators).unwrap_or(0);
    let larger = producers.checked_rem(aggregators).unwrap_or(0);
    (0..aggregators).flat_map(move |number| std::iter::repeat_n(number, size + usize::from(number < larger)))
}

/// The owner of each producer when only the aggregators in `usable` may collect.
///
/// `current` says who owns what now; owners that are not usable count as lost. With no usable
/// aggregator nothing can be better than it is, and `current` comes back as it was.
#[must_use]
pub fn place_producers(
    producers: &[Name],
    aggregators: &[Name],
    usable: &BTreeSet<Name>,
    current: &BTreeMap<Name, Name>,
) -> BTreeMap<Name, Name> {
    place_on_standbys(producers, aggregators, usable, current, &BTreeMap::new())
}

/// As [`place_producers`], where a producer that has to go elsewhere goes to its aggregator in `standbys` as far as the
/// balance allows.
#[must_use]
pub fn place_on_standbys(
    producers: &[Name],
    aggregators: &[Name],
    usable: &BTreeSet<Name>,
    current: &BTreeMap<Name, Name>,
    standbys: &BTreeMap<Name, Name>,
) -> BTreeMap<Name, Name> {
    let table = Table::of(producers, aggregators, current, standbys);
    let usable: Vec<bool> = aggregators.iter().map(|aggregator| usable.contains(aggregator)).collect();
    match table.place(&usable) {
        Some(owners) => {
            let names = producers.iter().zip(owners);
            names.map(|(producer, owner)| (producer.clone(), aggregators[owner].clone())).collect()
        }
        None => {
            let known = |producer: &&Name| current.contains_key(*producer);
            producers.iter().filter(known).map(|producer| (producer.clone(), current[producer].clone())).collect()
        }
    }
}

/// A group by numbers, so that what follows from many losses is found in little time: producers and aggregators in
/// their order.
pub(super) struct Table {
    aggregators: usize,
    /// The home of each producer.
    homes: Vec<usize>,
    /// Who owns each producer, where somebody of the group does.
    pub(super) owners: Vec<Option<usize>>,
    /// Where each producer stands by.
    standbys: Vec<Option<usize>>,
}

impl Table {
    pub(super) fn of(
        producers: &[Name],
        aggregators: &[Name],
        owners: &BTreeMap<Name, Name>,
        standbys: &BTreeMap<Name, Name>,
    ) -> Table {
        let numbers: BTreeMap<&Name, usize> =
            aggregators.iter().enumerate().map(|(index, name)| (name, index)).collect();
        let number_in = |placed: &BTreeMap<Name, Name>, producer: &Name| {
            placed.get(producer).and_then(|aggregator| numbers.get(aggregator).copied())
        };
        Table {
            aggregators: aggregators.len(),
            homes: home_numbers(producers.len(), aggregators.len()).collect(),
            owners: producers.iter().map(|producer| number_in(owners, producer)).collect(),
            standbys: producers.iter().map(|producer| number_in(standbys, producer)).collect(),
        }
    }

    /// The owner of each producer when only some aggregators may collect; `None` where none may.
    pub(super) fn place(&self, usable: &[bool]) -> Option<Vec<usize>> {
        let usable_numbers: Vec<usize> = (0..self.aggregators).filter(|number| usable[*number]).collect();
        let first = *usable_numbers.first()?;
        let mut held = vec![0; self.aggregators];
        for home in self.homes.iter().filter(|home| usable[**home]) {
            held[*home] += 1;
        }
        let is_guest = |producer: &usize| !usable[self.homes[*producer]];
        let host = |producer: usize| self.owners[producer].filter(|owner| usable[*owner]);

        // The larger shares go to those who hold most already, so that the fewest guests move.
        let mut wish = held.clone();
        for owner in (0..self.homes.len()).filter(is_guest).filter_map(host) {
            wish[owner] += 1;
        }
        let share = self.homes.len() / usable_numbers.len();
        let larger = self.homes.len() % usable_numbers.len();
        let mut by_wish = usable_numbers.clone();
        by_wish.sort_by_key(|aggregator| std::cmp::Reverse(wish[*aggregator]));
        let mut quota = vec![0; self.aggregators];
        for (rank, aggregator) in by_wish.into_iter().enumerate() {
            quota[aggregator] = share + usize::from(rank < larger);
        }

        let mut placement = self.homes.clone();
        let mut settle = |guests: Vec<usize>, wanted: &dyn Fn(usize) -> Option<usize>| {
            let mut homeless = Vec::new();
            for guest in guests {
                match wanted(guest).filter(|aggregator| held[*aggregator] < quota[*aggregator]) {
                    Some(aggregator) => {
                        held[aggregator] += 1;
                        placement[guest] = aggregator;
                    }
                    None => homeless.push(guest),
                }
            }
            homeless
        };
        let standby = |guest: usize| self.standbys[guest].filter(|standby| usable[*standby]);
        let homeless = settle((0..self.homes.len()).filter(is_guest).collect(), &host);
        let homeless = settle(homeless, &standby);
        let mut free = usable_numbers.iter().flat_map(|aggregator| {
            std::iter::repeat_n(*aggregator, quota[*aggregator].saturating_sub(held[*aggregator]))
        });
        for guest in homeless {
            // Homes hold at most their quota, so there is room for every guest; the fallback only keeps this total.
            placement[guest] = free.next().unwrap_or(first);
        }
        Some(placement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(prefix: &str, count: usize) -> Vec<Name> {
        (1..=count).map(|number| Name::from(format!("{prefix}-{number}"))).collect()
    }

    fn loads(placement: &BTreeMap<Name, Name>) -> BTreeMap<&Name, usize> {
        placement.values().fold(BTreeMap::new(), |mut loads, owner| {
            *loads.entry(owner).or_default() += 1;
            loads
        })
    }

    #[test]
    fn eight_producers_over_three_aggregators_form_blocks() {
        let placement = home_blocks(&names("p", 8), &names("a", 3));
        let block = |aggregator: &str| {
            placement.iter().filter(|(_, owner)| **owner == *aggregator).map(|(p, _)| p.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(block("a-1"), ["p-1", "p-2", "p-3"]);
        assert_eq!(block("a-2"), ["p-4", "p-5", "p-6"]);
        assert_eq!(block("a-3"), ["p-7", "p-8"]);
    }

    #[test]
    fn blocks_follow_numbers_and_not_letters() {
        let placement = home_blocks(&names("p", 12), &names("a", 2));
        assert_eq!(placement[&Name::from("p-2")], "a-1");
        assert_eq!(placement[&Name::from("p-10")], "a-2");
    }

    #[test]
    fn without_any_aggregator_nothing_moves() {
        let (producers, aggregators) = (names("p", 4), names("a", 2));
        let current = home_blocks(&producers, &aggregators);
        assert_eq!(place_producers(&producers, &aggregators, &BTreeSet::new(), &current), current);
    }

    proptest! {
        #[test]
        fn losses_and_returns_keep_the_balance_and_move_only_what_they_must(
            producers in 0usize..60,
            aggregators in 1usize..7,
            faults in proptest::collection::vec((0usize..7, any::<bool>()), 0..25),
            standing_by in proptest::collection::vec(0usize..7, 60),
        ) {
            let (producers, aggregators) = (names("p", producers), names("a", aggregators));
            let homes = home_blocks(&producers, &aggregators);
            // Wherever producers stand by, even at their owner.
            let standby = |index: usize| aggregators[index % aggregators.len()].clone();
            let standbys: BTreeMap<Name, Name> =
                producers.iter().cloned().zip(standing_by.into_iter().map(standby)).collect();
            let mut usable: BTreeSet<Name> = aggregators.iter().cloned().collect();
            let mut current = place_producers(&producers, &aggregators, &usable, &BTreeMap::new());
            prop_assert_eq!(&current, &homes);

            for (index, up) in faults {
                let name = aggregators[index % aggregators.len()].clone();
                let lost = !up && usable.remove(&name);
                let returned = up && usable.insert(name.clone());
                let next = place_on_standbys(&producers, &aggregators, &usable, &current, &standbys);
                prop_assert_eq!(next.len(), producers.len());
                if usable.is_empty() {
                    prop_assert_eq!(&next, &current);
                    continue;
                }
                let loads = loads(&next);
                let load = |aggregator: &Name| loads.get(aggregator).copied().unwrap_or(0);
                prop_assert!(next.values().all(|owner| usable.contains(owner)));
                let most = usable.iter().map(load).max().unwrap_or(0);
                let least = usable.iter().map(load).min().unwrap_or(0);
                prop_assert!(most - least <= 1, "loads {most} and {least}");
                for (producer, owner) in &next {
                    if usable.contains(&homes[producer]) {
                        prop_assert_eq!(owner, &homes[producer]);
                    }
                    let before = &current[producer];
                    if before != owner && usable.contains(before) && (lost || returned) {
                        // A guest may go home or even out the loads; who is at home stays.
                        prop_assert_ne!(before, &homes[producer]);
                    }
                }
                prop_assert_eq!(&place_on_standbys(&producers, &aggregators, &usable, &next, &standbys), &next);
                current = next;
            }
            usable.extend(aggregators.iter().cloned());
            prop_assert_eq!(place_on_standbys(&producers, &aggregators, &usable, &current, &standbys), homes);
        }
    }
}
