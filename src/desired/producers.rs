//! Producers: added on every aggregator of their group, started where placement says.
//!
//! Starting is done by `prdcr_start_regex`, because a producer that `prdcr_start` ever started can
//! never be deleted on 4.5 and later (operations of a live ldmsd, section 4), and because one
//! expression with some hundred names costs the daemon as much as a few. Stopping is done by name,
//! and a producer is started again only when it is seen STOPPED: a start close behind a stop is refused.

use super::change::{Change, Ledger, LedgerEntry, Step, Subject};
use super::config::{DaemonConfig, ProducerWanted, Run};
use super::regex::{NAMES_IN_ONE, alternation};
use crate::cluster::SubscriptionSource;
use crate::ldmsd::observation::{ObservedProducer, ProducerState};
use crate::ldmsd::{Attribute, Command, Observation, Verb};
use crate::notation::Name;

/// The producer exists already, or (for a stop) is on its way.
const EXISTS: &[i32] = &[17];
const STOPPING: &[i32] = &[16];
/// 4.4 may answer 1 to `prdcr_start_regex` although it worked; the state tells.
const MAYBE_STARTED: &[i32] = &[1];

pub(super) fn changes(config: &DaemonConfig, observed: &Observation, ledger: &Ledger, changes: &mut Vec<Change>) {
    let mut to_start: Vec<&Name> = Vec::new();
    for (name, wanted) in &config.producers {
        match observed.producers.get(name) {
            None => {
                changes.push(add(name, wanted));
                if wanted.run == Run::Started {
                    to_start.push(name);
                }
            }
            Some(found) if !same_address(wanted, found) => changes.push(replace(name, wanted, found)),
            Some(found) => match (wanted.run, found.state) {
                (Run::Started, ProducerState::Stopped | ProducerState::Standby) => to_start.push(name),
                (Run::Stopped, state) if state.is_started() => changes.push(stop(name)),
                _ => {}
            },
        }
    }
    for name in &config.retired {
        match observed.producers.get(name).map(|found| found.state) {
            // It cannot be deleted before the updaters have let it go.
            Some(ProducerState::Stopped) if !observed.updaters.values().any(|u| u.producers.contains(name)) => {
                let delete = Command::new(Verb::PrdcrDel).with(Attribute::Name, name);
                changes.push(Change::visible(Subject::Producer(name.clone()), vec![delete.into()]));
            }
            Some(state) if state.is_started() => changes.push(stop(name)),
            _ => {}
        }
    }
    subscribe(config, observed, ledger, changes);
    // Started last: what is subscribed to is then settled when the connection is made.
    for names in to_start.chunks(NAMES_IN_ONE) {
        let expression = alternation(names.iter().map(|name| name.as_str()));
        let command = Command::new(Verb::PrdcrStartRegex).with(Attribute::Regex, expression);
        let subject = Subject::ProducersStarted(names[0].clone());
        changes.push(Change::visible(subject, vec![Step::accepting(command, MAYBE_STARTED)]));
    }
}

fn same_address(wanted: &ProducerWanted, found: &ObservedProducer) -> bool {
    wanted.host == found.host && wanted.port == found.port && wanted.xprt == found.xprt
}

fn add(name: &Name, wanted: &ProducerWanted) -> Change {
    Change::visible(Subject::Producer(name.clone()), vec![Step::accepting(add_command(name, wanted), EXISTS)])
}

fn add_command(name: &Name, wanted: &ProducerWanted) -> Command {
    let producer = &wanted.producer;
    Command::new(Verb::PrdcrAdd)
        .with(Attribute::Name, name)
        .with(Attribute::Host, &wanted.host)
        .with(Attribute::Port, wanted.port)
        .with(Attribute::Xprt, &wanted.xprt)
        .with(Attribute::Type, producer.kind.word())
        .with(Attribute::Reconnect, &producer.reconnect)
        .with(Attribute::Auth, &wanted.auth)
        .with_some(Attribute::Perm, producer.perm)
        .with_some(Attribute::Rail, producer.rail.as_ref())
        .with_some(Attribute::Quota, producer.quota.as_ref())
        .with_some(Attribute::RxRate, producer.rx_rate.as_ref())
        .with_some(Attribute::CacheIp, producer.cache_ip)
}

fn stop(name: &Name) -> Change {
    let command = Command::new(Verb::PrdcrStop).with(Attribute::Name, name);
    Change::visible(Subject::ProducerStopped(name.clone()), vec![Step::accepting(command, STOPPING)])
}

/// Host and port change only by deleting and adding, and only a stopped producer can be deleted.
fn replace(name: &Name, wanted: &ProducerWanted, found: &ObservedProducer) -> Change {
    if found.state == ProducerState::Stopped {
        let delete = Command::new(Verb::PrdcrDel).with(Attribute::Name, name);
        let steps = vec![delete.into(), add_command(name, wanted).into()];
        Change::visible(Subject::Producer(name.clone()), steps)
    } else {
        stop(name)
    }
}

/// A subscription is kept by each producer object: one that is added later does not have it, so it is
/// sent again whenever a producer is added. Repeating it does no harm (section 11).
fn subscribe(config: &DaemonConfig, observed: &Observation, ledger: &Ledger, changes: &mut Vec<Change>) {
    let some_are_new = config.producers.keys().any(|name| !observed.producers.contains_key(name));
    for subscription in &config.subscriptions {
        let (attribute, source) = match &subscription.source {
            SubscriptionSource::Stream(stream) => (Attribute::Stream, stream),
            SubscriptionSource::MessageTag(tag) => (Attribute::MessageTag, tag),
            SubscriptionSource::MessageChannel(channel) => (Attribute::MessageChannel, channel),
        };
        let command = Command::new(Verb::PrdcrSubscribe)
            .with(Attribute::Regex, &subscription.regex)
            .with(attribute, source)
            .with_some(Attribute::RxRate, subscription.rx_rate.as_ref());
        let key = format!("subscription {attribute} {source} {}", subscription.regex);
        let entry = LedgerEntry { key, value: command.to_string() };
        if some_are_new || !ledger.holds(&entry) {
            changes.push(Change {
                subject: Subject::Subscription(format!("{attribute} {source} of {}", subscription.regex)),
                steps: vec![command.into()],
                remember: Some(entry),
            });
        }
    }
}
