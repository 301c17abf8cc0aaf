//! What the conductor is told and what it asks for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{GroupPlan, Memo, Memory, Notice, Report, Standing};
use crate::cluster::{AuthDomain, Cluster};
use crate::desired::Change;
use crate::ldmsd::observation::{
    ObservedListener, ObservedPlugin, ObservedPolicy, ObservedProducer, ObservedUpdater, PublishedSet,
};
use crate::ldmsd::{Numbering, Observation};
use crate::notation::Name;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// What an earlier maestro has noted, before the first configuration; or what another instance has noted of daemons
    /// that this one is about to get.
    Remembered(Memory),
    /// There is a configuration, the first or a changed one.
    Configured(Arc<Cluster>),
    /// A daemon answers: connected, authenticated, observed in full.
    Up {
        /// The daemon.
        daemon: Name,
        /// The number of this connection; actions for another one are void.
        session: u64,
        /// The daemon's process, where it tells (not 4.4).
        pid: Option<u32>,
        /// Its numbering family.
        numbering: Numbering,
        /// What it says of itself.
        observed: Observed,
    },
    /// A probe saw that a daemon has changed without us.
    Observed {
        /// The daemon.
        daemon: Name,
        /// The connection.
        session: u64,
        /// What it says of itself.
        observed: Observed,
    },
    /// An [`Action::Run`] or [`Action::Observe`] is done.
    Done {
        /// The daemon.
        daemon: Name,
        /// The connection.
        session: u64,
        /// The outcome of each change, in order.
        outcomes: Vec<Outcome>,
        /// What the daemon says of itself afterwards.
        observed: Observed,
    },
    /// A daemon cannot be reached, or was lost.
    Down {
        /// The daemon.
        daemon: Name,
        /// Why.
        reason: DownReason,
    },
    /// The part of this instance among several, or its share of the daemons, has changed. Before the first one it is
    /// alone.
    ///
    /// What the others have published comes first, so that a new leader goes on where the last one was.
    Standing(Standing),
    /// What another instance has published of a daemon.
    Reported {
        /// The daemon.
        daemon: Name,
        /// What it published; `None` when it was taken back, because its instance is gone: nothing is known of the
        /// daemon until somebody else tells.
        report: Option<Report>,
    },
    /// What is published for a group. The leader is told of its own plans as well, once they are published: only then
    /// does it stop what they say is to be stopped.
    Planned {
        /// The group.
        group: Name,
        /// The plan; `None` when there is none any more.
        plan: Option<GroupPlan>,
    },
    /// The time that [`super::Conductor::next_wake_us`] named has come.
    Wake,
}

/// How a change went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every command succeeded.
    Applied,
    /// A command was refused, the first of the change that was.
    Refused {
        /// The index of the command in the change.
        step: usize,
        /// The daemon's result code.
        code: i32,
        /// The daemon's text.
        text: String,
    },
}

/// Why a daemon is not reachable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DownReason {
    /// No connection could be made.
    Unreachable(String),
    /// An existing connection broke.
    ConnectionLost(String),
    /// It is connected and does not answer.
    Silent(String),
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DownReason::Unreachable(text) => write!(f, "cannot be reached: {text}"),
            DownReason::ConnectionLost(text) => write!(f, "connection lost: {text}"),
            DownReason::Silent(text) => write!(f, "does not answer: {text}"),
        }
    }
}

/// What a daemon said of itself, section by section; what was not asked is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// How many configuration commands it has taken since it started (`cfg_cntr`).
    pub cfg_cntr: Option<u64>,
    /// It is of the development line after 4.5.
    pub development_line: Option<bool>,
    /// All producers.
    pub producers: Option<BTreeMap<Name, ObservedProducer>>,
    /// Some producers; `None` for one that the daemon does not have.
    pub some_producers: BTreeMap<Name, Option<ObservedProducer>>,
    /// All producer listeners.
    pub listeners: Option<BTreeMap<Name, ObservedListener>>,
    /// All updaters.
    pub updaters: Option<BTreeMap<Name, ObservedUpdater>>,
    /// All storage policies.
    pub policies: Option<BTreeMap<Name, ObservedPolicy>>,
    /// All plugins.
    pub plugins: Option<BTreeMap<Name, ObservedPlugin>>,
    /// All metric sets that it publishes itself.
    pub published: Option<BTreeMap<String, PublishedSet>>,
}

impl Observed {
    /// Brings what was known up to date.
    pub fn update(self, known: &mut Observation) {
        if let Some(development_line) = self.development_line {
            known.development_line = development_line;
        }
        if let Some(producers) = self.producers {
            known.producers = producers;
        }
        for (name, producer) in self.some_producers {
            match producer {
                Some(producer) => known.producers.insert(name, producer),
                None => known.producers.remove(&name),
            };
        }
        if let Some(listeners) = self.listeners {
            known.listeners = listeners;
        }
        if let Some(updaters) = self.updaters {
            known.updaters = updaters;
        }
        if let Some(policies) = self.policies {
            known.policies = policies;
        }
        if let Some(plugins) = self.plugins {
            known.plugins = plugins;
        }
        if let Some(published) = self.published {
            known.published = published;
        }
    }
}

/// Something to do.
#[derive(Debug, Clone)]
pub enum Action {
    /// Keep a connection to a daemon, observe and probe it. Replaces an earlier target.
    Connect(Target),
    /// Something else matters on a daemon from now on: look at it in full, over the connection that there is.
    Attend {
        /// The daemon.
        daemon: Name,
        /// What is worth observing on it.
        sections: Sections,
    },
    /// Have nothing more to do with a daemon.
    Forget(Name),
    /// Send changes, then observe.
    Run {
        /// The daemon.
        daemon: Name,
        /// The connection that it is meant for.
        session: u64,
        /// The changes, in order, pipelined.
        changes: Vec<Change>,
        /// What to observe afterwards.
        scope: Scope,
    },
    /// Observe.
    Observe {
        /// The daemon.
        daemon: Name,
        /// The connection that it is meant for.
        session: u64,
        /// What.
        scope: Scope,
    },
    /// Note for the next maestro, in any time.
    Remember(Memo),
    /// Tell the operator.
    Report(Notice),
    /// Publish what the other instances have to know of a daemon of this one's, in place of what was published of it.
    /// `None` for one that nobody has to know of any more.
    ///
    /// Everything is published anew after a time without quorum.
    Publish {
        /// The daemon.
        daemon: Name,
        /// What to tell.
        report: Option<Report>,
    },
    /// Publish what this instance, which leads, has decided for a group, in place of what was published for it; only if
    /// it leads still. `None` for a group that is no more.
    PublishPlan {
        /// The group.
        group: Name,
        /// The plan.
        plan: Option<GroupPlan>,
    },
}

/// A daemon to keep a connection to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub daemon: Name,
    /// Its host name or address.
    pub host: String,
    /// The port of its control endpoint.
    pub port: u16,
    /// The authentication domain of that endpoint.
    pub auth: AuthDomain,
    /// What is worth observing on it.
    pub sections: Sections,
}

impl Target {
    /// Whether it is the same but for what is observed, of a daemon that has been known as an aggregator if it is one.
    #[must_use]
    pub fn differs_in_less_sections(&self, other: &Target) -> bool {
        let same_sections = Target { sections: other.sections, ..self.clone() };
        same_sections == *other && (self.sections.aggregates || !other.sections.aggregates)
    }
}

/// Which parts of a daemon matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sections {
    /// It aggregates: producers, updaters, storage policies.
    pub aggregates: bool,
    /// It samples: the metric sets of its plugins.
    pub samples: bool,
    /// It advertises itself, by connections that it lists among its producers.
    pub advertises: bool,
    /// It listens for daemons that advertise themselves.
    pub listens: bool,
}

/// What to observe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// All producers.
    pub all_producers: bool,
    /// These producers.
    pub producers: Vec<Name>,
    /// Producer listeners.
    pub listeners: bool,
    /// Updaters with their match lists.
    pub updaters: bool,
    /// Storage policies.
    pub policies: bool,
    /// Plugins, with their sets on a daemon that samples.
    pub plugins: bool,
}
