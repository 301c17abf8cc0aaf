//! The layout in etcd, compared with what the Python maestro writes for the same YAML.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails in a test fails the test")]

#[path = "layout/generated.rs"]
mod generated;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use maestro::cluster::{Cluster, Updater};
use maestro::spec::read_cluster_with;
use maestro::store::{Tree, layout};
use proptest::prelude::*;

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

#[test]
fn every_key_is_that_of_the_current_python_program() {
    for case in CURRENT {
        let ours = layout::write(&cluster(&format!("reference/{case}/input.yaml")));
        assert_eq!(differences(&ours, &dump(case, "current")), Vec::<String>::new(), "{case}");
    }
}

/// Turns one rule of our layout back to what a Python program does.
type TurnBack = fn(Tree) -> Tree;

/// What the current layout does otherwise than that of 2024; with all of it turned back, every key is the same.
const OTHERWISE_THAN_2024: [(&str, TurnBack); 3] = [
    (
        "daemons lie directly below `daemons`, so that a daemon has one key however it was named",
        daemons_below_hostlists,
    ),
    ("plugins are defined once, below `plugins`, and used by name", plugins_in_place),
    (
        "the producers of an updater are a list of texts, as the updater has nothing else to say of them",
        regexes_of_producers,
    ),
];

fn daemons_below_hostlists(tree: Tree) -> Tree {
    let groups = ["sampler-[1-8]", "sampler-[1-4]", "l1-agg-[1-3]", "l1-agg-[1-2]", "l2-agg"];
    let members = |group: &str| maestro::notation::hostlist::expand(group).unwrap();
    let used = |group: &&&str| tree.keys().any(|key| key.split('/').nth(1) == Some(**group));
    let used: Vec<&str> = groups.iter().filter(used).copied().collect();
    let step_deeper = |key: &str| {
        let (daemon, rest) = key.strip_prefix("daemons/")?.split_once('/')?;
        let group = used.iter().find(|group| members(group).iter().any(|member| member == daemon));
        Some(format!("daemons/{}/{daemon}/{rest}", group.unwrap_or_else(|| panic!("{daemon}"))))
    };
    tree.iter().map(|(key, text)| (step_deeper(key).unwrap_or_else(|| key.clone()), text.clone())).collect()
}

fn plugins_in_place(mut tree: Tree) -> Tree {
    let definitions: Tree = tree.extract_if("plugins/".to_owned().., |key, _| key.starts_with("plugins/")).collect();
    let is_use = |key: &str| {
        let steps: Vec<&str> = key.split('/').collect();
        matches!(steps[..], ["samplers", _, "plugins", _] | ["stores", _, _, "plugin"])
    };
    let uses: Vec<_> = tree.extract_if(.., |key, _| is_use(key)).collect();
    for (place, plugin) in uses {
        let definition = definitions.iter().filter_map(|(key, text)| {
            let rest = key.strip_prefix(&format!("plugins/{plugin}/"))?;
            // The instance is part of the name there.
            (rest != "instance").then(|| (format!("{place}/{rest}"), text.clone()))
        });
        tree.extend(definition);
    }
    tree
}

fn regexes_of_producers(tree: Tree) -> Tree {
    let regex = |key: &str| match key.split('/').collect::<Vec<_>>()[..] {
        ["updaters", _, _, "producers", _] => format!("{key}/regex"),
        _ => key.to_owned(),
    };
    tree.into_iter().map(|(key, text)| (regex(&key), text)).collect()
}

/// The differences to what the program of 2024 wrote, all rules but one turned back.
fn differences_to_2024(case: &str, left_out: Option<usize>) -> Vec<String> {
    let ours = layout::write(&cluster(&format!("reference/{case}/input.yaml")));
    let rules = OTHERWISE_THAN_2024.iter().enumerate().filter(|(index, _)| Some(*index) != left_out);
    differences(&rules.fold(ours, |tree, (_, (_, turn_back))| turn_back(tree)), &dump(case, "2024"))
}

#[test]
fn every_key_is_that_of_the_python_program_of_2024_but_for_three_rules() {
    for case in OF_2024 {
        assert_eq!(differences_to_2024(case, None), Vec::<String>::new(), "{case}");
    }
    for (index, (rule, _)) in OTHERWISE_THAN_2024.iter().enumerate() {
        let needed = OF_2024.iter().any(|case| !differences_to_2024(case, Some(index)).is_empty());
        assert!(needed, "nothing differs without the rule: {rule}");
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

#[test]
fn what_the_python_program_wrote_reads_as_its_yaml() {
    let current = CURRENT.map(|case| (case, "current"));
    let of_2024 = OF_2024.map(|case| (case, "2024"));
    for (case, version) in current.into_iter().chain(of_2024) {
        let read = layout::read(&dump(case, version)).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(read, cluster(&format!("reference/{case}/input.yaml")), "{case}");
    }
}

/// Every tree that there is of the cases.
fn trees() -> Vec<Tree> {
    let current = CURRENT.map(|case| (case, "current"));
    let of_2024 = OF_2024.map(|case| (case, "2024"));
    let theirs = current.into_iter().chain(of_2024).map(|(case, version)| dump(case, version));
    theirs.chain([layout::write(&unusual()), layout::write(&cluster("user-example/ldms.yaml"))]).collect()
}

/// The first steps of the keys in which two trees differ.
fn differing_sections(before: &Tree, after: &Tree) -> BTreeSet<String> {
    let keys = before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key));
    keys.map(|key| key.split('/').next().unwrap_or(key).to_owned()).collect()
}

/// Edits of a tree: which key, and the key whose value it gets; without that, it is deleted.
type Edits = Vec<(prop::sample::Index, Option<prop::sample::Index>)>;

fn edit(tree: &Tree, edits: &Edits) -> Tree {
    let keys: Vec<&String> = tree.keys().collect();
    let mut edited = tree.clone();
    for (key, other) in edits {
        let key = *key.get(&keys);
        match other {
            Some(other) => edited.insert(key.clone(), tree[*other.get(&keys)].clone()),
            None => edited.remove(key),
        };
    }
    edited
}

proptest! {
    /// Whatever was read before, and whether it was any good.
    #[test]
    fn a_reader_that_takes_over_reads_the_same(
        tree in any::<prop::sample::Index>(),
        plugins_only in any::<bool>(),
        edits in prop::collection::vec(prop::collection::vec(any::<(prop::sample::Index, Option<prop::sample::Index>)>(), 0..4), 1..4),
    ) {
        let mut tree = tree.get(&trees()).clone();
        let mut reader = layout::Reader::default();
        let mut changed = None;
        for edits in edits {
            prop_assert_eq!(reader.read(&tree, changed.as_ref()).map(Arc::unwrap_or_clone), layout::read(&tree));
            let kept = |key: &&String| !plugins_only || key.starts_with("plugins/") || key.starts_with("samplers/");
            let part: Tree = tree.iter().filter(|(key, _)| kept(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
            if part.is_empty() {
                continue;
            }
            let mut edited = tree.clone();
            edited.retain(|key, _| !part.contains_key(key));
            edited.extend(edit(&part, &edits));
            changed = Some(differing_sections(&tree, &edited));
            tree = edited;
        }
        prop_assert_eq!(reader.read(&tree, changed.as_ref()).map(Arc::unwrap_or_clone), layout::read(&tree));
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
fn an_offset_of_zero_that_no_producer_tells_is_kept() {
    let mut cluster = cluster("reference/basic-current/input.yaml");
    let updater = |cluster: &Cluster| cluster.groups.values().next().unwrap().updaters[0].clone();
    assert_eq!(updater(&cluster).offset.and_then(|offset| offset.us()), Some(0));
    for producer in cluster.groups.values_mut().flat_map(|group| group.producers.values_mut()) {
        producer.updaters.clear();
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
    assert_error("aggregators/z", "stopped", "`aggregators/z`: a group of aggregators needs daemons");
    assert_error("samplers/z[1-0]/plugins", "m", "`samplers/z[1-0]`: a group of samplers needs `daemons`");
    assert_error("stores/z/s/name", "s", "`stores/z`: there is no group of aggregators `z`");
    assert_error("daemons/s-1/addr/x", "y", "the key `daemons/s-1/addr/x` has a value and also keys below it");
}

proptest! {
    #[test]
    fn any_cluster_is_read_as_it_was_written(cluster in generated::cluster()) {
        let tree = layout::write(&cluster);
        let read = layout::read(&tree);
        prop_assert!(read.as_ref() == Ok(&cluster), "{read:#?}\n{tree:#?}");
    }
}
