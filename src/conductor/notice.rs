//! What an operator is told: what changed, which daemon, why, and what maestro does about it.

use std::collections::BTreeMap;
use std::fmt;

use super::event::DownReason;
use crate::desired::Subject;
use crate::ldmsd::Command;
use crate::notation::Name;
use crate::placement::Load;

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For whoever looks closely.
    Detail,
    /// Worth a line.
    Normal,
    /// Something is wrong.
    Warning,
}

/// One line for the operator. Nothing is told twice while it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A configuration was taken.
    Configured {
        /// How many daemons it has.
        daemons: usize,
        /// Of them, how many maestro talks to.
        managed: usize,
        /// How many groups of aggregators it has.
        groups: usize,
        /// How many producers, over all groups.
        producers: usize,
    },
    /// A configuration was taken in which plugins have other times or options, and nothing else differs.
    Rescheduled {
        /// How many daemons have one of these plugins and are managed.
        daemons: usize,
    },
    /// A daemon answers.
    DaemonUp {
        /// The daemon.
        daemon: Name,
        /// It has lost its configuration since it was last seen.
        restarted: bool,
    },
    /// A daemon that is no aggregator was lost or cannot be reached.
    DaemonDown {
        /// The daemon.
        daemon: Name,
        /// Why.
        reason: DownReason,
    },
    /// An aggregator was lost, and others take over.
    AggregatorLost {
        /// The aggregator.
        aggregator: Name,
        /// Why.
        reason: DownReason,
        /// How many producers each of the others takes.
        taken_by: BTreeMap<Name, usize>,
    },
    /// An aggregator was lost, and no other of its group is left.
    NobodyLeft {
        /// The aggregator.
        aggregator: Name,
        /// Why.
        reason: DownReason,
        /// The group.
        group: Name,
        /// How many producers are collected by nobody.
        producers: usize,
    },
    /// A lost aggregator answers again; it gets work back when it has stayed.
    AggregatorBack {
        /// The aggregator.
        aggregator: Name,
        /// In how many seconds.
        trusted_in_s: u64,
    },
    /// A lost aggregator answers again, and no other of its group does.
    OnlyOneBack {
        /// The aggregator.
        aggregator: Name,
    },
    /// Updaters of the configuration would kill the daemon, and are not given to it.
    PushWithheld {
        /// The daemon.
        daemon: Name,
    },
    /// A group keeps no producers standing by although that is wanted.
    StandbyWithheld {
        /// The group.
        group: Name,
    },
    /// Something has left the configuration of a daemon that it does not give up.
    Lingers {
        /// The daemon.
        daemon: Name,
        /// What.
        what: String,
    },
    /// Somebody else has changed a daemon.
    ChangedByAnother {
        /// The daemon.
        daemon: Name,
    },
    /// Producers go from one aggregator to another, hand over first.
    Moving {
        /// From where.
        from: Name,
        /// To where.
        to: Name,
        /// How many.
        producers: usize,
        /// The sets of them that go, where it is these that are balanced.
        load: Option<Load>,
    },
    /// Producers have been handed over.
    Moved {
        /// From where.
        from: Name,
        /// To where.
        to: Name,
        /// How many.
        producers: usize,
    },
    /// An aggregator cannot collect a producer that another can: the producer stays.
    MoveAbandoned {
        /// The producer.
        producer: Name,
        /// Who keeps it.
        from: Name,
        /// Who could not take it.
        to: Name,
    },
    /// A group is placed and at rest.
    Balanced {
        /// The group.
        group: Name,
        /// Producers on each aggregator.
        loads: BTreeMap<Name, usize>,
    },
    /// A group that is balanced by metric sets is placed and at rest.
    BalancedBySets {
        /// The group.
        group: Name,
        /// What each aggregator carries.
        loads: BTreeMap<Name, Load>,
    },
    /// A daemon refused a command.
    Refused {
        /// The daemon.
        daemon: Name,
        /// What the command was for.
        subject: Subject,
        /// The command.
        command: Command,
        /// The result code.
        code: i32,
        /// The daemon's text.
        text: String,
    },
    /// What a daemon refused before has worked.
    Accepted {
        /// The daemon.
        daemon: Name,
        /// What the command was for.
        subject: Subject,
    },
    /// A daemon is as the configuration says.
    Settled {
        /// The daemon.
        daemon: Name,
    },
}

impl Notice {
    /// How much it matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Notice::PushWithheld { .. }
            | Notice::Lingers { .. }
            | Notice::StandbyWithheld { .. }
            | Notice::AggregatorLost { .. }
            | Notice::NobodyLeft { .. }
            | Notice::DaemonDown { .. }
            | Notice::Refused { .. }
            | Notice::MoveAbandoned { .. } => Severity::Warning,
            Notice::Settled { .. } | Notice::DaemonUp { restarted: false, .. } => Severity::Detail,
            _ => Severity::Normal,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Configured { daemons, managed, groups, producers } => {
                write!(f, "configuration taken: {daemons} daemons ({managed} managed), ")?;
                let plural = if *groups == 1 { "" } else { "s" };
                write!(f, "{groups} aggregator group{plural}, {}", Producers(*producers))
            }
            Notice::Rescheduled { daemons: 0 } => f.write_str("configuration taken: nothing is to be changed"),
            Notice::Rescheduled { daemons } => {
                let plural = if *daemons == 1 { "" } else { "s" };
                write!(f, "configuration taken: other plugin options or intervals on {daemons} daemon{plural}")
            }
            Notice::DaemonUp { daemon, restarted: false } => write!(f, "{daemon} answers"),
            Notice::DaemonUp { daemon, restarted: true } => {
                write!(f, "{daemon} has restarted: configuring it anew")
            }
            Notice::DaemonDown { daemon, reason } => write!(f, "{daemon} {reason}; trying again"),
            Notice::AggregatorLost { aggregator, reason, taken_by } => {
                write!(f, "aggregator {aggregator} {reason}; ")?;
                if taken_by.is_empty() {
                    return f.write_str("no producer has to move");
                }
                let producers = Producers(taken_by.values().sum());
                write!(f, "others take its {producers}: {}", Loads(taken_by))
            }
            Notice::NobodyLeft { aggregator, reason, group, producers } => {
                write!(f, "aggregator {aggregator} {reason}; no other of {group} is left: ")?;
                write!(f, "nobody collects its {}", Producers(*producers))
            }
            Notice::AggregatorBack { aggregator, trusted_in_s } => {
                write!(
                    f,
                    "aggregator {aggregator} is back; it gets its work when it has stayed up for {trusted_in_s} s"
                )
            }
            Notice::OnlyOneBack { aggregator } => {
                write!(f, "aggregator {aggregator} is back, the only one of its group: it takes all producers at once")
            }
            Notice::PushWithheld { daemon } => {
                write!(f, "{daemon} gets no push updaters: its line of ldmsd dies of the first push; use mode pull")
            }
            Notice::Lingers { daemon, what } => {
                write!(f, "{what} has left the configuration of {daemon}, which keeps it until it restarts")
            }
            Notice::StandbyWithheld { group } => {
                write!(f, "{group} keeps no producers standing by: what it subscribes to would arrive twice")
            }
            Notice::ChangedByAnother { daemon } => {
                write!(f, "somebody else has changed {daemon}: making sure that it is as configured")
            }
            Notice::Moving { from, to, producers, load: None } => {
                write!(f, "handing over {} from {from} to {to}", Producers(*producers))
            }
            Notice::Moving { from, to, producers, load: Some(load) } => {
                write!(f, "handing over {} of {} from {from} to {to}, ", Weighed(load), Producers(*producers))?;
                f.write_str("for the balance")
            }
            Notice::Moved { from, to, producers } => write!(f, "{} went from {from} to {to}", Producers(*producers)),
            Notice::MoveAbandoned { producer, from, to } => {
                write!(f, "{to} cannot collect {producer}, which {from} can: it stays there")
            }
            Notice::Balanced { group, loads } => write!(f, "{group} is balanced: {}", Loads(loads)),
            Notice::BalancedBySets { group, loads } => {
                write!(f, "{group} is balanced by metric sets: ")?;
                for (index, (aggregator, load)) in loads.iter().enumerate() {
                    write!(f, "{}{aggregator} {}", if index == 0 { "" } else { ", " }, Weighed(load))?;
                }
                Ok(())
            }
            Notice::Refused { daemon, subject, command, code, text } => {
                write!(f, "{daemon} refuses {subject}: `{command}` answered {code} ({})", meaning(*code))?;
                if !text.is_empty() {
                    write!(f, " {text}")?;
                }
                f.write_str("; trying again, less and less often")
            }
            Notice::Accepted { daemon, subject } => write!(f, "{daemon} has accepted {subject}"),
            Notice::Settled { daemon } => write!(f, "{daemon} is as configured"),
        }
    }
}

/// What a result code means (the wire specification, section 6).
#[must_use]
fn meaning(code: i32) -> &'static str {
    match code {
        0 => "malformed request",
        1 => "not permitted",
        2 => "does not exist",
        7 => "message too long",
        8 => "cannot listen",
        12 => "out of memory",
        13 => "permission denied",
        16 => "busy",
        17 => "exists already",
        22 => "invalid value",
        38 => "not implemented",
        _ => "error",
    }
}

/// `1 producer`, `2 producers`
struct Producers(usize);

impl fmt::Display for Producers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} producer{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

/// `31.2 kB/s (14 sets)`
struct Weighed<'a>(&'a Load);

impl fmt::Display for Weighed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets = self.0.sets;
        write!(f, "{} ({sets} set{})", self.0.weight, if sets == 1 { "" } else { "s" })
    }
}

/// `l1-agg-1 3, l1-agg-2 3, l1-agg-3 2`
struct Loads<'a>(&'a BTreeMap<Name, usize>);

impl fmt::Display for Loads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (aggregator, load)) in self.0.iter().enumerate() {
            write!(f, "{}{aggregator} {load}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
