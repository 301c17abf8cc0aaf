//! The layout in etcd, compared with what the Python maestro writes for the same YAML.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use maestro::cluster::{Cluster, Updater};
use maestro::notation::Interval;
use maestro::spec::read_cluster_with;
use maestro::store::{Tree, layout};

const CURRENT: [&str; 9] = [
    "advertise-current",
    "auth-current",
    "basic-current",
    "multi-endpoint-current",
    "sampler-only-current",
    "sets-current",
    "streams-current",
    "three-levels-current",
    "two-groups-current",
];
const OF_2024: [&str; 3] = ["basic-2024", "sampler-only-2024", "streams-2024"];

fn fixture(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn cluster(path: &str) -> Cluster {
    let (cluster, diagnostics) = read_cluster_with(path, &fixture(path), &|_| true);
    cluster.unwrap_or_else(|| panic!("{}", diagnostics[0]))
}

/// What a Python `maestro_ctrl` wrote for a case.
fn dump(case: &str, version: &str) -> Tree {
    let text = fixture(&format!("reference/{case}/etcd-{version}.json"));
    let dump: BTreeMap<String, Option<String>> =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{case}: {error}"));
    let relative = |key: String| key.strip_prefix("/PREFIX/").unwrap_or_else(|| panic!("{key}")).to_owned();
    dump.into_iter().filter_map(|(key, value)| Some((relative(key), value?))).collect()
}

/// Lines of what one tree has and the other has not.
fn differences(ours: &Tree, theirs: &Tree) -> Vec<String> {
    let lines = |sign: &'static str, tree: &Tree, other: &Tree| -> Vec<String> {
        let extra = tree.iter().filter(|(key, value)| other.get(*key) != Some(value));
        extra.map(|(key, value)| format!("{sign} {key} = {value}")).collect()
    };
    [lines("+", ours, theirs), lines("-", theirs, ours)].concat()
}

/// An offset of zero makes an updater keep in step with the clock, so we write it; the Python program drops it, and
/// runs the updater without one.
fn is_offset_of_zero(difference: &str) -> bool {
    difference.starts_with("+ updaters/") && difference.ends_with("/offset = 0")
}

#[test]
fn agrees_with_the_python_program() {
    for case in CURRENT {
        let ours = layout::write(&cluster(&format!("reference/{case}/input.yaml")));
        let mut differences = differences(&ours, &dump(case, "current"));
        differences.retain(|difference| !is_offset_of_zero(difference));
        assert_eq!(differences, Vec::<String>::new(), "{case}");
    }
}

#[test]
fn what_is_written_reads_as_the_same_cluster() {
    let cases = CURRENT.iter().chain(&OF_2024).chain(&["readme"]);
    let paths = cases.map(|case| format!("reference/{case}/input.yaml"));
    for path in paths.chain(["user-example/ldms.yaml".into()]) {
        let cluster = cluster(&path);
        let tree = layout::write(&cluster);
        assert_eq!(layout::read(&tree).unwrap_or_else(|error| panic!("{path}: {error}")), cluster, "{path}");
    }
}

/// Where no producer keeps a copy of an updater, the Python program has lost an offset of zero.
fn without_lost_offsets(mut cluster: Cluster) -> Cluster {
    let zero = Some(Interval::from_us(0));
    for group in cluster.groups.values_mut() {
        let kept: Vec<_> = group.producers.values().flat_map(|producer| producer.updaters.clone()).collect();
        let lost = |updater: &&mut Updater| updater.offset == zero && !kept.contains(&updater.name);
        group.updaters.iter_mut().filter(lost).for_each(|updater| updater.offset = None);
    }
    cluster
}

#[test]
fn what_the_python_program_wrote_reads_as_its_yaml() {
    let current = CURRENT.map(|case| (case, "current"));
    let of_2024 = OF_2024.map(|case| (case, "2024"));
    for (case, version) in current.into_iter().chain(of_2024) {
        let read = layout::read(&dump(case, version)).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(read, without_lost_offsets(cluster(&format!("reference/{case}/input.yaml"))), "{case}");
    }
}

#[test]
fn a_slash_in_the_name_of_an_endpoint_is_escaped() {
    let tree = layout::write(&cluster("user-example/ldms.yaml"));
    assert_eq!(tree["daemons/sampler-3/endpoints/node-3-10002%2Frdma/xprt"], "rdma");
}

/// A cluster with everything that the layout has no place for in the Python program.
const UNUSUAL: &str = "
daemons:
  - names: s-[1-4]
    hosts: h-[1-4]
    stream_enable: false
    memory: 1GB
    environment: { PATH/A: /x, B%: '' }
    endpoints:
      - { names: 's-[1-4]-ep', ports: 1, maestro_comm: on, bind_all: yes, hosts: 'i-[1-4]' }
  - names: 'a-[1-2],b'
    hosts: h-9
    msg_enable: true
    endpoints:
      - { names: 'a-[1-2]-ep,b-ep', ports: '[1-3]', auth: { plugin: ovis, name: o, conf: { conf: /s, x: y } } }
aggregators:
  - daemons: 'a-[1,2]'
    plugins: [ m ]
    prdcr_listen: [ { name: bare }, { names: s-4-ep, regex: '^s', ip: 10.0.0.0/8, disable_start: true, credits: 5 } ]
    peers:
      - endpoints: s-[1-2]-ep
        reconnect: ${R}
        type: passive
        perm: rw-r-----
        cache_ip: false
        rail: 2
        updaters: [ { interval: 1s }, { interval: 1s, offset: 0 }, { interval: 1s, producers: a.* } ]
      - endpoints: s-3-ep
        reconnect: 1s
        updaters: [ { interval: 1s, mode: onchange, perm: '0600' }, { interval: 1s }, { interval: 1s, offset: 0 } ]
  - daemons: b
    subscribe: [ { msg_tag: t }, { message_channel: c, regex: x } ]
samplers:
  - daemons: s-[1-2]
    plugins: [ { name: p, interval: 1s, config: [ {}, a=b, { c: d, e: } ] }, { name: p, interval: 2s } ]
    advertise:
      - { names: s-1-ep, to: 'a-1-ep,b-ep', reconnect: 5s, rx_rate: 3 }
      - { names: s-2, hosts: 'far,away', port: 5, xprt: rdma, auth: munge }
  - daemons: s-[3-4]
    plugins: [ { name: p, interval: 3s } ]
    advertise: { names: 'n-[7-8]', hosts: far, port: 5 }
plugins:
  m: { name: meminfo, interval: 1s, offset: -5ms }
stores:
  - { name: st, daemons: 'b', plugin: { name: csv, config: x=y }, regex: .*, decomposition: /d, flush: 2s, perm: 777 }
  - { name: st, daemons: 'a-[1,2]', plugin: { name: csv, config: x=z }, schema: s }
";

fn unusual() -> Cluster {
    let (cluster, diagnostics) = read_cluster_with("unusual.yaml", UNUSUAL, &|_| true);
    cluster.unwrap_or_else(|| panic!("{}", diagnostics[0]))
}

#[test]
fn what_the_python_program_has_no_place_for_is_kept_too() {
    let cluster = unusual();
    let tree = layout::write(&cluster);
    let read = layout::read(&tree).unwrap_or_else(|error| panic!("{error}"));
    // By parts, since a difference in the whole is hard to see.
    assert_eq!(read.daemons, cluster.daemons);
    assert_eq!(read.plugins, cluster.plugins);
    assert_eq!(read.samplers, cluster.samplers);
    assert_eq!(read.groups, cluster.groups);
    assert_eq!(layout::write(&read).len(), tree.len());
}

#[test]
fn an_advertiser_that_its_names_do_not_tell_is_kept() {
    let mut cluster = unusual();
    for group in cluster.samplers.values_mut() {
        group.advertisers[0].daemons.truncate(1);
    }
    assert_eq!(layout::read(&layout::write(&cluster)), Ok(cluster));
}

#[test]
fn more_than_ten_updaters_keep_their_order() {
    let mut cluster = unusual();
    for group in cluster.groups.values_mut() {
        let first = group.updaters.first().cloned();
        let further =
            (10..13).filter_map(|number| Some(Updater { name: format!("updtr_{number}").into(), ..first.clone()? }));
        group.updaters.extend(further.collect::<Vec<_>>());
    }
    assert_eq!(layout::read(&layout::write(&cluster)), Ok(cluster));
}

#[test]
fn every_key_that_is_lost_is_missed_or_leaves_a_cluster() {
    let tree = layout::write(&unusual());
    let mut errors = 0;
    for key in tree.keys() {
        let mut damaged = tree.clone();
        damaged.remove(key);
        // Whatever is missing: an answer, no panic.
        errors += usize::from(layout::read(&damaged).is_err());
    }
    assert!(errors > 40, "{errors} of {}", tree.len());
}

#[track_caller]
fn assert_error(key: &str, value: &str, expected: &str) {
    let mut tree = layout::write(&unusual());
    tree.insert(key.into(), value.into());
    assert_eq!(layout::read(&tree).map_err(|error| error.to_string()).err().as_deref(), Some(expected));
}

#[test]
fn values_that_cannot_be_are_errors_with_their_key() {
    assert_error("daemons/s-1/endpoints/s-1-ep/port", "x", "`daemons/s-1/endpoints/s-1-ep/port`: `x` is not a port");
    assert_error("samplers/s-[1-2]/plugins/000000", "q", "`samplers/s-[1-2]/plugins/000000`: there is no plugin `q`");
    assert_error(
        "producers/a-[1,2]/s-2-ep/daemon",
        "s-9",
        "`producers/a-[1,2]/s-2-ep`: daemon `s-9` has no endpoint `s-2-ep`",
    );
    assert_error(
        "updaters/a-[1,2]/updtr_0/mode",
        "fly",
        "`updaters/a-[1,2]/updtr_0/mode`: `fly` is no mode of an updater",
    );
    assert_error("stores/z/s/name", "s", "`stores/z`: there is no group of aggregators `z`");
    assert_error("daemons/s-1/addr/x", "y", "the key `daemons/s-1/addr/x` has a value and also keys below it");
}
