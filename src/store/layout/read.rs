//! Keys and values as a cluster.

use std::collections::BTreeMap;

use super::cursor::Cursor;
use super::foundation::{Foundation, check_daemons};
use super::{GroupsOfDaemons, advertising_daemons, owners_of_endpoints, updater_of_copy};
use crate::cluster::{
    Advertiser, AdvertiserTarget, AggregatorGroup, AuthDomain, Cluster, Daemon, Endpoint, MatchField, Plugin,
    PluginConfig, Producer, ProducerKind, ProducerListener, SamplerGroup, SetMatch, StoragePolicy, Subscription,
    SubscriptionSource, Updater, UpdaterMode,
};
use crate::notation::{Interval, Name};
use crate::spec::plugins::PluginTable;
use crate::store::tree::{self, Tree, TreeError};

/// Why keys and values are no cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The keys are no tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A key that must be there is not.
    #[error("the key `{key}` is missing")]
    Missing {
        /// The key, without the prefix of the cluster.
        key: String,
    },
    /// A value that cannot be.
    #[error("`{key}`: {message}")]
    Invalid {
        /// The key, without the prefix of the cluster.
        key: String,
        /// What is wrong with the value.
        message: String,
    },
}

/// Reads a cluster as [`super::write()`] lays it out, or either version of the Python maestro.
///
/// Sections that are not of the layout (`last_updated`) are ignored.
///
/// # Errors
///
/// [`LayoutError`] for the first key that is missing or has a value that cannot be, references to daemons, endpoints
/// and plugins that are not there included.
pub fn read(tree: &Tree) -> Result<Cluster, LayoutError> {
    let node = tree::unflatten(tree)?;
    let root = Cursor::root(&node);
    let foundation = Foundation::read(&root)?;
    complete(foundation, &root)
}

/// Reads the rest of a cluster.
pub(super) fn complete(foundation: Foundation, root: &Cursor<'_>) -> Result<Cluster, LayoutError> {
    let Foundation { mut daemons, ungrouped, mut groups } = foundation;
    let mut plugins = BTreeMap::new();
    for (key, place) in root.at("plugins").named() {
        plugins.insert(key.clone(), read_plugin(&place, &key, "instance")?);
    }
    let mut plugins = PluginTable::new(plugins);
    let mut samplers = read_samplers(&root.at("samplers"), &daemons, &mut plugins)?;
    read_advertising_aggregators(&root.at("advertisers"), &groups, &mut samplers)?;
    read_plugins_of_aggregators(&root.at("aggregators"), &mut groups, &mut plugins)?;
    read_stores(&root.at("stores"), &mut groups, &mut plugins)?;

    if !ungrouped.is_empty() {
        let groups_of_daemons = GroupsOfDaemons::new(&groups, &samplers);
        for name in ungrouped {
            if let Some(daemon) = daemons.get_mut(&name) {
                daemon.group = groups_of_daemons.of(&name);
            }
        }
    }
    for (name, group) in &samplers {
        check_daemons(&daemons, &group.daemons, root.at("samplers").at(name))?;
    }
    for section in ["producers", "updaters", "stores", "prdcr_listeners"] {
        if let Some((name, place)) = root.at(section).named().find(|(name, _)| !groups.contains_key(name)) {
            return Err(place.invalid(format!("there is no group of aggregators `{name}`")));
        }
    }
    Ok(Cluster { daemons, groups, samplers, plugins: plugins.into_plugins() })
}

/// The daemons, and the names of those whose group is not written.
pub(super) fn read_daemons(section: &Cursor<'_>) -> Result<(BTreeMap<Name, Daemon>, Vec<Name>), LayoutError> {
    let mut daemons = BTreeMap::new();
    let mut ungrouped = Vec::new();
    for (name, place) in section.named() {
        if place.at("addr").leaf().is_some() {
            let group = match place.text("group") {
                Some(group) => group.into(),
                None => {
                    ungrouped.push(name.clone());
                    name.clone()
                }
            };
            daemons.insert(name.clone(), read_daemon(&place, name, group)?);
        } else {
            // The layout of 2024: the name is the hostlist of a group.
            for (daemon, place) in place.named() {
                daemons.insert(daemon.clone(), read_daemon(&place, daemon, name.clone())?);
            }
        }
    }
    Ok((daemons, ungrouped))
}

fn read_daemon(place: &Cursor<'_>, name: Name, group: Name) -> Result<Daemon, LayoutError> {
    let mut endpoints = Vec::new();
    for (name, place) in place.at("endpoints").named() {
        endpoints.push(Endpoint {
            name,
            host: place.text("host"),
            port: place.port("port")?,
            xprt: place.text("xprt").unwrap_or_else(|| "sock".into()),
            maestro_comm: place.boolean("maestro_comm")?.unwrap_or(false),
            auth: read_auth(&place.at("auth")),
            bind_all: place.boolean("bind_all")?.unwrap_or(false),
        });
    }
    endpoints.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Daemon {
        name,
        host: place.required("addr")?,
        group,
        endpoints,
        environment: place.at("environment").map_except(&[]),
        stream_enable: place.boolean("stream_enable")?,
        msg_enable: place.boolean("msg_enable")?,
        options: read_options(&place.at("cli_opt")),
    })
}

/// The Python maestro writes several parameters of an option one step deeper.
fn read_options(place: &Cursor<'_>) -> BTreeMap<String, String> {
    let mut options = place.map_except(&[]);
    for (option, place) in place.children().filter(|(_, place)| place.leaf().is_none()) {
        let parameters = place.map_except(&[]);
        let words: Vec<String> = parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
        options.insert(option.to_owned(), words.join(" "));
    }
    options
}

fn read_auth(place: &Cursor<'_>) -> AuthDomain {
    let (name, plugin) = (place.text("name"), place.text("plugin"));
    let Some(plugin) = plugin.or(name.clone()) else { return AuthDomain::none() };
    let mut options = place.map_except(&["name", "plugin"]);
    // Options may lie below `conf`.
    options.extend(place.at("conf").map_except(&[]));
    AuthDomain { name: name.unwrap_or_else(|| plugin.clone()).into(), plugin, options }
}

/// The groups of aggregators without their plugins and stores.
pub(super) fn read_groups(root: &Cursor<'_>) -> Result<BTreeMap<Name, AggregatorGroup>, LayoutError> {
    let mut groups = BTreeMap::new();
    for (name, place) in root.at("aggregators").named() {
        let mut aggregators: Vec<Name> = place.named().map(|(aggregator, _)| aggregator).collect();
        aggregators.sort();
        if aggregators.is_empty() {
            return Err(place.invalid("a group of aggregators needs daemons"));
        }
        // Every aggregator of a group has the same subscriptions.
        let subscriptions = match place.children().next() {
            Some((_, first)) => read_subscriptions(&first.at("subscribe"))?,
            None => Vec::new(),
        };
        let mut updaters = Vec::new();
        for (updater, place) in root.at("updaters").at(&name).named() {
            updaters.push(read_updater(&place, updater)?);
        }
        updaters.sort_by(|a: &Updater, b| a.name.cmp(&b.name));
        let mut listeners: BTreeMap<Name, ProducerListener> = BTreeMap::new();
        for (listener, place) in root.at("prdcr_listeners").at(&name).named() {
            listeners.insert(listener.clone(), read_listener(&place, listener)?);
        }
        let producers = root.at("producers").at(&name);
        let (producers, advertised) = read_producers(&producers, &mut updaters)?;
        if let Some(listener) = listeners.values_mut().next() {
            listener.endpoints.extend(advertised);
        }
        let group = AggregatorGroup {
            aggregators,
            producers,
            updaters,
            listeners,
            subscriptions,
            stores: BTreeMap::new(),
            plugins: Vec::new(),
        };
        groups.insert(name, group);
    }
    Ok(groups)
}

fn read_subscriptions(list: &Cursor<'_>) -> Result<Vec<Subscription>, LayoutError> {
    let mut subscriptions = Vec::new();
    for (_, place) in list.children() {
        let source = if let Some(stream) = place.text("stream") {
            SubscriptionSource::Stream(stream)
        } else if let Some(tag) = place.text("message_tag").or_else(|| place.text("msg_tag")) {
            SubscriptionSource::MessageTag(tag)
        } else {
            SubscriptionSource::MessageChannel(place.required("message_channel")?)
        };
        let regex = place.text("regex").unwrap_or_else(|| ".*".into());
        subscriptions.push(Subscription { source, regex, rx_rate: place.text("rx_rate") });
    }
    Ok(subscriptions)
}

/// The producers of a group, and the endpoints that are expected to advertise themselves, which the Python program keeps
/// among them. Their copies of updaters tell which updaters are theirs, and which of these have an offset of zero where
/// the Python maestro wrote none.
fn read_producers(
    section: &Cursor<'_>,
    updaters: &mut [Updater],
) -> Result<(BTreeMap<Name, Producer>, Vec<Name>), LayoutError> {
    let mut producers = BTreeMap::new();
    let mut advertised = Vec::new();
    for (name, place) in section.named() {
        if place.text("type").is_some_and(|kind| kind.eq_ignore_ascii_case("advertised")) {
            advertised.push(place.text("endpoint").map_or(name, Name::from));
            continue;
        }
        let mut theirs = Vec::new();
        for (_, copy) in place.at("updaters").children() {
            if let Some(updater) = copy.text("name") {
                theirs.push(Name::from(updater));
                continue;
            }
            let copied = read_updater(&copy, Name::from(""))?;
            let updater = updater_of_copy(updaters, &copied).map(|updater| updater.name.clone());
            let updater = updater.ok_or_else(|| copy.invalid("is no copy of an updater of the group"))?;
            if let Some(updater) = updaters.iter_mut().find(|candidate| candidate.name == updater) {
                updater.offset = copied.offset;
            }
            theirs.push(updater);
        }
        let producer = Producer {
            name: name.clone(),
            daemon: place.required("daemon")?.into(),
            daemon_group: place.required("dmn_grp")?.into(),
            endpoint: place.text("endpoint").map_or_else(|| name.clone(), Name::from),
            kind: read_kind(&place)?,
            reconnect: place.interval("reconnect")?.unwrap_or_else(|| Interval::from_us(0)),
            perm: place.permission("perm")?,
            rail: place.text("rail"),
            // `credits` is the former name.
            quota: place.text("quota").or_else(|| place.text("credits")),
            rx_rate: place.text("rx_rate"),
            cache_ip: place.boolean("cache_ip")?,
            updaters: theirs,
        };
        producers.insert(name, producer);
    }
    Ok((producers, advertised))
}

fn read_kind(place: &Cursor<'_>) -> Result<ProducerKind, LayoutError> {
    let Some(word) = place.text("type") else { return Ok(ProducerKind::Active) };
    let kinds = [ProducerKind::Active, ProducerKind::Passive, ProducerKind::Bridge];
    let kind = kinds.into_iter().find(|kind| kind.word().eq_ignore_ascii_case(&word));
    kind.ok_or_else(|| place.at("type").invalid(format!("`{word}` is no type of producer")))
}

/// An updater, or a producer's copy of one.
fn read_updater(place: &Cursor<'_>, name: Name) -> Result<Updater, LayoutError> {
    let mode = match place.text("mode").as_deref() {
        None | Some("pull") => UpdaterMode::Pull,
        Some("auto" | "auto_interval") => UpdaterMode::Auto,
        Some("push") => UpdaterMode::Push,
        Some("onchange") => UpdaterMode::OnChange,
        Some(word) => return Err(place.at("mode").invalid(format!("`{word}` is no mode of an updater"))),
    };
    let interval = place.interval("interval")?;
    let mut producers: Vec<String> = texts(&place.at("producers"), "regex");
    if producers.is_empty() {
        producers.push(".*".into());
    }
    let mut sets = Vec::new();
    for (_, place) in place.at("sets").children() {
        let field = match place.text("field").as_deref() {
            Some("schema") => MatchField::Schema,
            _ => MatchField::Instance,
        };
        sets.push(SetMatch { regex: place.required("regex")?, field });
    }
    Ok(Updater {
        name,
        mode,
        interval: interval.ok_or_else(|| place.invalid("an updater needs `interval`"))?,
        offset: place.interval("offset")?,
        perm: place.permission("perm")?,
        producers,
        sets,
    })
}

/// The values of a list, whose items may be branches with the value below `step`; or the one value in its place.
fn texts(list: &Cursor<'_>, step: &str) -> Vec<String> {
    if let Some(text) = list.leaf() {
        return vec![text.to_owned()];
    }
    let items = list.children().map(|(_, item)| item.leaf().map(str::to_owned).or_else(|| item.text(step)));
    items.flatten().collect()
}

fn read_listener(place: &Cursor<'_>, name: Name) -> Result<ProducerListener, LayoutError> {
    Ok(ProducerListener {
        name,
        reconnect: place.interval("reconnect")?,
        regex: place.text("regex"),
        ip: place.text("ip"),
        options: place.map_except(&["name", "names", "reconnect", "regex", "ip"]),
        endpoints: place.names("names")?,
    })
}

fn read_samplers(
    section: &Cursor<'_>,
    daemons: &BTreeMap<Name, Daemon>,
    plugins: &mut PluginTable,
) -> Result<BTreeMap<Name, SamplerGroup>, LayoutError> {
    let owners = owners_of_endpoints(daemons);
    // By name, as people count: the order in which plugins that are defined in place get their keys.
    let places: BTreeMap<Name, Cursor<'_>> = section.named().collect();
    let mut groups = BTreeMap::new();
    for (name, place) in places {
        let mut members = match place.names("daemons")? {
            members if members.is_empty() => super::members_of(&name),
            members => members,
        };
        members.sort();
        members.dedup();
        if members.is_empty() {
            return Err(place.invalid("a group of samplers needs `daemons`"));
        }
        let advertise = place.at("advertise");
        let entries: Vec<Cursor<'_>> = if advertise.at("names").exists() {
            vec![advertise]
        } else {
            advertise.children().map(|(_, entry)| entry).collect()
        };
        let mut advertisers = Vec::new();
        for entry in entries {
            let names = entry.required("names")?;
            let advertising = match entry.names("daemons")? {
                advertising if advertising.is_empty() => advertising_daemons(&names, &members, &owners, daemons),
                advertising => advertising,
            };
            advertisers.push(read_advertiser(&entry, names, advertising)?);
        }
        let plugins = read_plugin_uses(&place.at("plugins"), &members, plugins)?;
        groups.insert(name, SamplerGroup { daemons: members, plugins, advertisers });
    }
    Ok(groups)
}

/// The groups of aggregators that advertise themselves.
fn read_advertising_aggregators(
    section: &Cursor<'_>,
    groups: &BTreeMap<Name, AggregatorGroup>,
    samplers: &mut BTreeMap<Name, SamplerGroup>,
) -> Result<(), LayoutError> {
    for (name, place) in section.named() {
        let Some(group) = groups.get(&name).filter(|_| !samplers.contains_key(&name)) else { continue };
        let mut advertising: Vec<Name> = texts(&place.at("ad_list"), "name").into_iter().map(Name::from).collect();
        advertising.sort();
        let advertiser = read_advertiser(&place, place.required("names")?, advertising)?;
        let daemons = group.aggregators.clone();
        samplers.insert(name, SamplerGroup { daemons, plugins: Vec::new(), advertisers: vec![advertiser] });
    }
    Ok(())
}

fn read_advertiser(place: &Cursor<'_>, names: String, daemons: Vec<Name>) -> Result<Advertiser, LayoutError> {
    let target = |place: &Cursor<'_>, host: String| {
        let xprt = place.text("xprt").unwrap_or_else(|| "sock".into());
        Ok::<_, LayoutError>(AdvertiserTarget {
            host,
            port: place.port("port")?,
            xprt,
            auth: read_auth(&place.at("auth")),
        })
    };
    let mut targets = Vec::new();
    for host in place.names("hosts")? {
        targets.push(target(place, host.to_string())?);
    }
    for (_, to) in place.at("to").children() {
        targets.push(target(&to, to.required("host")?)?);
    }
    Ok(Advertiser {
        names,
        daemons,
        targets,
        reconnect: place.interval("reconnect")?,
        options: place.map_except(&["names", "daemons", "hosts", "port", "xprt", "reconnect"]),
    })
}

/// Plugins where they are used: keys of the section `plugins`, or defined in place.
fn read_plugin_uses(list: &Cursor<'_>, daemons: &[Name], plugins: &mut PluginTable) -> Result<Vec<Name>, LayoutError> {
    list.children().map(|(_, place)| read_plugin_use(&place, daemons, plugins)).collect()
}

fn read_plugin_use(place: &Cursor<'_>, daemons: &[Name], plugins: &mut PluginTable) -> Result<Name, LayoutError> {
    match place.leaf().map(Name::from) {
        Some(key) if plugins.use_named(&key, daemons) => Ok(key),
        Some(key) => Err(place.invalid(format!("there is no plugin `{key}`"))),
        None => {
            let name = Name::from(place.required("name")?);
            Ok(plugins.add_inline(read_plugin(place, &name, "name")?, daemons))
        }
    }
}

/// A plugin; its instance is what `instance_step` holds, else its key.
fn read_plugin(place: &Cursor<'_>, key: &Name, instance_step: &str) -> Result<Plugin, LayoutError> {
    let instance = place.text(instance_step).map_or_else(|| key.clone(), Name::from);
    let configs = place.at("config");
    let config = match configs.leaf() {
        Some(line) => vec![PluginConfig::Line(line.into())],
        None => configs.children().map(|(_, item)| read_config(&item)).collect(),
    };
    Ok(Plugin {
        plugin: place.text("plugin").or(place.text("name")).unwrap_or_else(|| instance.to_string()),
        instance,
        interval: place.interval("interval")?,
        offset: place.interval("offset")?,
        config,
    })
}

fn read_config(place: &Cursor<'_>) -> PluginConfig {
    match place.leaf() {
        Some("") => PluginConfig::Attributes(BTreeMap::new()),
        Some(line) => PluginConfig::Line(line.into()),
        None => {
            let attributes = place.children().map(|(key, place)| (key.to_owned(), read_attribute(&place)));
            PluginConfig::Attributes(attributes.collect())
        }
    }
}

fn read_attribute(place: &Cursor<'_>) -> Vec<String> {
    match place.leaf() {
        Some("") => Vec::new(),
        Some(value) => vec![value.to_owned()],
        None => place.children().filter_map(|(_, item)| item.leaf().map(str::to_owned)).collect(),
    }
}

fn read_plugins_of_aggregators(
    section: &Cursor<'_>,
    groups: &mut BTreeMap<Name, AggregatorGroup>,
    plugins: &mut PluginTable,
) -> Result<(), LayoutError> {
    for (name, group) in groups {
        // Every aggregator of a group has the same plugins.
        let place = section.at(name);
        if let Some((_, first)) = place.children().next() {
            group.plugins = read_plugin_uses(&first.at("plugins"), &group.aggregators, plugins)?;
        }
    }
    Ok(())
}

fn read_stores(
    section: &Cursor<'_>,
    groups: &mut BTreeMap<Name, AggregatorGroup>,
    plugins: &mut PluginTable,
) -> Result<(), LayoutError> {
    for (name, group) in groups {
        let stores: BTreeMap<Name, Cursor<'_>> = section.at(name).named().collect();
        for (store, place) in stores {
            let policy = StoragePolicy {
                name: store.clone(),
                plugin: read_plugin_use(&place.at("plugin"), &group.aggregators, plugins)?,
                container: place.text("container"),
                schema: place.text("schema"),
                regex: place.text("regex"),
                decomposition: place.text("decomposition").or_else(|| place.text("decomp")),
                flush: place.interval("flush")?,
                perm: place.permission("perm")?,
            };
            group.stores.insert(store, policy);
        }
    }
    Ok(())
}
