//! What an operator is told who makes a mistake in an LDMS YAML.

use maestro::spec::{Severity, read_cluster_with};

const CLUSTER: &str = "\
daemons:
  - names: &samplers sampler-[1-4]
    hosts: node-[1-4]
    endpoints:
      - names: &eps sampler-[1-4]-ep
        ports: 10002
        maestro_comm: true
  - names: &aggs agg-[1-2]
    hosts: node-9
    endpoints:
      - names: agg-[1-2]-ep
        ports: '[10101-10102]'
        maestro_comm: true
aggregators:
  - daemons: *aggs
    peers:
      - endpoints: *eps
        reconnect: 1s
        updaters:
          - interval: 1s
samplers:
  - daemons: *samplers
    plugins: [ meminfo1 ]
plugins:
  meminfo1: { name: meminfo, interval: 1s }
  csv: { name: store_csv, config: [ path=/data ] }
stores:
  s: { daemons: *aggs, plugin: csv, schema: meminfo, container: c }
";

/// Reads the cluster with one text replaced, and gives what is said of it.
#[track_caller]
fn diagnostics(old: &str, new: &str) -> Vec<String> {
    assert!(CLUSTER.contains(old), "{old}");
    let text = CLUSTER.replacen(old, new, 1);
    let (cluster, diagnostics) = read_cluster_with("ldms.yaml", &text, &|_| true);
    let errors = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    assert_eq!(cluster.is_none(), errors);
    diagnostics.iter().map(ToString::to_string).collect()
}

/// One diagnostic is expected, with each of these texts.
#[track_caller]
fn assert_says(old: &str, new: &str, texts: &[&str]) {
    let printed = diagnostics(old, new);
    assert_eq!(printed.len(), 1, "{}", printed.join("\n"));
    for text in texts {
        assert!(printed[0].contains(text), "no {text:?} in:\n{}", printed[0]);
    }
}

#[test]
fn the_cluster_itself_is_sound() {
    assert_eq!(diagnostics("daemons", "daemons"), Vec::<String>::new());
}

#[test]
fn a_message_shows_the_place_and_the_way_out() {
    assert_eq!(
        diagnostics("reconnect: 1s", "reconnect: 1x"),
        ["ldms.yaml:18:20: error: `reconnect`: `x` is not a unit of time\n \
          18 |         reconnect: 1x\n    |                    ^\n \
          help: write a number with a unit (us, ms, s, m, h, d), such as `1.5s` or `100ms`; \
          a bare number counts microseconds"]
    );
}

#[test]
fn a_fault_in_a_hostlist_is_shown_to_the_byte() {
    assert_says("hosts: node-[1-4]", "hosts: node-[4-1]", &["ldms.yaml:3:18:", "counts downwards", "write `[1-4]`"]);
    assert_says("hosts: node-9", "hosts: \"node-[9\"", &["ldms.yaml:9:18:", "never closed"]);
}

#[test]
fn counts_that_do_not_divide_show_both_sides() {
    assert_says(
        "hosts: node-[1-4]",
        "hosts: node-[1-3]",
        &[
            "ldms.yaml:3:12: error: 4 daemons cannot be shared evenly by 3 hosts",
            "`sampler-4`",
            "`node-1`, `node-2`, `node-3`",
        ],
    );
    assert_says(
        "ports: '[10101-10102]'",
        "ports: '[1-3]'",
        &["ldms.yaml:12:16:", "2 endpoints cannot be shared evenly by 3 ports"],
    );
    let three = "- names: &eps sampler-[1-3]-ep";
    assert_says("- names: &eps sampler-[1-4]-ep", three, &["3 endpoints cannot be shared evenly by 4 daemons"]);
}

#[test]
fn names_given_twice_show_both_places() {
    let printed = diagnostics("names: &aggs agg-[1-2]", "names: &aggs sampler-[1-2]");
    assert!(printed.iter().any(|text| {
        text.contains("ldms.yaml:8:12: error: daemons `sampler-1`, `sampler-2` are defined twice, first at line 2")
    }));
    let printed = diagnostics("names: agg-[1-2]-ep", "names: sampler-[1-2]-ep");
    assert!(printed[0].contains(
        "ldms.yaml:11:16: error: endpoints `sampler-1-ep`, `sampler-2-ep` are defined twice, first at line 5"
    ));
}

#[test]
fn a_repeated_key_is_an_error() {
    assert_says(
        "    hosts: node-9\n",
        "    hosts: node-9\n    hosts: node-8\n",
        &["10:5: error: key `hosts` is repeated, first at line 9"],
    );
}

#[test]
fn a_slip_of_the_pen_is_an_error_and_an_unknown_key_a_warning() {
    assert_says(
        "reconnect: 1s",
        "reconnect: 1s\n        rx_rte: 5",
        &["error: unknown key `rx_rte`", "did you mean `rx_rate`?"],
    );
    assert_says(
        "reconnect: 1s",
        "reconnect: 1s\n        colour: red",
        &["warning: unknown key `colour` of a peers entry"],
    );
    assert_says("hosts: node-9", "hosts: node-9\n    enviroment: { A: b }", &["did you mean `environment`?"]);
}

#[test]
fn references_to_nothing_are_errors_with_a_suggestion() {
    assert_says(
        "endpoints: *eps",
        "endpoints: sampler-[1-4]-epp",
        &["17:20: error: no endpoints are called", "did you mean `sampler-1-ep`?"],
    );
    assert_says(
        "[ meminfo1 ]",
        "[ meminfo ]",
        &["23:16: error: no plugin is called `meminfo`", "did you mean `meminfo1`?"],
    );
    assert_says("plugin: csv", "plugin: cvs", &["28:32: error: no plugin is called `cvs`", "did you mean `csv`?"]);
    assert_says("daemons: *samplers", "daemons: sampler-[1-5]", &["22:14: error: no daemon is called `sampler-5`"]);
    assert_says("s: { daemons: *aggs", "s: { daemons: agg-3", &["28:17: error: not aggregators: `agg-3`"]);
    assert_says("s: { daemons: *aggs", "s: { daemons: agg-1", &["error: the store leaves out `agg-2`"]);
}

#[test]
fn values_that_cannot_be_are_errors() {
    assert_says("ports: 10002", "ports: 70000", &["`70000` is not a port"]);
    assert_says("maestro_comm: true", "maestro_comm: maybe", &["`maestro_comm` is true or false"]);
    assert_says("ports: 10002", "ports: 10002\n        xprt: rdma", &["maestro speaks to daemons over `sock` only"]);
    assert_says("reconnect: 1s", "reconnect: 1s\n        type: actve", &["did you mean `active`?"]);
    assert_says("reconnect: 1s", "reconnect: 1s\n        perm: rwx", &["`rwx` is not a permission"]);
    assert_says("- interval: 1s", "- interval: 1s\n            mode: pul", &["did you mean `pull`?"]);
    assert_says("- interval: 1s", "- interval: 0s", &["`interval` of 0 us is too short"]);
    assert_says("- interval: 1s", "- offset: 0s", &["an updater needs `interval`"]);
    assert_says("name: meminfo, interval: 1s", "name: meminfo, interval: 0s", &["an interval of 0 us is too short"]);
}

#[test]
fn an_authentication_domain_of_two_meanings_is_warned_of() {
    let auths = "maestro_comm: true\n        auth: { name: x, plugin: munge }\n      \
                 - { names: 'o-[1-4]', ports: 2, auth: { name: x, plugin: naive } }";
    assert_says(
        "maestro_comm: true",
        auths,
        &[
            "9:18: warning: the authentication domain `x` is not what it is at line 5",
            "give each domain a name of its own",
        ],
    );
}

#[test]
fn a_plugin_without_an_interval_is_only_warned_of() {
    assert_says("name: meminfo, interval: 1s", "name: meminfo", &["warning: plugin `meminfo1` has no interval"]);
}

#[test]
fn groups_that_cannot_work_are_errors() {
    assert_says(
        "endpoints: *eps",
        "endpoints: agg-1-ep",
        &["aggregators cannot collect from their own group: `agg-1-ep`"],
    );
    assert_says(
        "- daemons: *aggs\n",
        "- daemons: agg-1\n  - daemons: *aggs\n",
        &["error: `agg-1` already in the group `agg-1` (line 15)"],
    );
    assert_says(
        "endpoints: *eps",
        "endpoints: *eps\n        daemons: sampler-[1-3]",
        &["`daemons` does not name the daemons of `sampler-4-ep`"],
    );
    assert_says(
        "    peers:\n",
        "    peers:\n      - { endpoints: *eps, reconnect: 2s }\n",
        &["error: producers of this group already, with other attributes: `sampler-1-ep`"],
    );
}

#[test]
fn all_mistakes_are_reported_in_the_order_of_the_file() {
    let text = CLUSTER
        .replace("hosts: node-9", "hosts: node-[9")
        .replace("reconnect: 1s", "type: x")
        .replace("schema:", "shcema:");
    let (_, diagnostics) = read_cluster_with("ldms.yaml", &text, &|_| true);
    let lines: Vec<usize> = diagnostics.iter().map(|diagnostic| diagnostic.position.line).collect();
    assert_eq!(lines, [9, 17, 18, 28, 28], "{diagnostics:#?}");
}

#[test]
fn a_file_of_something_else_is_an_error() {
    for (text, message) in [
        ("", "the file is empty"),
        ("hello", "an LDMS configuration must be a mapping"),
        ("- a", "an LDMS configuration must be a mapping"),
        ("aggregators: []", "an LDMS configuration needs `daemons`"),
        ("daemons: [ sampler ]", "a daemon entry must be a mapping"),
    ] {
        let (cluster, diagnostics) = read_cluster_with("f", text, &|_| true);
        assert!(cluster.is_none(), "{text}");
        assert!(diagnostics[0].to_string().contains(message), "{}", diagnostics[0]);
    }
}
