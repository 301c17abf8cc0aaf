//! A change to a daemon: commands that belong together, and what maestro remembers of them.

use std::fmt;

use super::ledger::LedgerEntry;
use crate::ldmsd::Command;
use crate::notation::Name;

/// Commands that bring one object of a daemon to its wanted state, in order.
///
/// When one of them is refused the rest of the change is pointless, other changes are not: a broken
/// storage policy must never keep a producer from being started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is about.
    pub subject: Subject,
    /// The commands.
    pub steps: Vec<Step>,
    /// What the daemon will not show afterwards, and is therefore remembered once the change succeeded.
    pub remember: Option<LedgerEntry>,
}

impl Change {
    /// A change whose effect the daemon shows.
    #[must_use]
    pub fn visible(subject: Subject, steps: Vec<Step>) -> Change {
        Change { subject, steps, remember: None }
    }
}

/// One command of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The command.
    pub command: Command,
    /// Result codes besides 0 that mean that all is well (17 for a domain that exists already).
    pub accept: &'static [i32],
}

impl From<Command> for Step {
    fn from(command: Command) -> Step {
        Step { command, accept: &[] }
    }
}

impl Step {
    /// A command whose `accept`ed result codes are as good as 0.
    #[must_use]
    pub fn accepting(command: Command, accept: &'static [i32]) -> Step {
        Step { command, accept }
    }

    /// Whether a result code means success.
    #[must_use]
    pub fn succeeded(&self, code: i32) -> bool {
        code == 0 || self.accept.contains(&code)
    }
}

/// What a change is about: names it in messages and keys its retries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// An authentication domain.
    AuthDomain(Name),
    /// A listening address, `transport:port`.
    Listener(String),
    /// A variable in the environment of the daemon.
    Environment(String),
    /// The stream service.
    Streams,
    /// The message service.
    Messages,
    /// A plugin instance.
    Plugin(Name),
    /// One producer: it is added, or taken away.
    Producer(Name),
    /// Producers that are started together, named by the first.
    ProducersStarted(Name),
    /// A producer that is stopped.
    ProducerStopped(Name),
    /// A connection by which the daemon advertises itself.
    Advertiser(Name),
    /// A listener for daemons that advertise themselves.
    ProducerListener(Name),
    /// A subscription, by what it subscribes to.
    Subscription(String),
    /// An updater.
    Updater(Name),
    /// A temporary fast updater.
    Boost(Name),
    /// A storage policy.
    StoragePolicy(Name),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::AuthDomain(name) => write!(f, "authentication domain {name}"),
            Subject::Listener(address) => write!(f, "listener {address}"),
            Subject::Environment(variable) => write!(f, "environment variable {variable}"),
            Subject::Streams => f.write_str("stream service"),
            Subject::Messages => f.write_str("message service"),
            Subject::Plugin(name) => write!(f, "plugin {name}"),
            Subject::Producer(name) => write!(f, "producer {name}"),
            Subject::ProducersStarted(name) => write!(f, "start of producers from {name}"),
            Subject::ProducerStopped(name) => write!(f, "stop of producer {name}"),
            Subject::Advertiser(name) => write!(f, "advertiser {name}"),
            Subject::ProducerListener(name) => write!(f, "producer listener {name}"),
            Subject::Subscription(source) => write!(f, "subscription to {source}"),
            Subject::Updater(name) => write!(f, "updater {name}"),
            Subject::Boost(name) => write!(f, "temporary updater {name}"),
            Subject::StoragePolicy(name) => write!(f, "storage policy {name}"),
        }
    }
}
