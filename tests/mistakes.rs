//! What an operator is told who makes a mistake in an LDMS YAML: one message for one mistake, at its place, with a help
//! that says what to write.

#[path = "mistakes/bounds.rs"]
mod bounds;
#[path = "mistakes/files.rs"]
mod files;
#[path = "mistakes/names.rs"]
mod names;
#[path = "mistakes/references.rs"]
mod references;
#[path = "mistakes/shape.rs"]
mod shape;
#[path = "mistakes/syntax.rs"]
mod syntax;
#[path = "mistakes/values.rs"]
mod values;

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
    said_of(&text)
}

/// What is said of a whole text.
fn said_of(text: &str) -> Vec<String> {
    let (cluster, diagnostics) = read_cluster_with("ldms.yaml", text, &|_| true);
    let errors = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    assert_eq!(cluster.is_none(), errors);
    diagnostics.iter().map(ToString::to_string).collect()
}

/// A mistake: a text of the cluster, what stands in its place, the beginning of the one message that is expected behind
/// the file's name, and a part of the help.
type Mistake = (&'static str, &'static str, &'static str, &'static str);

#[track_caller]
fn assert_each_is_told_once(mistakes: &[Mistake]) {
    for (old, new, message, help) in mistakes {
        let printed = diagnostics(old, new);
        let [told] = printed.as_slice() else { panic!("{new}: {} messages\n{}", printed.len(), printed.join("\n")) };
        assert!(told.starts_with(&format!("ldms.yaml:{message}")), "{new}: expected {message}\n{told}");
        let told_help = told.split("\n help: ").nth(1).unwrap_or_default();
        assert!(!help.is_empty() && told_help.contains(help), "{new}: expected the help {help}\n{told}");
    }
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
fn all_mistakes_are_reported_in_the_order_of_the_file() {
    let text = CLUSTER
        .replace("hosts: node-9", "hosts: node-[9")
        .replace("reconnect: 1s", "type: x")
        .replace("schema:", "shcema:");
    let (_, diagnostics) = read_cluster_with("ldms.yaml", &text, &|_| true);
    let lines: Vec<usize> = diagnostics.iter().map(|diagnostic| diagnostic.position.line).collect();
    assert_eq!(lines, [9, 17, 18, 28, 28], "{diagnostics:#?}");
}
