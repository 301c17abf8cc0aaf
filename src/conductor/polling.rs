//! Asking a daemon again and again while something waits for what it will say.
//!
//! Moves, temporary updaters and producers that are stopped for a moment wait for states that no cheap question tells:
//! `prdcr_stats` counts connections and sets, but not how many of these are ready. So the producers in question are asked
//! for, ten times a second where they have few sets. An aggregator of 100 000 sets would do nothing else (a fifth of a
//! second and 10 MB for each answer), so that such a one is asked for some thousand sets at a time, in rounds.

use std::collections::BTreeSet;

use super::event::{Action, Scope};
use super::reconcile::MOST_PRODUCERS_BY_NAME;
use super::{Conductor, Now, Timer};
use crate::ldmsd::observation::ProducerState;
use crate::notation::Name;

/// How often a daemon is asked, at most.
const POLL_US: u64 = 100_000;
/// Entries of a status, producers and sets, that are asked for at a time where producers are asked for by name.
const MOST_ENTRIES: usize = 5_000;
/// A daemon whose whole status has no more is asked for all of it rather than for many producers by name. It is the
/// status of 30 000 producers with one set each.
const MOST_ENTRIES_IN_ALL: usize = 60_000;
/// The pause for each entry: a daemon takes some microseconds to tell it, and has other things to do.
const PAUSE_US: u64 = 20;

/// How far a daemon has been asked.
#[derive(Debug, Default)]
pub(super) struct Polling {
    /// When it may be asked again.
    due_us: u64,
    /// The last producer that was asked for, in a round that is not at its end.
    reached: Option<Name>,
    round_began_us: u64,
    /// When the last round began that has come to its end: what is awaited has been asked for since.
    pub(super) last_round_us: u64,
}

/// What is asked for at a time.
struct Portion {
    scope: Scope,
    entries: usize,
    /// It is the first of a round.
    begins: bool,
    /// The last producer, where others are still to be asked for.
    reached: Option<Name>,
}

impl Conductor {
    /// Asks again, soon, while something waits for what this daemon will say.
    pub(super) fn poll(&mut self, name: &Name, now: Now) {
        let stopping = self.stopping(name);
        let is_at_rest = stopping.is_empty() && self.awaited_moves(name).is_empty();
        self.remember(name, is_at_rest);
        let Some(state) = self.daemons.get(name).filter(|_| !is_at_rest) else { return };
        let mut awaited = stopping;
        awaited.extend(self.moving(name));
        awaited.extend(self.boosts.unready_producers_of(name, &state.observed).cloned());
        if awaited.is_empty() {
            return;
        }
        if now.mono_us < state.polling.due_us {
            self.timers.insert((state.polling.due_us, Timer::Daemon(name.clone())));
            return;
        }
        let portion = self.portion(name, awaited);
        let Some(state) = self.daemons.get_mut(name) else { return };
        if portion.begins {
            state.polling.round_began_us = now.mono_us;
        }
        if portion.reached.is_none() {
            state.polling.last_round_us = state.polling.round_began_us;
        }
        state.polling.reached = portion.reached;
        let pause_us = PAUSE_US.saturating_mul(u64::try_from(portion.entries).unwrap_or(u64::MAX));
        state.polling.due_us = now.mono_us.saturating_add(pause_us.max(POLL_US));
        state.in_flight = Some(Vec::new());
        let session = state.session;
        self.actions.push(Action::Observe { daemon: name.clone(), session, scope: portion.scope });
    }

    /// As many of some producers as may be asked for at a time, beginning where the last time ended.
    fn portion(&self, name: &Name, awaited: BTreeSet<Name>) -> Portion {
        let (known, reached) = self.daemons.get(name).map_or((0, None), |state| {
            let entries = state.observed.producers.values().map(|producer| 1 + producer.sets.len());
            (entries.sum(), state.polling.reached.as_ref())
        });
        if awaited.len() > MOST_PRODUCERS_BY_NAME && known <= MOST_ENTRIES_IN_ALL {
            let scope = Scope { all_producers: true, ..Scope::default() };
            return Portion { scope, entries: known, begins: true, reached: None };
        }
        let rest: Vec<&Name> =
            awaited.iter().filter(|producer| reached.is_some_and(|reached| *producer > reached)).collect();
        let begins = rest.is_empty();
        let left: Vec<&Name> = if begins { awaited.iter().collect() } else { rest };
        let mut entries = 0;
        let mut producers = Vec::new();
        for producer in &left {
            let more = 1 + self.sets_below(name, producer);
            if !producers.is_empty() && (entries + more > MOST_ENTRIES || producers.len() == MOST_PRODUCERS_BY_NAME) {
                break;
            }
            entries += more;
            producers.push((*producer).clone());
        }
        let reached = producers.last().filter(|_| producers.len() < left.len()).cloned();
        Portion { scope: Scope { producers, ..Scope::default() }, entries, begins, reached }
    }

    /// The producers of a daemon that are on their way to be stopped.
    fn stopping(&self, name: &Name) -> BTreeSet<Name> {
        let known = self.daemons.get(name).into_iter().flat_map(|state| &state.observed.producers);
        let stopping = known.filter(|(_, producer)| producer.state == ProducerState::Stopping);
        stopping.map(|(producer, _)| producer.clone()).collect()
    }

    /// The producers of a daemon that are being moved, to it or from it, or that a temporary updater waits for.
    pub(super) fn awaited_moves(&self, name: &Name) -> BTreeSet<Name> {
        let mut awaited = self.moving(name);
        awaited.extend(self.boosts.producers_of(name).cloned());
        awaited
    }

    /// The producers of a daemon that are being moved, to it or from it, or stopped for a moment.
    fn moving(&self, name: &Name) -> BTreeSet<Name> {
        let mut moving: BTreeSet<Name> = self.late_services.producers_of(name).cloned().collect();
        if let Some(group) = self.relations.group_of(name).and_then(|group| self.groups.get(group)) {
            for (producer, from) in group.leaving.keys() {
                if from == name || group.owners().get(producer).is_some_and(|owner| owner.includes(name)) {
                    moving.insert(producer.clone());
                }
            }
        }
        moving
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::super::tests::collected;
    use super::super::{DownReason, Event, Observed, Outcome, Settings};
    use super::*;
    use crate::ldmsd::observation::{ObservedProducer, ObservedProducerSet};
    use crate::ldmsd::{Attribute, Command, Numbering, Verb};
    use crate::spec;

    const SECOND_US: u64 = 1_000_000;

    /// Two aggregators over some samplers, played by the test: what is started is connected, and so many of its sets of
    /// each are ready.
    struct Stage {
        conductor: Conductor,
        now_us: u64,
        samplers: usize,
        sets: usize,
        is_ready: fn(usize) -> bool,
        running: BTreeMap<Name, BTreeSet<usize>>,
        /// What one aggregator was asked for, and when.
        asked: Vec<(u64, Scope)>,
    }

    impl Stage {
        /// One of two aggregators has just been lost, and the other has begun to take over.
        fn after_a_loss(samplers: usize, sets: usize, is_ready: fn(usize) -> bool) -> Stage {
            let yaml = format!(
                "daemons:
  - {{ names: 's-[1-{samplers}]', hosts: 'node-[1-{samplers}]', endpoints: [ {{ names: 's-[1-{samplers}]-ep', ports: '10002', xprt: sock }} ] }}
  - {{ names: 'a-[1-2]', hosts: 'a-[1-2]', endpoints: [ {{ names: 'a-[1-2]-ep', ports: '412', xprt: sock, maestro_comm: true }} ] }}
aggregators:
  - daemons: 'a-[1-2]'
    peers: [ {{ endpoints: 's-[1-{samplers}]-ep', reconnect: 1s, type: active, updaters: [ {{ mode: pull, interval: 60s }} ] }} ]
"
            );
            let cluster = spec::read_cluster("polling.yaml", &yaml).0.unwrap();
            let conductor = Conductor::new(Settings::default());
            let (running, asked) = (BTreeMap::new(), Vec::new());
            let mut stage = Stage { conductor, now_us: SECOND_US, samplers, sets, is_ready, running, asked };
            stage.happen(Event::Configured(Arc::new(cluster)));
            for daemon in ["a-1", "a-2"] {
                let (daemon, observed) = (Name::from(daemon), stage.shown(&daemon.into()));
                stage.happen(Event::Up { daemon, session: 1, pid: None, numbering: Numbering::V45, observed });
            }
            stage.pass(20 * SECOND_US);
            stage.asked.clear();
            stage.happen(Event::Down { daemon: "a-2".into(), reason: DownReason::ConnectionLost("reset".into()) });
            stage
        }

        fn shown(&self, daemon: &Name) -> Observed {
            let set = |sampler, set| ObservedProducerSet {
                instance: format!("s-{sampler}/{set}"),
                ready: (self.is_ready)(sampler),
            };
            let producer = |sampler: usize| -> (Name, ObservedProducer) {
                let runs = self.running.get(daemon).is_some_and(|running| running.contains(&sampler));
                let sets = (0..self.sets).filter(|_| runs).map(|number| set(sampler, number)).collect();
                (format!("s-{sampler}-ep").into(), collected(sampler, runs, sets))
            };
            let producers: BTreeMap<Name, ObservedProducer> = (1..=self.samplers).map(producer).collect();
            Observed { producers: Some(producers), ..Observed::default() }
        }

        fn carry_out(&mut self, daemon: &Name, command: &Command) {
            let Some(regex) = command.get(Attribute::Regex).filter(|_| command.verb == Verb::PrdcrStartRegex) else {
                return;
            };
            let regex = regex::Regex::new(regex).unwrap();
            let started = (1..=self.samplers).filter(|sampler| regex.is_match(&format!("s-{sampler}-ep")));
            self.running.entry(daemon.clone()).or_default().extend(started);
        }

        fn happen(&mut self, event: Event) {
            let mut events = vec![event];
            while let Some(event) = events.pop() {
                let now = Now { mono_us: self.now_us, wall_us: self.now_us };
                for action in self.conductor.handle(event, now) {
                    let (daemon, session, changes) = match action {
                        Action::Run { daemon, session, changes, .. } => (daemon, session, changes),
                        Action::Observe { daemon, session, scope } => {
                            self.asked.push((self.now_us, scope));
                            (daemon, session, Vec::new())
                        }
                        _ => continue,
                    };
                    for step in changes.iter().flat_map(|change| &change.steps) {
                        self.carry_out(&daemon, &step.command);
                    }
                    let (outcomes, observed) = (vec![Outcome::Applied; changes.len()], self.shown(&daemon));
                    events.push(Event::Done { daemon, session, outcomes, observed });
                }
            }
        }

        fn pass(&mut self, us: u64) {
            let end_us = self.now_us + us;
            while let Some(wake_us) = self.conductor.next_wake_us().filter(|wake_us| *wake_us <= end_us) {
                self.now_us = self.now_us.max(wake_us);
                self.happen(Event::Wake);
            }
            self.now_us = end_us;
        }

        fn asked_for(&self) -> BTreeSet<Name> {
            self.asked.iter().flat_map(|(_, scope)| &scope.producers).cloned().collect()
        }
    }

    #[test]
    fn very_many_sets_are_asked_for_in_portions_and_each_in_its_turn() {
        let mut stage = Stage::after_a_loss(100, 200, |_| false);
        stage.pass(SECOND_US);
        assert!(stage.asked.iter().all(|(_, scope)| !scope.all_producers && scope.producers.len() * 200 <= 5_000));
        assert!(stage.asked.len() <= 11, "{}", stage.asked.len());
        assert_eq!(stage.asked_for().len(), 50, "all that have been taken over");
    }

    #[test]
    fn a_producer_with_very_many_sets_is_asked_for_less_often() {
        let mut stage = Stage::after_a_loss(2, 30_000, |_| false);
        stage.pass(2 * SECOND_US);
        let times: Vec<u64> = stage.asked.iter().map(|(at_us, _)| *at_us).collect();
        assert!(times.len() >= 3 && times.windows(2).all(|pair| pair[1] - pair[0] >= SECOND_US / 2), "{times:?}");
    }

    #[test]
    fn many_producers_with_few_sets_are_asked_for_all_at_once() {
        let mut stage = Stage::after_a_loss(600, 2, |_| false);
        stage.pass(SECOND_US);
        assert!(stage.asked.len() >= 9 && stage.asked.iter().all(|(_, scope)| scope.all_producers));
    }

    #[test]
    fn what_is_ready_is_asked_for_no_more() {
        let mut stage = Stage::after_a_loss(100, 10, |sampler| sampler % 2 == 0);
        stage.pass(SECOND_US / 10);
        stage.asked.clear();
        stage.pass(SECOND_US);
        let odd = |name: &Name| name[2..].trim_end_matches("-ep").parse::<usize>().unwrap() % 2 == 1;
        assert!(!stage.asked.is_empty() && stage.asked_for().iter().all(odd), "{:?}", stage.asked_for());
    }
}
