//! What a maestro tells the others of a daemon that it works with.
//!
//! A report holds what decisions need and no more, and says the same while that stays the same: what is stored for tens of
//! thousands of daemons must change only with them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::event::DownReason;
use crate::notation::{Name, NameSet};

/// What the others are told of one daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Why it cannot be reached; `None` for one that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<DownReason>,
    /// It has been as configured since it came up, as far as it lets itself be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub configured: bool,
    /// The producers that it has started.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub started: NameSet,
    /// The producers that have advertised themselves to it, whether it has started them or not.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub advertised: NameSet,
    /// How far it has come with producers that are being moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaited: Option<Awaited>,
}

/// How far a daemon has come with producers that are being moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// The number of the plan that its maestro had when it told: what is older says nothing of a later move.
    pub plan: u64,
    /// The names of the set instances that are ready, of each producer that has been looked at since.
    pub ready: BTreeMap<Name, BTreeSet<String>>,
}

fn is_empty(names: &NameSet) -> bool {
    names.is_empty()
}
