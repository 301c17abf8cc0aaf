//! Producers that advertise themselves to the aggregators of a group.
//!
//! An aggregator names them after the host and port of the sampler, so all aggregators of the group know them by the
//! same name. They appear connected and not started (STANDBY) on each aggregator that they advertise to; starting one is
//! all that a takeover needs, and stopping one makes it connect again and wait (operations of a live ldmsd, section 10).

use std::collections::{BTreeMap, BTreeSet};

use super::groups::GroupState;
use super::{Conductor, Now, Timer};
use crate::cluster::AggregatorGroup;
use crate::notation::Name;
use crate::placement::place_advertised;

/// How long a new producer is waited for on the aggregators that do not see it yet. Advertisers connect at random
/// moments of their first second; placing before would only move it again.
const ARRIVAL_US: u64 = 2_000_000;

impl Conductor {
    /// Takes note of the producers that have advertised themselves, and of where they run.
    pub(super) fn note_advertised(&mut self, name: &Name, config: &AggregatorGroup, now: Now) {
        let mut seen: BTreeMap<Name, Option<Name>> = BTreeMap::new();
        for aggregator in config.aggregators.iter().filter(|_| !config.listeners.is_empty()) {
            let Some(daemon) = self.daemons.get(aggregator).filter(|daemon| daemon.is_up()) else { continue };
            for producer in daemon.advertised().filter(|producer| !config.producers.contains_key(*producer)) {
                let runs_on = seen.entry(producer.clone()).or_default();
                if daemon.runs(producer) && runs_on.is_none() {
                    *runs_on = Some(aggregator.clone());
                }
            }
        }
        let Some(state) = self.groups.get(name) else { return };
        // One whose aggregator is lost is an orphan, and appears again on the others.
        let is_gone = |producer: &&Name| {
            !seen.contains_key(*producer)
                && state.owners().get(*producer).is_none_or(|owner| {
                    owner.aggregators().any(|owner| self.health(owner) == super::daemons::Health::Up)
                })
        };
        let gone: Vec<Name> = state.advertised.keys().filter(is_gone).cloned().collect();
        let Some(state) = self.groups.get_mut(name) else { return };
        for producer in gone {
            state.forget_advertised(&producer);
        }
        for (producer, runs_on) in seen {
            if !state.advertised.contains_key(&producer) {
                state.advertised.insert(producer.clone(), now.mono_us);
                self.timers.insert((now.mono_us + ARRIVAL_US, Timer::Group(name.clone())));
            }
            if let Some(owner) = runs_on.filter(|_| !state.owners().contains_key(&producer)) {
                state.set_owner(producer, owner);
            }
        }
    }

    /// Who is to collect the advertised producers, where `configured` says who collects the others.
    pub(super) fn place_advertised(
        &self,
        state: &GroupState,
        usable: &BTreeSet<Name>,
        configured: &BTreeMap<Name, Name>,
        now: Now,
    ) -> BTreeMap<Name, Name> {
        let mut held: BTreeMap<Name, usize> = usable.iter().map(|aggregator| (aggregator.clone(), 0)).collect();
        for owner in configured.values() {
            if let Some(count) = held.get_mut(owner) {
                *count += 1;
            }
        }
        let knows = |aggregator: &&Name, producer: &Name| {
            self.daemons.get(*aggregator).is_some_and(|daemon| daemon.knows_advertised(producer))
        };
        let mut reachable = BTreeMap::new();
        for (producer, since_us) in &state.advertised {
            let there: BTreeSet<Name> =
                usable.iter().filter(|aggregator| knows(aggregator, producer)).cloned().collect();
            let may_still_arrive = there.len() < usable.len() && now.mono_us < since_us + ARRIVAL_US;
            if state.owners().contains_key(producer) || !may_still_arrive {
                reachable.insert(producer.clone(), there);
            }
        }
        place_advertised(&reachable, &held, &state.whole_owners())
    }
}
