//! What is known of a daemon without being shown, brought up to date before the next comparison.

use std::collections::BTreeSet;

use super::change::Change;
use super::config::DaemonConfig;
use super::given::Unshown;
use super::ledger::Ledger;
use super::updaters::belongs_to;
use super::{advertising, policies, producers, services};
use crate::ldmsd::{Numbering, Observation};
use crate::notation::Name;

/// Brings a ledger up to date with a daemon and its configuration. What is there and was never known counts as it is
/// wanted, so that a change from now on is noticed.
pub fn review(config: &DaemonConfig, observed: &Observation, ledger: &mut Ledger) {
    producers::doubt_subscriptions(config, ledger);
    let is_gone = |key: &str| {
        let of = |kind: &str| key.strip_prefix(kind).map(Name::from);
        of("storage policy ").is_some_and(|name| !observed.policies.contains_key(&name))
            || of("producer listener ").is_some_and(|name| !observed.listeners.contains_key(&name))
            || of("advertiser ").is_some_and(|name| !observed.producers.contains_key(&name))
    };
    ledger.forget(is_gone);
    ledger.producers.forget(|name| !observed.producers.contains_key(name));
    ledger.updaters.forget(|name| !observed.updaters.contains_key(name));
    let there = config.producers.iter().filter(|(name, _)| observed.producers.contains_key(*name));
    ledger.producers.review(there.map(|(name, wanted)| (name, Unshown::of_producer(wanted))));
    let there = observed.updaters.keys().filter_map(|on_daemon| {
        let wanted = config.updaters.iter().find(|wanted| belongs_to(on_daemon, &wanted.name))?;
        Some((on_daemon, Unshown::of_updater(wanted)))
    });
    ledger.updaters.review(there);
    for (name, wanted) in config.policies.iter().filter(|(name, _)| observed.policies.contains_key(*name)) {
        ledger.assume(policies::unshown(name, wanted));
    }
    for (name, wanted) in config.advertisers.iter().filter(|(name, _)| observed.producers.contains_key(*name)) {
        ledger.assume(advertising::unshown_of_advertiser(name, wanted));
    }
    for (name, wanted) in config.listeners.iter().filter(|(name, _)| observed.listeners.contains_key(*name)) {
        ledger.assume(advertising::unshown_of_listener(name, wanted));
    }
}

/// What a daemon was given that has left its configuration, and that no daemon gives up before it restarts: environment
/// variables, listening addresses, subscriptions.
#[must_use]
pub fn lingering(config: &DaemonConfig, ledger: &Ledger, numbering: Numbering) -> BTreeSet<String> {
    let mut wanted: Vec<Change> = Vec::new();
    services::changes(config, &Ledger::default(), numbering, &mut wanted);
    let wanted: BTreeSet<String> = wanted.iter().map(|change| change.subject.to_string()).collect();
    let services = ledger.keys().filter(|key| services::lingers(key) && !wanted.contains(*key));
    let subscriptions = producers::subscriptions_beyond(config, ledger);
    services.map(str::to_owned).chain(subscriptions).collect()
}
