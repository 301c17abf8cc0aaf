//! Reading LDMS YAML in its three dialects, as the recorded cases and the user's example have it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use maestro::cluster::{Cluster, PluginConfig, ProducerKind, SubscriptionSource, UpdaterMode};
use maestro::notation::Name;
use maestro::spec::{Severity, read_cluster_with};
use maestro::store::layout;
use proptest::prelude::*;

fn fixture(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Reads a file as on a host that has all the secret files; not even a warning is expected.
#[track_caller]
fn read(path: &str) -> Cluster {
    let (cluster, diagnostics) = read_cluster_with(path, &fixture(path), &|_| true);
    let printed: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    assert!(printed.is_empty(), "{}", printed.join("\n"));
    cluster.unwrap_or_else(|| panic!("no cluster"))
}

fn names<'n>(names: impl IntoIterator<Item = &'n Name>) -> Vec<&'n str> {
    names.into_iter().map(Name::as_str).collect()
}

#[test]
fn every_reference_configuration_is_read_as_it_stands() {
    let cases = fs::read_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reference")).unwrap();
    let mut count = 0;
    for case in cases {
        let case = case.unwrap();
        if !case.file_type().unwrap().is_dir() {
            continue;
        }
        let case = case.file_name().into_string().unwrap();
        let cluster = read(&format!("reference/{case}/input.yaml"));
        assert!(cluster.daemons.len() >= 6, "{case}");
        count += 1;
    }
    assert_eq!(count, 13);
}

#[test]
fn the_users_example_pairs_names_hosts_and_endpoints_as_people_count() {
    let cluster = read("user-example/ldms.yaml");
    assert_eq!(cluster.daemons.len(), 15);
    for number in 1..=10 {
        let daemon = &cluster.daemons[&Name::from(format!("sampler-{number}"))];
        assert_eq!(daemon.host, format!("node-{number}"));
        assert_eq!(daemon.group, "sampler-[1-10]");
        let [control, data] = daemon.endpoints.as_slice() else { panic!("two endpoints: {daemon:?}") };
        assert_eq!((control.name.as_str(), control.port), (format!("node-{number}-10002").as_str(), 10002));
        assert_eq!((data.name.as_str(), data.xprt.as_str()), (format!("node-{number}-10002/rdma").as_str(), "rdma"));
        assert_eq!(daemon.control_endpoint(), Some(control));
        assert_eq!(control.auth.options["conf"], "/opt/ovis/maestro/secret.conf");
    }
}

#[test]
fn the_users_samplers_advertise_and_so_are_no_active_producers() {
    let cluster = read("user-example/ldms.yaml");
    let first = &cluster.groups[&Name::from("l1-aggs-[11-14]")];
    assert!(first.producers.is_empty());
    assert_eq!(first.updaters[0].name, "updtr_0");
    assert_eq!(first.updaters[0].interval.us(), Some(1_000_000));
    let listener = &first.listeners[&Name::from("listen_0")];
    assert_eq!(listener.reconnect.as_ref().and_then(|interval| interval.us()), Some(20_000_000));
    assert_eq!(listener.endpoints.len(), 10);
    assert_eq!(first.subscriptions[0].source, SubscriptionSource::Stream("kokkos-perf-data".into()));
    assert_eq!(first.subscriptions[0].rx_rate.as_deref(), Some("-1"));

    let second = &cluster.groups[&Name::from("l2-agg")];
    assert_eq!(names(second.producers.keys()), ["node-11-10101", "node-12-10101", "node-13-10101", "node-14-10101"]);
    let producer = &second.producers[&Name::from("node-12-10101")];
    assert_eq!((producer.daemon.as_str(), producer.kind), ("l1-aggs-12", ProducerKind::Active));
    assert_eq!(names(&producer.updaters), ["updtr_1"]);

    let samplers = &cluster.samplers[&Name::from("sampler-[1-10]")];
    let [advertiser] = samplers.advertisers.as_slice() else { panic!("one advertiser") };
    assert_eq!(advertiser.names, "node-[1-10]-[10002]");
    assert_eq!(advertiser.daemons, samplers.daemons);
    let hosts: Vec<&str> = advertiser.targets.iter().map(|target| target.host.as_str()).collect();
    assert_eq!(hosts, ["node-11", "node-12", "node-13", "node-14"]);
    assert!(advertiser.targets.iter().all(|target| target.port == 10101 && target.auth.plugin == "munge"));
}

#[test]
fn the_users_plugins_are_taken_as_written() {
    let cluster = read("user-example/ldms.yaml");
    assert_eq!(names(cluster.plugins.keys()), ["meminfo", "procstat", "store_csv", "store_sos", "vmstat"]);
    let meminfo = &cluster.plugins[&Name::from("meminfo")];
    let [PluginConfig::Attributes(attributes)] = meminfo.config.as_slice() else { panic!("{meminfo:?}") };
    assert_eq!(attributes["perm"], ["0o777"], "not parsed: ldmsd reads it");
    assert_eq!(attributes["instance"], ["${HOSTNAME}/meminfo"]);
    let vmstat = &cluster.plugins[&Name::from("vmstat")];
    assert!(matches!(vmstat.config.as_slice(), [PluginConfig::Line(line)] if line.starts_with("schema=vmstat ")));
    let stores = &cluster.groups[&Name::from("l2-agg")].stores;
    let plugins: Vec<&str> = stores.values().map(|store| store.plugin.as_str()).collect();
    assert_eq!(names(stores.keys()), ["csv", "sos-meminfo", "sos-procstat", "sos-vmstat"]);
    assert_eq!(plugins, ["store_csv", "store_sos", "store_sos", "store_sos"]);
}

#[test]
fn peers_without_daemons_find_them_by_their_endpoints() {
    let cluster = read("reference/readme/input.yaml");
    let group = &cluster.groups[&Name::from("l1-agg-[11-13]")];
    let producer = &group.producers[&Name::from("node-3-10002")];
    assert_eq!((producer.daemon.as_str(), producer.daemon_group.as_str()), ("sampler-3", "sampler-[1-8]"));
    assert_eq!(producer.quota.as_deref(), Some("-1"), "`credits` is the former name of `quota`");
}

#[test]
fn updaters_are_numbered_over_the_whole_file() {
    let cluster = read("reference/two-groups-current/input.yaml");
    let of = |group: &str| -> Vec<String> {
        cluster.groups[&Name::from(group)].updaters.iter().map(|updater| updater.name.to_string()).collect()
    };
    assert_eq!(of("agg-a-[1-2]"), ["updtr_0"]);
    assert_eq!(of("agg-b-[1-2]"), ["updtr_1"]);
    assert_eq!(of("top"), ["updtr_2", "updtr_3"]);
}

/// Reads a cluster of `sampler-[1-4]` and `agg-[1-2]` with further sections.
#[track_caller]
fn read_small(sections: &str) -> Cluster {
    let text = format!("{SMALL}{sections}");
    let (cluster, diagnostics) = read_cluster_with("small.yaml", &text, &|_| true);
    let printed: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    assert!(printed.is_empty(), "{}", printed.join("\n"));
    cluster.unwrap_or_else(|| panic!("no cluster"))
}

const SMALL: &str = "
daemons:
  - names: sampler-[1-4]
    hosts: node-[1-2]
    endpoints:
      - { names: 'sampler-[1-4]-ep[1-2]', ports: '[10001-10004]', maestro_comm: true }
    environment: { A: 1, EMPTY: }
    metric_sets_default_authz: { uid: 0, perm: rw-r--r-- }
    memory: 2GB
  - names: agg-[1-2]
    hosts: node-9
    endpoints:
      - { names: 'agg-[1-2]-ep', ports: '[1-2]', hosts: 'node-9-[1-2]' }
";

#[test]
fn fewer_hosts_and_more_endpoints_than_daemons_are_shared_in_blocks() {
    let cluster = read_small("");
    let hosts: Vec<&str> = cluster.daemons.values().map(|daemon| daemon.host.as_str()).collect();
    assert_eq!(hosts, ["node-9", "node-9", "node-1", "node-1", "node-2", "node-2"]);
    let third = &cluster.daemons[&Name::from("sampler-3")];
    let endpoints: Vec<(&str, u16)> =
        third.endpoints.iter().map(|endpoint| (endpoint.name.as_str(), endpoint.port)).collect();
    assert_eq!(endpoints, [("sampler-3-ep1", 10001), ("sampler-3-ep2", 10002)]);
    let second = &cluster.daemons[&Name::from("agg-2")];
    assert_eq!(second.host_of(&second.endpoints[0]), "node-9-2");
    assert_eq!(second.control_endpoint(), None);
}

#[test]
fn daemons_take_any_option_of_ldmsd() {
    let cluster = read_small("");
    let daemon = &cluster.daemons[&Name::from("sampler-1")];
    assert_eq!(daemon.options["memory"], "2GB");
    assert_eq!(daemon.options["metric_sets_default_authz"], "perm=0644 uid=0");
    assert_eq!(daemon.environment.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["A=1"]);
}

#[test]
fn updaters_are_written_in_several_ways() {
    let cluster = read_small(
        "
aggregators:
  - daemons: 'agg-[1,2]'
    peers:
      endpoints: 'sampler-[1-2,4]-ep1,sampler-3-ep1'
      reconnect: 2s
      updaters:
        - { interval: 1s, mode: auto_interval, producers: [ a.*, { regex: b.* } ] }
        - { interval: 1s, push: onchange, sets: { regex: mem, field: schema } }
        - { interval: 1s, push: true, offset: -10ms, perm: rw-r-----, producers: c.* }
        - { interval: \"${I}\", sets: [ x.* ] }
",
    );
    let group = &cluster.groups[&Name::from("agg-[1,2]")];
    assert_eq!(group.producers.len(), 4);
    assert_eq!(names(&group.aggregators), ["agg-1", "agg-2"]);
    let modes: Vec<UpdaterMode> = group.updaters.iter().map(|updater| updater.mode).collect();
    assert_eq!(modes, [UpdaterMode::Auto, UpdaterMode::OnChange, UpdaterMode::Push, UpdaterMode::Pull]);
    let producers: Vec<&[String]> = group.updaters.iter().map(|updater| updater.producers.as_slice()).collect();
    assert_eq!(
        producers,
        [["a.*", "b.*"].map(String::from).as_slice(), &[".*".into()], &["c.*".into()], &[".*".into()]]
    );
    assert_eq!(group.updaters[2].perm.map(|perm| perm.to_string()).as_deref(), Some("0640"));
    assert_eq!(group.updaters[2].offset.as_ref().and_then(|offset| offset.us()), Some(-10_000));
    assert_eq!(group.updaters[3].interval.to_string(), "${I}");
}

#[test]
fn different_inline_plugins_of_one_name_have_keys_of_their_own() {
    let cluster = read_small(
        "
samplers:
  - daemons: sampler-[3-4]
    plugins: [ { name: meminfo, interval: 2s } ]
  - daemons: sampler-[1-2]
    plugins: [ { name: meminfo, interval: 1s }, { name: meminfo, interval: 5s, config: schema=slow } ]
  - daemons: agg-1
    plugins: [ { name: meminfo, interval: 1000ms } ]
",
    );
    let plugins: Vec<(&str, &str, &str)> = cluster
        .plugins
        .iter()
        .map(|(key, plugin)| (key.as_str(), plugin.instance.as_str(), plugin.interval.as_ref().unwrap().as_written()))
        .collect();
    // In the order of the groups' names, whatever the order of the file: agg-1, then sampler-[1-2], then sampler-[3-4].
    assert_eq!(
        plugins,
        [("meminfo", "meminfo", "1000ms"), ("meminfo@2", "meminfo@2", "5s"), ("meminfo@3", "meminfo", "2s")]
    );
    let of = |group: &str| names(&cluster.samplers[&Name::from(group)].plugins);
    assert_eq!(of("agg-1"), ["meminfo"]);
    assert_eq!(of("sampler-[1-2]"), ["meminfo", "meminfo@2"]);
    assert_eq!(of("sampler-[3-4]"), ["meminfo@3"]);
}

#[test]
fn endpoints_that_advertise_are_collected_from_only_by_groups_that_do_not_listen() {
    let sections = "
aggregators:
  - daemons: agg-[1-2]
    LISTEN
    peers:
      - { endpoints: 'sampler-[1-4]-ep1', reconnect: 1s }
samplers:
  - daemons: sampler-[1-4]
    plugins: [ { name: meminfo, interval: 1s } ]
    advertise: { names: 'sampler-[1-2]', hosts: 'node-9-[1-2]', port: 1, reconnect: 1s }
";
    let group = Name::from("agg-[1-2]");
    let deaf = read_small(&sections.replace("LISTEN", ""));
    assert_eq!(deaf.groups[&group].producers.len(), 4);
    let listening = read_small(&sections.replace("LISTEN", "prdcr_listen: [ { name: l } ]"));
    assert_eq!(names(listening.groups[&group].producers.keys()), ["sampler-3-ep1", "sampler-4-ep1"]);
    // Also when the group listens in an entry of its own.
    let twice = sections
        .replace("LISTEN", "")
        .replace("samplers:\n", "  - { daemons: 'agg-[1-2]', prdcr_listen: { name: l } }\nsamplers:\n");
    assert_eq!(names(read_small(&twice).groups[&group].producers.keys()), ["sampler-3-ep1", "sampler-4-ep1"]);
    let expecting = read_small(&sections.replace("LISTEN", "prdcr_listen: [ { names: sampler-3-ep1 } ]"));
    assert_eq!(names(expecting.groups[&group].producers.keys()), ["sampler-4-ep1"]);
}

#[test]
fn peers_may_say_that_their_endpoints_advertise_themselves() {
    let cluster = read_small(
        "
aggregators:
  - daemons: agg-[1-2]
    peers:
      - { endpoints: 'sampler-[1-4]-ep1', reconnect: 1s, type: advertised, updaters: [ { interval: 1s } ] }
      - { endpoints: 'sampler-1-ep2', reconnect: 1s, type: bridge }
  - daemons: agg-[1-2]
    prdcr_listen: { name: l, type: active, advertiser_xprt: sock, advertiser_port: 1, reconnect: 1s, auth: { name: x } }
",
    );
    let group = &cluster.groups[&Name::from("agg-[1-2]")];
    assert_eq!(names(group.producers.keys()), ["sampler-1-ep2"]);
    assert_eq!(group.producers[&Name::from("sampler-1-ep2")].kind, ProducerKind::Bridge);
    assert_eq!(group.updaters.len(), 1);
    let listener = &group.listeners[&Name::from("l")];
    assert_eq!(names(&listener.endpoints), ["sampler-1-ep1", "sampler-2-ep1", "sampler-3-ep1", "sampler-4-ep1"]);
    assert_eq!(listener.options["advertiser_auth"], "x");
    // The Python program keeps them among the producers.
    let mut tree = layout::write(&cluster);
    tree.insert("producers/agg-[1-2]/sampler-9-ep1/type".into(), "advertised".into());
    let read = layout::read(&tree).unwrap();
    let group = &read.groups[&Name::from("agg-[1-2]")];
    assert_eq!(group.producers.len(), 1);
    assert!(group.listeners[&Name::from("l")].endpoints.contains(&Name::from("sampler-9-ep1")));
}

#[test]
fn aggregators_may_advertise_themselves() {
    let cluster = read_small(
        "
aggregators:
  - daemons: agg-1
    advertise: { to: agg-2-ep, reconnect: 2s }
  - daemons: agg-2
    prdcr_listen: { name: l }
    peers: { endpoints: agg-1-ep, reconnect: 1s }
",
    );
    let [advertiser] = cluster.samplers[&Name::from("agg-1")].advertisers.as_slice() else { panic!("one advertiser") };
    assert_eq!((names(&advertiser.daemons), advertiser.targets[0].host.as_str()), (vec!["agg-1"], "node-9-2"));
    assert!(cluster.groups[&Name::from("agg-2")].producers.is_empty(), "it comes by itself");
    let tree = layout::write(&cluster);
    assert_eq!(tree["advertisers/agg-1/ad_list/000000"], "agg-1");
    assert!(!tree.keys().any(|key| key.starts_with("samplers/")), "no samplers to the Python program");
    assert_eq!(layout::read(&tree), Ok(cluster));
}

#[test]
fn environment_is_a_mapping_or_a_list() {
    let expected = BTreeMap::from([("A", "1"), ("B", "x=y")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    for environment in ["{ A: 1, B: x=y }", "[ A=1, B=x=y ]", "[ { A: 1 }, B=x=y ]"] {
        let text = SMALL.replace("{ A: 1, EMPTY: }", environment);
        let (cluster, diagnostics) = read_cluster_with("small.yaml", &text, &|_| true);
        assert_eq!(diagnostics, [], "{environment}");
        assert_eq!(cluster.unwrap().daemons[&Name::from("sampler-1")].environment, expected, "{environment}");
    }
}

#[test]
fn merge_keys_give_what_an_entry_does_not_say() {
    let cluster = read_small(
        "
aggregators:
  - daemons: agg-1
    peers: &peers { endpoints: 'sampler-[1-4]-ep1', reconnect: 1s, quota: 1M, updaters: &u [ { interval: 1s } ] }
  - daemons: agg-2
    peers: { <<: *peers, reconnect: 5s }
",
    );
    let producer = |group: &str| &cluster.groups[&Name::from(group)].producers[&Name::from("sampler-3-ep1")];
    assert_eq!(producer("agg-1").reconnect.as_written(), "1s");
    assert_eq!(producer("agg-2").reconnect.as_written(), "5s");
    assert_eq!(producer("agg-2").quota.as_deref(), Some("1M"));
    assert_eq!(names(&producer("agg-2").updaters), ["updtr_1"]);
}

#[test]
fn producers_of_an_updater_are_an_expression_or_a_hostlist() {
    let cluster = read_small(
        "
aggregators:
  - daemons: agg-1
    peers:
      endpoints: 'sampler-[1-4]-ep1'
      reconnect: 1s
      updaters:
        - { interval: 1s, producers: 'sampler-[1-2]-ep1' }
        - { interval: 1s, producers: '^sampler-[1-2].*' }
        - { interval: 1s, producers: sampler-1-ep1 }
",
    );
    let updaters = &cluster.groups[&Name::from("agg-1")].updaters;
    let producers: Vec<Vec<&str>> =
        updaters.iter().map(|updater| updater.producers.iter().map(String::as_str).collect()).collect();
    assert_eq!(
        producers,
        [vec!["^sampler-1-ep1$", "^sampler-2-ep1$"], vec!["^sampler-[1-2].*"], vec!["sampler-1-ep1"]]
    );
}

#[test]
fn attributes_of_plugins_are_values_lists_and_keywords() {
    let cluster = read_small(
        "
plugins:
  p: { config: [ { keyword: , empty: '', list: [ 1, 2 ], perm: rw-r--r--, one: 0777 } ] }
",
    );
    let [PluginConfig::Attributes(attributes)] = cluster.plugins[&Name::from("p")].config.as_slice() else { panic!() };
    let values = |key: &str| attributes[key].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(values("keyword"), [""; 0]);
    assert_eq!(values("empty"), [""]);
    assert_eq!(values("list"), ["1", "2"]);
    assert_eq!(values("perm"), ["0644"], "plugins read octal only");
    assert_eq!(values("one"), ["0777"]);
    assert_eq!(layout::read(&layout::write(&cluster)), Ok(cluster));
}

#[test]
fn members_of_groups_are_in_the_order_in_which_people_count() {
    let cluster = read_small(
        "
aggregators: [ { daemons: 'agg-[2,1]' } ]
samplers: [ { daemons: [ 'sampler-[3-4]', sampler-1 ] } ]
",
    );
    assert_eq!(names(&cluster.groups[&Name::from("agg-[2,1]")].aggregators), ["agg-1", "agg-2"]);
    let samplers = &cluster.samplers[&Name::from("sampler-[3-4],sampler-1")];
    assert_eq!(names(&samplers.daemons), ["sampler-1", "sampler-3", "sampler-4"]);
}

#[test]
fn a_missing_secret_file_is_a_warning() {
    let path = "reference/auth-current/input.yaml";
    let (cluster, diagnostics) = read_cluster_with(path, &fixture(path), &|_| false);
    assert!(cluster.is_some());
    assert_eq!(diagnostics.len(), 2, "once for each place");
    let printed = diagnostics[0].to_string();
    assert!(printed.starts_with(&format!("{path}:9:")), "{printed}");
    assert!(printed.contains("warning: the secret file `/tmp/maestro-lab-secret/ovis.conf` is not here"), "{printed}");
}

#[test]
fn the_examples_of_config_are_sound() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    for (name, daemons) in [("orion.yaml", 12), ("advertise.yaml", 6)] {
        let text = fs::read_to_string(root.join("config").join(name)).unwrap();
        let (cluster, diagnostics) = read_cluster_with(name, &text, &|_| false);
        assert_eq!(diagnostics, [], "{name}");
        let cluster = cluster.unwrap();
        assert_eq!(cluster.daemons.len(), daemons, "{name}");
        assert!(cluster.daemons.values().all(|daemon| daemon.control_endpoint().is_some()), "{name}");
        assert!(cluster.daemons.values().all(|daemon| daemon.host.starts_with("127.")), "{name}");
    }
    let text = fs::read_to_string(root.join("config/etcd.yaml")).unwrap();
    let (config, diagnostics) = maestro::spec::etcd_file::read("etcd.yaml", &text);
    assert_eq!(diagnostics, []);
    assert_eq!(config.unwrap().cluster.as_deref(), Some("orion"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A line lost, doubled or cut: an answer and no panic, and a cluster only without errors.
    #[test]
    fn damaged_files_get_an_answer(line in 0_usize..150, damage in 0_usize..4, cut in 0_usize..60) {
        let text = fixture("user-example/ldms.yaml");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let line = line % lines.len();
        match damage {
            0 => drop(lines.remove(line)),
            1 => lines.insert(line, lines[line].clone()),
            2 => lines[line] = lines[line].chars().take(cut).collect(),
            _ => lines[line] = lines[line].chars().enumerate().filter(|(at, _)| *at != cut).map(|(_, c)| c).collect(),
        }
        let (cluster, diagnostics) = read_cluster_with("damaged.yaml", &lines.join("\n"), &|_| true);
        let errors = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        prop_assert_eq!(cluster.is_none(), errors);
        if let Some(cluster) = cluster {
            prop_assert_eq!(layout::read(&layout::write(&cluster)), Ok(cluster));
        }
    }
}
