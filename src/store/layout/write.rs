//! A cluster as keys and values.

use std::collections::BTreeMap;

use super::{
    GroupsOfDaemons, advertising_daemons, copies_tell_offset_of_zero, is_all_in_advertisers, members_of,
    owners_of_endpoints, updater_of_copy,
};
use crate::cluster::{
    Advertiser, AggregatorGroup, AuthDomain, Cluster, Daemon, Plugin, PluginConfig, Producer, ProducerListener,
    SamplerGroup, SetMatch, StoragePolicy, Subscription, SubscriptionSource, Updater,
};
use crate::notation::{Name, hostlist};
use crate::store::tree::{Place, Tree};

/// Lays a cluster out. Equal clusters give equal trees.
#[must_use]
pub fn write(cluster: &Cluster) -> Tree {
    let mut tree = Tree::new();
    let mut root = Place::root(&mut tree);
    write_daemons(cluster, &mut root.at("daemons"));
    for (name, group) in &cluster.groups {
        write_aggregators(group, &mut root.at("aggregators").at(name));
        for producer in group.producers.values() {
            write_producer(producer, name, group, &mut root.at("producers").at(name).at(&producer.name));
        }
        for updater in &group.updaters {
            write_updater(updater, name, group, &mut root.at("updaters").at(name).at(&updater.name));
        }
        for store in group.stores.values() {
            write_store(store, name, &mut root.at("stores").at(name).at(&store.name));
        }
        for listener in group.listeners.values() {
            write_listener(listener, &mut root.at("prdcr_listeners").at(name).at(&listener.name));
        }
    }
    write_samplers(cluster, &mut root);
    for (key, plugin) in &cluster.plugins {
        write_plugin(plugin, key, &mut root.at("plugins").at(key));
    }
    tree
}

fn write_daemons(cluster: &Cluster, place: &mut Place<'_>) {
    let groups = GroupsOfDaemons::new(&cluster.groups, &cluster.samplers);
    for daemon in cluster.daemons.values() {
        let mut place = place.at(&daemon.name);
        write_daemon(daemon, &mut place);
        if groups.of(&daemon.name) != daemon.group {
            place.put("group", daemon.group.as_str());
        }
    }
}

fn write_daemon(daemon: &Daemon, place: &mut Place<'_>) {
    place.put("addr", daemon.host.as_str());
    place.put_some("stream_enable", daemon.stream_enable.map(truth));
    place.put_some("msg_enable", daemon.msg_enable.map(truth));
    put_map(&mut place.at("environment"), &daemon.environment);
    put_map(&mut place.at("cli_opt"), &daemon.options);
    let mut endpoints = place.at("endpoints");
    for endpoint in &daemon.endpoints {
        let mut place = endpoints.at(&endpoint.name);
        place.put("name", endpoint.name.as_str());
        place.put("port", endpoint.port.to_string());
        place.put("xprt", endpoint.xprt.as_str());
        place.put_some("host", endpoint.host.as_ref());
        place.put_some("maestro_comm", endpoint.maestro_comm.then_some("True"));
        place.put_some("bind_all", endpoint.bind_all.then_some("True"));
        write_auth(&endpoint.auth, &mut place.at("auth"));
    }
}

fn write_auth(auth: &AuthDomain, place: &mut Place<'_>) {
    put_map(place, &auth.options);
    place.put("name", auth.name.as_str());
    place.put("plugin", auth.plugin.as_str());
}

fn write_aggregators(group: &AggregatorGroup, place: &mut Place<'_>) {
    for aggregator in &group.aggregators {
        let mut place = place.at(aggregator);
        place.put("state", "stopped");
        place.put_list("plugins", &group.plugins);
        let mut subscriptions = place.at("subscribe");
        for (index, Subscription { source, regex, rx_rate }) in group.subscriptions.iter().enumerate() {
            let mut place = subscriptions.item(index);
            match source {
                SubscriptionSource::Stream(stream) => place.put("stream", stream.as_str()),
                SubscriptionSource::MessageTag(tag) => place.put("message_tag", tag.as_str()),
                SubscriptionSource::MessageChannel(channel) => place.put("message_channel", channel.as_str()),
            }
            place.put("regex", regex.as_str());
            place.put_some("rx_rate", rx_rate.as_ref());
        }
    }
}

fn write_producer(producer: &Producer, group_name: &Name, group: &AggregatorGroup, place: &mut Place<'_>) {
    place.put("name", producer.name.as_str());
    place.put("daemon", producer.daemon.as_str());
    place.put("dmn_grp", producer.daemon_group.as_str());
    place.put("endpoint", producer.endpoint.as_str());
    place.put("group", group_name.as_str());
    place.put("type", producer.kind.word());
    place.put("reconnect", producer.reconnect.to_string());
    place.put_some("perm", producer.perm);
    place.put_some("rail", producer.rail.as_ref());
    place.put_some("quota", producer.quota.as_ref());
    place.put_some("rx_rate", producer.rx_rate.as_ref());
    place.put_some("cache_ip", producer.cache_ip.map(truth));
    let mut copies = place.at("updaters");
    let updaters = producer.updaters.iter().filter_map(|name| group.updaters.iter().find(|u| u.name == *name));
    for (index, updater) in updaters.enumerate() {
        let mut place = copies.item(index);
        write_copy(updater, &mut place);
        if updater_of_copy(&group.updaters, updater).is_none_or(|found| found.name != updater.name) {
            place.put("name", updater.name.as_str());
        }
    }
}

/// A producer's copy of an updater: as the YAML has it, with times as written.
fn write_copy(updater: &Updater, place: &mut Place<'_>) {
    place.put("mode", updater.mode.word());
    place.put("interval", updater.interval.as_written());
    place.put_some("offset", updater.offset.as_ref().map(|offset| offset.as_written()));
    place.put_some("perm", updater.perm);
    if updater.producers != [".*"] {
        place.put_list("producers", &updater.producers);
    }
    write_sets(&updater.sets, &mut place.at("sets"));
}

fn write_updater(updater: &Updater, group_name: &Name, group: &AggregatorGroup, place: &mut Place<'_>) {
    place.put("name", updater.name.as_str());
    place.put("group", group_name.as_str());
    place.put("mode", updater.mode.word());
    place.put("interval", updater.interval.to_string());
    if !copies_tell_offset_of_zero(updater, group) {
        place.put_some("offset", updater.offset.as_ref());
    }
    place.put_some("perm", updater.perm);
    place.put_list("producers", &updater.producers);
    write_sets(&updater.sets, &mut place.at("sets"));
}

fn write_sets(sets: &[SetMatch], place: &mut Place<'_>) {
    for (index, SetMatch { regex, field }) in sets.iter().enumerate() {
        let mut place = place.item(index);
        place.put("regex", regex.as_str());
        place.put("field", field.word());
    }
}

fn write_store(store: &StoragePolicy, group: &Name, place: &mut Place<'_>) {
    place.put("name", store.name.as_str());
    place.put("daemons", group.as_str());
    place.put("plugin", store.plugin.as_str());
    place.put_some("container", store.container.as_ref());
    place.put_some("schema", store.schema.as_ref());
    place.put_some("regex", store.regex.as_ref());
    place.put_some("decomposition", store.decomposition.as_ref());
    place.put_some("flush", store.flush.as_ref().map(|flush| flush.as_written()));
    place.put_some("perm", store.perm);
}

fn write_listener(listener: &ProducerListener, place: &mut Place<'_>) {
    let ProducerListener { name, reconnect, regex, ip, options, endpoints } = listener;
    put_map(place, options);
    place.put_some("reconnect", reconnect.as_ref());
    place.put_some("regex", regex.as_ref());
    place.put_some("ip", ip.as_ref());
    if !endpoints.is_empty() {
        place.put("names", hostlist::fold(endpoints));
    }
    // A listener of which nothing is said still exists.
    if options.is_empty() && reconnect.is_none() && regex.is_none() && ip.is_none() && endpoints.is_empty() {
        place.put("name", name.as_str());
    }
}

fn write_samplers(cluster: &Cluster, root: &mut Place<'_>) {
    let owners = owners_of_endpoints(&cluster.daemons);
    for (name, group) in &cluster.samplers {
        let SamplerGroup { daemons, plugins, advertisers } = group;
        if let [advertiser] = advertisers.as_slice() {
            // The Python maestro looks here; it knows one advertiser a group.
            let mut place = root.at("advertisers");
            let mut place = place.at(name);
            write_advertiser(advertiser, &mut place);
            place.put_list("ad_list", &advertiser.daemons);
        }
        if is_all_in_advertisers(group, cluster.groups.get(name)) {
            continue;
        }
        let mut samplers = root.at("samplers");
        let mut place = samplers.at(name);
        let members = if members_of(name) == *daemons { name.to_string() } else { hostlist::fold(daemons) };
        place.put("daemons", members);
        place.put_list("plugins", plugins);
        let write = |advertiser: &Advertiser, place: &mut Place<'_>| {
            write_advertiser(advertiser, place);
            if advertising_daemons(&advertiser.names, daemons, &owners, &cluster.daemons) != advertiser.daemons {
                place.put("daemons", hostlist::fold(&advertiser.daemons));
            }
        };
        let mut place = place.at("advertise");
        if let [advertiser] = advertisers.as_slice() {
            write(advertiser, &mut place);
        } else {
            for (index, advertiser) in advertisers.iter().enumerate() {
                write(advertiser, &mut place.item(index));
            }
        }
    }
}

fn write_advertiser(advertiser: &Advertiser, place: &mut Place<'_>) {
    put_map(place, &advertiser.options);
    place.put("names", advertiser.names.as_str());
    place.put_some("reconnect", advertiser.reconnect.as_ref().map(|reconnect| reconnect.as_written()));
    let Some(first) = advertiser.targets.first() else { return };
    let address = |target: &crate::cluster::AdvertiserTarget| (target.port, target.xprt.clone(), target.auth.clone());
    if advertiser.targets.iter().all(|target| address(target) == address(first)) {
        let hosts: Vec<&str> = advertiser.targets.iter().map(|target| target.host.as_str()).collect();
        place.put("hosts", hostlist::fold(&hosts));
        place.put("port", first.port.to_string());
        place.put("xprt", first.xprt.as_str());
        write_auth(&first.auth, &mut place.at("auth"));
        return;
    }
    let mut list = place.at("to");
    for (index, target) in advertiser.targets.iter().enumerate() {
        let mut place = list.item(index);
        place.put("host", target.host.as_str());
        place.put("port", target.port.to_string());
        place.put("xprt", target.xprt.as_str());
        write_auth(&target.auth, &mut place.at("auth"));
    }
}

fn write_plugin(plugin: &Plugin, key: &Name, place: &mut Place<'_>) {
    place.put("name", plugin.plugin.as_str());
    place.put_some("instance", Some(&plugin.instance).filter(|instance| *instance != key));
    place.put_some("interval", plugin.interval.as_ref().map(|interval| interval.as_written()));
    place.put_some("offset", plugin.offset.as_ref().map(|offset| offset.as_written()));
    let mut configs = place.at("config");
    for (index, config) in plugin.config.iter().enumerate() {
        match config {
            PluginConfig::Line(line) => configs.put(&format!("{index:06}"), line.as_str()),
            // Nothing to say, but a configuration command all the same.
            PluginConfig::Attributes(attributes) if attributes.is_empty() => configs.put(&format!("{index:06}"), ""),
            PluginConfig::Attributes(attributes) => put_attributes(&mut configs.item(index), attributes),
        }
    }
}

/// An attribute with one value is a key with this value, a keyword one with an empty value.
fn put_attributes(place: &mut Place<'_>, attributes: &BTreeMap<String, Vec<String>>) {
    for (key, values) in attributes {
        match values.as_slice() {
            [] => place.put(key, ""),
            [value] if !value.is_empty() => place.put(key, value.as_str()),
            values => place.put_list(key, values),
        }
    }
}

fn put_map(place: &mut Place<'_>, map: &BTreeMap<String, String>) {
    for (key, value) in map {
        place.put(key, value.as_str());
    }
}

/// As Python writes it.
fn truth(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
