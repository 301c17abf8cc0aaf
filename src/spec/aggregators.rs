//! `aggregators`: groups of daemons, what they collect, and what they subscribe to.

use std::collections::{BTreeMap, BTreeSet};

use super::advertise::Announcement;
use super::daemons::Daemons;
use super::diagnostic::{Position, Report, nearest};
use super::fields::{Fields, Names, abbreviated};
use super::listeners;
use super::plugins::{self, PluginTable, PluginUse};
use super::updaters;
use super::yaml::Node;
use crate::cluster::{AggregatorGroup, Producer, ProducerKind, Subscription, SubscriptionSource, Updater};
use crate::notation::{Interval, Name};

/// Groups of aggregators before their plugins are resolved.
pub(super) struct PendingGroups {
    pub(super) groups: BTreeMap<Name, AggregatorGroup>,
    plugins: BTreeMap<Name, Vec<(PluginUse, Position)>>,
}

/// Reads the section, a list of entries. Entries of one hostlist are one group.
pub(super) fn read_section(
    section: &[Node],
    daemons: &Daemons,
    announcements: &[&Announcement],
    report: &Report<'_>,
) -> PendingGroups {
    let mut reader = Reader {
        daemons,
        announcements,
        report,
        updaters: 0,
        claimed: BTreeMap::new(),
        pending: PendingGroups { groups: BTreeMap::new(), plugins: BTreeMap::new() },
    };
    for node in section {
        if let Some(fields) = Fields::of(node, "an aggregators entry", report) {
            reader.read_entry(&fields);
        }
    }
    reader.leave_out_advertised();
    reader.pending
}

impl PendingGroups {
    /// Resolves the plugins that run on the aggregators, group after group in the order of their names.
    pub(super) fn resolve(self, table: &mut PluginTable, report: &Report<'_>) -> BTreeMap<Name, AggregatorGroup> {
        let PendingGroups { mut groups, plugins } = self;
        for (name, uses) in plugins {
            let Some(group) = groups.get_mut(&name) else { continue };
            for (plugin, position) in uses {
                let Some(key) = plugins::resolve(&plugin, position, &group.aggregators, table, report) else {
                    continue;
                };
                if !group.plugins.contains(&key) {
                    group.plugins.push(key);
                }
            }
        }
        groups
    }
}

struct Reader<'a> {
    daemons: &'a Daemons,
    announcements: &'a [&'a Announcement],
    report: &'a Report<'a>,
    /// How many updaters the file has had so far.
    updaters: usize,
    /// The group of each aggregator, and where it is named.
    claimed: BTreeMap<Name, (Name, Position)>,
    pending: PendingGroups,
}

/// A peers entry: the attributes that its producers share, and the updaters that it asks for.
struct Peers {
    endpoints: Names,
    daemons: Option<Names>,
    template: Producer,
    updaters: Vec<Updater>,
}

impl Reader<'_> {
    fn read_entry(&mut self, fields: &Fields<'_>) {
        let names = fields.required_names("daemons");
        let peers: Vec<Peers> = fields.items("peers").iter().filter_map(|node| self.read_peers(node)).collect();
        let mut listeners = Vec::new();
        let mut updaters: Vec<Updater> = peers.iter().flat_map(|peers| peers.updaters.clone()).collect();
        for node in fields.items("prdcr_listen") {
            let Some(fields) = Fields::of(node, "a prdcr_listen entry", self.report) else { continue };
            listeners.extend(listeners::read(&fields, self.daemons, self.report));
            updaters.extend(updaters::read_all(&fields, &mut self.updaters, self.report));
            fields.refuse_others();
        }
        let subscriptions: Vec<Subscription> =
            fields.items("subscribe").iter().filter_map(|node| read_subscription(node, self.report)).collect();
        let plugins: Vec<(PluginUse, Position)> = fields
            .items("plugins")
            .iter()
            .filter_map(|node| Some((plugins::read_use(node, self.report)?, node.position)))
            .collect();
        fields.refuse_others();
        let Some(names) = names else { return };

        let name = Name::from(names.written.as_str());
        let aggregators = self.claim_aggregators(&name, &names);
        let mut group = self.pending.groups.remove(&name).unwrap_or_default();
        group.aggregators = aggregators;
        group.updaters.extend(updaters);
        group.subscriptions.extend(subscriptions);
        listeners::add(&mut group.listeners, listeners, self.report);
        for peers in peers {
            self.add_producers(&mut group, peers);
        }
        self.pending.groups.insert(name.clone(), group);
        self.pending.plugins.entry(name).or_default().extend(plugins);
    }

    /// The daemons of a group; each belongs to one group only.
    fn claim_aggregators(&mut self, group: &Name, names: &Names) -> Vec<Name> {
        let mut aggregators = self.daemons.resolve(names, self.report);
        aggregators.sort();
        aggregators.dedup();
        let claimed = |name: &&Name| self.claimed.get(*name).is_some_and(|(other, _)| other != group);
        let taken: Vec<&Name> = aggregators.iter().filter(claimed).collect();
        if let Some((other, place)) = taken.first().and_then(|name| self.claimed.get(*name)) {
            let message = format!("{} already in the group `{other}` (line {})", abbreviated(&taken), place.line);
            self.report.error(names.position, message, "name each aggregator in one group only");
        }
        for name in &aggregators {
            self.claimed.entry(name.clone()).or_insert_with(|| (group.clone(), names.position));
        }
        aggregators
    }

    /// Endpoints that announce themselves to a group which listens for them are not connected to as well.
    fn leave_out_advertised(&mut self) {
        let mut groups = std::mem::take(&mut self.pending.groups);
        for group in groups.values_mut() {
            let advertised = self.advertised_to(group);
            group.producers.retain(|name, _| !advertised.contains(name));
        }
        self.pending.groups = groups;
    }

    /// The endpoints that announce themselves to a group, if it listens.
    fn advertised_to(&self, group: &AggregatorGroup) -> BTreeSet<Name> {
        if group.listeners.is_empty() {
            return BTreeSet::new();
        }
        let listening: Vec<_> = group.aggregators.iter().filter_map(|name| self.daemons.by_name.get(name)).collect();
        let announced = self
            .announcements
            .iter()
            .filter(|announcement| listening.iter().any(|daemon| announcement.reaches(daemon)))
            .flat_map(|announcement| &announcement.endpoints);
        let expected = group.listeners.values().flat_map(|listener| &listener.endpoints);
        announced.chain(expected).cloned().collect()
    }

    fn read_peers(&mut self, node: &Node) -> Option<Peers> {
        let fields = Fields::of(node, "a peers entry", self.report)?;
        let endpoints = fields.required_names("endpoints");
        let daemons = fields.names("daemons");
        let reconnect = fields.require("reconnect").and_then(|_| fields.interval("reconnect"));
        let kind = match fields.text("type") {
            Some(word) => read_kind(word, &fields, self.report),
            None => Some(ProducerKind::Active),
        };
        let perm = fields.permission("perm");
        let rail = fields.owned_text("rail");
        let quota = fields.text_or_former("quota", "credits").map(str::to_owned);
        let rx_rate = fields.owned_text("rx_rate");
        let cache_ip = fields.boolean("cache_ip");
        let updaters = updaters::read_all(&fields, &mut self.updaters, self.report);
        fields.refuse_others();
        let nobody = Name::from("");
        let template = Producer {
            name: nobody.clone(),
            daemon: nobody.clone(),
            daemon_group: nobody.clone(),
            endpoint: nobody,
            kind: kind?,
            reconnect: reconnect?,
            perm,
            rail,
            quota,
            rx_rate,
            cache_ip,
            updaters: updaters.iter().map(|updater| updater.name.clone()).collect(),
        };
        Some(Peers { endpoints: endpoints?, daemons, template, updaters })
    }

    fn add_producers(&self, group: &mut AggregatorGroup, peers: Peers) {
        let Peers { endpoints, daemons, template, .. } = peers;
        let owners: Option<BTreeSet<Name>> =
            daemons.map(|daemons| self.daemons.resolve(&daemons, self.report).into_iter().collect());
        let (mut strangers, mut own, mut disagreeing) = (Vec::new(), Vec::new(), Vec::new());
        for name in self.daemons.resolve_endpoints(&endpoints, self.report) {
            let Some((daemon, _)) = self.daemons.endpoint(&name) else { continue };
            if owners.as_ref().is_some_and(|owners| !owners.contains(&daemon.name)) {
                strangers.push(name);
            } else if group.aggregators.binary_search(&daemon.name).is_ok() {
                own.push(name);
            } else {
                let producer = Producer {
                    name: name.clone(),
                    daemon: daemon.name.clone(),
                    daemon_group: daemon.group.clone(),
                    endpoint: name.clone(),
                    ..template.clone()
                };
                if !add_producer(group, producer) {
                    disagreeing.push(name);
                }
            }
        }
        let report = |names: &[Name], message: &str, help: &str| {
            if !names.is_empty() {
                self.report.error(endpoints.position, format!("{message} {}", abbreviated(names)), help);
            }
        };
        let help = "name the daemons that have these endpoints, or leave `daemons` out";
        report(&strangers, "`daemons` does not name the daemons of", help);
        report(&own, "aggregators cannot collect from their own group:", "name endpoints of other daemons");
        let help = "name each endpoint in one peers entry of the group only";
        report(&disagreeing, "producers of this group already, with other attributes:", help);
    }
}

/// Adds a producer to a group. An endpoint that two entries name is one producer with the updaters of both, if the
/// entries agree on the rest; `false` if they do not.
fn add_producer(group: &mut AggregatorGroup, producer: Producer) -> bool {
    let Some(earlier) = group.producers.get_mut(&producer.name) else {
        group.producers.insert(producer.name.clone(), producer);
        return true;
    };
    let agree = Producer { updaters: earlier.updaters.clone(), ..producer.clone() } == *earlier;
    if agree {
        let further = producer.updaters.into_iter().filter(|updater| !earlier.updaters.contains(updater));
        earlier.updaters.extend(further.collect::<Vec<_>>());
    }
    agree
}

fn read_kind(word: &str, fields: &Fields<'_>, report: &Report<'_>) -> Option<ProducerKind> {
    let kinds = [ProducerKind::Active, ProducerKind::Passive, ProducerKind::Bridge];
    let kind = kinds.into_iter().find(|kind| word.eq_ignore_ascii_case(kind.word()));
    if kind.is_none() {
        let place = fields.get("type").map_or(fields.position, |node| node.position);
        let help = match nearest(word, kinds.map(ProducerKind::word)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write `active`, `passive` or `bridge`".into(),
        };
        report.error(place, format!("`{word}` is no type of producer"), help);
    }
    kind
}

fn read_subscription(node: &Node, report: &Report<'_>) -> Option<Subscription> {
    let fields = Fields::of(node, "a subscription", report)?;
    let stream = fields.owned_text("stream").map(SubscriptionSource::Stream);
    // ldmsd_yaml_parser(8) calls it msg_tag.
    let tag = fields.text_or_former("message_tag", "msg_tag").map(|tag| SubscriptionSource::MessageTag(tag.into()));
    let channel = fields.owned_text("message_channel").map(SubscriptionSource::MessageChannel);
    let regex = fields.owned_text("regex").unwrap_or_else(|| ".*".into());
    let rx_rate = fields.owned_text("rx_rate");
    fields.refuse_others();
    let mut sources = [stream, tag, channel].into_iter().flatten();
    match (sources.next(), sources.next()) {
        (Some(source), None) => Some(Subscription { source, regex, rx_rate }),
        (None, _) => {
            let help = "add one of `stream`, `message_tag` and `message_channel`";
            report.error(fields.position, "a subscription needs something to subscribe to", help);
            None
        }
        (Some(_), Some(_)) => {
            report.error(fields.position, "a subscription is to one thing only", "write an entry for each of them");
            None
        }
    }
}

/// An interval that must be longer than nothing.
pub(super) fn check_positive(interval: &Interval, fields: &Fields<'_>, key: &'static str, report: &Report<'_>) {
    if let Some(us) = interval.us().filter(|us| *us <= 0) {
        let place = fields.get(key).map_or(fields.position, |node| node.position);
        report.error(place, format!("`{key}` of {us} us is too short"), "write a time such as `1s`");
    }
}
