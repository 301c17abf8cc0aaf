//! `daemons`: every ldmsd and the endpoints that it listens on.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::diagnostic::{Position, Report};
use super::endpoints::{EndpointEntry, EndpointReader, stretch_or_report};
use super::fields::{Fields, Names, abbreviated, items_of, list_of, suggestion, text_of};
use super::yaml::{Node, Value};
use crate::cluster::{AuthDomain, Daemon, Endpoint};
use crate::notation::{Name, Permission, hostlist};

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
    pub(super) fn read(section: Option<&Node>, report: &Report<'_>, file_exists: &dyn Fn(&Path) -> bool) -> Daemons {
        let entries = section.and_then(|node| list_of(node, "daemons", report));
        let mut daemons = Daemons { incomplete: entries.is_none(), ..Daemons::default() };
        let section = entries.unwrap_or_default();
        for node in section {
            match Fields::of(node, "a daemon entry", report) {
                Some(fields) => daemons.read_entry(&fields, report, file_exists),
                None => daemons.incomplete = true,
            }
        }
        daemons.warn_of_ambiguous_domains(report);
        daemons.refuse_shared_addresses(report);
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

    /// An aggregator knows an authentication domain by its name only, and cannot collect from endpoints that mean
    /// different ones by the same name.
    fn warn_of_ambiguous_domains(&self, report: &Report<'_>) {
        let endpoints = self.by_name.values().flat_map(|daemon| &daemon.endpoints);
        let mut uses: Vec<(Position, &AuthDomain)> =
            endpoints.filter_map(|endpoint| Some((self.endpoints.get(&endpoint.name)?.1, &endpoint.auth))).collect();
        uses.sort();
        // All endpoints of one place have the same domain.
        uses.dedup();
        let mut first_uses: BTreeMap<&Name, (Position, &AuthDomain)> = BTreeMap::new();
        for (position, domain) in uses {
            let (first, other) = *first_uses.entry(&domain.name).or_insert((position, domain));
            if other != domain {
                let message =
                    format!("the authentication domain `{}` is not what it is at line {}", domain.name, first.line);
                report.warning(position, message, "give each domain a name of its own");
            }
        }
    }

    /// Two daemons cannot listen on one port of a host.
    fn refuse_shared_addresses(&self, report: &Report<'_>) {
        let mut users: HashMap<(&str, u16, &str), (&Daemon, &Endpoint)> = HashMap::new();
        for daemon in self.by_name.values().filter(|daemon| !daemon.host.is_empty()) {
            for endpoint in &daemon.endpoints {
                let address = (daemon.host_of(endpoint), endpoint.port, endpoint.xprt.as_str());
                let (other, first) = *users.entry(address).or_insert((daemon, endpoint));
                let Some((_, place)) = self.endpoints.get(&endpoint.name).filter(|_| other.name != daemon.name) else {
                    continue;
                };
                let (host, port, _) = address;
                let message =
                    format!("`{}` listens where `{}` does, on port {port} of `{host}`", endpoint.name, first.name);
                let help = format!(
                    "give the daemons `{}` and `{}` ports of their own: `ports: \"[…]\"`",
                    other.name, daemon.name
                );
                report.error_once_for(*place, message, help);
            }
        }
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
        let known: Vec<&Name> = known.collect();
        let series: Vec<&Name> =
            known.iter().copied().filter(|name| without_digits(name).eq(without_digits(first))).collect();
        let help = if series.is_empty() {
            let otherwise = format!("define it in the section `daemons` (this is `{}`)", names.written);
            suggestion(first, known.into_iter().map(Name::as_str), &otherwise)
        } else {
            format!("there are `{}`; define more in the section `daemons`", hostlist::fold(&series))
        };
        report.error(names.position, message, help);
    }

    fn read_entry(&mut self, fields: &Fields<'_>, report: &Report<'_>, file_exists: &dyn Fn(&Path) -> bool) {
        let names = fields.required_names("names");
        let hosts = fields.required_names("hosts");
        let endpoints = fields.require("endpoints").and_then(|node| list_of(node, "endpoints", report));
        let environment = fields.get("environment");
        let copied_bytes = environment.map_or(0, Node::bytes);
        let environment = environment.and_then(|node| read_environment(node, report)).unwrap_or_default();
        let stream_enable = fields.boolean("stream_enable");
        let msg_enable = fields.boolean("msg_enable");
        let options = read_options(fields, report);
        let copied_bytes = copied_bytes + options.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let Some(names) =
            names.filter(|names| report.afford(names.list.len().saturating_mul(copied_bytes), names.position))
        else {
            self.incomplete = true;
            return;
        };

        self.incomplete |= endpoints.is_none();
        let endpoints = endpoints.unwrap_or_default();
        let entries = EndpointReader { names: &names, report, file_exists }.read_all(endpoints);
        self.incomplete |= entries.len() < endpoints.len();
        for entry in &entries {
            self.claim_endpoints(entry, &names, report);
        }
        let hosts = hosts.and_then(|hosts| stretch_or_report(&hosts, ("daemons", &names), report));
        let group = Name::from(names.written.as_str());
        let mut taken = Vec::new();
        for (index, name) in names.list.iter().enumerate() {
            let name = Name::from(name.as_str());
            if let Some(first) = self.places.get(&name) {
                taken.push((name, *first));
                continue;
            }
            let mut endpoints: Vec<Endpoint> =
                entries.iter().flat_map(|entry| entry.of_daemons[index].iter().cloned()).collect();
            endpoints.sort_by(|a, b| a.name.cmp(&b.name));
            let daemon = Daemon {
                name: name.clone(),
                // Without hosts the file has an error, and the daemon is only there to be referred to.
                host: hosts.as_ref().map_or_else(String::new, |hosts| hosts[index].clone()),
                group: group.clone(),
                endpoints,
                environment: environment.clone(),
                stream_enable,
                msg_enable,
                options: options.clone(),
            };
            self.places.insert(name.clone(), names.position);
            self.by_name.insert(name, daemon);
        }
        report_taken("daemon", &taken, names.position, report);
    }

    fn claim_endpoints(&mut self, entry: &EndpointEntry, daemons: &Names, report: &Report<'_>) {
        let mut taken = Vec::new();
        for (daemon, endpoints) in daemons.list.iter().zip(&entry.of_daemons) {
            for endpoint in endpoints {
                match self.endpoints.get(&endpoint.name) {
                    Some((_, first)) => taken.push((endpoint.name.clone(), *first)),
                    None => {
                        self.endpoints.insert(endpoint.name.clone(), (daemon.as_str().into(), entry.position));
                    }
                }
            }
        }
        report_taken("endpoint", &taken, entry.position, report);
    }
}

fn without_digits(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().filter(|byte| !byte.is_ascii_digit())
}

/// Reports names that others have already, with the place of the first of these.
fn report_taken(kind: &str, taken: &[(Name, Position)], position: Position, report: &Report<'_>) {
    let Some((_, first)) = taken.first() else { return };
    let names: Vec<&Name> = taken.iter().map(|(name, _)| name).collect();
    let (plural, are) = if names.len() == 1 { ("", "is") } else { ("s", "are") };
    report.error(
        position,
        format!("{kind}{plural} {} {are} defined twice, first at line {}", abbreviated(&names), first.line),
        format!("give each {kind} a name of its own"),
    );
}

fn partition(names: &Names, is_known: impl Fn(&Name) -> bool) -> (Vec<Name>, Vec<Name>) {
    names.list.iter().map(|name| Name::from(name.as_str())).partition(is_known)
}

/// A mapping, or a list of mappings and of texts `NAME=value`.
fn read_environment(node: &Node, report: &Report<'_>) -> Option<BTreeMap<String, String>> {
    let mut environment = BTreeMap::new();
    for item in items_of(node) {
        if let Value::Text(text) = item.value() {
            let Some((name, value)) = text.split_once('=') else {
                let message = format!("`{text}` is no variable with a value");
                report.error(item.position, message, "write `NAME: value`, or `- NAME=value` in a list");
                return None;
            };
            environment.insert(name.trim().to_owned(), value.to_owned());
            continue;
        }
        let fields = Fields::of(item, "the environment", report)?;
        for entry in fields.others().filter(|entry| entry.value.value() != &Value::Absent) {
            let value = text_of(&entry.value, &entry.key, report)?;
            environment.insert(entry.key.to_string(), value.to_owned());
        }
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
            options.insert(entry.key.to_string(), value);
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
        parameters.insert(entry.key.to_string(), text_of(&entry.value, &entry.key, report)?.to_owned());
    }
    Some(parameters.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "))
}
