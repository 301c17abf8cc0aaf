//! Whether a host of the configuration is this machine, as far as names and addresses tell without the resolver.

use std::net::IpAddr;

use super::ThisHost;

/// The hosts of a configuration, as seen from one machine. Each is in one of the lists, or known to be elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hosts<'a> {
    /// This machine, by name or by address.
    pub(super) here: Vec<&'a str>,
    /// Names that may well be this machine's, such as `node-17-ib` where it is called `node-17`. They are few.
    pub(super) likely: Vec<&'a str>,
    /// Other names. They may be as many as the cluster has nodes.
    pub(super) others: Vec<&'a str>,
}

impl<'a> Hosts<'a> {
    /// Sorts the hosts, each of which is given once.
    ///
    /// A name is this machine's if both are equal, or if one of them has a domain and the other has none and the rest
    /// is equal. Where several hosts are so (`node-1.east` and `node-1.west`, on `node-1`) only the resolver can tell.
    pub(super) fn seen_from(machine: &ThisHost, hosts: impl IntoIterator<Item = &'a str>) -> Hosts<'a> {
        let mut seen = Hosts::default();
        let mut has_our_name = false;
        let mut same_but_for_the_domain = Vec::new();
        for host in hosts {
            match (host.parse::<IpAddr>(), likeness(host, &machine.name)) {
                (Ok(address), _) if machine.has(address) => seen.here.push(host),
                (Ok(_), _) => {}
                (_, Likeness::Equal) => {
                    has_our_name = true;
                    seen.here.push(host);
                }
                (_, Likeness::EqualButForTheDomain) => same_but_for_the_domain.push(host),
                (_, Likeness::SameBeginning) => seen.likely.push(host),
                (_, Likeness::None) if host.eq_ignore_ascii_case("localhost") => seen.here.push(host),
                (_, Likeness::None) => seen.others.push(host),
            }
        }
        match (has_our_name, same_but_for_the_domain.as_slice()) {
            (false, [only]) => seen.here.push(only),
            _ => seen.likely.extend(same_but_for_the_domain),
        }
        seen
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Likeness {
    Equal,
    EqualButForTheDomain,
    /// The host's name goes on where the machine's short name ends: `node-17-ib`, `node-17.hsn`.
    SameBeginning,
    None,
}

fn likeness(host: &str, machine: &str) -> Likeness {
    let (host, machine) = (host.trim_end_matches('.').to_ascii_lowercase(), machine.to_ascii_lowercase());
    if host == machine {
        return Likeness::Equal;
    }
    let (short_host, short_machine) = (short(&host), short(&machine));
    if short_host == short_machine && (short_host == host || short_machine == machine) {
        return Likeness::EqualButForTheDomain;
    }
    match host.strip_prefix(short_machine) {
        Some(rest) if rest.starts_with(|next: char| !next.is_ascii_alphanumeric()) => Likeness::SameBeginning,
        _ => Likeness::None,
    }
}

fn short(name: &str) -> &str {
    name.split_once('.').map_or(name, |(short, _)| short)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn machine(name: &str) -> ThisHost {
        ThisHost { name: name.into(), addresses: BTreeSet::from(["10.0.0.17".parse().unwrap()]) }
    }

    /// What is here, likely and elsewhere.
    fn sorted<'a>(name: &str, hosts: &[&'a str]) -> [Vec<&'a str>; 3] {
        let Hosts { here, likely, others } = Hosts::seen_from(&machine(name), hosts.iter().copied());
        [here, likely, others]
    }

    #[test]
    fn of_30_000_nodes_one_is_this_machine_and_none_is_looked_up() {
        let names: Vec<String> = (1..=30_000).map(|number| format!("node-{number}")).collect();
        let hosts = Hosts::seen_from(&machine("node-17"), names.iter().map(String::as_str));
        assert_eq!((hosts.here, hosts.likely.len()), (vec!["node-17"], 0));
    }

    #[test]
    fn a_name_is_known_with_and_without_its_domain() {
        assert_eq!(sorted("node-17", &["node-17.site.org"]), [vec!["node-17.site.org"], vec![], vec![]]);
        assert_eq!(sorted("node-17.site.org", &["NODE-17"]), [vec!["NODE-17"], vec![], vec![]]);
        assert_eq!(sorted("node-17.site.org", &["Node-17.Site.Org."]), [vec!["Node-17.Site.Org."], vec![], vec![]]);
    }

    #[test]
    fn two_domains_are_two_machines() {
        // Our own is written out: the other is somebody else, though it begins alike.
        let hosts = ["node-17.east", "node-17.west"];
        assert_eq!(sorted("node-17.east", &hosts), [vec!["node-17.east"], vec!["node-17.west"], vec![]]);
        // Ours is not known: the resolver has to tell.
        assert_eq!(sorted("node-17", &hosts), [vec![], vec!["node-17.east", "node-17.west"], vec![]]);
    }

    #[test]
    fn a_loopback_address_does_not_hide_the_name() {
        let hosts = ["127.0.0.1", "node-17.site.org"];
        assert_eq!(sorted("node-17", &hosts), [hosts.to_vec(), vec![], vec![]]);
    }

    #[test]
    fn names_of_further_interfaces_are_likely() {
        let hosts = ["node-17-ib", "node-17.hsn0.site", "node-171", "node-1", "mgmt"];
        let [here, likely, others] = sorted("node-17", &hosts);
        assert_eq!((here, likely), (vec!["node-17.hsn0.site"], vec!["node-17-ib"]));
        assert_eq!(others, ["node-171", "node-1", "mgmt"]);
    }

    #[test]
    fn addresses_need_no_resolver() {
        let hosts = ["10.0.0.17", "10.0.0.18", "127.0.0.4", "::1", "fd00::1", "localhost"];
        assert_eq!(sorted("node-17", &hosts), [vec!["10.0.0.17", "127.0.0.4", "::1", "localhost"], vec![], vec![]]);
    }
}
