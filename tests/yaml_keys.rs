//! Each key of the YAML and the command that it becomes: what the table in `src/desired/yaml_keys.md` says.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on shall fail")]

#[path = "yaml_keys/cases.rs"]
mod cases;
#[path = "yaml_keys/real_daemon.rs"]
mod real_daemon;
mod support;

use std::collections::BTreeSet;
use std::path::Path;

use cases::CASES;
use maestro::desired::startup::StartupFiles;
use maestro::spec::read_cluster_with;

/// Two samplers below an aggregator `a`; the aggregator `l` listens for those that advertise themselves.
const CLUSTER: &str = "
daemons:
  - names: 's-[1-2]'
    hosts: 'h-[1-2]'
    endpoints:
      - { names: 's-ep-[1-2]', ports: 10001, maestro_comm: true }
      - { names: 's-two-[1-2]', ports: 10002, xprt: sock }
  - { names: a, hosts: b, endpoints: [{ names: a-ep, ports: 10101, maestro_comm: true }] }
  - { names: l, hosts: c, endpoints: [{ names: l-ep, ports: 10102, maestro_comm: true }] }
aggregators:
  - daemons: a
    peers: [{ endpoints: 's-ep-[1-2]', reconnect: 1s, type: active, updaters: [{ interval: 1s }] }]
    subscribe: [{ stream: jobs, regex: '.*' }]
  - daemons: l
    prdcr_listen: [{ name: ears, reconnect: 1s }]
samplers:
  - { daemons: 's-[1-2]', plugins: [mem], advertise: { to: l-ep, reconnect: 2s } }
plugins:
  mem: { plugin: meminfo, interval: 1s, config: [{ schema: meminfo }] }
  csv: { plugin: store_csv, config: [{ path: /store }] }
stores:
  - { name: keep, daemons: a, plugin: csv, container: box, schema: meminfo }
";

/// An edit of the cluster, and the command that a daemon has then, and had not before.
struct Case {
    /// The mapping with the key, as the table calls it.
    key: (&'static str, &'static str),
    edit: (&'static str, &'static str),
    daemon: &'static str,
    line: &'static str,
}

const fn case(
    key: (&'static str, &'static str),
    edit: (&'static str, &'static str),
    daemon: &'static str,
    line: &'static str,
) -> Case {
    Case { key, edit, daemon, line }
}

fn lines(yaml: &str, daemon: &str) -> Vec<String> {
    let (cluster, diagnostics) = read_cluster_with("test.yaml", yaml, &|_| true);
    let cluster = cluster.unwrap_or_else(|| panic!("{diagnostics:?}"));
    let files = StartupFiles::of(&cluster).unwrap();
    let text = files.file(&daemon.into()).unwrap().to_string();
    text.lines().map(str::to_owned).collect()
}

/// A row of the table.
struct Row {
    /// The mapping that the keys are of.
    mapping: String,
    keys: Vec<String>,
    becomes: String,
    shown_by: String,
    on_a_real_daemon: String,
}

fn table() -> Vec<Row> {
    let table = include_str!("../src/desired/yaml_keys.md");
    let mut rows = Vec::new();
    let mut mapping = "";
    for line in table.lines() {
        if let Some((_, what)) = line.strip_prefix("## ").and_then(|heading| heading.split_once(": ")) {
            mapping = what;
        }
        if !line.starts_with("| `") {
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [keys, becomes, shown_by, on_a_real_daemon] = cells[..] else { panic!("{line}") };
        rows.push(Row {
            mapping: mapping.to_owned(),
            keys: keys.split('`').skip(1).step_by(2).map(str::to_owned).collect(),
            becomes: becomes.to_owned(),
            shown_by: shown_by.to_owned(),
            on_a_real_daemon: on_a_real_daemon.to_owned(),
        });
    }
    rows
}

#[test]
fn each_key_becomes_its_command() {
    let mut wrong = Vec::new();
    for Case { key, edit: (from, to), daemon, line } in CASES {
        let edited = CLUSTER.replacen(from, to, 1);
        assert_ne!(edited, CLUSTER, "{key:?}");
        let is_new = !lines(CLUSTER, daemon).iter().any(|before| before == line);
        let after = lines(&edited, daemon);
        if !after.iter().any(|after| after == line) || !is_new {
            let verb = line.split(' ').next().unwrap();
            let alike: Vec<_> = after.iter().filter(|after| after.starts_with(verb)).collect();
            wrong.push(format!("{key:?}: {line}\nnew: {is_new}, there is {alike:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_each_case_and_says_what_shows_each_key() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut cases: BTreeSet<(String, String)> =
        CASES.iter().map(|case| (case.key.0.to_owned(), case.key.1.to_owned())).collect();
    let mut sources = String::new();
    for file in ["tests/yaml_keys.rs", "tests/real_ldmsd.rs", "tests/reading.rs", "tests/mistakes.rs"] {
        sources.push_str(&std::fs::read_to_string(root.join(file)).unwrap());
    }
    for folder in ["tests/mistakes", "src/desired", "src/desired/startup"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    for row in table() {
        if row.shown_by == "case" {
            for key in row.keys {
                assert!(cases.remove(&(row.mapping.clone(), key.clone())), "no case for {key} of {}", row.mapping);
            }
            let mut fates = row.on_a_real_daemon.split("; ").map(|part| part.rsplit(": ").next().unwrap());
            assert!(fates.all(|fate| ["shown", "taken", "refused"].contains(&fate)), "{}", row.on_a_real_daemon);
        } else {
            let name = row.shown_by.trim_matches('`');
            assert!(sources.contains(&format!("fn {name}(")), "no test {name}");
            assert_eq!(row.on_a_real_daemon, "no command", "{}", row.becomes);
        }
    }
    assert!(cases.is_empty(), "the table lacks {cases:?}");
}
