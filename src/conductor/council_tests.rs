//! Three instances over one small cluster, with a board that knows at once what one of them publishes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::tests::{collected, lines, reference_cluster};
use super::*;
use crate::desired::{Change, Subject};
use crate::ldmsd::observation::ObservedProducerSet;
use crate::ldmsd::{Attribute, Numbering};

const SECOND_US: u64 = 1_000_000;
const AGGREGATORS: [&str; 3] = ["l1-agg-1", "l1-agg-2", "l1-agg-3"];

/// Instances, aggregators that obey at once, and what is published.
struct Hall {
    cluster: Arc<Cluster>,
    members: BTreeMap<usize, Conductor>,
    now_us: u64,
    /// Whose plans are taken.
    leader: Option<usize>,
    reports: BTreeMap<Name, (usize, Report)>,
    plans: BTreeMap<Name, GroupPlan>,
    /// The instances that are connected to each aggregator.
    connected: BTreeSet<(usize, Name)>,
    alive: BTreeSet<Name>,
    /// The producers that each aggregator has started, and whether their sets are ready.
    started: BTreeMap<(Name, Name), bool>,
    events: VecDeque<(usize, Event)>,
    /// Starts and stops, as `2: start l1-agg-1 4` for the second instance and the producer of the fourth sampler.
    sent: Vec<String>,
    notices: Vec<(usize, Notice)>,
}

impl Hall {
    /// Three instances with a share of one aggregator each, of which the first leads.
    fn new() -> Hall {
        let mut hall = Hall {
            cluster: Arc::new(reference_cluster("basic-current")),
            members: BTreeMap::new(),
            now_us: SECOND_US,
            leader: Some(1),
            reports: BTreeMap::new(),
            plans: BTreeMap::new(),
            connected: BTreeSet::new(),
            alive: AGGREGATORS.map(Name::from).into(),
            started: BTreeMap::new(),
            events: VecDeque::new(),
            sent: Vec::new(),
            notices: Vec::new(),
        };
        for member in 1..=3 {
            hall.join(member);
        }
        for member in 1..=3 {
            hall.stand(member, if member == 1 { Part::Leader } else { Part::Follower }, &[member]);
        }
        hall
    }

    /// All aggregators have had time to collect what they own.
    fn settled() -> Hall {
        let mut hall = Hall::new();
        hall.pass(20 * SECOND_US);
        hall.all_ready();
        hall.pass(10 * SECOND_US);
        hall.take_sent();
        hall.notices.clear();
        hall
    }

    fn join(&mut self, member: usize) {
        self.members.insert(member, Conductor::new(Settings::default()));
        self.tell(member, Event::Standing(Standing { part: Part::Suspended, mine: BTreeSet::new() }));
        self.tell(member, Event::Configured(Arc::clone(&self.cluster)));
        for (daemon, (_, report)) in self.reports.clone() {
            self.tell(member, Event::Reported { daemon, report: Some(report) });
        }
        for (group, plan) in self.plans.clone() {
            self.tell(member, Event::Planned { group, plan: Some(plan) });
        }
        self.play();
    }

    fn stand(&mut self, member: usize, part: Part, aggregators: &[usize]) {
        if part == Part::Leader {
            self.leader = Some(member);
        }
        let mine = aggregators.iter().map(|number| Name::from(AGGREGATORS[number - 1])).collect();
        self.tell(member, Event::Standing(Standing { part, mine }));
        self.play();
    }

    /// An instance ends; what it has published is taken back.
    fn kill_member(&mut self, member: usize) {
        self.members.remove(&member);
        self.connected.retain(|(connected, _)| *connected != member);
        let gone = self.reports.iter().filter(|(_, (publisher, _))| *publisher == member);
        let gone: Vec<Name> = gone.map(|(daemon, _)| daemon.clone()).collect();
        for daemon in gone {
            self.reports.remove(&daemon);
            self.tell_others(member, &Event::Reported { daemon, report: None });
        }
        self.play();
    }

    fn kill(&mut self, aggregator: &str) {
        let aggregator = Name::from(aggregator);
        self.alive.remove(&aggregator);
        self.started.retain(|(on, _), _| *on != aggregator);
        for member in self.members.keys().copied().collect::<Vec<_>>() {
            if self.connected.contains(&(member, aggregator.clone())) {
                let reason = DownReason::ConnectionLost("reset".into());
                self.tell(member, Event::Down { daemon: aggregator.clone(), reason });
            }
        }
        self.play();
    }

    fn revive(&mut self, aggregator: &str) {
        let aggregator = Name::from(aggregator);
        self.alive.insert(aggregator.clone());
        for member in self.members.keys().copied().collect::<Vec<_>>() {
            if self.connected.contains(&(member, aggregator.clone())) {
                self.answer(member, &aggregator);
            }
        }
        self.play();
    }

    fn all_ready(&mut self) {
        for ready in self.started.values_mut() {
            *ready = true;
        }
    }

    fn pass(&mut self, us: u64) {
        let end_us = self.now_us + us;
        loop {
            let wakes =
                self.members.iter().filter_map(|(member, conductor)| Some((conductor.next_wake_us()?, *member)));
            let Some((wake_us, member)) = wakes.min().filter(|(wake_us, _)| *wake_us <= end_us) else { break };
            self.now_us = self.now_us.max(wake_us);
            self.tell(member, Event::Wake);
            self.play();
        }
        self.now_us = end_us;
    }

    fn tell(&mut self, member: usize, event: Event) {
        self.events.push_back((member, event));
    }

    fn tell_others(&mut self, publisher: usize, event: &Event) {
        for member in self.members.keys().copied().filter(|member| *member != publisher).collect::<Vec<_>>() {
            self.tell(member, event.clone());
        }
    }

    /// A connection has been made, or not.
    fn answer(&mut self, member: usize, aggregator: &Name) {
        let daemon = aggregator.clone();
        let event = if self.alive.contains(aggregator) {
            let session = self.now_us * 10 + member as u64;
            let observed = self.observed(aggregator);
            Event::Up { daemon, session, pid: None, numbering: Numbering::V45, observed }
        } else {
            Event::Down { daemon, reason: DownReason::Unreachable("refused".into()) }
        };
        self.tell(member, event);
    }

    fn play(&mut self) {
        while let Some((member, event)) = self.events.pop_front() {
            let now = Now { mono_us: self.now_us, wall_us: self.now_us };
            let Some(conductor) = self.members.get_mut(&member) else { continue };
            for action in conductor.handle(event, now) {
                self.act(member, action);
            }
        }
    }

    fn act(&mut self, member: usize, action: Action) {
        match action {
            Action::Connect(target) if AGGREGATORS.contains(&target.daemon.as_str()) => {
                self.connected.insert((member, target.daemon.clone()));
                self.answer(member, &target.daemon);
            }
            Action::Forget(daemon) => {
                self.connected.remove(&(member, daemon));
            }
            Action::Run { daemon, session, changes, .. } => {
                assert!(self.connected.contains(&(member, daemon.clone())), "{member} sends to {daemon}");
                for change in &changes {
                    self.carry_out(member, &daemon, change);
                }
                let outcomes = vec![Outcome::Applied; changes.len()];
                let observed = self.observed(&daemon);
                self.tell(member, Event::Done { daemon, session, outcomes, observed });
            }
            Action::Observe { daemon, session, .. } => {
                let observed = self.observed(&daemon);
                self.tell(member, Event::Done { daemon, session, outcomes: Vec::new(), observed });
            }
            Action::Report(notice) => self.notices.push((member, notice)),
            Action::Publish { daemon, report } => {
                match &report {
                    Some(report) => self.reports.insert(daemon.clone(), (member, report.clone())),
                    None => self.reports.remove(&daemon),
                };
                self.tell_others(member, &Event::Reported { daemon, report });
            }
            Action::PublishPlan { group, plan } if self.leader == Some(member) => {
                match &plan {
                    Some(plan) => self.plans.insert(group.clone(), plan.clone()),
                    None => self.plans.remove(&group),
                };
                self.tell_others(0, &Event::Planned { group, plan });
            }
            _ => {}
        }
    }

    fn carry_out(&mut self, member: usize, aggregator: &Name, change: &Change) {
        let (word, producers) = match &change.subject {
            Subject::ProducersStarted(_) => {
                let expression = change.steps[0].command.get(Attribute::Regex).unwrap();
                ("start", expression.trim_matches(['^', '$', '(', ')']).split('|').map(Name::from).collect())
            }
            Subject::ProducerStopped(producer) => ("stop", vec![producer.clone()]),
            _ => ("", Vec::new()),
        };
        for producer in producers {
            let number = producer.split('-').nth(1).unwrap().to_owned();
            self.sent.push(format!("{member}: {word} {aggregator} {number}"));
            let key = (aggregator.clone(), producer);
            match word {
                "start" => self.started.insert(key, false),
                _ => self.started.remove(&key),
            };
        }
    }

    fn observed(&self, aggregator: &Name) -> Observed {
        let producer = |number: usize| {
            let name = Name::from(format!("node-{number}-10002"));
            let runs = self.started.get(&(aggregator.clone(), name.clone()));
            let sets = runs.map(|ready| ObservedProducerSet { instance: format!("{name}/meminfo"), ready: *ready });
            (name, collected(number, runs.is_some(), sets.into_iter().collect()))
        };
        Observed { producers: Some((1..=8).map(producer).collect()), ..Observed::default() }
    }

    fn take_sent(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.sent).into_iter().collect()
    }

    /// The plan of the group of the three.
    fn plan(&self) -> &GroupPlan {
        &self.plans[&Name::from("l1-agg-[1-3]")]
    }
}

#[test]
fn each_starts_on_its_own_aggregator_what_the_leader_has_given_to_it() {
    let mut hall = Hall::new();
    let blocks = ["1 1", "1 2", "1 3", "2 4", "2 5", "2 6", "3 7", "3 8"];
    let expected = blocks.map(|block| format!("{}: start l1-agg-{block}", &block[..1]));
    assert_eq!(hall.take_sent(), expected.into());
}

#[test]
fn without_a_leader_nobody_starts_anything() {
    let mut hall = Hall::new();
    hall.sent.clear();
    hall.started.clear();
    hall.plans.clear();
    for member in 1..=3 {
        hall.kill_member(member);
        hall.join(member);
        hall.stand(member, Part::Follower, &[member]);
    }
    hall.pass(30 * SECOND_US);
    assert_eq!(hall.take_sent(), lines(&[]));
    hall.stand(2, Part::Leader, &[2]);
    assert_eq!(hall.take_sent().len(), 8);
}

#[test]
fn the_loss_of_another_ones_aggregator_is_made_good_by_all() {
    let mut hall = Hall::settled();
    hall.kill("l1-agg-2");
    assert_eq!(hall.take_sent(), lines(&["1: start l1-agg-1 4", "3: start l1-agg-3 5", "3: start l1-agg-3 6"]));
}

#[test]
fn an_aggregator_that_returns_gets_its_work_back_once_its_maestro_tells_that_it_is_ready() {
    let mut hall = Hall::settled();
    hall.kill("l1-agg-2");
    hall.all_ready();
    hall.pass(10 * SECOND_US);
    hall.take_sent();

    hall.revive("l1-agg-2");
    hall.pass(4 * SECOND_US);
    assert_eq!(hall.take_sent(), lines(&[]), "it may fall again");
    hall.pass(2 * SECOND_US);
    assert_eq!(hall.take_sent(), lines(&["2: start l1-agg-2 4", "2: start l1-agg-2 5", "2: start l1-agg-2 6"]));
    hall.pass(5 * SECOND_US);
    assert_eq!(hall.take_sent(), lines(&[]), "it is not ready");
    hall.all_ready();
    hall.pass(4 * SECOND_US);
    assert_eq!(hall.take_sent(), lines(&["1: stop l1-agg-1 4", "3: stop l1-agg-3 5", "3: stop l1-agg-3 6"]));
    hall.pass(SECOND_US);
    assert!(hall.plan().leaving.is_empty() && hall.plan().taken_over.is_empty(), "{:?}", hall.plan());
}

#[test]
fn neither_another_leader_nor_another_share_moves_anything() {
    let mut hall = Hall::settled();
    // The leader ends; its aggregator goes to the third, which leads.
    hall.kill_member(1);
    hall.stand(3, Part::Leader, &[3]);
    hall.stand(2, Part::Follower, &[2]);
    hall.stand(3, Part::Leader, &[1, 3]);
    hall.pass(30 * SECOND_US);
    assert_eq!(hall.take_sent(), lines(&[]));

    // It returns, as a follower, and gets its share back.
    hall.join(1);
    hall.stand(1, Part::Follower, &[1]);
    hall.stand(3, Part::Leader, &[3]);
    hall.pass(30 * SECOND_US);
    assert_eq!(hall.take_sent(), lines(&[]));
    let told: Vec<&Notice> = hall.notices.iter().map(|(_, notice)| notice).collect();
    assert!(!told.iter().any(|notice| matches!(notice, Notice::AggregatorBack { .. })), "{told:?}");

    hall.kill("l1-agg-1");
    assert_eq!(hall.take_sent(), lines(&["2: start l1-agg-2 1", "3: start l1-agg-3 2", "3: start l1-agg-3 3"]));
}

#[test]
fn all_that_end_and_come_back_find_everything_as_it_is() {
    let mut hall = Hall::settled();
    hall.kill("l1-agg-3");
    hall.all_ready();
    hall.pass(30 * SECOND_US);
    hall.take_sent();
    for member in 1..=3 {
        hall.kill_member(member);
    }
    for member in 1..=3 {
        hall.join(member);
    }
    // The leader does not hear of the others' aggregators yet: their work must not be given to its own.
    hall.stand(2, Part::Leader, &[2]);
    hall.pass(2 * SECOND_US);
    hall.stand(1, Part::Follower, &[1]);
    hall.stand(3, Part::Follower, &[3]);
    hall.pass(30 * SECOND_US);
    assert_eq!(hall.take_sent(), lines(&[]));
}

#[test]
fn an_aggregator_that_nobody_tells_of_is_lost_only_after_a_while() {
    let mut hall = Hall::settled();
    hall.kill_member(3);
    hall.pass(2 * SECOND_US);
    assert_eq!(hall.take_sent(), lines(&[]));
    hall.pass(2 * SECOND_US);
    assert_eq!(hall.take_sent(), lines(&["1: start l1-agg-1 7", "2: start l1-agg-2 8"]));

    // The while begins again when somebody has told of it.
    let mut hall = Hall::settled();
    hall.kill_member(3);
    hall.pass(SECOND_US);
    hall.stand(2, Part::Follower, &[2, 3]);
    hall.pass(SECOND_US);
    hall.kill_member(2);
    hall.pass(2 * SECOND_US);
    assert_eq!(hall.take_sent(), lines(&[]));
}

#[test]
fn an_aggregator_that_falls_while_its_maestro_changes_is_lost_when_the_new_one_says_so() {
    let mut hall = Hall::settled();
    hall.kill_member(3);
    hall.kill("l1-agg-3");
    assert_eq!(hall.take_sent(), lines(&[]));
    hall.stand(2, Part::Follower, &[2, 3]);
    assert_eq!(hall.take_sent(), lines(&["1: start l1-agg-1 7", "2: start l1-agg-2 8"]));
}

#[test]
fn who_is_suspended_sends_nothing_and_goes_on_afterwards() {
    let mut hall = Hall::settled();
    for member in 1..=3 {
        hall.stand(member, Part::Suspended, &[member]);
    }
    hall.kill("l1-agg-1");
    hall.started.remove(&(Name::from("l1-agg-2"), Name::from("node-5-10002")));
    hall.revive("l1-agg-2");
    hall.pass(60 * SECOND_US);
    assert_eq!(hall.take_sent(), lines(&[]));
    for member in 1..=3 {
        hall.stand(member, if member == 2 { Part::Leader } else { Part::Follower }, &[member]);
    }
    let started = ["2: start l1-agg-2 1", "2: start l1-agg-2 5", "3: start l1-agg-3 2", "3: start l1-agg-3 3"];
    assert_eq!(hall.take_sent(), lines(&started));
}

#[test]
fn everything_is_published_anew_after_a_time_without_quorum() {
    let mut hall = Hall::settled();
    for member in 1..=3 {
        hall.stand(member, Part::Suspended, &[member]);
    }
    // What was published went with the leases.
    let reports = std::mem::take(&mut hall.reports);
    for member in 1..=3 {
        hall.stand(member, if member == 2 { Part::Leader } else { Part::Follower }, &[member]);
    }
    assert_eq!(hall.reports, reports);
    assert_eq!(hall.take_sent(), lines(&[]));
}

#[test]
fn a_leader_that_is_none_any_more_stops_nothing() {
    let mut hall = Hall::settled();
    hall.kill("l1-agg-1");
    hall.all_ready();
    hall.pass(10 * SECOND_US);
    // The third leads now, and the first, which has the returned aggregator, does not know it yet.
    hall.stand(3, Part::Leader, &[3]);
    hall.take_sent();
    hall.revive("l1-agg-1");
    let number = hall.plan().number;
    let mut stops = Vec::new();
    for _ in 0..100 {
        hall.all_ready();
        hall.pass(SECOND_US / 10);
        stops.extend(hall.take_sent().into_iter().filter(|sent| sent.contains("stop")));
    }
    assert!(hall.plan().number > number, "the new leader gives the work back");
    assert_eq!(stops, ["2: stop l1-agg-2 1", "3: stop l1-agg-3 2", "3: stop l1-agg-3 3"]);
}

#[test]
fn a_leader_whose_plans_are_not_taken_stops_nothing() {
    let mut hall = Hall::settled();
    hall.kill_member(3);
    hall.stand(1, Part::Leader, &[1, 3]);
    let (home, elsewhere) = (Name::from("l1-agg-3"), Name::from("l1-agg-1"));
    let producer = Name::from("node-8-10002");
    hall.leader = None;
    hall.started.insert((elsewhere, producer.clone()), true);
    hall.revive("l1-agg-1");
    hall.all_ready();
    hall.pass(30 * SECOND_US);
    assert_eq!(hall.take_sent(), lines(&[]), "another may have decided that it stays, and stop the other");

    hall.stand(1, Part::Suspended, &[1, 3]);
    hall.stand(1, Part::Leader, &[1, 3]);
    hall.pass(10 * SECOND_US);
    assert_eq!(hall.take_sent(), lines(&["1: stop l1-agg-1 8"]));
    assert!(hall.started.contains_key(&(home, producer)));
}

#[test]
fn what_an_earlier_owner_of_a_share_publishes_late_is_put_right() {
    let mut hall = Hall::settled();
    let daemon = Name::from("l1-agg-3");
    let down = Report { down: Some(DownReason::Silent("late".into())), ..Report::default() };
    hall.reports.insert(daemon.clone(), (2, down.clone()));
    hall.tell_others(2, &Event::Reported { daemon: daemon.clone(), report: Some(down) });
    hall.play();
    assert_eq!(hall.reports[&daemon].0, 3);
    assert!(hall.reports[&daemon].1.down.is_none());
}

#[test]
fn plans_and_reports_are_small() {
    let producers: Vec<Name> = (1..=30_000).map(|number| Name::from(format!("node-{number}-10002"))).collect();
    let aggregators: Vec<Name> = (1..=64).map(|number| Name::from(format!("l1-agg-{number}"))).collect();
    let homes = crate::placement::home_blocks(&producers, &aggregators);
    let size = |owners: &BTreeMap<Name, Name>| {
        let mut plan = GroupPlan { number: 1, ..GroupPlan::default() };
        for (producer, owner) in owners {
            plan.owners.entry(owner.clone()).or_default().insert(producer.clone());
        }
        let reports = plan.owners.values().map(|started| Report { started: started.clone(), ..Report::default() });
        let reports: Vec<usize> = reports.map(|report| serde_json::to_string(&report).unwrap().len()).collect();
        (serde_json::to_string(&plan).unwrap().len(), reports.iter().sum::<usize>(), reports.into_iter().max())
    };
    let (plan, reports, largest) = size(&homes);
    println!("at the start: plan {plan} bytes, reports {reports} bytes, the largest {largest:?}");
    assert!(plan < 5_000 && reports < 6_000);
    let left: BTreeSet<Name> = aggregators[1..].iter().cloned().collect();
    let owners = crate::placement::place_producers(&producers, &aggregators, &left, &homes);
    let (plan, reports, largest) = size(&owners);
    println!("after a loss: plan {plan} bytes, reports {reports} bytes, the largest {largest:?}");
    assert!(plan < 10_000 && reports < 12_000);
}
