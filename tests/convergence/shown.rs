//! What a daemon shows, compared with what it is to be: written independently of what maestro compares.

use std::collections::{BTreeMap, BTreeSet};

use maestro::cluster::{MatchField, SubscriptionSource, UpdaterMode};
use maestro::desired::{DaemonConfig, Run};
use maestro::ldmsd::{Attribute, Command, Numbering, Verb};
use maestro::notation::Interval;
use regex::Regex;
use serde_json::Value;

use crate::past::Site;

/// What is not as it is to be: the name of the object, and what is wrong.
pub(crate) type Fault = (String, String);

/// The entries of a status, by name.
type Entries = BTreeMap<String, Value>;

fn ask(site: &mut Site, verb: Verb) -> Entries {
    let text = site.send(&Command::new(verb)).and_then(|reply| reply.text).unwrap_or_default();
    let list: Vec<Value> = serde_json::from_str(&text).unwrap();
    list.into_iter().map(|entry| (text_of(&entry, "name"), entry)).collect()
}

fn text_of(entry: &Value, key: &str) -> String {
    match &entry[key] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn us(interval: &Interval) -> String {
    interval.us().unwrap().to_string()
}

fn carried_out(site: &Site, verb: Verb) -> impl Iterator<Item = &Command> {
    site.carried_out.iter().filter(move |command| command.verb == verb)
}

/// What of the configuration the daemon does not show to be so.
pub(crate) fn faults(config: &DaemonConfig, site: &mut Site) -> Vec<Fault> {
    let mut faults = Vec::new();
    let producers = ask(site, Verb::PrdcrStatus);
    let updaters = ask(site, Verb::UpdtrStatus);
    let listed: BTreeSet<String> = updaters.values().flat_map(producers_of).collect();
    check_producers(config, &producers, &listed, &mut faults);
    check_updaters(config, &producers, site, &mut faults);
    check_policies(config, site, &mut faults);
    check_plugins(config, site, &mut faults);
    check_advertising(config, &producers, site, &mut faults);
    check_services(config, &producers, site, &mut faults);
    faults
}

/// The producers that an updater is for.
fn producers_of(updater: &Value) -> Vec<String> {
    updater["producers"].as_array().unwrap().iter().map(|producer| text_of(producer, "name")).collect()
}

fn check_producers(config: &DaemonConfig, shown: &Entries, listed: &BTreeSet<String>, faults: &mut Vec<Fault>) {
    for (name, wanted) in &config.producers {
        let mut wrong = |text: String| faults.push((name.to_string(), text));
        let Some(entry) = shown.get(name.as_str()) else {
            wrong("is not there".into());
            continue;
        };
        let rail = wanted.producer.rail.clone().unwrap_or_else(|| "1".into());
        let expected = [
            ("host", wanted.host.clone()),
            ("port", wanted.port.to_string()),
            ("transport", wanted.xprt.clone()),
            ("type", "active".into()),
            ("reconnect_us", us(&wanted.producer.reconnect)),
            ("rail", rail),
        ];
        for (key, value) in expected {
            if entry.get(key).is_some() && text_of(entry, key) != value {
                wrong(format!("{key} is {} instead of {value}", entry[key]));
            }
        }
        let state = text_of(entry, "state");
        let runs = !matches!(state.as_str(), "STOPPED" | "STOPPING" | "STANDBY");
        let is_right = match wanted.run {
            Run::Started => runs,
            Run::Stopped => !runs,
            // One that is collected by an updater of somebody else cannot stand by.
            Run::Standby => runs || listed.contains(name.as_str()),
            Run::AsItIs => true,
        };
        if !is_right {
            wrong(format!("is {state}, to be {:?}", wanted.run));
        }
    }
    for name in config.retired.producers.iter().filter(|name| shown.contains_key(name.as_str())) {
        faults.push((name.to_string(), "is still there".into()));
    }
}

fn check_updaters(config: &DaemonConfig, producers: &Entries, site: &mut Site, faults: &mut Vec<Fault>) {
    let shown = ask(site, Verb::UpdtrStatus);
    let lists = ask(site, Verb::UpdtrMatchList);
    let number = Regex::new(r"^updtr_([0-9]+)([_.].*)?$").unwrap();
    let mut by_number: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for (name, entry) in &shown {
        if let Some(found) = number.captures(name) {
            by_number.entry(format!("updtr_{}", &found[1])).or_default().push(entry);
        }
    }
    for wanted in &config.updaters {
        let mut wrong = |text: String| faults.push((wanted.name.to_string(), text));
        let found = by_number.remove(wanted.name.as_str()).unwrap_or_default();
        let [entry] = found[..] else {
            wrong(format!("is there {} times", found.len()));
            continue;
        };
        let offset = wanted.offset.as_ref().map_or("0".into(), us);
        let (mode, auto) = match wanted.mode {
            UpdaterMode::Pull => ("Pull", "false"),
            UpdaterMode::Auto => ("Pull", "true"),
            UpdaterMode::Push => ("Push on Request", "false"),
            UpdaterMode::OnChange => ("Push on Change", "false"),
        };
        let expected = [
            ("state", "RUNNING".to_owned()),
            ("interval", us(&wanted.interval)),
            ("offset", offset),
            ("sync", "true".into()),
            ("mode", mode.into()),
            ("auto", auto.into()),
        ];
        for (key, value) in expected {
            if text_of(entry, key) != value {
                wrong(format!("{key} is {} instead of {value}", entry[key]));
            }
        }
        let list = lists[&text_of(entry, "name")]["match"].as_array().unwrap();
        let list: BTreeSet<(String, String)> =
            list.iter().map(|entry| (text_of(entry, "selector"), text_of(entry, "regex"))).collect();
        let field = |field| if field == MatchField::Schema { "schema" } else { "inst" };
        let sets = wanted.sets.iter().map(|set| (field(set.field).to_owned(), set.regex.clone())).collect();
        let takes_all = |list: &BTreeSet<(String, String)>| list.is_empty() || list.iter().any(|(_, r)| r == ".*");
        if list != sets && !(takes_all(&list) && takes_all(&sets)) {
            wrong(format!("takes {list:?} instead of {sets:?}"));
        }
        let covers = producers_of(entry);
        let regexes: Vec<Regex> = wanted.producers.iter().map(|text| Regex::new(text).unwrap()).collect();
        for name in config.producers.keys().filter(|name| producers.contains_key(name.as_str())) {
            let is_meant = wanted.only_producers.as_ref().is_none_or(|only| only.contains(name));
            let is_wanted = is_meant && regexes.iter().any(|regex| regex.is_match(name));
            if is_wanted != covers.contains(&name.to_string()) {
                faults.push((name.to_string(), format!("is in {}: {}", wanted.name, !is_wanted)));
            }
        }
    }
    for name in by_number.into_keys() {
        faults.push((name, "is left over".into()));
    }
    let boosts: BTreeSet<&str> = config.boosts.iter().map(|boost| boost.name.as_str()).collect();
    for (name, entry) in shown.iter().filter(|(name, _)| name.starts_with("boost-")) {
        if !boosts.contains(name.as_str()) || text_of(entry, "state") != "RUNNING" {
            faults.push((name.clone(), format!("wanted: {boosts:?}, is {entry}")));
        }
    }
    for name in boosts.into_iter().filter(|name| !shown.contains_key(*name)) {
        faults.push((name.to_owned(), "is not there".into()));
    }
}

fn check_policies(config: &DaemonConfig, site: &mut Site, faults: &mut Vec<Fault>) {
    let shown = ask(site, Verb::StrgpStatus);
    for (name, wanted) in &config.policies {
        let mut wrong = |text: String| faults.push((name.to_string(), text));
        let Some(entry) = shown.get(name.as_str()) else {
            wrong("is not there".into());
            continue;
        };
        let policy = &wanted.policy;
        let or = |text: &Option<String>, none: &str| text.clone().unwrap_or_else(|| none.to_owned());
        let flush_us = policy.flush.as_ref().and_then(Interval::us).unwrap_or(0);
        let expected = [
            ("state", "RUNNING".to_owned()),
            ("container", or(&policy.container, "(null)")),
            ("schema", or(&policy.schema, "-")),
            ("regex", or(&policy.regex, "-")),
            ("decomp", or(&policy.decomposition, "-")),
            ("flush", format!("{}.{:06}", flush_us / 1_000_000, flush_us % 1_000_000)),
        ];
        for (key, value) in expected {
            if text_of(entry, key) != value {
                wrong(format!("{key} is {} instead of {value}", entry[key]));
            }
        }
        if !entry["producers"].as_array().unwrap().iter().any(|regex| regex == ".*") {
            wrong(format!("stores what comes from {}", entry["producers"]));
        }
        // It cannot be right before its plugin is.
        if text_of(entry, "plugin") != wanted.library {
            let text = format!("{name} stores with {} instead of {}", entry["plugin"], wanted.library);
            faults.push((wanted.instance.to_string(), text));
        }
    }
    for name in config.retired.policies.iter().filter(|name| shown.contains_key(name.as_str())) {
        faults.push((name.to_string(), "is still there".into()));
    }
}

fn check_plugins(config: &DaemonConfig, site: &mut Site, faults: &mut Vec<Fault>) {
    let shown = ask(site, Verb::PlugnStatus);
    let sets = site.sets();
    let published = ask_sets(site);
    let v44 = site.imitation.numbering() == Numbering::V44;
    let now_us = site.network.now_us;
    let mut libraries = BTreeSet::new();
    for (instance, wanted) in &config.plugins {
        if v44 && !libraries.insert(&wanted.plugin) {
            faults.push((instance.to_string(), "has a library that 4.4 has given to another instance".into()));
            continue;
        }
        let name = if v44 { wanted.plugin.clone() } else { instance.to_string() };
        let is_store = wanted.schedule.is_none();
        let listed = if v44 && is_store { name.trim_start_matches("store_") } else { &name };
        let mut wrong = |text: String| faults.push((name.clone(), text));
        let Some(entry) = shown.get(listed) else {
            wrong("is not loaded".into());
            continue;
        };
        if !v44 && text_of(entry, "plugin") != wanted.plugin {
            wrong(format!("is {} instead of {}", entry["plugin"], wanted.plugin));
        }
        let Some(schedule) = &wanted.schedule else { continue };
        let instances = published.get(&name).cloned().unwrap_or_default();
        let own = sets.iter().filter(|set| instances.contains(&set.instance));
        let own: Vec<_> = own.collect();
        let interval_us = u64::try_from(schedule.interval.us().unwrap()).unwrap();
        let hint = format!("{interval_us}:{}", schedule.offset.as_ref().map_or("0".into(), us));
        if own.is_empty() {
            wrong("has no set".into());
        }
        for set in own {
            if set.hint.as_ref() != Some(&hint) {
                wrong(format!("samples by {:?} instead of {hint}", set.hint));
            }
            if set.sampled_us + 2 * interval_us < now_us {
                wrong("does not sample".into());
            }
        }
    }
    let wanted_by_library = |library: &str| v44 && config.plugins.values().any(|wanted| wanted.plugin == library);
    for retired in &config.retired.plugins {
        let name = if v44 { retired.library.as_str() } else { retired.instance.as_str() };
        let listed = if v44 { name.trim_start_matches("store_") } else { name };
        let is_wanted = config.plugins.contains_key(&retired.instance) && !v44;
        if shown.contains_key(listed) && !is_wanted && !wanted_by_library(&retired.library) {
            faults.push((name.to_owned(), "is still loaded".into()));
        }
    }
}

fn ask_sets(site: &mut Site) -> BTreeMap<String, Vec<String>> {
    let text = site.send(&Command::new(Verb::PlugnSets)).and_then(|reply| reply.text).unwrap_or_default();
    let list: Vec<Value> = serde_json::from_str(&text).unwrap();
    let names =
        |entry: &Value| entry["sets"].as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_owned()).collect();
    list.iter().map(|entry| (text_of(entry, "plugin"), names(entry))).collect()
}

fn check_advertising(config: &DaemonConfig, producers: &Entries, site: &mut Site, faults: &mut Vec<Fault>) {
    for (name, wanted) in &config.advertisers {
        let mut wrong = |text: String| faults.push((name.to_string(), text));
        let Some(entry) = producers.get(name.as_str()) else {
            wrong("is not there".into());
            continue;
        };
        if text_of(entry, "state") == "STOPPED" {
            wrong("is stopped".into());
        }
        let target = &wanted.target;
        let expected = [
            ("type", "advertiser".to_owned()),
            ("host", target.host.clone()),
            ("port", target.port.to_string()),
            ("transport", target.xprt.clone()),
            ("reconnect_us", us(&wanted.reconnect)),
        ];
        for (key, value) in expected {
            if text_of(entry, key) != value {
                wrong(format!("{key} is {} instead of {value}", entry[key]));
            }
        }
    }
    for name in &config.retired.advertisers {
        if producers.get(name.as_str()).is_some_and(|entry| text_of(entry, "state") != "STOPPED") {
            faults.push((name.to_string(), "still advertises".into()));
        }
    }
    let listeners = ask(site, Verb::PrdcrListenStatus);
    for (name, wanted) in &config.listeners {
        let regex = wanted.regex.as_deref().unwrap_or("-");
        let is_right = |entry: &Value| text_of(entry, "state") == "running" && text_of(entry, "regex") == regex;
        if !listeners.get(name.as_str()).is_some_and(is_right) {
            faults.push((name.to_string(), format!("is {:?}", listeners.get(name.as_str()))));
        }
    }
    for name in &config.retired.listeners {
        if listeners.get(name.as_str()).is_some_and(|entry| text_of(entry, "state") == "running") {
            faults.push((name.to_string(), "still listens".into()));
        }
    }
}

/// What no daemon shows: whether it was carried out last.
fn check_services(config: &DaemonConfig, producers: &Entries, site: &Site, faults: &mut Vec<Fault>) {
    let mut environment = BTreeMap::new();
    for command in carried_out(site, Verb::Env) {
        let words = command.get(Attribute::String).unwrap_or_default();
        environment.extend(words.split(' ').filter_map(|word| word.split_once('=')));
    }
    for (key, value) in &config.environment {
        if environment.get(key.as_str()) != Some(&value.as_str()) {
            faults.push((key.clone(), format!("is {:?}", environment.get(key.as_str()))));
        }
    }
    let switches = [
        (config.streams, "stream", Verb::StreamEnable, Verb::StreamDisable),
        (config.messages, "message", Verb::MsgEnable, Verb::MsgDisable),
    ];
    for (wanted, name, on, off) in switches {
        let last = site.carried_out.iter().rfind(|command| command.verb == on || command.verb == off);
        if wanted && site.imitation.numbering() == Numbering::V45 && last.is_none_or(|command| command.verb != on) {
            faults.push((name.into(), "service is off".into()));
        }
    }
    let done = |verb, attribute, value: &str| carried_out(site, verb).any(|c| c.get(attribute) == Some(value));
    for name in config.auth_domains.keys().filter(|name| !done(Verb::AuthAdd, Attribute::Name, name)) {
        faults.push((name.to_string(), "is no domain".into()));
    }
    for listen in config.listens.iter().filter(|l| !done(Verb::Listen, Attribute::Port, &l.port.to_string())) {
        faults.push((listen.port.to_string(), "is not listened on".into()));
    }
    for subscription in &config.subscriptions {
        let (attribute, source) = match &subscription.source {
            SubscriptionSource::Stream(stream) => (Attribute::Stream, stream),
            SubscriptionSource::MessageTag(tag) | SubscriptionSource::MessageChannel(tag) => {
                (Attribute::MessageTag, tag)
            }
        };
        for name in config.producers.keys().filter(|name| producers.contains_key(name.as_str())) {
            let adds = |c: &Command| c.verb == Verb::PrdcrAdd && c.get(Attribute::Name) == Some(name);
            let added = site.carried_out.iter().rposition(adds).unwrap_or(0);
            let subscribes =
                |command: &Command| command.verb == Verb::PrdcrSubscribe && command.get(attribute) == Some(source);
            if !site.carried_out[added..].iter().any(subscribes) {
                faults.push((source.clone(), format!("is not subscribed to for {name}")));
            }
        }
    }
}

/// Plugins that have been given another configuration than they are to have, in their present life.
pub(crate) fn misconfigured(config: &DaemonConfig, site: &Site) -> Vec<Fault> {
    let mut faults = Vec::new();
    let v44 = site.imitation.numbering() == Numbering::V44;
    let mut libraries = BTreeSet::new();
    for (instance, wanted) in &config.plugins {
        if v44 && !libraries.insert(&wanted.plugin) {
            continue;
        }
        let name = if v44 { wanted.plugin.as_str() } else { instance.as_str() };
        let own = site.carried_out.iter().filter(|command| command.get(Attribute::Name) == Some(name));
        let mut given = Vec::new();
        for command in own {
            match command.verb {
                Verb::Load => given.clear(),
                Verb::Config => given.push(command.get(Attribute::String).unwrap_or_default()),
                _ => {}
            }
        }
        if given != wanted.configs {
            faults.push((name.to_owned(), format!("was given {given:?} instead of {:?}", wanted.configs)));
        }
    }
    faults
}

/// Producers, updaters and policies that were last given something else than they are to have, of what no daemon shows.
pub(crate) fn given_otherwise(config: &DaemonConfig, site: &mut Site) -> Vec<Fault> {
    let mut faults = Vec::new();
    let updaters = ask(site, Verb::UpdtrStatus);
    let mut check = |verb: Verb, name: &str, attribute: Attribute, wanted: Option<String>| {
        let Some(added) = carried_out(site, verb).filter(|c| c.get(Attribute::Name) == Some(name)).last() else {
            return;
        };
        if added.get(attribute) != wanted.as_deref() {
            faults.push((name.to_owned(), format!("was given {added}, to have {attribute} {wanted:?}")));
        }
    };
    for (name, wanted) in &config.producers {
        let producer = &wanted.producer;
        check(Verb::PrdcrAdd, name, Attribute::Perm, producer.perm.map(|perm| perm.to_string()));
        check(Verb::PrdcrAdd, name, Attribute::CacheIp, producer.cache_ip.map(|cached| cached.to_string()));
    }
    for name in updaters.keys() {
        let of_cluster = name.split('.').next().unwrap_or_default();
        if let Some(wanted) = config.updaters.iter().find(|wanted| wanted.name == of_cluster) {
            check(Verb::UpdtrAdd, name, Attribute::Perm, wanted.perm.map(|perm| perm.to_string()));
        }
    }
    for (name, wanted) in &config.policies {
        check(Verb::StrgpAdd, name, Attribute::Perm, wanted.policy.perm.map(|perm| perm.to_string()));
    }
    faults
}

/// The objects of others, by their names, as far as others alone change them.
pub(crate) fn of_others(site: &mut Site) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let sections: [(Verb, &[&str]); 5] = [
        (Verb::PrdcrStatus, &["host", "port", "type", "reconnect_us"]),
        (Verb::UpdtrStatus, &["interval", "offset", "sync", "mode", "auto", "state"]),
        (Verb::StrgpStatus, &["container", "schema", "flush", "state", "producers"]),
        (Verb::PlugnStatus, &["plugin", "type"]),
        (Verb::PrdcrListenStatus, &["state", "regex"]),
    ];
    for (verb, keys) in sections {
        for (name, entry) in ask(site, verb).into_iter().filter(|(name, _)| name.starts_with("op-")) {
            let mut values: Vec<String> = keys.iter().map(|key| text_of(&entry, key)).collect();
            if verb == Verb::PrdcrStatus {
                values.push((!text_of(&entry, "state").starts_with("STOP")).to_string());
            }
            found.insert(format!("{verb} {name}"), values.join(" "));
        }
    }
    found
}
