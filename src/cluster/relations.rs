//! Who has to do with whom: lookups that would otherwise be searches through the whole cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::{Advertiser, AggregatorGroup, Cluster, SubscriptionSource};
use crate::notation::Name;

/// Cross references of a [`Cluster`], made once for each configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relations {
    group_of: BTreeMap<Name, Name>,
    collected_by: BTreeMap<Name, Vec<(Name, Name)>>,
    sampler_groups: BTreeMap<Name, Vec<Name>>,
    /// Aggregators by the hosts and the ports of their endpoints.
    aggregators: BTreeMap<String, BTreeMap<u16, Name>>,
    advertises_to: BTreeMap<Name, BTreeSet<Name>>,
}

impl Relations {
    /// The cross references of a cluster.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Relations {
        let mut relations = Relations::default();
        for (name, group) in &cluster.groups {
            for aggregator in &group.aggregators {
                relations.group_of.insert(aggregator.clone(), name.clone());
            }
            for producer in group.producers.values() {
                let collectors = relations.collected_by.entry(producer.daemon.clone()).or_default();
                collectors.push((name.clone(), producer.name.clone()));
            }
        }
        for daemon in cluster.daemons.values().filter(|daemon| relations.group_of.contains_key(&daemon.name)) {
            for endpoint in &daemon.endpoints {
                let ports = relations.aggregators.entry(daemon.host_of(endpoint).to_owned()).or_default();
                ports.insert(endpoint.port, daemon.name.clone());
            }
        }
        for (name, group) in &cluster.samplers {
            for daemon in &group.daemons {
                relations.sampler_groups.entry(daemon.clone()).or_default().push(name.clone());
            }
            for advertiser in &group.advertisers {
                relations.add_advertiser(advertiser);
            }
        }
        relations
    }

    fn add_advertiser(&mut self, advertiser: &Advertiser) {
        let aggregators = advertiser.targets.iter().filter_map(|target| self.aggregator_at(&target.host, target.port));
        let groups: BTreeSet<Name> = aggregators.filter_map(|aggregator| self.group_of(aggregator)).cloned().collect();
        for daemon in &advertiser.daemons {
            self.advertises_to.entry(daemon.clone()).or_default().extend(groups.iter().cloned());
        }
    }

    /// The aggregator that listens at an address.
    #[must_use]
    pub fn aggregator_at(&self, host: &str, port: u16) -> Option<&Name> {
        self.aggregators.get(host)?.get(&port)
    }

    /// The group that a daemon aggregates in.
    #[must_use]
    pub fn group_of(&self, daemon: &Name) -> Option<&Name> {
        self.group_of.get(daemon)
    }

    /// The groups that collect from a daemon, each with the name that the daemon has there as a producer.
    #[must_use]
    pub fn collected_by(&self, daemon: &Name) -> &[(Name, Name)] {
        self.collected_by.get(daemon).map_or(&[], Vec::as_slice)
    }

    /// The sampler groups that a daemon belongs to.
    #[must_use]
    pub fn sampler_groups_of(&self, daemon: &Name) -> &[Name] {
        self.sampler_groups.get(daemon).map_or(&[], Vec::as_slice)
    }

    /// Whether a daemon takes part in a subscription to streams, as subscriber or as source.
    #[must_use]
    pub fn carries_streams(&self, cluster: &Cluster, daemon: &Name) -> bool {
        self.takes_part(cluster, daemon, |source| matches!(source, SubscriptionSource::Stream(_)))
    }

    /// Whether a daemon takes part in a subscription to messages, as subscriber or as source.
    #[must_use]
    pub fn carries_messages(&self, cluster: &Cluster, daemon: &Name) -> bool {
        self.takes_part(cluster, daemon, |source| !matches!(source, SubscriptionSource::Stream(_)))
    }

    fn takes_part(&self, cluster: &Cluster, daemon: &Name, wanted: fn(&SubscriptionSource) -> bool) -> bool {
        let subscribes = |group: &AggregatorGroup| group.subscriptions.iter().any(|s| wanted(&s.source));
        let collecting = self.collected_by(daemon).iter().map(|(group, _)| group);
        let accepting = self.advertises_to.get(daemon).into_iter().flatten();
        collecting
            .chain(accepting)
            .chain(self.group_of(daemon))
            .filter_map(|group| cluster.groups.get(group))
            .any(subscribes)
    }
}
