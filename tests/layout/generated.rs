//! Clusters of every shape that a YAML can have, and names of every kind.

use std::collections::{BTreeMap, BTreeSet};

use maestro::cluster::{
    Advertiser, AdvertiserTarget, AggregatorGroup, AuthDomain, Cluster, Daemon, Endpoint, MatchField, Plugin,
    PluginConfig, Producer, ProducerKind, ProducerListener, SamplerGroup, SetMatch, StoragePolicy, Subscription,
    SubscriptionSource, Updater, UpdaterMode,
};
use maestro::notation::{Interval, Name, Permission};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A name as a hostlist can have it: no white space, no commas, no brackets.
fn name() -> impl Strategy<Value = Name> {
    "[a-cä/%._F25-]{1,5}[0-9]{0,2}".prop_map(Name::from)
}

fn names(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Name>> {
    btree_set(name(), count).prop_map(|names| names.into_iter().collect())
}

/// A value, or the name of something that is no name of a hostlist.
fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 ${}.*/%=ä,\\[\\]\"'-]{0,8}"
}

fn word() -> impl Strategy<Value = String> {
    "[a-z_ /%ä.]{1,6}"
}

fn map() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(word(), text(), 0..3)
}

fn interval() -> impl Strategy<Value = Interval> {
    let texts = ["1s", "1.5s", "20ms", "1000000", "${I}", "0", "-5ms", "1m"];
    select(texts.to_vec()).prop_map(|text| Interval::parse(text).expect("an interval"))
}

fn perm() -> impl Strategy<Value = Option<Permission>> {
    option::of((0_u32..=0o777).prop_map(Permission))
}

fn options(keys: &'static [&'static str]) -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(select(keys).prop_map(str::to_owned), text(), 0..keys.len())
}

fn auth() -> impl Strategy<Value = AuthDomain> {
    (name(), select(vec!["none", "ovis", "munge"]), options(&["conf", "uid"]))
        .prop_map(|(name, plugin, options)| AuthDomain { name, plugin: plugin.into(), options })
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let xprt = select(vec!["sock", "rdma"]).prop_map(str::to_owned);
    (option::of(text()), 1_u16.., xprt, any::<bool>(), auth(), any::<bool>()).prop_map(
        |(host, port, xprt, maestro_comm, auth, bind_all)| Endpoint {
            name: Name::from(""),
            host,
            port,
            xprt,
            maestro_comm,
            auth,
            bind_all,
        },
    )
}

fn daemons() -> impl Strategy<Value = BTreeMap<Name, Daemon>> {
    let daemon = (text(), name(), vec(endpoint(), 1..3), map(), option::of(any::<bool>()), map());
    (btree_map(name(), daemon, 2..8), names(24..32)).prop_map(|(daemons, endpoint_names)| {
        let mut free = endpoint_names.into_iter();
        let build = |(name, (host, group, mut endpoints, environment, stream_enable, options)): (
            Name,
            (_, _, Vec<Endpoint>, _, _, _),
        )| {
            endpoints.iter_mut().zip(&mut free).for_each(|(endpoint, name)| endpoint.name = name);
            let daemon = Daemon {
                name: name.clone(),
                host,
                group,
                endpoints,
                environment,
                stream_enable,
                msg_enable: stream_enable.map(|enabled| !enabled),
                options,
            };
            (name, daemon)
        };
        daemons.into_iter().map(build).collect()
    })
}

fn plugin() -> impl Strategy<Value = Plugin> {
    let attributes = btree_map(word(), vec(text(), 0..3), 0..3).prop_map(PluginConfig::Attributes);
    let config = prop_oneof![attributes, "[a-z=]{1,6}".prop_map(PluginConfig::Line)];
    (name(), text(), option::of(interval()), option::of(interval()), vec(config, 0..3))
        .prop_map(|(instance, plugin, interval, offset, config)| Plugin { instance, plugin, interval, offset, config })
}

fn updater() -> impl Strategy<Value = Updater> {
    let mode = select(vec![UpdaterMode::Pull, UpdaterMode::Auto, UpdaterMode::Push, UpdaterMode::OnChange]);
    let field = select(vec![MatchField::Instance, MatchField::Schema]);
    let sets = vec((text(), field).prop_map(|(regex, field)| SetMatch { regex, field }), 0..3);
    (mode, interval(), option::of(interval()), perm(), vec(text(), 1..3), sets).prop_map(
        |(mode, interval, offset, perm, producers, sets)| Updater {
            name: Name::from(""),
            mode,
            interval,
            offset,
            perm,
            producers,
            sets,
        },
    )
}

fn subscription() -> impl Strategy<Value = Subscription> {
    let source = prop_oneof![
        text().prop_map(SubscriptionSource::Stream),
        text().prop_map(SubscriptionSource::MessageTag),
        text().prop_map(SubscriptionSource::MessageChannel),
    ];
    (source, text(), option::of(text())).prop_map(|(source, regex, rx_rate)| Subscription { source, regex, rx_rate })
}

/// A producer without its daemon, and with which of the group's updaters are its own.
fn producer() -> impl Strategy<Value = (Producer, BTreeSet<usize>)> {
    let kind = select(vec![ProducerKind::Active, ProducerKind::Passive, ProducerKind::Bridge]);
    let texts = (option::of(text()), option::of(text()), option::of(text()));
    (kind, interval(), perm(), texts, option::of(any::<bool>()), name(), btree_set(0_usize..3, 0..3)).prop_map(
        |(kind, reconnect, perm, (rail, quota, rx_rate), cache_ip, daemon_group, updaters)| {
            let [name, daemon, endpoint] = [""; 3].map(Name::from);
            let producer = Producer {
                name,
                daemon,
                daemon_group,
                endpoint,
                kind,
                reconnect,
                perm,
                rail,
                quota,
                rx_rate,
                cache_ip,
                updaters: Vec::new(),
            };
            (producer, updaters)
        },
    )
}

fn store() -> impl Strategy<Value = (StoragePolicy, Index)> {
    let texts = (option::of(text()), option::of(text()), option::of(text()), option::of(text()));
    (name(), any::<Index>(), texts, option::of(interval()), perm()).prop_map(
        |(name, plugin, (container, schema, regex, decomposition), flush, perm)| {
            let nothing = Name::from("");
            (StoragePolicy { name, plugin: nothing, container, schema, regex, decomposition, flush, perm }, plugin)
        },
    )
}

fn listener() -> impl Strategy<Value = ProducerListener> {
    let options = options(&["rail", "quota", "type", "perm", "advertiser_auth"]);
    (name(), option::of(interval()), option::of(text()), option::of(text()), options, names(0..3)).prop_map(
        |(name, reconnect, regex, ip, options, endpoints)| ProducerListener {
            name,
            reconnect,
            regex,
            ip,
            options,
            endpoints,
        },
    )
}

fn advertiser() -> impl Strategy<Value = (Advertiser, BTreeSet<usize>)> {
    let target = (name(), 1_u16.., select(vec!["sock", "rdma"]), auth()).prop_map(|(host, port, xprt, auth)| {
        AdvertiserTarget { host: host.to_string(), port, xprt: xprt.into(), auth }
    });
    let options = options(&["rail", "quota", "rx_rate", "perm"]);
    (name(), vec(target, 0..3), any::<bool>(), option::of(interval()), options, btree_set(0_usize..8, 1..4)).prop_map(
        |(names, mut targets, alike, reconnect, options, members)| {
            if let Some(first) = targets.first().cloned().filter(|_| alike) {
                targets.iter_mut().for_each(|target| {
                    *target = AdvertiserTarget { host: target.host.clone(), ..first.clone() };
                });
            }
            (Advertiser { names: names.to_string(), daemons: Vec::new(), targets, reconnect, options }, members)
        },
    )
}

/// What a group of aggregators has, before it is known who its members are.
#[derive(Debug, Clone)]
struct Parts {
    updaters: Vec<Updater>,
    producers: Vec<(Producer, BTreeSet<usize>)>,
    stores: Vec<(StoragePolicy, Index)>,
    listeners: Vec<ProducerListener>,
    subscriptions: Vec<Subscription>,
    plugins: Vec<Index>,
}

fn parts() -> impl Strategy<Value = Parts> {
    let plugins = vec(any::<Index>(), 0..2);
    (
        vec(updater(), 0..3),
        vec(producer(), 0..4),
        vec(store(), 0..3),
        vec(listener(), 0..2),
        vec(subscription(), 0..2),
        plugins,
    )
        .prop_map(|(updaters, producers, stores, listeners, subscriptions, plugins)| Parts {
            updaters,
            producers,
            stores,
            listeners,
            subscriptions,
            plugins,
        })
}

/// Any cluster.
pub(crate) fn cluster() -> impl Strategy<Value = Cluster> {
    let samplers =
        (any::<bool>(), name(), btree_set(0_usize..8, 1..4), vec(any::<Index>(), 0..3), vec(advertiser(), 0..3));
    let plugins = btree_map(name(), plugin(), 1..4);
    (daemons(), plugins, vec((name(), 1_usize..3, parts()), 0..3), vec(samplers, 0..3)).prop_map(
        |(daemons, plugins, groups, samplers)| {
            let members: Vec<Name> = daemons.keys().cloned().collect();
            let keys: Vec<Name> = plugins.keys().cloned().collect();
            let mut cluster = Cluster { daemons, plugins, ..Cluster::default() };
            let mut updaters = 0;
            for (index, (name, count, parts)) in groups.into_iter().enumerate() {
                let aggregators = members.iter().skip(index * 2).take(count).cloned().collect::<Vec<_>>();
                if !aggregators.is_empty() && !cluster.groups.contains_key(&name) {
                    let group = group(aggregators, parts, &cluster, &keys, &mut updaters);
                    cluster.groups.insert(name, group);
                }
            }
            for (of_aggregators, name, chosen, plugins, advertisers) in samplers {
                // A group of aggregators may advertise itself, which is kept in a place of its own.
                let aggregators = cluster.groups.iter().next().filter(|_| of_aggregators);
                let (name, daemons) = match aggregators {
                    Some((name, group)) => (name.clone(), group.aggregators.clone()),
                    None => (name, pick(&members, &chosen)),
                };
                let plugins: BTreeSet<Name> = plugins.iter().map(|plugin| plugin.get(&keys).clone()).collect();
                let advertisers = advertisers
                    .into_iter()
                    .map(|(advertiser, of)| Advertiser { daemons: pick(&daemons, &of), ..advertiser });
                let advertisers = advertisers.collect();
                cluster
                    .samplers
                    .insert(name, SamplerGroup { daemons, plugins: plugins.into_iter().collect(), advertisers });
            }
            cluster
        },
    )
}

fn group(aggregators: Vec<Name>, parts: Parts, cluster: &Cluster, keys: &[Name], count: &mut usize) -> AggregatorGroup {
    let mut updaters = parts.updaters;
    for updater in &mut updaters {
        updater.name = format!("updtr_{count}").into();
        *count += 1;
    }
    let others = cluster.daemons.values().filter(|daemon| !aggregators.contains(&daemon.name));
    let endpoints =
        others.flat_map(|daemon| daemon.endpoints.iter().map(|endpoint| (daemon.name.clone(), endpoint.name.clone())));
    let producer = |((producer, of), (daemon, endpoint)): ((Producer, BTreeSet<usize>), (Name, Name))| {
        let updaters = of.iter().filter_map(|index| Some(updaters.get(*index)?.name.clone())).collect();
        (endpoint.clone(), Producer { name: endpoint.clone(), daemon, endpoint, updaters, ..producer })
    };
    let producers = parts.producers.into_iter().zip(endpoints).map(producer).collect();
    let store = |(policy, plugin): (StoragePolicy, Index)| {
        (policy.name.clone(), StoragePolicy { plugin: plugin.get(keys).clone(), ..policy })
    };
    let plugins: BTreeSet<Name> = parts.plugins.iter().map(|plugin| plugin.get(keys).clone()).collect();
    AggregatorGroup {
        aggregators,
        producers,
        stores: parts.stores.into_iter().map(store).collect(),
        listeners: parts.listeners.into_iter().map(|listener| (listener.name.clone(), listener)).collect(),
        subscriptions: parts.subscriptions,
        plugins: plugins.into_iter().collect(),
        updaters,
    }
}

/// Some of the names, at least one.
fn pick(names: &[Name], chosen: &BTreeSet<usize>) -> Vec<Name> {
    let picked: BTreeSet<&Name> = chosen.iter().map(|index| &names[index % names.len()]).collect();
    picked.into_iter().cloned().collect()
}
