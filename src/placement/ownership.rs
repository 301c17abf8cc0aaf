//! Who collects the metric sets of one producer.

use std::collections::{BTreeMap, BTreeSet};

use crate::notation::Name;

/// The aggregators that collect the metric sets of one producer. Each set has one owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// One collects all of them, also those that will appear.
    Whole(Name),
    /// Several collect it, each the sets that are named here; no set is named twice.
    Split(BTreeMap<Name, BTreeSet<String>>),
}

impl Ownership {
    /// The aggregator that has the whole producer, if it is not split.
    #[must_use]
    pub fn whole(&self) -> Option<&Name> {
        match self {
            Ownership::Whole(owner) => Some(owner),
            Ownership::Split(_) => None,
        }
    }

    /// Whether an aggregator collects the producer, or a part of it.
    #[must_use]
    pub fn includes(&self, aggregator: &Name) -> bool {
        match self {
            Ownership::Whole(owner) => owner == aggregator,
            Ownership::Split(shares) => shares.contains_key(aggregator),
        }
    }

    /// The sets that an aggregator has of a split producer.
    #[must_use]
    pub fn share_of(&self, aggregator: &Name) -> Option<&BTreeSet<String>> {
        match self {
            Ownership::Whole(_) => None,
            Ownership::Split(shares) => shares.get(aggregator),
        }
    }

    /// Everybody who collects the producer, or a part of it, in counting order.
    pub fn aggregators(&self) -> impl Iterator<Item = &Name> {
        let (whole, shares) = match self {
            Ownership::Whole(owner) => (Some(owner), None),
            Ownership::Split(shares) => (None, Some(shares)),
        };
        whole.into_iter().chain(shares.into_iter().flat_map(BTreeMap::keys))
    }

    /// Gives sets of a split producer to an aggregator, in place of whoever has them.
    pub fn give_back(&mut self, to: &Name, sets: &BTreeSet<String>) {
        let Ownership::Split(shares) = self else { return };
        for share in shares.values_mut() {
            share.retain(|set| !sets.contains(set));
        }
        shares.entry(to.clone()).or_default().extend(sets.iter().cloned());
        shares.retain(|_, share| !share.is_empty());
        if shares.len() == 1 {
            *self = Ownership::Whole(to.clone());
        }
    }

    /// The owner of one set; `None` for one of a split producer that nobody has been given yet.
    #[must_use]
    pub fn owner_of(&self, set: &str) -> Option<&Name> {
        match self {
            Ownership::Whole(owner) => Some(owner),
            Ownership::Split(shares) => {
                shares.iter().find(|(_, sets)| sets.contains(set)).map(|(aggregator, _)| aggregator)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_producer_is_collected_by_all_who_have_a_share() {
        let (a, b) = (Name::from("a-1"), Name::from("a-2"));
        let split = Ownership::Split(
            [(a.clone(), ["x".to_owned()].into()), (b.clone(), ["y".to_owned(), "z".to_owned()].into())].into(),
        );
        assert_eq!(split.aggregators().collect::<Vec<_>>(), [&a, &b]);
        assert_eq!((split.owner_of("z"), split.owner_of("new")), (Some(&b), None));
        assert!(split.includes(&a) && split.whole().is_none());
        let whole = Ownership::Whole(a.clone());
        assert_eq!((whole.owner_of("new"), whole.includes(&b)), (Some(&a), false));
    }
}
