//! The state machine with events made by hand; `tests/conductor_simulation.rs` has whole worlds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::desired::Subject;
use crate::ldmsd::observation::{ObservedProducer, ObservedProducerSet, ProducerState};
use crate::ldmsd::{Attribute, Numbering};
use crate::spec;

const SECOND_US: u64 = 1_000_000;
const AGGREGATORS: [&str; 3] = ["l1-agg-1", "l1-agg-2", "l1-agg-3"];

/// A conductor with three aggregators over eight samplers, all played by the test: aggregators obey at once.
struct Stage {
    conductor: Conductor,
    now_us: u64,
    sessions: BTreeMap<&'static str, u64>,
    /// The sets of each producer that an aggregator has started, and whether they are ready.
    started: BTreeMap<(String, String), Vec<(&'static str, bool)>>,
    /// What is refused.
    refused: fn(&Subject) -> bool,
    /// Starts and stops, as `start l1-agg-1 1` for the producer of the first sampler.
    sent: Vec<String>,
    notices: Vec<Notice>,
}

/// The cluster of a reference case.
pub(super) fn reference_cluster(case: &str) -> Cluster {
    let path = format!("{}/tests/fixtures/reference/{case}/input.yaml", env!("CARGO_MANIFEST_DIR"));
    spec::read_cluster(&path, &std::fs::read_to_string(&path).unwrap()).0.unwrap()
}

/// The producer of one sampler, as an aggregator shows it that has started it or not.
pub(super) fn collected(sampler: usize, runs: bool, sets: Vec<ObservedProducerSet>) -> ObservedProducer {
    ObservedProducer {
        host: format!("node-{sampler}"),
        port: 10002,
        xprt: "sock".into(),
        auth: None,
        rail: None,
        quota: None,
        rx_rate: None,
        reconnect_us: None,
        kind: "active".into(),
        state: if runs { ProducerState::Connected } else { ProducerState::Stopped },
        sets,
    }
}

impl Stage {
    fn new() -> Stage {
        let cluster = reference_cluster("basic-current");
        let mut stage = Stage {
            conductor: Conductor::new(Settings::default()),
            now_us: SECOND_US,
            sessions: BTreeMap::new(),
            started: BTreeMap::new(),
            refused: |_| false,
            sent: Vec::new(),
            notices: Vec::new(),
        };
        stage.happen(Event::Configured(Arc::new(cluster)));
        stage
    }

    /// All aggregators are up, empty, and have had time for everything.
    fn settled() -> Stage {
        let mut stage = Stage::new();
        for aggregator in AGGREGATORS {
            stage.up(aggregator);
        }
        stage.pass(20 * SECOND_US);
        stage.all_ready();
        stage.pass(10 * SECOND_US);
        stage.sent.clear();
        stage.notices.clear();
        stage
    }

    fn up(&mut self, aggregator: &'static str) {
        let session = self.sessions.get(aggregator).map_or(1, |session| session + 1);
        self.sessions.insert(aggregator, session);
        let observed = self.observed(aggregator);
        let daemon = Name::from(aggregator);
        self.happen(Event::Up { daemon, session, pid: None, numbering: Numbering::V45, observed });
    }

    fn down(&mut self, aggregator: &str, reason: DownReason) {
        self.happen(Event::Down { daemon: aggregator.into(), reason });
    }

    fn kill(&mut self, aggregator: &str) {
        self.started.retain(|(on, _), _| on != aggregator);
        self.down(aggregator, DownReason::ConnectionLost("reset".into()));
    }

    fn all_ready(&mut self) {
        for (_, ready) in self.started.values_mut().flatten() {
            *ready = true;
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

    fn happen(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let now = Now { mono_us: self.now_us, wall_us: self.now_us };
            for action in self.conductor.handle(event, now) {
                match action {
                    Action::Attend { .. } => {}
                    Action::Run { daemon, session, changes, .. } => {
                        let outcomes = changes.iter().map(|change| self.carry_out(&daemon, change)).collect();
                        let observed = self.observed(&daemon);
                        events.push(Event::Done { daemon, session, outcomes, observed });
                    }
                    Action::Observe { daemon, session, .. } => {
                        let observed = self.observed(&daemon);
                        events.push(Event::Done { daemon, session, outcomes: Vec::new(), observed });
                    }
                    Action::Report(notice) => self.notices.push(notice),
                    Action::Connect(_)
                    | Action::Forget(_)
                    | Action::Remember(_)
                    | Action::Publish { .. }
                    | Action::PublishPlan { .. } => {}
                }
            }
        }
    }

    fn carry_out(&mut self, aggregator: &Name, change: &crate::desired::Change) -> Outcome {
        let (word, producers) = match &change.subject {
            Subject::ProducersStarted(_) => {
                let expression = change.steps[0].command.get(Attribute::Regex).unwrap();
                ("start", expression.trim_matches(['^', '$', '(', ')']).split('|').map(str::to_owned).collect())
            }
            Subject::ProducerStopped(producer) => ("stop", vec![producer.to_string()]),
            _ => ("", Vec::new()),
        };
        let number = |producer: &str| producer.split('-').nth(1).unwrap().to_owned();
        self.sent.extend(producers.iter().map(|producer| format!("{word} {aggregator} {}", number(producer))));
        if (self.refused)(&change.subject) {
            return Outcome::Refused { step: 0, code: 22, text: String::new() };
        }
        for producer in producers {
            let key = (aggregator.to_string(), producer);
            match word {
                "start" => self.started.insert(key, vec![("meminfo", false)]),
                _ => self.started.remove(&key),
            };
        }
        Outcome::Applied
    }

    fn observed(&self, aggregator: &str) -> Observed {
        let producer = |number: usize| {
            let name = format!("node-{number}-10002");
            let sets = self.started.get(&(aggregator.to_owned(), name.clone()));
            let set = |(instance, ready): &(&str, bool)| ObservedProducerSet {
                instance: format!("{name}/{instance}"),
                ready: *ready,
            };
            let observed = collected(number, sets.is_some(), sets.into_iter().flatten().map(set).collect());
            (Name::from(name), observed)
        };
        Observed { producers: Some((1..=8).map(producer).collect()), ..Observed::default() }
    }

    fn take_sent(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.sent).into_iter().collect()
    }
}

pub(super) fn lines(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn the_first_placement_waits_for_every_aggregator_and_starts_the_home_blocks() {
    let mut stage = Stage::new();
    stage.up("l1-agg-1");
    stage.up("l1-agg-2");
    assert_eq!(stage.take_sent(), lines(&[]), "the third may be collecting already");
    stage.up("l1-agg-3");
    let blocks = ["1 1", "1 2", "1 3", "2 4", "2 5", "2 6", "3 7", "3 8"].map(|block| format!("start l1-agg-{block}"));
    assert_eq!(stage.take_sent(), blocks.into());
}

#[test]
fn an_aggregator_that_neither_answers_nor_refuses_is_not_waited_for_for_ever() {
    let mut stage = Stage::new();
    stage.up("l1-agg-1");
    stage.pass(2 * SECOND_US);
    assert_eq!(stage.take_sent(), lines(&[]));
    stage.pass(2 * SECOND_US);
    assert_eq!(stage.take_sent().len(), 8);
}

#[test]
fn what_a_lost_aggregator_collected_is_started_on_the_others_at_once_and_nothing_is_stopped() {
    let mut stage = Stage::settled();
    stage.kill("l1-agg-1");
    assert_eq!(stage.take_sent(), lines(&["start l1-agg-2 1", "start l1-agg-3 2", "start l1-agg-3 3"]));
}

#[test]
fn an_aggregator_that_returns_has_to_stay_and_be_ready_before_the_others_stop() {
    let mut stage = Stage::settled();
    stage.kill("l1-agg-1");
    stage.all_ready();
    stage.pass(10 * SECOND_US);
    stage.sent.clear();

    stage.up("l1-agg-1");
    stage.pass(4 * SECOND_US);
    assert_eq!(stage.take_sent(), lines(&[]), "it may fall again");
    stage.pass(2 * SECOND_US);
    assert_eq!(stage.take_sent(), lines(&["start l1-agg-1 1", "start l1-agg-1 2", "start l1-agg-1 3"]));
    stage.pass(5 * SECOND_US);
    assert_eq!(stage.take_sent(), lines(&[]), "it is not ready");
    stage.all_ready();
    stage.pass(SECOND_US);
    assert_eq!(stage.take_sent(), lines(&[]), "its sets have not been updated");
    stage.pass(3 * SECOND_US);
    assert_eq!(stage.take_sent(), lines(&["stop l1-agg-2 1", "stop l1-agg-3 2", "stop l1-agg-3 3"]));
}

#[test]
fn an_aggregator_that_wakes_is_stopped_only_when_the_new_owner_is_ready() {
    let mut stage = Stage::settled();
    stage.down("l1-agg-3", DownReason::Silent("no answer".into()));
    assert_eq!(stage.take_sent(), lines(&["start l1-agg-1 7", "start l1-agg-2 8"]));
    stage.up("l1-agg-3");
    stage.pass(SECOND_US);
    assert_eq!(stage.take_sent(), lines(&[]), "nobody else collects yet");
    stage.all_ready();
    stage.pass(7 * SECOND_US / 2);
    assert_eq!(stage.take_sent(), lines(&["stop l1-agg-3 7", "stop l1-agg-3 8"]));
}

#[test]
fn a_set_that_is_never_ready_neither_hinders_a_move_nor_lets_it_lose_the_others() {
    let mut stage = Stage::settled();
    stage.kill("l1-agg-3");
    stage.all_ready();
    for producer in ["node-7-10002", "node-8-10002"] {
        for ((_, _), sets) in stage.started.iter_mut().filter(|((_, name), _)| name == producer) {
            sets.push(("not-covered", false));
        }
    }
    stage.pass(10 * SECOND_US);
    stage.up("l1-agg-3");
    stage.pass(6 * SECOND_US);
    stage.sent.clear();
    stage.pass(5 * SECOND_US);
    assert_eq!(stage.take_sent(), lines(&[]), "the former owners collect");
    for ((_, _), sets) in stage.started.iter_mut().filter(|((on, _), _)| on == "l1-agg-3") {
        *sets = vec![("meminfo", true), ("not-covered", false)];
    }
    stage.pass(4 * SECOND_US);
    assert_eq!(stage.take_sent(), lines(&["stop l1-agg-1 7", "stop l1-agg-2 8"]));
}

#[test]
fn a_new_maestro_leaves_a_placement_that_is_good_enough_as_it_finds_it() {
    let mut first = Stage::settled();
    first.kill("l1-agg-1");
    first.all_ready();
    first.pass(10 * SECOND_US);

    let mut second = Stage::new();
    second.started = first.started.clone();
    // As good as what it would choose itself, and different.
    for (from, to, producer) in [("l1-agg-2", "l1-agg-3", "node-1-10002"), ("l1-agg-3", "l1-agg-2", "node-2-10002")] {
        let sets = second.started.remove(&(from.to_owned(), producer.to_owned())).unwrap();
        second.started.insert((to.to_owned(), producer.to_owned()), sets);
    }
    second.down("l1-agg-1", DownReason::Unreachable("refused".into()));
    second.up("l1-agg-2");
    second.up("l1-agg-3");
    second.pass(30 * SECOND_US);
    assert_eq!(second.take_sent(), lines(&[]));
}

#[test]
fn a_refusal_is_told_once_and_tried_again_less_and_less_often() {
    let mut stage = Stage::settled();
    stage.refused = |subject| matches!(subject, Subject::ProducersStarted(_));
    stage.kill("l1-agg-1");
    stage.pass(60 * SECOND_US);
    let tries = stage.sent.iter().filter(|sent| *sent == "start l1-agg-2 1").count();
    assert!((5..=7).contains(&tries), "{tries} tries in a minute");
    let told = stage.notices.iter().filter(|notice| matches!(notice, Notice::Refused { .. }));
    let daemons: Vec<String> = told.map(ToString::to_string).collect();
    assert_eq!(daemons.len(), 2, "{daemons:?}");
}

#[test]
fn a_stop_that_is_refused_is_told_once_although_the_producer_runs_on() {
    let mut stage = Stage::settled();
    stage.refused = |subject| matches!(subject, Subject::ProducerStopped(_));
    stage.started.insert(("l1-agg-3".into(), "node-1-10002".into()), vec![("meminfo", true)]);
    stage.up("l1-agg-3");
    stage.pass(60 * SECOND_US);
    let tries = stage.sent.iter().filter(|sent| *sent == "stop l1-agg-3 1").count();
    assert!((4..=7).contains(&tries), "{tries} tries in a minute");
    let told = stage.notices.iter().filter(|notice| matches!(notice, Notice::Refused { .. })).count();
    assert_eq!(told, 1);
}

#[test]
fn what_a_former_connection_said_is_ignored() {
    let mut stage = Stage::settled();
    let old = stage.sessions["l1-agg-2"];
    stage.up("l1-agg-2");
    stage.pass(10 * SECOND_US);
    stage.sent.clear();
    let nothing = Observed { producers: Some(BTreeMap::new()), ..Observed::default() };
    let daemon = Name::from("l1-agg-2");
    stage.happen(Event::Observed { daemon: daemon.clone(), session: old, observed: nothing.clone() });
    stage.happen(Event::Done { daemon, session: old, outcomes: Vec::new(), observed: nothing });
    assert_eq!(stage.take_sent(), lines(&[]));
}

#[test]
fn push_updaters_are_kept_from_the_line_that_dies_of_them() {
    let path = format!("{}/tests/fixtures/reference/basic-current/input.yaml", env!("CARGO_MANIFEST_DIR"));
    let yaml = std::fs::read_to_string(&path).unwrap().replace("mode     : pull", "mode     : push");
    let cluster = Arc::new(spec::read_cluster(&path, &yaml).0.unwrap());
    for (development_line, updaters, told) in [(true, 0, 1), (false, 1, 0)] {
        let mut conductor = Conductor::new(Settings::default());
        let now = Now { mono_us: SECOND_US, wall_us: SECOND_US };
        conductor.handle(Event::Configured(Arc::clone(&cluster)), now);
        let observed = Observed { development_line: Some(development_line), ..Observed::default() };
        let daemon = Name::from("l2-agg");
        let actions =
            conductor.handle(Event::Up { daemon, session: 1, pid: None, numbering: Numbering::V45, observed }, now);
        let added = actions.iter().filter(|action| match action {
            Action::Run { changes, .. } => {
                changes.iter().flat_map(|change| &change.steps).any(|step| step.command.get(Attribute::Push).is_some())
            }
            _ => false,
        });
        assert_eq!(added.count(), updaters);
        let withheld = |action: &&Action| matches!(action, Action::Report(Notice::PushWithheld { .. }));
        assert_eq!(actions.iter().filter(withheld).count(), told);
    }
}

#[test]
fn a_restart_stops_nothing_where_a_subscription_makes_starts_wait() {
    let cluster = reference_cluster("readme");
    assert!(cluster.groups.values().any(|group| !group.subscriptions.is_empty()));
    let mut conductor = Conductor::new(Settings::default());
    let now = Now { mono_us: SECOND_US, wall_us: SECOND_US };
    conductor.handle(Event::Configured(Arc::new(cluster)), now);
    let mut sent = Vec::new();
    for (number, aggregator) in ["l1-agg-11", "l1-agg-12", "l1-agg-13"].into_iter().enumerate() {
        // The placement of an earlier maestro; none of the samplers has answered yet.
        let producers = (1..=8).map(|sampler| {
            let runs = (sampler - 1) / 3 == number;
            let producer = collected(sampler, runs, Vec::new());
            (Name::from(format!("node-{sampler}-10002")), producer)
        });
        let observed = Observed { producers: Some(producers.collect()), ..Observed::default() };
        let daemon = Name::from(aggregator);
        let up = Event::Up { daemon, session: 1, pid: None, numbering: Numbering::V45, observed };
        for action in conductor.handle(up, now) {
            if let Action::Run { changes, .. } = action {
                sent.extend(changes.into_iter().flat_map(|change| change.steps).map(|step| step.command.verb));
            }
        }
    }
    assert!(sent.contains(&crate::ldmsd::Verb::PrdcrSubscribe), "{sent:?}");
    assert!(!sent.contains(&crate::ldmsd::Verb::PrdcrStop), "{sent:?}");
}

/// What the operator is told when a sampler has counted a command that was not ours.
fn told_of_a_foreign_command(case: &str) -> usize {
    let cluster = reference_cluster(case);
    let mut conductor = Conductor::new(Settings::default());
    let now = Now { mono_us: SECOND_US, wall_us: SECOND_US };
    conductor.handle(Event::Configured(Arc::new(cluster)), now);
    let daemon = Name::from("sampler-1");
    let counted = |cfg_cntr| Observed { cfg_cntr: Some(cfg_cntr), ..Observed::default() };
    let (numbering, pid, session) = (Numbering::V45, Some(7), 1);
    let up = Event::Up { daemon: daemon.clone(), session, pid, numbering, observed: counted(5) };
    let mut sent = conductor.handle(up, now);
    while let Some(outcomes) = sent.iter().find_map(|action| match action {
        Action::Run { changes, .. } => Some(vec![Outcome::Applied; changes.len()]),
        _ => None,
    }) {
        sent = conductor.handle(Event::Done { daemon: daemon.clone(), session, outcomes, observed: counted(9) }, now);
        if sent.iter().any(|action| matches!(action, Action::Run { .. })) {
            // Nothing of what was sent shows in these observations, so that it would be sent again later.
            break;
        }
    }
    let later = conductor.handle(Event::Observed { daemon, session, observed: counted(10) }, now);
    later.iter().filter(|action| matches!(action, Action::Report(Notice::ChangedByAnother { .. }))).count()
}

#[test]
fn a_foreign_command_is_told_but_not_where_subscriptions_are_counted() {
    assert_eq!(told_of_a_foreign_command("basic-current"), 1);
    assert_eq!(told_of_a_foreign_command("streams-current"), 0);
}
