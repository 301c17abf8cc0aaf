//! The daemons of one simulation and what can be done to them from outside.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use maestro::cluster::Cluster;
use maestro::ldmsd::auth::AuthMethod;
use maestro::notation::{Name, hostlist};
use maestro::spec::read_cluster;

use crate::daemon::Imitation;
use crate::journal::Journal;
use crate::net::{Fault, ListenAddress, Node, NodeConfig, now_us};

/// The process id that the first daemon claims to have; each start takes the next, as a restarted process has another.
const FIRST_PID: u32 = 10_000;

/// A simulated cluster.
#[derive(Debug)]
pub(crate) struct SimulatedCluster {
    pub(crate) slots: BTreeMap<Name, Slot>,
    pub(crate) journal: Journal,
    next_pid: u32,
}

/// The place of a daemon, whether it runs or not.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) config: NodeConfig,
    pub(crate) node: Option<Node>,
    /// Since when it hangs.
    pub(crate) paused_us: Option<u64>,
}

impl Slot {
    pub(crate) fn is_up(&self) -> bool {
        self.node.as_ref().is_some_and(Node::is_alive)
    }

    /// Whether the daemon runs, as a word.
    pub(crate) fn state(&self) -> &'static str {
        match (self.is_up(), self.paused_us) {
            (false, _) => "down",
            (true, Some(_)) => "hangs",
            (true, None) => "up",
        }
    }
}

impl SimulatedCluster {
    /// Starts all daemons, without configuration.
    pub(crate) fn start(configs: Vec<NodeConfig>) -> anyhow::Result<SimulatedCluster> {
        ensure!(!configs.is_empty(), "there is no daemon to simulate");
        let mut cluster = SimulatedCluster { slots: BTreeMap::new(), journal: Journal::default(), next_pid: FIRST_PID };
        for config in configs {
            let name = config.name.clone();
            cluster.slots.insert(name.clone(), Slot { config, node: None, paused_us: None });
            cluster.start_one(&name)?;
        }
        Ok(cluster)
    }

    fn start_one(&mut self, name: &Name) -> anyhow::Result<()> {
        let pid = self.next_pid;
        self.next_pid += 1;
        let journal = self.journal.clone();
        let slot = self.slot(name)?;
        ensure!(!slot.is_up(), "{name} runs already");
        slot.node = Some(Node::start(slot.config.clone(), pid, journal).with_context(|| format!("{name}"))?);
        slot.paused_us = None;
        Ok(())
    }

    fn slot(&mut self, name: &Name) -> anyhow::Result<&mut Slot> {
        self.slots.get_mut(name).with_context(|| format!("there is no daemon {name}"))
    }

    /// The daemons that the hostlists name, all of which exist.
    pub(crate) fn named(&self, hostlists: &[String]) -> anyhow::Result<Vec<Name>> {
        let mut names = Vec::new();
        for text in hostlists {
            for name in hostlist::expand(text).with_context(|| format!("`{text}`"))? {
                let name = Name::from(name);
                ensure!(self.slots.contains_key(&name), "there is no daemon {name}");
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Starts daemons that are down, without configuration.
    pub(crate) fn start_again(&mut self, names: &[Name]) -> anyhow::Result<()> {
        names.iter().try_for_each(|name| self.start_one(name))
    }

    /// Ends daemons as a kill does.
    pub(crate) async fn kill(&mut self, names: &[Name]) -> anyhow::Result<()> {
        for name in names {
            if let Some(node) = self.slot(name)?.node.take() {
                node.kill().await;
                self.journal.node_stopped(name, now_us());
            }
        }
        Ok(())
    }

    /// Hangs daemons: they keep their connections and answer nothing.
    pub(crate) fn pause(&mut self, names: &[Name]) -> anyhow::Result<()> {
        for name in names {
            let now_us = now_us();
            let slot = self.slot(name)?;
            let Some(node) = slot.node.as_ref().filter(|node| node.is_alive()) else { bail!("{name} is down") };
            if slot.paused_us.is_none() {
                node.pause(true);
                slot.paused_us = Some(now_us);
                self.journal.node_stopped(name, now_us);
            }
        }
        Ok(())
    }

    /// Lets daemons that hang go on.
    pub(crate) fn resume(&mut self, names: &[Name]) -> anyhow::Result<()> {
        for name in names {
            let slot = self.slot(name)?;
            if let (Some(node), Some(paused_us)) = (&slot.node, slot.paused_us.take()) {
                node.pause(false);
                self.journal.node_resumed(name, paused_us, now_us());
            }
        }
        Ok(())
    }

    /// Makes a daemon go wrong.
    pub(crate) fn fault(&mut self, names: &[Name], fault: &Fault) -> anyhow::Result<()> {
        for name in names {
            let Some(node) = &self.slot(name)?.node else { bail!("{name} is down") };
            node.faults.add(fault.clone());
        }
        Ok(())
    }

    /// The daemon that listens on an address, by the text that it is known by to those who connect.
    pub(crate) fn node_at(&self, host: &str, port: u16) -> Option<Name> {
        let listens = |config: &NodeConfig| {
            config
                .endpoints
                .iter()
                .any(|endpoint| endpoint.port == port && (endpoint.host == host || config.host == host))
        };
        self.slots.iter().find(|(_, slot)| listens(&slot.config)).map(|(name, _)| name.clone())
    }
}

/// The daemons of an LDMS YAML, with all their endpoints of transport sock.
pub(crate) fn configs_of_file(path: &Path, imitation: Imitation) -> anyhow::Result<Vec<NodeConfig>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (cluster, diagnostics) = read_cluster(&path.display().to_string(), &text);
    for diagnostic in &diagnostics {
        eprintln!("{diagnostic}");
    }
    let cluster = cluster.context("the cluster cannot be read")?;
    let levels = levels(&cluster);
    let mut configs = Vec::new();
    for daemon in cluster.daemons.values() {
        let mut endpoints: Vec<_> = daemon.endpoints.iter().filter(|endpoint| endpoint.xprt == "sock").collect();
        // Its first endpoint is what a daemon advertises, and by whose rules it authenticates where nothing else is said.
        endpoints.sort_by_key(|endpoint| !endpoint.maestro_comm);
        let mut addresses = Vec::new();
        for endpoint in endpoints {
            let auth = AuthMethod::from_options(&endpoint.auth.plugin, &endpoint.auth.options)
                .with_context(|| format!("{}, endpoint {}", daemon.name, endpoint.name))?;
            addresses.push(ListenAddress { host: daemon.host_of(endpoint).to_owned(), port: endpoint.port, auth });
        }
        configs.push(NodeConfig {
            name: daemon.name.clone(),
            host: daemon.host.clone(),
            level: levels.get(&daemon.name).copied().unwrap_or(0),
            imitation,
            endpoints: addresses,
        });
    }
    Ok(configs)
}

/// The level of each aggregator: one more than the highest of those that it collects from.
fn levels(cluster: &Cluster) -> BTreeMap<Name, usize> {
    let groups = cluster.groups.values();
    let mut levels: BTreeMap<Name, usize> =
        groups.clone().flat_map(|group| &group.aggregators).map(|name| (name.clone(), 1)).collect();
    // Each pass settles one level more; groups that collect from each other in a circle end it too.
    for _ in 0..cluster.groups.len() {
        for group in groups.clone() {
            let below = group.producers.values().filter_map(|producer| levels.get(&producer.daemon));
            let level = below.max().map_or(1, |highest| highest + 1);
            levels.extend(group.aggregators.iter().map(|name| (name.clone(), level)));
        }
    }
    levels
}

/// A daemon without a YAML, from `NAME=HOST:PORT`.
pub(crate) fn config_of_word(word: &str, imitation: Imitation) -> anyhow::Result<NodeConfig> {
    let read = || {
        let (name, address) = word.split_once('=')?;
        let (host, port) = address.rsplit_once(':')?;
        Some((Name::from(name), host.to_owned(), port.parse::<u16>().ok()?))
    };
    let (name, host, port) = read().with_context(|| format!("`{word}` is not NAME=HOST:PORT"))?;
    let endpoint = ListenAddress { host: host.clone(), port, auth: AuthMethod::None };
    Ok(NodeConfig { name, host, level: 0, imitation, endpoints: vec![endpoint] })
}
