//! Producers that stand by: connected on a second aggregator of their group and collected there by nobody.
//!
//! A takeover then finds its producers connected, and needs updaters only: that saves the up to a second which a
//! daemon takes to connect (operations of a live ldmsd, section 3). The price is a second connection for each daemon
//! that is collected, and a directory for each producer that stands by.
//!
//! An updater collects every producer that it lists and that is connected. So where producers stand by the updaters name
//! what is to be collected, and a producer that an updater lists does not stand by: it runs where it does not belong.
//!
//! A connection delivers what is subscribed to, so a group that subscribes to something keeps no standbys: each message
//! would arrive twice. Where a group is balanced by metric sets, whole producers stand by and split ones do not. Producers
//! that advertise themselves are connected to all aggregators as it is.

use std::collections::{BTreeMap, BTreeSet};

use super::Conductor;
use super::by_sets::PlacedBySets;
use super::groups::GroupState;
use super::notice::Notice;
use crate::cluster::{AggregatorGroup, Cluster};
use crate::notation::Name;
use crate::placement::{place_standbys, place_standbys_by_sets};

/// Where the producers of a group stand by.
#[derive(Debug, Default)]
pub(super) struct Standbys {
    /// The aggregator of each.
    on: BTreeMap<Name, Name>,
    /// What they were placed for.
    placed_for: Option<PlacedFor>,
}

#[derive(Debug, PartialEq, Eq)]
struct PlacedFor {
    owners: BTreeMap<Name, Name>,
    usable: BTreeSet<Name>,
    /// When the weights were looked at last, if they matter.
    weighed_us: Option<u64>,
}

impl Standbys {
    pub(super) fn on(&self) -> &BTreeMap<Name, Name> {
        &self.on
    }

    /// Those that an earlier maestro has left, wherever the next plan has them.
    pub(super) fn adopted(on: BTreeMap<Name, Name>) -> Standbys {
        Standbys { on, placed_for: None }
    }

    fn is_on(&self, producer: &Name, aggregator: &Name) -> bool {
        self.on.get(producer) == Some(aggregator)
    }
}

impl Conductor {
    pub(super) fn keeps_standbys(&self, group: &AggregatorGroup) -> bool {
        self.settings.standby && group.aggregators.len() > 1 && group.subscriptions.is_empty()
    }

    /// Tells which groups go without standbys although they are wanted.
    pub(super) fn tell_of_missing_standbys(&mut self, cluster: &Cluster) {
        let withheld = |cluster: &Cluster| -> BTreeSet<Name> {
            let groups =
                cluster.groups.iter().filter(|(_, group)| self.settings.standby && group.aggregators.len() > 1);
            groups.filter(|(_, group)| !group.subscriptions.is_empty()).map(|(name, _)| name.clone()).collect()
        };
        for group in withheld(cluster).difference(&withheld(&self.cluster)).cloned().collect::<Vec<_>>() {
            self.report(Notice::StandbyWithheld { group });
        }
    }

    /// Says anew where producers stand by, once it has changed who collects them or who may.
    pub(super) fn plan_standbys(&mut self, name: &Name, config: &AggregatorGroup) {
        let usable = self.usable(config);
        let keeps_standbys = self.keeps_standbys(config);
        let Some(state) = self.groups.get_mut(name) else { return };
        if !keeps_standbys {
            state.standbys = Standbys::default();
            return;
        }
        let weighed_us = state.placed_by_sets.as_ref().map(PlacedBySets::at_us);
        let placed_for = PlacedFor { owners: state.whole_owners(), usable, weighed_us };
        if state.standbys.placed_for.as_ref() == Some(&placed_for) {
            return;
        }
        let producers: Vec<Name> = config.producers.keys().cloned().collect();
        let PlacedFor { owners, usable, .. } = &placed_for;
        let before = &state.standbys.on;
        state.standbys.on = match &state.sets {
            None => place_standbys(&producers, &config.aggregators, usable, owners, before),
            Some(sets) => {
                let weights = sets.weights(config, &state.owners);
                place_standbys_by_sets(&weights, usable, &state.owners, before, self.settings.band)
            }
        };
        state.standbys.placed_for = Some(placed_for);
    }

    /// The producers that stand by on an aggregator. One that it collected is stopped there first.
    pub(super) fn standing_by(&self, aggregator: &Name, state: &GroupState) -> BTreeSet<Name> {
        let here = state.standbys.on.iter().filter(|(_, standby)| *standby == aggregator).map(|(producer, _)| producer);
        here.filter(|producer| !state.leaving.contains_key(&((*producer).clone(), aggregator.clone())))
            .cloned()
            .collect()
    }

    /// Whether a producer that runs on an aggregator only stands by there, as it should.
    pub(super) fn stands_by(&self, producer: &Name, aggregator: &Name, state: &GroupState) -> bool {
        state.standbys.is_on(producer, aggregator)
            && self.daemons.get(aggregator).is_some_and(|daemon| daemon.is_idle(producer))
    }

    /// The only producers that the updaters of an aggregator are for; `None` where they are for all.
    pub(super) fn collected(
        &self,
        aggregator: &Name,
        group: &AggregatorGroup,
        state: &GroupState,
    ) -> Option<BTreeSet<Name>> {
        let daemon = self.daemons.get(aggregator)?;
        let updaters = || daemon.observed.updaters.values();
        if !state.is_placed() {
            // Who owns what is not known yet: what stands by since an earlier maestro must go on doing so.
            let may_name_some =
                || self.keeps_standbys(group) || daemon.running().any(|producer| daemon.is_idle(producer));
            let names_some = updaters().next().is_some() && may_name_some();
            return names_some.then(|| updaters().flat_map(|found| &found.producers).cloned().collect());
        }
        let is_owned = |producer: &Name| state.owners().get(producer).is_some_and(|owner| owner.includes(aggregator));
        // Where standbys are no longer wanted they go before the updaters are for all again.
        let mut idle = daemon.running().filter(|producer| !is_owned(producer) && daemon.is_idle(producer));
        if !self.keeps_standbys(group) && idle.next().is_none() {
            return None;
        }
        let owned = state.owners().keys().filter(|producer| is_owned(producer));
        // What is collected here although it belongs elsewhere goes on until it is stopped.
        let others = daemon.running().filter(|producer| !is_owned(producer) && !daemon.is_idle(producer));
        Some(owned.chain(others).cloned().collect())
    }

    /// Where producers stand by since an earlier maestro: an aggregator runs them, and another collects them.
    pub(super) fn adopt_standbys(&self, config: &AggregatorGroup) -> BTreeMap<Name, Name> {
        let idle = |producer: &Name| -> Option<Name> {
            let running: Vec<&Name> = config.aggregators.iter().filter(|a| self.runs(a, producer)).collect();
            let collecting = self.collecting(producer, running.clone());
            running.into_iter().find(|aggregator| !collecting.contains(aggregator)).cloned()
        };
        let producers = config.producers.keys().filter(|_| self.keeps_standbys(config));
        producers.filter_map(|producer| Some((producer.clone(), idle(producer)?))).collect()
    }

    /// Of the aggregators that run a producer, those that collect it; all of them where none does.
    pub(super) fn collecting<'a>(&self, producer: &Name, running: Vec<&'a Name>) -> Vec<&'a Name> {
        let collects =
            |aggregator: &&Name| self.daemons.get(*aggregator).is_some_and(|daemon| !daemon.is_idle(producer));
        let collecting: Vec<&Name> = running.iter().copied().filter(collects).collect();
        if collecting.is_empty() { running } else { collecting }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Action, Event, Now, Settings};
    use super::*;
    use crate::spec;

    /// The groups that are told to go without standbys, after each of two equal configurations.
    fn told_without(case: &str, standby: bool) -> Vec<usize> {
        let path = format!("{}/tests/fixtures/reference/{case}/input.yaml", env!("CARGO_MANIFEST_DIR"));
        let cluster = Arc::new(spec::read_cluster(&path, &std::fs::read_to_string(&path).unwrap()).0.unwrap());
        let mut conductor = Conductor::new(Settings { standby, ..Settings::default() });
        let now = Now { mono_us: 1_000_000, wall_us: 1_000_000 };
        let mut told = || {
            let actions = conductor.handle(Event::Configured(Arc::clone(&cluster)), now);
            let withheld = |action: &&Action| matches!(action, Action::Report(Notice::StandbyWithheld { .. }));
            actions.iter().filter(withheld).count()
        };
        vec![told(), told()]
    }

    #[test]
    fn a_group_that_subscribes_goes_without_standbys_and_says_so_once() {
        assert_eq!(told_without("streams-current", true), [1, 0]);
        assert_eq!(told_without("streams-current", false), [0, 0]);
        assert_eq!(told_without("basic-current", true), [0, 0]);
    }
}
