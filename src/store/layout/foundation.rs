//! The bulk of a cluster, which changes seldom: its daemons and producers.

use std::collections::BTreeMap;

use super::LayoutError;
use super::cursor::Cursor;
use super::read::{read_daemons, read_groups};
use crate::cluster::{AggregatorGroup, Cluster, Daemon};
use crate::notation::Name;

/// The bulk of a cluster: what can be read without the plugins, and where they run.
pub(super) struct Foundation {
    pub(super) daemons: BTreeMap<Name, Daemon>,
    /// Those whose group is not written, but told by the groups that they are in.
    pub(super) ungrouped: Vec<Name>,
    /// Without plugins and stores.
    pub(super) groups: BTreeMap<Name, AggregatorGroup>,
}

impl Foundation {
    /// The sections from which it is read.
    pub(super) const SECTIONS: [&str; 5] = ["aggregators", "daemons", "prdcr_listeners", "producers", "updaters"];

    pub(super) fn read(root: &Cursor<'_>) -> Result<Foundation, LayoutError> {
        let (daemons, ungrouped) = read_daemons(&root.at("daemons"))?;
        let groups = read_groups(root)?;
        let foundation = Foundation { daemons, ungrouped, groups };
        foundation.check_references(root)?;
        Ok(foundation)
    }

    /// What there is of a cluster that has been read.
    pub(super) fn of(cluster: &Cluster, ungrouped: Vec<Name>) -> Foundation {
        let bare = |group: &AggregatorGroup| AggregatorGroup {
            stores: BTreeMap::new(),
            plugins: Vec::new(),
            aggregators: group.aggregators.clone(),
            producers: group.producers.clone(),
            updaters: group.updaters.clone(),
            listeners: group.listeners.clone(),
            subscriptions: group.subscriptions.clone(),
        };
        let groups = cluster.groups.iter().map(|(name, group)| (name.clone(), bare(group))).collect();
        Foundation { daemons: cluster.daemons.clone(), ungrouped, groups }
    }

    /// Every daemon and endpoint that is looked up must be there.
    fn check_references(&self, root: &Cursor<'_>) -> Result<(), LayoutError> {
        for (name, group) in &self.groups {
            check_daemons(&self.daemons, &group.aggregators, root.at("aggregators").at(name))?;
            for producer in group.producers.values() {
                let daemon = self.daemons.get(&producer.daemon);
                let has_endpoint = |daemon: &Daemon| daemon.endpoints.iter().any(|e| e.name == producer.endpoint);
                if !daemon.is_some_and(has_endpoint) {
                    let place = root.at("producers").at(name).at(&producer.name);
                    let message = format!("daemon `{}` has no endpoint `{}`", producer.daemon, producer.endpoint);
                    return Err(place.invalid(message));
                }
            }
        }
        Ok(())
    }
}

/// Every daemon of a list must be there.
pub(super) fn check_daemons(
    daemons: &BTreeMap<Name, Daemon>,
    names: &[Name],
    place: Cursor<'_>,
) -> Result<(), LayoutError> {
    match names.iter().find(|name| !daemons.contains_key(*name)) {
        Some(daemon) => Err(place.invalid(format!("there is no daemon `{daemon}`"))),
        None => Ok(()),
    }
}
