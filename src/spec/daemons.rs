//! `daemons`: every ldmsd and the endpoints that it listens on.

use std::collections::BTreeMap;
use std::path::Path;

use super::auth;
use super::diagnostic::{Position, Report};
use super::fields::{Fields, Names, abbreviated, items_of, parse_port, suggestion, text_of};
use super::yaml::{Node, Value};
use crate::cluster::{AuthDomain, Daemon, Endpoint};
use crate::notation::{Name, Permission};

/// The daemons of a cluster, and which endpoint belongs to which.
#[derive(Default)]
pub(super) struct Daemons {
    pub(super) by_name: BTreeMap<Name, Daemon>,
    /// Where each daemon is named.
    places: BTreeMap<Name, Position>,
    /// The daemon of each endpoint, and where the endpoint is named.
    endpoints: BTreeMap<Name, (Name, Position)>,
    /// Whether an entry could not be read, so that names may be missing for another fault than their own.
    incomplete: bool,
}

impl Daemons {
    /// Reads the section, a list of entries.
    pub(super) fn read(section: &[Node], report: &Report<'_>, file_exists: &dyn Fn(&Path) -> bool) -> Daemons {
        let mut daemons = Daemons::default();
        for node in section {
            match Fields::of(node, "a daemon entry", report) {
                Some(fields) => daemons.read_entry(&fields, report, file_exists),
                None => daemons.incomplete = true,
            }
        }
        daemons
    }

    /// The daemon of an endpoint, and the endpoint.
    pub(super) fn endpoint(&self, name: &Name) -> Option<(&Daemon, &Endpoint)> {
        let daemon = self.by_name.get(&self.endpoints.get(name)?.0)?;
        Some((daemon, daemon.endpoints.iter().find(|endpoint| endpoint.name == *name)?))
    }

    /// The named daemons; those that are not there are reported.
    pub(super) fn resolve(&self, names: &Names, report: &Report<'_>) -> Vec<Name> {
        let (known, unknown) = partition(names, |name| self.by_name.contains_key(name));
        self.report_unknown("daemon", &unknown, names, self.by_name.keys(), report);
        known
    }

    /// The named endpoints; those that no daemon has are reported.
    pub(super) fn resolve_endpoints(&self, names: &Names, report: &Report<'_>) -> Vec<Name> {
        let (known, unknown) = partition(names, |name| self.endpoints.contains_key(name));
        self.report_unknown("endpoint", &unknown, names, self.endpoints.keys(), report);
        known
    }

    fn report_unknown<'c>(
        &self,
        kind: &str,
        unknown: &[Name],
        names: &Names,
        known: impl Iterator<Item = &'c Name>,
        report: &Report<'_>,
    ) {
        let Some(first) = unknown.first().filter(|_| !self.incomplete) else { return };
        let message = match unknown {
            [name] => format!("no {kind} is called `{name}`"),
            _ => format!("no {kind}s are called {}", abbreviated(unknown)),
        };
        let otherwise = format!("define it in the section `daemons` (this is `{}`)", names.written);
        report.error(names.position, message, suggestion(first, known.map(Name::as_str), &otherwise));
    }

    fn read_entry(&mut self, fields: &Fields<'_>, report: &Report<'_>, file_exists: &dyn Fn(&Path) -> bool) {
        let names = fields.required_names("names");
        let hosts = fields.required_names("hosts");
        let endpoints = fields.require("endpoints").map_or(&[][..], items_of);
        let environment = fields.get("environment").and_then(|node| read_environment(node, report)).unwrap_or_default();
        let stream_enable = fields.boolean("stream_enable");
        let msg_enable = fields.boolean("msg_enable");
        let options = read_options(fields, report);
        let Some(names) = names else {
            self.incomplete = true;
            return;
        };

        let count = names.list.len();
        let of_each_daemon = EndpointReader { names: &names, report, file_exists }.read_all(endpoints);
        self.incomplete |= of_each_daemon.len() < endpoints.len();
        let hosts = hosts.and_then(|hosts| stretch_or_report(&hosts, count, "hosts", &names, report));
        let group = Name::from(names.written.as_str());
        for (index, name) in names.list.iter().enumerate() {
            let name = Name::from(name.as_str());
            let mut endpoints = Vec::new();
            for (endpoint, position) in of_each_daemon.iter().filter_map(|spec| spec.get(index)).flatten() {
                self.claim_endpoint(&endpoint.name, &name, *position, report);
                endpoints.push(endpoint.clone());
            }
            endpoints.sort_by(|a: &Endpoint, b| a.name.cmp(&b.name));
            let daemon = Daemon {
                name: name.clone(),
                host: hosts.as_ref().map_or_else(String::new, |hosts| hosts[index].clone()),
                group: group.clone(),
                endpoints,
                environment: environment.clone(),
                stream_enable,
                msg_enable,
                options: options.clone(),
            };
            match self.places.get(&name) {
                Some(first) => report.error(
                    names.position,
                    format!("daemon `{name}` is defined twice, first at line {}", first.line),
                    "give each daemon a name of its own",
                ),
                None => {
                    self.places.insert(name.clone(), names.position);
                    self.by_name.insert(name, daemon);
                }
            }
        }
    }

    fn claim_endpoint(&mut self, endpoint: &Name, daemon: &Name, position: Position, report: &Report<'_>) {
        match self.endpoints.get(endpoint) {
            Some((_, first)) => report.error(
                position,
                format!("endpoint `{endpoint}` is defined twice, first at line {}", first.line),
                "give each endpoint a name of its own",
            ),
            None => {
                self.endpoints.insert(endpoint.clone(), (daemon.clone(), position));
            }
        }
    }
}

fn partition(names: &Names, is_known: impl Fn(&Name) -> bool) -> (Vec<Name>, Vec<Name>) {
    names.list.iter().map(|name| Name::from(name.as_str())).partition(is_known)
}

/// The endpoints of one entry's daemons, each with the place of its name.
type EndpointsOfDaemon = Vec<(Endpoint, Position)>;

struct EndpointReader<'a> {
    /// The daemons.
    names: &'a Names,
    report: &'a Report<'a>,
    file_exists: &'a dyn Fn(&Path) -> bool,
}

impl EndpointReader<'_> {
    /// For each endpoint entry, the endpoints of each daemon.
    fn read_all(&self, entries: &[Node]) -> Vec<Vec<EndpointsOfDaemon>> {
        entries.iter().filter_map(|node| self.read(&Fields::of(node, "an endpoint entry", self.report)?)).collect()
    }

    /// An entry names the same number of endpoints for each daemon: the first so many are the first daemon's.
    fn read(&self, fields: &Fields<'_>) -> Option<Vec<EndpointsOfDaemon>> {
        let names = fields.required_names("names");
        let ports = self.read_ports(fields);
        let hosts = fields.names("hosts");
        let xprt = fields.text("xprt").unwrap_or("sock");
        let maestro_comm = fields.boolean("maestro_comm").unwrap_or(false);
        let bind_all = fields.boolean("bind_all").unwrap_or(false);
        let auth = match fields.get("auth") {
            Some(node) => auth::read(node, self.report, self.file_exists),
            None => Some(AuthDomain::none()),
        };
        fields.refuse_others();
        if maestro_comm && xprt != "sock" {
            let place = fields.get("xprt").map_or(fields.position, |node| node.position);
            let message = format!("maestro speaks to daemons over `sock` only, not over `{xprt}`");
            self.report.error(place, message, "set `maestro_comm: false` here and give the daemons a `sock` endpoint");
        }

        let (names, (ports_written, ports), auth) = (names?, ports?, auth?);
        let (daemons, count) = (self.names.list.len(), names.list.len());
        if !count.is_multiple_of(daemons) {
            self.report_mismatch("endpoints", &names, count, "endpoints", self.names, daemons, "daemons");
            return None;
        }
        if !count.is_multiple_of(ports.len()) {
            self.report_mismatch("ports", &ports_written, ports.len(), "ports", &names, count, "endpoints");
            return None;
        }
        let hosts = match hosts {
            Some(hosts) => Some(stretch_or_report(&hosts, count, "hosts", &names, self.report)?),
            None => None,
        };
        let endpoints: EndpointsOfDaemon = names
            .list
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let endpoint = Endpoint {
                    name: Name::from(name.as_str()),
                    host: hosts.as_ref().map(|hosts| hosts[index].clone()),
                    port: ports[index % ports.len()],
                    xprt: xprt.to_owned(),
                    maestro_comm,
                    auth: auth.clone(),
                    bind_all,
                };
                (endpoint, names.position)
            })
            .collect();
        Some(endpoints.chunks(count / daemons).map(<[_]>::to_vec).collect())
    }

    fn read_ports(&self, fields: &Fields<'_>) -> Option<(Names, Vec<u16>)> {
        let written = fields.required_names("ports")?;
        let mut ports = Vec::with_capacity(written.list.len());
        for text in &written.list {
            match parse_port(text) {
                Some(port) => ports.push(port),
                None => {
                    let help = "write a number from 1 to 65535, or a range such as `[10001-10004]`";
                    self.report.error(written.position, format!("`{text}` is not a port"), help);
                    return None;
                }
            }
        }
        Some((written, ports))
    }

    #[expect(clippy::too_many_arguments, reason = "two hostlists, each with its count and what it counts")]
    fn report_mismatch(
        &self,
        key: &str,
        names: &Names,
        count: usize,
        unit: &str,
        of: &Names,
        of_count: usize,
        of_unit: &str,
    ) {
        let message = format!("{count} {unit} cannot be shared evenly by {of_count} {of_unit}");
        let help = format!(
            "{key}: {}; {of_unit}: {}; the numbers must divide",
            abbreviated(&names.list),
            abbreviated(&of.list)
        );
        self.report.error(names.position, message, help);
    }
}

/// Hosts for `count` names: as many, or fewer that each serve the same number of names, in blocks.
fn stretch_or_report(
    hosts: &Names,
    count: usize,
    key: &str,
    names: &Names,
    report: &Report<'_>,
) -> Option<Vec<String>> {
    let Some(stretched) = stretch(&hosts.list, count) else {
        report.error(
            hosts.position,
            format!("`{key}` names {} hosts for {count} names", hosts.list.len()),
            format!(
                "names: {}; hosts: {}; write {count} hosts, or a number that divides {count}",
                abbreviated(&names.list),
                abbreviated(&hosts.list)
            ),
        );
        return None;
    };
    Some(stretched)
}

fn stretch(list: &[String], count: usize) -> Option<Vec<String>> {
    if list.is_empty() || !count.is_multiple_of(list.len()) {
        return None;
    }
    let block = count / list.len();
    Some(list.iter().flat_map(|item| std::iter::repeat_n(item.clone(), block)).collect())
}

fn read_environment(node: &Node, report: &Report<'_>) -> Option<BTreeMap<String, String>> {
    let fields = Fields::of(node, "the environment", report)?;
    let mut environment = BTreeMap::new();
    for entry in fields.others().filter(|entry| entry.value.value() != &Value::Absent) {
        let value = text_of(&entry.value, &entry.key, report)?;
        environment.insert(entry.key.clone(), value.to_owned());
    }
    Some(environment)
}

/// Everything that is no key of ours is an option of ldmsd; several parameters may be written as a mapping.
fn read_options(fields: &Fields<'_>, report: &Report<'_>) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    for entry in fields.others() {
        // ldmsd has many options; only a key that misses one letter is taken for a slip.
        if fields.refuse_slip(entry, 1) {
            continue;
        }
        let value = match entry.value.value() {
            Value::Absent => continue,
            Value::Map(_) => read_parameters(&entry.value, report),
            _ => text_of(&entry.value, &entry.key, report).map(str::to_owned),
        };
        if let Some(value) = value {
            options.insert(entry.key.clone(), value);
        }
    }
    options
}

/// `{uid: 0, perm: "777"}` as `perm=0777 uid=0`.
fn read_parameters(node: &Node, report: &Report<'_>) -> Option<String> {
    let fields = Fields::of(node, "an option", report)?;
    let permission = fields.permission("perm").map(|perm: Permission| ("perm".to_owned(), perm.to_string()));
    let mut parameters: BTreeMap<String, String> = permission.into_iter().collect();
    for entry in fields.others() {
        parameters.insert(entry.key.clone(), text_of(&entry.value, &entry.key, report)?.to_owned());
    }
    Some(parameters.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "))
}
