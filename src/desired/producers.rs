//! Producers: added on every aggregator of their group, started where placement says.
//!
//! Starting is done by `prdcr_start_regex`, because a producer that `prdcr_start` ever started can
//! never be deleted on 4.5 and later (operations of a live ldmsd, section 4), and because one
//! expression with some hundred names costs the daemon as much as a few. Stopping is done by name,
//! and a producer is started again only when it is seen STOPPED: a start close behind a stop is refused.

use std::collections::BTreeSet;

use super::change::{Change, Step, Subject};
use super::config::{DaemonConfig, ProducerWanted, Run};
use super::given::Unshown;
use super::ledger::{Ledger, LedgerEntry};
use super::regex::{NAMES_IN_ONE, alternation};
use super::updaters;
use crate::cluster::{ProducerKind, Subscription, SubscriptionSource};
use crate::ldmsd::observation::{ObservedProducer, ProducerState};
use crate::ldmsd::{Attribute, Command, Observation, Verb};
use crate::notation::Name;

/// The producer exists already, or (for a stop) is on its way.
const EXISTS: &[i32] = &[17];
const STOPPING: &[i32] = &[16];
/// 4.4 answers 1 to `prdcr_start_regex`, although it worked, where the last of its producers is not meant; the state
/// tells.
const MAYBE_STARTED: &[i32] = &[1];
/// What a daemon shows of a producer without a domain of its own.
const DEFAULT_DOMAIN: &str = "DEFAULT";
/// A size that is not limited.
const UNLIMITED: i64 = -1;

/// Producers that have to go from the daemon: those that have left the configuration, and those that are there
/// with other attributes, which can only be deleted and added anew. As long as they are there, no updater may
/// list them (operations of a live ldmsd, section 4). One that another aggregator takes over is fetched until then.
pub(super) fn going<'a>(config: &'a DaemonConfig, observed: &Observation, ledger: &Ledger) -> BTreeSet<&'a Name> {
    let is_outdated = |name: &Name, wanted: &ProducerWanted| {
        observed.producers.get(name).is_some_and(|found| {
            let differs = || !same_attributes(wanted, found) || ledger.contradicts(&unshown(name, wanted));
            !same_address(wanted, found) || (differs() && !is_tombstone(name, ledger))
        })
    };
    let settled = config.producers.iter().filter(|(_, wanted)| wanted.run != Run::AsItIs);
    let outdated = settled.filter(|(name, wanted)| is_outdated(name, wanted)).map(|(name, _)| name);
    outdated.chain(&config.retired.producers).collect()
}

pub(super) fn changes(
    config: &DaemonConfig,
    observed: &Observation,
    ledger: &Ledger,
    going: &BTreeSet<&Name>,
    changes: &mut Vec<Change>,
) {
    let mut to_start: Vec<&Name> = Vec::new();
    for (name, wanted) in config.producers.iter().filter(|(name, _)| !going.contains(*name)) {
        match observed.producers.get(name) {
            None => {
                changes.push(add(name, wanted));
                if wanted.run == Run::Started {
                    to_start.push(name);
                }
            }
            Some(found) => match (wanted.run, found.state) {
                (Run::Started, ProducerState::Stopped | ProducerState::Standby) => to_start.push(name),
                (Run::Stopped, state) if state.is_started() => changes.push(stop(name)),
                _ => {}
            },
        }
    }
    for (name, run) in &config.advertised {
        match (run, observed.producers.get(name).map(|found| found.state)) {
            // One that is STOPPED connects again by itself, and is then collected at once.
            (Run::Started, Some(ProducerState::Stopped | ProducerState::Standby)) => to_start.push(name),
            (Run::Stopped, Some(state)) if state.is_started() => changes.push(stop(name)),
            _ => {}
        }
    }
    for name in going.iter().copied() {
        match observed.producers.get(name).map(|found| found.state) {
            // It cannot be deleted before the updaters have let it go, and some never can. Where an updater of somebody
            // else has it, the refusal tells the operator.
            Some(ProducerState::Stopped) if !is_tombstone(name, ledger) && !updaters::still_list(observed, name) => {
                let delete = Command::new(Verb::PrdcrDel).with(Attribute::Name, name);
                changes.push(Change::visible(Subject::Producer(name.clone()), vec![delete.into()]));
            }
            Some(state) if state.is_started() => changes.push(stop(name)),
            _ => {}
        }
    }
    subscribe(config, observed, ledger, changes);
    // Started last: what is subscribed to is then settled when the connection is made.
    start(&to_start, changes);
}

/// Starts those that stand by: last of all, since nothing depends on it that is needed now. One that an updater lists
/// would be collected, so it waits until none does.
pub(super) fn start_standbys(
    config: &DaemonConfig,
    observed: &Observation,
    going: &BTreeSet<&Name>,
    changes: &mut Vec<Change>,
) {
    let standbys = config.producers.iter().filter(|(name, wanted)| wanted.run == Run::Standby && !going.contains(name));
    let is_stopped =
        |name: &Name| observed.producers.get(name).is_none_or(|found| found.state == ProducerState::Stopped);
    let is_listed = |name: &Name| observed.updaters.values().any(|updater| updater.producers.contains(name));
    let to_start: Vec<&Name> =
        standbys.map(|(name, _)| name).filter(|name| is_stopped(name) && !is_listed(name)).collect();
    start(&to_start, changes);
}

fn start(producers: &[&Name], changes: &mut Vec<Change>) {
    for names in producers.chunks(NAMES_IN_ONE) {
        let expression = alternation(names.iter().map(|name| name.as_str()));
        let command = Command::new(Verb::PrdcrStartRegex).with(Attribute::Regex, expression);
        let subject = Subject::ProducersStarted(names[0].clone());
        changes.push(Change::visible(subject, vec![Step::accepting(command, MAYBE_STARTED)]));
    }
}

fn same_address(wanted: &ProducerWanted, found: &ObservedProducer) -> bool {
    // A passive one is connected to, from a port that nobody knows beforehand.
    let port = wanted.port == found.port || wanted.producer.kind == ProducerKind::Passive;
    wanted.host == found.host && port && wanted.xprt == found.xprt
}

/// Whether what the daemon tells of a producer is what is wanted; it does not tell everything.
fn same_attributes(wanted: &ProducerWanted, found: &ObservedProducer) -> bool {
    let producer = &wanted.producer;
    let size =
        |wanted: Option<&String>, found: Option<&String>| match (wanted.map(|w| bytes(w)), found.map(|f| bytes(f))) {
            (Some(Some(wanted)), Some(Some(found))) => wanted == found,
            (None, Some(Some(found))) => found == UNLIMITED,
            _ => true,
        };
    let rail = producer.rail.as_ref().map_or(Some(1), |rail| rail.parse().ok());
    found.auth.as_ref().is_none_or(|auth| *auth == *wanted.auth || auth == DEFAULT_DOMAIN)
        && found.rail.zip(rail).is_none_or(|(found, wanted)| found == wanted)
        && size(producer.quota.as_ref(), found.quota.as_ref())
        && size(producer.rx_rate.as_ref(), found.rx_rate.as_ref())
        && found.kind == producer.kind.word()
        && match (producer.reconnect.us(), found.reconnect_us) {
            (Some(wanted_us), Some(found_us)) => u64::try_from(wanted_us) == Ok(found_us),
            _ => true,
        }
}

/// A number of bytes with an optional suffix, as `prdcr_add` takes it and `prdcr_status` shows it.
fn bytes(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let shift = match suffix.trim_end_matches(['b', 'B']) {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(1 << shift)
}

/// A producer that its daemon will not delete before it restarts: main and 4.5 keep for good what `prdcr_start` ever
/// started (section 4).
#[must_use]
pub fn tombstone(name: &Name) -> LedgerEntry {
    LedgerEntry::new(format!("undeletable {name}"), "")
}

fn is_tombstone(name: &Name, ledger: &Ledger) -> bool {
    ledger.holds(&tombstone(name))
}

fn add(name: &Name, wanted: &ProducerWanted) -> Change {
    let steps = vec![Step::accepting(add_command(name, wanted), EXISTS)];
    Change { subject: Subject::Producer(name.clone()), steps, remember: Some(unshown(name, wanted)) }
}

fn unshown(name: &Name, wanted: &ProducerWanted) -> LedgerEntry {
    LedgerEntry::of_producer(name, Unshown::of_producer(wanted))
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

/// What begins the key of a subscription in a ledger.
const SUBSCRIPTION: &str = "subscription ";

fn subscription_key(subscription: &Subscription) -> String {
    let (attribute, source) = attribute_of(&subscription.source);
    format!("{SUBSCRIPTION}{attribute} {source} {}", subscription.regex)
}

/// A subscription that the configuration does not have is not made for producers that are added meanwhile, so that it
/// has to be sent again once the configuration has it again.
pub(super) fn doubt_subscriptions(config: &DaemonConfig, ledger: &mut Ledger) {
    let gone: BTreeSet<String> = subscriptions_beyond(config, ledger).collect();
    ledger.doubt_those(|key| gone.contains(key));
}

/// Subscriptions to messages may have been forgotten, and are to be sent again: those made on a connection that was older
/// than the message service of either end (operations of a live ldmsd, section 11).
pub fn doubt_messages(ledger: &mut Ledger) {
    let messages = format!("{SUBSCRIPTION}{} ", Attribute::MessageTag);
    ledger.doubt_those(|key| key.starts_with(&messages));
}

/// The keys of the subscriptions that have been made and have left the configuration.
pub(super) fn subscriptions_beyond<'a>(
    config: &DaemonConfig,
    ledger: &'a Ledger,
) -> impl Iterator<Item = String> + use<'a> {
    let wanted: BTreeSet<String> = config.subscriptions.iter().map(subscription_key).collect();
    let made = ledger.keys().filter(|key| key.starts_with(SUBSCRIPTION));
    made.filter(move |key| !wanted.contains(*key)).map(str::to_owned)
}

fn attribute_of(source: &SubscriptionSource) -> (Attribute, &str) {
    match source {
        SubscriptionSource::Stream(stream) => (Attribute::Stream, stream),
        // Two words for one attribute, of which 4.5 knows the first only, in a configuration file.
        SubscriptionSource::MessageTag(tag) | SubscriptionSource::MessageChannel(tag) => (Attribute::MessageTag, tag),
    }
}

/// A subscription is kept by each producer object: one that is added later does not have it, so it is
/// sent again whenever a producer is added or has advertised itself. Repeating it does no harm (section 11).
fn subscribe(config: &DaemonConfig, observed: &Observation, ledger: &Ledger, changes: &mut Vec<Change>) {
    let some_are_new = config.producers.keys().any(|name| !observed.producers.contains_key(name));
    let present: Vec<&str> =
        config.advertised.keys().filter(|name| observed.producers.contains_key(*name)).map(Name::as_str).collect();
    let advertised = present.join(" ");
    for subscription in &config.subscriptions {
        let (attribute, source) = attribute_of(&subscription.source);
        let command = Command::new(Verb::PrdcrSubscribe)
            .with(Attribute::Regex, &subscription.regex)
            .with(attribute, source)
            .with_some(Attribute::RxRate, subscription.rx_rate.as_ref());
        let entry = LedgerEntry::new(subscription_key(subscription), &format!("{command} {advertised}"));
        if some_are_new || !ledger.holds(&entry) {
            changes.push(Change {
                subject: Subject::Subscription(format!("{attribute} {source} of {}", subscription.regex)),
                steps: vec![command.into()],
                remember: Some(entry),
            });
        }
    }
}
