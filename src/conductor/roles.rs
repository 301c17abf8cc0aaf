//! What the plan of its group gives to one daemon: what it runs, goes on with, or stands by for.

use std::collections::BTreeSet;

use super::daemons::{DaemonState, Health};
use super::groups::GroupState;
use super::standing::Part;
use super::{Conductor, Now};
use crate::cluster::AggregatorGroup;
use crate::desired::{Advertising, Roles, Run};
use crate::notation::Name;

/// How long the start of producers waits for their daemons to be configured, where a subscription
/// needs their services switched on before the connection is made.
pub(super) const SERVICES_FIRST_US: u64 = 3_000_000;

impl Conductor {
    /// What placement has given to a daemon.
    pub(super) fn roles(&self, name: &Name, now: Now) -> Roles {
        let retired = self.daemons.get(name).map(|daemon| daemon.retired.clone()).unwrap_or_default();
        let advertising = Advertising {
            advertisers: self.advertisers.get(name).cloned().unwrap_or_default(),
            // Started by maestro, on one aggregator.
            starts_what_comes: false,
        };
        let mut roles =
            Roles { boosts: self.boosts.of(name), retired, advertising: Some(advertising), ..Roles::default() };
        let Some(group) = self.relations.group_of(name) else { return roles };
        let (Some(state), Some(config)) = (self.groups.get(group), self.cluster.groups.get(group)) else {
            return roles;
        };
        let owned = state.owners.iter().filter(|(_, owner)| owner.includes(name)).map(|(producer, _)| producer);
        roles.parts = self.parts(name, config, state);
        let (startable, held_back): (BTreeSet<&Name>, BTreeSet<&Name>) =
            owned.partition(|producer| self.may_start(config, state, producer, now));
        roles.started = startable.into_iter().cloned().collect();
        // One that is held back may run since an earlier maestro, and then goes on.
        roles.as_they_are = held_back.into_iter().cloned().collect();
        for producer in state.shrinking(name) {
            roles.started.remove(producer);
            roles.as_they_are.remove(producer);
        }
        if state.is_placed() {
            roles.as_they_are.extend(self.to_go_on(name, group, state));
        } else {
            // Nothing is known yet of the others: nobody is to stop anything.
            roles.as_they_are.extend(config.producers.keys().cloned());
        }
        self.late_services.hold_back(name, &mut roles);
        roles.standbys = self.standing_by(name, state);
        roles.collected = self.collected(name, config, state);
        let advertised = state.advertised.keys().map(|producer| (producer.clone(), roles.run_of(producer)));
        roles.advertised = advertised.collect();
        for (producer, run) in &mut roles.advertised {
            // Where nobody owns it yet it may run since an earlier maestro.
            if *run == Run::Stopped && (!state.is_placed() || !state.owners.contains_key(producer)) {
                *run = Run::AsItIs;
            }
        }
        roles
    }

    /// The producers that an aggregator does not own and goes on with, because nobody has taken them over yet.
    fn to_go_on(&self, aggregator: &Name, group: &Name, state: &GroupState) -> BTreeSet<Name> {
        let leaving = state.leaving.iter().filter(|((_, from), _)| from == aggregator);
        if self.council.part() == Part::Alone {
            return leaving
                .filter(|(_, leaving)| !leaving.taken_over)
                .map(|((producer, _), _)| producer.clone())
                .collect();
        }
        // Whoever decides may not know yet that it runs here.
        let may_stop = self.is_in_force(group, state);
        let stopping: BTreeSet<&Name> =
            leaving.filter(|(_, leaving)| leaving.taken_over && may_stop).map(|((producer, _), _)| producer).collect();
        let standing_by = self.standing_by(aggregator, state);
        let running = self.daemons.get(aggregator).into_iter().flat_map(DaemonState::running);
        running.filter(|producer| !stopping.contains(*producer) && !standing_by.contains(*producer)).cloned().collect()
    }

    /// A subscription takes hold when the connection is made, if the services are on by then
    /// (operations of a live ldmsd, section 11): so the producer's own daemon comes first, for a while.
    fn may_start(&self, group: &AggregatorGroup, state: &GroupState, producer: &Name, now: Now) -> bool {
        if group.subscriptions.is_empty() || state.placed_at_us.is_none_or(|at| now.mono_us >= at + SERVICES_FIRST_US) {
            return true;
        }
        let source = group.producers.get(producer).and_then(|producer| self.daemons.get(&producer.daemon));
        source.is_none_or(|daemon| daemon.configured_once || daemon.health == Health::Down)
    }
}
