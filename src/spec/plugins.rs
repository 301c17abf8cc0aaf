//! Plugin instances: the section `plugins`, and the plugins that samplers and stores define in place.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::diagnostic::{Position, Report};
use super::fields::{Fields, suggestion, text_of};
use super::schedule;
use super::yaml::{Node, Value};
use crate::cluster::{Plugin, PluginConfig};
use crate::notation::{Interval, Name, Permission};

/// A plugin where it is used: by name, or defined in place.
#[derive(Clone)]
pub(super) enum PluginUse {
    /// A key of the section `plugins`.
    Named(Name),
    /// Defined in place, by the name of its plugin.
    Inline(Plugin),
}

/// Every plugin instance, and which daemons use it.
#[derive(Default)]
pub(crate) struct PluginTable {
    plugins: BTreeMap<Name, Plugin>,
    users: BTreeMap<Name, BTreeSet<Name>>,
    /// The instances on each daemon.
    instances: BTreeSet<(Name, Name)>,
    /// Of the plugins by the name that they ask for and what they are, the key.
    keys: HashMap<(Name, String), Name>,
    /// The last number that was put behind a name.
    numbers: HashMap<Name, u32>,
}

/// Two plugins that would be instances of one name on one daemon.
pub(crate) struct Clash {
    pub(crate) daemon: Name,
    pub(crate) instance: Name,
    pub(crate) keys: [Name; 2],
}

impl PluginTable {
    /// The plugins of the section `plugins`, not used by anyone yet.
    pub(crate) fn new(defined: BTreeMap<Name, Plugin>) -> PluginTable {
        let keys = defined.iter().map(|(key, plugin)| ((key.clone(), content(plugin)), key.clone())).collect();
        PluginTable { plugins: defined, keys, ..PluginTable::default() }
    }

    /// Notes that daemons use a plugin of the section; `false` where there is none of that name.
    pub(crate) fn use_named(&mut self, key: &Name, daemons: &[Name]) -> bool {
        let Some(plugin) = self.plugins.get(key) else { return false };
        let instance = plugin.instance.clone();
        self.note_users(key, &instance, daemons);
        true
    }

    /// Takes a plugin that is defined where it is used, and gives it a key.
    ///
    /// Its key is the name that it asks for. Equal plugins share a key. Where another one has the name already the key
    /// is `name@2`, `name@3`, …; on daemons that have both the instance is called so too.
    pub(crate) fn add_inline(&mut self, mut plugin: Plugin, daemons: &[Name]) -> Name {
        let wanted = plugin.instance.clone();
        let content = content(&plugin);
        if let Some(key) = self.keys.get(&(wanted.clone(), content.clone())).cloned() {
            let instance = self.plugins.get(&key).map_or(wanted, |plugin| plugin.instance.clone());
            self.note_users(&key, &instance, daemons);
            return key;
        }
        let mut key = wanted.clone();
        while self.plugins.contains_key(&key) {
            let number = self.numbers.entry(wanted.clone()).or_insert(1);
            *number += 1;
            key = format!("{wanted}@{number}").into();
        }
        if daemons.iter().any(|daemon| self.instances.contains(&(wanted.clone(), daemon.clone()))) {
            plugin.instance = key.clone();
        }
        self.note_users(&key, &plugin.instance, daemons);
        self.keys.insert((wanted, content), key.clone());
        self.plugins.insert(key.clone(), plugin);
        key
    }

    fn note_users(&mut self, key: &Name, instance: &Name, daemons: &[Name]) {
        self.instances.extend(daemons.iter().map(|daemon| (instance.clone(), daemon.clone())));
        self.users.entry(key.clone()).or_default().extend(daemons.iter().cloned());
    }

    /// The first two plugins that are in each other's way.
    pub(crate) fn clash(&self) -> Option<Clash> {
        let mut taken: BTreeMap<(&Name, &Name), &Name> = BTreeMap::new();
        for (key, users) in &self.users {
            let instance = &self.plugins.get(key)?.instance;
            for daemon in users {
                if let Some(other) = taken.insert((daemon, instance), key) {
                    let keys = [other.clone(), key.clone()];
                    return Some(Clash { daemon: daemon.clone(), instance: instance.clone(), keys });
                }
            }
        }
        None
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.plugins.keys().map(Name::as_str)
    }

    pub(crate) fn get(&self, key: &Name) -> Option<&Plugin> {
        self.plugins.get(key)
    }

    pub(crate) fn into_plugins(self) -> BTreeMap<Name, Plugin> {
        self.plugins
    }
}

/// What a plugin is, apart from the name of its instance, as a text that equal plugins share.
fn content(Plugin { plugin, interval, offset, config, .. }: &Plugin) -> String {
    let us = |time: &Option<Interval>| time.as_ref().map(Interval::to_string);
    format!("{:?}", (plugin, us(interval), us(offset), config))
}

/// Reads the section: a mapping of instance names, or a list of plugins with their names.
pub(super) fn read_section(node: &Node, report: &Report<'_>) -> BTreeMap<Name, Plugin> {
    let mut plugins = BTreeMap::new();
    if let Value::List(items) = node.value() {
        let mut places: BTreeMap<Name, Position> = BTreeMap::new();
        for item in items {
            let Some(plugin) = read_plugin(item, None, report) else { continue };
            let key = plugin.instance.clone();
            if let Some(first) = places.insert(key.clone(), item.position) {
                let message = format!("plugin `{key}` is defined twice, first at line {}", first.line);
                report.error(item.position, message, "write `plugins` as a mapping with a name for each instance");
            }
            plugins.insert(key, plugin);
        }
        return plugins;
    }
    let Some(fields) = Fields::of(node, "the section `plugins`", report) else { return plugins };
    for entry in fields.others() {
        if let Some(plugin) = read_plugin(&entry.value, Some(&entry.key), report) {
            plugins.insert((&*entry.key).into(), plugin);
        }
    }
    plugins
}

/// Reads a plugin where it is used.
pub(super) fn read_use(node: &Node, report: &Report<'_>) -> Option<PluginUse> {
    match node.value() {
        Value::Text(name) => Some(PluginUse::Named(name.as_str().into())),
        _ => read_plugin(node, None, report).map(PluginUse::Inline),
    }
}

/// Takes a plugin into the table and gives the key, `None` (and a report) where it is named but not defined.
pub(super) fn resolve(
    plugin: &PluginUse,
    position: Position,
    daemons: &[Name],
    table: &mut PluginTable,
    report: &Report<'_>,
) -> Option<Name> {
    match plugin {
        PluginUse::Named(key) if table.use_named(key, daemons) => Some(key.clone()),
        PluginUse::Named(key) => {
            let help = suggestion(key, table.names(), "define it in the section `plugins`");
            report.error(position, format!("no plugin is called `{key}`"), help);
            None
        }
        PluginUse::Inline(plugin) => Some(table.add_inline(plugin.clone(), daemons)),
    }
}

fn read_plugin(node: &Node, instance: Option<&str>, report: &Report<'_>) -> Option<Plugin> {
    let fields = Fields::of(node, "a plugin", report)?;
    let (name, library) = (fields.text("name"), fields.text("plugin"));
    let (interval, offset) = schedule::read(&fields, report);
    let config = fields.items("config").iter().filter_map(|item| read_config(item, report)).collect();
    let Some(instance) = instance.or(name).or(library) else {
        match fields.others().next().filter(|entry| matches!(entry.value.value(), Value::Map(_))) {
            Some(entry) => {
                let help = format!("write `name: {}` and the rest on the same level, or no `-` before it", entry.key);
                report.error(entry.key_position, "a plugin in a list needs `name`", help);
            }
            None => report.error(fields.position, "a plugin needs `name`", "add `name: meminfo`, for example"),
        }
        return None;
    };
    fields.refuse_others();
    let plugin = library.or(name).unwrap_or(instance).to_owned();
    Some(Plugin { instance: instance.into(), plugin, interval, offset, config })
}

fn read_config(node: &Node, report: &Report<'_>) -> Option<PluginConfig> {
    match node.value() {
        Value::Text(line) if line.is_empty() => return Some(PluginConfig::Attributes(BTreeMap::new())),
        Value::Text(line) => return Some(PluginConfig::Line(line.clone())),
        _ => {}
    }
    let fields = Fields::of(node, "a plugin configuration", report)?;
    let mut attributes = BTreeMap::new();
    for entry in fields.others() {
        let values = match entry.value.value() {
            Value::Absent => Vec::new(),
            Value::List(items) => {
                let values = items.iter().map(|item| text_of(item, &entry.key, report).map(str::to_owned));
                values.collect::<Option<Vec<String>>>()?
            }
            Value::Text(_) | Value::Map(_) => vec![text_of(&entry.value, &entry.key, report)?.to_owned()],
        };
        let values = if &*entry.key == "perm" { values.into_iter().map(octal).collect() } else { values };
        attributes.insert(entry.key.to_string(), values);
    }
    Some(PluginConfig::Attributes(attributes))
}

/// A permission in letters as digits, since plugins know only these; everything else as it is written.
fn octal(text: String) -> String {
    match Permission::parse(&text) {
        Ok(permission) if !text.starts_with(|c: char| c.is_ascii_digit()) => permission.to_string(),
        _ => text,
    }
}
