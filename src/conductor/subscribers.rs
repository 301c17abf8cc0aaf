//! What aggregators do to the configuration counter of a daemon that they subscribe to.
//!
//! A subscription to a stream travels to its source as a command whenever the connection is made, and is counted there
//! like one; messages are subscribed to in another way. So the counter moves, though nobody else has changed the daemon.
//! It is read again when an aggregator has been seen to be connected, so that the next maestro finds it as it is noted.

use super::daemons::DaemonState;
use super::event::{Action, Scope};
use super::{Conductor, Now, Timer};
use crate::cluster::SubscriptionSource;
use crate::ldmsd::observation::ProducerState;
use crate::notation::Name;

/// So much later an aggregator that is seen to be connected has subscribed.
const SUBSCRIBED_AFTER_US: u64 = 500_000;

impl Conductor {
    /// An aggregator has told that these producers are connected, which were not when it told last.
    pub(super) fn expect_subscriptions(&mut self, aggregator: &Name, connected: &[Name], now: Now) {
        let Some(group) = self.relations.group_of(aggregator).and_then(|group| self.cluster.groups.get(group)) else {
            return;
        };
        if !group.subscriptions.iter().any(|subscription| matches!(subscription.source, SubscriptionSource::Stream(_)))
        {
            return;
        }
        let due_us = now.mono_us + SUBSCRIBED_AFTER_US;
        for source in connected.iter().filter_map(|producer| Some(&group.producers.get(producer)?.daemon)) {
            if let Some(state) = self.daemons.get_mut(source).filter(|state| state.is_connected()) {
                state.count_again_us = Some(due_us);
                self.timers.insert((due_us, Timer::Daemon(source.clone())));
            }
        }
    }

    /// Reads the counter of a daemon that has been subscribed to. Says whether it does.
    pub(super) fn count_again(&mut self, name: &Name, now: Now) -> bool {
        let is_due = |state: &&mut DaemonState| state.count_again_us.is_some_and(|due_us| due_us <= now.mono_us);
        let Some(state) = self.daemons.get_mut(name).filter(is_due) else { return false };
        state.count_again_us = None;
        state.in_flight = Some(Vec::new());
        let (daemon, session) = (name.clone(), state.session);
        self.actions.push(Action::Observe { daemon, session, scope: Scope::default() });
        true
    }

    /// How many commands the subscriptions of aggregators may have added to the counter of a daemon: of those that are
    /// being connected to it, or have just been.
    pub(super) fn subscriptions_under_way(&self, source: &Name) -> u64 {
        let just_connected = self.daemons.get(source).is_some_and(|state| state.count_again_us.is_some());
        let mut number = 0;
        for (group, producer) in self.relations.collected_by(source) {
            let Some(config) = self.cluster.groups.get(group) else { continue };
            let streams = config.subscriptions.iter().filter(|s| matches!(s.source, SubscriptionSource::Stream(_)));
            let streams = streams.count() as u64;
            let is_under_way = |aggregator: &&Name| {
                let state = self.daemons.get(*aggregator);
                state.and_then(|state| state.observed.producers.get(producer)).is_some_and(|found| {
                    found.state.is_started() && (just_connected || found.state != ProducerState::Connected)
                })
            };
            number += streams * config.aggregators.iter().filter(is_under_way).count() as u64;
        }
        number
    }
}
