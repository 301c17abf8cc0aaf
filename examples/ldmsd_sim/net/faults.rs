//! What a daemon can be told to do wrong (the wire specification, section 10).

use std::sync::{Arc, Mutex, PoisonError};

use maestro::ldmsd::Verb;
use maestro::ldmsd::codec::record::MAX_RECORD_BYTES;
use serde::{Deserialize, Serialize};

/// One way to go wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, clap::Subcommand)]
pub(crate) enum FaultKind {
    /// Answer with this result code, without doing anything.
    Refuse { code: i32 },
    /// Answer so many milliseconds late.
    Delay { ms: u64 },
    /// Do it, but never answer.
    Silent,
    /// Close the connection in the middle of the answer.
    Cut,
    /// Answer with invalid JSON: an unescaped backslash.
    Garble,
    /// Answer with code 0 and the text of a malformed request.
    BadRequest,
    /// Hold the answer back until after the next one.
    Swap,
    /// Cut answers into records of so many bytes.
    Records { bytes: usize },
    /// Send directories in messages of so many sets.
    SplitDirectory { sets: usize },
    /// Send a SEND_QUOTA to every peer before each answer.
    Quota,
    /// Send a request record to every peer before each answer.
    Request,
    /// Announce the deletion of a set to every peer before each answer.
    SetDelete { instance: String },
    /// Behave again.
    Off,
}

/// A fault, for one verb or for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    /// The verb in whose answer it shows; all without one.
    pub(crate) verb: Option<String>,
    pub(crate) kind: FaultKind,
}

/// The faults of one daemon, shared by its connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<Vec<Fault>>>);

impl Faults {
    /// Adds a fault; [`FaultKind::Off`] removes all of the verb, or all.
    pub(crate) fn add(&self, fault: Fault) {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if fault.kind == FaultKind::Off {
            faults.retain(|kept| fault.verb.is_some() && kept.verb != fault.verb);
        } else {
            faults.push(fault);
        }
    }

    /// The faults that show in the answer to a verb, in the order in which they were added.
    pub(super) fn of(&self, verb: Option<Verb>) -> Vec<FaultKind> {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let concerns = |fault: &&Fault| fault.verb.as_deref().is_none_or(|word| verb.is_some_and(|v| v.word() == word));
        faults.iter().filter(concerns).map(|fault| fault.kind.clone()).collect()
    }

    /// How many sets a directory message holds.
    pub(super) fn directory_sets(&self) -> usize {
        let split = self.of(None).into_iter().find_map(|kind| match kind {
            FaultKind::SplitDirectory { sets } => Some(sets.max(1)),
            _ => None,
        });
        split.unwrap_or(usize::MAX)
    }
}

/// The longest record of an answer with these faults.
pub(super) fn record_bytes(faults: &[FaultKind]) -> usize {
    let shortened = faults.iter().find_map(|kind| match kind {
        FaultKind::Records { bytes } => Some(*bytes),
        _ => None,
    });
    shortened.unwrap_or(MAX_RECORD_BYTES)
}
