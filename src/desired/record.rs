//! What has to be remembered of a daemon, because the daemon does not show it: what it was sent, and what it has because
//! of maestro. It outlives the process, so that the next maestro knows what changed while none ran.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::AdvertiserWanted;
use super::ledger::Ledger;
use super::retired::{Objects, Related, Retired, RetiredPlugin};
use crate::notation::Name;

/// What is remembered of a daemon.
///
/// Producers are not in it: they are a group's, not a daemon's, and thousands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DaemonRecord {
    /// Where it was reached, `host:port`: elsewhere it is another one.
    pub address: String,
    /// Its process, where it tells (not 4.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How many configuration commands it had taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cfg_cntr: Option<u64>,
    /// What this run of it has been sent.
    #[serde(skip_serializing_if = "Ledger::is_empty")]
    pub sent: Ledger,
    /// The groups whose producers it may have.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<Name>,
    /// What else it may have.
    #[serde(flatten)]
    pub has: Possessions,
}

/// Objects of one daemon that maestro has made or would make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Possessions {
    /// Storage policies.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub policies: BTreeSet<Name>,
    /// Connections by which it advertises itself.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub advertisers: BTreeSet<Name>,
    /// Producer listeners.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub listeners: BTreeSet<Name>,
    /// Plugin instances.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub plugins: BTreeSet<RetiredPlugin>,
}

impl Possessions {
    /// What a configuration gives to a daemon.
    #[must_use]
    pub fn wanted(
        cluster: Related<'_>,
        daemon: &Name,
        advertisers: Option<&BTreeMap<Name, AdvertiserWanted>>,
    ) -> Possessions {
        let objects = Objects::of(cluster, daemon);
        Possessions {
            policies: objects.policies.iter().map(|name| (*name).clone()).collect(),
            advertisers: advertisers.into_iter().flat_map(BTreeMap::keys).cloned().collect(),
            listeners: objects.listeners().cloned().collect(),
            plugins: objects.plugins,
        }
    }

    /// These, and what is to go but has not gone yet.
    #[must_use]
    pub fn with(mut self, retired: Retired) -> Possessions {
        self.policies.extend(retired.policies);
        self.advertisers.extend(retired.advertisers);
        self.listeners.extend(retired.listeners);
        self.plugins.extend(retired.plugins);
        self
    }

    /// What has to go where only `wanted` is to stay.
    #[must_use]
    pub fn beyond(&self, wanted: &Possessions) -> Retired {
        let beyond = |has: &BTreeSet<Name>, wanted: &BTreeSet<Name>| has.difference(wanted).cloned().collect();
        Retired {
            producers: BTreeSet::new(),
            policies: beyond(&self.policies, &wanted.policies),
            advertisers: beyond(&self.advertisers, &wanted.advertisers),
            listeners: beyond(&self.listeners, &wanted.listeners),
            plugins: self.plugins.difference(&wanted.plugins).cloned().collect(),
        }
    }
}
