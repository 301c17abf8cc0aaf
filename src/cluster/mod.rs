//! The resolved model: what the operator's YAML means.
//!
//! Hostlists are expanded, references resolved, times known in microseconds. Maps are ordered by
//! [`Name`], as people count, so that the same cluster read from YAML and from etcd is the same value.
//! Nothing here does I/O or knows how a cluster is written down: [`crate::spec`] reads YAML into it,
//! [`crate::store`] keeps it in etcd.

mod aggregator;
mod daemon;
mod plugin;
mod relations;
mod rescheduling;

use std::collections::BTreeMap;

pub use aggregator::{
    AggregatorGroup, MatchField, Producer, ProducerKind, ProducerListener, SetMatch, StoragePolicy, Subscription,
    SubscriptionSource, Updater, UpdaterMode,
};
pub use daemon::{AuthDomain, Daemon, Endpoint};
pub use plugin::{Advertiser, AdvertiserTarget, Plugin, PluginConfig, SamplerGroup};
pub use relations::Relations;

use crate::notation::Name;

/// A whole LDMS cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Every ldmsd by its name, samplers and aggregators alike.
    pub daemons: BTreeMap<Name, Daemon>,
    /// The groups of aggregators by their hostlist as written (`l1-agg-[1-3]`).
    pub groups: BTreeMap<Name, AggregatorGroup>,
    /// The groups of samplers by their hostlist as written; groups of aggregators too, if they advertise themselves.
    pub samplers: BTreeMap<Name, SamplerGroup>,
    /// Plugin instances, of samplers and of stores, by the key that the rest refers to them by.
    pub plugins: BTreeMap<Name, Plugin>,
}

impl Cluster {
    /// The endpoint of that name and the daemon that it belongs to.
    #[must_use]
    pub fn endpoint(&self, daemon: &Name, endpoint: &Name) -> Option<(&Daemon, &Endpoint)> {
        let daemon = self.daemons.get(daemon)?;
        let endpoint = daemon.endpoints.iter().find(|candidate| candidate.name == *endpoint)?;
        Some((daemon, endpoint))
    }
}
