//! How a cluster is laid out in keys and values: as the Python maestro does, so that a cluster which either program's
//! `maestro_ctrl` loaded can be run by either program's `maestro`.
//!
//! | key | holds |
//! |---|---|
//! | `daemons/<daemon>/…` | host, environment, options, `endpoints/<endpoint>/…` |
//! | `aggregators/<group>/<daemon>/…` | `state`, subscriptions and plugins of every aggregator |
//! | `producers/<group>/<producer>/…` | the producer, with a copy of its updaters |
//! | `updaters/<group>/<updater>/…` | times in microseconds |
//! | `stores/<group>/<store>/…` | storage policies |
//! | `prdcr_listeners/<group>/<listener>/…` | producer listeners |
//! | `samplers/<group>/…`, `advertisers/<group>/…` | plugins and advertisers of samplers |
//! | `plugins/<plugin>/…` | plugin instances, times as written |
//!
//! What is absent has no key. What the layout has no place for gets a key of its own where it cannot be told from the
//! rest (`daemons/<daemon>/group`, `plugins/<plugin>/instance`, …), so that the usual cluster is key for key the same.
//!
//! The layout of 2024 is read too: daemons lie one step deeper, below the hostlist that names them, and plugins are
//! defined where samplers and stores use them.

mod cursor;
mod foundation;
mod read;
mod reader;
mod write;

use std::collections::BTreeMap;

pub use read::{LayoutError, read};
pub use reader::Reader;
pub use write::write;

use crate::cluster::{AggregatorGroup, Daemon, SamplerGroup, Updater};
use crate::notation::{Interval, Name, hostlist};

/// The hostlist that each daemon was named by, as far as it shows in the rest of the cluster: in the producers that
/// are its endpoints, else in the groups that it is in. A daemon that is named nowhere is named by its own name.
struct GroupsOfDaemons<'c> {
    by_daemon: BTreeMap<&'c Name, &'c Name>,
}

impl<'c> GroupsOfDaemons<'c> {
    fn new(
        groups: &'c BTreeMap<Name, AggregatorGroup>,
        samplers: &'c BTreeMap<Name, SamplerGroup>,
    ) -> GroupsOfDaemons<'c> {
        let producers = groups.values().flat_map(|group| group.producers.values());
        let of_producers = producers.map(|producer| (&producer.daemon, &producer.daemon_group));
        let of_groups = groups.iter().flat_map(|(name, group)| group.aggregators.iter().map(move |a| (a, name)));
        let of_samplers = samplers.iter().flat_map(|(name, group)| group.daemons.iter().map(move |d| (d, name)));
        let mut by_daemon = BTreeMap::new();
        for (daemon, group) in of_producers.chain(of_groups).chain(of_samplers) {
            by_daemon.entry(daemon).or_insert(group);
        }
        GroupsOfDaemons { by_daemon }
    }

    fn of(&self, daemon: &Name) -> Name {
        self.by_daemon.get(daemon).map_or(daemon, |group| group).clone()
    }
}

/// The updater of a group that a producer's copy of an updater is of.
///
/// The Python program writes no offset of an updater whose offset is zero, but keeps it in the copies.
fn updater_of_copy<'u>(updaters: &'u [Updater], copy: &Updater) -> Option<&'u Updater> {
    let alike = |updater: &&Updater| Updater { name: copy.name.clone(), ..(*updater).clone() } == *copy;
    let zero = copy.offset.as_ref().and_then(Interval::us) == Some(0);
    let without_zero = Updater { offset: None, ..copy.clone() };
    let alike_but_for_zero =
        |updater: &&Updater| zero && Updater { name: copy.name.clone(), ..(*updater).clone() } == without_zero;
    updaters.iter().find(alike).or_else(|| updaters.iter().find(alike_but_for_zero))
}

/// Whether an updater's offset of zero need not be written, as the Python program never does: some producer's copy tells
/// it, and can only be of this updater.
fn copies_tell_offset_of_zero(updater: &Updater, group: &AggregatorGroup) -> bool {
    let is_zero = |offset: &Option<Interval>| offset.as_ref().and_then(Interval::us) == Some(0);
    let without_offset = |updater: &Updater| Updater { name: Name::from(""), offset: None, ..updater.clone() };
    let is_like_this = |other: &&Updater| {
        (other.offset.is_none() || is_zero(&other.offset)) && without_offset(other) == without_offset(updater)
    };
    is_zero(&updater.offset)
        && group.updaters.iter().filter(is_like_this).count() == 1
        && group.producers.values().any(|producer| producer.updaters.contains(&updater.name))
}

/// The daemons that an advertiser's `names` stand for: owners of endpoints, daemons, or else the whole group, which
/// goes by names of the operator's own.
fn advertising_daemons(
    names: &str,
    group: &[Name],
    owners: &BTreeMap<&Name, &Name>,
    daemons: &BTreeMap<Name, Daemon>,
) -> Vec<Name> {
    let names: Vec<Name> = hostlist::expand(names).unwrap_or_default().into_iter().map(Name::from).collect();
    let owners: Option<Vec<Name>> = names.iter().map(|name| owners.get(name).map(|owner| (*owner).clone())).collect();
    let mut advertising = match owners {
        Some(owners) if !owners.is_empty() => owners,
        _ if names.iter().all(|name| daemons.contains_key(name)) && !names.is_empty() => names,
        _ => group.to_vec(),
    };
    advertising.sort();
    advertising.dedup();
    advertising
}

/// Whether the section `advertisers` says all of a group: aggregators that advertise themselves and run no plugins are
/// no samplers to the Python program.
fn is_all_in_advertisers(group: &SamplerGroup, aggregators: Option<&AggregatorGroup>) -> bool {
    group.plugins.is_empty()
        && matches!(group.advertisers.as_slice(), [advertiser] if !advertiser.daemons.is_empty())
        && aggregators.is_some_and(|aggregators| aggregators.aggregators == group.daemons)
}

/// Which daemon has which endpoint.
fn owners_of_endpoints<'c>(daemons: &'c BTreeMap<Name, Daemon>) -> BTreeMap<&'c Name, &'c Name> {
    let owned = |daemon: &'c Daemon| daemon.endpoints.iter().map(move |endpoint| (&endpoint.name, &daemon.name));
    daemons.values().flat_map(owned).collect()
}

/// The members of a group by the hostlist that is its name, ordered.
fn members_of(group: &str) -> Vec<Name> {
    let mut members: Vec<Name> = hostlist::expand(group).unwrap_or_default().into_iter().map(Name::from).collect();
    members.sort();
    members.dedup();
    members
}
