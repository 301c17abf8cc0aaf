//! What one ldmsd says of itself, reduced to what decisions need.
//!
//! Made from status replies (the wire specification, section 7); what a daemon does not tell
//! (permission bits, plugin configurations, subscriptions) is not here.

use std::collections::{BTreeMap, BTreeSet};

pub use super::status::UpdateHint;
use super::status::{
    self, ListenerState, ListenerStatus, PluginSets, PluginStatus, ProducerStatus, SetInfo, SetOrigin, SetState,
    StoragePolicyState, StoragePolicyStatus, UpdateMode, UpdaterMatches, UpdaterState, UpdaterStatus,
};
use crate::notation::Name;

/// The state of one daemon at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// It is of the development line after 4.5, which dies of the first set that is pushed to it.
    pub development_line: bool,
    /// Producers, advertised ones included, by name.
    pub producers: BTreeMap<Name, ObservedProducer>,
    /// Producer listeners by name.
    pub listeners: BTreeMap<Name, ObservedListener>,
    /// Updaters by name.
    pub updaters: BTreeMap<Name, ObservedUpdater>,
    /// Storage policies by name.
    pub policies: BTreeMap<Name, ObservedPolicy>,
    /// Loaded plugins by the name of their instance.
    pub plugins: BTreeMap<Name, ObservedPlugin>,
    /// The metric sets of the daemon itself, by their names, whatever publishes them; of one that samples.
    pub published: BTreeMap<String, PublishedSet>,
}

/// A producer of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedProducer {
    /// The host as it was given to `prdcr_add`.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The transport.
    pub xprt: String,
    /// The authentication domain; `None` where none was given, and on 4.4, which does not tell.
    pub auth: Option<String>,
    /// The number of connections of the rail; 4.4 does not tell.
    pub rail: Option<u32>,
    /// The receive quota as the daemon writes it (`-1`, `1MB`); 4.4 does not tell.
    pub quota: Option<String>,
    /// The receive rate limit, likewise.
    pub rx_rate: Option<String>,
    /// How long the daemon waits before it connects again.
    pub reconnect_us: Option<u64>,
    /// `active`, `passive`, `advertised, passive`, `advertiser`, … as the daemon says.
    pub kind: String,
    /// The state of the connection.
    pub state: ProducerState,
    /// The metric sets that it offers.
    pub sets: Vec<ObservedProducerSet>,
}

impl ObservedProducer {
    /// Made by a producer listener, for a daemon that advertised itself.
    #[must_use]
    pub fn is_advertised(&self) -> bool {
        self.kind.starts_with("advertised")
    }

    /// Connected, with at least one set, and all sets ready to be updated.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state == ProducerState::Connected && !self.sets.is_empty() && self.sets.iter().all(|set| set.ready)
    }

    /// The sets that are ready to be updated, by name. Others may never be: those that no updater takes, and
    /// those whose name the daemon has from another producer already.
    pub fn ready_sets(&self) -> impl Iterator<Item = &str> {
        let connected = self.state == ProducerState::Connected;
        self.sets.iter().filter(move |set| connected && set.ready).map(|set| set.instance.as_str())
    }
}

/// A metric set of a producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedProducerSet {
    /// The name of the set instance.
    pub instance: String,
    /// Whether it has been looked up (READY, or being updated right now).
    pub ready: bool,
}

/// The state of a producer's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProducerState {
    /// Not started.
    Stopped,
    /// On its way to STOPPED.
    Stopping,
    /// Started, without a connection; the daemon tries again.
    Disconnected,
    /// Started, the connection is being made.
    Connecting,
    /// Started and connected.
    Connected,
    /// An advertised producer that is connected and waits to be started.
    Standby,
}

impl ProducerState {
    /// Whether the producer has been started and not been stopped.
    #[must_use]
    pub fn is_started(self) -> bool {
        matches!(self, ProducerState::Disconnected | ProducerState::Connecting | ProducerState::Connected)
    }
}

/// A listener for producers that advertise themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedListener {
    /// Whether producers may advertise themselves.
    pub running: bool,
    /// A regular expression of the advertisers' host names.
    pub regex: Option<String>,
    /// A CIDR block of the advertisers' addresses.
    pub ip: Option<String>,
}

/// An updater of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedUpdater {
    /// The interval in microseconds.
    pub interval_us: i64,
    /// The offset in microseconds; `None` for an updater that is not synchronous.
    pub offset_us: Option<i64>,
    /// How it fetches.
    pub mode: ObservedMode,
    /// Whether it runs.
    pub running: bool,
    /// The producers that it covers.
    pub producers: BTreeSet<Name>,
    /// Its match list: the field (`inst`, `schema`) and the regular expression.
    pub matches: Vec<(String, String)>,
}

/// How an updater fetches, as the daemon tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObservedMode {
    /// By its own interval.
    Pull,
    /// By the sets' hints.
    Auto,
    /// Pushed on each update.
    Push,
    /// Pushed on change.
    OnChange,
}

/// A storage policy of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedPolicy {
    /// The store plugin library.
    pub plugin: String,
    /// The container.
    pub container: Option<String>,
    /// The schema.
    pub schema: Option<String>,
    /// The regular expression of schemas.
    pub regex: Option<String>,
    /// The path of the decomposition configuration.
    pub decomposition: Option<String>,
    /// The flush interval in microseconds; `None` where it could not be read.
    pub flush_us: Option<i64>,
    /// Whether it runs.
    pub running: bool,
    /// Regular expressions of producer names.
    pub producers: Vec<String>,
}

/// A loaded plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedPlugin {
    /// The library, where the daemon tells it (4.4 does not).
    pub plugin: Option<String>,
    /// The metric sets that it publishes.
    pub sets: Vec<ObservedSet>,
}

/// A metric set that a sampler plugin publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedSet {
    /// The name of the set instance.
    pub instance: String,
    /// The size of one sample in bytes.
    pub data_size_bytes: u64,
    /// The update hint, which starting the plugin writes; `None` before.
    pub hint: Option<UpdateHint>,
}

/// A metric set that a daemon publishes, not one that it has collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedSet {
    /// The name of its schema.
    pub schema: String,
    /// The size of one sample in bytes.
    pub data_size_bytes: u64,
    /// How often it is sampled, where the sampler tells.
    pub hint: Option<UpdateHint>,
}

impl Observation {
    /// The sets of a directory that the daemon publishes itself.
    #[must_use]
    pub fn published_from(directory: &[SetInfo]) -> BTreeMap<String, PublishedSet> {
        let own = directory.iter().filter(|set| set.origin != SetOrigin::Remote);
        own.map(|set| {
            let schema = set.schema.clone();
            let published = PublishedSet { schema, data_size_bytes: set.data_size_bytes, hint: set.update_hint };
            (set.name.clone(), published)
        })
        .collect()
    }

    /// Producers from the entries of `prdcr_status`.
    #[must_use]
    pub fn producers_from(entries: Vec<ProducerStatus>) -> BTreeMap<Name, ObservedProducer> {
        entries.into_iter().map(|entry| (Name::from(entry.name.as_str()), entry.into())).collect()
    }

    /// Producer listeners from the entries of `prdcr_listen_status`.
    #[must_use]
    pub fn listeners_from(entries: Vec<ListenerStatus>) -> BTreeMap<Name, ObservedListener> {
        let listener = |entry: ListenerStatus| ObservedListener {
            running: entry.state == ListenerState::Running,
            regex: entry.regex,
            ip: entry.ip_range,
        };
        entries.into_iter().map(|entry| (Name::from(entry.name.as_str()), listener(entry))).collect()
    }

    /// Updaters from the entries of `updtr_status` and `updtr_match_list`.
    #[must_use]
    pub fn updaters_from(entries: Vec<UpdaterStatus>, matches: Vec<UpdaterMatches>) -> BTreeMap<Name, ObservedUpdater> {
        let mut lists: BTreeMap<String, Vec<(String, String)>> = matches
            .into_iter()
            .map(|list| (list.name, list.matches.into_iter().map(|entry| (entry.selector, entry.regex)).collect()))
            .collect();
        let with_list = |entry: UpdaterStatus| {
            let matches = lists.remove(&entry.name).unwrap_or_default();
            (Name::from(entry.name.as_str()), ObservedUpdater { matches, ..entry.into() })
        };
        entries.into_iter().map(with_list).collect()
    }

    /// Storage policies from the entries of `strgp_status`.
    #[must_use]
    pub fn policies_from(entries: Vec<StoragePolicyStatus>) -> BTreeMap<Name, ObservedPolicy> {
        entries.into_iter().map(|entry| (Name::from(entry.name.as_str()), entry.into())).collect()
    }

    /// Plugins from the entries of `plugn_status` and `plugn_sets`, and the directory.
    #[must_use]
    pub fn plugins_from(
        entries: Vec<PluginStatus>,
        sets: Vec<PluginSets>,
        directory: Vec<SetInfo>,
    ) -> BTreeMap<Name, ObservedPlugin> {
        let mut directory: BTreeMap<String, SetInfo> =
            directory.into_iter().map(|set| (set.name.clone(), set)).collect();
        let mut by_plugin: BTreeMap<String, Vec<ObservedSet>> = BTreeMap::new();
        for plugin in sets {
            let known = plugin.sets.into_iter().filter_map(|instance| directory.remove(&instance));
            by_plugin.entry(plugin.plugin).or_default().extend(known.map(|set| ObservedSet {
                instance: set.name,
                data_size_bytes: set.data_size_bytes,
                hint: set.update_hint,
            }));
        }
        let with_sets = |entry: PluginStatus| {
            let sets = by_plugin.remove(&entry.name).unwrap_or_default();
            (Name::from(entry.name), ObservedPlugin { plugin: entry.plugin, sets })
        };
        entries.into_iter().map(with_sets).collect()
    }
}

impl From<ProducerStatus> for ObservedProducer {
    fn from(entry: ProducerStatus) -> ObservedProducer {
        let sets = entry.sets.into_iter().map(|set| ObservedProducerSet {
            instance: set.instance,
            ready: matches!(set.state, SetState::Ready | SetState::Updating),
        });
        ObservedProducer {
            host: entry.host,
            port: entry.port.unwrap_or_default(),
            xprt: entry.transport,
            auth: entry.auth,
            rail: entry.rail,
            quota: entry.quota,
            rx_rate: entry.rx_rate,
            reconnect_us: entry.reconnect_us,
            kind: entry.kind,
            state: entry.state.into(),
            sets: sets.collect(),
        }
    }
}

impl From<status::ProducerState> for ProducerState {
    fn from(state: status::ProducerState) -> ProducerState {
        match state {
            status::ProducerState::Stopped => ProducerState::Stopped,
            status::ProducerState::Stopping => ProducerState::Stopping,
            status::ProducerState::Connecting => ProducerState::Connecting,
            status::ProducerState::Connected => ProducerState::Connected,
            status::ProducerState::Standby => ProducerState::Standby,
            // A state that nobody knows is none in which it collects, and it is not stopped either.
            status::ProducerState::Disconnected | status::ProducerState::Other(_) => ProducerState::Disconnected,
        }
    }
}

impl From<UpdaterStatus> for ObservedUpdater {
    fn from(entry: UpdaterStatus) -> ObservedUpdater {
        let mode = match entry.mode {
            UpdateMode::PushOnChange => ObservedMode::OnChange,
            UpdateMode::PushOnRequest => ObservedMode::Push,
            _ if entry.auto_interval => ObservedMode::Auto,
            UpdateMode::Pull | UpdateMode::Other(_) => ObservedMode::Pull,
        };
        ObservedUpdater {
            interval_us: entry.interval_us.unwrap_or_default(),
            offset_us: entry.offset_us.filter(|_| entry.synchronous),
            mode,
            running: entry.state == UpdaterState::Running,
            producers: entry.producers.into_iter().map(|producer| Name::from(producer.name)).collect(),
            matches: Vec::new(),
        }
    }
}

impl From<StoragePolicyStatus> for ObservedPolicy {
    fn from(entry: StoragePolicyStatus) -> ObservedPolicy {
        ObservedPolicy {
            plugin: entry.plugin,
            container: entry.container,
            schema: entry.schema,
            regex: entry.regex,
            decomposition: entry.decomposition,
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a flush interval is some seconds, and `as` saturates"
            )]
            flush_us: entry.flush_s.map(|seconds| (seconds * 1e6).round() as i64),
            running: entry.state == StoragePolicyState::Running,
            producers: entry.producers,
        }
    }
}
