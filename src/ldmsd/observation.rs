//! What one ldmsd says of itself, reduced to what decisions need.
//!
//! Made from status replies (the wire specification, section 7); what a daemon does not tell
//! (permission bits, plugin configurations, subscriptions) is not here.

use std::collections::{BTreeMap, BTreeSet};

use crate::notation::Name;

/// The state of one daemon at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// Producers, advertised ones included, by name.
    pub producers: BTreeMap<Name, ObservedProducer>,
    /// Updaters by name.
    pub updaters: BTreeMap<Name, ObservedUpdater>,
    /// Storage policies by name.
    pub policies: BTreeMap<Name, ObservedPolicy>,
    /// Loaded plugins by the name of their instance.
    pub plugins: BTreeMap<Name, ObservedPlugin>,
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
    /// `active`, `passive`, `advertised, passive`, `advertiser`, … as the daemon says.
    pub kind: String,
    /// The state of the connection.
    pub state: ProducerState,
    /// The metric sets that it offers.
    pub sets: Vec<ObservedProducerSet>,
}

impl ObservedProducer {
    /// Connected, with at least one set, and all sets ready to be updated.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state == ProducerState::Connected && !self.sets.is_empty() && self.sets.iter().all(|set| set.ready)
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

/// How often a set is sampled: the `updt_hint_us` of its directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UpdateHint {
    /// The sampling interval in microseconds.
    pub interval_us: i64,
    /// The sampling offset in microseconds.
    pub offset_us: Option<i64>,
}
