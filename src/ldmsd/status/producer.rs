//! Producers and the listeners that make them (the wire specification, sections 7.2 to 7.4).

use serde::Deserialize;

use super::field::{given, number, words};

words! {
    /// The state of a producer.
    ProducerState {
        /// Not started.
        Stopped = "STOPPED",
        /// Started, but not connected: the aggregator tries again after the reconnect interval.
        Disconnected = "DISCONNECTED",
        /// The connection is being made.
        Connecting = "CONNECTING",
        /// Connected; sets are collected when an updater covers them.
        Connected = "CONNECTED",
        /// Being stopped.
        Stopping = "STOPPING",
        /// Connected by an advertisement, but not started.
        Standby = "STANDBY",
    }
}

words! {
    /// The state of a metric set on an aggregator.
    SetState {
        /// Known by name; no updater covers it (yet).
        Start = "START",
        /// Its description is being fetched.
        Lookup = "LOOKUP",
        /// Waiting for the next update.
        Ready = "READY",
        /// Being updated.
        Updating = "UPDATING",
        /// Gone.
        Deleted = "DELETED",
    }
}

words! {
    /// The state of a producer listener.
    ListenerState {
        /// Producers may advertise themselves.
        Running = "running",
        /// They may not.
        Stopped = "stopped",
    }
}

/// A producer: an entry of `prdcr_status`. An advertiser is one too.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct ProducerStatus {
    /// Its name.
    pub name: String,
    /// `active`, `passive`, `bridge`, `advertiser`, `advertised, passive`, `advertised, active`, `local`;
    /// 4.4 has `advertised`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The host name or address.
    #[serde(default)]
    pub host: String,
    /// The port; 65535 for a passive producer.
    #[serde(default, deserialize_with = "number")]
    pub port: Option<u16>,
    /// The transport.
    #[serde(default)]
    pub transport: String,
    /// The authentication domain, `DEFAULT` where none was given; not told by 4.4.
    #[serde(default, deserialize_with = "given")]
    pub auth: Option<String>,
    /// The number of connections of the rail; not told by 4.4.
    #[serde(default, deserialize_with = "number")]
    pub rail: Option<u32>,
    /// The receive quota: `-1`, or bytes with a suffix (`1MB`); not told by 4.4.
    #[serde(default, deserialize_with = "given")]
    pub quota: Option<String>,
    /// The receive rate limit, as the quota; not told by 4.4.
    #[serde(default, deserialize_with = "given")]
    pub rx_rate: Option<String>,
    /// How long the aggregator waits before it connects again, in microseconds.
    #[serde(default, deserialize_with = "number")]
    pub reconnect_us: Option<u64>,
    /// Its state.
    #[serde(default)]
    pub state: ProducerState,
    /// The metric sets that it offers.
    #[serde(default)]
    pub sets: Vec<ProducerSetStatus>,
}

/// A metric set of a producer.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct ProducerSetStatus {
    /// The name of the set instance.
    #[serde(rename = "inst_name")]
    pub instance: String,
    /// The name of its schema; empty before the lookup on some versions.
    #[serde(rename = "schema_name", default)]
    pub schema: String,
    /// Its state.
    #[serde(default)]
    pub state: SetState,
}

/// A collected metric set: an entry of `prdcr_set_status`.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct CollectedSet {
    /// The name of the set instance.
    #[serde(rename = "inst_name")]
    pub instance: String,
    /// The name of its schema.
    #[serde(rename = "schema_name", default)]
    pub schema: String,
    /// Its state.
    #[serde(default)]
    pub state: SetState,
    /// The daemon that samples it.
    #[serde(default)]
    pub origin: String,
    /// The producer that it is collected from.
    #[serde(default)]
    pub producer: String,
    /// When it was sampled: seconds since 1970.
    #[serde(rename = "timestamp.sec", default, deserialize_with = "number")]
    pub timestamp_s: Option<u64>,
    /// When it was sampled: microseconds within the second.
    #[serde(rename = "timestamp.usec", default, deserialize_with = "number")]
    pub timestamp_us: Option<u32>,
}

/// The answer to `prdcr_stats`: how many producers are in which state.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct ProducerCounts {
    /// All producers.
    #[serde(rename = "prdcr_count")]
    pub producers: u64,
    /// Those that are not started.
    #[serde(rename = "stopped_count")]
    pub stopped: u64,
    /// Those that are started, but not connected.
    #[serde(rename = "disconnected_count")]
    pub disconnected: u64,
    /// Those whose connection is being made.
    #[serde(rename = "connecting_count")]
    pub connecting: u64,
    /// Those that are connected.
    #[serde(rename = "connected_count")]
    pub connected: u64,
    /// Those that are being stopped.
    #[serde(rename = "stopping_count")]
    pub stopping: u64,
    /// Those that advertise themselves and are not started.
    #[serde(rename = "standby_count")]
    pub standby: u64,
    /// The metric sets of all of them.
    #[serde(rename = "set_count")]
    pub sets: u64,
}

/// A producer listener: an entry of `prdcr_listen_status`.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// Its state.
    #[serde(default)]
    pub state: ListenerState,
    /// Which host names may advertise.
    #[serde(default, deserialize_with = "given")]
    pub regex: Option<String>,
    /// Which addresses may advertise.
    #[serde(rename = "IP range", default, deserialize_with = "given")]
    pub ip_range: Option<String>,
    /// The receive quota of the producers, in bytes; not told by 4.4.
    #[serde(default, deserialize_with = "given")]
    pub quota: Option<String>,
    /// Their receive rate limit, in bytes a second; not told by 4.4.
    #[serde(default, deserialize_with = "given")]
    pub rx_rate: Option<String>,
    /// `passive` or `active`; not told by 4.4.
    #[serde(rename = "type", default, deserialize_with = "given")]
    pub kind: Option<String>,
    /// The names of the producers that came from it.
    #[serde(default)]
    pub producers: Vec<String>,
}
