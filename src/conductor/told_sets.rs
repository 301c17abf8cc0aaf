//! What several instances tell each other of metric sets, so that whoever leads can balance by them.
//!
//! A sampler's instance tells how many sets it has and what they weigh together, and tells it again when that has
//! changed by more than some percent: tens of thousands of samplers take some dozens of bytes each, and are silent
//! afterwards. A producer so heavy that it may have to be split is told set by set; there are at most some dozens of these
//! for each aggregator. All instances weigh by what is told, also their own samplers, so that another leader comes to the
//! same placement.
//!
//! Only aggregators notice at once that sets appear and vanish, and theirs may be another instance than the sampler's:
//! so an aggregator's instance tells of which producers it sees other sets than are told, and the sampler's asks it.

use std::collections::{BTreeMap, BTreeSet};

use super::Conductor;
use super::council::Hearing;
use super::daemons::DaemonState;
use super::known_sets::{Known, KnownSet, KnownSets};
use super::report::Report;
use super::standing::Part;
use crate::cluster::{AggregatorGroup, Producer};
use crate::ldmsd::observation::{ObservedProducer, ProducerState};
use crate::notation::{Name, NameSet};
use crate::placement::sets::Weight;
use crate::placement::{Load, Ownership};

/// What is this part of an aggregator's even share, or more, is told set by set: less would not be split to even out
/// the loads, or could be left whole without being missed.
const TOLD_SINGLY: usize = 40;
/// It goes on being told so until it is lighter than this part.
const TOLD_AS_ONE_BELOW: usize = 80;
/// From this part on a leader waits for the single sets before it places.
const WAITED_FOR: usize = 20;
/// A weight is told anew when it has changed by more than this part.
const NEWS: usize = 20;
/// A number of sets is found to be another one when it differs by more than this part.
const DIFFERS: usize = 10;
/// A producer whose sets have longer names together is not split among several instances: who has which of them has to
/// stay far below the 1.5 MiB that etcd takes.
const LONGEST_NAMES_BYTES: usize = 400_000;

/// The sets of a sampler as they are told: together, and each where it has to be known.
pub(super) type Told = (Load, BTreeMap<String, (String, Weight)>);

impl Known {
    /// The sets of an own sampler, as the others are told of them.
    fn told(exact: BTreeMap<String, KnownSet>, singly: bool, before: Option<&Known>) -> Known {
        let known = Known::singly(exact);
        let as_before = before.filter(|before| !singly && !before.singly && is_near(before.load, known.load));
        Known { load: as_before.map_or(known.load, |before| before.load), singly, ..known }
    }

    /// What another instance tells.
    fn heard(report: &Report) -> Option<Known> {
        let load = report.sets?;
        let set = |(name, (schema, weight)): (&String, &(String, Weight))| {
            (name.clone(), KnownSet { schema: schema.clone(), weight: *weight })
        };
        Some(Known { sets: report.each.iter().map(set).collect(), load, singly: !report.each.is_empty() })
    }

    fn to_tell(&self) -> Told {
        let each = self.sets.iter().filter(|_| self.singly);
        (self.load, each.map(|(name, set)| (name.clone(), (set.schema.clone(), set.weight))).collect())
    }

    /// Whether these are other sets than are known.
    fn differs_from(&self, found: &ObservedProducer) -> bool {
        if found.state != ProducerState::Connected {
            return false;
        }
        if self.singly {
            found.sets.len() != self.sets.len() || !found.sets.iter().all(|set| self.sets.contains_key(&set.instance))
        } else {
            found.sets.len().abs_diff(self.load.sets) * DIFFERS > self.load.sets.max(found.sets.len())
        }
    }
}

/// Whether a change is no news.
fn is_near(before: Load, now: Load) -> bool {
    before.weight.abs_diff(now.weight).scaled(NEWS, 1) <= before.weight.max(now.weight)
        && before.sets.abs_diff(now.sets) * NEWS <= before.sets.max(now.sets)
}

impl KnownSets {
    /// What all producers of a group weigh, if those of which nothing is known weigh as much as the others.
    fn estimate(&self, config: &AggregatorGroup) -> Weight {
        let known: Vec<Weight> = config
            .producers
            .keys()
            .filter_map(|producer| self.known(producer))
            .map(|known| known.load.weight)
            .collect();
        known.iter().copied().sum::<Weight>().scaled(config.producers.len(), known.len())
    }
}

/// Whether a weight is at least that part of an aggregator's even share.
fn is_part_of_share(weight: Weight, part: usize, total: Weight, config: &AggregatorGroup) -> bool {
    weight.scaled(part * config.aggregators.len(), 1) >= total
}

impl Conductor {
    pub(super) fn is_alone(&self) -> bool {
        self.council.part() == Part::Alone
    }

    /// The sets of an own sampler, as they are weighed from now on.
    pub(super) fn as_told(&self, exact: BTreeMap<String, KnownSet>, before: Option<&Known>) -> Known {
        match self.is_alone() {
            true => Known::singly(exact),
            false => Known::told(exact, before.is_some_and(|before| before.singly), before),
        }
    }

    /// What another instance tells of the sets of a sampler.
    pub(super) fn heard_of_sets(&self, producer: &Producer) -> Option<Known> {
        let report = self.daemons.get(&producer.daemon)?.told.as_ref()?;
        Known::heard(report)
    }

    /// Another instance has the sampler: whether it has told of the sets, or that it does not know of them either.
    pub(super) fn has_heard_of_sets(&self, sampler: &DaemonState) -> bool {
        let told = sampler.told.as_ref().filter(|_| sampler.hearing == Hearing::ByReport);
        told.is_some_and(|told| told.sets.is_some() || told.down.is_some())
    }

    /// What of the sets of a group was told last has changed: which producers are told set by set from now on, and what
    /// the others have to be told.
    pub(super) fn review_told_sets(&mut self, name: &Name, config: &AggregatorGroup, news: &BTreeSet<Name>) {
        if self.is_alone() {
            return;
        }
        let Some(state) = self.groups.get(name) else { return };
        let Some(sets) = &state.sets else { return };
        let total = sets.estimate(config);
        let mut others = Vec::new();
        for producer in config.producers.values().filter(|producer| self.council.has(&producer.daemon)) {
            let Some(known) = sets.known(&producer.name) else { continue };
            let is_split = matches!(state.owners().get(&producer.name), Some(Ownership::Split(_)));
            let part = if known.singly { TOLD_AS_ONE_BELOW } else { TOLD_SINGLY };
            let is_heavy = || is_part_of_share(known.load.weight, part, total, config);
            let is_told_singly = known.sets.len() > 1
                && (is_split || is_heavy())
                && known.sets.iter().map(|(name, set)| name.len() + set.schema.len()).sum::<usize>()
                    <= LONGEST_NAMES_BYTES;
            // Of one that another instance had, the single sets may not be known yet.
            if is_told_singly != known.singly && !known.sets.is_empty() {
                others.push((producer.name.clone(), Known::told(known.sets.clone(), is_told_singly, None)));
            }
        }
        let changed = news.iter().chain(others.iter().map(|(producer, _)| producer));
        let samplers = changed.filter_map(|producer| config.producers.get(producer)).map(|p| p.daemon.clone());
        self.council.changed.extend(samplers);
        if let Some(sets) = self.groups.get_mut(name).and_then(|state| state.sets.as_mut())
            && !others.is_empty()
        {
            sets.learn(others);
        }
    }

    /// Whether a producer is so heavy that its single sets are being told, and they are not yet known.
    pub(super) fn lacks_single_sets(&self, name: &Name, config: &AggregatorGroup) -> bool {
        let sets = self.groups.get(name).and_then(|state| state.sets.as_ref()).filter(|_| !self.is_alone());
        let Some(sets) = sets else { return false };
        let total = sets.estimate(config);
        let mut known = config.producers.keys().filter_map(|producer| sets.known(producer));
        known.any(|known| {
            let is_one = !known.singly && known.load.sets > 1;
            is_one && is_part_of_share(known.load.weight, WAITED_FOR, total, config)
        })
    }

    /// What the others are to know of the sets of a sampler.
    pub(super) fn sets_to_tell(&self, sampler: &Name) -> Option<Told> {
        // A set weighs the same in all groups, unless only their updaters say how often it is fetched.
        let groups = self.relations.collected_by(sampler).iter();
        let mut known = groups.filter_map(|(group, producer)| self.groups.get(group)?.sets.as_ref()?.known(producer));
        known.next().map(Known::to_tell)
    }

    /// The producers of which an aggregator sees other sets than another instance tells.
    pub(super) fn told_otherwise(&self, aggregator: &Name, group: &Name) -> NameSet {
        let sets = self.groups.get(group).and_then(|state| state.sets.as_ref());
        let (Some(sets), Some(config)) = (sets, self.cluster.groups.get(group)) else { return NameSet::default() };
        let shown = self.daemons.get(aggregator).filter(|daemon| daemon.is_connected());
        let shown = shown.into_iter().flat_map(|daemon| &daemon.observed.producers);
        let told_of = shown.filter(|(name, _)| {
            let producer = config.producers.get(*name);
            producer.is_some_and(|producer| !self.council.has(&producer.daemon))
        });
        let differs = told_of.filter(|(name, found)| sets.known(name).is_some_and(|known| known.differs_from(found)));
        differs.map(|(name, _)| name.clone()).collect()
    }

    /// An aggregator's instance sees other sets than were told: the samplers of this one's are asked.
    pub(super) fn look_at_differing(&mut self, aggregator: &Name, before: Option<&Report>, report: &Report) {
        let Some(config) = self.relations.group_of(aggregator).and_then(|group| self.cluster.groups.get(group)) else {
            return;
        };
        let is_new = |producer: &&Name| !before.is_some_and(|before| before.differing.contains(*producer));
        let new = report.differing.iter().filter(is_new).filter_map(|producer| config.producers.get(producer));
        for sampler in new.map(|producer| producer.daemon.clone()).collect::<Vec<_>>() {
            if let Some(daemon) = self.daemons.get_mut(&sampler).filter(|daemon| daemon.is_connected()) {
                daemon.look_again = true;
                self.dirty_daemons.insert(sampler);
            }
        }
    }

    /// The producers of which an aggregator has sets that only together with those of others say who has what: sets of
    /// another's share, and before anything is decided, some that are ready among others that are not.
    pub(super) fn held_in_part(&self, aggregator: &Name) -> BTreeSet<Name> {
        let group = self.relations.group_of(aggregator).and_then(|group| self.groups.get(group));
        let Some(group) = group.filter(|group| group.sets.is_some()) else { return BTreeSet::new() };
        let producers = self.daemons.get(aggregator).map(|daemon| &daemon.observed.producers);
        let started = producers.into_iter().flatten().filter(|(_, found)| found.state.is_started());
        let is_in_part = |(name, found): &(&Name, &ObservedProducer)| {
            if !group.is_placed() {
                let ready = found.ready_sets().count();
                return ready > 0 && ready < found.sets.len();
            }
            let owner = group.owners().get(*name).filter(|owner| owner.whole().is_none());
            owner.is_some_and(|owner| {
                found.ready_sets().any(|set| owner.owner_of(set).is_some_and(|owner| owner != aggregator))
            })
        };
        started.filter(is_in_part).map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::GroupPlan;
    use super::*;

    fn known(producer: usize, sets: usize) -> Known {
        let set = |set| {
            let schema = format!("schema-{set}");
            (format!("node-{producer}/{schema}"), KnownSet { schema, weight: Weight::of(24_576, 1_000_000) })
        };
        Known::singly((0..sets).map(set).collect())
    }

    fn report(known: &Known) -> Report {
        let (load, each) = known.to_tell();
        Report { sets: Some(load), each, ..Report::default() }
    }

    fn bytes(value: &impl serde::Serialize) -> usize {
        serde_json::to_string(value).unwrap().len()
    }

    #[test]
    fn what_is_told_comes_back_as_it_was() {
        for known in [known(1, 3), Known { singly: false, ..known(1, 3) }, known(1, 0)] {
            let text = serde_json::to_string(&report(&known)).unwrap();
            let heard = Known::heard(&serde_json::from_str(&text).unwrap()).unwrap();
            let sets = if known.singly { known.sets.clone() } else { BTreeMap::new() };
            let singly = !sets.is_empty();
            assert_eq!(heard, Known { sets, singly, ..known }, "{text}");
        }
    }

    #[test]
    fn a_weight_is_told_again_only_when_it_has_changed_by_more_than_a_twentieth() {
        let told = Known::told(known(1, 100).sets, false, None);
        for (sets, load) in [(96, told.load), (104, told.load), (94, known(1, 94).load), (107, known(1, 107).load)] {
            assert_eq!(Known::told(known(1, sets).sets, false, Some(&told)).load, load, "{sets}");
            assert_eq!(Known::told(known(1, sets).sets, true, Some(&told)).load, known(1, sets).load);
        }
    }

    /// What 30 000 samplers with 5 sets each and 20 with 400 take in etcd, and the plan of who collects them.
    #[test]
    fn a_large_cluster_takes_little() {
        let light = bytes(&report(&Known { singly: false, ..known(12_345, 5) }));
        let giant = bytes(&report(&known(12_345, 400)));
        let aggregator = |number: usize| Name::from(format!("agg-{}", number % 64));
        let mut plan = GroupPlan::default();
        for producer in 0..30_000 {
            let producer_name = Name::from(format!("node-{producer}-10002"));
            plan.owners.entry(aggregator(producer / 469)).or_default().insert(producer_name);
        }
        for giant in 0..20 {
            let mut shares: BTreeMap<Name, BTreeSet<String>> = BTreeMap::new();
            for (set, name) in known(giant, 400).sets.into_keys().enumerate() {
                shares.entry(aggregator(3 * giant + set % 3)).or_default().insert(name);
            }
            plan.split.insert(Name::from(format!("giant-{giant}-10002")), shares);
        }
        println!("a sampler {light} bytes, a giant {giant}, the plan {}", bytes(&plan));
        assert!(light < 60 && giant < 400 * 60 && bytes(&plan) < 250_000);
    }
}
