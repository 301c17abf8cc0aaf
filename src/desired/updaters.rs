//! Updaters, the lasting ones of the configuration and the temporary fast ones.
//!
//! A running updater cannot be changed, and a producer added later is not in it. So an updater that is
//! not as it should be is replaced: a new one under another name is started, and when it is seen to run the old one is
//! stopped and deleted. Their overlap neither loses nor doubles a sample (operations of a live ldmsd,
//! section 7). The new one ticks first after the next full multiple of its interval: started between a multiple and its
//! offset it misses that tick. So the old one has to go on until then, which is for whoever knows the time. On the daemon an updater is called `updtr_0`, or `updtr_0.1`, …; the Python maestro's
//! `updtr_0_l1-agg-1` counts as ours as well and is kept where it is right.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::change::{Change, Step, Subject};
use super::config::{BoostConfig, DaemonConfig, UpdaterWanted};
use super::given::Unshown;
use super::ledger::{Ledger, LedgerEntry};
use super::regex::alternations;
use crate::cluster::{MatchField, SetMatch, Updater, UpdaterMode};
use crate::ldmsd::observation::{ObservedMode, ObservedUpdater};
use crate::ldmsd::{Attribute, Command, Observation, Verb};
use crate::notation::{Interval, Name};

/// An expression that no name of a set matches: none is empty.
const NO_SET: &str = "^$";

pub(super) fn changes(
    config: &DaemonConfig,
    observed: &Observation,
    ledger: &Ledger,
    going: &BTreeSet<&Name>,
    changes: &mut Vec<Change>,
) {
    // After a loss each millisecond counts that a temporary one begins earlier.
    start_boosts(config, observed, changes);
    let mut of_one_updater: BTreeMap<&Name, Vec<&UpdaterWanted>> = BTreeMap::new();
    for wanted in &config.updaters {
        of_one_updater.entry(&wanted.name).or_default().push(wanted);
    }
    for (name, parts) in &of_one_updater {
        one_updater(name, parts, (config, observed, ledger), going, changes);
    }
    for name in observed.updaters.keys().filter(|name| is_ours(name)) {
        if !of_one_updater.keys().any(|wanted| belongs_to(name, wanted)) {
            changes.push(Change::visible(Subject::Updater(name.clone()), remove(name).into()));
        }
    }
    remove_boosts(config, observed, changes);
}

/// The parts in which an aggregator has an updater of the cluster: mostly one, which is the whole.
fn one_updater(
    name: &Name,
    parts: &[&UpdaterWanted],
    (config, observed, ledger): (&DaemonConfig, &Observation, &Ledger),
    going: &BTreeSet<&Name>,
    changes: &mut Vec<Change>,
) {
    let mut ours: BTreeMap<&Name, &ObservedUpdater> =
        observed.updaters.iter().filter(|(on_daemon, _)| belongs_to(on_daemon, name)).collect();
    let mut missing = Vec::new();
    for wanted in parts {
        let given = Unshown::of_updater(wanted);
        let was_given = |name: &Name| !ledger.contradicts(&LedgerEntry::of_updater(name, given));
        let mut right = ours.iter().filter(|(name, _)| was_given(name));
        let right = right.find(|(_, found)| is_right(wanted, found, config, observed, going));
        match right.map(|(name, found)| (*name, found.running)) {
            None => missing.push(*wanted),
            Some((right, running)) => {
                ours.remove(right);
                if !running {
                    let start = Command::new(Verb::UpdtrStart).with(Attribute::Name, right);
                    changes.push(Change::visible(Subject::Updater(label(wanted, parts)), vec![start.into()]));
                }
            }
        }
    }
    let mut names = free_names(name, observed);
    for wanted in missing {
        let without = going.iter().copied().filter(|name| observed.producers.contains_key(*name));
        let Some(on_daemon) = names.next() else { continue };
        let mut steps = add(&on_daemon, wanted, without);
        // What it takes the place of goes when it runs: one, or several that have different producers, which it unites. What
        // else there is would pile up.
        let replaced = |found: &ObservedUpdater| match &wanted.only_producers {
            Some(producers) if parts.len() > 1 => !producers.is_disjoint(&found.producers),
            _ => true,
        };
        let replaced: BTreeMap<&Name, &ObservedUpdater> = ours.extract_if(.., |_, found| replaced(found)).collect();
        let mut going_on: Vec<&ObservedUpdater> = Vec::new();
        for (name, found) in replaced {
            let unites = |other: &&ObservedUpdater| {
                !other.producers.is_empty()
                    && !found.producers.is_empty()
                    && other.producers.is_disjoint(&found.producers)
            };
            if going_on.iter().all(unites) {
                going_on.push(found);
            } else {
                steps.extend(remove(name));
            }
        }
        let remember = Some(LedgerEntry::of_updater(&on_daemon, Unshown::of_updater(wanted)));
        changes.push(Change { subject: Subject::Updater(label(wanted, parts)), steps, remember });
    }
    for name in ours.keys() {
        changes.push(Change::visible(Subject::Updater((*name).clone()), remove(name).into()));
    }
}

/// Names one of several parts of an updater by its first producer.
fn label(wanted: &UpdaterWanted, parts: &[&UpdaterWanted]) -> Name {
    match wanted.only_producers.as_ref().and_then(BTreeSet::first) {
        Some(first) if parts.len() > 1 => Name::from(format!("{} for {first}", wanted.name)),
        _ => wanted.name.clone(),
    }
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
pub(crate) fn belongs_to(on_daemon: &Name, name: &Name) -> bool {
    match on_daemon.strip_prefix(name.as_str()) {
        Some(rest) => rest.is_empty() || rest.starts_with(['_', '.']),
        None => false,
    }
}

/// Names for an updater that the daemon does not have, in order.
fn free_names<'a>(name: &'a Name, observed: &'a Observation) -> impl Iterator<Item = Name> + 'a {
    let numbered = (1..).map(move |number| Name::from(format!("{name}.{number}")));
    std::iter::once(name.clone()).chain(numbered).filter(|candidate| !observed.updaters.contains_key(candidate))
}

/// Whether an updater has the producers that it is for: all of them, and where it is for certain ones no others.
fn has_its_producers(
    wanted: &UpdaterWanted,
    found: &ObservedUpdater,
    config: &DaemonConfig,
    observed: &Observation,
    going: &BTreeSet<&Name>,
) -> bool {
    // One that the daemon does not let itself be given must not have its updaters replaced again and again.
    let is_there = |name: &&Name| observed.producers.contains_key(*name);
    match &wanted.only_producers {
        None => covers(wanted, found, config.producers.keys().filter(is_there), going),
        Some(only) => {
            let has_no_others = found.producers.iter().all(|name| only.contains(name));
            has_no_others && covers(wanted, found, only.iter().filter(is_there), going)
        }
    }
}

/// Whether an updater has all of some producers that its expressions match. Expressions are compiled only where one is
/// missing, and one that is beyond us decides nothing.
fn covers<'a>(
    wanted: &Updater,
    found: &ObservedUpdater,
    producers: impl Iterator<Item = &'a Name>,
    going: &BTreeSet<&Name>,
) -> bool {
    let stay = producers.filter(|name| !going.contains(name));
    let missing: Vec<&Name> = stay.filter(|name| !found.producers.contains(*name)).collect();
    if missing.is_empty() {
        return true;
    }
    let Some(expressions) = compiled(wanted) else { return true };
    !missing.iter().any(|name| expressions.iter().any(|expression| expression.is_match(name)))
}

/// The expressions of an updater's producers; `None` where one is beyond us.
fn compiled(updater: &Updater) -> Option<Vec<::regex::Regex>> {
    updater.producers.iter().map(|expression| ::regex::Regex::new(expression).ok()).collect()
}

fn is_right(
    wanted: &UpdaterWanted,
    found: &ObservedUpdater,
    config: &DaemonConfig,
    observed: &Observation,
    going: &BTreeSet<&Name>,
) -> bool {
    let interval = wanted.interval.us().is_none_or(|interval_us| interval_us == found.interval_us);
    let offset = match offset(wanted) {
        None => found.offset_us == Some(0),
        Some(offset) => offset.us().is_none_or(|offset_us| found.offset_us == Some(offset_us)),
    };
    interval
        && offset
        && has_its_producers(wanted, found, config, observed, going)
        && !going.iter().any(|name| found.producers.contains(*name))
        && found.mode == observed_mode(wanted.mode)
        && in_effect(found.matches.iter().map(|(field, regex)| (field.as_str(), regex.as_str())))
            == in_effect(set_matches(wanted).iter().map(|SetMatch { regex, field }| (field.word(), regex.as_str())))
}

/// The match list of an updater.
fn set_matches(wanted: &UpdaterWanted) -> Cow<'_, [SetMatch]> {
    match &wanted.only_sets {
        None => Cow::Borrowed(&wanted.updater.sets),
        // An empty list would take every set.
        Some(sets) if sets.is_empty() => {
            Cow::Owned(vec![SetMatch { regex: NO_SET.into(), field: MatchField::Instance }])
        }
        Some(sets) => {
            let regexes = alternations(sets.iter().map(String::as_str)).into_iter();
            Cow::Owned(regexes.map(|regex| SetMatch { regex, field: MatchField::Instance }).collect())
        }
    }
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
fn add<'a>(name: &Name, wanted: &UpdaterWanted, going: impl Iterator<Item = &'a Name>) -> Vec<Step> {
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
    let producers = producer_expressions(wanted)
        .into_iter()
        .map(|regex| Command::new(Verb::UpdtrPrdcrAdd).with(Attribute::Name, name).with(Attribute::Regex, regex));
    let without = alternations(going.map(Name::as_str))
        .into_iter()
        .map(|regex| Command::new(Verb::UpdtrPrdcrDel).with(Attribute::Name, name).with(Attribute::Regex, regex));
    let matches = set_matches(wanted).into_owned().into_iter().map(|set| {
        Command::new(Verb::UpdtrMatchAdd)
            .with(Attribute::Name, name)
            .with(Attribute::Regex, set.regex)
            .with(Attribute::Match, set.field.word())
    });
    let start = Command::new(Verb::UpdtrStart).with(Attribute::Name, name);
    std::iter::once(add).chain(producers).chain(without).chain(matches).chain([start]).map(Step::from).collect()
}

/// The expressions of its producers: those of the cluster, or the names of the only ones that it is for.
fn producer_expressions(wanted: &UpdaterWanted) -> Vec<String> {
    let Some(only) = &wanted.only_producers else { return wanted.updater.producers.clone() };
    let expressions = compiled(wanted);
    let is_match = |name: &Name, expressions: &Vec<::regex::Regex>| expressions.iter().any(|e| e.is_match(name));
    let matched = |name: &&Name| expressions.as_ref().is_none_or(|expressions| is_match(name, expressions));
    alternations(only.iter().filter(matched).map(Name::as_str))
}

fn remove(name: &Name) -> [Step; 2] {
    let stop = Command::new(Verb::UpdtrStop).with(Attribute::Name, name);
    let delete = Command::new(Verb::UpdtrDel).with(Attribute::Name, name);
    [stop.into(), delete.into()]
}

fn start_boosts(config: &DaemonConfig, observed: &Observation, changes: &mut Vec<Change>) {
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
}

/// Temporary updaters are wanted or they are leftovers; a maestro that died may have left some behind.
fn remove_boosts(config: &DaemonConfig, observed: &Observation, changes: &mut Vec<Change>) {
    for name in observed.updaters.keys().filter(|name| name.starts_with(BoostConfig::PREFIX)) {
        if !config.boosts.iter().any(|boost| boost.name == *name) {
            changes.push(Change::visible(Subject::Boost(name.clone()), remove(name).into()));
        }
    }
}

fn start_boost(boost: &BoostConfig) -> Vec<Step> {
    let add =
        Command::new(Verb::UpdtrAdd).with(Attribute::Name, &boost.name).with(Attribute::Interval, boost.interval_us);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ldmsd::observation::{ObservedProducer, ProducerState};

    fn names(names: &[&str]) -> BTreeSet<Name> {
        names.iter().map(|name| Name::from(*name)).collect()
    }

    fn part(producers: &[&str], sets: Option<&[&str]>) -> UpdaterWanted {
        UpdaterWanted {
            updater: Updater {
                name: "updtr_0".into(),
                mode: UpdaterMode::Pull,
                interval: Interval::from_us(1_000_000),
                offset: None,
                perm: None,
                producers: vec!["^node-.*$".into()],
                sets: Vec::new(),
            },
            only_producers: Some(names(producers)),
            only_sets: sets.map(|sets| sets.iter().map(|set| (*set).to_owned()).collect()),
        }
    }

    fn found(producers: &[&str], matches: &[&str]) -> ObservedUpdater {
        ObservedUpdater {
            interval_us: 1_000_000,
            offset_us: Some(0),
            mode: ObservedMode::Pull,
            running: true,
            producers: names(producers),
            matches: matches.iter().map(|regex| ("inst".to_owned(), (*regex).to_owned())).collect(),
        }
    }

    fn producer() -> ObservedProducer {
        ObservedProducer {
            host: "localhost".into(),
            port: 411,
            xprt: "sock".into(),
            auth: None,
            rail: None,
            quota: None,
            rx_rate: None,
            reconnect_us: None,
            kind: "active".into(),
            state: ProducerState::Connected,
            sets: Vec::new(),
        }
    }

    /// What is sent to a daemon that has these producers and updaters, a line for each change.
    fn sent(wanted: &[UpdaterWanted], producers: &[&str], updaters: &[(&str, ObservedUpdater)]) -> Vec<String> {
        let config = DaemonConfig { updaters: wanted.to_vec(), ..DaemonConfig::default() };
        let observed = Observation {
            producers: names(producers).into_iter().map(|name| (name, producer())).collect(),
            updaters: updaters.iter().map(|(name, found)| (Name::from(*name), found.clone())).collect(),
            ..Observation::default()
        };
        let mut all = Vec::new();
        changes(&config, &observed, &Ledger::default(), &BTreeSet::new(), &mut all);
        let line = |change: &Change| {
            let commands: Vec<String> = change.steps.iter().map(|step| step.command.to_string()).collect();
            commands.join("; ")
        };
        all.iter().map(line).collect()
    }

    #[test]
    fn an_updater_for_certain_producers_names_those_that_its_expressions_match() {
        let wanted = part(&["node-1", "node-2", "other"], None);
        assert_eq!(
            sent(&[wanted], &["node-1", "node-2"], &[]),
            ["updtr_add name=updtr_0 interval=1000000; updtr_prdcr_add name=updtr_0 regex=^(node-1|node-2)$; \
              updtr_start name=updtr_0"]
        );
    }

    #[test]
    fn an_updater_that_has_a_producer_too_many_is_replaced_new_then_old() {
        let wanted = part(&["node-1"], None);
        assert_eq!(sent(std::slice::from_ref(&wanted), &["node-1"], &[("updtr_0", found(&["node-1"], &[]))]), [""; 0]);
        let more = found(&["node-1", "node-2"], &[]);
        assert_eq!(
            sent(std::slice::from_ref(&wanted), &["node-1", "node-2"], &[("updtr_0", more.clone())]),
            ["updtr_add name=updtr_0.1 interval=1000000; updtr_prdcr_add name=updtr_0.1 regex=^node-1$; \
              updtr_start name=updtr_0.1"]
        );
        let both = [("updtr_0", more), ("updtr_0.1", found(&["node-1"], &[]))];
        assert_eq!(sent(&[wanted], &["node-1", "node-2"], &both), ["updtr_stop name=updtr_0; updtr_del name=updtr_0"]);
    }

    #[test]
    fn a_producer_that_is_not_there_yet_is_not_missed() {
        let wanted = part(&["node-1", "node-2"], None);
        assert_eq!(sent(&[wanted], &["node-1"], &[("updtr_0", found(&["node-1"], &[]))]), [""; 0]);
    }

    #[test]
    fn exact_sets_take_the_place_of_the_match_list() {
        let wanted = part(&["node-1"], Some(&["node-1/a.b", "node-1/c"]));
        let right = found(&["node-1"], &["^(node-1/a\\.b|node-1/c)$"]);
        assert_eq!(sent(std::slice::from_ref(&wanted), &["node-1"], &[("updtr_0", right)]), [""; 0]);
        assert!(sent(&[wanted], &["node-1"], &[("updtr_0", found(&["node-1"], &[]))])[0].contains(
            "updtr_match_add name=updtr_0.1 regex=^(node-1/a\\.b|node-1/c)$ match=inst; updtr_start name=updtr_0.1"
        ));
        let none = part(&["node-1"], Some(&[]));
        assert!(sent(&[none], &["node-1"], &[])[0].contains("updtr_match_add name=updtr_0 regex=^$ match=inst"));
    }

    #[test]
    fn parts_that_are_united_go_on_until_the_whole_runs_and_nothing_piles_up() {
        let whole = part(&["node-1", "node-2"], None);
        let parts = [("updtr_0", found(&["node-1"], &["^a$"])), ("updtr_0.1", found(&["node-2"], &["^b$"]))];
        let add = "updtr_add name=updtr_0.2 interval=1000000; updtr_prdcr_add name=updtr_0.2 regex=^(node-1|node-2)$; \
                   updtr_start name=updtr_0.2";
        assert_eq!(sent(std::slice::from_ref(&whole), &["node-1", "node-2"], &parts), [add]);
        let parts = [("updtr_0", found(&["node-1"], &["^a$"])), ("updtr_0.1", found(&["node-1"], &["^b$"]))];
        let removed = format!("{add}; updtr_stop name=updtr_0.1; updtr_del name=updtr_0.1");
        assert_eq!(sent(&[whole], &["node-1", "node-2"], &parts), [removed]);
    }

    #[test]
    fn of_several_parts_only_the_changed_one_is_replaced() {
        let parts = [part(&["node-1"], Some(&["a"])), part(&["node-2"], Some(&["b", "c"]))];
        let there = [("updtr_0", found(&["node-1"], &["^a$"])), ("updtr_0.1", found(&["node-2"], &["^b$"]))];
        assert_eq!(
            sent(&parts, &["node-1", "node-2"], &there),
            ["updtr_add name=updtr_0.2 interval=1000000; updtr_prdcr_add name=updtr_0.2 regex=^node-2$; \
              updtr_match_add name=updtr_0.2 regex=^(b|c)$ match=inst; updtr_start name=updtr_0.2"]
        );
    }
}
