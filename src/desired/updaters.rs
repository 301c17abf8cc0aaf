//! Updaters, the lasting ones of the configuration and the temporary fast ones.
//!
//! A running updater cannot be changed, and a producer added later is not in it. So an updater that is
//! not as it should be is replaced: a new one under another name is started, then the old one is
//! stopped and deleted. Their overlap neither loses nor doubles a sample (operations of a live ldmsd,
//! section 7). On the daemon an updater is called `updtr_0`, or `updtr_0.1`, …; the Python maestro's
//! `updtr_0_l1-agg-1` counts as ours as well and is kept where it is right.

use std::collections::BTreeSet;

use super::change::{Change, Step, Subject};
use super::config::{BoostConfig, DaemonConfig};
use super::regex::alternations;
use crate::cluster::{SetMatch, Updater, UpdaterMode};
use crate::ldmsd::observation::{ObservedMode, ObservedUpdater};
use crate::ldmsd::{Attribute, Command, Observation, Verb};
use crate::notation::{Interval, Name};

pub(super) fn changes(
    config: &DaemonConfig,
    observed: &Observation,
    going: &BTreeSet<&Name>,
    changes: &mut Vec<Change>,
) {
    for wanted in &config.updaters {
        let ours: Vec<(&Name, &ObservedUpdater)> =
            observed.updaters.iter().filter(|(name, _)| belongs_to(name, &wanted.name)).collect();
        let right = ours.iter().find(|(_, found)| is_right(wanted, found, config, going)).map(|(name, _)| *name);
        let mut steps = Vec::new();
        match right {
            Some(name) if observed.updaters[name].running => {}
            Some(name) => steps.push(Command::new(Verb::UpdtrStart).with(Attribute::Name, name).into()),
            None => {
                let without = going.iter().copied().filter(|name| observed.producers.contains_key(*name));
                steps.extend(add(&free_name(&wanted.name, observed), wanted, without));
            }
        }
        for (name, _) in ours.iter().filter(|(name, _)| Some(*name) != right) {
            steps.extend(remove(name));
        }
        if !steps.is_empty() {
            changes.push(Change::visible(Subject::Updater(wanted.name.clone()), steps));
        }
    }
    for name in observed.updaters.keys().filter(|name| is_ours(name)) {
        if !config.updaters.iter().any(|wanted| belongs_to(name, &wanted.name)) {
            changes.push(Change::visible(Subject::Updater(name.clone()), remove(name).into()));
        }
    }
    boosts(config, observed, changes);
}

/// Whether an updater that maestro has made lists a producer, and will let it go.
pub(super) fn still_list(observed: &Observation, producer: &Name) -> bool {
    let is_made_by_maestro = |name: &Name| is_ours(name) || name.starts_with(BoostConfig::PREFIX);
    observed.updaters.iter().any(|(name, found)| is_made_by_maestro(name) && found.producers.contains(producer))
}

/// Whether the name tells that a maestro made the updater: `updtr_` and a number, and what may follow.
fn is_ours(on_daemon: &Name) -> bool {
    let Some(rest) = on_daemon.strip_prefix("updtr_") else { return false };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && (rest.len() == digits || rest[digits..].starts_with(['_', '.']))
}

/// Whether an updater on the daemon stands for the updater `name` of the cluster.
fn belongs_to(on_daemon: &Name, name: &Name) -> bool {
    match on_daemon.strip_prefix(name.as_str()) {
        Some(rest) => rest.is_empty() || rest.starts_with(['_', '.']),
        None => false,
    }
}

fn free_name(name: &Name, observed: &Observation) -> Name {
    let numbered = (1..).map(|number| Name::from(format!("{name}.{number}")));
    std::iter::once(name.clone())
        .chain(numbered)
        .find(|candidate| !observed.updaters.contains_key(candidate))
        .unwrap_or_else(|| name.clone())
}

/// Whether an updater has every producer of the aggregator that it is for. Expressions are compiled only where a
/// producer is missing, and one that is beyond us decides nothing.
fn covers(wanted: &Updater, found: &ObservedUpdater, config: &DaemonConfig, going: &BTreeSet<&Name>) -> bool {
    let stay = config.producers.keys().filter(|name| !going.contains(name));
    let missing: Vec<&Name> = stay.filter(|name| !found.producers.contains(*name)).collect();
    if missing.is_empty() {
        return true;
    }
    let compiled: Result<Vec<::regex::Regex>, _> = wanted.producers.iter().map(|e| ::regex::Regex::new(e)).collect();
    let Ok(expressions) = compiled else { return true };
    !missing.iter().any(|name| expressions.iter().any(|expression| expression.is_match(name)))
}

fn is_right(wanted: &Updater, found: &ObservedUpdater, config: &DaemonConfig, going: &BTreeSet<&Name>) -> bool {
    let interval = wanted.interval.us().is_none_or(|interval_us| interval_us == found.interval_us);
    let offset = match offset(wanted) {
        None => found.offset_us == Some(0),
        Some(offset) => offset.us().is_none_or(|offset_us| found.offset_us == Some(offset_us)),
    };
    interval
        && offset
        && covers(wanted, found, config, going)
        && !going.iter().any(|name| found.producers.contains(*name))
        && found.mode == observed_mode(wanted.mode)
        && in_effect(found.matches.iter().map(|(field, regex)| (field.as_str(), regex.as_str())))
            == in_effect(wanted.sets.iter().map(|SetMatch { regex, field }| (field.word(), regex.as_str())))
}

/// A daemon takes a missing offset as zero, and the store keeps no zeros.
fn offset(wanted: &Updater) -> Option<&Interval> {
    wanted.offset.as_ref().filter(|offset| offset.us() != Some(0))
}

fn observed_mode(mode: UpdaterMode) -> ObservedMode {
    match mode {
        UpdaterMode::Pull => ObservedMode::Pull,
        UpdaterMode::Auto => ObservedMode::Auto,
        UpdaterMode::Push => ObservedMode::Push,
        UpdaterMode::OnChange => ObservedMode::OnChange,
    }
}

/// A match list without what makes no difference: an entry that matches every set stands for no list.
fn in_effect<'a>(matches: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeSet<(&'a str, &'a str)> {
    let matches: BTreeSet<_> = matches.collect();
    if matches.iter().any(|(_, regex)| *regex == ".*") { BTreeSet::new() } else { matches }
}

/// A producer can only be deleted when no updater lists it (section 4), so one that has to go is taken out again
/// where the expressions match it, too.
fn add<'a>(name: &Name, wanted: &Updater, going: impl Iterator<Item = &'a Name>) -> Vec<Step> {
    let add = Command::new(Verb::UpdtrAdd)
        .with(Attribute::Name, name)
        .with(Attribute::Interval, &wanted.interval)
        .with_some(Attribute::Offset, offset(wanted))
        .with_some(Attribute::AutoInterval, (wanted.mode == UpdaterMode::Auto).then_some(true))
        .with_some(
            Attribute::Push,
            match wanted.mode {
                UpdaterMode::Push => Some("true"),
                UpdaterMode::OnChange => Some("onchange"),
                UpdaterMode::Pull | UpdaterMode::Auto => None,
            },
        )
        .with_some(Attribute::Perm, wanted.perm);
    let producers = wanted
        .producers
        .iter()
        .map(|regex| Command::new(Verb::UpdtrPrdcrAdd).with(Attribute::Name, name).with(Attribute::Regex, regex));
    let without = alternations(going.map(Name::as_str))
        .into_iter()
        .map(|regex| Command::new(Verb::UpdtrPrdcrDel).with(Attribute::Name, name).with(Attribute::Regex, regex));
    let matches = wanted.sets.iter().map(|set| {
        Command::new(Verb::UpdtrMatchAdd)
            .with(Attribute::Name, name)
            .with(Attribute::Regex, &set.regex)
            .with(Attribute::Match, set.field.word())
    });
    let start = Command::new(Verb::UpdtrStart).with(Attribute::Name, name);
    std::iter::once(add).chain(producers).chain(without).chain(matches).chain([start]).map(Step::from).collect()
}

fn remove(name: &Name) -> [Step; 2] {
    let stop = Command::new(Verb::UpdtrStop).with(Attribute::Name, name);
    let delete = Command::new(Verb::UpdtrDel).with(Attribute::Name, name);
    [stop.into(), delete.into()]
}

/// Temporary updaters are wanted or they are leftovers; a maestro that died may have left some behind.
fn boosts(config: &DaemonConfig, observed: &Observation, changes: &mut Vec<Change>) {
    for boost in &config.boosts {
        let steps: Vec<Step> = match observed.updaters.get(&boost.name) {
            None => start_boost(boost),
            Some(found) if !found.running => {
                vec![Command::new(Verb::UpdtrStart).with(Attribute::Name, &boost.name).into()]
            }
            Some(_) => continue,
        };
        changes.push(Change::visible(Subject::Boost(boost.name.clone()), steps));
    }
    for name in observed.updaters.keys().filter(|name| name.starts_with(BoostConfig::PREFIX)) {
        if !config.boosts.iter().any(|boost| boost.name == *name) {
            changes.push(Change::visible(Subject::Boost(name.clone()), remove(name).into()));
        }
    }
}

fn start_boost(boost: &BoostConfig) -> Vec<Step> {
    let add = Command::new(Verb::UpdtrAdd)
        .with(Attribute::Name, &boost.name)
        .with(Attribute::Interval, BoostConfig::INTERVAL_US);
    let producers = alternations(boost.producers.iter().map(Name::as_str)).into_iter().map(|regex| {
        Command::new(Verb::UpdtrPrdcrAdd).with(Attribute::Name, &boost.name).with(Attribute::Regex, regex)
    });
    let sets = alternations(boost.sets.iter().map(String::as_str)).into_iter().map(|regex| {
        Command::new(Verb::UpdtrMatchAdd)
            .with(Attribute::Name, &boost.name)
            .with(Attribute::Regex, regex)
            .with(Attribute::Match, "inst")
    });
    let start = Command::new(Verb::UpdtrStart).with(Attribute::Name, &boost.name);
    std::iter::once(add).chain(producers).chain(sets).chain([start]).map(Step::from).collect()
}
