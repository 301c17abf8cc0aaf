//! `advertise`: daemons that announce themselves to aggregators.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::auth;
use super::daemons::Daemons;
use super::diagnostic::Report;
use super::endpoints::check_transport;
use super::fields::{Fields, Names, abbreviated};
use super::yaml::Node;
use crate::cluster::{Advertiser, AdvertiserTarget, AuthDomain, Daemon, Endpoint};
use crate::notation::Name;

/// What the daemons of an entry announce, and under which endpoints.
pub(super) struct Announcement {
    pub(super) advertiser: Advertiser,
    /// The endpoints that are announced.
    pub(super) endpoints: Vec<Name>,
}

impl Announcement {
    /// Whether it goes to one of these hosts and ports.
    pub(super) fn reaches(&self, addresses: &BTreeSet<(&str, u16)>) -> bool {
        self.advertiser.targets.iter().any(|target| addresses.contains(&(target.host.as_str(), target.port)))
    }
}

/// Reads an entry: `to` names endpoints of aggregators, or `hosts`, `port`, `xprt` and `auth` say where they listen.
///
/// `names` are daemons, endpoints of daemons, or any names, as many as the group has daemons; without them the
/// whole group advertises.
pub(super) fn read(
    node: &Node,
    group: &Names,
    members: &[Name],
    daemons: &Daemons,
    report: &Report<'_>,
    file_exists: &dyn Fn(&Path) -> bool,
) -> Option<Announcement> {
    let fields = Fields::of(node, "an advertise entry", report)?;
    let names = fields.names("names");
    let targets = match fields.names("to") {
        Some(to) => Some(targets_of_endpoints(&to, daemons, report)),
        None => read_targets(&fields, report, file_exists),
    };
    let reconnect = fields.interval("reconnect");
    let options = read_options(&fields);
    fields.refuse_others();

    let (announcing, endpoints) = match &names {
        Some(names) => announcing(names, members, daemons, report)?,
        None => (members.to_vec(), endpoints_of(members, daemons)),
    };
    let names = names.map_or_else(|| group.written.clone(), |names| names.written);
    let advertiser = Advertiser { names, daemons: announcing, targets: targets?, reconnect, options };
    Some(Announcement { advertiser, endpoints })
}

/// The daemons and the endpoints that `names` stand for.
fn announcing(
    names: &Names,
    members: &[Name],
    daemons: &Daemons,
    report: &Report<'_>,
) -> Option<(Vec<Name>, Vec<Name>)> {
    let listed: Vec<Name> = names.list.iter().map(|name| Name::from(name.as_str())).collect();
    let owners: Option<Vec<Name>> =
        listed.iter().map(|name| daemons.endpoint(name).map(|(daemon, _)| daemon.name.clone())).collect();
    let (mut announcing, endpoints) = match owners {
        Some(owners) => (owners, listed),
        None if listed.iter().all(|name| daemons.by_name.contains_key(name)) => {
            let endpoints = endpoints_of(&listed, daemons);
            (listed, endpoints)
        }
        None if listed.len() == members.len() => (members.to_vec(), endpoints_of(members, daemons)),
        None => {
            report.error(
                names.position,
                format!("`names` are neither daemons nor endpoints: {}", abbreviated(&listed)),
                format!("write daemons or endpoints of this entry, or {} names of your own", members.len()),
            );
            return None;
        }
    };
    announcing.sort();
    announcing.dedup();
    if let Some(stranger) = announcing.iter().find(|name| members.binary_search(name).is_err()) {
        let help = "list it in the `daemons` of this entry, or advertise it in its own";
        report.error(names.position, format!("`{stranger}` is not one of the daemons of this entry"), help);
        return None;
    }
    Some((announcing, endpoints))
}

fn endpoints_of(members: &[Name], daemons: &Daemons) -> Vec<Name> {
    let members = members.iter().filter_map(|name| daemons.by_name.get(name));
    members.flat_map(|daemon| daemon.endpoints.iter().map(|endpoint| endpoint.name.clone())).collect()
}

fn targets_of_endpoints(to: &Names, daemons: &Daemons, report: &Report<'_>) -> Vec<AdvertiserTarget> {
    let target = |(daemon, endpoint): (&Daemon, &Endpoint)| AdvertiserTarget {
        host: daemon.host_of(endpoint).to_owned(),
        port: endpoint.port,
        xprt: endpoint.xprt.clone(),
        auth: endpoint.auth.clone(),
    };
    let endpoints = daemons.resolve_endpoints(to, report);
    endpoints.iter().filter_map(|name| daemons.endpoint(name)).map(target).collect()
}

fn read_targets(
    fields: &Fields<'_>,
    report: &Report<'_>,
    file_exists: &dyn Fn(&Path) -> bool,
) -> Option<Vec<AdvertiserTarget>> {
    if fields.get("hosts").is_none() && fields.get("port").is_none() {
        let help = "add `to: …`, endpoints of aggregators, or `hosts: …` and `port: …`";
        report.error(fields.position, "an advertise entry needs somebody to advertise to", help);
        return None;
    }
    let hosts = fields.required_names("hosts");
    let port = fields.require("port").and_then(|_| fields.port("port"));
    let xprt = fields.text("xprt").unwrap_or("sock");
    check_transport(xprt, fields, report);
    let auth = match fields.get("auth") {
        Some(node) => auth::read(node, report, file_exists),
        None => Some(AuthDomain::none()),
    };
    let (hosts, port, auth) = (hosts?, port?, auth?);
    let copied_bytes = xprt.len() + fields.get("auth").map_or(0, Node::bytes);
    if !report.afford(hosts.list.len().saturating_mul(copied_bytes), hosts.position) {
        return None;
    }
    let target = |host: String| AdvertiserTarget { host, port, xprt: xprt.to_owned(), auth: auth.clone() };
    Some(hosts.list.into_iter().map(target).collect())
}

/// The options that ldmsd's `advertiser_add` takes besides; `credits` is the former name of `quota`.
fn read_options(fields: &Fields<'_>) -> BTreeMap<String, String> {
    let perm = fields.permission("perm").map(|perm| ("perm".to_owned(), perm.to_string()));
    let quota = fields.text_or_former("quota", "credits").map(|quota| ("quota".to_owned(), quota.to_owned()));
    let others = ["rail", "rx_rate"].into_iter().filter_map(|key| Some((key.to_owned(), fields.owned_text(key)?)));
    perm.into_iter().chain(quota).chain(others).collect()
}
