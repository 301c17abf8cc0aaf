//! The model of an agent: it keeps a connection to one daemon, probes it, observes, sends what it is given.
//!
//! It behaves in time as the runtime's does; what it asks travels through the [`World`], which knows of latencies and
//! faults. One question is out at a time, as a real agent awaits one thing at a time.

use std::collections::VecDeque;

use maestro::conductor::{DownReason, Event, Outcome, Scope, Sections, Target};
use maestro::desired::{Change, Subject};
use maestro::ldmsd::codec::WireAttribute;
use maestro::ldmsd::status::SetInfo;
use maestro::ldmsd::{Command, Numbering, Request, Response, Verb};
use maestro::notation::Name;
use maestro::runtime::inquiry::{self, Fingerprint, Inquiry};

use super::world::{Happening, World};
use crate::daemon::Reply;

const TIMEOUT_US: u64 = 15_000_000;
const PROBE_US: u64 = 1_000_000;
const SAMPLER_PROBE_US: u64 = 10_000_000;
/// How long a probe may take.
pub(crate) const PROBE_DEADLINE_US: u64 = 3_000_000;
const RESYNC_US: u64 = 60_000_000;
const FIRST_PAUSE_US: u64 = 100_000;
const LONGEST_PAUSE_AGGREGATOR_US: u64 = 1_000_000;
const LONGEST_PAUSE_SAMPLER_US: u64 = 5_000_000;
const NOT_IMPLEMENTED: i32 = 38;
/// Orders that wait, at most.
const INBOX: usize = 2;

#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) target: Target,
    attended: Option<Sections>,
    /// Distinguishes this connection, or attempt, from all others of the world.
    pub(crate) connection: u64,
    /// The process that it is connected to.
    pub(crate) process: u32,
    /// The session that the conductor knows, once it is up.
    pub(crate) session: Option<u64>,
    pause_us: u64,
    fingerprint: Fingerprint,
    next_probe_us: u64,
    next_resync_us: u64,
    inbox: VecDeque<Order>,
    /// What the question that is out is about, and its number.
    job: Option<(u64, Job)>,
}

#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) session: u64,
    pub(crate) changes: Vec<Change>,
    pub(crate) scope: Scope,
}

#[derive(Debug)]
enum Job {
    Connect,
    FirstLook,
    Probe { resync: bool },
    Look,
    Run(Order),
    LookAfter(Order, Vec<Outcome>),
}

impl Agent {
    pub(crate) fn new(target: Target, connection: u64) -> Agent {
        Agent {
            target,
            attended: None,
            connection,
            process: 0,
            session: None,
            pause_us: FIRST_PAUSE_US,
            fingerprint: Fingerprint::default(),
            next_probe_us: 0,
            next_resync_us: 0,
            inbox: VecDeque::new(),
            job: None,
        }
    }

    pub(crate) fn take_order(&mut self, order: Order) {
        if self.inbox.len() < INBOX {
            self.inbox.push_back(order);
        }
    }

    /// Looks at other parts of the daemon as soon as nothing is out.
    pub(crate) fn attend(&mut self, sections: Sections, now_us: u64) {
        self.attended = Some(sections);
        (self.next_probe_us, self.next_resync_us) = (now_us, now_us);
    }

    /// Whether an answer is awaited for longer than a probe is given.
    pub(crate) fn awaits_at_length(&self) -> bool {
        let patient = |(_, job): &(u64, Job)| match job {
            Job::Probe { .. } => false,
            Job::Run(order) | Job::LookAfter(order, _) => deadline_us(order) > PROBE_DEADLINE_US,
            Job::Connect | Job::FirstLook | Job::Look => true,
        };
        self.session.is_none() || self.job.as_ref().is_some_and(patient)
    }

    pub(crate) fn awaits(&self, exchange: u64) -> bool {
        self.job.as_ref().is_some_and(|(number, _)| *number == exchange)
    }
}

/// What agents do when something reaches them.
impl World {
    pub(crate) fn agent_connects(&mut self, name: &Name) {
        let process = self.process(name);
        let connection = self.new_connection();
        let Some(agent) = self.agents.get_mut(name) else { return };
        agent.connection = connection;
        agent.process = process;
        self.agent_asks(name, Job::Connect, vec![Command::new(Verb::DaemonStatus)], false, TIMEOUT_US);
    }

    fn agent_asks(&mut self, name: &Name, job: Job, commands: Vec<Command>, directory: bool, deadline_us: u64) {
        let exchange = self.send(name, commands, directory, deadline_us);
        if let Some(agent) = self.agents.get_mut(name) {
            agent.job = Some((exchange, job));
        }
    }

    /// Does what is next, if nothing is out.
    pub(crate) fn agent_goes_on(&mut self, name: &Name) {
        let now_us = self.now_us();
        let Some(agent) = self.agents.get_mut(name) else { return };
        let Some(session) = agent.session.filter(|_| agent.job.is_none()) else { return };
        if let Some(sections) = agent.attended.take() {
            agent.target.sections = sections;
        }
        if let Some(order) = agent.inbox.pop_front() {
            if order.session != session {
                return self.agent_goes_on(name);
            }
            let numbering = self.numbering();
            let possible = order.changes.iter().filter(|change| impossible_step(change, numbering).is_none());
            let commands: Vec<Command> =
                possible.flat_map(|change| &change.steps).map(|step| step.command.clone()).collect();
            if commands.is_empty() {
                return self.agent_ran(name, order, &[]);
            }
            if !self.may_send(name) {
                // Without outcomes: nothing was tried.
                return self.agent_ran(name, Order { changes: Vec::new(), ..order }, &[]);
            }
            let deadline_us = deadline_us(&order);
            return self.agent_asks(name, Job::Run(order), commands, false, deadline_us);
        }
        if now_us >= agent.next_probe_us {
            let sections = agent.target.sections;
            agent.next_probe_us = now_us + probe_interval_us(&agent.target);
            let resync = now_us >= agent.next_resync_us;
            return self.agent_asks(name, Job::Probe { resync }, inquiry::probe(sections), false, PROBE_DEADLINE_US);
        }
        let (at_us, connection) = (agent.next_probe_us, agent.connection);
        self.at(at_us, Happening::AgentTimer { daemon: name.clone(), connection });
    }

    fn agent_looks(&mut self, name: &Name, job: Job, scope: &Scope, deadline_us: u64) {
        let Some(agent) = self.agents.get(name) else { return };
        let sections = agent.target.sections;
        let inquiry = Inquiry::new(scope, sections, self.numbering());
        self.agent_asks(name, job, inquiry.questions(), inquiry.wants_directory(), deadline_us);
    }

    fn agent_ran(&mut self, name: &Name, order: Order, replies: &[Reply]) {
        let numbering = self.numbering();
        let mut replies = replies.iter();
        let outcomes = order.changes.iter().map(|change| match impossible_step(change, numbering) {
            Some(refused) => refused,
            None => outcome(change, &mut replies),
        });
        let outcomes: Vec<Outcome> = outcomes.collect();
        let scope = order.scope.clone();
        let deadline_us = deadline_us(&order);
        self.agent_looks(name, Job::LookAfter(order, outcomes), &scope, deadline_us);
    }

    /// An answer has come.
    pub(crate) fn agent_hears(&mut self, name: &Name, replies: &[Reply], directory: Option<String>) {
        let now_us = self.now_us();
        let resync_us = RESYNC_US / 4 * 3 + self.random(0..RESYNC_US / 2);
        let numbering = self.numbering();
        let answers: Vec<Response> = replies.iter().map(response).collect();
        let directory =
            directory.map(|text| SetInfo::from_directory(&[text.into_bytes()]).unwrap()).unwrap_or_default();
        let Some(agent) = self.agents.get_mut(name) else { return };
        let Some((_, job)) = agent.job.take() else { return };
        let sections = agent.target.sections;
        let everything = inquiry::everything(sections);
        let daemon = name.clone();
        match job {
            Job::Connect => {
                agent.pause_us = FIRST_PAUSE_US;
                self.agent_looks(name, Job::FirstLook, &everything, TIMEOUT_US);
            }
            Job::FirstLook => {
                let (observed, seen) = Inquiry::new(&everything, sections, numbering).read(&answers, directory);
                agent.fingerprint = seen;
                agent.next_probe_us = now_us + probe_interval_us(&agent.target);
                agent.next_resync_us = now_us + resync_us;
                let process = agent.process;
                let session = self.new_session();
                if let Some(agent) = self.agents.get_mut(name) {
                    agent.session = Some(session);
                }
                let pid = (numbering == Numbering::V45).then_some(process);
                self.conduct(Event::Up { daemon, session, pid, numbering, observed });
            }
            Job::Probe { resync } => {
                if resync {
                    agent.next_resync_us = now_us + RESYNC_US;
                }
                if inquiry::read_probe(&answers) != agent.fingerprint || resync {
                    self.agent_looks(name, Job::Look, &everything, PROBE_DEADLINE_US);
                }
            }
            Job::Look => {
                let (observed, seen) = Inquiry::new(&everything, sections, numbering).read(&answers, directory);
                agent.fingerprint = seen;
                let session = agent.session.unwrap_or_default();
                self.conduct(Event::Observed { daemon, session, observed });
            }
            Job::Run(order) => self.agent_ran(name, order, replies),
            Job::LookAfter(order, outcomes) => {
                let (observed, seen) = Inquiry::new(&order.scope, sections, numbering).read(&answers, directory);
                agent.fingerprint.update(seen);
                self.conduct(Event::Done { daemon, session: order.session, outcomes, observed });
            }
        }
        self.agent_goes_on(name);
    }

    /// The connection, or the attempt, has come to an end.
    pub(crate) fn agent_loses(&mut self, name: &Name, reason: DownReason) {
        let connection = self.new_connection();
        let Some(agent) = self.agents.get_mut(name) else { return };
        agent.connection = connection;
        agent.session = None;
        agent.job = None;
        agent.inbox.clear();
        let pause_us = agent.pause_us;
        let longest_us =
            if agent.target.sections.aggregates { LONGEST_PAUSE_AGGREGATOR_US } else { LONGEST_PAUSE_SAMPLER_US };
        agent.pause_us = (pause_us * 2).min(longest_us);
        let jittered_us = pause_us / 4 * 3 + self.random(0..pause_us / 2);
        self.at(self.now_us() + jittered_us, Happening::AgentConnects { daemon: name.clone(), connection });
        self.conduct(Event::Down { daemon: name.clone(), reason });
    }
}

fn probe_interval_us(target: &Target) -> u64 {
    if target.sections.aggregates { PROBE_US } else { SAMPLER_PROBE_US }
}

fn deadline_us(order: &Order) -> u64 {
    let takes_time = |change: &Change| {
        matches!(change.subject, Subject::Plugin(_) | Subject::StoragePolicy(_) | Subject::Listener(_))
    };
    if order.changes.iter().any(takes_time) { TIMEOUT_US } else { PROBE_DEADLINE_US }
}

/// The daemon's line of development does not know a command of the change.
fn impossible_step(change: &Change, numbering: Numbering) -> Option<Outcome> {
    change.steps.iter().enumerate().find_map(|(step, wanted)| {
        let error = Request::from_command(&wanted.command, numbering, 0).err()?;
        Some(Outcome::Refused { step, code: NOT_IMPLEMENTED, text: error.to_string() })
    })
}

/// The first refusal of a change. Takes the answers to the change off `replies`.
fn outcome<'a>(change: &Change, replies: &mut impl Iterator<Item = &'a Reply>) -> Outcome {
    let mut outcome = Outcome::Applied;
    for (index, step) in change.steps.iter().enumerate() {
        let Some(reply) = replies.next() else { break };
        if outcome == Outcome::Applied && !step.succeeded(reply.code) {
            let text = reply.text.as_deref().unwrap_or_default().trim().to_owned();
            outcome = Outcome::Refused { step: index, code: reply.code, text };
        }
    }
    outcome
}

/// An answer as it travels.
fn response(reply: &Reply) -> Response {
    let attribute = if reply.json { WireAttribute::json } else { WireAttribute::text };
    Response { msg_no: 0, code: reply.code, attributes: reply.text.clone().map(attribute).into_iter().collect() }
}
