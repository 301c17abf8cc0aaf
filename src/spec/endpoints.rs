//! `endpoints`: where daemons listen.

use std::path::Path;

use super::auth;
use super::diagnostic::{Position, Report};
use super::fields::{Fields, Names, abbreviated, parse_port, suggestion};
use super::yaml::Node;
use crate::cluster::{AuthDomain, Endpoint};
use crate::notation::Name;

/// The endpoints that one entry gives to each of the daemons.
pub(super) struct EndpointEntry {
    /// Where the endpoints are named.
    pub(super) position: Position,
    /// The endpoints of the first daemon, of the second, and so on.
    pub(super) of_daemons: Vec<Vec<Endpoint>>,
}

/// Reads the endpoints of the daemons that one entry names.
pub(super) struct EndpointReader<'a> {
    /// The daemons.
    pub(super) names: &'a Names,
    pub(super) report: &'a Report<'a>,
    pub(super) file_exists: &'a dyn Fn(&Path) -> bool,
}

impl EndpointReader<'_> {
    pub(super) fn read_all(&self, entries: &[Node]) -> Vec<EndpointEntry> {
        entries.iter().filter_map(|node| self.read(&Fields::of(node, "an endpoint entry", self.report)?)).collect()
    }

    /// An entry names the same number of endpoints for each daemon: the first so many are the first daemon's.
    fn read(&self, fields: &Fields<'_>) -> Option<EndpointEntry> {
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
        check_transport(xprt, fields, self.report);
        if maestro_comm && TRANSPORTS.contains(&xprt) && xprt != "sock" {
            let place = fields.position_of("xprt");
            let message = format!("maestro speaks to daemons over `sock` only, not over `{xprt}`");
            self.report.error(place, message, "set `maestro_comm: false` here and give the daemons a `sock` endpoint");
        }

        let (names, (ports_written, ports), auth) = (names?, ports?, auth?);
        let copied_bytes = xprt.len() + fields.get("auth").map_or(0, Node::bytes);
        if !self.report.afford(names.list.len().saturating_mul(copied_bytes), names.position) {
            return None;
        }
        let (daemons, count) = (self.names.list.len(), names.list.len());
        if !count.is_multiple_of(daemons) {
            report_uneven(("endpoints", &names), ("daemons", self.names), names.position, self.report);
            return None;
        }
        if !count.is_multiple_of(ports.len()) {
            report_uneven(("endpoints", &names), ("ports", &ports_written), ports_written.position, self.report);
            return None;
        }
        let hosts = match hosts {
            Some(hosts) => Some(stretch_or_report(&hosts, ("endpoints", &names), self.report)?),
            None => None,
        };
        let endpoints: Vec<Endpoint> = names
            .list
            .iter()
            .enumerate()
            .map(|(index, name)| Endpoint {
                name: Name::from(name.as_str()),
                host: hosts.as_ref().map(|hosts| hosts[index].clone()),
                port: ports[index % ports.len()],
                xprt: xprt.to_owned(),
                maestro_comm,
                auth: auth.clone(),
                bind_all,
            })
            .collect();
        let of_daemons = endpoints.chunks(count / daemons).map(<[_]>::to_vec).collect();
        Some(EndpointEntry { position: names.position, of_daemons })
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
}

/// What LDMS can be built to speak.
const TRANSPORTS: [&str; 4] = ["sock", "rdma", "ugni", "fabric"];

/// An endpoint or a target needs a transport that LDMS has.
pub(super) fn check_transport(xprt: &str, fields: &Fields<'_>, report: &Report<'_>) {
    if !TRANSPORTS.contains(&xprt) {
        let help = suggestion(xprt, TRANSPORTS, "write `sock`, `rdma`, `ugni` or `fabric`");
        report.error(fields.position_of("xprt"), format!("LDMS has no transport `{xprt}`"), help);
    }
}

/// Hosts for as many names: one each, or fewer that each serve the same number of names, in blocks.
pub(super) fn stretch_or_report(hosts: &Names, names: (&str, &Names), report: &Report<'_>) -> Option<Vec<String>> {
    let stretched = stretch(&hosts.list, names.1.list.len());
    if stretched.is_none() {
        report_uneven(names, ("hosts", hosts), hosts.position, report);
    }
    stretched
}

/// Reports that the number of one hostlist's names is no multiple of the other's, and shows both.
fn report_uneven(
    (many, of_many): (&str, &Names),
    (few, of_few): (&str, &Names),
    position: Position,
    report: &Report<'_>,
) {
    let counts = (of_many.list.len(), of_few.list.len());
    report.error(
        position,
        format!("{} {many} cannot be shared evenly by {} {few}", counts.0, counts.1),
        format!(
            "{many}: {}; {few}: {}; the number of {many} must be a multiple of the number of {few}",
            abbreviated(&of_many.list),
            abbreviated(&of_few.list)
        ),
    );
}

fn stretch(list: &[String], count: usize) -> Option<Vec<String>> {
    if list.is_empty() || !count.is_multiple_of(list.len()) {
        return None;
    }
    let block = count / list.len();
    Some(list.iter().flat_map(|item| std::iter::repeat_n(item.clone(), block)).collect())
}
