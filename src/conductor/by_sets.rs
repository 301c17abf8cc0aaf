//! Balancing a group by its metric sets: from what is known of them to owners.

use std::collections::{BTreeMap, BTreeSet};

use super::daemons::Health;
use super::{Conductor, Now, Timer};
use crate::cluster::{AggregatorGroup, MatchField};
use crate::notation::Name;
use crate::placement::sets::Band;
use crate::placement::{Load, Ownership, place_by_sets};

/// Sets move for the balance only when every sampler that is up has told of its own, or so long after the first
/// placement: what is not known yet would move them to and fro.
const COMPLETE_AFTER_US: u64 = 60_000_000;
/// What did not go as placed is tried again after so long.
const TRY_AGAIN_US: u64 = 1_000_000;
/// Only sets without an owner are placed.
const NO_BALANCING: Band = Band { percent: 10_000 };

/// What the last placement of a group was made for, and what it gave.
#[derive(Debug)]
pub(super) struct PlacedBySets {
    usable: BTreeSet<Name>,
    owners: BTreeMap<Name, Ownership>,
    complete: bool,
    at_us: u64,
}

impl PlacedBySets {
    pub(super) fn at_us(&self) -> u64 {
        self.at_us
    }
}

impl Conductor {
    /// Who is to collect the configured producers of a group that is balanced by sets; `None` for any other.
    pub(super) fn place_by_sets(
        &mut self,
        name: &Name,
        config: &AggregatorGroup,
        usable: &BTreeSet<Name>,
        now: Now,
    ) -> Option<BTreeMap<Name, Ownership>> {
        let state = self.groups.get(name)?;
        let sets = state.sets.as_ref()?;
        let complete = state.was_placed_before(now, COMPLETE_AFTER_US)
            || (config.producers.values().all(|producer| self.has_told_sets(producer))
                && !self.lacks_single_sets(name, config));
        let configured = |owners: &BTreeMap<Name, Ownership>| -> BTreeMap<Name, Ownership> {
            owners
                .iter()
                .filter(|(name, _)| config.producers.contains_key(*name))
                .map(|(n, o)| (n.clone(), o.clone()))
                .collect()
        };
        let current = configured(&state.owners_to_be(usable));
        if let Some(placed) = &state.placed_by_sets {
            let same = !sets.changed && placed.usable == *usable && placed.complete == complete;
            if same && placed.owners == current {
                return Some(current);
            }
            let again_us = placed.at_us + TRY_AGAIN_US;
            if same && now.mono_us < again_us {
                self.timers.insert((again_us, Timer::Group(name.clone())));
                return Some(current);
            }
        }
        let band = if complete { self.settings.band } else { NO_BALANCING };
        // Where an owner is lost, its producers are connected where they stand by.
        let standby_of =
            |producer: &Name| state.standbys.on().get(producer).filter(|standby| usable.contains(*standby));
        let mut held = current.clone();
        for (producer, owner) in held.iter_mut().filter(|(_, owner)| owner.whole().is_some_and(|o| !usable.contains(o)))
        {
            if let Some(standby) = standby_of(producer) {
                *owner = Ownership::Whole(standby.clone());
            }
        }
        let plan = place_by_sets(&sets.weights(config, &current), &config.aggregators, usable, &held, band);
        if !complete {
            self.timers.insert((now.mono_us + TRY_AGAIN_US, Timer::Group(name.clone())));
        }
        let placed = PlacedBySets { usable: usable.clone(), owners: plan.owners.clone(), complete, at_us: now.mono_us };
        let state = self.groups.get_mut(name)?;
        state.placed_by_sets = Some(placed);
        state.sets.as_mut()?.changed = false;
        Some(plan.owners)
    }

    /// Reads back who collects which sets: a restart of maestro changes nothing. A producer that only one aggregator runs
    /// is whole; of one that several run, each set belongs to who has it ready, the first of them where several do.
    pub(super) fn adopt_by_sets(&self, config: &AggregatorGroup) -> BTreeMap<Name, Ownership> {
        let owner = |producer: &Name| {
            let running: Vec<&Name> = config.aggregators.iter().filter(|a| self.runs(a, producer)).collect();
            let running = self.collecting(producer, running);
            // Of one that several run, another instance tells the sets of who has some of them ready and some not.
            let collects_all = |aggregator: &&&Name| {
                let daemon = self.daemons.get(**aggregator);
                let told = daemon.and_then(|daemon| daemon.told.as_ref());
                told.is_some_and(|told| told.awaited.as_ref().is_none_or(|it| !it.ready.contains_key(producer)))
            };
            if let Some(owner) = running.iter().find(collects_all).filter(|_| running.len() > 1) {
                return Some(Ownership::Whole((*owner).clone()));
            }
            let mut shares: BTreeMap<Name, BTreeSet<String>> = BTreeMap::new();
            let mut seen = BTreeSet::new();
            for aggregator in &running {
                let ready = self.daemons.get(*aggregator)?.ready_sets(producer).into_iter();
                let share: BTreeSet<String> = ready.filter(|set| seen.insert(*set)).map(str::to_owned).collect();
                if !share.is_empty() {
                    shares.insert((*aggregator).clone(), share);
                }
            }
            match shares.len() {
                0 => running.first().map(|owner| Ownership::Whole((*owner).clone())),
                1 => shares.into_keys().next().map(Ownership::Whole),
                _ => Some(Ownership::Split(shares)),
            }
        };
        config.producers.keys().filter_map(|producer| Some((producer.clone(), owner(producer)?))).collect()
    }

    /// Whether the updaters of an aggregator stay as they are, because it is not known yet of which producers it has a
    /// part, or which of its sets an updater is for.
    pub(super) fn leaves_updaters_alone(&self, aggregator: &Name) -> bool {
        let group = self.relations.group_of(aggregator).and_then(|group| self.groups.get_key_value(group));
        let Some((name, state, sets)) = group.and_then(|(name, state)| Some((name, state, state.sets.as_ref()?)))
        else {
            return false;
        };
        let updaters = self.cluster.groups.get(name).into_iter().flat_map(|config| &config.updaters);
        let go_by_schema = || updaters.flat_map(|updater| &updater.sets).any(|set| set.field == MatchField::Schema);
        let schemas_are_unknown = || {
            let split = state.owners().iter().filter(|(_, owner)| owner.share_of(aggregator).is_some());
            split.into_iter().any(|(producer, _)| sets.of(producer).is_none_or(BTreeMap::is_empty))
        };
        !state.is_placed() || (!self.is_alone() && schemas_are_unknown() && go_by_schema())
    }

    /// What each aggregator of a group that is up carries; `None` where it is not balanced by sets.
    pub(super) fn loads_by_sets(&self, name: &Name, config: &AggregatorGroup) -> Option<BTreeMap<Name, Load>> {
        let state = self.groups.get(name)?;
        let sets = state.sets.as_ref()?;
        let up = config.aggregators.iter().filter(|aggregator| self.health(aggregator) == Health::Up);
        let mut loads: BTreeMap<Name, Load> = up.map(|aggregator| (aggregator.clone(), Load::default())).collect();
        for (producer, owner) in state.owners() {
            let Some(known) = sets.known(producer) else { continue };
            for aggregator in owner.aggregators() {
                if let Some(load) = loads.get_mut(aggregator) {
                    *load = load.and(known.load_of(owner.share_of(aggregator)));
                }
            }
        }
        Some(loads)
    }

    /// The number and the weight of some sets of a producer, of all where none are named.
    pub(super) fn weigh(&self, group: &Name, producer: &Name, which: Option<&BTreeSet<String>>) -> Load {
        let sets = self.groups.get(group).and_then(|state| state.sets.as_ref());
        sets.and_then(|sets| sets.known(producer)).map(|known| known.load_of(which)).unwrap_or_default()
    }
}
