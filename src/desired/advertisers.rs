//! To whom each daemon advertises itself: to one aggregator of a group where nobody is there to choose later, else to
//! all.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Advertiser, AdvertiserTarget, Cluster, Relations};
use crate::desired::AdvertiserWanted;
use crate::notation::{Interval, Name, hostlist};
use crate::placement::place_advertised;

/// `advertiser_add` needs an interval, and the YAML may give none.
const DEFAULT_RECONNECT_US: i64 = 5_000_000;

/// The advertisers of each daemon, by their names. Of the aggregators of one group each daemon gets one, so that the
/// group is balanced together with the producers that its aggregators hold already, which `held` counts. An address
/// at which no aggregator listens stays as written.
pub(super) fn advertisers(
    cluster: &Cluster,
    relations: &Relations,
    held: &BTreeMap<&Name, BTreeMap<Name, usize>>,
) -> BTreeMap<Name, BTreeMap<Name, AdvertiserWanted>> {
    let announcements = announcements(cluster, relations);
    let homes = homes(&announcements, held);
    let mut wanted: BTreeMap<Name, BTreeMap<Name, AdvertiserWanted>> = BTreeMap::new();
    let mut served = BTreeSet::new();
    for announcement in &announcements {
        let Announcement { labels, targets, .. } = announcement;
        for (daemon, label) in labels {
            let groups = announcement.aggregators.keys();
            let own: Vec<&Name> = groups.filter_map(|group| homes.get(group)?.get(daemon)).collect();
            let chosen = targets.iter().filter(|target| match target.aggregator {
                Some(aggregator) => own.contains(&aggregator) && served.insert((daemon, aggregator)),
                None => true,
            });
            wanted.entry(daemon.clone()).or_default().extend(chosen.map(|target| announcement.to(label, target)));
        }
    }
    wanted
}

/// The advertisers of each daemon, by their names: to everybody, so that any aggregator can take over.
#[must_use]
pub fn advertisers_to_all(
    cluster: &Cluster,
    relations: &Relations,
) -> BTreeMap<Name, BTreeMap<Name, AdvertiserWanted>> {
    let mut wanted: BTreeMap<Name, BTreeMap<Name, AdvertiserWanted>> = BTreeMap::new();
    for announcement in announcements(cluster, relations) {
        let Announcement { labels, targets, .. } = &announcement;
        for (daemon, label) in labels {
            let all = targets.iter().map(|target| announcement.to(label, target));
            wanted.entry(daemon.clone()).or_default().extend(all);
        }
    }
    wanted
}

/// An `advertise` entry of a sampler group.
struct Announcement<'c> {
    advertiser: &'c Advertiser,
    /// The daemons, and what their advertisers are called after.
    labels: Vec<(Name, String)>,
    targets: Vec<Target<'c>>,
    /// The aggregators that it reaches, by their groups.
    aggregators: BTreeMap<&'c Name, BTreeSet<Name>>,
}

impl Announcement<'_> {
    /// The advertiser of one daemon to one address, with its name.
    fn to(&self, label: &str, target: &Target<'_>) -> (Name, AdvertiserWanted) {
        let reconnect = self.advertiser.reconnect.clone();
        let wanted = AdvertiserWanted {
            target: target.address.clone(),
            reconnect: reconnect.unwrap_or_else(|| Interval::from_us(DEFAULT_RECONNECT_US)),
            options: self.advertiser.options.clone(),
        };
        (advertiser_name(label, target.address, &self.targets), wanted)
    }
}

struct Target<'c> {
    address: &'c AdvertiserTarget,
    aggregator: Option<&'c Name>,
}

fn announcements<'c>(cluster: &'c Cluster, relations: &'c Relations) -> Vec<Announcement<'c>> {
    let mut announcements = Vec::new();
    for group in cluster.samplers.values() {
        for advertiser in &group.advertisers {
            let targets = advertiser.targets.iter().map(|address| {
                let aggregator = relations.aggregator_at(&address.host, address.port);
                Target { address, aggregator }
            });
            let targets: Vec<Target<'_>> = targets.collect();
            let mut aggregators: BTreeMap<&Name, BTreeSet<Name>> = BTreeMap::new();
            for name in targets.iter().filter_map(|target| target.aggregator) {
                if let Some(group) = relations.group_of(name) {
                    aggregators.entry(group).or_default().insert(name.clone());
                }
            }
            let labels = labels(cluster, &group.daemons, advertiser);
            announcements.push(Announcement { advertiser, labels, targets, aggregators });
        }
    }
    announcements
}

/// Names stand for daemons, or for endpoints of daemons, or they are names of their own, one for each daemon.
fn labels(cluster: &Cluster, group: &[Name], advertiser: &Advertiser) -> Vec<(Name, String)> {
    let names: Vec<String> = hostlist::expand(&advertiser.names).unwrap_or_default();
    let known: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let own = |daemon: &Name| {
        let endpoints = cluster.daemons.get(daemon).map_or(&[][..], |daemon| &daemon.endpoints).iter();
        let candidates = std::iter::once(daemon).chain(endpoints.map(|endpoint| &endpoint.name));
        candidates.map(Name::as_str).find(|candidate| known.contains(candidate)).map(str::to_owned)
    };
    let by_place: BTreeMap<&Name, &String> =
        if names.len() == group.len() { group.iter().zip(&names).collect() } else { BTreeMap::new() };
    let label = |daemon: &Name| {
        own(daemon).or_else(|| by_place.get(daemon).map(|label| (*label).clone())).unwrap_or_else(|| daemon.to_string())
    };
    advertiser.daemons.iter().map(|daemon| (daemon.clone(), label(daemon))).collect()
}

/// For each group, the aggregator that each daemon advertises itself to.
fn homes<'c>(
    announcements: &[Announcement<'c>],
    held: &BTreeMap<&Name, BTreeMap<Name, usize>>,
) -> BTreeMap<&'c Name, BTreeMap<Name, Name>> {
    let mut reachable: BTreeMap<&Name, BTreeMap<Name, BTreeSet<Name>>> = BTreeMap::new();
    for announcement in announcements {
        for (group, aggregators) in &announcement.aggregators {
            let daemons = reachable.entry(group).or_default();
            for (daemon, _) in &announcement.labels {
                daemons.entry(daemon.clone()).or_default().extend(aggregators.iter().cloned());
            }
        }
    }
    let home = |(group, reachable): (&'c Name, BTreeMap<Name, BTreeSet<Name>>)| {
        Some((group, place_advertised(&reachable, held.get(group)?, &BTreeMap::new())))
    };
    reachable.into_iter().filter_map(home).collect()
}

/// `NAME-HOST`; with the port where other targets are on the same host.
fn advertiser_name(label: &str, address: &AdvertiserTarget, targets: &[Target<'_>]) -> Name {
    let host = &address.host;
    let is_another = |target: &&Target<'_>| target.address.host == *host && target.address.port != address.port;
    match targets.iter().find(is_another) {
        Some(_) => Name::from(format!("{label}-{host}-{}", address.port)),
        None => Name::from(format!("{label}-{host}")),
    }
}
