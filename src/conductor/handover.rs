//! From who collects what to who is to collect it: what moves, what waits, who has to be told.

use std::collections::{BTreeMap, BTreeSet};

use super::daemons::Health;
use super::detour::NextOwners;
use super::notice::Notice;
use super::takeover::Leaving;
use super::{Conductor, Now};
use crate::notation::Name;
use crate::placement::{Load, Ownership};

/// Producers of a group that are handed over at the same time, at most.
const HANDED_OVER_AT_ONCE: usize = 500;

/// What one aggregator has to give to another of a producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gift {
    pub(super) from: Name,
    pub(super) to: Name,
    /// These sets; `None` for all that the producer has.
    pub(super) sets: Option<BTreeSet<String>>,
}

/// What a new owner takes over from a lost one.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Producers as a whole.
    pub(super) producers: Vec<Name>,
    /// Sets of others.
    pub(super) shares: BTreeMap<Name, BTreeSet<String>>,
}

impl Taken {
    pub(super) fn count(&self) -> usize {
        self.producers.len() + self.shares.len()
    }

    pub(super) fn add(&mut self, producer: &Name, sets: Option<BTreeSet<String>>) {
        match sets {
            None => self.producers.push(producer.clone()),
            Some(sets) => self.shares.entry(producer.clone()).or_default().extend(sets),
        }
    }
}

impl Conductor {
    /// Makes `target` the owners of a group's producers. Whoever gives something away goes on with it until its new owner
    /// is ready; what a lost aggregator had is taken over at once.
    pub(super) fn hand_over(&mut self, name: &Name, target: BTreeMap<Name, Ownership>, nobody_left: bool, now: Now) {
        let Some(state) = self.groups.get(name) else { return };
        let by_sets = state.sets.is_some();
        let mut lost_to: BTreeMap<(Name, Name), Taken> = BTreeMap::new();
        let mut moving: BTreeMap<(Name, Name), (BTreeSet<Name>, Load)> = BTreeMap::new();
        let mut moved = BTreeSet::new();
        let mut owners = state.owners().clone();
        let mut leaving = state.leaving.clone();
        let mut detours = state.detours.clone();
        detours
            .retain(|producer, arrival| target.get(producer) == Some(arrival) && owners.get(producer) != Some(arrival));
        let cluster = std::sync::Arc::clone(&self.cluster);
        let config = cluster.groups.get(name);
        let loads = config.and_then(|config| self.loads_by_sets(name, config)).unwrap_or_default();
        for (producer, mut to) in target {
            let before = owners.get(&producer);
            if before == Some(&to) {
                continue;
            }
            let next =
                before.zip(config).map(|(b, config)| self.next_owners((name, config), &producer, b, &to, &loads));
            let arrival = match next {
                Some(NextOwners::Wait) => continue,
                Some(NextOwners::Via(owners)) => Some(std::mem::replace(&mut to, owners)),
                Some(NextOwners::Target) | None => None,
            };
            let gifts = before.map(|before| gifts(before, &to)).unwrap_or_default();
            let (planned, lost): (Vec<Gift>, Vec<Gift>) =
                gifts.into_iter().partition(|gift| self.health(&gift.from) == Health::Up);
            let pinned = state.pinned.get(&producer).is_some_and(|until| now.mono_us < *until);
            if lost.is_empty() && !planned.is_empty() && (pinned || leaving.len() >= HANDED_OVER_AT_ONCE) {
                continue;
            }
            match arrival {
                Some(arrival) => drop(detours.insert(producer.clone(), arrival)),
                None => drop(detours.remove(&producer)),
            }
            for aggregator in to.aggregators() {
                leaving.remove(&(producer.clone(), aggregator.clone()));
            }
            for gift in planned.into_iter().filter(|gift| self.runs(&gift.from, &producer)) {
                let part = before.and_then(|before| before.share_of(&gift.from)).cloned();
                leaving.insert((producer.clone(), gift.from.clone()), Leaving::since(now, true).of_part(part));
                let load = self.weigh(name, &producer, gift.sets.as_ref());
                let (producers, moving) = moving.entry((gift.from, gift.to)).or_default();
                producers.insert(producer.clone());
                *moving = moving.and(load);
            }
            for gift in lost {
                lost_to.entry((gift.from, gift.to)).or_default().add(&producer, gift.sets);
            }
            owners.insert(producer.clone(), to);
            moved.insert(producer);
        }
        leaving.retain(|(_, from), _| self.health(from) == Health::Up);
        for (_, leaving) in leaving.iter_mut().filter(|((producer, _), _)| moved.contains(producer)) {
            leaving.wait_anew(now);
        }
        let mut lost = Vec::new();
        if let Some(state) = self.groups.get_mut(name) {
            lost = state.take_over(owners, leaving);
            state.detours = detours;
        }
        for ((from, to), (producers, load)) in moving {
            let load = by_sets.then_some(load);
            self.report(Notice::Moving { from, to, producers: producers.len(), load });
        }
        self.tell_losses(name, lost, &lost_to, nobody_left);
        for ((from, to), taken) in lost_to {
            self.boost_after_loss(&from, &to, &taken, now);
        }
    }
}

/// What has to go from one aggregator to another so that a producer is collected by `after` instead of `before`.
pub(super) fn gifts(before: &Ownership, after: &Ownership) -> Vec<Gift> {
    let gift = |from: &Name, to: &Name, sets| Gift { from: from.clone(), to: to.clone(), sets };
    match (before, after) {
        (Ownership::Whole(from), Ownership::Whole(to)) if from != to => vec![gift(from, to, None)],
        (Ownership::Whole(_), Ownership::Whole(_)) => Vec::new(),
        (Ownership::Whole(from), Ownership::Split(shares)) => {
            let given = shares.iter().filter(|(to, _)| *to != from);
            given.map(|(to, sets)| gift(from, to, Some(sets.clone()))).collect()
        }
        (Ownership::Split(shares), after) => {
            let mut given: BTreeMap<(&Name, &Name), BTreeSet<String>> = BTreeMap::new();
            for (from, set) in shares.iter().flat_map(|(from, sets)| sets.iter().map(move |set| (from, set))) {
                if let Some(to) = after.owner_of(set).filter(|to| *to != from) {
                    given.entry((from, to)).or_default().insert(set.clone());
                }
            }
            given.into_iter().map(|((from, to), sets)| gift(from, to, Some(sets))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(shares: &[(&str, &[&str])]) -> Ownership {
        let share = |sets: &[&str]| sets.iter().map(|set| (*set).to_owned()).collect();
        Ownership::Split(shares.iter().map(|(owner, sets)| (Name::from(*owner), share(sets))).collect())
    }

    fn told(before: &Ownership, after: &Ownership) -> Vec<String> {
        let text = |gift: Gift| {
            let sets = gift.sets.map_or("all".to_owned(), |sets| sets.into_iter().collect::<Vec<_>>().join("+"));
            format!("{} > {}: {sets}", gift.from, gift.to)
        };
        gifts(before, after).into_iter().map(text).collect()
    }

    #[test]
    fn only_sets_whose_owner_changes_are_given_away() {
        let whole = Ownership::Whole("a".into());
        assert_eq!(told(&whole, &Ownership::Whole("b".into())), ["a > b: all"]);
        assert_eq!(told(&whole, &split(&[("a", &["1", "2"]), ("b", &["3"])])), ["a > b: 3"]);
        let before = split(&[("a", &["1", "2"]), ("b", &["3", "4"])]);
        assert_eq!(
            told(&before, &split(&[("a", &["1", "3"]), ("c", &["2", "4"])])),
            ["a > c: 2", "b > a: 3", "b > c: 4"]
        );
        assert_eq!(told(&before, &whole), ["b > a: 3+4"]);
        assert_eq!(told(&before, &split(&[("a", &["1", "2", "5"]), ("b", &["3"])])), [""; 0], "sets came and went");
    }
}
