//! Producers that connected to a daemon before its stream or message service was switched on.
//!
//! A subscription takes hold when the connection is made, if the service is on by then (operations of a live ldmsd,
//! section 11). A daemon that restarts is empty until maestro has switched its services on, and its aggregators may be
//! back sooner. Nobody says afterwards that such a subscription is not in force, and sending it again does nothing: only
//! another connection does. So whoever was connected already when the service had been switched on connects again. A
//! message tag that was subscribed to on the former connection is forgotten, and is subscribed to once more.

use std::collections::{BTreeMap, BTreeSet};

use super::event::Outcome;
use super::{Conductor, Now};
use crate::cluster::{Cluster, Relations};
use crate::desired::{Change, Ledger, Roles, Subject, doubt_messages};
use crate::ldmsd::Observation;
use crate::ldmsd::observation::ProducerState;
use crate::notation::Name;

/// The producers in question, by aggregator and name.
#[derive(Debug, Default)]
pub(super) struct LateServices {
    doubtful: BTreeMap<Name, BTreeMap<Name, Stage>>,
}

/// How far it is known whether a producer was connected in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The services were switched on at this time; what the aggregator says from then on will tell.
    Asked { since_us: u64 },
    /// It was connected too early: it is stopped, and then started again.
    Stopping,
}

impl LateServices {
    /// The producers of an aggregator whose state is of interest.
    pub(super) fn producers_of<'a>(&'a self, aggregator: &Name) -> impl Iterator<Item = &'a Name> {
        self.doubtful.get(aggregator).into_iter().flat_map(BTreeMap::keys)
    }

    /// Takes from an aggregator's roles what has to be stopped for a moment.
    pub(super) fn hold_back(&self, aggregator: &Name, roles: &mut Roles) {
        let producers = self.doubtful.get(aggregator).into_iter().flatten();
        for (producer, _) in producers.filter(|(_, stage)| **stage == Stage::Stopping) {
            roles.started.remove(producer);
            roles.as_they_are.remove(producer);
        }
    }

    /// Forgets what the configuration no longer has.
    pub(super) fn retain_known(&mut self, cluster: &Cluster) {
        let known: BTreeSet<&Name> = cluster.groups.values().flat_map(|group| group.producers.keys()).collect();
        self.doubtful.retain(|aggregator, producers| {
            producers.retain(|producer, _| known.contains(producer));
            cluster.daemons.contains_key(aggregator) && !producers.is_empty()
        });
    }
}

/// Whether nothing has been configured on a daemon yet, so that none of its services can be on.
pub(super) fn is_empty(observed: &Observation) -> bool {
    observed.plugins.is_empty() && observed.producers.is_empty() && observed.updaters.is_empty()
}

/// Whether this run of a daemon has never been asked for a service of those that are wanted of it (streams, messages):
/// they have come into the configuration while no maestro ran. Of a daemon of which nothing is known that is not known.
pub(super) fn never_had(ledger: &Ledger, (streams, messages): (bool, bool)) -> bool {
    let lacks = |service: Subject| !ledger.knows(&service);
    !ledger.is_empty() && ((streams && lacks(Subject::Streams)) || (messages && lacks(Subject::Messages)))
}

/// Whether the configuration asks for the services of a daemon: streams, messages.
pub(super) fn wanted(cluster: &Cluster, relations: &Relations, name: &Name) -> (bool, bool) {
    let Some(daemon) = cluster.daemons.get(name) else { return (false, false) };
    (
        daemon.stream_enable.unwrap_or_else(|| relations.carries_streams(cluster, name)),
        daemon.msg_enable.unwrap_or_else(|| relations.carries_messages(cluster, name)),
    )
}

/// Whether a service has been switched on among changes that a daemon has carried out.
pub(super) fn switch_on(changes: &[Change], outcomes: &[Outcome]) -> bool {
    changes.iter().zip(outcomes).any(|(change, outcome)| {
        matches!(change.subject, Subject::Streams | Subject::Messages) && *outcome == Outcome::Applied
    })
}

impl Conductor {
    /// The services of a daemon have been switched on: who collects from it may be connected too early, and so may
    /// whom it collects from, for both ends of a connection need them.
    pub(super) fn doubt_connections(&mut self, source: &Name, now: Now) {
        let mut doubtful = Vec::new();
        for (group, producer) in self.relations.collected_by(source) {
            let Some(config) = self.cluster.groups.get(group).filter(|config| !config.subscriptions.is_empty()) else {
                continue;
            };
            let connections = config.aggregators.iter().map(|aggregator| (aggregator, producer));
            let connections = connections.filter(|(aggregator, producer)| self.may_be_connected(aggregator, producer));
            doubtful.extend(connections.map(|(aggregator, producer)| (aggregator.clone(), producer.clone())));
        }
        let own_group = self.relations.group_of(source).and_then(|group| self.cluster.groups.get(group));
        if let Some(config) = own_group.filter(|config| !config.subscriptions.is_empty()) {
            let own = config.producers.keys().filter(|producer| self.may_be_connected(source, producer));
            doubtful.extend(own.map(|producer| (source.clone(), producer.clone())));
        }
        for (aggregator, producer) in doubtful {
            self.dirty_daemons.insert(aggregator.clone());
            let producers = self.late_services.doubtful.entry(aggregator).or_default();
            producers.insert(producer, Stage::Asked { since_us: now.mono_us });
        }
    }

    fn may_be_connected(&self, aggregator: &Name, producer: &Name) -> bool {
        let Some(state) = self.daemons.get(aggregator) else { return false };
        // Which producers are just being started is said by an expression: any may be among them.
        let starts = |change: &Change| matches!(change.subject, Subject::ProducersStarted(_));
        state.observed.producers.get(producer).is_some_and(|found| found.state.is_started())
            || state.in_flight.iter().flatten().any(starts)
    }

    /// Looks at what an aggregator has said of the producers in question since they were.
    pub(super) fn review_connections(&mut self, aggregator: &Name) {
        let Some(producers) = self.late_services.doubtful.get_mut(aggregator) else { return };
        let Some(state) = self.daemons.get(aggregator) else { return };
        let group = self.relations.group_of(aggregator).and_then(|group| self.groups.get(group));
        let stopping = |producers: &BTreeMap<Name, Stage>| -> BTreeSet<Name> {
            producers.iter().filter(|(_, stage)| **stage == Stage::Stopping).map(|(name, _)| name.clone()).collect()
        };
        let before = stopping(producers);
        producers.retain(|producer, stage| {
            let found = state.observed.producers.get(producer).map(|found| found.state);
            let is_owned =
                group.and_then(|group| group.owners().get(producer)).is_some_and(|owner| owner.includes(aggregator));
            match (*stage, found) {
                (Stage::Asked { since_us }, _) if state.polling.last_round_us < since_us => true,
                (Stage::Asked { .. }, Some(ProducerState::Connected)) if is_owned => {
                    *stage = Stage::Stopping;
                    true
                }
                // It is being connected just now, with the services on or not.
                (Stage::Asked { .. }, Some(ProducerState::Connecting)) => is_owned,
                (Stage::Asked { .. }, _) => false,
                (Stage::Stopping, Some(found)) => is_owned && (found.is_started() || found == ProducerState::Stopping),
                (Stage::Stopping, None) => false,
            }
        });
        let have_stopped = before.difference(&stopping(producers)).next().is_some();
        if producers.is_empty() {
            self.late_services.doubtful.remove(aggregator);
        }
        if have_stopped && let Some(state) = self.daemons.get_mut(aggregator) {
            // What was subscribed to on the former connection has been forgotten.
            doubt_messages(&mut state.ledger);
        }
    }
}
