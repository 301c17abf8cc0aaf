//! The machine that we run on.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use anyhow::Context;
use nix::ifaddrs::getifaddrs;
use nix::unistd::gethostname;

/// What this machine is called, and the addresses of its interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThisHost {
    /// Its host name, short or with a domain, as the machine has it.
    pub name: String,
    /// The addresses of its interfaces, without loopback.
    pub addresses: BTreeSet<IpAddr>,
}

impl ThisHost {
    /// Asks the system.
    ///
    /// # Errors
    /// The system does not tell, or the host name is not text.
    pub fn ask() -> anyhow::Result<ThisHost> {
        let name = gethostname().context("cannot ask for the name of this machine")?;
        let name = name.into_string().ok().context("the name of this machine is not text")?;
        let addresses = getifaddrs()
            .context("cannot ask for the addresses of this machine")?
            .filter_map(|interface| {
                let address = interface.address?;
                let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
            })
            .filter(|address| !address.is_loopback());
        Ok(ThisHost { name, addresses: addresses.collect() })
    }

    /// Whether this machine has the address. Every loopback address is its own, 127.9.0.2 as well as 127.0.0.1.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.addresses.contains(&address)
    }
}

impl fmt::Display for ThisHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Link-local addresses name nobody.
        let told = |address: &&IpAddr| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let addresses: Vec<String> = self.addresses.iter().filter(told).map(IpAddr::to_string).collect();
        match addresses.is_empty() {
            true => f.write_str(&self.name),
            false => write!(f, "{} ({})", self.name, addresses.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn an_address_to_which_this_machine_can_bind_is_its_own() {
        let here = ThisHost::ask().unwrap();
        assert!(!here.name.is_empty());
        for address in &here.addresses {
            // An address of a link needs its scope to bind.
            if !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
                UdpSocket::bind((*address, 0)).unwrap();
            }
        }
    }

    #[test]
    fn loopback_is_here_and_documentation_is_elsewhere() {
        let here = ThisHost { name: "node-1".into(), addresses: BTreeSet::from(["10.0.0.1".parse().unwrap()]) };
        for (address, is_here) in [
            ("127.0.0.1", true),
            ("127.9.0.2", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("10.0.0.2", false),
            ("fd00::1", false),
        ] {
            assert_eq!(here.has(address.parse().unwrap()), is_here, "{address}");
        }
    }
}
