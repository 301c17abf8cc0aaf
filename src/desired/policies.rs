//! Storage policies.
//!
//! A policy that is right is left alone; any other is stopped, deleted and made anew, which loses no
//! sample when pipelined (operations of a live ldmsd, section 9). `strgp_add` is never sent while the
//! policy exists: on a stopped one it answers 17 **and deletes it** (the wire specification, section 6.6).

use std::collections::BTreeSet;

use super::change::{Change, Step, Subject};
use super::config::{DaemonConfig, PolicyWanted};
use super::ledger::{Ledger, LedgerEntry};
use super::plugins::instance_name;
use crate::ldmsd::observation::ObservedPolicy;
use crate::ldmsd::{Attribute, Command, Numbering, Observation, Verb};
use crate::notation::{Interval, Name};

/// It does not run, which is what a stop is for.
const NOT_RUNNING: &[i32] = &[16];
/// Every producer: a policy takes what its updaters bring.
const ALL_PRODUCERS: &str = ".*";

pub(super) fn changes(
    config: &DaemonConfig,
    observed: &Observation,
    ledger: &Ledger,
    numbering: Numbering,
    changes: &mut Vec<Change>,
) {
    let deleted = changes.iter().flat_map(|change| &change.steps).filter(|step| step.command.verb == Verb::StrgpDel);
    let with_their_plugins: BTreeSet<String> =
        deleted.filter_map(|step| step.command.get(Attribute::Name)).map(str::to_owned).collect();
    for name in config.retired.policies.iter().filter(|name| observed.policies.contains_key(*name)) {
        changes.push(Change::visible(Subject::StoragePolicy(name.clone()), remove(name).into()));
    }
    for (name, wanted) in &config.policies {
        let unshown = unshown(name, wanted);
        let steps = match observed.policies.get(name) {
            None => add(name, wanted, numbering),
            Some(_) if with_their_plugins.contains(name.as_str()) => continue,
            Some(found) if !is_right(wanted, found, observed, numbering) || ledger.contradicts(&unshown) => {
                let mut steps = Vec::from(remove(name));
                steps.extend(add(name, wanted, numbering));
                steps
            }
            Some(found) if !found.running => vec![start(name)],
            Some(_) => continue,
        };
        changes.push(Change { subject: Subject::StoragePolicy(name.clone()), steps, remember: Some(unshown) });
    }
}

/// What a policy is given that no daemon shows.
pub(super) fn unshown(name: &Name, wanted: &PolicyWanted) -> LedgerEntry {
    let perm = wanted.policy.perm.map(|perm| perm.to_string());
    LedgerEntry::new(Subject::StoragePolicy(name.clone()).to_string(), &perm.unwrap_or_default())
}

/// Whether the instance that a policy stores with still has another library: before it is changed no policy is right.
fn is_yet_another(wanted: &PolicyWanted, observed: &Observation) -> bool {
    let library = observed.plugins.get(&wanted.instance).and_then(|found| found.plugin.as_ref());
    library.is_some_and(|library| *library != wanted.library)
}

pub(super) fn remove(name: &Name) -> [Step; 2] {
    let stop = Command::new(Verb::StrgpStop).with(Attribute::Name, name);
    let delete = Command::new(Verb::StrgpDel).with(Attribute::Name, name);
    [Step::accepting(stop, NOT_RUNNING), delete.into()]
}

fn add(name: &Name, wanted: &PolicyWanted, numbering: Numbering) -> Vec<Step> {
    let policy = &wanted.policy;
    let add = Command::new(Verb::StrgpAdd)
        .with(Attribute::Name, name)
        .with(Attribute::Plugin, instance_name(&wanted.instance, &wanted.library, numbering))
        .with_some(Attribute::Container, policy.container.as_ref())
        .with_some(Attribute::Schema, policy.schema.as_ref())
        .with_some(Attribute::Regex, policy.regex.as_ref())
        .with_some(Attribute::Decomposition, policy.decomposition.as_ref())
        .with_some(Attribute::Flush, policy.flush.as_ref())
        .with_some(Attribute::Perm, policy.perm);
    let producers = Command::new(Verb::StrgpPrdcrAdd).with(Attribute::Name, name).with(Attribute::Regex, ALL_PRODUCERS);
    vec![add.into(), producers.into(), start(name)]
}

fn start(name: &Name) -> Step {
    Command::new(Verb::StrgpStart).with(Attribute::Name, name).into()
}

/// Whether a policy stores with an instance of a library; with which one, no daemon shows.
pub(super) fn stores_with(found: &ObservedPolicy, library: &str, numbering: Numbering) -> bool {
    // 4.4 may show the plugin's internal name (`csv`).
    let internal = library.strip_prefix("store_").filter(|_| numbering == Numbering::V44);
    found.plugin == library || internal == Some(&found.plugin)
}

fn is_right(wanted: &PolicyWanted, found: &ObservedPolicy, observed: &Observation, numbering: Numbering) -> bool {
    let policy = &wanted.policy;
    // One that is not told to flush shows 0; a variable has a value that only the daemon knows.
    let flush = match (policy.flush.as_ref().map_or(Some(0), Interval::us), found.flush_us) {
        (Some(wanted_us), Some(found_us)) => wanted_us == found_us,
        _ => true,
    };
    (stores_with(found, &wanted.library, numbering) || is_yet_another(wanted, observed))
        && flush
        && found.container == policy.container
        && found.schema == policy.schema
        && found.regex == policy.regex
        && found.decomposition == policy.decomposition
        && found.producers.iter().any(|regex| regex == ALL_PRODUCERS)
}
