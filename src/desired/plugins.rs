//! Plugins: load, configure, start.
//!
//! A sampler's set shows whether it runs and how often: the update hint, which starting it writes.
//! What it was configured with is not shown by any daemon, so a loaded plugin counts as configured,
//! and a changed configuration is told from the ledger: then the instance is made anew
//! (operations of a live ldmsd, section 6).

use std::collections::BTreeSet;

use super::change::{Change, Step, Subject};
use super::config::{DaemonConfig, PluginWanted, Schedule};
use super::ledger::{Ledger, LedgerEntry};
use super::policies;
use super::retired::RetiredPlugin;
use crate::ldmsd::observation::{ObservedPlugin, UpdateHint};
use crate::ldmsd::{Attribute, Command, Numbering, Observation, Verb};
use crate::notation::Name;

/// The instance exists already.
const LOADED: &[i32] = &[17];
/// Configured already: 22 for a plugin that takes one configuration, 16 for one that runs. (17 says that another
/// instance has a set of the same name.)
const CONFIGURED: &[i32] = &[16, 22];
/// It runs already. Main says so of a plugin that is not configured, too, but then its `config` failed.
const RUNNING: &[i32] = &[16];
/// It does not run, which is what a stop is for.
const NOT_RUNNING: &[i32] = &[22];

/// In place of the configuration of an instance that was taken away.
const UNLOADED: &str = "unloaded";

pub(super) fn changes(
    config: &DaemonConfig,
    observed: &Observation,
    ledger: &Ledger,
    numbering: Numbering,
    changes: &mut Vec<Change>,
) {
    let mut taken = BTreeSet::new();
    for (instance, wanted) in &config.plugins {
        let name = instance_name(instance, &wanted.plugin, numbering);
        if !taken.insert(name.clone()) {
            // Only 4.4 comes here. The first instance has the library; the refusal tells the operator of the other.
            let steps = vec![load(&name, wanted).into()];
            changes.push(Change::visible(Subject::Plugin(instance.clone()), steps));
            continue;
        }
        let entry = LedgerEntry::new(format!("plugin {name}"), &wanted.configs.join("; "));
        let steps = match observed.plugins.get(&observed_name(&name, wanted.schedule.is_none(), numbering)) {
            None => from_nothing(&name, wanted),
            Some(found) if is_another(wanted, found) || ledger.contradicts(&entry) => {
                let users = Users::of(instance, wanted, found, config, observed, numbering);
                anew(&name, wanted, &users)
            }
            Some(found) => match &wanted.schedule {
                Some(schedule) => running(&name, wanted, schedule, found, ledger, &entry),
                // It refuses to be configured twice, and then nothing changes.
                None if !ledger.holds(&entry) => configure(&name, wanted).collect(),
                None => Vec::new(),
            },
        };
        if !steps.is_empty() {
            changes.push(Change { subject: Subject::Plugin(name), steps, remember: Some(entry) });
        }
    }
}

/// The name of an instance on the daemon: 4.4 has one instance a library, named after it.
pub(super) fn instance_name(instance: &Name, library: &str, numbering: Numbering) -> Name {
    match numbering {
        Numbering::V45 => instance.clone(),
        Numbering::V44 => Name::from(library),
    }
}

/// The name under which a daemon lists a plugin: 4.4 shows `store_csv` as `csv`.
fn observed_name(name: &Name, is_store: bool, numbering: Numbering) -> Name {
    match name.strip_prefix("store_") {
        Some(rest) if numbering == Numbering::V44 && is_store => Name::from(rest),
        _ => name.clone(),
    }
}

fn from_nothing(name: &Name, wanted: &PluginWanted) -> Vec<Step> {
    let mut steps = vec![Step::accepting(load(name, wanted), LOADED)];
    steps.extend(configure(name, wanted));
    steps.extend(wanted.schedule.as_ref().map(|schedule| start(name, schedule)));
    steps
}

fn load(name: &Name, wanted: &PluginWanted) -> Command {
    Command::new(Verb::Load).with(Attribute::Name, name).with(Attribute::Plugin, &wanted.plugin)
}

fn configure(name: &Name, wanted: &PluginWanted) -> impl Iterator<Item = Step> {
    wanted.configs.iter().map(move |options| {
        let command = Command::new(Verb::Config).with(Attribute::Name, name).with(Attribute::String, options);
        Step::accepting(command, CONFIGURED)
    })
}

fn start(name: &Name, schedule: &Schedule) -> Step {
    let command = Command::new(Verb::Start)
        .with(Attribute::Name, name)
        .with(Attribute::Interval, &schedule.interval)
        .with_some(Attribute::Offset, schedule.offset.as_ref());
    Step::accepting(command, RUNNING)
}

/// Whether an instance of the name has another library.
fn is_another(wanted: &PluginWanted, found: &ObservedPlugin) -> bool {
    found.plugin.as_ref().is_some_and(|library| *library != wanted.plugin)
}

/// The policies that a store has to be free of before it can be unloaded.
struct Users<'a> {
    own: Vec<&'a Name>,
    /// Of somebody else; or it is about to go.
    is_held_by_another: bool,
    is_about_to_be_let_go: bool,
}

impl<'a> Users<'a> {
    fn of(
        instance: &Name,
        wanted: &PluginWanted,
        found: &ObservedPlugin,
        config: &'a DaemonConfig,
        observed: &Observation,
        numbering: Numbering,
    ) -> Users<'a> {
        let library = found.plugin.as_ref().unwrap_or(&wanted.plugin);
        let is_store = wanted.schedule.is_none();
        let own = config
            .policies
            .iter()
            .filter(|(policy, user)| user.instance == *instance && is_store && observed.policies.contains_key(*policy));
        let mut others = observed.policies.iter().filter(|(policy, found)| {
            is_store && !config.policies.contains_key(*policy) && policies::stores_with(found, library, numbering)
        });
        Users {
            own: own.map(|(policy, _)| policy).collect(),
            is_about_to_be_let_go: others.clone().any(|(policy, _)| config.retired.policies.contains(policy)),
            is_held_by_another: others.any(|(policy, _)| !config.retired.policies.contains(policy)),
        }
    }
}

/// Unloads an instance and loads it again. A store has to be free of policies first; they are added again at the next
/// look at the daemon, some milliseconds later (operations of a live ldmsd, section 9).
fn anew(name: &Name, wanted: &PluginWanted, users: &Users<'_>) -> Vec<Step> {
    let is_store = wanted.schedule.is_none();
    if users.is_held_by_another {
        // Our own policies go on storing. The refusal tells the operator.
        return unload(name, is_store).collect();
    }
    if users.is_about_to_be_let_go {
        return Vec::new();
    }
    let mut steps: Vec<Step> = users.own.iter().flat_map(|policy| policies::remove(policy)).collect();
    steps.extend(unload(name, is_store));
    steps.extend(from_nothing(name, wanted));
    steps
}

fn unload(name: &Name, is_store: bool) -> impl Iterator<Item = Step> {
    let term = Command::new(Verb::Term).with(Attribute::Name, name);
    (!is_store).then(|| stop(name)).into_iter().chain([term.into()])
}

/// Unloads samplers, or stores, that have left the configuration.
pub(super) fn remove_retired(
    config: &DaemonConfig,
    observed: &Observation,
    numbering: Numbering,
    stores: bool,
    changes: &mut Vec<Change>,
) {
    for plugin in config.retired.plugins.iter().filter(|plugin| plugin.is_store == stores) {
        let name = instance_name(&plugin.instance, &plugin.library, numbering);
        // On 4.4 another instance of the library is the same one.
        let is_wanted = config.plugins.iter().any(|(other, w)| instance_name(other, &w.plugin, numbering) == name);
        if !is_wanted && is_loaded(plugin, observed, numbering) {
            let steps = unload(&name, plugin.is_store).collect();
            // What it was configured with once must not stand for a later instance of the name.
            let entry = LedgerEntry::new(format!("plugin {name}"), UNLOADED);
            changes.push(Change { subject: Subject::Plugin(name), steps, remember: Some(entry) });
        }
    }
}

/// Whether a daemon has an instance. On 4.4 another instance of the library is the same one.
pub(super) fn is_loaded(plugin: &RetiredPlugin, observed: &Observation, numbering: Numbering) -> bool {
    let name = instance_name(&plugin.instance, &plugin.library, numbering);
    observed.plugins.contains_key(&observed_name(&name, plugin.is_store, numbering))
}

/// A sampler without a running set may be configured or not, started or not: sending both again does
/// no harm, because a running one refuses. It is done once to each run of the daemon, since a sampler
/// may rightly have no set (no such device on this node).
fn running(
    name: &Name,
    wanted: &PluginWanted,
    schedule: &Schedule,
    plugin: &ObservedPlugin,
    ledger: &Ledger,
    entry: &LedgerEntry,
) -> Vec<Step> {
    let hints: Vec<UpdateHint> = plugin.sets.iter().filter_map(|set| set.hint).collect();
    if hints.is_empty() && !ledger.holds(entry) {
        return configure(name, wanted).chain([start(name, schedule)]).collect();
    }
    if hints.iter().all(|hint| runs_by(*hint, schedule)) {
        // A stopped sampler keeps its hint, and 4.4 gives one to a sampler that was never started. Starting does no harm
        // to one that runs.
        return if ledger.holds(entry) { Vec::new() } else { vec![start(name, schedule)] };
    }
    let started = Step { accept: &[], ..start(name, schedule) };
    vec![stop(name), started]
}

fn stop(name: &Name) -> Step {
    Step::accepting(Command::new(Verb::Stop).with(Attribute::Name, name), NOT_RUNNING)
}

/// Whether a hint is what starting with this schedule writes. A variable has a value that only the
/// daemon knows; whatever runs then counts as right.
fn runs_by(hint: UpdateHint, schedule: &Schedule) -> bool {
    let interval = schedule.interval.us().is_none_or(|us| u64::try_from(us) == Ok(hint.interval_us));
    let offset = match schedule.offset.as_ref().map(crate::notation::Interval::us) {
        None | Some(None) => true,
        Some(Some(offset_us)) => hint.offset_us.is_none_or(|hinted_us| hinted_us == offset_us),
    };
    interval && offset
}
