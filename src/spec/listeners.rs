//! `prdcr_listen`: aggregators that accept daemons which advertise themselves.

use std::collections::BTreeMap;

use super::daemons::Daemons;
use super::diagnostic::{Position, Report};
use super::fields::{Fields, suggestion};
use super::yaml::{Node, Value};
use crate::cluster::ProducerListener;
use crate::notation::Name;

/// The options that ldmsd's `prdcr_listen_add` takes besides, passed on as written.
const OPTIONS: [&str; 7] =
    ["disable_start", "rail", "rx_rate", "type", "advertiser_xprt", "advertiser_port", "advertiser_auth"];

/// A listener whose name may still be missing.
pub(super) struct Listener {
    name: Option<Name>,
    position: Position,
    listener: ProducerListener,
}

/// Reads an entry: `name` is the listener's; `names` are the endpoints that are expected to advertise.
pub(super) fn read(fields: &Fields<'_>, daemons: &Daemons, report: &Report<'_>) -> Option<Listener> {
    let name = fields.text("name").map(Name::from);
    let expected = fields.names("names");
    let reconnect = fields.interval("reconnect");
    let regex = fields.regex("regex");
    let ip = fields.owned_text("ip");
    let mut options: BTreeMap<String, String> =
        OPTIONS.into_iter().filter_map(|key| Some((key.to_owned(), fields.owned_text(key)?))).collect();
    if let Some(perm) = fields.permission("perm") {
        options.insert("perm".into(), perm.to_string());
    }
    if let Some(domain) = fields.get("auth").and_then(|node| read_auth(node, report)) {
        options.entry("advertiser_auth".into()).or_insert(domain);
    }
    if let Some(quota) = fields.text_or_former("quota", "credits") {
        options.insert("quota".into(), quota.to_owned());
    }
    check_type(fields, report);
    let endpoints = expected.map(|names| daemons.resolve_endpoints(&names, report)).unwrap_or_default();
    let nameless = Name::from("");
    let listener = ProducerListener { name: nameless, reconnect, regex, ip, options, endpoints };
    Some(Listener { name, position: fields.position, listener })
}

/// The name of the authentication domain by which active producers are connected to. What it is, their endpoints say.
fn read_auth(node: &Node, report: &Report<'_>) -> Option<String> {
    if let Value::Text(name) = node.value() {
        return Some(name.clone());
    }
    let fields = Fields::of(node, "an authentication domain", report)?;
    let name = fields.text("name").or(fields.text("plugin"));
    if name.is_none() {
        report.error(
            fields.position,
            "an authentication domain needs `name`",
            "add the name that the endpoints give it",
        );
    }
    name.map(str::to_owned)
}

/// Producers that are connected to have to be found, which passive ones need not.
fn check_type(fields: &Fields<'_>, report: &Report<'_>) {
    match fields.text("type") {
        None | Some("passive") => {}
        Some("active") => {
            for key in ["advertiser_xprt", "advertiser_port", "reconnect"] {
                if fields.get(key).is_none() {
                    let message = format!("a prdcr_listen entry of `type: active` needs `{key}`");
                    report.error(fields.position, message, format!("add `{key}: …`"));
                }
            }
        }
        Some(word) => {
            let help = suggestion(word, ["active", "passive"], "write `active` or `passive`");
            report.error(fields.position_of("type"), format!("`{word}` is no type of advertised producer"), help);
        }
    }
}

/// Adds the listeners of one entry to those of a group. One without a name becomes `listen_0`, `listen_1`, …
pub(super) fn add(group: &mut BTreeMap<Name, ProducerListener>, listeners: Vec<Listener>, report: &Report<'_>) {
    let named: Vec<Name> = listeners.iter().filter_map(|listener| listener.name.clone()).collect();
    for Listener { name, position, listener } in listeners {
        let name = name.unwrap_or_else(|| {
            let free = (0_u64..).map(|number| Name::from(format!("listen_{number}")));
            free.into_iter()
                .find(|name| !group.contains_key(name) && !named.contains(name))
                .unwrap_or_else(|| Name::from("listen"))
        });
        let listener = ProducerListener { name: name.clone(), ..listener };
        if group.insert(name.clone(), listener).is_some() {
            let message = format!("the group has a listener `{name}` already");
            report.error(position, message, "give each listener of a group a name of its own");
        }
    }
}
