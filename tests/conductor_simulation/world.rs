//! A world for the conductor: a virtual clock, simulated daemons, the agents' connections to them, and faults.
//!
//! All chance comes from one seed, and everything happens in one order: a world that fails does so again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use maestro::cluster::Cluster;
use maestro::conductor::{Action, Conductor, DownReason, Event, Memo, Memory, Notice, Now, Part, Settings, Standing};
use maestro::ldmsd::{Command, Numbering, Verb};
use maestro::notation::Name;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::agent::{Agent, Order};
use super::council::board::{Board, Council, Write};
use super::faults::Fault;
use super::history::History;
use crate::daemon::{Imitation, Reply, directory_text};
use crate::virtual_cluster::VirtualCluster;

pub(crate) const MS_US: u64 = 1_000;
pub(crate) const SECOND_US: u64 = 1_000_000;
/// The wall clock when a world begins.
const BEGIN_US: u64 = 1_795_328_000 * SECOND_US;
/// How long a message takes between maestro and a daemon, one way.
const LATENCY_US: Range<u64> = 100..2_500;
/// The refusal of a daemon that is told to refuse.
pub(crate) const REFUSAL: i32 = 22;
/// More events than this at one moment, and the conductor does not come to rest.
const MOST_AT_ONCE: usize = 10_000;

pub(crate) struct World {
    random: StdRng,
    imitation: Imitation,
    pub(crate) network: VirtualCluster,
    pub(crate) cluster: Arc<Cluster>,
    /// The cluster with all its samplers, of which the configuration may lack some.
    pub(crate) full_cluster: Cluster,
    /// The host of each daemon, which is what the virtual cluster knows it by.
    hosts: BTreeMap<Name, String>,
    /// Counts the processes of each daemon, whose number stands for the process id.
    processes: BTreeMap<Name, u32>,
    pub(crate) settings: Settings,
    /// The instance whose turn it is; its conductor and agents are those here, the others' are away.
    pub(crate) seat: usize,
    pub(crate) away: BTreeMap<usize, Seat>,
    /// Where several instances meet.
    pub(crate) board: Option<Board>,
    conductor: Option<Conductor>,
    /// What maestro has noted, which outlives it.
    pub(crate) memory: Memory,
    pub(crate) agents: BTreeMap<Name, Agent>,
    /// What will happen, and to which instance.
    queue: BTreeMap<(u64, u64), (usize, Happening)>,
    numbers: u64,
    exchanges: BTreeMap<u64, Exchange>,
    /// Daemons that maestro cannot reach, and whether attempts are refused rather than unanswered.
    cut: BTreeMap<Name, bool>,
    /// What reached a daemon that hangs.
    held: BTreeMap<Name, Vec<u64>>,
    pub(crate) refusing: BTreeMap<Name, Verb>,
    breaking: BTreeSet<Name>,
    at_this_moment: (u64, usize),
    pub(crate) history: History,
}

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Happening {
    AgentConnects {
        daemon: Name,
        connection: u64,
    },
    AgentTimer {
        daemon: Name,
        connection: u64,
    },
    Arrival {
        exchange: u64,
    },
    Answer {
        exchange: u64,
        replies: Vec<Reply>,
        directory: Option<String>,
    },
    Unanswered {
        exchange: u64,
    },
    Broken {
        daemon: Name,
        connection: u64,
        reason: DownReason,
    },
    /// By now the producers run on their new owners: group, producer, owner.
    TakeoverDue {
        taken: Vec<(Name, Name, Name)>,
    },
    /// By now the producers of an aggregator that hangs run elsewhere.
    ReplacementDue {
        group: Name,
        hung: Name,
        hung_us: u64,
    },
    Fault(Fault),
    /// Between an instance and the board.
    Council(Council),
}

/// An instance of maestro.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    conductor: Option<Conductor>,
    agents: BTreeMap<Name, Agent>,
}

/// Commands on their way to a daemon.
struct Exchange {
    seat: usize,
    daemon: Name,
    process: u32,
    commands: Vec<Command>,
    directory: bool,
}

impl World {
    /// A world of empty daemons without a maestro.
    pub(crate) fn new(seed: u64, imitation: Imitation, cluster: Cluster) -> World {
        let mut random = StdRng::seed_from_u64(seed);
        let begin_us = BEGIN_US + random.random_range(0..SECOND_US);
        let host = |name: &Name| cluster.daemons[name].host.clone();
        let hosts: BTreeMap<Name, String> = cluster.daemons.keys().map(|name| (name.clone(), host(name))).collect();
        let names: Vec<&str> = hosts.values().map(String::as_str).collect();
        World {
            random,
            imitation,
            network: VirtualCluster::new(imitation, &names, begin_us),
            processes: hosts.keys().map(|name| (name.clone(), 1)).collect(),
            full_cluster: cluster.clone(),
            cluster: Arc::new(cluster),
            hosts,
            settings: Settings::default(),
            seat: 0,
            away: BTreeMap::new(),
            board: None,
            conductor: None,
            memory: Memory::default(),
            agents: BTreeMap::new(),
            queue: BTreeMap::new(),
            numbers: 0,
            exchanges: BTreeMap::new(),
            cut: BTreeMap::new(),
            held: BTreeMap::new(),
            refusing: BTreeMap::new(),
            breaking: BTreeSet::new(),
            at_this_moment: (0, 0),
            history: History::default(),
        }
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.network.now_us
    }

    /// Seconds since the world began, for messages.
    pub(crate) fn seconds(&self) -> f64 {
        (self.now_us() - BEGIN_US) as f64 / 1e6
    }

    pub(crate) fn random(&mut self, range: Range<u64>) -> u64 {
        self.random.random_range(range)
    }

    pub(crate) fn numbering(&self) -> Numbering {
        self.imitation.numbering()
    }

    pub(crate) fn host(&self, daemon: &Name) -> &str {
        &self.hosts[daemon]
    }

    pub(crate) fn process(&self, daemon: &Name) -> u32 {
        self.processes[daemon]
    }

    /// The conductor that decides: of several the leader's.
    pub(crate) fn conductor(&self) -> Option<&Conductor> {
        let leader = self.board.as_ref().map_or(Some(self.seat), Board::leader)?;
        if leader == self.seat { self.conductor.as_ref() } else { self.away.get(&leader)?.conductor.as_ref() }
    }

    /// The conductor of the instance whose turn it is.
    pub(crate) fn conductor_here(&self) -> Option<&Conductor> {
        self.conductor.as_ref()
    }

    /// An agent of any instance for a daemon.
    pub(crate) fn agent_of(&self, daemon: &Name) -> Option<&Agent> {
        self.agents.get(daemon).or_else(|| self.away.values().find_map(|seat| seat.agents.get(daemon)))
    }

    /// How much the conductor remembers, as the length of its description.
    pub(crate) fn conductor_size(&self) -> usize {
        format!("{:?} {:?}", self.conductor, self.away).len()
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn new_connection(&mut self) -> u64 {
        self.number()
    }

    pub(crate) fn new_session(&mut self) -> u64 {
        self.number()
    }

    pub(crate) fn at(&mut self, at_us: u64, happening: Happening) {
        let number = self.number();
        self.queue.insert((at_us, number), (self.seat, happening));
    }

    fn latency_us(&mut self) -> u64 {
        self.random.random_range(LATENCY_US)
    }

    /// Gives the turn to an instance.
    pub(crate) fn sit(&mut self, seat: usize) {
        if seat != self.seat {
            let there = self.away.remove(&seat).unwrap_or_default();
            let conductor = std::mem::replace(&mut self.conductor, there.conductor);
            let agents = std::mem::replace(&mut self.agents, there.agents);
            self.away.insert(self.seat, Seat { conductor, agents });
            self.seat = seat;
        }
    }

    /// All instances that there have been.
    pub(crate) fn seats(&self) -> Vec<usize> {
        self.away.keys().copied().chain([self.seat]).collect()
    }

    /// When a conductor wants to be woken, and whose it is.
    fn next_wake(&self) -> Option<(u64, usize)> {
        let others = self.away.iter().map(|(seat, other)| (*seat, &other.conductor));
        let running = others.chain([(self.seat, &self.conductor)]).filter(|(seat, _)| !self.is_paused(*seat));
        running.filter_map(|(seat, conductor)| Some((conductor.as_ref()?.next_wake_us()? + BEGIN_US, seat))).min()
    }
}

/// Time.
impl World {
    pub(crate) fn run_for(&mut self, us: u64) {
        self.run_until(self.now_us() + us);
    }

    /// Lets everything happen that does so up to this time.
    pub(crate) fn run_until(&mut self, end_us: u64) {
        loop {
            let by_queue = self.queue.keys().next().map(|(at_us, _)| *at_us);
            let by_conductor = self.next_wake();
            let by_network = self.network.next_event_us();
            let next_us = by_queue.into_iter().chain(by_conductor.map(|(at_us, _)| at_us)).chain(by_network).min();
            let Some(next_us) = next_us.filter(|next_us| *next_us <= end_us) else { break };
            let next_us = next_us.max(self.now_us());
            self.network.run_for(next_us - self.now_us());
            self.history.collected(self.network.samples.drain(..));
            self.count_moment();
            if by_queue.is_some_and(|at_us| at_us <= next_us) {
                if let Some((_, (seat, happening))) = self.queue.pop_first() {
                    self.sit(seat);
                    self.happen(happening);
                }
            } else if let Some((_, seat)) = by_conductor.filter(|(at_us, _)| *at_us <= next_us) {
                self.sit(seat);
                self.conduct(Event::Wake);
            }
        }
        self.network.run_for(end_us - self.now_us());
        assert!(self.network.ended.is_empty(), "daemons have died: {:?}", self.network.ended);
    }

    fn count_moment(&mut self) {
        let now_us = self.now_us();
        let count = if self.at_this_moment.0 == now_us { self.at_this_moment.1 + 1 } else { 0 };
        self.at_this_moment = (now_us, count);
        assert!(count < MOST_AT_ONCE, "time stands still at {}", self.seconds());
    }

    fn happen(&mut self, happening: Happening) {
        let Some(happening) = self.unless_paused(happening) else { return };
        match happening {
            Happening::AgentConnects { daemon, connection } if self.is_current(&daemon, connection) => {
                self.agent_connects(&daemon);
            }
            Happening::AgentTimer { daemon, connection } if self.is_current(&daemon, connection) => {
                self.agent_goes_on(&daemon);
            }
            Happening::Broken { daemon, connection, reason } if self.is_current(&daemon, connection) => {
                self.agent_loses(&daemon, reason);
            }
            Happening::AgentConnects { .. } | Happening::AgentTimer { .. } | Happening::Broken { .. } => {}
            Happening::TakeoverDue { taken } => self.check_takeover(&taken),
            Happening::ReplacementDue { group, hung, hung_us } => self.check_replacement(&group, &hung, hung_us),
            Happening::Fault(fault) => self.suffer(fault),
            Happening::Council(council) => self.convene(council),
            Happening::Arrival { exchange } => self.arrive(exchange),
            Happening::Answer { exchange, replies, directory } => {
                if let Some(daemon) = self.awaiting(exchange).filter(|daemon| !self.is_unreachable(daemon)) {
                    self.exchanges.remove(&exchange);
                    self.agent_hears(&daemon, &replies, directory);
                }
            }
            Happening::Unanswered { exchange } => {
                let daemon = self.awaiting(exchange);
                let is_held = self.held.values().flatten().any(|held| *held == exchange);
                if !is_held {
                    self.exchanges.remove(&exchange);
                }
                if let Some(daemon) = daemon {
                    let is_up = self.agents.get(&daemon).is_some_and(|agent| agent.session.is_some());
                    let text = "no answer".to_owned();
                    let reason = if is_up { DownReason::Silent(text) } else { DownReason::Unreachable(text) };
                    self.agent_loses(&daemon, reason);
                }
            }
        }
    }

    fn is_current(&self, daemon: &Name, connection: u64) -> bool {
        self.agents.get(daemon).is_some_and(|agent| agent.connection == connection)
    }

    /// The daemon whose agent still waits for an exchange.
    fn awaiting(&self, exchange: u64) -> Option<Name> {
        let daemon = &self.exchanges.get(&exchange)?.daemon;
        self.agents.get(daemon).filter(|agent| agent.awaits(exchange)).map(|_| daemon.clone())
    }
}

/// Between agents and daemons.
impl World {
    pub(crate) fn send(&mut self, daemon: &Name, commands: Vec<Command>, directory: bool, deadline_us: u64) -> u64 {
        let exchange = self.number();
        let process = self.agents.get(daemon).map_or(0, |agent| agent.process);
        let seat = self.seat;
        self.exchanges.insert(exchange, Exchange { seat, daemon: daemon.clone(), process, commands, directory });
        let latency_us = self.latency_us();
        self.at(self.now_us() + latency_us, Happening::Arrival { exchange });
        self.at(self.now_us() + deadline_us, Happening::Unanswered { exchange });
        exchange
    }

    fn arrive(&mut self, number: u64) {
        let Some(seat) = self.exchanges.get(&number).map(|exchange| exchange.seat) else { return };
        self.sit(seat);
        let Some(exchange) = self.exchanges.get(&number) else { return };
        let daemon = exchange.daemon.clone();
        let host = self.hosts[&daemon].clone();
        let is_up = self.network.daemon(&host).is_some() && self.processes[&daemon] == exchange.process;
        let refuses_connections = self.cut.get(&daemon).is_some_and(|refuses| *refuses);
        if !is_up || refuses_connections {
            if let Some(daemon) = self.awaiting(number) {
                self.break_connection(&daemon);
            }
            return;
        }
        if self.is_unreachable(&daemon) {
            return;
        }
        if self.network.is_hung(&host) {
            self.held.entry(daemon).or_default().push(number);
            return;
        }
        let (commands, directory) = (exchange.commands.clone(), exchange.directory);
        let changing = commands.iter().any(|command| !command.verb.only_asks());
        let breaks = changing && self.breaking.remove(&daemon);
        let heard = if breaks { self.random(0..commands.len() as u64 + 1) as usize } else { commands.len() };
        let replies = commands[..heard].iter().map(|command| self.execute(&daemon, command)).collect();
        if breaks {
            self.disturb(&daemon, "loses its connection to maestro");
            if let Some(daemon) = self.awaiting(number) {
                self.break_connection(&daemon);
            }
            return;
        }
        let directory = directory
            .then(|| self.network.daemon(&host).map(|found| directory_text(&found.directory(self.now_us()))))
            .flatten();
        let latency_us = self.latency_us();
        self.at(self.now_us() + latency_us, Happening::Answer { exchange: number, replies, directory });
    }

    fn execute(&mut self, daemon: &Name, command: &Command) -> Reply {
        let refused = self.refusing.get(daemon) == Some(&command.verb);
        if !command.verb.only_asks() {
            self.history.sent(self.network.now_us, self.seat, daemon, command, refused);
        }
        if refused {
            return Reply::error(REFUSAL, "told to refuse");
        }
        let host = &self.hosts[daemon];
        let reply = self.network.request(host, command);
        reply.unwrap_or_else(|| Reply::error(-1, "a daemon that is down has answered"))
    }

    /// All connections to a daemon break.
    fn break_connections(&mut self, daemon: &Name) {
        for seat in self.seats() {
            self.sit(seat);
            self.break_connection(daemon);
        }
    }

    /// The agent's connection breaks, which it notices at once.
    fn break_connection(&mut self, daemon: &Name) {
        let latency_us = self.latency_us();
        if let Some(agent) = self.agents.get(daemon) {
            let text = "connection reset".to_owned();
            let is_up = agent.session.is_some();
            let reason = if is_up { DownReason::ConnectionLost(text) } else { DownReason::Unreachable(text) };
            let (daemon, connection) = (daemon.clone(), agent.connection);
            self.at(self.now_us() + latency_us, Happening::Broken { daemon, connection, reason });
        }
    }
}

/// Maestro.
impl World {
    /// Starts maestro, or restarts it: it knows what it has noted.
    pub(crate) fn start_maestro(&mut self) {
        self.stop_maestro();
        self.conductor = Some(Conductor::new(self.settings.clone()));
        self.history.maestro_started(self.network.now_us);
        if self.board.is_some() {
            self.conduct(Event::Standing(Standing { part: Part::Suspended, mine: BTreeSet::new() }));
        }
        self.conduct(Event::Remembered(self.memory.clone()));
        self.conduct(Event::Configured(Arc::clone(&self.cluster)));
    }

    pub(crate) fn stop_maestro(&mut self) {
        self.conductor = None;
        self.agents.clear();
    }

    pub(crate) fn configure(&mut self, cluster: Cluster) {
        self.cluster = Arc::new(cluster);
        self.history.log(self.network.now_us, || "*** another configuration".to_owned());
        self.history.configured_us = self.network.now_us;
        for seat in self.seats() {
            self.sit(seat);
            self.conduct(Event::Configured(Arc::clone(&self.cluster)));
            self.review_standing();
        }
    }

    /// Tells the conductor what has happened and does what it says.
    pub(crate) fn conduct(&mut self, event: Event) {
        let now = Now { mono_us: self.now_us() - BEGIN_US, wall_us: self.now_us() };
        let lost = match &event {
            Event::Down { daemon, .. } => Some(daemon.clone()),
            _ => None,
        };
        if let Event::Down { daemon, reason } = &event {
            self.history.log(now.wall_us, || format!("{daemon} is down: {reason}"));
        }
        if let Event::Up { daemon, .. } = &event {
            self.history.log(now.wall_us, || format!("{daemon} is up"));
        }
        let owners_before = lost.is_some().then(|| self.owners());
        let Some(conductor) = &mut self.conductor else { return };
        let actions = conductor.handle(event, now);
        if let (Some(lost), Some(before), None) = (lost, owners_before, &self.board) {
            self.expect_takeover(&lost, &before);
        }
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect(target) => {
                let daemon = target.daemon.clone();
                let connection = self.new_connection();
                self.agents.insert(daemon.clone(), Agent::new(target, connection));
                self.at(self.now_us(), Happening::AgentConnects { daemon, connection });
            }
            Action::Forget(daemon) => {
                self.agents.remove(&daemon);
            }
            Action::Attend { daemon, sections } => {
                let now_us = self.now_us();
                if let Some(agent) = self.agents.get_mut(&daemon) {
                    agent.attend(sections, now_us);
                }
                self.agent_goes_on(&daemon);
            }
            Action::Run { daemon, session, changes, scope } => {
                self.check_order(&daemon);
                self.check_stops(&daemon, &changes);
                self.give_order(&daemon, Order { session, changes, scope });
            }
            Action::Observe { daemon, session, scope } => {
                self.give_order(&daemon, Order { session, changes: Vec::new(), scope });
            }
            Action::Remember(memo) => self.note(memo),
            Action::Report(notice) => self.take_notice(notice),
            Action::Publish { daemon, report } => self.write(Write::Report(daemon, report)),
            Action::PublishPlan { group, plan } => self.write(Write::Plan(group, plan)),
        }
    }

    fn note(&mut self, memo: Memo) {
        match memo {
            Memo::Daemon { daemon, record: Some(record) } => drop(self.memory.daemons.insert(daemon, *record)),
            Memo::Daemon { daemon, record: None } => drop(self.memory.daemons.remove(&daemon)),
            Memo::Producers { group, part, names: Some(names) } => {
                self.memory.producers.insert((group, part), names);
            }
            Memo::Producers { group, part, names: None } => drop(self.memory.producers.remove(&(group, part))),
        }
    }

    fn give_order(&mut self, daemon: &Name, order: Order) {
        if let Some(agent) = self.agents.get_mut(daemon) {
            agent.take_order(order);
            self.agent_goes_on(daemon);
        }
    }

    fn take_notice(&mut self, notice: Notice) {
        self.history.log(self.network.now_us, || format!("notice: {notice}"));
        self.check_notice(&notice);
        self.history.notices.push((self.network.now_us, notice));
    }
}

/// Faults, and their ends.
impl World {
    /// Whether maestro works with every daemon.
    pub(crate) fn all_connected(&self) -> bool {
        let others = self.away.values().flat_map(|seat| seat.agents.values());
        others.chain(self.agents.values()).all(|agent| agent.session.is_some())
    }

    pub(crate) fn is_up(&self, daemon: &Name) -> bool {
        self.network.daemon(self.host(daemon)).is_some()
    }

    pub(crate) fn is_hung(&self, daemon: &Name) -> bool {
        self.network.is_hung(self.host(daemon))
    }

    pub(crate) fn is_cut(&self, daemon: &Name) -> bool {
        self.cut.contains_key(daemon)
    }

    /// Ends a daemon; all that it was is lost.
    pub(crate) fn kill(&mut self, daemon: &Name) {
        if !self.is_up(daemon) {
            return;
        }
        self.disturb(daemon, "is killed");
        self.network.kill(&self.hosts[daemon]);
        self.held.remove(daemon);
        if !self.cut.contains_key(daemon) {
            self.break_connections(daemon);
        }
    }

    /// Starts a daemon that is down, empty.
    pub(crate) fn restart(&mut self, daemon: &Name) {
        if self.is_up(daemon) {
            return;
        }
        self.disturb(daemon, "is started");
        *self.processes.entry(daemon.clone()).or_default() += 1;
        self.network.start(&self.hosts[daemon]);
    }

    pub(crate) fn hang(&mut self, daemon: &Name) {
        if self.is_up(daemon) && !self.is_hung(daemon) {
            self.expect_replacement(daemon);
            self.disturb(daemon, "hangs");
            self.network.hang(&self.hosts[daemon]);
        }
    }

    /// A daemon that hung goes on, and carries out what it was sent meanwhile.
    pub(crate) fn resume(&mut self, daemon: &Name) {
        if !self.is_hung(daemon) {
            return;
        }
        self.disturb(daemon, "goes on");
        self.network.resume(&self.hosts[daemon]);
        for exchange in self.held.remove(daemon).unwrap_or_default() {
            self.arrive(exchange);
        }
    }

    /// Maestro can no longer reach a daemon; the daemon and its peers do not notice.
    pub(crate) fn cut(&mut self, daemon: &Name, refuses: bool) {
        if self.cut.contains_key(daemon) {
            return;
        }
        self.disturb(daemon, if refuses { "is cut from maestro, which notices" } else { "is cut from maestro" });
        self.cut.insert(daemon.clone(), refuses);
        if refuses {
            self.break_connections(daemon);
        }
    }

    pub(crate) fn heal(&mut self, daemon: &Name) {
        if self.cut.remove(daemon).is_some() {
            self.disturb(daemon, "can be reached again");
        }
    }

    /// Every command of this verb is refused until [`World::accept`].
    pub(crate) fn refuse(&mut self, daemon: &Name, verb: Verb) {
        self.disturb(daemon, &format!("refuses {verb}"));
        self.refusing.insert(daemon.clone(), verb);
    }

    pub(crate) fn accept(&mut self, daemon: &Name) {
        if self.refusing.remove(daemon).is_some() {
            self.disturb(daemon, "refuses no more");
        }
    }

    /// The next commands are carried out in part, then the connection breaks.
    pub(crate) fn break_next_batch(&mut self, daemon: &Name) {
        self.disturb(daemon, "will lose its next batch");
        self.breaking.insert(daemon.clone());
    }

    /// Somebody else gives a daemon a command.
    pub(crate) fn meddle(&mut self, daemon: &Name, command: &Command) {
        if self.is_up(daemon) && !self.is_hung(daemon) {
            self.disturb(daemon, &format!("is given `{command}` by somebody"));
            let _ = self.network.request_by_another(&self.hosts[daemon], command);
        }
    }

    /// Ends all faults.
    pub(crate) fn end_faults(&mut self) {
        let daemons: Vec<Name> = self.hosts.keys().cloned().collect();
        self.breaking.clear();
        for daemon in &daemons {
            self.resume(daemon);
            self.restart(daemon);
            self.heal(daemon);
            self.accept(daemon);
        }
        if self.board.is_some() {
            self.end_council_faults();
        } else if self.conductor.is_none() {
            self.start_maestro();
        }
    }

    pub(crate) fn disturb(&mut self, daemon: &Name, what: &str) {
        self.history.disturbed(self.network.now_us, daemon, what);
    }
}
