//! What the leader has decided for a group.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::notation::{Name, NameSet};

/// Who collects what in a group, and what is being handed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlan {
    /// Counts the plans of the group, over all leaders.
    pub number: u64,
    /// The producers that each aggregator owns.
    pub owners: BTreeMap<Name, NameSet>,
    /// The producers of the group that have advertised themselves.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub advertised: NameSet,
    /// By former owner, the producers that it goes on with until their owners are ready.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub leaving: BTreeMap<Name, NameSet>,
    /// By former owner, the producers that it may stop: their owners have taken over.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub taken_over: BTreeMap<Name, NameSet>,
}

fn is_empty(names: &NameSet) -> bool {
    names.is_empty()
}
