//! The table of keys in `src/desired/yaml_keys.md` has each key that is read, and no other.

use std::collections::BTreeSet;

use super::fields::ASKED;
use super::read_cluster_with;

/// Mappings that the reference cases do not have.
const OTHERS: &str = "
daemons:
  - { names: s, hosts: h, metric_sets_default_authz: { perm: 0600 }, endpoints: [{ names: s-ep, ports: 1, auth: { name: none } }] }
  - { names: a, hosts: b, endpoints: [{ names: a-ep, ports: 2 }] }
aggregators:
  - daemons: a
    prdcr_listen: [{ name: l, auth: { name: none } }]
    peers:
      - { endpoints: s-ep, reconnect: 1s, type: active, updaters: [{ interval: 1s, producers: [{ regex: x }] }] }
samplers:
  - { daemons: s, plugins: [m], advertise: { hosts: b, port: 2, reconnect: 1s } }
plugins: { m: { plugin: meminfo, interval: 1s } }
";

/// The keys that the readers of the YAML ask for, by mapping.
fn read_keys() -> BTreeSet<(String, String)> {
    ASKED.take();
    let folder = format!("{}/tests/fixtures/reference", env!("CARGO_MANIFEST_DIR"));
    for case in std::fs::read_dir(folder).unwrap() {
        if let Ok(text) = std::fs::read_to_string(case.unwrap().path().join("input.yaml")) {
            let _clusters_are_tested_elsewhere = read_cluster_with("test.yaml", &text, &|_| true);
        }
    }
    let (others, diagnostics) = read_cluster_with("test.yaml", OTHERS, &|_| true);
    assert!(others.is_some(), "{diagnostics:?}");
    ASKED.take().into_iter().map(|(mapping, key)| (mapping.to_owned(), key.to_owned())).collect()
}

/// The keys of the table; `*` stands for those that nobody asks for by name.
fn table() -> BTreeSet<(String, String)> {
    let mut mapping = "";
    let mut keys = BTreeSet::new();
    for line in include_str!("../desired/yaml_keys.md").lines() {
        if let Some((_, what)) = line.strip_prefix("## ").and_then(|heading| heading.split_once(": ")) {
            mapping = what;
        } else if let Some((key, _)) = line.strip_prefix("| `").and_then(|row| row.split_once("` |")) {
            keys.insert((mapping.to_owned(), key.to_owned()));
        }
    }
    keys.retain(|(_, key)| key != "*");
    keys
}

#[test]
fn the_table_of_keys_is_complete() {
    let (read, listed) = (read_keys(), table());
    assert!(read.len() > 80, "{read:?}");
    assert_eq!(
        read.difference(&listed).collect::<Vec<_>>(),
        [] as [&(String, String); 0],
        "read, and not in the table"
    );
    assert_eq!(
        listed.difference(&read).collect::<Vec<_>>(),
        [] as [&(String, String); 0],
        "in the table, and not read"
    );
}
