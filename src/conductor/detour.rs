//! How an aggregator gives away a part of what it has of a producer without a break in the rest.
//!
//! An ldmsd drops a set only when its producer is let go, and all other sets of the producer with it; those that stay are
//! then not fetched for one to two seconds. So what stays is handed over as well, to an aggregator that has nothing of
//! the producer, and handed back: both are moves like any other, which lose nothing. Where every aggregator has a part
//! of the producer, or one was lost, it goes without; and among several instances, which would have to agree on it.

use std::collections::{BTreeMap, BTreeSet};

use super::Conductor;
use super::daemons::Health;
use super::groups::GroupState;
use super::handover::gifts;
use super::standing::Part;
use crate::cluster::AggregatorGroup;
use crate::notation::Name;
use crate::placement::{Load, Ownership};

/// What is to be done next so that a producer gets its owners.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextOwners {
    /// They can have it.
    Target,
    /// Others have it first.
    Via(Ownership),
    /// Others are about to have it first.
    Wait,
}

impl GroupState {
    /// Who has each producer when what is on its way has arrived.
    pub(super) fn owners_to_be(&self, usable: &BTreeSet<Name>) -> BTreeMap<Name, Ownership> {
        let mut owners = self.owners.clone();
        for (producer, target) in &self.detours {
            if owners.contains_key(producer) && target.aggregators().all(|aggregator| usable.contains(aggregator)) {
                owners.insert(producer.clone(), target.clone());
            }
        }
        owners
    }

    fn is_leaving_somebody(&self, producer: &Name) -> bool {
        self.leaving.keys().any(|(leaving, _)| leaving == producer)
    }
}

impl Conductor {
    /// What is next for a producer that is to be collected by `target` instead of `before`.
    pub(super) fn next_owners(
        &self,
        (group, config): (&Name, &AggregatorGroup),
        producer: &Name,
        before: &Ownership,
        target: &Ownership,
        loads: &BTreeMap<Name, Load>,
    ) -> NextOwners {
        let Some(state) = self.groups.get(group).filter(|state| state.sets.is_some()) else {
            return NextOwners::Target;
        };
        let all_up = |owner: &Ownership| owner.aggregators().all(|aggregator| self.health(aggregator) == Health::Up);
        if self.council.part() != Part::Alone || !all_up(before) || !all_up(target) {
            return NextOwners::Target;
        }
        if state.detours.get(producer) == Some(target) {
            return if state.is_leaving_somebody(producer) { NextOwners::Wait } else { NextOwners::Target };
        }
        let kept = kept_by_givers(before, target);
        // One that could not be moved once is not sent round again.
        if kept.is_empty() || state.pinned.contains_key(producer) {
            return NextOwners::Target;
        }
        let has_none = |aggregator: &&Name| !before.includes(aggregator) && !target.includes(aggregator);
        let is_free = |aggregator: &&Name| {
            has_none(aggregator) && !self.runs(aggregator, producer) && !self.has_namesakes(aggregator, &kept)
        };
        let usable = self.usable(config);
        let free = config.aggregators.iter().filter(|aggregator| usable.contains(*aggregator)).filter(is_free);
        match free.min_by_key(|aggregator| loads.get(*aggregator).map(|load| load.weight)) {
            Some(stopover) => NextOwners::Via(by_way_of(stopover, &kept, target)),
            None => NextOwners::Target,
        }
    }

    /// Whether an aggregator has sets of these names from another producer, beside which it could not have them.
    fn has_namesakes(&self, aggregator: &Name, sets: &BTreeSet<&str>) -> bool {
        let producers = self.daemons.get(aggregator).into_iter().flat_map(|daemon| daemon.observed.producers.values());
        producers.flat_map(|found| &found.sets).any(|set| sets.contains(set.instance.as_str()))
    }

    /// Producers whose former owners have let them go can go on to where they are to be.
    pub(super) fn go_on_with_detours(&mut self, group: &Name) {
        let Some(state) = self.groups.get(group) else { return };
        if state.detours.keys().any(|producer| !state.is_leaving_somebody(producer)) {
            self.dirty_groups.insert(group.clone());
        }
    }
}

/// The sets that stay with those who also give something away.
fn kept_by_givers<'o>(before: &Ownership, target: &'o Ownership) -> BTreeSet<&'o str> {
    let givers: BTreeSet<Name> = gifts(before, target).into_iter().map(|gift| gift.from).collect();
    givers.iter().filter_map(|giver| target.share_of(giver)).flatten().map(String::as_str).collect()
}

/// The owners of a producer while `stopover` has what its givers keep.
fn by_way_of(stopover: &Name, kept: &BTreeSet<&str>, target: &Ownership) -> Ownership {
    let mut via = target.clone();
    via.give_back(stopover, &kept.iter().map(|set| (*set).to_owned()).collect());
    via
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(shares: &[(&str, &[&str])]) -> Ownership {
        let share = |sets: &[&str]| sets.iter().map(|set| (*set).to_owned()).collect();
        Ownership::Split(shares.iter().map(|(owner, sets)| (Name::from(*owner), share(sets))).collect())
    }

    #[test]
    fn what_stays_with_a_giver_goes_by_way_of_another() {
        let stopover = Name::from("c");
        let via = |before: &Ownership, target: &Ownership| {
            let kept = kept_by_givers(before, target);
            (!kept.is_empty()).then(|| by_way_of(&stopover, &kept, target))
        };
        let whole = Ownership::Whole("a".into());
        let target = split(&[("a", &["1", "2"]), ("b", &["3"])]);
        assert_eq!(via(&whole, &target), Some(split(&[("c", &["1", "2"]), ("b", &["3"])])));
        let more = split(&[("a", &["1", "2", "3"]), ("b", &["4"])]);
        assert_eq!(
            via(&more, &split(&[("a", &["1"]), ("b", &["2", "3", "4"])])),
            Some(split(&[("b", &["2", "3", "4"]), ("c", &["1"])]))
        );
        // Who gives everything, or nothing, has nothing to fear.
        assert_eq!(via(&more, &split(&[("b", &["4"]), ("d", &["1", "2", "3"])])), None);
        assert_eq!(via(&target, &whole), None);
        assert_eq!(via(&whole, &Ownership::Whole("b".into())), None);
    }
}
