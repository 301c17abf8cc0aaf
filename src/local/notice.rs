//! What an operator is told about the daemons of this machine.

use std::fmt;
use std::time::Duration;

use super::Ending;
use crate::notation::Name;

/// Who ends so soon has not run.
const AT_ONCE: Duration = Duration::from_millis(100);

/// One message for the operator. Nothing is told twice while it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A daemon has a process.
    Started {
        /// The daemon.
        daemon: Name,
        /// The process.
        pid: u32,
        /// It had one before.
        again: bool,
    },
    /// A daemon of an earlier run is right and is kept as it is.
    Adopted {
        /// The daemon.
        daemon: Name,
        /// The process.
        pid: u32,
    },
    /// A daemon of an earlier run is not as configured, and makes room.
    Replacing {
        /// The daemon.
        daemon: Name,
        /// The process.
        pid: u32,
    },
    /// A daemon has ended that should not have, or could not be started.
    Failed {
        /// The daemon.
        daemon: Name,
        /// How.
        ending: Ending,
        /// After what time; `None` if it never ran.
        ran_for: Option<Duration>,
        /// The end of its log, where it may explain the failure.
        last_words: Vec<String>,
        /// When it is started again.
        wait: Duration,
        /// How often this has happened in a row, once it is clear that it goes on.
        keeps_failing: Option<u32>,
    },
    /// A daemon that had failed repeatedly stays up.
    WellAgain {
        /// The daemon.
        daemon: Name,
    },
    /// We were told to stop.
    Stopping {
        /// How many daemons there are.
        daemons: usize,
    },
    /// A daemon has not heeded SIGTERM.
    Killing {
        /// The daemon.
        daemon: Name,
        /// How long it had.
        patience: Duration,
    },
    /// A daemon has not even heeded SIGKILL: it hangs in the kernel, as on a file server that does not answer.
    Unkillable {
        /// The daemon.
        daemon: Name,
    },
}

impl Notice {
    /// Whether something is wrong.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        matches!(self, Notice::Failed { .. } | Notice::Killing { .. } | Notice::Unkillable { .. })
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Started { daemon, pid, again: false } => write!(f, "{daemon} is started (pid {pid})"),
            Notice::Started { daemon, pid, again: true } => write!(f, "{daemon} is started again (pid {pid})"),
            Notice::Adopted { daemon, pid } => {
                write!(f, "{daemon} runs already as it should (pid {pid}); it is kept")
            }
            Notice::Replacing { daemon, pid } => {
                write!(f, "{daemon} runs with another configuration (pid {pid}); it is stopped and started anew")
            }
            Notice::Failed { daemon, ending, ran_for, last_words, wait, keeps_failing } => {
                write!(f, "{daemon} {ending}")?;
                match ran_for {
                    Some(time) if *time < AT_ONCE => write!(f, " at once")?,
                    Some(time) => write!(f, " after {}", rounded(*time))?,
                    None => {}
                }
                match keeps_failing {
                    Some(times) => write!(
                        f,
                        ", {times} failures in a row: it needs help; it is tried again, at longer and longer intervals"
                    )?,
                    None => write!(f, "; it is started again in {}", rounded(*wait))?,
                }
                if !last_words.is_empty() {
                    write!(f, "; its log ends:")?;
                }
                last_words.iter().try_for_each(|line| write!(f, "\n    {line}"))
            }
            Notice::WellAgain { daemon } => write!(f, "{daemon} stays up now"),
            Notice::Stopping { daemons: 1 } => write!(f, "stopping 1 daemon"),
            Notice::Stopping { daemons } => write!(f, "stopping {daemons} daemons"),
            Notice::Killing { daemon, patience } => {
                write!(f, "{daemon} has not ended within {} of SIGTERM: it is killed", rounded(*patience))
            }
            Notice::Unkillable { daemon } => {
                write!(f, "{daemon} does not end by SIGKILL either: it hangs in the kernel, and is left behind")
            }
        }
    }
}

/// A time as precise as matters: tenths of a second below ten, seconds below an hour.
fn rounded(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()).replace(".0 s", " s"),
        10..120 => format!("{} s", time.as_secs()),
        seconds => humantime::format_duration(Duration::from_secs(seconds - seconds % 60)).to_string(),
    }
}
