//! One task for each daemon: keeps a connection, probes it, observes, sends what it is given.
//!
//! A broken connection is reported the moment it breaks, silence when a probe has had no answer within
//! its deadline. Agents share nothing, so a daemon that hangs delays no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::bail;
use rand::RngExt;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::inquiry::{self, Fingerprint, Inquiry};
use super::members::Warrant;
use super::pace::Pace;
use super::turns::{Turns, Unanswered};
use crate::conductor::{DownReason, Event, Observed, Outcome, Scope, Sections, Target};
use crate::desired::{Change, Subject};
use crate::ldmsd::auth::{Auth, AuthMethod};
use crate::ldmsd::{Client, ClientError, CloseReason, Command, ConnectOptions, Response, Verb};

/// How agents behave in time.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// Bounds connecting with authentication, the first look at a daemon, and commands that open files or devices.
    pub timeout: Duration,
    /// How often an aggregator is probed.
    pub probe_interval: Duration,
    /// How often a daemon that only samples is probed.
    pub sampler_probe_interval: Duration,
    /// How long a daemon may take to answer anything else before it counts as lost. The status of 30 000 producers
    /// takes a daemon some tenths of a second.
    pub probe_deadline: Duration,
    /// How often a daemon is observed in full, whatever the probes say.
    pub resync_interval: Duration,
}

/// Connection attempts: the first pause, and the longest for aggregators and for samplers.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE_AGGREGATOR: Duration = Duration::from_secs(1);
const LONGEST_PAUSE_SAMPLER: Duration = Duration::from_secs(5);

/// How often a daemon that is starting is asked whether it is ready.
const READY_PAUSE: Duration = Duration::from_millis(200);

/// ENOSYS, as a daemon answers a command that it does not know.
const NOT_IMPLEMENTED: i32 = 38;

/// Connections are numbered over all agents, so that an order for a former one is recognised.
static SESSIONS: AtomicU64 = AtomicU64::new(1);

/// A running agent; dropping it ends the agent and closes its connection.
pub(super) struct Handle {
    orders: mpsc::Sender<Order>,
    sections: watch::Sender<Sections>,
    turns: Arc<Turns>,
    task: AbortHandle,
}

struct Order {
    session: u64,
    changes: Vec<Change>,
    scope: Scope,
    warrant: Warrant,
    /// Until it is dropped, others that look wait for this.
    unanswered: Option<Unanswered>,
}

impl Handle {
    pub(super) fn start(
        target: Target,
        settings: AgentSettings,
        events: mpsc::Sender<Event>,
        turns: Arc<Turns>,
    ) -> Handle {
        // The conductor has at most one order out; the second place is for one of a former connection.
        let (orders, inbox) = mpsc::channel(2);
        let (sections, attended) = watch::channel(target.sections);
        let agent = Agent { target, settings, events, orders: inbox, sections: attended, turns: Arc::clone(&turns) };
        Handle { orders, sections, turns, task: tokio::spawn(agent.keep_going()).abort_handle() }
    }

    /// From now on these parts of the daemon matter.
    pub(super) fn attend(&self, sections: Sections) {
        self.sections.send_replace(sections);
    }

    /// Hands over an order. One that does not fit is for a connection that no longer exists.
    pub(super) fn order(&self, session: u64, changes: Vec<Change>, scope: Scope, warrant: Warrant) {
        let unanswered = (!changes.is_empty()).then(|| self.turns.send());
        let _ = self.orders.try_send(Order { session, changes, scope, warrant, unanswered });
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Agent {
    target: Target,
    settings: AgentSettings,
    events: mpsc::Sender<Event>,
    orders: mpsc::Receiver<Order>,
    /// Which parts of the daemon matter.
    sections: watch::Receiver<Sections>,
    turns: Arc<Turns>,
}

impl Agent {
    async fn keep_going(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let reason = match self.connect().await {
                Ok(client) => {
                    pause = FIRST_PAUSE;
                    self.serve(&client).await
                }
                Err(error) => DownReason::Unreachable(error.to_string()),
            };
            let daemon = self.target.daemon.clone();
            if self.events.send(Event::Down { daemon, reason }).await.is_err() {
                return;
            }
            while self.orders.try_recv().is_ok() {}
            sleep(jittered(pause)).await;
            let longest = if self.sections().aggregates { LONGEST_PAUSE_AGGREGATOR } else { LONGEST_PAUSE_SAMPLER };
            pause = (pause * 2).min(longest);
        }
    }

    /// Connects, authenticates, and waits until the daemon says that it is ready.
    async fn connect(&self) -> anyhow::Result<Client> {
        let begin = Instant::now();
        let domain = &self.target.auth;
        // Read again at each attempt: an operator may have put the secret right meanwhile.
        let method = AuthMethod::from_options(&domain.plugin, &domain.options)?;
        let auth = Auth { domain: domain.name.to_string(), method };
        let client = Client::connect(ConnectOptions {
            connect_timeout: self.settings.timeout,
            request_timeout: self.settings.timeout,
            ..ConnectOptions::new(self.target.host.clone(), self.target.port, auth)
        })
        .await?;
        while !inquiry::is_ready(&client.request(Command::new(Verb::DaemonStatus)).await?) {
            if begin.elapsed() >= self.settings.timeout {
                bail!("it is not ready after {} s", self.settings.timeout.as_secs());
            }
            sleep(READY_PAUSE).await;
        }
        Ok(client)
    }

    /// Works with a connected daemon until it is lost.
    async fn serve(&mut self, client: &Client) -> DownReason {
        let session = SESSIONS.fetch_add(1, Ordering::Relaxed);
        let daemon = self.target.daemon.clone();
        let everything = inquiry::everything(*self.sections.borrow_and_update());
        let began = Instant::now();
        let (observed, mut fingerprint) = match self.observe(client, &everything, self.settings.timeout).await {
            Ok(observation) => observation,
            Err(error) => return lost(&error),
        };
        let mut pace = Pace::after(began, Instant::now());
        let up = Event::Up {
            daemon: daemon.clone(),
            session,
            pid: client.peer_pid(),
            numbering: client.numbering(),
            observed,
        };
        let _ = self.events.send(up).await;

        let interval = if self.sections().aggregates {
            self.settings.probe_interval
        } else {
            self.settings.sampler_probe_interval
        };
        let mut next_probe = Instant::now() + interval;
        let mut next_resync = Instant::now() + jittered(self.settings.resync_interval);
        loop {
            let event = tokio::select! {
                biased;
                reason = client.closed() => return DownReason::ConnectionLost(reason.to_string()),
                Some(order) = self.orders.recv() => {
                    if order.session != session {
                        continue;
                    }
                    match self.carry_out(client, order).await {
                        Ok((outcomes, observed, seen)) => {
                            fingerprint.update(seen);
                            Event::Done { daemon: daemon.clone(), session, outcomes, observed }
                        }
                        Err(error) => return lost(&error),
                    }
                }
                () = tokio::time::sleep_until(next_probe) => {
                    next_probe = Instant::now() + interval;
                    let resync = Instant::now() >= next_resync;
                    let questions = inquiry::probe(self.sections());
                    let seen = match client.request_all(questions, self.settings.probe_deadline).await {
                        Ok(answers) => inquiry::read_probe(&answers),
                        Err(error) => return lost(&error),
                    };
                    if (seen == fingerprint && !resync) || !pace.allows(Instant::now()) {
                        continue;
                    }
                    if resync {
                        next_resync = Instant::now() + self.settings.resync_interval;
                    }
                    let began = Instant::now();
                    match self.look(client, session).await {
                        Ok((event, seen)) => {
                            pace = Pace::after(began, Instant::now());
                            fingerprint = seen;
                            event
                        }
                        Err(error) => return lost(&error),
                    }
                }
                Ok(()) = self.sections.changed() => match self.look(client, session).await {
                    Ok((event, seen)) => {
                        fingerprint = seen;
                        event
                    }
                    Err(error) => return lost(&error),
                },
            };
            let _ = self.events.send(event).await;
        }
    }

    fn sections(&self) -> Sections {
        *self.sections.borrow()
    }

    /// Looks at the daemon in full.
    async fn look(&self, client: &Client, session: u64) -> Result<(Event, Fingerprint), ClientError> {
        let everything = inquiry::everything(self.sections());
        let (observed, seen) = self.observe(client, &everything, self.settings.probe_deadline).await?;
        Ok((Event::Observed { daemon: self.target.daemon.clone(), session, observed }, seen))
    }

    async fn observe(
        &self,
        client: &Client,
        scope: &Scope,
        deadline: Duration,
    ) -> Result<(Observed, Fingerprint), ClientError> {
        let inquiry = Inquiry::new(scope, self.sections(), client.numbering());
        let answers = client.request_all(inquiry.questions(), deadline).await?;
        let directory = if inquiry.wants_directory() { client.directory(deadline).await? } else { Vec::new() };
        Ok(inquiry.read(&answers, directory))
    }

    async fn carry_out(
        &self,
        client: &Client,
        order: Order,
    ) -> Result<(Vec<Outcome>, Observed, Fingerprint), ClientError> {
        let takes_time = order.changes.iter().any(|change| takes_time(&change.subject));
        let deadline = if takes_time { self.settings.timeout } else { self.settings.probe_deadline };
        let impossible: Vec<Option<Outcome>> =
            order.changes.iter().map(|change| impossible_step(client, change)).collect();
        let possible = order.changes.iter().zip(&impossible).filter(|(_, impossible)| impossible.is_none());
        let commands: Vec<Command> =
            possible.flat_map(|(change, _)| &change.steps).map(|step| step.command.clone()).collect();
        if !commands.is_empty() && !order.warrant.is_valid() {
            // Without outcomes: nothing was tried.
            let (observed, fingerprint) = self.observe(client, &order.scope, deadline).await?;
            return Ok((Vec::new(), observed, fingerprint));
        }
        let answers = if commands.is_empty() { Vec::new() } else { client.request_all(commands, deadline).await? };
        let mut answers = answers.into_iter();
        let outcomes = order.changes.iter().zip(impossible);
        let outcomes = outcomes.map(|(change, refused)| refused.unwrap_or_else(|| outcome(change, &mut answers)));
        let outcomes = outcomes.collect();
        drop(order.unanswered);
        let _turn = if self.sections().aggregates { None } else { self.turns.look().await };
        let (observed, fingerprint) = self.observe(client, &order.scope, deadline).await?;
        Ok((outcomes, observed, fingerprint))
    }
}

/// The daemon's line of development does not know a command of the change, or would suffer from it: as good as refused.
fn impossible_step(client: &Client, change: &Change) -> Option<Outcome> {
    let commands: Vec<Command> = change.steps.iter().map(|step| step.command.clone()).collect();
    let (step, reason) = client.objection(&commands)?;
    Some(Outcome::Refused { step, code: NOT_IMPLEMENTED, text: reason.to_string() })
}

/// Plugins and stores open files and devices, which may take longer than a probe is given.
fn takes_time(subject: &Subject) -> bool {
    matches!(subject, Subject::Plugin(_) | Subject::StoragePolicy(_) | Subject::Listener(_))
}

/// The first refusal of a change, if there is one. Takes the change's answers off `answers`.
fn outcome(change: &Change, answers: &mut impl Iterator<Item = Response>) -> Outcome {
    let mut outcome = Outcome::Applied;
    for (index, step) in change.steps.iter().enumerate() {
        let Some(answer) = answers.next() else { break };
        if outcome == Outcome::Applied && !answer.is_ok() && !step.accept.contains(&answer.code) {
            outcome = Outcome::Refused { step: index, code: answer.code, text: answer.text().trim().to_owned() };
        }
    }
    outcome
}

/// So that thousands of agents do not all act at the same moment.
fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(rand::rng().random_range(0.75..1.25))
}

fn lost(error: &ClientError) -> DownReason {
    match error {
        ClientError::Timeout { .. } | ClientError::Closed(CloseReason::Unanswered(_)) => {
            DownReason::Silent(error.to_string())
        }
        _ => DownReason::ConnectionLost(error.to_string()),
    }
}
