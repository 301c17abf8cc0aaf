//! What a cluster asks of one daemon.

use std::collections::{BTreeMap, BTreeSet};

use super::parts::Parts;
use super::plugin_config::{sampler_plugin, store_plugin};
use super::retired::Retired;
use crate::cluster::{
    AdvertiserTarget, AggregatorGroup, AuthDomain, Cluster, Daemon, Endpoint, Producer, ProducerListener, Relations,
    StoragePolicy, Subscription, Updater,
};
use crate::ldmsd::Attribute;
use crate::notation::{Interval, Name};

/// Everything that one ldmsd should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaemonConfig {
    /// Authentication domains that its producers and listeners use, by name.
    pub auth_domains: BTreeMap<Name, AuthDomain>,
    /// Further addresses on which it listens.
    pub listens: Vec<ListenWanted>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Whether the stream service has to be switched on.
    pub streams: bool,
    /// Whether the message service has to be switched on.
    pub messages: bool,
    /// Plugin instances, of samplers and stores, by name.
    pub plugins: BTreeMap<Name, PluginWanted>,
    /// Producers by name.
    pub producers: BTreeMap<Name, ProducerWanted>,
    /// What must not be here any more.
    pub retired: Retired,
    /// Producers that advertised themselves, by name: nobody adds them.
    pub advertised: BTreeMap<Name, Run>,
    /// By which connections it advertises itself, by name.
    pub advertisers: BTreeMap<Name, AdvertiserWanted>,
    /// Listeners for daemons that advertise themselves, by name.
    pub listeners: BTreeMap<Name, ProducerListener>,
    /// Subscriptions of its producers.
    pub subscriptions: Vec<Subscription>,
    /// Updaters. On the daemon a suffix may follow the name.
    pub updaters: Vec<UpdaterWanted>,
    /// Temporary fast updaters.
    pub boosts: Vec<BoostConfig>,
    /// Storage policies by name.
    pub policies: BTreeMap<Name, PolicyWanted>,
}

/// An address on which a daemon listens besides the one over which it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenWanted {
    /// The transport.
    pub xprt: String,
    /// The port.
    pub port: u16,
    /// The address; `None` for all addresses of the host.
    pub host: Option<String>,
    /// The authentication domain.
    pub auth: Name,
}

impl ListenWanted {
    /// The address of an endpoint.
    pub(super) fn at(daemon: &Daemon, endpoint: &Endpoint) -> ListenWanted {
        ListenWanted {
            xprt: endpoint.xprt.clone(),
            port: endpoint.port,
            host: (!endpoint.bind_all).then(|| daemon.host_of(endpoint).to_owned()),
            auth: endpoint.auth.name.clone(),
        }
    }
}

/// A plugin instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginWanted {
    /// The library.
    pub plugin: String,
    /// The options of each `config` command.
    pub configs: Vec<String>,
    /// When it samples; `None` for a store.
    pub schedule: Option<Schedule>,
}

/// When a sampler plugin samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The interval.
    pub interval: Interval,
    /// The offset.
    pub offset: Option<Interval>,
}

/// A producer of an aggregator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerWanted {
    /// How it is collected.
    pub producer: Producer,
    /// The host of its endpoint.
    pub host: String,
    /// The port of its endpoint.
    pub port: u16,
    /// The transport of its endpoint.
    pub xprt: String,
    /// The authentication domain of its endpoint.
    pub auth: Name,
    /// Whether it runs here.
    pub run: Run,
}

/// A connection by which a daemon advertises itself to an aggregator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvertiserWanted {
    /// To whom.
    pub target: AdvertiserTarget,
    /// The time after which a lost connection is tried again.
    pub reconnect: Interval,
    /// Further options as written (`rail`, `quota`, `rx_rate`, …).
    pub options: BTreeMap<String, String>,
}

/// Whether a producer runs on an aggregator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// It is to be started.
    Started,
    /// It is to be connected, and collected by no updater here: a takeover then finds it connected.
    Standby,
    /// It is to be stopped.
    Stopped,
    /// It is left as it is: another aggregator takes over from this one, which must not stop before.
    AsItIs,
}

/// An updater of an aggregator: as the cluster has it, or for a part of what that one is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdaterWanted {
    /// The updater of the cluster.
    pub updater: Updater,
    /// The only producers that it is for, of those that its expressions match; `None` for all of these.
    pub only_producers: Option<BTreeSet<Name>>,
    /// Exactly the set instances that it fetches, in place of its own match list; `None` for that one.
    pub only_sets: Option<BTreeSet<String>>,
}

impl From<Updater> for UpdaterWanted {
    fn from(updater: Updater) -> UpdaterWanted {
        UpdaterWanted { updater, only_producers: None, only_sets: None }
    }
}

impl std::ops::Deref for UpdaterWanted {
    type Target = Updater;

    fn deref(&self) -> &Updater {
        &self.updater
    }
}

/// A temporary fast updater that shortens the hole after a move (operations of a live ldmsd,
/// sections 2 and 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoostConfig {
    /// Its name, which tells whose it is: [`BoostConfig::PREFIX`] and a number.
    pub name: Name,
    /// The producers that it covers.
    pub producers: BTreeSet<Name>,
    /// The sets that it fetches; empty for all sets of its producers.
    pub sets: BTreeSet<String>,
    /// Its interval in microseconds, see [`boost_interval_us`](super::boost_interval_us).
    pub interval_us: i64,
}

impl BoostConfig {
    /// Every temporary updater of maestro is named so; one that nobody wants is a leftover and removed.
    pub const PREFIX: &'static str = "boost-";
}

/// A storage policy of an aggregator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyWanted {
    /// What is stored where.
    pub policy: StoragePolicy,
    /// The library of its store plugin.
    pub library: String,
    /// The name of the store plugin's instance.
    pub instance: Name,
}

/// What placement has given to one daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// Producers that run here.
    pub started: BTreeSet<Name>,
    /// Producers that ran here and are stopped only when another aggregator has taken over.
    pub as_they_are: BTreeSet<Name>,
    /// Producers that stand by here.
    pub standbys: BTreeSet<Name>,
    /// The only producers that the updaters here are for; `None` for all that their expressions match. Where producers
    /// run that are not to be collected, the updaters have to name the others.
    pub collected: Option<BTreeSet<Name>>,
    /// What has left the configuration.
    pub retired: Retired,
    /// Producers that advertised themselves to the group, and whether they run here.
    pub advertised: BTreeMap<Name, Run>,
    /// What the daemon does so that others can be collected that advertise themselves; `None` leaves advertisers and
    /// listeners alone.
    pub advertising: Option<Advertising>,
    /// Temporary fast updaters.
    pub boosts: Vec<BoostConfig>,
    /// What is fetched where it is only a part of some producers; `None` where it is all sets of every producer.
    pub parts: Option<Parts>,
}

/// How a daemon takes part in advertising: an aggregator has the listeners of its group, and any daemon may advertise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advertising {
    /// To whom the daemon advertises itself, by the names of the advertisers.
    pub advertisers: BTreeMap<Name, AdvertiserWanted>,
    /// Whether its listeners start the producers that come to them.
    pub starts_what_comes: bool,
}

impl Roles {
    /// Whether a producer of the group runs here.
    #[must_use]
    pub fn run_of(&self, producer: &Name) -> Run {
        if self.started.contains(producer) {
            Run::Started
        } else if self.as_they_are.contains(producer) {
            Run::AsItIs
        } else if self.standbys.contains(producer) {
            Run::Standby
        } else {
            Run::Stopped
        }
    }
}

/// What `cluster` and placement ask of one daemon.
#[must_use]
pub fn daemon_config(cluster: &Cluster, relations: &Relations, name: &Name, roles: &Roles) -> DaemonConfig {
    let mut config = apart_from_producers(cluster, relations, name, roles);
    if let Some(group) = relations.group_of(name).and_then(|group| cluster.groups.get(group)) {
        for producer in group.producers.values() {
            add_producer(cluster, producer, roles, &mut config);
        }
    }
    config.retired.clone_from(&roles.retired);
    config.advertised.clone_from(&roles.advertised);
    config
}

/// The producers of a group, none of them running, with their authentication domains: what all aggregators of the
/// group have in common.
pub(super) fn group_producers(cluster: &Cluster, group: &AggregatorGroup) -> DaemonConfig {
    let mut config = DaemonConfig::default();
    for producer in group.producers.values() {
        add_producer(cluster, producer, &Roles::default(), &mut config);
    }
    config
}

/// Everything that is asked of one daemon but its producers.
pub(super) fn apart_from_producers(
    cluster: &Cluster,
    relations: &Relations,
    name: &Name,
    roles: &Roles,
) -> DaemonConfig {
    let Some(daemon) = cluster.daemons.get(name) else { return DaemonConfig::default() };
    let mut config = DaemonConfig {
        environment: daemon.environment.clone(),
        streams: daemon.stream_enable.unwrap_or_else(|| relations.carries_streams(cluster, name)),
        messages: daemon.msg_enable.unwrap_or_else(|| relations.carries_messages(cluster, name)),
        boosts: roles.boosts.clone(),
        ..DaemonConfig::default()
    };
    for endpoint in daemon.endpoints.iter().filter(|endpoint| !endpoint.maestro_comm) {
        config.auth_domains.insert(endpoint.auth.name.clone(), endpoint.auth.clone());
        config.listens.push(ListenWanted::at(daemon, endpoint));
    }
    for group in relations.sampler_groups_of(name).iter().filter_map(|group| cluster.samplers.get(group)) {
        add_plugins(cluster, name, &group.plugins, &mut config);
    }
    if let Some(group) = relations.group_of(name).and_then(|group| cluster.groups.get(group)) {
        add_plugins(cluster, name, &group.plugins, &mut config);
        for policy in group.stores.values() {
            add_policy(cluster, policy, &mut config);
        }
        config.subscriptions.clone_from(&group.subscriptions);
        let only = |updater: Updater| UpdaterWanted { only_producers: roles.collected.clone(), ..updater.into() };
        config.updaters = match &roles.parts {
            Some(parts) => parts.updaters(&group.updaters),
            None => group.updaters.iter().cloned().map(only).collect(),
        };
        if let Some(advertising) = &roles.advertising {
            config.listeners.clone_from(&group.listeners);
            if !advertising.starts_what_comes {
                for listener in config.listeners.values_mut() {
                    listener.options.insert(Attribute::DisableStart.to_string(), "true".to_owned());
                }
            }
        }
    }
    for (name, advertiser) in roles.advertising.iter().flat_map(|advertising| &advertising.advertisers) {
        let domain = &advertiser.target.auth;
        config.auth_domains.insert(domain.name.clone(), domain.clone());
        config.advertisers.insert(name.clone(), advertiser.clone());
    }
    config
}

fn add_plugins(cluster: &Cluster, daemon: &Name, keys: &[Name], config: &mut DaemonConfig) {
    for plugin in keys.iter().filter_map(|key| cluster.plugins.get(key)) {
        config.plugins.insert(plugin.instance.clone(), sampler_plugin(daemon, plugin));
    }
}

fn add_producer(cluster: &Cluster, producer: &Producer, roles: &Roles, config: &mut DaemonConfig) {
    let Some((daemon, endpoint)) = cluster.endpoint(&producer.daemon, &producer.endpoint) else { return };
    let run = roles.run_of(&producer.name);
    config.auth_domains.insert(endpoint.auth.name.clone(), endpoint.auth.clone());
    config.producers.insert(
        producer.name.clone(),
        ProducerWanted {
            producer: producer.clone(),
            host: daemon.host_of(endpoint).to_owned(),
            port: endpoint.port,
            xprt: endpoint.xprt.clone(),
            auth: endpoint.auth.name.clone(),
            run,
        },
    );
}

fn add_policy(cluster: &Cluster, policy: &StoragePolicy, config: &mut DaemonConfig) {
    let Some(plugin) = cluster.plugins.get(&policy.plugin) else { return };
    config.plugins.insert(plugin.instance.clone(), store_plugin(plugin));
    config.policies.insert(
        policy.name.clone(),
        PolicyWanted { policy: policy.clone(), library: plugin.plugin.clone(), instance: plugin.instance.clone() },
    );
}
