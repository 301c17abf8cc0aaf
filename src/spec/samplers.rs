//! `samplers`: which plugins run on which daemons.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::advertise::{self, Announcement};
use super::daemons::Daemons;
use super::diagnostic::{Position, Report};
use super::fields::Fields;
use super::plugins::{self, PluginTable, PluginUse};
use super::yaml::Node;
use crate::cluster::SamplerGroup;
use crate::notation::Name;

/// A group of samplers before its plugins are resolved.
pub(super) struct PendingGroup {
    daemons: Vec<Name>,
    plugins: Vec<(PluginUse, Position)>,
    announcements: Vec<Announcement>,
}

/// The groups by their hostlist as written.
pub(super) type PendingGroups = BTreeMap<Name, PendingGroup>;

/// Reads the section, a list of entries. Entries of one hostlist are one group.
pub(super) fn read_section(
    section: &[Node],
    daemons: &Daemons,
    report: &Report<'_>,
    file_exists: &dyn Fn(&Path) -> bool,
) -> PendingGroups {
    let mut groups = PendingGroups::new();
    for node in section {
        let Some(fields) = Fields::of(node, "a samplers entry", report) else { continue };
        let names = fields.required_names("daemons");
        let plugins: Vec<(PluginUse, Position)> = fields
            .items("plugins")
            .iter()
            .filter_map(|item| Some((plugins::read_use(item, report)?, item.position)))
            .collect();
        let advertise = fields.items("advertise");
        fields.refuse_others();
        let Some(names) = names else { continue };

        let mut members = daemons.resolve(&names, report);
        members.sort();
        members.dedup();
        // The table of plugins has an entry for each of them on each daemon.
        let entries = members.len().saturating_mul(plugins.len());
        if !report.afford(entries.saturating_mul(std::mem::size_of::<Name>()), names.position) {
            continue;
        }
        let announcements: Vec<Announcement> = advertise
            .iter()
            .filter_map(|item| advertise::read(item, &names, &members, daemons, report, file_exists))
            .collect();
        let group = groups.entry(names.written.as_str().into()).or_insert_with(|| PendingGroup {
            daemons: members,
            plugins: Vec::new(),
            announcements: Vec::new(),
        });
        group.plugins.extend(plugins);
        group.announcements.extend(announcements);
    }
    groups
}

/// Adds what the daemons of a group announce, be they samplers or aggregators.
pub(super) fn add_announcements(
    groups: &mut PendingGroups,
    group: Name,
    members: Vec<Name>,
    announcements: Vec<Announcement>,
) {
    let pending = groups.entry(group).or_insert_with(|| PendingGroup {
        daemons: members,
        plugins: Vec::new(),
        announcements: Vec::new(),
    });
    pending.announcements.extend(announcements);
}

/// Everything that the samplers announce.
pub(super) fn announcements(groups: &PendingGroups) -> impl Iterator<Item = &Announcement> {
    groups.values().flat_map(|group| &group.announcements)
}

/// Resolves the plugins, group after group in the order of their names, so that the keys of plugins that are defined in
/// place do not depend on the order of the file.
pub(super) fn resolve(
    groups: PendingGroups,
    table: &mut PluginTable,
    report: &Report<'_>,
) -> BTreeMap<Name, SamplerGroup> {
    let mut resolved = BTreeMap::new();
    for (name, pending) in groups {
        let mut plugins: Vec<Name> = Vec::new();
        let mut listed: BTreeSet<Name> = BTreeSet::new();
        for (plugin, position) in &pending.plugins {
            let Some(key) = plugins::resolve(plugin, *position, &pending.daemons, table, report) else { continue };
            if !listed.insert(key.clone()) {
                report.error(*position, format!("plugin `{key}` is listed twice for `{name}`"), "list it once");
                continue;
            }
            // Where there are errors the interval may be one of them.
            if !report.has_errors() && table.get(&key).is_some_and(|plugin| plugin.interval.is_none()) {
                let message = format!("plugin `{key}` has no interval: it is configured, but not started");
                report.warning(*position, message, "add `interval: 1s` to the plugin to sample every second");
            }
            plugins.push(key);
        }
        let advertisers = pending.announcements.into_iter().map(|announcement| announcement.advertiser).collect();
        resolved.insert(name, SamplerGroup { daemons: pending.daemons, plugins, advertisers });
    }
    resolved
}
