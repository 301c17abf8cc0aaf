//! Reading what operators write.
//!
//! [`read_cluster`] turns an LDMS YAML into a [`Cluster`]; [`etcd_file`] reads the YAML that says where etcd is. Both
//! find all mistakes of a file at once, and say where each is and what to write instead.
//!
//! Three dialects are read, and may be mixed: the README's (peers name endpoints only), that of 2024 (plugins are
//! defined where samplers and stores use them, `stores` is a list) and the current one (a section `plugins`, which
//! samplers and stores refer to, `stores` is a mapping).

pub mod diagnostic;
pub mod etcd_file;

mod advertise;
mod aggregators;
mod auth;
mod daemons;
mod encoding;
mod endpoints;
mod fields;
#[cfg(test)]
mod keys;
mod listeners;
pub(crate) mod plugins;
mod samplers;
mod schedule;
mod stores;
mod syntax;
mod updaters;
mod yaml;

use std::path::Path;

pub use diagnostic::{Diagnostic, Position, Severity};
pub use encoding::decode;

use crate::cluster::Cluster;
use advertise::Announcement;
use daemons::Daemons;
use diagnostic::Report;
use fields::{Fields, items_of, list_of};
use plugins::PluginTable;
use yaml::{Entry, Node, Value};

/// Reads an LDMS YAML. The cluster is there if no diagnostic is an error.
///
/// `file_name` is only for the diagnostics. Secret files that the YAML names are looked for, and those that are not
/// there warned of; nothing else is touched.
#[must_use]
pub fn read_cluster(file_name: &str, text: &str) -> (Option<Cluster>, Vec<Diagnostic>) {
    read_cluster_with(file_name, text, &|path| path.exists())
}

/// As [`read_cluster`]; `file_exists` says whether a secret file is there.
#[must_use]
pub fn read_cluster_with(
    file_name: &str,
    text: &str,
    file_exists: &dyn Fn(&Path) -> bool,
) -> (Option<Cluster>, Vec<Diagnostic>) {
    let report = Report::new(file_name, text);
    let root = yaml::parse(text, &report);
    let cluster = root.and_then(|root| read_document(&root, &report, file_exists));
    let cluster = cluster.filter(|_| !report.has_errors());
    (cluster, report.into_diagnostics())
}

fn read_document(root: &Node, report: &Report<'_>, file_exists: &dyn Fn(&Path) -> bool) -> Option<Cluster> {
    if root.value() == &Value::Absent {
        report.error(root.position, "the file is empty", "define the daemons of the cluster: `daemons: …`");
        return None;
    }
    let root = &join_repeated(root, report);
    let fields = Fields::of(root, "an LDMS configuration", report)?;
    // A section whose name is misspelt is read all the same, so that what refers to it is no further error.
    let section = |key| fields.get_or_slip(key);
    let items = |key| section(key).and_then(|node| list_of(node, key, report)).unwrap_or_default();
    let daemons = fields.require("daemons");
    let (aggregators, samplers) = (items("aggregators"), section("samplers"));
    let (plugins, stores) = (section("plugins"), section("stores"));
    fields.refuse_others();

    let daemons = Daemons::read(daemons, report, file_exists);
    let mut table = PluginTable::new(plugins.map(|node| plugins::read_section(node, report)).unwrap_or_default());
    let mut sampler_groups = samplers::read_section(items("samplers"), &daemons, report, file_exists);
    let mut groups = aggregators::read_section(aggregators, &daemons, report, file_exists);
    for (group, members, announcements) in groups.announcements.drain(..) {
        samplers::add_announcements(&mut sampler_groups, group, members, announcements);
    }
    let announcements: Vec<&Announcement> = samplers::announcements(&sampler_groups).collect();
    groups.leave_out_advertised(&daemons, &announcements, report);
    let samplers_resolved = samplers::resolve(sampler_groups, &mut table, report);
    let mut groups = groups.resolve(&mut table, report);
    if let Some(stores) = stores {
        stores::read_section(stores, &mut groups, &mut table, report);
    }
    if let Some(clash) = table.clash() {
        let [one, other] = &clash.keys;
        report.error(
            samplers.map_or(root.position, |node| node.position),
            format!("`{one}` and `{other}` would both be the plugin `{}` of `{}`", clash.instance, clash.daemon),
            "define them in the section `plugins`, each with a name of its own",
        );
    }
    let plugins = table.into_plugins();
    Some(Cluster { daemons: daemons.by_name, groups, samplers: samplers_resolved, plugins })
}

/// The document with the sections that are there twice, which is reported, in one: what refers to them is no further
/// error.
fn join_repeated(root: &Node, report: &Report<'_>) -> Node {
    let Value::Map(entries) = root.value() else { return root.clone() };
    let mut joined: Vec<Entry> = Vec::new();
    for entry in entries {
        let Some(earlier) = joined.iter_mut().find(|earlier| earlier.key == entry.key) else {
            joined.push(entry.clone());
            continue;
        };
        let message = format!("the section `{}` is here twice, first at line {}", entry.key, earlier.key_position.line);
        report.error(entry.key_position, message, "write all of its entries in one");
        let both = match (earlier.value.value(), entry.value.value()) {
            (Value::Map(some), Value::Map(more)) => Value::Map([some.as_slice(), more].concat()),
            _ => Value::List([items_of(&earlier.value), items_of(&entry.value)].concat()),
        };
        earlier.value = Node::new(earlier.value.position, both);
    }
    Node::new(root.position, Value::Map(joined))
}

/// Diagnostics one below the other, as they are shown to an operator.
#[must_use]
pub fn report(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n")
}
