//! Temporary fast updaters: they shorten the hole after a move.
//!
//! Only an updater's tick looks a set up, and a set is not updated during its first second
//! (operations of a live ldmsd, section 1). An updater of a tenth of a second for just the moved sets, on the
//! new aggregator and on the levels above, makes of several seconds little more than one. It goes as
//! soon as its sets have been updated, and after some seconds in any case. Where the moved sets are so many that a daemon
//! could not fetch them ten times a second it ticks less often, and where that is no faster than what the daemon has
//! anyhow there is none.

use std::collections::{BTreeMap, BTreeSet};

use super::handover::Taken;
use super::report::Report;
use super::standing::Part;
use super::{Conductor, Now, Timer};
use crate::desired::{BoostConfig, boost_interval_us};
use crate::ldmsd::Observation;
use crate::ldmsd::observation::ObservedProducer;
use crate::notation::Name;
use crate::placement::Ownership;

/// Sets are not updated in their first second; so long and one interval after they became ready, they have been.
const FIRST_UPDATE_US: u64 = 1_195_000;
/// A temporary updater ends after so long in any case, or after some ticks: a sampler that is down never becomes ready.
const LONGEST_US: u64 = 5_000_000;
const MOST_TICKS: u64 = 4;
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

    /// Those of them that are not as it waits for.
    pub(super) fn unready_producers_of<'a>(
        &'a self,
        daemon: &'a Name,
        observed: &'a Observation,
    ) -> impl Iterator<Item = &'a Name> {
        let waiting = self.active.values().filter(move |boost| boost.daemon == *daemon && !boost.is_ready(observed));
        waiting.flat_map(move |boost| {
            let is_ready = |name: &Name| observed.producers.get(name).is_some_and(ObservedProducer::is_ready);
            // To which producers named sets belong is not known before they are there.
            boost.config.producers.iter().filter(move |name| !boost.config.sets.is_empty() || !is_ready(name))
        })
    }
}

impl Conductor {
    /// After a loss: on the new owner for the producers that it takes, and on the levels above.
    pub(super) fn boost_after_loss(&mut self, from: &Name, to: &Name, taken: &Taken, now: Now) {
        if !taken.producers.is_empty() {
            self.boost(to, taken.producers.iter().cloned().collect(), BTreeSet::new(), now);
        }
        self.boost_shares(to, &taken.shares, now);
        let shares: BTreeSet<String> = taken.shares.values().flatten().cloned().collect();
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
        self.boost_shares(aggregator, &[(producer.clone(), sets.clone())].into(), now);
        self.boost_above(aggregator, &sets, now);
    }

    /// For exactly these sets of some producers: all sets of a producer that is split would be too much. Each name is
    /// tried on all sets of all producers of its updater, so that many are divided by producers.
    fn boost_shares(&mut self, daemon: &Name, shares: &BTreeMap<Name, BTreeSet<String>>, now: Now) {
        let sets: BTreeSet<String> = shares.values().flatten().cloned().collect();
        if sets.is_empty() {
            return;
        }
        if sets.len() <= MOST_SETS {
            self.boost(daemon, shares.keys().cloned().collect(), sets, now);
            return;
        }
        for (producer, sets) in shares.iter().filter(|(_, sets)| !sets.is_empty()) {
            self.boost(daemon, [producer.clone()].into(), sets.clone(), now);
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
        if !self.daemons.get(daemon).is_some_and(super::daemons::DaemonState::is_connected) {
            return;
        }
        let offered: usize = producers.iter().map(|producer| self.sets_below(daemon, producer)).sum();
        let interval_us = boost_interval_us(sets.len(), offered.max(sets.len()));
        if self.is_fast_enough(daemon, interval_us) {
            return;
        }
        self.boosts.made += 1;
        // The time makes the name differ from what an earlier maestro may have left behind.
        let number = format!("{}{}-{}", BoostConfig::PREFIX, now.wall_us / 1000, self.boosts.made);
        let name = Name::from(number);
        let config = BoostConfig { name: name.clone(), producers, sets, interval_us };
        let end_us = now.mono_us + LONGEST_US.max(MOST_TICKS * config.interval_us.unsigned_abs());
        let boost = Boost { daemon: daemon.clone(), config, end_us, ready_since_us: None };
        self.boosts.active.insert(name, boost);
        self.timers.insert((now.mono_us + REVIEW_US, Timer::Boosts));
        self.dirty_daemons.insert(daemon.clone());
    }

    /// How many sets a producer offers, as far as they have been seen: by the one who had it where the new one has not yet.
    pub(super) fn sets_below(&self, aggregator: &Name, producer: &Name) -> usize {
        let group = self.relations.group_of(aggregator).and_then(|group| self.cluster.groups.get(group));
        let daemons = group.into_iter().flat_map(|group| &group.aggregators).filter_map(|name| self.daemons.get(name));
        daemons.map(|daemon| daemon.count_offered(producer)).max().unwrap_or(0)
    }

    /// Whether the daemon's own updaters are as fast as a temporary one would be.
    fn is_fast_enough(&self, daemon: &Name, boost_interval_us: i64) -> bool {
        let group = self.relations.group_of(daemon).and_then(|group| self.cluster.groups.get(group));
        let slowest = group.and_then(|group| group.updaters.iter().filter_map(|u| u.interval.us()).max());
        slowest.is_none_or(|interval_us| interval_us <= boost_interval_us.saturating_mul(2))
    }

    pub(super) fn review_boosts(&mut self, now: Now) {
        let mut ended = Vec::new();
        for (name, boost) in &mut self.boosts.active {
            let daemon = self.daemons.get(&boost.daemon).filter(|daemon| daemon.is_connected());
            let ready = daemon.is_some_and(|daemon| boost.is_ready(&daemon.observed));
            boost.ready_since_us = ready.then(|| boost.ready_since_us.unwrap_or(now.mono_us));
            let updated_us = FIRST_UPDATE_US + boost.config.interval_us.unsigned_abs();
            let done = boost.ready_since_us.is_some_and(|since_us| now.mono_us >= since_us + updated_us);
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
    fn is_ready(&self, observed: &Observation) -> bool {
        let producers = || self.config.producers.iter().filter_map(|name| observed.producers.get(name));
        if self.config.sets.is_empty() {
            return producers().count() == self.config.producers.len() && producers().all(ObservedProducer::is_ready);
        }
        let ready: BTreeSet<&str> =
            producers().flat_map(|p| &p.sets).filter(|set| set.ready).map(|set| set.instance.as_str()).collect();
        self.config.sets.iter().all(|set| ready.contains(set.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Event, Observed, Settings};
    use super::*;
    use crate::ldmsd::Numbering;
    use crate::spec;

    const NOW: Now = Now { mono_us: 1_000_000, wall_us: 1_000_000 };

    /// A conductor with two aggregators that fetch at an interval, both up.
    fn conductor(interval: &str) -> Conductor {
        let yaml = format!(
            "daemons:
  - {{ names: 's-[1-3]', hosts: 'n-[1-3]', endpoints: [ {{ names: 's-[1-3]-ep', ports: '411', xprt: sock }} ] }}
  - {{ names: 'a-[1-2]', hosts: 'a-[1-2]', endpoints: [ {{ names: 'a-[1-2]-ep', ports: '412', xprt: sock, maestro_comm: true }} ] }}
aggregators:
  - daemons: 'a-[1-2]'
    peers: [ {{ endpoints: 's-[1-3]-ep', reconnect: 1s, type: active, updaters: [ {{ mode: pull, interval: {interval} }} ] }} ]
"
        );
        let mut conductor = Conductor::new(Settings::default());
        conductor.handle(Event::Configured(Arc::new(spec::read_cluster("boosts.yaml", &yaml).0.unwrap())), NOW);
        for daemon in ["a-1", "a-2"] {
            let (daemon, observed) = (Name::from(daemon), Observed::default());
            let up = Event::Up { daemon, session: 1, pid: None, numbering: Numbering::V45, observed };
            conductor.handle(up, NOW);
        }
        conductor
    }

    fn share(producer: &str, sets: usize) -> (Name, BTreeSet<String>) {
        (producer.into(), (0..sets).map(|set| format!("{producer}/{set}")).collect())
    }

    /// The temporary updaters of an aggregator that takes shares over from a lost one: producers, number of sets.
    fn made(interval: &str, shares: &[(Name, BTreeSet<String>)]) -> Vec<(String, usize)> {
        let mut conductor = conductor(interval);
        let taken = Taken { shares: shares.iter().cloned().collect(), ..Taken::default() };
        conductor.boost_after_loss(&"a-2".into(), &"a-1".into(), &taken, NOW);
        let boosts = conductor.boosts.of(&"a-1".into());
        let producers = |boost: &BoostConfig| boost.producers.iter().map(Name::as_str).collect::<Vec<_>>().join(" ");
        boosts.iter().map(|boost| (producers(boost), boost.sets.len())).collect()
    }

    #[test]
    fn a_share_of_few_sets_and_one_of_many_are_both_fetched_at_once() {
        let few = [share("s-1-ep", 3), share("s-2-ep", 4)];
        assert_eq!(made("20s", &few), [("s-1-ep s-2-ep".to_owned(), 7)]);
        let many = [share("s-1-ep", 600), share("s-2-ep", 900)];
        assert_eq!(made("20s", &many), [("s-1-ep".to_owned(), 600), ("s-2-ep".to_owned(), 900)]);
    }

    #[test]
    fn what_could_not_be_fetched_faster_than_usual_is_left_to_the_usual_updaters() {
        let many = [share("s-1-ep", 9_000)];
        assert_eq!(made("20s", &many).len(), 1);
        assert!(made("1s", &many).is_empty());
    }
}
