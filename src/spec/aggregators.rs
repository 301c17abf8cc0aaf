//! `aggregators`: groups of daemons, what they collect, and what they subscribe to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::advertise::{self, Announcement};
use super::daemons::Daemons;
use super::diagnostic::{Position, Report};
use super::fields::{Fields, Names, abbreviated, suggestion};
use super::listeners;
use super::plugins::{self, PluginTable, PluginUse};
use super::updaters;
use super::yaml::Node;
use crate::cluster::{AggregatorGroup, Producer, ProducerKind, Subscription, SubscriptionSource, Updater};
use crate::notation::Name;

/// Groups of aggregators before their plugins are resolved.
#[derive(Default)]
pub(super) struct PendingGroups {
    groups: BTreeMap<Name, AggregatorGroup>,
    plugins: BTreeMap<Name, Vec<(PluginUse, Position)>>,
    /// Endpoints that peers entries of groups say to advertise themselves.
    advertised: Vec<(Name, Position, Vec<Name>)>,
    /// What aggregators announce themselves, with the daemons of the entry.
    pub(super) announcements: Vec<(Name, Vec<Name>, Vec<Announcement>)>,
}

/// Reads the section, a list of entries. Entries of one hostlist are one group.
pub(super) fn read_section(
    section: &[Node],
    daemons: &Daemons,
    report: &Report<'_>,
    file_exists: &dyn Fn(&Path) -> bool,
) -> PendingGroups {
    let pending = PendingGroups::default();
    let mut reader = Reader { daemons, report, file_exists, updaters: 0, claimed: BTreeMap::new(), pending };
    for node in section {
        if let Some(fields) = Fields::of(node, "an aggregators entry", report) {
            reader.read_entry(&fields);
        }
    }
    reader.pending
}

impl PendingGroups {
    /// Endpoints that announce themselves to a group which listens for them are not connected to as well.
    pub(super) fn leave_out_advertised(
        &mut self,
        daemons: &Daemons,
        announcements: &[&Announcement],
        report: &Report<'_>,
    ) {
        for (group, position, endpoints) in std::mem::take(&mut self.advertised) {
            let listener = self.groups.get_mut(&group).and_then(|group| group.listeners.values_mut().next());
            match listener {
                Some(listener) => listener.endpoints.extend(endpoints),
                None => report.error(
                    position,
                    format!("the group `{group}` does not listen for daemons that advertise themselves"),
                    "add `prdcr_listen: [ { name: … } ]` to the group, or write `type: active`",
                ),
            }
        }
        for group in self.groups.values_mut().filter(|group| !group.listeners.is_empty()) {
            let listening = group.aggregators.iter().filter_map(|name| daemons.by_name.get(name));
            let addresses: BTreeSet<(&str, u16)> = listening
                .flat_map(|daemon| daemon.endpoints.iter().map(|endpoint| (daemon.host_of(endpoint), endpoint.port)))
                .collect();
            let heard = announcements.iter().filter(|announcement| announcement.reaches(&addresses));
            let expected = group.listeners.values().flat_map(|listener| &listener.endpoints);
            let advertised: BTreeSet<&Name> =
                heard.flat_map(|announcement| &announcement.endpoints).chain(expected).collect();
            group.producers.retain(|name, _| !advertised.contains(name));
        }
    }

    /// Resolves the plugins that run on the aggregators, group after group in the order of their names.
    pub(super) fn resolve(self, table: &mut PluginTable, report: &Report<'_>) -> BTreeMap<Name, AggregatorGroup> {
        let PendingGroups { mut groups, plugins, .. } = self;
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
    report: &'a Report<'a>,
    file_exists: &'a dyn Fn(&Path) -> bool,
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
    /// Where it says that the endpoints advertise themselves.
    advertised: Option<Position>,
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
        let advertise = fields.items("advertise");
        fields.refuse_others();
        let Some(names) = names else { return };

        let name = Name::from(names.written.as_str());
        let aggregators = self.claim_aggregators(&name, &names);
        let announcements: Vec<Announcement> = advertise
            .iter()
            .filter_map(|node| advertise::read(node, &names, &aggregators, self.daemons, self.report, self.file_exists))
            .collect();
        if !announcements.is_empty() {
            self.pending.announcements.push((name.clone(), aggregators.clone(), announcements));
        }
        let mut group = self.pending.groups.remove(&name).unwrap_or_default();
        group.aggregators = aggregators;
        group.updaters.extend(updaters);
        group.subscriptions.extend(subscriptions);
        listeners::add(&mut group.listeners, listeners, self.report);
        for peers in peers {
            match peers.advertised {
                Some(position) => {
                    let endpoints = self.daemons.resolve_endpoints(&peers.endpoints, self.report);
                    self.pending.advertised.push((name.clone(), position, endpoints));
                }
                None => self.add_producers(&mut group, peers),
            }
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

    fn read_peers(&mut self, node: &Node) -> Option<Peers> {
        let fields = Fields::of(node, "a peers entry", self.report)?;
        let endpoints = fields.required_names("endpoints");
        let daemons = fields.names("daemons");
        let reconnect = fields.require("reconnect").and_then(|_| fields.interval("reconnect"));
        let kind = fields.text("type");
        let advertised = kind.filter(|word| word.eq_ignore_ascii_case(ADVERTISED)).map(|_| fields.position_of("type"));
        let kind = match kind {
            Some(word) if advertised.is_none() => read_kind(word, &fields, self.report),
            _ => Some(ProducerKind::Active),
        };
        let perm = fields.permission("perm");
        let rail = fields.owned_text("rail");
        let quota = fields.text_or_former("quota", "credits").map(str::to_owned);
        let rx_rate = fields.owned_text("rx_rate");
        let cache_ip = fields.boolean("cache_ip");
        let updaters = updaters::read_all(&fields, &mut self.updaters, self.report);
        fields.refuse_others();
        let endpoints = endpoints.filter(|names| {
            let copied = [&rail, &quota, &rx_rate].into_iter().flatten().map(String::len).sum::<usize>();
            let copied = copied + updaters.len() * std::mem::size_of::<Name>();
            self.report.afford(names.list.len().saturating_mul(copied), names.position)
        });
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
        Some(Peers { endpoints: endpoints?, daemons, advertised, template, updaters })
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

/// The type of producers that come by advertisement: the group listens, and does not connect.
const ADVERTISED: &str = "advertised";

fn read_kind(word: &str, fields: &Fields<'_>, report: &Report<'_>) -> Option<ProducerKind> {
    let kinds = [ProducerKind::Active, ProducerKind::Passive, ProducerKind::Bridge];
    let kind = kinds.into_iter().find(|kind| word.eq_ignore_ascii_case(kind.word()));
    if kind.is_none() {
        let words = kinds.map(ProducerKind::word).into_iter().chain([ADVERTISED]);
        let help = suggestion(word, words, "write `active`, `passive`, `bridge` or `advertised`");
        report.error(fields.position_of("type"), format!("`{word}` is no type of producer"), help);
    }
    kind
}

fn read_subscription(node: &Node, report: &Report<'_>) -> Option<Subscription> {
    let fields = Fields::of(node, "a subscription", report)?;
    let stream = fields.owned_text("stream").map(SubscriptionSource::Stream);
    // ldmsd_yaml_parser(8) calls it msg_tag.
    let tag = fields.text_or_former("message_tag", "msg_tag").map(|tag| SubscriptionSource::MessageTag(tag.into()));
    let channel = fields.owned_text("message_channel").map(SubscriptionSource::MessageChannel);
    let regex = fields.get("regex").map_or(Some(".*".into()), |_| fields.regex("regex"));
    let rx_rate = fields.owned_text("rx_rate");
    fields.refuse_others();
    let mut sources = [stream, tag, channel].into_iter().flatten();
    match (sources.next(), sources.next()) {
        (Some(source), None) => Some(Subscription { source, regex: regex?, rx_rate }),
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
