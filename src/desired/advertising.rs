//! Advertisers, by which a daemon offers itself to aggregators, and the listeners of these.
//!
//! An advertiser is an entry of `prdcr_status`; it can be stopped and started again, but once started never be deleted
//! or changed (operations of a live ldmsd, section 10). One for another address has another name.
//! A listener cannot be changed either.

use std::collections::BTreeMap;

use super::change::{Change, Step, Subject};
use super::config::{AdvertiserWanted, DaemonConfig};
use super::ledger::{Ledger, LedgerEntry};
use crate::cluster::ProducerListener;
use crate::ldmsd::observation::{ObservedProducer, ProducerState};
use crate::ldmsd::{Attribute, Command, Observation, Verb};
use crate::notation::Name;

/// The object exists already, which is what was wanted.
const EXISTS: &[i32] = &[17];
/// It runs already.
const RUNNING: &[i32] = &[16];
/// The only word that `advertiser_add` takes for its type, and it has to be given on the wire.
const ADVERTISER: &str = "advertiser";

pub(super) fn changes(config: &DaemonConfig, observed: &Observation, ledger: &Ledger, changes: &mut Vec<Change>) {
    for (name, wanted) in &config.advertisers {
        let unshown = unshown_of_advertiser(name, wanted);
        let steps = match observed.producers.get(name) {
            None => vec![Step::accepting(add(name, wanted), EXISTS), start(name)],
            // It goes on as it is. The refusal tells the operator.
            Some(found) if !is_right(wanted, found) || ledger.contradicts(&unshown) => match found.state {
                ProducerState::Stopped => vec![add(name, wanted).into(), start(name)],
                _ => vec![add(name, wanted).into()],
            },
            Some(found) if found.state == ProducerState::Stopped => vec![start(name)],
            Some(_) => continue,
        };
        changes.push(Change { subject: Subject::Advertiser(name.clone()), steps, remember: Some(unshown) });
    }
    for name in &config.retired.advertisers {
        // It cannot be deleted.
        if observed.producers.get(name).is_some_and(|found| found.state != ProducerState::Stopped) {
            let stop = Command::new(Verb::AdvertiserStop).with(Attribute::Name, name);
            changes.push(Change::visible(Subject::Advertiser(name.clone()), vec![stop.into()]));
        }
    }
    for (name, wanted) in &config.listeners {
        let add = listen(name, wanted);
        let unshown = unshown_of_listener(name, wanted);
        let start = Command::new(Verb::PrdcrListenStart).with(Attribute::Name, name);
        let steps = match observed.listeners.get(name) {
            None => vec![Step::accepting(add, EXISTS), start.into()],
            // No daemon changes a listener. The refusal tells the operator.
            Some(found) if found.regex != wanted.regex || found.ip != wanted.ip || ledger.contradicts(&unshown) => {
                vec![add.into()]
            }
            Some(found) if !found.running => vec![start.into()],
            Some(_) => continue,
        };
        changes.push(Change { subject: Subject::ProducerListener(name.clone()), steps, remember: Some(unshown) });
    }
    for name in &config.retired.listeners {
        if observed.listeners.get(name).is_some_and(|found| found.running) {
            let stop = Command::new(Verb::PrdcrListenStop).with(Attribute::Name, name);
            changes.push(Change::visible(Subject::ProducerListener(name.clone()), vec![stop.into()]));
        }
    }
}

/// What an advertiser is given that no daemon shows, or not every line.
pub(super) fn unshown_of_advertiser(name: &Name, wanted: &AdvertiserWanted) -> LedgerEntry {
    let text = words(&wanted.options).fold(wanted.target.auth.name.to_string(), |text, word| text + &word);
    LedgerEntry::new(Subject::Advertiser(name.clone()).to_string(), &text)
}

/// The same of a listener. Whether it starts what comes is changed by maestro itself.
pub(super) fn unshown_of_listener(name: &Name, wanted: &ProducerListener) -> LedgerEntry {
    let disable_start = Attribute::DisableStart.to_string();
    let reconnect = wanted.reconnect.as_ref().map(ToString::to_string).unwrap_or_default();
    let lasting = words(&wanted.options).filter(|word| !word.starts_with(&format!(" {disable_start}=")));
    let text = lasting.fold(reconnect, |text, word| text + &word);
    LedgerEntry::new(Subject::ProducerListener(name.clone()).to_string(), &text)
}

fn words(options: &BTreeMap<String, String>) -> impl Iterator<Item = String> {
    options.iter().map(|(word, value)| format!(" {word}={value}"))
}

fn is_right(wanted: &AdvertiserWanted, found: &ObservedProducer) -> bool {
    let target = &wanted.target;
    let reconnect = match (wanted.reconnect.us(), found.reconnect_us) {
        (Some(wanted_us), Some(found_us)) => u64::try_from(wanted_us) == Ok(found_us),
        _ => true,
    };
    found.kind == ADVERTISER
        && (&found.host, found.port, &found.xprt) == (&target.host, target.port, &target.xprt)
        && reconnect
}

fn add(name: &Name, wanted: &AdvertiserWanted) -> Command {
    let target = &wanted.target;
    let add = Command::new(Verb::AdvertiserAdd)
        .with(Attribute::Name, name)
        .with(Attribute::Host, &target.host)
        .with(Attribute::Xprt, &target.xprt)
        .with(Attribute::Port, target.port)
        .with(Attribute::Type, ADVERTISER)
        .with(Attribute::Reconnect, &wanted.reconnect)
        .with(Attribute::Auth, &target.auth.name);
    with_options(add, &wanted.options)
}

fn start(name: &Name) -> Step {
    Step::accepting(Command::new(Verb::AdvertiserStart).with(Attribute::Name, name), RUNNING)
}

fn listen(name: &Name, wanted: &ProducerListener) -> Command {
    let add = Command::new(Verb::PrdcrListenAdd)
        .with(Attribute::Name, name)
        .with_some(Attribute::Reconnect, wanted.reconnect.as_ref())
        .with_some(Attribute::Regex, wanted.regex.as_ref())
        .with_some(Attribute::Ip, wanted.ip.as_ref());
    with_options(add, &wanted.options)
}

/// Options as written; ldmsd has no attribute for a word that is none of its language.
fn with_options(command: Command, options: &BTreeMap<String, String>) -> Command {
    options
        .iter()
        .filter_map(|(word, value)| Some((Attribute::from_word(word)?, value)))
        .fold(command, |command, (attribute, value)| command.with(attribute, value))
}
