//! What is known of the metric sets of a group that is balanced by them.
//!
//! Each sampler lists its sets with size and update hint. Some appear and vanish while it runs, of which its
//! configuration counter tells nothing; but the aggregators see their number change within a probe, and then the sampler
//! is asked. What a sampler told last stays as long as it is down: it will be back with the same sets, and nothing is
//! to move meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use super::council::Hearing;
use super::daemons::{DaemonState, Health};
use super::event::{Action, Scope};
use super::{Conductor, Now, Rebalance, Timer};
use crate::cluster::{AggregatorGroup, Producer};
use crate::ldmsd::observation::ProducerState;
use crate::notation::Name;
use crate::placement::sets::Weight;
use crate::placement::{Load, Ownership, SetWeights};

/// How long news of sets are gathered before they are looked at: thousands of samplers tell at the same time.
const GATHER_US: u64 = 200_000;
/// How often a sampler is asked for its sets, at most, because an aggregator sees other ones.
const ASK_AGAIN_US: u64 = 1_000_000;
/// The weight of a set whose sampler cannot be asked where no other is known either.
const ANY_WEIGHT_BYTES: u64 = 1_000;
const SECOND_US: u64 = 1_000_000;

/// A metric set, as its sampler describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownSet {
    /// The name of its schema, empty where it is not known.
    pub(super) schema: String,
    pub(super) weight: Weight,
}

/// What is known of the sets of a producer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The sets whose names are known: all of them, or none.
    pub(super) sets: BTreeMap<String, KnownSet>,
    /// All of them together.
    pub(super) load: Load,
    /// They are weighed one by one. Else they are one thing, which cannot be split.
    pub(super) singly: bool,
}

impl Known {
    /// Sets that are weighed one by one.
    pub(super) fn singly(sets: BTreeMap<String, KnownSet>) -> Known {
        let load = Load { weight: sets.values().map(|set| set.weight).sum(), sets: sets.len() };
        Known { sets, load, singly: true }
    }

    /// What some of the sets weigh, all where none are named.
    pub(super) fn load_of(&self, which: Option<&BTreeSet<String>>) -> Load {
        match which {
            None => self.load,
            Some(which) if self.singly => {
                let sets = self.sets.iter().filter(|(name, _)| which.contains(*name));
                sets.fold(Load::default(), |load, (_, set)| load.and(Load::of(set.weight)))
            }
            Some(which) => Load { weight: self.load.weight.scaled(which.len(), self.load.sets), sets: which.len() },
        }
    }
}

/// The sets of a group.
#[derive(Debug, Default)]
pub(super) struct KnownSets {
    of: BTreeMap<Name, Known>,
    /// Producers of which there may be news.
    stale: BTreeSet<Name>,
    /// When the news are looked at.
    review_us: Option<u64>,
    /// Something has changed since the last placement.
    pub(super) changed: bool,
}

impl KnownSets {
    /// The sets of a producer by their names; `None` while nobody has told of them.
    pub(super) fn of(&self, producer: &Name) -> Option<&BTreeMap<String, KnownSet>> {
        self.of.get(producer).map(|known| &known.sets)
    }

    /// What is known of the sets of a producer; `None` while nobody has told.
    pub(super) fn known(&self, producer: &Name) -> Option<&Known> {
        self.of.get(producer)
    }

    /// Takes over what is known from now on of some producers.
    pub(super) fn learn(&mut self, news: Vec<(Name, Known)>) {
        self.changed = true;
        self.of.extend(news);
    }

    /// The weights of the sets of each producer of a group, given who collects them: of one that is split, and whose sets
    /// are not known one by one, the shares are what is known of them.
    pub(super) fn weights(
        &self,
        config: &AggregatorGroup,
        owners: &BTreeMap<Name, Ownership>,
    ) -> BTreeMap<Name, Option<SetWeights>> {
        let average = self.average();
        let weights = |producer: &Name| -> Option<SetWeights> {
            let known = self.of.get(producer);
            if let Some(known) = known.filter(|known| known.singly) {
                return Some(known.sets.iter().map(|(name, set)| (name.clone(), set.weight)).collect());
            }
            if let Some(Ownership::Split(shares)) = owners.get(producer) {
                let weight = known.map_or(average, |known| known.load.weight.scaled(1, known.load.sets));
                return Some(shares.values().flatten().map(|set| (set.clone(), weight)).collect());
            }
            known.map(|known| (known.load.sets > 0).then(|| (String::new(), known.load.weight)).into_iter().collect())
        };
        config.producers.keys().map(|producer| (producer.clone(), weights(producer))).collect()
    }

    pub(super) fn forget_all_but(&mut self, wanted: &BTreeMap<Name, Producer>) {
        self.of.retain(|producer, _| wanted.contains_key(producer));
        self.stale.extend(wanted.keys().cloned());
        self.review_us = None;
        self.changed = true;
    }

    fn average(&self) -> Weight {
        let all = self.of.values().fold(Load::default(), |all, known| all.and(known.load));
        if all.sets == 0 { Weight::of(ANY_WEIGHT_BYTES, SECOND_US) } else { all.weight.scaled(1, all.sets) }
    }
}

impl DaemonState {
    /// Whether it is asked for its sets.
    fn tells_its_sets(&self) -> bool {
        self.target.sections.samples && self.hearing == Hearing::Directly
    }
}

impl Conductor {
    /// Whether a group is balanced by metric sets: one that collects from samplers only.
    pub(super) fn goes_by_sets(&self, config: &AggregatorGroup) -> bool {
        self.settings.rebalance == Rebalance::Sets
            && config.producers.values().all(|producer| self.relations.group_of(&producer.daemon).is_none())
    }

    /// Whether the sets of a daemon may have to be weighed: it is collected, and does not aggregate itself.
    pub(super) fn is_weighed(&self, daemon: &Name) -> bool {
        self.settings.rebalance == Rebalance::Sets
            && !self.relations.collected_by(daemon).is_empty()
            && self.relations.group_of(daemon).is_none()
    }

    /// Takes note of what daemons have told: samplers of their sets, aggregators of those that they see.
    pub(super) fn note_sets(&mut self, now: Now) {
        for daemon in std::mem::take(&mut self.heard) {
            self.note_news_of(&daemon, now);
            self.compare_with_aggregator(&daemon, now);
        }
    }

    /// There may be news of the sets of a sampler.
    pub(super) fn note_news_of(&mut self, sampler: &Name, now: Now) {
        for (group, producer) in self.relations.collected_by(sampler) {
            let Some(sets) = self.groups.get_mut(group).and_then(|state| state.sets.as_mut()) else { continue };
            sets.stale.insert(producer.clone());
            if sets.review_us.is_none() {
                let at_us = now.mono_us + GATHER_US;
                sets.review_us = Some(at_us);
                self.timers.insert((at_us, Timer::Group(group.clone())));
            }
        }
    }

    /// Asks the samplers of which an aggregator sees other sets than they told of.
    fn compare_with_aggregator(&mut self, aggregator: &Name, now: Now) {
        let Some(state) = self.daemons.get_mut(aggregator) else { return };
        let shown = std::mem::take(&mut state.shown);
        let Some(group) = self.relations.group_of(aggregator) else { return };
        let Some(sets) = self.groups.get(group).and_then(|state| state.sets.as_ref()) else { return };
        let (Some(config), Some(state)) = (self.cluster.groups.get(group), self.daemons.get(aggregator)) else {
            return;
        };
        let differs = |producer: &&Producer| {
            let Some(found) = state.observed.producers.get(&producer.name) else { return false };
            let known = sets.of(&producer.name);
            found.state == ProducerState::Connected
                && (found.sets.len() != known.map_or(0, BTreeMap::len)
                    || !found.sets.iter().all(|set| known.is_some_and(|known| known.contains_key(&set.instance))))
        };
        let shown = shown.iter().filter_map(|name| config.producers.get(name));
        let samplers: Vec<Name> = shown.filter(differs).map(|producer| producer.daemon.clone()).collect();
        for sampler in samplers {
            match self.daemons.get_mut(&sampler).filter(|daemon| daemon.is_up() && daemon.tells_its_sets()) {
                Some(daemon) => {
                    daemon.look_again = true;
                    self.dirty_daemons.insert(sampler);
                }
                // Nobody else tells, or another instance does when it has heard that they differ.
                None => self.note_news_of(&sampler, now),
            }
        }
    }

    /// Looks at the sets of a sampler if an aggregator has seen other ones.
    pub(super) fn look_again(&mut self, name: &Name, now: Now) -> bool {
        let Some(state) = self.daemons.get_mut(name).filter(|state| state.look_again) else { return false };
        let due_us = state.looked_us + ASK_AGAIN_US;
        if state.looked_us > 0 && now.mono_us < due_us {
            self.timers.insert((due_us, Timer::Daemon(name.clone())));
            return false;
        }
        state.look_again = false;
        state.looked_us = now.mono_us;
        state.in_flight = Some(Vec::new());
        let (daemon, session) = (name.clone(), state.session);
        let scope = Scope { plugins: true, ..Scope::default() };
        self.actions.push(Action::Observe { daemon, session, scope });
        true
    }

    /// Whether the sets of a sampler are known as well as they will be.
    pub(super) fn has_told_sets(&self, producer: &Producer) -> bool {
        match self.daemons.get(&producer.daemon) {
            None => true,
            Some(daemon) if !daemon.target.sections.samples => true,
            Some(daemon) if !daemon.tells_its_sets() && !self.is_alone() => self.has_heard_of_sets(daemon),
            Some(daemon) => match daemon.health {
                Health::Unknown => false,
                Health::Up => daemon.configured_once,
                Health::Down => true,
            },
        }
    }

    /// Whether the sets of a group's samplers are known as well as they will be.
    pub(super) fn all_sets_are_known(&mut self, name: &Name, config: &AggregatorGroup) -> bool {
        let all_told = config.producers.values().all(|producer| self.has_told_sets(producer));
        if all_told {
            // There is nothing to gather any more.
            self.take_in_news(name, config);
        }
        all_told && !self.lacks_single_sets(name, config)
    }

    /// Looks at the news of the sets of a group, if there are any and it is time.
    pub(super) fn review_sets(&mut self, name: &Name, config: &AggregatorGroup, now: Now) {
        let sets = self.groups.get(name).and_then(|state| state.sets.as_ref());
        if sets.is_some_and(|sets| sets.review_us.is_none_or(|at_us| now.mono_us >= at_us)) {
            self.take_in_news(name, config);
        }
    }

    fn take_in_news(&mut self, name: &Name, config: &AggregatorGroup) {
        let sets = self.groups.get(name).and_then(|state| state.sets.as_ref());
        let Some(sets) = sets.filter(|sets| !sets.stale.is_empty()) else { return };
        let producers = sets.stale.iter().filter_map(|producer| config.producers.get(producer));
        let news: Vec<(Name, Known)> = producers
            .filter_map(|producer| Some((producer.name.clone(), self.sets_of(sets, config, producer)?)))
            .filter(|(producer, told)| sets.known(producer) != Some(told))
            .collect();
        let producers: BTreeSet<Name> = news.iter().map(|(producer, _)| producer.clone()).collect();
        let Some(sets) = self.groups.get_mut(name).and_then(|state| state.sets.as_mut()) else { return };
        sets.review_us = None;
        sets.stale.clear();
        if !news.is_empty() {
            sets.learn(news);
            // Updaters that name their sets have to name others.
            self.dirty_daemons.extend(config.aggregators.iter().cloned());
            self.review_told_sets(name, config, &producers);
        }
    }

    /// What is to be known of the sets of a producer from now on; `None` if what is known stays.
    fn sets_of(&self, known: &KnownSets, config: &AggregatorGroup, producer: &Producer) -> Option<Known> {
        let sampler = self.daemons.get(&producer.daemon).filter(|daemon| daemon.tells_its_sets());
        let Some(sampler) = sampler else {
            return match self.is_alone() {
                true => self.sets_on_aggregators(known, config, producer).map(Known::singly),
                // What only the aggregators show, no instance knows of all of them.
                false => self.heard_of_sets(producer),
            };
        };
        if !sampler.is_up() || !sampler.configured_once {
            return None;
        }
        let weigh = |(name, set): (&String, &crate::ldmsd::observation::PublishedSet)| {
            let interval_us = set.hint.map(|hint| hint.interval_us);
            let interval_us = interval_us.or_else(|| self.interval_of_plugin(&producer.daemon, name));
            let weight = Weight::of(set.data_size_bytes, interval_us.unwrap_or_else(|| interval_of_updater(config)));
            (name.clone(), KnownSet { schema: set.schema.clone(), weight })
        };
        let sets = sampler.observed.published.iter().map(weigh).collect();
        Some(self.as_told(sets, known.known(&producer.name)))
    }

    /// Without its sampler a set is known by name only, and weighs as much as the others do on average.
    fn sets_on_aggregators(
        &self,
        known: &KnownSets,
        config: &AggregatorGroup,
        producer: &Producer,
    ) -> Option<BTreeMap<String, KnownSet>> {
        let found = config.aggregators.iter().filter_map(|aggregator| {
            let daemon = self.daemons.get(aggregator).filter(|daemon| daemon.is_up())?;
            daemon.observed.producers.get(&producer.name).filter(|found| found.state == ProducerState::Connected)
        });
        let names: BTreeSet<&String> = found.flat_map(|found| &found.sets).map(|set| &set.instance).collect();
        if names.is_empty() {
            return None;
        }
        let weight = known.average();
        let before = known.of(&producer.name);
        let describe = |name: &String| {
            let fresh = || KnownSet { schema: String::new(), weight };
            before.and_then(|before| before.get(name)).cloned().unwrap_or_else(fresh)
        };
        Some(names.into_iter().map(|name| (name.clone(), describe(name))).collect())
    }

    /// How often the plugin that publishes a set samples, by the configuration.
    fn interval_of_plugin(&self, daemon: &Name, set: &str) -> Option<u64> {
        let observed = &self.daemons.get(daemon)?.observed;
        let publishes = |sets: &[crate::ldmsd::observation::ObservedSet]| sets.iter().any(|own| own.instance == set);
        let (instance, _) = observed.plugins.iter().find(|(_, plugin)| publishes(&plugin.sets))?;
        let groups = self.relations.sampler_groups_of(daemon).iter().filter_map(|name| self.cluster.samplers.get(name));
        let plugins = groups.flat_map(|group| &group.plugins).filter_map(|key| self.cluster.plugins.get(key));
        let interval = plugins.into_iter().find(|plugin| plugin.instance == *instance)?.interval.as_ref()?;
        u64::try_from(interval.us()?).ok()
    }
}

/// How often the group fetches what nobody tells the interval of.
fn interval_of_updater(config: &AggregatorGroup) -> u64 {
    let intervals = config.updaters.iter().filter_map(|updater| updater.interval.us());
    intervals.filter_map(|us| u64::try_from(us).ok()).min().unwrap_or(SECOND_US)
}
