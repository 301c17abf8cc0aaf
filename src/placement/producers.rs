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
    if aggregators.is_empty() {
        return BTreeMap::new();
    }
    let (size, larger) = (producers.len() / aggregators.len(), producers.len() % aggregators.len());
    let mut rest = producers;
    let mut homes = BTreeMap::new();
    for (index, aggregator) in aggregators.iter().enumerate() {
        let (block, after) = rest.split_at(size + usize::from(index < larger));
        rest = after;
        homes.extend(block.iter().map(|producer| (producer.clone(), aggregator.clone())));
    }
    homes
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
    let usable: Vec<&Name> = aggregators.iter().filter(|aggregator| usable.contains(*aggregator)).collect();
    if usable.is_empty() {
        let known = |producer: &&Name| current.contains_key(*producer);
        return producers.iter().filter(known).map(|producer| (producer.clone(), current[producer].clone())).collect();
    }

    let homes = home_blocks(producers, aggregators);
    let mut held: BTreeMap<&Name, usize> = usable.iter().map(|aggregator| (*aggregator, 0)).collect();
    let mut placement = BTreeMap::new();
    let mut guests = Vec::new();
    for producer in producers {
        let home = &homes[producer];
        match held.get_mut(home) {
            Some(count) => {
                *count += 1;
                placement.insert(producer.clone(), home.clone());
            }
            None => guests.push(producer),
        }
    }

    // The larger shares go to those who hold most already, so that the fewest guests move.
    let mut wish = held.clone();
    for guest in &guests {
        if let Some(count) = current.get(*guest).and_then(|owner| wish.get_mut(owner)) {
            *count += 1;
        }
    }
    let (share, larger) = (producers.len() / usable.len(), producers.len() % usable.len());
    let mut by_wish = usable.clone();
    by_wish.sort_by_key(|aggregator| std::cmp::Reverse(wish[*aggregator]));
    let quota: BTreeMap<&Name, usize> = by_wish
        .iter()
        .enumerate()
        .map(|(rank, aggregator)| (*aggregator, share + usize::from(rank < larger)))
        .collect();

    let mut homeless = Vec::new();
    for guest in guests {
        match current.get(guest).and_then(|owner| held.get_key_value(owner)).map(|(owner, count)| (*owner, *count)) {
            Some((owner, count)) if count < quota[owner] => {
                held.insert(owner, count + 1);
                placement.insert(guest.clone(), owner.clone());
            }
            _ => homeless.push(guest),
        }
    }
    let mut free = usable
        .iter()
        .flat_map(|aggregator| std::iter::repeat_n(*aggregator, quota[*aggregator].saturating_sub(held[*aggregator])));
    for guest in homeless {
        // Homes hold at most their quota, so there is room for every guest; the fallback only keeps this total.
        let owner = free.next().unwrap_or(usable[0]);
        placement.insert(guest.clone(), owner.clone());
    }
    placement
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
        ) {
            let (producers, aggregators) = (names("p", producers), names("a", aggregators));
            let homes = home_blocks(&producers, &aggregators);
            let mut usable: BTreeSet<Name> = aggregators.iter().cloned().collect();
            let mut current = place_producers(&producers, &aggregators, &usable, &BTreeMap::new());
            prop_assert_eq!(&current, &homes);

            for (index, up) in faults {
                let name = aggregators[index % aggregators.len()].clone();
                let lost = !up && usable.remove(&name);
                let returned = up && usable.insert(name.clone());
                let next = place_producers(&producers, &aggregators, &usable, &current);
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
                prop_assert_eq!(&place_producers(&producers, &aggregators, &usable, &next), &next);
                current = next;
            }
            usable.extend(aggregators.iter().cloned());
            prop_assert_eq!(place_producers(&producers, &aggregators, &usable, &current), homes);
        }
    }
}
