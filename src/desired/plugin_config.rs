//! The `config` commands of plugins, from the lines and attributes of the YAML.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::config::{PluginWanted, Schedule};
use crate::cluster::{Plugin, PluginConfig};
use crate::notation::Name;

pub(super) fn sampler_plugin(daemon: &Name, plugin: &Plugin) -> PluginWanted {
    let schedule =
        plugin.interval.as_ref().map(|interval| Schedule { interval: interval.clone(), offset: plugin.offset.clone() });
    // A sampler samples nothing before it is configured, though there may be nothing special to say.
    let nothing_special = [PluginConfig::Attributes(BTreeMap::new())];
    let given = if plugin.config.is_empty() { &nothing_special } else { plugin.config.as_slice() };
    let configs = given.iter().map(|config| match config {
        PluginConfig::Line(line) => octal_words(line),
        PluginConfig::Attributes(attributes) => {
            let instance = format!("{daemon}/{}", plugin.instance);
            let defaults = [
                ("producer", daemon.as_str()),
                ("instance", instance.as_str()),
                ("component_id", "${LDMS_COMPONENT_ID}"),
            ];
            words(&defaults, attributes)
        }
    });
    PluginWanted { plugin: plugin.plugin.clone(), configs: configs.collect(), schedule }
}

pub(super) fn store_plugin(plugin: &Plugin) -> PluginWanted {
    let configs = plugin.config.iter().map(|config| match config {
        PluginConfig::Line(line) => octal_words(line),
        PluginConfig::Attributes(attributes) => words(&[], attributes),
    });
    PluginWanted { plugin: plugin.plugin.clone(), configs: configs.collect(), schedule: None }
}

/// `key=value` words: first the defaults, overridden where the attributes have them, then the rest.
fn words(defaults: &[(&str, &str)], attributes: &BTreeMap<String, Vec<String>>) -> String {
    let first = defaults.iter().flat_map(|(key, value)| match attributes.get(*key) {
        Some(values) => assignments(key, values),
        None => vec![format!("{key}={value}")],
    });
    let is_default = |key: &str| defaults.iter().any(|(default, _)| *default == key);
    let rest = attributes.iter().filter(|(key, _)| !is_default(key)).flat_map(|(key, values)| assignments(key, values));
    first.chain(rest).collect::<Vec<_>>().join(" ")
}

/// An attribute with each of its values, or the keyword alone.
fn assignments(key: &str, values: &[String]) -> Vec<String> {
    if values.is_empty() {
        return vec![key.to_owned()];
    }
    values.iter().map(|value| octal_word(&format!("{key}={value}")).into_owned()).collect()
}

/// `perm=0o640` as `perm=0640`: plugins read digits only, and refuse the other as a permission of nothing.
fn octal_word(word: &str) -> Cow<'_, str> {
    match word.strip_prefix("perm=0o") {
        Some(digits) => Cow::Owned(format!("perm=0{digits}")),
        None => Cow::Borrowed(word),
    }
}

/// The same for each word of a line, whose blanks stay as they are.
fn octal_words(line: &str) -> String {
    line.split_inclusive(char::is_whitespace).map(octal_word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs(config: impl IntoIterator<Item = PluginConfig>) -> Vec<String> {
        let plugin = Plugin {
            instance: "mem".into(),
            plugin: "meminfo".into(),
            interval: None,
            offset: None,
            config: config.into_iter().collect(),
        };
        sampler_plugin(&"node-1".into(), &plugin).configs
    }

    #[test]
    fn a_sampler_is_configured_also_where_nothing_is_said_about_it() {
        assert_eq!(configs([]), ["producer=node-1 instance=node-1/mem component_id=${LDMS_COMPONENT_ID}"]);
    }

    #[test]
    fn permissions_are_written_as_plugins_read_them() {
        let line = "schema=vmstat  perm=0o777 instance=${HOSTNAME}/perm=0o1";
        assert_eq!(
            configs([PluginConfig::Line(line.into())]),
            ["schema=vmstat  perm=0777 instance=${HOSTNAME}/perm=0o1"]
        );
        let attributes = BTreeMap::from([("perm".to_owned(), vec!["0o640".to_owned()])]);
        assert!(configs([PluginConfig::Attributes(attributes)])[0].ends_with(" perm=0640"));
    }
}
