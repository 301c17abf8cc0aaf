//! Authentication domains.

use std::collections::BTreeMap;
use std::path::Path;

use super::diagnostic::{Position, Report, nearest};
use super::fields::{Fields, text_of};
use super::yaml::{Node, Value};
use crate::cluster::AuthDomain;
use crate::notation::Name;

/// Reads an `auth` entry: a mapping of `name`, `plugin` and the plugin's options, which may stand below `conf`.
/// Of `name` and `plugin` one suffices; a word alone is both.
///
/// A secret file that is not there is worth a warning only: it may be there on the hosts that need it.
pub(super) fn read(node: &Node, report: &Report<'_>, file_exists: &dyn Fn(&Path) -> bool) -> Option<AuthDomain> {
    if let Value::Text(plugin) = node.value() {
        check_plugin(plugin, node.position, report);
        let name = Name::from(plugin.as_str());
        return Some(AuthDomain { name, plugin: plugin.clone(), options: BTreeMap::new() });
    }
    let fields = Fields::of(node, "an authentication domain", report)?;
    let (name, plugin) = (fields.text("name"), fields.text("plugin"));
    let Some(plugin) = plugin.or(name) else {
        report.error(fields.position, "an authentication domain needs `plugin`", "add `plugin: munge`, for example");
        return None;
    };
    check_plugin(
        plugin,
        fields.get("plugin").or(fields.get("name")).map_or(fields.position, |node| node.position),
        report,
    );
    let mut options = BTreeMap::new();
    for entry in fields.others() {
        match entry.value.value() {
            Value::Absent => {}
            Value::Map(conf) if &*entry.key == "conf" => {
                for option in conf {
                    let value = text_of(&option.value, &option.key, report)?;
                    options.insert(option.key.to_string(), value.to_owned());
                }
            }
            _ => {
                let value = text_of(&entry.value, &entry.key, report)?;
                if &*entry.key == "conf" {
                    warn_missing(value, entry.value.position, report, file_exists);
                }
                options.insert(entry.key.to_string(), value.to_owned());
            }
        }
    }
    Some(AuthDomain { name: name.unwrap_or(plugin).into(), plugin: plugin.to_owned(), options })
}

/// The plugins that come with LDMS. A site may have others of its own, for endpoints that maestro does not use.
const PLUGINS: [&str; 4] = ["none", "naive", "ovis", "munge"];

fn check_plugin(plugin: &str, position: Position, report: &Report<'_>) {
    if PLUGINS.contains(&plugin) {
        return;
    }
    let message = format!("LDMS comes with no authentication plugin `{plugin}`");
    match nearest(plugin, PLUGINS) {
        Some(near) => report.error(position, message, format!("did you mean `{near}`?")),
        None => report.warning(position, message, "use `none`, `naive`, `ovis` or `munge`"),
    }
}

fn warn_missing(path: &str, position: Position, report: &Report<'_>, file_exists: &dyn Fn(&Path) -> bool) {
    // A path with a variable is the daemon's to expand.
    if !path.contains("${") && !file_exists(Path::new(path)) {
        let help = "maestro needs the file where it runs, to talk to daemons of this domain";
        report.warning(position, format!("the secret file `{path}` is not here"), help);
    }
}
