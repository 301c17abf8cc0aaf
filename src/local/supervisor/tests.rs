use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Processes as a machine has them, driven by a supervisor.
struct World {
    supervisor: Supervisor,
    now: Duration,
    /// The processes by their daemon, and whether each heeds SIGTERM.
    processes: BTreeMap<Name, bool>,
    /// What the next starts come to: a process that heeds SIGTERM or not, or nothing. Then all are well.
    starts: VecDeque<Option<bool>>,
    /// When each daemon was last started.
    started_at: BTreeMap<Name, Duration>,
    /// When each daemon has lost its process.
    down_since: BTreeMap<Name, Duration>,
    stopped: bool,
    notices: Vec<Notice>,
}

impl World {
    fn new(starts: impl IntoIterator<Item = Option<bool>>) -> World {
        World {
            supervisor: Supervisor::default(),
            now: Duration::from_secs(1000),
            processes: BTreeMap::new(),
            starts: starts.into_iter().collect(),
            started_at: BTreeMap::new(),
            down_since: BTreeMap::new(),
            stopped: false,
            notices: Vec::new(),
        }
    }

    fn with_daemon() -> (World, Name) {
        let mut world = World::new([]);
        let daemon = Name::from("agg");
        world.happens(Event::Found(daemon.clone(), Found::Nothing));
        (world, daemon)
    }

    fn happens(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.supervisor.handle(event, self.now) {
                events.extend(self.act(action));
            }
        }
        let wakes_at = self.supervisor.wakes_at();
        assert!(wakes_at.is_none_or(|time| time > self.now), "it would wake up for ever");
    }

    fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Start(daemon) => {
                assert!(!self.stopped, "{daemon} is started after the stop");
                assert!(!self.processes.contains_key(&daemon), "{daemon} would run twice");
                if let Some(last) = self.started_at.insert(daemon.clone(), self.now) {
                    assert!(self.now - last >= FIRST_WAIT, "{daemon} is started without a pause");
                }
                match self.starts.pop_front().unwrap_or(Some(true)) {
                    Some(heeds) => {
                        self.down_since.remove(&daemon);
                        self.processes.insert(daemon.clone(), heeds);
                        Some(Event::Started { daemon, pid: 1 })
                    }
                    None => {
                        self.down_since.entry(daemon.clone()).or_insert(self.now);
                        Some(ended(&daemon, Ending::NotStarted("no memory".into())))
                    }
                }
            }
            Action::Terminate(daemon) if self.processes.get(&daemon) == Some(&true) => self.dies(&daemon, 15),
            Action::Terminate(_) => None,
            Action::Kill(daemon) => self.dies(&daemon, 9),
            Action::Report(notice) => {
                self.notices.push(notice);
                None
            }
        }
    }

    fn dies(&mut self, daemon: &Name, signal: i32) -> Option<Event> {
        self.processes.remove(daemon)?;
        self.down_since.insert(daemon.clone(), self.now);
        Some(ended(daemon, Ending::Killed(signal)))
    }

    /// A daemon ends by itself.
    fn ends(&mut self, daemon: &Name, ending: Ending) {
        if self.processes.remove(daemon).is_some() {
            self.down_since.insert(daemon.clone(), self.now);
            self.happens(ended(daemon, ending));
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.happens(Event::Stop);
    }

    fn passes(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(wake) = self.supervisor.wakes_at().filter(|wake| *wake <= until) {
            self.now = wake;
            self.happens(Event::Wake);
        }
        self.now = until;
    }

    /// Lets time pass until the daemon has a process again.
    fn until_up(&mut self, daemon: &Name) {
        while !self.processes.contains_key(daemon) {
            self.now = self.supervisor.wakes_at().expect("it is started again some time");
            self.happens(Event::Wake);
        }
    }

    fn told(&mut self) -> Vec<String> {
        self.notices.drain(..).map(|notice| notice.to_string()).collect()
    }
}

fn ended(daemon: &Name, ending: Ending) -> Event {
    Event::Ended { daemon: daemon.clone(), ending, last_words: vec!["no such plugin".into()] }
}

#[derive(Debug, Clone)]
enum Happening {
    Ends(usize, i32),
    Passes(u64),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let happening = prop_oneof![
        (0..3_usize, 0..2).prop_map(|(daemon, status)| Happening::Ends(daemon, status)),
        (0..20_000_u64).prop_map(Happening::Passes),
    ];
    proptest::collection::vec(happening, 0..60)
}

fn found() -> impl Strategy<Value = Vec<Found>> {
    let found = prop_oneof![Just(Found::Nothing), Just(Found::Current { pid: 7 }), Just(Found::Outdated { pid: 7 })];
    proptest::collection::vec(found, 3)
}

proptest! {
    #[test]
    fn every_daemon_comes_back_once_and_all_are_gone_in_the_end(
        found in found(),
        starts in proptest::collection::vec(prop_oneof![3 => Just(Some(true)), 1 => Just(Some(false)), 1 => Just(None)], 0..60),
        happenings in happenings(),
        stops in 1..3,
    ) {
        let mut world = World::new(starts);
        let names: Vec<Name> = ["a", "b", "c"].map(Name::from).to_vec();
        for (name, found) in names.iter().zip(found) {
            if found != Found::Nothing {
                world.processes.insert(name.clone(), true);
            }
            world.happens(Event::Found(name.clone(), found));
        }
        for happening in happenings {
            match happening {
                Happening::Ends(daemon, status) => world.ends(&names[daemon], Ending::Exited(status)),
                Happening::Passes(ms) => world.passes(Duration::from_millis(ms)),
            }
            for (daemon, since) in &world.down_since {
                let tried = world.started_at.get(daemon).is_some_and(|tried| world.now - *tried <= LONGEST_WAIT);
                prop_assert!(tried || world.now - *since <= LONGEST_WAIT, "{} is forgotten", daemon);
            }
        }
        for _ in 0..stops {
            world.stop();
        }
        world.passes(STOP_PATIENCE);
        prop_assert!(world.processes.is_empty(), "left running: {:?}", world.processes);
        prop_assert!(world.supervisor.is_done());
    }
}

#[test]
fn the_wait_doubles_up_to_a_minute_and_is_short_again_for_a_daemon_that_was_well() {
    let (mut world, daemon) = World::with_daemon();
    let mut waits = Vec::new();
    for _ in 0..8 {
        world.ends(&daemon, Ending::Exited(2));
        let down = world.now;
        world.until_up(&daemon);
        waits.push((world.now - down).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);

    let (mut world, daemon) = World::with_daemon();
    for _ in 0..5 {
        world.passes(WELL_AFTER);
        world.ends(&daemon, Ending::Killed(9));
        let down = world.now;
        world.until_up(&daemon);
        assert_eq!(world.now - down, SECOND);
    }
}

#[test]
fn a_daemon_that_does_not_come_up_is_told_of_twice_and_once_more_when_it_does() {
    let (mut world, daemon) = World::with_daemon();
    assert_eq!(world.told(), ["agg is started (pid 1)"]);
    for _ in 0..20 {
        world.passes(SECOND / 5);
        world.ends(&daemon, Ending::Exited(2));
        world.until_up(&daemon);
    }
    assert_eq!(
        world.told(),
        [
            "agg exited with status 2 after 0.2 s; it is started again in 1 s; its log ends:\n    no such plugin",
            "agg is started again (pid 1)",
            "agg exited with status 2 after 0.2 s, 3 failures in a row: it needs help; it is tried again, \
             at longer and longer intervals; its log ends:\n    no such plugin",
        ]
    );
    world.passes(WELL_AFTER);
    assert_eq!(world.told(), ["agg stays up now"]);
    world.passes(Duration::from_secs(4000));
    world.ends(&daemon, Ending::Killed(9));
    assert_eq!(world.told(), ["agg was killed by SIGKILL after 1h 6m; it is started again in 1 s"]);
}

#[test]
fn another_way_to_fail_is_told_at_once() {
    let (mut world, daemon) = World::with_daemon();
    world.ends(&daemon, Ending::Exited(2));
    world.passes(SECOND);
    world.told();
    world.ends(&daemon, Ending::Exited(7));
    let told = world.told();
    assert!(matches!(told.as_slice(), [line] if line.contains("status 7") && line.contains("in 2 s")), "{told:?}");
}

#[test]
fn what_an_earlier_run_has_left_is_kept_or_replaced() {
    let mut world = World::new([]);
    for (name, found) in [("right", Found::Current { pid: 4 }), ("wrong", Found::Outdated { pid: 5 })] {
        world.processes.insert(name.into(), true);
        world.happens(Event::Found(name.into(), found));
    }
    let started: Vec<&str> = world.started_at.keys().map(Name::as_str).collect();
    assert_eq!((started, world.processes.len()), (vec!["wrong"], 2));
}

#[test]
fn a_daemon_that_ignores_sigterm_is_killed_and_one_that_ignores_sigkill_left() {
    let (mut world, _) = World::with_daemon();
    *world.processes.get_mut(&Name::from("agg")).unwrap() = false;
    world.stop();
    world.passes(STOP_PATIENCE - SECOND);
    assert_eq!((world.processes.len(), world.supervisor.is_done()), (1, false));
    world.passes(SECOND);
    assert_eq!((world.processes.len(), world.supervisor.is_done()), (0, true));

    let mut supervisor = Supervisor::default();
    let daemon = Name::from("hangs");
    let mut actions = supervisor.handle(Event::Found(daemon.clone(), Found::Current { pid: 1 }), SECOND);
    actions.extend(supervisor.handle(Event::Stop, SECOND));
    while let Some(time) = supervisor.wakes_at() {
        actions.extend(supervisor.handle(Event::Wake, time));
    }
    assert!(supervisor.is_done());
    assert_eq!(actions.last(), Some(&Action::Report(Notice::Unkillable { daemon })));
}

#[test]
fn who_says_stop_twice_does_not_want_to_wait() {
    let (mut world, daemon) = World::with_daemon();
    world.processes.insert(daemon, false);
    world.stop();
    assert!(!world.supervisor.is_done());
    world.stop();
    assert!(world.supervisor.is_done());
}

#[test]
fn a_daemon_whose_start_crosses_the_stop_is_stopped() {
    for answer in [Event::Started { daemon: "agg".into(), pid: 1 }, ended(&"agg".into(), Ending::Unseen)] {
        let mut supervisor = Supervisor::default();
        supervisor.handle(Event::Found("agg".into(), Found::Nothing), SECOND);
        supervisor.handle(Event::Stop, SECOND);
        assert!(!supervisor.is_done(), "the answer is on its way");
        if matches!(answer, Event::Started { .. }) {
            assert_eq!(supervisor.handle(answer, SECOND), [Action::Terminate("agg".into())]);
            assert_eq!(supervisor.wakes_at(), Some(SECOND + STOP_PATIENCE), "it may be deaf");
            supervisor.handle(ended(&"agg".into(), Ending::Exited(0)), SECOND);
        } else {
            supervisor.handle(answer, SECOND);
        }
        assert!(supervisor.is_done());
    }
}
