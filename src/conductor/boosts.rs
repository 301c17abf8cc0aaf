//! Temporary fast updaters: they shorten the hole after a move.
//!
//! Only an updater's tick looks a set up, and a set is not updated during its first second
//! (operations of a live ldmsd, section 1). An updater of a tenth of a second for just the moved sets, on the
//! new aggregator and on the levels above, makes of several seconds little more than one. It goes as
//! soon as its sets have been updated, and after some seconds in any case.

use std::collections::{BTreeMap, BTreeSet};

use super::handover::Taken;
use super::report::Report;
use super::standing::Part;
use super::{Conductor, Now, Timer};
use crate::desired::BoostConfig;
use crate::notation::Name;
use crate::placement::Ownership;

/// A temporary updater ends so long after its sets became ready: by then they have been updated.
const AFTER_READY_US: u64 = 1_300_000;
/// It ends after so long in any case: a sampler that is down never becomes ready.
const LONGEST_US: u64 = 5_000_000;
/// How often an active one is looked at.
const REVIEW_US: u64 = 100_000;
/// With more sets than this the updater takes all sets of its producers: long expressions cost a
/// daemon more than a few updates too many (section 7).
const MOST_SETS: usize = 500;

/// The temporary updaters that are active.
#[derive(Debug, Default)]
pub(super) struct Boosts {
    active: BTreeMap<Name, Boost>,
    made: u64,
}

#[derive(Debug)]
struct Boost {
    daemon: Name,
    config: BoostConfig,
    end_us: u64,
    ready_since_us: Option<u64>,
}

impl Boosts {
    /// Those of one daemon.
    pub(super) fn of(&self, daemon: &Name) -> Vec<BoostConfig> {
        self.active.values().filter(|boost| boost.daemon == *daemon).map(|boost| boost.config.clone()).collect()
    }

    /// The producers of one daemon that a temporary updater waits for.
    pub(super) fn producers_of<'a>(&'a self, daemon: &'a Name) -> impl Iterator<Item = &'a Name> {
        self.active.values().filter(move |boost| boost.daemon == *daemon).flat_map(|boost| &boost.config.producers)
    }
}

impl Conductor {
    /// After a loss: on the new owner for the producers that it takes, and on the levels above.
    pub(super) fn boost_after_loss(&mut self, from: &Name, to: &Name, taken: &Taken, now: Now) {
        if !taken.producers.is_empty() {
            self.boost(to, taken.producers.iter().cloned().collect(), BTreeSet::new(), now);
        }
        let shares: BTreeSet<String> = taken.shares.values().flatten().cloned().collect();
        self.boost_sets(to, taken.shares.keys().cloned().collect(), &shares, now);
        // Where there are others, the levels above hear of the sets once they are ready.
        if self.council.part() == Part::Alone {
            let mut sets = self.sets_on(from, &taken.producers);
            sets.extend(shares);
            self.boost_above(to, &sets, now);
        }
    }

    /// On every level above an aggregator, for the sets that it tells to have become ready after a loss. Those of a
    /// producer that another still collects cannot be looked up above yet.
    pub(super) fn boost_above_what_became_ready(
        &mut self,
        aggregator: &Name,
        before: Option<&Report>,
        report: &Report,
        now: Now,
    ) {
        let group = self.relations.group_of(aggregator).and_then(|group| self.groups.get(group));
        let Some(group) = group.filter(|group| group.is_placed()) else { return };
        let still_elsewhere: BTreeSet<&Name> = group.leaving.keys().map(|(producer, _)| producer).collect();
        let is_anothers = |producer: &Name, set: &str| {
            let owner = group.owners().get(producer).and_then(|owner| owner.owner_of(set));
            owner.is_some_and(|owner| owner != aggregator)
        };
        let known = before.and_then(|before| before.awaited.as_ref());
        let is_new = |producer: &Name, set: &String| {
            !known.is_some_and(|known| known.ready.get(producer).is_some_and(|sets| sets.contains(set)))
        };
        let told = report.awaited.iter().flat_map(|awaited| &awaited.ready);
        let sets: BTreeSet<String> = told
            .filter(|(producer, _)| !still_elsewhere.contains(producer))
            .flat_map(|(producer, sets)| sets.iter().filter(|set| is_new(producer, set) && !is_anothers(producer, set)))
            .cloned()
            .collect();
        if !sets.is_empty() {
            self.boost_above(aggregator, &sets, now);
        }
    }

    /// After an aggregator has let go a producer to get rid of sets that are another's now: for those that it keeps.
    pub(super) fn boost_share(&mut self, aggregator: &Name, producer: &Name, now: Now) {
        let group = self.relations.group_of(aggregator).and_then(|group| self.groups.get(group));
        let Some(Ownership::Split(shares)) = group.and_then(|state| state.owners().get(producer)) else { return };
        let Some(sets) = shares.get(aggregator).cloned() else { return };
        self.boost_sets(aggregator, [producer.clone()].into(), &sets, now);
        self.boost_above(aggregator, &sets, now);
    }

    /// For exactly these sets of some producers. Too many go without: all sets of a producer that is split are too much.
    fn boost_sets(&mut self, daemon: &Name, producers: BTreeSet<Name>, sets: &BTreeSet<String>, now: Now) {
        if !sets.is_empty() && sets.len() <= MOST_SETS {
            self.boost(daemon, producers, sets.clone(), now);
        }
    }

    /// On every level above `aggregator`, for sets that now reach it by way of `aggregator`.
    pub(super) fn boost_above(&mut self, aggregator: &Name, sets: &BTreeSet<String>, now: Now) {
        if sets.is_empty() && self.council.part() != Part::Alone {
            // Which they are is not known yet, and all sets of the aggregator would be too many.
            return;
        }
        let sets = if sets.len() > MOST_SETS { BTreeSet::new() } else { sets.clone() };
        let mut level = vec![aggregator.clone()];
        let mut visited = BTreeSet::new();
        while let Some(daemon) = level.pop() {
            if !visited.insert(daemon.clone()) {
                continue;
            }
            for (group, producer) in self.relations.collected_by(&daemon).to_vec() {
                let owners = self.owners(&group).and_then(|owners| owners.get(&producer)).cloned();
                for owner in owners.iter().flat_map(Ownership::aggregators) {
                    self.boost(owner, [producer.clone()].into(), sets.clone(), now);
                    level.push(owner.clone());
                }
            }
        }
    }

    fn boost(&mut self, daemon: &Name, producers: BTreeSet<Name>, sets: BTreeSet<String>, now: Now) {
        if !self.daemons.get(daemon).is_some_and(super::daemons::DaemonState::is_connected)
            || self.is_fast_enough(daemon)
        {
            return;
        }
        self.boosts.made += 1;
        // The time makes the name differ from what an earlier maestro may have left behind.
        let number = format!("{}{}-{}", BoostConfig::PREFIX, now.wall_us / 1000, self.boosts.made);
        let name = Name::from(number);
        let config = BoostConfig { name: name.clone(), producers, sets };
        let boost = Boost { daemon: daemon.clone(), config, end_us: now.mono_us + LONGEST_US, ready_since_us: None };
        self.boosts.active.insert(name, boost);
        self.timers.insert((now.mono_us + REVIEW_US, Timer::Boosts));
        self.dirty_daemons.insert(daemon.clone());
    }

    /// Whether the daemon's own updaters are as fast as a temporary one would be.
    fn is_fast_enough(&self, daemon: &Name) -> bool {
        let group = self.relations.group_of(daemon).and_then(|group| self.cluster.groups.get(group));
        let slowest = group.and_then(|group| group.updaters.iter().filter_map(|u| u.interval.us()).max());
        slowest.is_none_or(|interval_us| interval_us <= 2 * BoostConfig::INTERVAL_US)
    }

    pub(super) fn review_boosts(&mut self, now: Now) {
        let mut ended = Vec::new();
        for (name, boost) in &mut self.boosts.active {
            let daemon = self.daemons.get(&boost.daemon).filter(|daemon| daemon.is_connected());
            let ready = daemon.is_some_and(|daemon| boost.is_ready(&daemon.observed));
            boost.ready_since_us = ready.then(|| boost.ready_since_us.unwrap_or(now.mono_us));
            let done = boost.ready_since_us.is_some_and(|since_us| now.mono_us >= since_us + AFTER_READY_US);
            if done || now.mono_us >= boost.end_us || daemon.is_none() {
                ended.push(name.clone());
            }
        }
        for name in ended {
            if let Some(boost) = self.boosts.active.remove(&name) {
                self.dirty_daemons.insert(boost.daemon);
            }
        }
        if !self.boosts.active.is_empty() {
            self.timers.insert((now.mono_us + REVIEW_US, Timer::Boosts));
        }
    }
}

impl Boost {
    fn is_ready(&self, observed: &crate::ldmsd::Observation) -> bool {
        let producers = || self.config.producers.iter().filter_map(|name| observed.producers.get(name));
        if self.config.sets.is_empty() {
            return producers().count() == self.config.producers.len()
                && producers().all(super::super::ldmsd::observation::ObservedProducer::is_ready);
        }
        let ready: BTreeSet<&str> =
            producers().flat_map(|p| &p.sets).filter(|set| set.ready).map(|set| set.instance.as_str()).collect();
        self.config.sets.iter().all(|set| ready.contains(set.as_str()))
    }
}
