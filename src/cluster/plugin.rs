//! Plugins and the samplers that run them.

use std::collections::BTreeMap;

use super::AuthDomain;
use crate::notation::{Interval, Name};

/// A plugin instance of a sampler or a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// The instance's name on the daemon.
    pub instance: Name,
    /// The plugin library: `meminfo`, `store_csv`.
    pub plugin: String,
    /// The sampling interval. Store plugins have none.
    pub interval: Option<Interval>,
    /// The sampling offset.
    pub offset: Option<Interval>,
    /// The configuration commands, one for each entry, in order.
    pub config: Vec<PluginConfig>,
}

/// One configuration command of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginConfig {
    /// `key=value` words as ldmsd takes them.
    Line(String),
    /// Attributes with their values, to which maestro adds producer, instance and component_id where they are missing.
    /// One without a value is a keyword, and one with several is repeated for each of them (ldmsd_yaml_parser(8)).
    Attributes(BTreeMap<String, Vec<String>>),
}

/// Samplers with the same plugins, or aggregators that advertise themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SamplerGroup {
    /// Their daemon names, ordered.
    pub daemons: Vec<Name>,
    /// Their plugins (keys of [`super::Cluster::plugins`]), in the order of the YAML.
    pub plugins: Vec<Name>,
    /// To whom they advertise themselves.
    pub advertisers: Vec<Advertiser>,
}

/// Daemons that announce themselves to aggregators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertiser {
    /// The advertising daemons, or endpoints of daemons, as written.
    pub names: String,
    /// The daemons that advertise, ordered.
    pub daemons: Vec<Name>,
    /// To whom.
    pub targets: Vec<AdvertiserTarget>,
    /// The time after which a lost connection is tried again.
    pub reconnect: Option<Interval>,
    /// Further options as written (`rail`, `quota`, `rx_rate`, …).
    pub options: BTreeMap<String, String>,
}

/// An address to which an advertiser connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvertiserTarget {
    /// Host name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The transport.
    pub xprt: String,
    /// The authentication domain.
    pub auth: AuthDomain,
}
