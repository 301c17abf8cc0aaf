//! Groups of aggregators: what they collect, how often, and where it is stored.

use std::collections::BTreeMap;

use crate::notation::{Interval, Name, Permission};

/// Aggregators that share one load of producers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AggregatorGroup {
    /// The aggregators' daemon names, ordered.
    pub aggregators: Vec<Name>,
    /// The producers that the group collects from, by name.
    pub producers: BTreeMap<Name, Producer>,
    /// The updaters that run on every aggregator of the group, in the order of the YAML.
    pub updaters: Vec<Updater>,
    /// The storage policies of every aggregator of the group, by name.
    pub stores: BTreeMap<Name, StoragePolicy>,
    /// The producer listeners of every aggregator of the group, by name.
    pub listeners: BTreeMap<Name, ProducerListener>,
    /// The stream and message subscriptions, in the order of the YAML.
    pub subscriptions: Vec<Subscription>,
    /// Sampler plugins that run on the aggregators themselves (keys of [`super::Cluster::plugins`]).
    pub plugins: Vec<Name>,
}

/// A daemon, by one of its endpoints, that a group of aggregators collects from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// Its name on the aggregators: the name of the endpoint.
    pub name: Name,
    /// The daemon.
    pub daemon: Name,
    /// The hostlist that names the daemon's group, as written.
    pub daemon_group: Name,
    /// The endpoint of the daemon that the aggregators connect to.
    pub endpoint: Name,
    /// Who connects to whom.
    pub kind: ProducerKind,
    /// How long an aggregator waits before it connects again.
    pub reconnect: Interval,
    /// The permission bits of the producer object.
    pub perm: Option<Permission>,
    /// The number of connections of the rail.
    pub rail: Option<String>,
    /// What the aggregator is prepared to receive, in bytes, with an optional suffix; −1 is unlimited.
    pub quota: Option<String>,
    /// The receive rate limit in bytes a second, with an optional suffix; −1 is unlimited.
    pub rx_rate: Option<String>,
    /// Whether the aggregator resolves the host name once (`true`) or at each connection (`false`).
    pub cache_ip: Option<bool>,
    /// The names of the updaters that its peer entry in the YAML asks for.
    pub updaters: Vec<Name>,
}

/// Who connects to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProducerKind {
    /// The aggregator connects to the producer.
    Active,
    /// The producer connects to the aggregator.
    Passive,
    /// The aggregator connects, but does not collect: a bridge for the other direction.
    Bridge,
}

impl ProducerKind {
    /// The word that ldmsd and the YAML use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ProducerKind::Active => "active",
            ProducerKind::Passive => "passive",
            ProducerKind::Bridge => "bridge",
        }
    }
}

/// A periodic task of an aggregator that fetches metric sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Updater {
    /// Its name in the cluster, `updtr_N` with N counting over the whole YAML.
    pub name: Name,
    /// How sets are fetched.
    pub mode: UpdaterMode,
    /// How often.
    pub interval: Interval,
    /// The offset from the full multiple of the interval, zero where there is none.
    pub offset: Option<Interval>,
    /// The permission bits of the updater object.
    pub perm: Option<Permission>,
    /// Regular expressions of producer names.
    pub producers: Vec<String>,
    /// Which sets of these producers; none means all.
    pub sets: Vec<SetMatch>,
}

/// How an updater fetches sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpdaterMode {
    /// Periodically, by the updater's own interval.
    Pull,
    /// Periodically, by the hint of each set.
    Auto,
    /// The producer pushes on each update.
    Push,
    /// The producer pushes when a value has changed.
    OnChange,
}

impl UpdaterMode {
    /// The word of the YAML.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            UpdaterMode::Pull => "pull",
            UpdaterMode::Auto => "auto",
            UpdaterMode::Push => "push",
            UpdaterMode::OnChange => "onchange",
        }
    }
}

/// A regular expression on sets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SetMatch {
    /// POSIX extended, not anchored.
    pub regex: String,
    /// What it is matched with.
    pub field: MatchField,
}

/// What a [`SetMatch`] is matched with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchField {
    /// The name of the set instance.
    Instance,
    /// The name of the schema.
    Schema,
}

impl MatchField {
    /// The word that ldmsd and the YAML use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            MatchField::Instance => "inst",
            MatchField::Schema => "schema",
        }
    }
}

/// A storage policy: which sets go to which store plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoragePolicy {
    /// Its name.
    pub name: Name,
    /// The store plugin instance (a key of [`super::Cluster::plugins`]).
    pub plugin: Name,
    /// The container of the store.
    pub container: Option<String>,
    /// The schema of the sets to store.
    pub schema: Option<String>,
    /// A regular expression of schemas, instead of one schema; needs a decomposition.
    pub regex: Option<String>,
    /// The path of the decomposition configuration.
    pub decomposition: Option<String>,
    /// How often the store is flushed.
    pub flush: Option<Interval>,
    /// The permission bits of the policy object.
    pub perm: Option<Permission>,
}

/// An aggregator's readiness to accept daemons that advertise themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerListener {
    /// Its name.
    pub name: Name,
    /// The time after which an advertised producer is tried again.
    pub reconnect: Option<Interval>,
    /// A regular expression of the advertisers' host names.
    pub regex: Option<String>,
    /// A CIDR block of the advertisers' addresses.
    pub ip: Option<String>,
    /// Further options as written (`rail`, `quota`, `rx_rate`, `type`, `perm`, …).
    pub options: BTreeMap<String, String>,
    /// The endpoints that are expected to advertise, where the YAML lists them.
    pub endpoints: Vec<Name>,
}

/// A subscription of a group's aggregators to their producers' data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subscription {
    /// To what.
    pub source: SubscriptionSource,
    /// A regular expression of producer names.
    pub regex: String,
    /// The receive rate limit in bytes a second; −1 is unlimited.
    pub rx_rate: Option<String>,
}

/// What is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SubscriptionSource {
    /// An LDMS stream, by name or regular expression.
    Stream(String),
    /// A tag of the message service.
    MessageTag(String),
    /// A channel of the message service.
    MessageChannel(String),
}
