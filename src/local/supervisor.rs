//! Which daemon is started, started again, or stopped, and when: a pure state machine.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Notice;
use crate::notation::Name;

/// The wait before a daemon that has failed is started again; it doubles with each failure in a row.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A daemon that has run for so long is well: what happens to it later is a failure by itself.
const WELL_AFTER: Duration = Duration::from_secs(10);

/// After so many failures in a row the operator is told that the daemon does not come up by itself.
const FAILURES_TO_TELL: u32 = 3;

/// How long a daemon has to end after SIGTERM, and again after SIGKILL. One that stores may have much to write.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Something that happened. Times are counted from any fixed moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// There is a daemon to keep. This is the first word of each.
    Found(Name, Found),
    /// An [`Action::Start`] made a process.
    Started {
        /// The daemon.
        daemon: Name,
        /// The process.
        pid: u32,
    },
    /// The process of a daemon has ended, or could not be made.
    Ended {
        /// The daemon.
        daemon: Name,
        /// How it ended.
        ending: Ending,
        /// The last lines that this process has written to its log.
        last_words: Vec<String>,
    },
    /// All daemons are to be stopped. A second time: at once.
    Stop,
    /// The time that [`Supervisor::wakes_at`] named has come.
    Wake,
}

/// What was there of a daemon when we came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// No process of ours.
    Nothing,
    /// A process that an earlier run has left, and that is as it should be.
    Current {
        /// The process.
        pid: u32,
    },
    /// A process that an earlier run has left, with another configuration or command line.
    Outdated {
        /// The process.
        pid: u32,
    },
}

/// How a process has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// With this exit status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// Nobody can know: it was the child of an earlier run.
    Unseen,
    /// There was none; the text says why.
    NotStarted(String),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the daemon's process; [`Event::Started`] or [`Event::Ended`] is the answer.
    Start(Name),
    /// Send SIGTERM to the daemon's process.
    Terminate(Name),
    /// Send SIGKILL to the daemon's process.
    Kill(Name),
    /// Tell the operator.
    Report(Notice),
}

/// Keeps a number of daemons running until it is told to stop them.
#[derive(Debug, Default)]
pub struct Supervisor {
    daemons: BTreeMap<Name, Daemon>,
    stopping: bool,
}

#[derive(Debug)]
struct Daemon {
    state: State,
    /// Its failures since it was last well.
    failures: u32,
    /// The failure that the operator was told of last, since it was last well.
    told: Option<Ending>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// [`Action::Start`] is out.
    Starting,
    /// There is a process.
    Running { since: Duration },
    /// It has failed, and is started again then.
    Waiting { until: Duration },
    /// Its process was told to end.
    Ending {
        /// By SIGKILL already.
        killed: bool,
        /// When patience is over.
        until: Option<Duration>,
        /// Whether another process is started in its place.
        replaced: bool,
    },
    /// It has no process and gets none.
    Stopped,
}

impl Supervisor {
    /// What to do about an event, in this order.
    pub fn handle(&mut self, event: Event, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Found(name, found) => self.found(name, found, now, &mut actions),
            Event::Started { daemon, pid } => self.started(&daemon, pid, now, &mut actions),
            Event::Ended { daemon, ending, last_words } => self.ended(&daemon, ending, last_words, now, &mut actions),
            Event::Stop => self.stop(now, &mut actions),
            Event::Wake => {}
        }
        self.look_at_the_clock(now, &mut actions);
        actions
    }

    /// When [`Event::Wake`] is wanted, if ever.
    #[must_use]
    pub fn wakes_at(&self) -> Option<Duration> {
        self.daemons.values().filter_map(Daemon::wakes_at).min()
    }

    /// Whether all daemons were told to stop and none has a process any more, as far as it can be ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.stopping && self.daemons.values().all(|daemon| daemon.state == State::Stopped)
    }

    fn found(&mut self, name: Name, found: Found, now: Duration, actions: &mut Vec<Action>) {
        let state = match found {
            Found::Nothing => {
                actions.push(Action::Start(name.clone()));
                State::Starting
            }
            Found::Current { pid } => {
                actions.push(Action::Report(Notice::Adopted { daemon: name.clone(), pid }));
                State::Running { since: now }
            }
            Found::Outdated { pid } => {
                actions.push(Action::Report(Notice::Replacing { daemon: name.clone(), pid }));
                actions.push(Action::Terminate(name.clone()));
                State::told_to_end(now, true)
            }
        };
        self.daemons.insert(name, Daemon { state, failures: 0, told: None });
    }

    fn started(&mut self, name: &Name, pid: u32, now: Duration, actions: &mut Vec<Action>) {
        let Some(daemon) = self.daemons.get_mut(name) else { return };
        if self.stopping {
            actions.push(Action::Terminate(name.clone()));
            daemon.state = State::told_to_end(now, false);
            return;
        }
        daemon.state = State::Running { since: now };
        // While it fails again and again, each start is no news.
        if daemon.failures <= 1 {
            actions.push(Action::Report(Notice::Started { daemon: name.clone(), pid, again: daemon.failures > 0 }));
        }
    }

    fn ended(
        &mut self,
        name: &Name,
        ending: Ending,
        last_words: Vec<String>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let Some(daemon) = self.daemons.get_mut(name) else { return };
        let ran_for = match daemon.state {
            _ if self.stopping => {
                daemon.state = State::Stopped;
                return;
            }
            State::Ending { .. } => {
                daemon.state = State::Starting;
                actions.push(Action::Start(name.clone()));
                return;
            }
            State::Running { since } => Some(now.saturating_sub(since)),
            _ => None,
        };
        let was_well = ran_for.is_some_and(|time| time >= WELL_AFTER);
        if was_well {
            daemon.failures = 0;
            daemon.told = None;
        }
        daemon.failures += 1;
        let wait = wait_after(daemon.failures);
        daemon.state = State::Waiting { until: now + wait };
        if daemon.told.as_ref() != Some(&ending) || daemon.failures == FAILURES_TO_TELL {
            daemon.told = Some(ending.clone());
            let failures = daemon.failures;
            let keeps_failing = (failures >= FAILURES_TO_TELL).then_some(failures);
            let last_words = if was_well { Vec::new() } else { last_words };
            let daemon = name.clone();
            actions.push(Action::Report(Notice::Failed { daemon, ending, ran_for, last_words, wait, keeps_failing }));
        }
    }

    fn stop(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let at_once = std::mem::replace(&mut self.stopping, true);
        if !at_once {
            actions.push(Action::Report(Notice::Stopping { daemons: self.daemons.len() }));
        }
        for (name, daemon) in &mut self.daemons {
            match &mut daemon.state {
                State::Running { .. } => {
                    actions.push(Action::Terminate(name.clone()));
                    daemon.state = State::told_to_end(now, false);
                }
                State::Ending { killed, until, replaced } => {
                    *replaced = false;
                    if at_once && !*killed {
                        actions.push(Action::Kill(name.clone()));
                        *killed = true;
                    }
                    if *killed {
                        *until = Some(now + STOP_PATIENCE);
                    }
                }
                State::Waiting { .. } => daemon.state = State::Stopped,
                // The answer to the start is on its way.
                State::Starting | State::Stopped => {}
            }
        }
    }

    fn look_at_the_clock(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for (name, daemon) in &mut self.daemons {
            if daemon.wakes_at().is_none_or(|time| time > now) {
                continue;
            }
            match &mut daemon.state {
                State::Running { .. } => {
                    if daemon.failures > 1 {
                        actions.push(Action::Report(Notice::WellAgain { daemon: name.clone() }));
                    }
                    daemon.failures = 0;
                    daemon.told = None;
                }
                State::Waiting { .. } => {
                    daemon.state = State::Starting;
                    actions.push(Action::Start(name.clone()));
                }
                State::Ending { killed: killed @ false, until, .. } => {
                    actions.push(Action::Report(Notice::Killing { daemon: name.clone(), patience: STOP_PATIENCE }));
                    actions.push(Action::Kill(name.clone()));
                    *killed = true;
                    *until = Some(now + STOP_PATIENCE);
                }
                State::Ending { until, replaced, .. } => {
                    actions.push(Action::Report(Notice::Unkillable { daemon: name.clone() }));
                    *until = None;
                    if !*replaced {
                        daemon.state = State::Stopped;
                    }
                }
                State::Starting | State::Stopped => {}
            }
        }
    }
}

impl Daemon {
    fn wakes_at(&self) -> Option<Duration> {
        match self.state {
            State::Running { since } => (self.failures > 0).then_some(since + WELL_AFTER),
            State::Waiting { until } => Some(until),
            State::Ending { until, .. } => until,
            State::Starting | State::Stopped => None,
        }
    }
}

impl State {
    /// SIGTERM is sent now.
    fn told_to_end(now: Duration, replaced: bool) -> State {
        State::Ending { killed: false, until: Some(now + STOP_PATIENCE), replaced }
    }
}

/// The wait before the start that follows so many failures in a row.
fn wait_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_WAIT * 2_u32.pow(doublings)).min(LONGEST_WAIT)
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Exited(status) => write!(f, "exited with status {status}"),
            Ending::Killed(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(signal) => write!(f, "was killed by {signal}"),
                Err(_) => write!(f, "was killed by signal {signal}"),
            },
            Ending::Unseen => f.write_str("has ended"),
            Ending::NotStarted(reason) => write!(f, "cannot be started: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests;
