//! What has left the configuration of a daemon, and is therefore taken away from it.
//!
//! A daemon does not tell who made its producers, policies and plugins, so only what was seen to leave the
//! configuration is taken away, or what an earlier maestro left word of. (Updaters tell it by their names.)

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::plugins;
use crate::cluster::{AggregatorGroup, Cluster, Relations};
use crate::ldmsd::observation::ProducerState;
use crate::ldmsd::{Numbering, Observation};
use crate::notation::Name;

/// Objects of one daemon that its configuration had once and has no more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retired {
    /// Producers.
    pub producers: BTreeSet<Name>,
    /// Storage policies.
    pub policies: BTreeSet<Name>,
    /// Connections by which it advertised itself.
    pub advertisers: BTreeSet<Name>,
    /// Producer listeners.
    pub listeners: BTreeSet<Name>,
    /// Plugin instances.
    pub plugins: BTreeSet<RetiredPlugin>,
}

/// A plugin instance that is to be taken away.
///
/// One that has another library now is taken away, too: a 4.4 daemon knows it by its library only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RetiredPlugin {
    /// Its name.
    pub instance: Name,
    /// Its library.
    pub library: String,
    /// It is a store, which has nothing to stop.
    pub is_store: bool,
}

impl Retired {
    /// Whether nothing has left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Retired::default()
    }

    /// Adds what else has left.
    pub fn extend(&mut self, more: Retired) {
        self.producers.extend(more.producers);
        self.policies.extend(more.policies);
        self.advertisers.extend(more.advertisers);
        self.listeners.extend(more.listeners);
        self.plugins.extend(more.plugins);
    }

    /// What of it a daemon still has. Advertisers and listeners cannot be deleted: they are gone when they are stopped.
    #[must_use]
    pub fn left_on(&self, observed: &Observation, numbering: Numbering) -> Retired {
        let advertises =
            |name: &Name| observed.producers.get(name).is_some_and(|found| found.state != ProducerState::Stopped);
        let listens = |name: &Name| observed.listeners.get(name).is_some_and(|found| found.running);
        Retired {
            producers: those(&self.producers, |name| observed.producers.contains_key(name)),
            policies: those(&self.policies, |name| observed.policies.contains_key(name)),
            advertisers: those(&self.advertisers, advertises),
            listeners: those(&self.listeners, listens),
            plugins: those(&self.plugins, |plugin| plugins::is_loaded(plugin, observed, numbering)),
        }
    }
}

fn those<T: Clone + Ord>(all: &BTreeSet<T>, chosen: impl Fn(&T) -> bool) -> BTreeSet<T> {
    all.iter().filter(|one| chosen(one)).cloned().collect()
}

/// A cluster with its cross references.
pub type Related<'a> = (&'a Cluster, &'a Relations);

/// Takes note that the configuration has changed, for each of some daemons.
pub fn retire<'a>(before: Related<'_>, after: Related<'_>, daemons: impl Iterator<Item = (&'a Name, &'a mut Retired)>) {
    // Thousands of producers are a group's, not a daemon's: they are compared once.
    let mut left: BTreeMap<(Option<&Name>, Option<&Name>), Vec<Name>> = BTreeMap::new();
    for (daemon, retired) in daemons {
        let (was, is) = (Objects::of(before, daemon), Objects::of(after, daemon));
        let groups = (before.1.group_of(daemon), after.1.group_of(daemon));
        let producers = left.entry(groups).or_insert_with(|| {
            let wanted = |name: &&Name| is.group.is_some_and(|group| group.producers.contains_key(*name));
            let all = was.group.into_iter().flat_map(|group| group.producers.keys());
            all.filter(|name| !wanted(name)).cloned().collect()
        });
        retired.producers.extend(producers.iter().cloned());
        retired.policies.extend(was.policies.difference(&is.policies).map(|name| (*name).clone()));
        retired.listeners.extend(was.listeners().filter(|name| !is.has_listener(name)).cloned());
        retired.listeners.retain(|name| !is.has_listener(name));
        retired.plugins.extend(was.plugins);
        retired.producers.retain(|name| !is.group.is_some_and(|group| group.producers.contains_key(name)));
        retired.policies.retain(|name| !is.policies.contains(name));
        retired.plugins.retain(|plugin| !is.plugins.contains(plugin));
    }
}

/// What a configuration puts on one daemon, by name.
pub(super) struct Objects<'a> {
    group: Option<&'a AggregatorGroup>,
    pub(super) policies: BTreeSet<&'a Name>,
    pub(super) plugins: BTreeSet<RetiredPlugin>,
}

impl<'a> Objects<'a> {
    pub(super) fn listeners(&self) -> impl Iterator<Item = &'a Name> + use<'a> {
        self.group.into_iter().flat_map(|group| group.listeners.keys())
    }

    fn has_listener(&self, name: &Name) -> bool {
        self.group.is_some_and(|group| group.listeners.contains_key(name))
    }

    pub(super) fn of((cluster, relations): Related<'a>, daemon: &Name) -> Objects<'a> {
        let group = relations.group_of(daemon).and_then(|group| cluster.groups.get(group));
        let samplers = relations.sampler_groups_of(daemon).iter().filter_map(|name| cluster.samplers.get(name));
        let stores = group.iter().flat_map(|group| group.stores.values()).map(|policy| &policy.plugin);
        let sampled = samplers.flat_map(|group| &group.plugins).chain(group.iter().flat_map(|group| &group.plugins));
        let plugins = sampled.map(|key| (key, false)).chain(stores.map(|key| (key, true)));
        let plugins = plugins.filter_map(|(key, is_store)| {
            let plugin = cluster.plugins.get(key)?;
            Some(RetiredPlugin { instance: plugin.instance.clone(), library: plugin.plugin.clone(), is_store })
        });
        Objects {
            group,
            policies: group.into_iter().flat_map(|group| group.stores.keys()).collect(),
            plugins: plugins.collect(),
        }
    }
}
