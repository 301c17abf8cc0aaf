//! The most frequent change of a large cluster: other times or options of plugins, and nothing else.

use std::collections::BTreeSet;

use super::{Cluster, Plugin};
use crate::notation::Name;

impl Cluster {
    /// The daemons with a plugin instance whose interval, offset or options are not as they were before, where that is
    /// all that differs; `None` where anything else does.
    #[must_use]
    pub fn rescheduled_since(&self, before: &Cluster) -> Option<BTreeSet<&Name>> {
        let is_there = |key: &Name, plugin: &Plugin| {
            let was = before.plugins.get(key);
            was.is_some_and(|was| was.instance == plugin.instance && was.plugin == plugin.plugin)
        };
        let alike = self.plugins.len() == before.plugins.len()
            && self.plugins.iter().all(|(key, plugin)| is_there(key, plugin))
            && self.samplers == before.samplers
            && self.groups == before.groups
            && self.daemons == before.daemons;
        if !alike {
            return None;
        }
        let is_another = |key: &Name| self.plugins.get(key) != before.plugins.get(key);
        let samplers = self.samplers.values().filter(|group| group.plugins.iter().any(is_another));
        let aggregators = self.groups.values().filter(|group| {
            group.plugins.iter().chain(group.stores.values().map(|store| &store.plugin)).any(is_another)
        });
        let samplers = samplers.flat_map(|group| &group.daemons);
        Some(samplers.chain(aggregators.flat_map(|group| &group.aggregators)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    const YAML: &str = "
daemons:
  - { names: 's-[1-2]', hosts: 'h-[1-2]', endpoints: [ { names: 's-[1-2]-ep', ports: '1', maestro_comm: true } ] }
  - { names: 'a', hosts: 'a', endpoints: [ { names: 'a-ep', ports: '1', maestro_comm: true } ] }
samplers: [ { daemons: s-1, plugins: [ m ] }, { daemons: s-2, plugins: [ l ] } ]
aggregators:
  - { daemons: a, peers: [ { endpoints: 's-[1-2]-ep', reconnect: 1s, updaters: [ { interval: 1s } ] } ] }
stores: [ { name: st, daemons: a, plugin: c, container: x, schema: y } ]
plugins:
  m: { name: meminfo, interval: 1s }
  l: { name: loadavg, interval: 1s }
  c: { name: store_csv, config: [ { path: /d } ] }
";

    /// Whom a change of the text concerns.
    fn concerned(from: &str, to: &str) -> Option<Vec<String>> {
        let read = |yaml: &str| spec::read_cluster("cluster.yaml", yaml).0.unwrap();
        assert!(YAML.contains(from), "{from}");
        let (before, after) = (read(YAML), read(&YAML.replacen(from, to, 1)));
        let names = after.rescheduled_since(&before)?;
        Some(names.into_iter().map(Name::to_string).collect())
    }

    #[test]
    fn a_change_concerns_who_has_the_plugin() {
        assert_eq!(concerned("meminfo, interval: 1s", "meminfo, interval: 2s"), Some(vec!["s-1".to_owned()]));
        assert_eq!(
            concerned("loadavg, interval: 1s", "loadavg, interval: 1s, offset: 5ms"),
            Some(vec!["s-2".to_owned()])
        );
        assert_eq!(concerned("/d", "/e"), Some(vec!["a".to_owned()]));
        assert_eq!(concerned("meminfo", "meminfo"), Some(Vec::new()));
    }

    #[test]
    fn whatever_else_differs_is_more_than_that() {
        for (from, to) in [
            ("name: meminfo", "name: meminfo2"),
            ("plugins: [ l ]", "plugins: [ l, m ]"),
            ("updaters: [ { interval: 1s }", "updaters: [ { interval: 2s }"),
            ("ports: '1'", "ports: '2'"),
            ("schema: y", "schema: z"),
        ] {
            assert_eq!(concerned(from, to), None, "{to}");
        }
    }
}
