//! `stores`: which sets go to which store plugin, on which aggregators.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::{Position, Report};
use super::fields::{Fields, Names, abbreviated, suggestion};
use super::plugins::{self, PluginTable, PluginUse};
use super::yaml::{Node, Value};
use crate::cluster::{AggregatorGroup, StoragePolicy};
use crate::notation::Name;

/// A policy before its plugin is resolved.
#[derive(Clone)]
struct PendingPolicy {
    policy: StoragePolicy,
    plugin: (PluginUse, Position),
    position: Position,
}

/// Reads the section, a mapping of names or a list of entries with a `name`, into the groups.
pub(super) fn read_section(
    node: &Node,
    groups: &mut BTreeMap<Name, AggregatorGroup>,
    table: &mut PluginTable,
    report: &Report<'_>,
) {
    // By group and name, so that the keys of plugins that are defined in place do not depend on the order of the file.
    let mut pending: BTreeMap<(Name, Name), PendingPolicy> = BTreeMap::new();
    for (name, node) in entries(node, report) {
        let Some((names, policy)) = read(node, name, report) else { continue };
        for group in groups_of(&names, groups, report) {
            let key = (group, policy.policy.name.clone());
            if let Some(first) = pending.get(&key) {
                let message = format!("store `{}` is defined twice, first at line {}", key.1, first.position.line);
                report.error(policy.position, message, "give each store of a group a name of its own");
                continue;
            }
            pending.insert(key, policy.clone());
        }
    }
    for ((group, name), PendingPolicy { policy, plugin: (plugin, position), .. }) in pending {
        let Some(group) = groups.get_mut(&group) else { continue };
        if let Some(plugin) = plugins::resolve(&plugin, position, &group.aggregators, table, report) {
            group.stores.insert(name, StoragePolicy { plugin, ..policy });
        }
    }
}

/// The policies with their names, and where each name stands.
fn entries<'n>(section: &'n Node, report: &'n Report<'n>) -> Vec<(Option<&'n str>, &'n Node)> {
    match section.value() {
        Value::List(items) => items.iter().map(|item| (None, item)).collect(),
        _ => match Fields::of(section, "the section `stores`", report) {
            Some(fields) => fields.others().map(|entry| (Some(&*entry.key), &entry.value)).collect(),
            None => Vec::new(),
        },
    }
}

fn read(node: &Node, key: Option<&str>, report: &Report<'_>) -> Option<(Names, PendingPolicy)> {
    let fields = Fields::of(node, "a store", report)?;
    let name = fields.text("name").or(key);
    let daemons = fields.required_names("daemons");
    let plugin = fields.require("plugin").and_then(|node| Some((plugins::read_use(node, report)?, node.position)));
    let policy = StoragePolicy {
        name: name.unwrap_or_default().into(),
        plugin: Name::from(""),
        container: fields.owned_text("container"),
        schema: fields.owned_text("schema"),
        regex: fields.regex("regex"),
        decomposition: fields.text_or_former("decomposition", "decomp").map(str::to_owned),
        flush: fields.interval("flush"),
        perm: fields.permission("perm"),
    };
    fields.refuse_others();
    if name.is_none() {
        report.error(fields.position, "a store needs `name`", "add `name: …`, or write `stores` as a mapping of names");
        return None;
    }
    check_selection(&policy, &fields, report);
    Some((daemons?, PendingPolicy { policy, plugin: plugin?, position: fields.position }))
}

/// Every ldmsd wants one of `schema` and `regex`, and a decomposition with the latter.
fn check_selection(policy: &StoragePolicy, fields: &Fields<'_>, report: &Report<'_>) {
    let (schema, regex) = (fields.get("schema"), fields.get("regex"));
    match (schema, regex) {
        (None, None) => {
            let message = format!("store `{}` does not say what to store", policy.name);
            report.error(fields.position, message, "add `schema: …`, or `regex: …` with a decomposition");
        }
        (Some(_), Some(regex)) => {
            let message = format!("store `{}` has both `schema` and `regex`", policy.name);
            report.error(regex.position, message, "keep one of them; `regex` needs a `decomposition`");
        }
        (None, Some(regex)) if policy.decomposition.is_none() => {
            let message = format!("store `{}` has a `regex`, but no decomposition", policy.name);
            report.error(
                regex.position,
                message,
                "add `decomposition: …`, the path of its configuration, or write `schema`",
            );
        }
        _ => {}
    }
}

/// The groups that a store's daemons are. A group stores alike on all of its aggregators, since any of them may come
/// to collect any producer.
fn groups_of(names: &Names, groups: &BTreeMap<Name, AggregatorGroup>, report: &Report<'_>) -> Vec<Name> {
    let written = Name::from(names.written.as_str());
    if groups.contains_key(&written) {
        return vec![written];
    }
    let mut rest: BTreeSet<Name> = names.list.iter().map(|name| Name::from(name.as_str())).collect();
    let mut found = Vec::new();
    for (name, group) in groups {
        let mut missing = group.aggregators.iter().filter(|aggregator| !rest.contains(*aggregator)).peekable();
        match missing.peek() {
            None => found.push(name.clone()),
            Some(missing) if group.aggregators.iter().any(|aggregator| rest.contains(aggregator)) => {
                let message = format!("the store leaves out `{missing}` of the group `{name}`");
                report.error(names.position, message, format!("write `daemons: \"{name}\"`"));
            }
            Some(_) => continue,
        }
        group.aggregators.iter().for_each(|aggregator| {
            rest.remove(aggregator);
        });
    }
    let strangers: Vec<Name> = rest.into_iter().collect();
    if let Some(first) = strangers.first() {
        let aggregators = groups.values().flat_map(|group| &group.aggregators).map(Name::as_str);
        let help = suggestion(first, aggregators, "name aggregators of the section `aggregators`");
        report.error(names.position, format!("not aggregators: {}", abbreviated(&strangers)), help);
    }
    found
}
