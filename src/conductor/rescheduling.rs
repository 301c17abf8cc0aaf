//! A configuration in which plugins have other times or options, and that is all: who samples otherwise from now on is
//! told at once, and nobody else is looked at. Thousands of daemons are to hear of it within a second.

use std::sync::Arc;

use super::notice::Notice;
use super::{Conductor, Rebalance};
use crate::cluster::Cluster;
use crate::notation::Name;

impl Conductor {
    /// Takes over a configuration if it is one of that kind; `false` where it has to be gone through as a whole.
    pub(super) fn reschedule(&mut self, cluster: &Arc<Cluster>) -> bool {
        let Some(concerned) = cluster.rescheduled_since(&self.cluster) else { return false };
        let concerned: Vec<Name> =
            concerned.into_iter().filter(|name| self.daemons.contains_key(*name)).cloned().collect();
        self.doubt_notes_of_others();
        self.cluster = Arc::clone(cluster);
        self.report(Notice::Rescheduled { daemons: concerned.len() });
        self.dirty_daemons.extend(concerned);
        if self.settings.rebalance == Rebalance::Sets {
            // A set weighs by how often it is sampled.
            self.dirty_groups.extend(self.groups.keys().cloned());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::{Action, Event, Now, Observed, Outcome, Settings};
    use super::*;
    use crate::desired::Subject;
    use crate::ldmsd::observation::{ObservedPlugin, ObservedSet};
    use crate::ldmsd::status::UpdateHint;
    use crate::ldmsd::{Numbering, Verb};
    use crate::spec;

    const NOW: Now = Now { mono_us: 1_000_000, wall_us: 1_000_000 };
    const SAMPLERS: usize = 1_000;

    /// Samplers, every other of which has a further plugin.
    fn cluster(interval: &str, rest: &str) -> Arc<Cluster> {
        let yaml = format!(
            "daemons:\n  - names: 's-[1-{SAMPLERS}]'\n    hosts: 'h-[1-{SAMPLERS}]'\n    endpoints: [ {{ names: \
             's-[1-{SAMPLERS}]-ep', ports: '1', xprt: sock, maestro_comm: true }} ]\nsamplers:\n  - {{ daemons: \
             's-[1-500]', plugins: [ meminfo, loadavg ] }}\n  - {{ daemons: 's-[501-{SAMPLERS}]', plugins: [ loadavg ] \
             }}\nplugins:\n  meminfo: {{ name: meminfo, interval: {interval}, config: [ {{ schema: m }} ] }}\n  \
             loadavg: {{ name: loadavg, interval: 1s, config: [ {{ schema: l }} ] }}\n{rest}"
        );
        Arc::new(spec::read_cluster("cluster.yaml", &yaml).0.unwrap())
    }

    /// All that is handed out at once.
    fn orders(actions: &[Action]) -> Vec<(&Name, BTreeSet<&Subject>, Vec<Verb>)> {
        let orders = actions.iter().filter_map(|action| match action {
            Action::Run { daemon, changes, .. } => {
                let verbs = changes.iter().flat_map(|change| &change.steps).map(|step| step.command.verb).collect();
                Some((daemon, changes.iter().map(|change| &change.subject).collect(), verbs))
            }
            _ => None,
        });
        orders.collect()
    }

    /// A conductor whose samplers sample as they should, at an interval of 1 s.
    fn settled() -> Conductor {
        let mut conductor = Conductor::new(Settings::default());
        conductor.handle(Event::Configured(cluster("1s", "")), NOW);
        for number in 1..=SAMPLERS {
            let daemon = Name::from(format!("s-{number}"));
            let plugins = if number <= 500 { vec!["meminfo", "loadavg"] } else { vec!["loadavg"] };
            let sampling = plugins.into_iter().map(|plugin| {
                let instance = format!("{daemon}/{plugin}");
                let hint = Some(UpdateHint { interval_us: 1_000_000, offset_us: Some(0) });
                let sets = vec![ObservedSet { instance, data_size_bytes: 100, hint }];
                (Name::from(plugin), ObservedPlugin { plugin: Some(plugin.to_owned()), sets })
            });
            let plugins: BTreeMap<Name, ObservedPlugin> = sampling.collect();
            let seen = |plugins| Observed { plugins: Some(plugins), ..Observed::default() };
            let empty = seen(BTreeMap::new());
            let up =
                Event::Up { daemon: daemon.clone(), session: 1, pid: None, numbering: Numbering::V45, observed: empty };
            let started = conductor.handle(up, NOW);
            let outcomes =
                orders(&started).iter().flat_map(|(_, changes, _)| changes).map(|_| Outcome::Applied).collect();
            let done = Event::Done { daemon, session: 1, outcomes, observed: seen(plugins) };
            assert_eq!(orders(&conductor.handle(done, NOW)), [], "all is as it should be");
        }
        conductor
    }

    #[test]
    fn another_interval_goes_to_who_has_the_plugin_and_to_nobody_else() {
        let mut conductor = settled();
        let mut told = BTreeSet::new();
        let mut event = Event::Configured(cluster("2s", ""));
        let mut portions = 0;
        loop {
            let actions = conductor.handle(event, NOW);
            for (daemon, subjects, verbs) in orders(&actions) {
                assert_eq!(subjects, [&Subject::Plugin("meminfo".into())].into());
                assert_eq!(verbs, [Verb::Stop, Verb::Start]);
                assert!(told.insert(daemon.clone()), "{daemon} was told twice");
            }
            portions += 1;
            if conductor.next_wake_us().is_none_or(|wake_us| wake_us > NOW.mono_us) {
                break;
            }
            event = Event::Wake;
        }
        let all: BTreeSet<Name> = (1..=500).map(|number| Name::from(format!("s-{number}"))).collect();
        assert_eq!(told, all);
        assert!(portions > 1, "the first need not wait for the last");
    }

    #[test]
    fn what_is_more_than_other_times_is_gone_through_as_a_whole() {
        let mut conductor = settled();
        let is_whole = |actions: &[Action]| {
            let configured = |action: &Action| matches!(action, Action::Report(Notice::Configured { .. }));
            actions.iter().any(configured)
        };
        assert!(!is_whole(&conductor.handle(Event::Configured(cluster("2s", "")), NOW)));
        let another = cluster("2s", "  vmstat: { name: vmstat, interval: 1s }\n");
        assert!(is_whole(&conductor.handle(Event::Configured(another), NOW)));
    }
}
