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
mod endpoints;
mod fields;
mod listeners;
pub(crate) mod plugins;
mod samplers;
mod stores;
mod updaters;
mod yaml;

use std::path::Path;

pub use diagnostic::{Diagnostic, Position, Severity};

use crate::cluster::Cluster;
use advertise::Announcement;
use daemons::Daemons;
use diagnostic::Report;
use fields::{Fields, items_of};
use plugins::PluginTable;
use yaml::{Node, Value};

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
    let fields = Fields::of(root, "an LDMS configuration", report)?;
    let daemons = fields.require("daemons");
    let aggregators = fields.items("aggregators");
    let samplers = fields.get("samplers");
    let plugins = fields.get("plugins");
    let stores = fields.get("stores");
    fields.refuse_others();

    let daemons = Daemons::read(daemons.map_or(&[][..], items_of), report, file_exists);
    let mut table = PluginTable::new(plugins.map(|node| plugins::read_section(node, report)).unwrap_or_default());
    let sampler_groups = samplers::read_section(samplers.map_or(&[][..], items_of), &daemons, report, file_exists);
    let announcements: Vec<&Announcement> = samplers::announcements(&sampler_groups).collect();
    let groups = aggregators::read_section(aggregators, &daemons, &announcements, report);
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

/// Diagnostics one below the other, as they are shown to an operator.
#[must_use]
pub fn report(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n")
}
