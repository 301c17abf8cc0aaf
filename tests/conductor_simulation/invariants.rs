//! What must hold in every world: some of it at each step, the rest once the faults have ended.

use std::collections::{BTreeMap, BTreeSet};

use maestro::cluster::AggregatorGroup;
use maestro::conductor::{Notice, Rebalance};
use maestro::desired::{BoostConfig, Change, Subject};
use maestro::ldmsd::observation::{ObservedProducer, ObservedUpdater};
use maestro::ldmsd::status::PluginStatus;
use maestro::ldmsd::{Attribute, Observation, Verb, status};
use maestro::notation::Name;
use maestro::placement::{Ownership, home_blocks};

use super::agent::PROBE_DEADLINE_US;
use super::history::Sent;
use super::world::{Happening, MS_US, SECOND_US, World};

/// Starts on the survivors are on their way so soon after a loss is known; and have arrived so much later.
const TAKEOVER_US: u64 = 50 * MS_US;
const ARRIVAL_US: u64 = 5 * MS_US;
/// What hung must be collected elsewhere after the probe's deadline and this.
const AFTER_DEADLINE_US: u64 = 2 * SECOND_US;
/// An aggregator that was disturbed may be waiting for trust for so long.
const LONGEST_TRUST_DELAY_US: u64 = 310 * SECOND_US;

/// The truth about daemons, which maestro has to find out.
impl World {
    pub(crate) fn producers_on(&mut self, aggregator: &Name) -> BTreeMap<Name, ObservedProducer> {
        let text = self.ask(aggregator, Verb::PrdcrStatus);
        text.map(|text| Observation::producers_from(status::parse(&text).unwrap())).unwrap_or_default()
    }

    pub(crate) fn updaters_on(&mut self, aggregator: &Name) -> BTreeMap<Name, ObservedUpdater> {
        let text = self.ask(aggregator, Verb::UpdtrStatus);
        text.map(|text| Observation::updaters_from(status::parse(&text).unwrap(), Vec::new())).unwrap_or_default()
    }

    /// The producers that a daemon has started and that an updater there is for.
    pub(crate) fn collected_on(&mut self, aggregator: &Name) -> BTreeSet<Name> {
        let listed: BTreeSet<Name> =
            self.updaters_on(aggregator).into_values().flat_map(|found| found.producers).collect();
        let started = self.producers_on(aggregator).into_iter().filter(|(_, found)| found.state.is_started());
        started.map(|(producer, _)| producer).filter(|producer| listed.contains(producer)).collect()
    }

    /// The plugin instances that a daemon has loaded.
    pub(crate) fn plugins_on(&mut self, daemon: &Name) -> Vec<String> {
        let text = self.ask(daemon, Verb::PlugnStatus).unwrap_or_default();
        status::parse::<Vec<PluginStatus>>(&text).unwrap().into_iter().map(|plugin| plugin.name).collect()
    }

    fn ask(&mut self, daemon: &Name, verb: Verb) -> Option<String> {
        let host = self.host(daemon).to_owned();
        self.network.request(&host, &maestro::ldmsd::Command::new(verb))?.text
    }

    /// Whether a daemon could carry out what it is told just now.
    fn is_well(&self, daemon: &Name) -> bool {
        self.is_up(daemon) && !self.is_hung(daemon) && !self.is_cut(daemon) && !self.refusing.contains_key(daemon)
    }

    /// The steps between the samples of each set that reaches the first level, by the host of its sampler.
    fn group_of(&self, aggregator: &Name) -> Option<(Name, AggregatorGroup)> {
        let found = self.cluster.groups.iter().find(|(_, group)| group.aggregators.contains(aggregator));
        found.map(|(name, group)| (name.clone(), group.clone()))
    }

    pub(crate) fn homes(&self, group: &AggregatorGroup) -> BTreeMap<Name, Name> {
        let producers: Vec<Name> = group.producers.keys().cloned().collect();
        home_blocks(&producers, &group.aggregators)
    }

    /// Who collects each producer, by its group and name.
    pub(crate) fn owners(&self) -> BTreeMap<(Name, Name), Ownership> {
        let mut all = BTreeMap::new();
        for group in self.cluster.groups.keys() {
            let owners = self.conductor().and_then(|conductor| conductor.owners(group));
            let owners = owners.into_iter().flatten();
            all.extend(owners.map(|(producer, owner)| ((group.clone(), producer.clone()), owner.clone())));
        }
        all
    }

    /// A daemon has a producer with another reconnect interval than the configuration: it has to be made anew.
    pub(crate) fn has_other_attributes(&mut self, aggregator: &Name, producer: &Name, group: &AggregatorGroup) -> bool {
        let wanted = &group.producers[producer];
        let adds = |sent: &&Sent| {
            let is_add = sent.daemon == *aggregator && sent.command.verb == Verb::PrdcrAdd;
            is_add && sent.command.get(Attribute::Name) == Some(producer)
        };
        let perm = wanted.perm.map(|perm| perm.to_string());
        if self.history.commands_since(0).find(adds).is_some_and(|s| s.command.get(Attribute::Perm) != perm.as_deref())
        {
            return true;
        }
        let wanted_us = wanted.reconnect.us().and_then(|us| u64::try_from(us).ok());
        self.producers_on(aggregator).get(producer).is_some_and(|found| found.reconnect_us != wanted_us)
    }

    pub(crate) fn violation(&mut self, text: String) {
        let text = format!("after {:.3} s: {text}", self.seconds());
        self.history.log(self.network.now_us, || format!("!!! {text}"));
        self.history.violations.push(text);
    }
}

/// Checked while faults happen.
impl World {
    /// A producer is stopped only where nothing is collected, or where somebody else collects it already; and one that
    /// is at home on an aggregator that stayed up is never stopped, unless it has to be made anew.
    pub(crate) fn check_stops(&mut self, aggregator: &Name, changes: &[Change]) {
        let stops: Vec<&Name> = changes
            .iter()
            .filter_map(|change| match &change.subject {
                Subject::ProducerStopped(producer) => Some(producer),
                _ => None,
            })
            .collect();
        if stops.is_empty() {
            return;
        }
        let Some((_, group)) = self.group_of(aggregator) else { return };
        if self.goes_by_sets(&group) {
            for producer in stops {
                self.check_stop_by_sets(aggregator, producer, &group);
            }
            return;
        }
        let homes = self.homes(&group);
        let collected = self.collected_on(aggregator);
        for producer in stops {
            let Some(home) = homes.get(producer) else { continue };
            let only_stands_by = self.settings.standby && !collected.contains(producer);
            if only_stands_by || self.has_other_attributes(aggregator, producer, &group) {
                continue;
            }
            let now_us = self.now_us();
            if home == aggregator && self.history.undisturbed_since(home, now_us.saturating_sub(LONGEST_TRUST_DELAY_US))
            {
                self.violation(format!("{producer} is stopped at home on {aggregator}, which stayed up"));
            }
            let source = group.producers[producer].daemon.clone();
            let is_silent = !self.is_up(&source) || self.is_hung(&source);
            if is_silent || !self.collects(aggregator, producer) {
                continue;
            }
            let others: Vec<Name> = group.aggregators.iter().filter(|other| *other != aggregator).cloned().collect();
            let just_lost = now_us.saturating_sub(PROBE_DEADLINE_US + 2 * SECOND_US);
            let somebody = others
                .iter()
                .any(|other| self.collects(other, producer) || !self.history.undisturbed_since(other, just_lost));
            if !somebody {
                self.violation(format!("{producer} is stopped on {aggregator} while nobody else collects it"));
            }
        }
    }

    /// Whether samples of a producer have reached an aggregator just now.
    fn collects(&mut self, aggregator: &Name, producer: &Name) -> bool {
        let found = self.producers_on(aggregator).remove(producer);
        if self.is_hung(aggregator) || found.is_none_or(|found| found.ready_sets().next().is_none()) {
            return false;
        }
        let now_us = self.now_us();
        let host = self.host(aggregator);
        let last_us = self.history.collected_us.get(&(host.to_owned(), producer.to_string()));
        last_us.is_some_and(|last_us| now_us - last_us < 5 * SECOND_US / 2 + self.slowest_us())
    }

    /// After a loss, the survivors begin to collect at once.
    pub(crate) fn expect_takeover(&mut self, lost: &Name, before: &BTreeMap<(Name, Name), Ownership>) {
        let taken: Vec<(Name, Name, Name)> = self
            .owners()
            .into_iter()
            .filter(|(key, owner)| before.get(key).is_some_and(|owner| owner.includes(lost)) && !owner.includes(lost))
            .flat_map(|((group, producer), owner)| {
                let to: Vec<Name> = owner.aggregators().cloned().collect();
                to.into_iter().map(move |to| (group.clone(), producer.clone(), to))
            })
            .collect();
        if !taken.is_empty() {
            let at_us = self.now_us() + TAKEOVER_US + ARRIVAL_US;
            self.at(at_us, Happening::TakeoverDue { taken });
        }
    }

    pub(crate) fn check_takeover(&mut self, taken: &[(Name, Name, Name)]) {
        let owners = self.owners();
        let recently_us = self.now_us() - 5 * SECOND_US;
        for (group, producer, to) in taken {
            let owner = owners.get(&(group.clone(), producer.clone()));
            let still = owner.is_some_and(|owner| owner.includes(to));
            let could = still && self.is_well(to) && self.history.undisturbed_since(to, recently_us);
            if could && !self.collected_on(to).contains(producer) {
                self.violation(format!("{producer} is not collected on {to} within 50 ms of the loss"));
            }
        }
    }

    /// Once an aggregator hangs: its producers run elsewhere soon.
    pub(crate) fn expect_replacement(&mut self, hung: &Name) {
        let Some((group, config)) = self.group_of(hung) else { return };
        let settled_us = self.now_us() - 20 * SECOND_US;
        let is_asked_at_length = self.agent_of(hung).is_none_or(|agent| agent.awaits_at_length());
        let others = config.aggregators.iter().filter(|other| *other != hung);
        let ready = others.into_iter().any(|other| self.is_well(other));
        if ready && self.history.maestro_started_us < settled_us && !is_asked_at_length && self.is_well(hung) {
            let at_us = self.now_us() + PROBE_DEADLINE_US + AFTER_DEADLINE_US;
            let hung_us = self.now_us();
            self.at(at_us, Happening::ReplacementDue { group, hung: hung.clone(), hung_us });
        }
    }

    pub(crate) fn check_replacement(&mut self, group: &Name, hung: &Name, hung_us: u64) {
        let Some(config) = self.cluster.groups.get(group).cloned() else { return };
        let quiet_us = hung_us - 20 * SECOND_US;
        let others: Vec<Name> = config.aggregators.iter().filter(|other| *other != hung).cloned().collect();
        let undisturbed = |other: &Name| self.history.undisturbed_since(other, quiet_us);
        let applies = self.history.maestro_started_us < hung_us
            && self.conductor().is_some()
            && self.history.disturbed_us.get(hung) == Some(&hung_us)
            && self.history.configured_us < quiet_us
            && others.iter().all(undisturbed);
        if !applies {
            return;
        }
        let mut running = BTreeSet::new();
        for other in &others {
            running.extend(self.collected_on(other));
        }
        let missing: Vec<&Name> = config.producers.keys().filter(|producer| !running.contains(*producer)).collect();
        if !missing.is_empty() {
            self.violation(format!("{hung} hangs, and {missing:?} do not run elsewhere"));
        }
    }

    /// A refusal is told once.
    pub(crate) fn check_notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Refused { daemon, subject, code, .. } => {
                let key = (daemon.clone(), subject.clone());
                // An updater for parts comes and goes with them, and each time it is another one.
                let comes_and_goes = self.board.is_some() && self.settings.rebalance == Rebalance::Sets;
                let is_another = comes_and_goes && matches!(subject, Subject::Updater(_));
                if self.history.told.insert(key, *code) == Some(*code) && !is_another {
                    self.violation(format!("told again: {notice}"));
                }
            }
            // Another move is another stop.
            Notice::Moving { from, .. } => {
                let is_stop = |subject: &Subject| matches!(subject, Subject::ProducerStopped(_));
                self.history.told.retain(|(daemon, subject), _| daemon != from || !is_stop(subject));
            }
            Notice::Accepted { daemon, subject } => {
                self.history.told.remove(&(daemon.clone(), subject.clone()));
            }
            _ => {}
        }
    }
}

/// Checked once faults have ended.
impl World {
    /// What is not as the configuration says, with all daemons up.
    pub(crate) fn faults_of_state(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        for group in self.cluster.groups.clone().values() {
            self.check_placement(group, &mut faults);
            for aggregator in &group.aggregators {
                self.check_aggregator(group, aggregator, &mut faults);
            }
        }
        for sampler in self.cluster.samplers.clone().values() {
            for daemon in &sampler.daemons {
                for plugin in &sampler.plugins {
                    self.check_sampler(daemon, plugin, &mut faults);
                }
            }
        }
        faults
    }

    fn check_placement(&mut self, group: &AggregatorGroup, faults: &mut Vec<String>) {
        if self.goes_by_sets(group) {
            self.check_sets(group, faults);
            return;
        }
        let homes = self.homes(group);
        if self.keeps_standbys(group) {
            self.check_standbys(group, faults);
        }
        for aggregator in &group.aggregators {
            let producers = self.producers_on(aggregator);
            for (producer, found) in producers.iter().filter(|(_, found)| !found.is_advertised()) {
                let at_home = homes.get(producer) == Some(aggregator);
                if !at_home && self.keeps_standbys(group) {
                    continue;
                }
                if found.state.is_started() != at_home {
                    let state = found.state;
                    faults.push(format!("{producer} on {aggregator} is {state:?}, at home {at_home}"));
                } else if at_home && !found.is_ready() {
                    faults.push(format!("{producer} on {aggregator} is not ready: {found:?}"));
                }
            }
            for producer in group.producers.keys().filter(|producer| !producers.contains_key(*producer)) {
                faults.push(format!("{producer} is not on {aggregator}"));
            }
        }
        if !group.listeners.is_empty() {
            self.check_advertised(group, faults);
        }
    }

    /// Daemons that advertise themselves are each collected once, and the loads differ by one at most.
    fn check_advertised(&mut self, group: &AggregatorGroup, faults: &mut Vec<String>) {
        let mut owners: BTreeMap<Name, Vec<&Name>> = BTreeMap::new();
        let mut loads = Vec::new();
        for aggregator in &group.aggregators {
            let producers = self.producers_on(aggregator);
            loads.push(producers.values().filter(|found| found.state.is_started()).count());
            for (producer, found) in producers.into_iter().filter(|(_, found)| found.is_advertised()) {
                let owners = owners.entry(producer).or_default();
                if found.state.is_started() && found.is_ready() {
                    owners.push(aggregator);
                }
            }
        }
        for (producer, owners) in owners.iter().filter(|(_, owners)| owners.len() != 1) {
            faults.push(format!("{producer} is collected by {owners:?}"));
        }
        let advertisers = self.cluster.samplers.values().flat_map(|group| &group.advertisers);
        let expected: BTreeSet<&Name> = advertisers.flat_map(|advertiser| &advertiser.daemons).collect();
        if owners.len() < expected.len() {
            faults.push(format!("{} of {} daemons advertise themselves", owners.len(), expected.len()));
        }
        if loads.iter().max() > loads.iter().min().map(|least| least + 1).as_ref() {
            faults.push(format!("the loads are {loads:?}"));
        }
    }

    fn check_aggregator(&mut self, group: &AggregatorGroup, aggregator: &Name, faults: &mut Vec<String>) {
        let updaters = self.updaters_on(aggregator);
        for (name, found) in &updaters {
            if name.starts_with(BoostConfig::PREFIX) || !found.running {
                faults.push(format!("{aggregator} has a leftover: {name} {found:?}"));
            }
        }
        if self.goes_by_sets(group) && (self.board.is_some() || self.keeps_standbys(group)) {
            self.check_updaters_of_parts(group, aggregator, &updaters, faults);
        } else {
            self.check_updaters(group, aggregator, &updaters, faults);
        }
        let text = self.ask(aggregator, Verb::StrgpStatus).unwrap_or_default();
        let policies = Observation::policies_from(status::parse(&text).unwrap());
        for name in group.stores.keys() {
            if !policies.get(name).is_some_and(|policy| policy.running) {
                faults.push(format!("{aggregator} does not run the policy {name}"));
            }
        }
    }

    fn check_updaters(
        &self,
        group: &AggregatorGroup,
        aggregator: &Name,
        updaters: &BTreeMap<Name, ObservedUpdater>,
        faults: &mut Vec<String>,
    ) {
        if updaters.len() != group.updaters.len() {
            faults.push(format!("{aggregator} has {} updaters instead of {}", updaters.len(), group.updaters.len()));
        }
        for updater in &group.updaters {
            let wanted_us = updater.interval.us().unwrap();
            let homes = self.homes(group);
            let names_some = self.keeps_standbys(group);
            let is_for = |producer: &&Name| !names_some || homes[*producer] == *aggregator;
            let producers: BTreeSet<Name> = group.producers.keys().filter(is_for).cloned().collect();
            // Those that advertised themselves are in it as well.
            let listens = !group.listeners.is_empty();
            let covers = |found: &BTreeSet<Name>| *found == producers || (listens && found.is_superset(&producers));
            if !updaters.values().any(|found| found.interval_us == wanted_us && covers(&found.producers)) {
                faults.push(format!("{aggregator} has no updater as {}: {updaters:?}", updater.name));
            }
        }
    }

    /// Among several instances, and with standbys, each part of a producer has an updater of its own, beside that of all
    /// other producers, or of those that do not stand by.
    fn check_updaters_of_parts(
        &self,
        group: &AggregatorGroup,
        aggregator: &Name,
        updaters: &BTreeMap<Name, ObservedUpdater>,
        faults: &mut Vec<String>,
    ) {
        let owners = self.owners();
        let is_part = |producer: &Name| {
            let owner = owners.iter().find(|((_, name), _)| name == producer).map(|(_, owner)| owner);
            owner.is_some_and(|owner| owner.share_of(aggregator).is_some())
        };
        let (parts, others): (BTreeSet<Name>, BTreeSet<Name>) =
            group.producers.keys().cloned().partition(|producer| is_part(producer));
        let mut wanted: Vec<BTreeSet<Name>> = parts.into_iter().map(|producer| [producer].into()).collect();
        let is_owned = |producer: &Name| {
            let owner = owners.iter().find(|((_, name), _)| name == producer).map(|(_, owner)| owner);
            owner.is_some_and(|owner| owner.includes(aggregator))
        };
        let names_some = self.keeps_standbys(group);
        wanted.push(others.into_iter().filter(|producer| !names_some || is_owned(producer)).collect());
        let mut wanted: Vec<BTreeSet<Name>> = group.updaters.iter().flat_map(|_| wanted.clone()).collect();
        let mut found: Vec<BTreeSet<Name>> = updaters.values().map(|updater| updater.producers.clone()).collect();
        wanted.sort();
        found.sort();
        if found != wanted {
            faults.push(format!("{aggregator} has updaters for {found:?} instead of {wanted:?}"));
        }
    }

    fn check_sampler(&mut self, daemon: &Name, plugin: &Name, faults: &mut Vec<String>) {
        let plugin = &self.cluster.plugins[plugin];
        let (plugin, interval_us) = (plugin.clone(), plugin.interval.as_ref().and_then(|i| i.us()).unwrap());
        let Some(found) = self.network.daemon(self.host(daemon)) else { return };
        let sets = found.directory_sets(self.now_us());
        let instance = format!("{daemon}/{}", plugin.instance);
        let hint = sets.iter().find(|set| set.instance == instance).and_then(|set| set.hint.clone());
        if !hint.as_ref().is_some_and(|hint| hint.starts_with(&format!("{interval_us}:"))) {
            faults.push(format!("{instance} is sampled by {hint:?} instead of {interval_us}"));
        }
    }

    /// Samples that were lost between `since_us` and now on the first level, over all its aggregators.
    pub(crate) fn lost_samples(&self, since_us: u64) -> Vec<String> {
        let mut lost = Vec::new();
        for group in self.cluster.groups.values() {
            let hosts: BTreeSet<&str> = group.aggregators.iter().map(|name| self.host(name)).collect();
            let mut union: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
            for ((collector, instance), times) in &self.history.series {
                if hosts.contains(collector.as_str()) && self.is_sampled_below(group, instance) {
                    union.entry(instance).or_default().extend(times.iter().filter(|time_us| **time_us >= since_us));
                }
            }
            for (instance, times) in union {
                lost.extend(self.gaps(group, instance, times.iter().copied()));
            }
        }
        lost
    }

    /// Samples that an aggregator lost of a producer although nothing was done to either, in the whole time.
    pub(crate) fn samples_lost_at_rest(&self) -> Vec<String> {
        let mut lost = Vec::new();
        for group in self.cluster.groups.values().filter(|group| !self.goes_by_sets(group)) {
            for (producer, home) in self.homes(group) {
                let sampler = &group.producers[&producer].daemon;
                let untouched = |daemon: &Name| !self.history.disturbed_us.contains_key(daemon);
                if !untouched(&home) || !untouched(sampler) || self.history.configured_us > 0 {
                    continue;
                }
                for ((collector, instance), times) in &self.history.series {
                    if collector == self.host(&home) && instance.starts_with(&format!("{sampler}/")) {
                        lost.extend(self.gaps(group, instance, times.iter().copied()));
                    }
                }
            }
        }
        lost
    }

    fn is_sampled_below(&self, group: &AggregatorGroup, instance: &str) -> bool {
        let sampler = instance.split('/').next().unwrap_or_default();
        group.producers.values().any(|producer| *producer.daemon == *sampler)
    }

    pub(crate) fn gaps(
        &self,
        group: &AggregatorGroup,
        instance: &str,
        times: impl Iterator<Item = u64>,
    ) -> Vec<String> {
        let plugin = instance.split('/').nth(1).unwrap_or_default();
        let sampling = self.cluster.plugins.values().find(|candidate| *candidate.instance == *plugin);
        let sampling_us = sampling.and_then(|plugin| plugin.interval.as_ref()).and_then(|interval| interval.us());
        let collecting_us = group.updaters.iter().filter_map(|updater| updater.interval.us()).max();
        let step_us = u64::try_from(sampling_us.max(collecting_us).unwrap()).unwrap();
        let times: Vec<u64> = times.collect();
        let is_paid_for = |pair: &[u64]| self.is_let_go_for_a_moment(group, instance, pair[0]..pair[1], step_us);
        let gap = times.windows(2).find(|pair| pair[1] - pair[0] > step_us && !is_paid_for(pair));
        gap.map(|pair| format!("{instance}: nothing between {} and {}", pair[0], pair[1])).into_iter().collect()
    }

    fn slowest_us(&self) -> u64 {
        let updaters = self.cluster.groups.values().flat_map(|group| &group.updaters);
        let plugins = self.cluster.plugins.values().filter_map(|plugin| plugin.interval.as_ref());
        let intervals = updaters.map(|updater| &updater.interval).chain(plugins);
        intervals.filter_map(|interval| interval.us()).filter_map(|us| u64::try_from(us).ok()).max().unwrap_or_default()
    }
}
