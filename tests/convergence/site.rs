//! Configurations of a small site, which differ in all that an operator may edit.

use std::fmt::Write;

use maestro::cluster::Cluster;
use maestro::spec::read_cluster;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// What an operator may edit.
#[derive(Debug, Clone)]
pub(crate) struct Edition {
    peers: usize,
    port: u16,
    reconnect: &'static str,
    rail: Option<u32>,
    /// What no daemon shows of a producer.
    unshown: &'static str,
    updaters: Vec<UpdaterEdition>,
    subscribes: bool,
    listener: Option<Option<&'static str>>,
    store: Option<StoreEdition>,
    /// The library, the interval and the offset of the instances `mem` and `net`.
    plugins: Vec<(&'static str, &'static str, &'static str)>,
    schema: &'static str,
    advertises: Option<&'static str>,
    environment: Option<&'static str>,
}

#[derive(Debug, Clone)]
struct UpdaterEdition {
    interval: &'static str,
    offset: Option<&'static str>,
    mode: &'static str,
    perm: Option<&'static str>,
    sets: Vec<(&'static str, &'static str)>,
}

#[derive(Debug, Clone)]
struct StoreEdition {
    library: &'static str,
    container: Option<&'static str>,
    selection: &'static str,
    flush: Option<&'static str>,
    perm: Option<&'static str>,
    path: &'static str,
}

/// The hosts of the site, of which `AGGREGATOR` and `SAMPLER` are looked at.
pub(crate) const HOSTS: [&str; 6] = ["node-1", "node-2", "node-3", "node-4", "agg-1", "agg-2"];
/// The daemon at `agg-1`.
pub(crate) const AGGREGATOR: &str = "aggregator-1";
/// The daemon at `node-1`.
pub(crate) const SAMPLER: &str = "sampler-1";

/// The host of a daemon.
pub(crate) fn host_of(daemon: &str) -> &'static str {
    if daemon == AGGREGATOR { "agg-1" } else { "node-1" }
}

pub(crate) fn edition() -> impl Strategy<Value = Edition> {
    let updater = (
        select(vec!["1s", "2s"]),
        select(vec![None, Some("0s"), Some("100ms")]),
        select(vec!["pull", "pull", "auto", "push", "onchange"]),
        select(vec![
            vec![],
            vec![(".*", "inst")],
            vec![("meminfo", "schema")],
            vec![("^node", "inst"), ("v", "schema")],
        ]),
        perm(),
    );
    let updater =
        updater.prop_map(|(interval, offset, mode, sets, perm)| UpdaterEdition { interval, offset, mode, sets, perm });
    let store = (
        select(vec!["store_csv", "store_sos"]),
        select(vec![None, Some("c1"), Some("c2")]),
        select(vec!["schema : meminfo", "schema : vmstat", "{ regex : '^m', decomposition : /d.json }"]),
        select(vec![None, Some("5s"), Some("10s")]),
        select(vec!["/one", "/two"]),
        perm(),
    );
    let store = store.prop_map(|(library, container, selection, flush, path, perm)| StoreEdition {
        library,
        container,
        selection: selection.trim_start_matches("{ ").trim_end_matches(" }"),
        flush,
        perm,
        path,
    });
    let plugin = (select(vec!["meminfo", "vmstat"]), select(vec!["1s", "2s"]), select(vec!["0s", "50ms"]));
    (
        (
            2_usize..=4,
            select(vec![10_002_u16, 10_003]),
            select(vec!["1s", "2s"]),
            option::of(1_u32..3),
            select(vec!["", "perm : '0750'", "perm : '0770'", "cache_ip : true"]),
        ),
        proptest::collection::vec(updater, 1..3),
        any::<bool>(),
        option::of(select(vec![None, Some("^node")])),
        option::of(store),
        proptest::collection::vec(plugin, 1..3),
        select(vec!["meminfo", "other"]),
        option::of(select(vec!["1s", "3s"])),
        select(vec![None, Some("A=1"), Some("A=2"), Some("B=1")]),
    )
        .prop_map(
            |(
                (peers, port, reconnect, rail, unshown),
                updaters,
                subscribes,
                listener,
                store,
                plugins,
                schema,
                advertises,
                environment,
            )| Edition {
                peers,
                port,
                reconnect,
                rail,
                unshown,
                updaters,
                subscribes,
                listener,
                store,
                plugins,
                schema,
                advertises,
                environment,
            },
        )
}

fn perm() -> impl Strategy<Value = Option<&'static str>> {
    select(vec![None, Some("0750"), Some("0770")])
}

impl Edition {
    pub(crate) fn cluster(&self) -> Cluster {
        let yaml = self.yaml();
        let (cluster, diagnostics) = read_cluster("site.yaml", &yaml);
        cluster.unwrap_or_else(|| panic!("{diagnostics:?}\n{yaml}"))
    }

    fn yaml(&self) -> String {
        let mut yaml = "daemons :\n".to_owned();
        let environment = self.environment.map(|words| words.replace('=', " : ")).unwrap_or_default();
        for (name, host, count, port) in [("sampler", "node", 4, self.port), ("aggregator", "agg", 2, 10_101)] {
            write!(
                yaml,
                r#"  - names : "{name}-[1-{count}]"
    hosts : "{host}-[1-{count}]"
    environment : {{ {environment} }}
    endpoints :
      - {{ names : "{host}-[1-{count}]-ep", ports : {port}, maestro_comm : true }}
      - {{ names : "{host}-[1-{count}]-more", ports : 20000, auth : {{ name : quiet, plugin : none }} }}
"#
            )
            .unwrap();
        }
        let (peers, reconnect) = (self.peers, self.reconnect);
        write!(
            yaml,
            r#"aggregators :
  - daemons : "aggregator-[1-2]"
    peers :
      - daemons : "sampler-[1-{peers}]"
        endpoints : "node-[1-{peers}]-ep"
        reconnect : {reconnect}
        type : active
{}        {}
        updaters :
"#,
            self.rail.map(|rail| format!("        rail : {rail}\n")).unwrap_or_default(),
            self.unshown
        )
        .unwrap();
        for updater in &self.updaters {
            let offset = updater.offset.map(|offset| format!(", offset : {offset}")).unwrap_or_default();
            let sets: Vec<String> =
                updater.sets.iter().map(|(regex, field)| format!("{{ regex : '{regex}', field : {field} }}")).collect();
            let (interval, mode, sets) = (updater.interval, updater.mode, sets.join(", "));
            let perm = updater.perm.map(|perm| format!(", perm : '{perm}'")).unwrap_or_default();
            writeln!(yaml, "          - {{ interval : {interval}{offset}{perm}, mode : {mode}, sets : [ {sets} ] }}")
                .unwrap();
        }
        if self.subscribes {
            yaml.push_str("    subscribe : [ { stream : s, regex : '.*' }, { message_tag : t } ]\n");
        }
        if let Some(regex) = self.listener {
            let regex = regex.map(|regex| format!(", regex : '{regex}'")).unwrap_or_default();
            writeln!(yaml, "    prdcr_listen : [ {{ name : listen, reconnect : 1s{regex} }} ]").unwrap();
        }
        yaml.push_str("samplers :\n  - daemons : \"sampler-[1-4]\"\n    plugins : [ mem, net ]\n");
        if let Some(reconnect) = self.advertises {
            let what = "{ names : \"sampler-[1-4]\", hosts : \"agg-[1-2]\", port : 10101, auth : { name : quiet, plugin : none }, reconnect : ";
            writeln!(yaml, "    advertise : {what}{reconnect} }}").unwrap();
        }
        yaml.push_str("plugins :\n");
        for (instance, number) in [("mem", 0), ("net", 1)] {
            let (library, interval, offset) = self.plugins[number.min(self.plugins.len() - 1)];
            let schema = self.schema;
            writeln!(
                yaml,
                "  {instance} : {{ name : {instance}, plugin : {library}, interval : {interval}, offset : {offset}, \
                 config : [ {{ schema : {schema} }} ] }}"
            )
            .unwrap();
        }
        if let Some(store) = &self.store {
            let StoreEdition { library, path, selection, .. } = store;
            let container = store.container.map(|container| format!("    container : {container}\n"));
            let flush = store.flush.map(|flush| format!("    flush : {flush}\n"));
            let perm = store.perm.map(|perm| format!("    perm : '{perm}'\n"));
            let selection: String = selection.split(", ").map(|line| format!("    {line}\n")).collect();
            write!(
                yaml,
                "  csv : {{ name : csv, plugin : {library}, config : [ {{ path : {path} }} ] }}\n\
                 stores :\n  policy :\n    daemons : \"aggregator-[1-2]\"\n    plugin : csv\n{}{}{}{selection}",
                container.unwrap_or_default(),
                flush.unwrap_or_default(),
                perm.unwrap_or_default()
            )
            .unwrap();
        }
        yaml
    }
}
