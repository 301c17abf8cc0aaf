//! Where each producer stands by: connected, and collected by nobody, so that a loss of its owner costs less.
//!
//! That is the aggregator that would take it over if its owner were lost, and no other: a takeover finds its producers
//! connected. Who loses an aggregator that stands by for others shares them out anew; a standby that is still as good
//! as another stays.

use std::collections::{BTreeMap, BTreeSet};

use super::producers::Table;
use crate::notation::Name;

/// The aggregator that takes each producer over when its owner, which is in `owners`, is lost while the others in
/// `usable` are not: what [`super::place_on_standbys`] decides then.
///
/// `before` says where they have stood by so far. A producer without an owner that is usable stands by nowhere, and
/// none does while fewer than two aggregators are usable.
#[must_use]
pub fn place_standbys(
    producers: &[Name],
    aggregators: &[Name],
    usable: &BTreeSet<Name>,
    owners: &BTreeMap<Name, Name>,
    before: &BTreeMap<Name, Name>,
) -> BTreeMap<Name, Name> {
    let table = Table::of(producers, aggregators, owners, before);
    let usable: Vec<bool> = aggregators.iter().map(|aggregator| usable.contains(aggregator)).collect();
    let mut standbys = BTreeMap::new();
    for lost in (0..aggregators.len()).filter(|number| usable[*number]) {
        let mut left = usable.clone();
        left[lost] = false;
        let Some(after) = table.place(&left) else { continue };
        let orphans = (0..producers.len()).filter(|producer| table.owners[*producer] == Some(lost));
        standbys.extend(orphans.map(|orphan| (producers[orphan].clone(), aggregators[after[orphan]].clone())));
    }
    standbys
}

#[cfg(test)]
mod tests {
    use super::super::{place_on_standbys, place_producers};
    use super::*;
    use proptest::prelude::*;

    fn names(prefix: &str, count: usize) -> Vec<Name> {
        (1..=count).map(|number| Name::from(format!("{prefix}-{number}"))).collect()
    }

    fn nobody() -> BTreeMap<Name, Name> {
        BTreeMap::new()
    }

    #[test]
    fn each_of_three_is_backed_by_the_two_others() {
        let (producers, aggregators) = (names("p", 8), names("a", 3));
        let usable = aggregators.iter().cloned().collect();
        let owners = place_producers(&producers, &aggregators, &usable, &nobody());
        let standbys = place_standbys(&producers, &aggregators, &usable, &owners, &nobody());
        let on: Vec<&str> = producers.iter().map(|producer| standbys[producer].as_str()).collect();
        assert_eq!(on, ["a-2", "a-3", "a-3", "a-1", "a-3", "a-3", "a-1", "a-2"]);
    }

    #[test]
    fn nobody_stands_by_where_one_aggregator_is_left() {
        let (producers, aggregators) = (names("p", 4), names("a", 2));
        let usable = [aggregators[1].clone()].into();
        let owners = place_producers(&producers, &aggregators, &usable, &nobody());
        assert_eq!(place_standbys(&producers, &aggregators, &usable, &owners, &nobody()), nobody());
    }

    proptest! {
        #[test]
        fn the_standby_is_who_takes_over_in_any_loss_after_any_past(
            producers in 0usize..60,
            aggregators in 1usize..7,
            faults in proptest::collection::vec((0usize..7, any::<bool>()), 0..25),
        ) {
            let (producers, aggregators) = (names("p", producers), names("a", aggregators));
            let mut usable: BTreeSet<Name> = aggregators.iter().cloned().collect();
            let mut owners = place_producers(&producers, &aggregators, &usable, &nobody());
            let mut standbys = nobody();
            for (index, up) in faults {
                let name = aggregators[index % aggregators.len()].clone();
                if up { usable.insert(name) } else { usable.remove(&name) };
                owners = place_on_standbys(&producers, &aggregators, &usable, &owners, &standbys);
                standbys = place_standbys(&producers, &aggregators, &usable, &owners, &standbys);
                prop_assert_eq!(&place_standbys(&producers, &aggregators, &usable, &owners, &standbys), &standbys);
                if usable.len() < 2 {
                    prop_assert_eq!(&standbys, &nobody());
                    continue;
                }
                prop_assert_eq!(standbys.len(), producers.len());
                for lost in &usable {
                    let mut left = usable.clone();
                    left.remove(lost);
                    let after = place_on_standbys(&producers, &aggregators, &left, &owners, &standbys);
                    for producer in producers.iter().filter(|producer| owners[*producer] == *lost) {
                        prop_assert_eq!(&after[producer], &standbys[producer], "{} after the loss of {}", producer, lost);
                    }
                }
            }
        }

        #[test]
        fn a_standby_that_is_as_good_as_another_stays(
            producers in 0usize..60,
            aggregators in 2usize..7,
            standing_by in proptest::collection::vec(0usize..7, 60),
        ) {
            let (producers, aggregators) = (names("p", producers), names("a", aggregators));
            let usable: BTreeSet<Name> = aggregators.iter().cloned().collect();
            let owners = place_producers(&producers, &aggregators, &usable, &nobody());
            let before: BTreeMap<Name, Name> = producers
                .iter()
                .cloned()
                .zip(standing_by.into_iter().map(|index| aggregators[index % aggregators.len()].clone()))
                .collect();
            let after = place_standbys(&producers, &aggregators, &usable, &owners, &before);
            let count = |standbys: &BTreeMap<Name, Name>, owner: &Name, on: &Name| {
                producers.iter().filter(|p| owners[*p] == *owner && standbys[*p] == *on).count()
            };
            for producer in producers.iter().filter(|producer| before[*producer] != after[*producer]) {
                let (owner, from) = (&owners[producer], &before[producer]);
                // It stood by at its owner, or more of its like stood by there than can.
                let as_many_as_can = from == owner || count(&after, owner, from) < count(&before, owner, from);
                prop_assert!(as_many_as_can, "{} left {}", producer, from);
            }
        }
    }
}
