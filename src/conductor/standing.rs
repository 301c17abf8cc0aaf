//! What part a maestro has among several, and which daemons are its own.
//!
//! Several instances form a council: each works with its share of the daemons and tells the others what it sees of them
//! ([`super::Report`]), one leads and decides who collects what ([`super::GroupPlan`]), all act on what was decided.

use std::collections::BTreeSet;

use crate::notation::Name;

/// The part of this instance, and its share of the daemons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its part.
    pub part: Part,
    /// The daemons that it connects to, probes and configures. Means nothing to one that is alone.
    pub mine: BTreeSet<Name>,
}

/// What an instance may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Part {
    /// There are no others: all daemons are its own, and it decides.
    #[default]
    Alone,
    /// It decides for all who collects what.
    Leader,
    /// It does on its own daemons what the leader has decided.
    Follower,
    /// It cannot know what the others do, without quorum or without etcd: it looks on and sends nothing.
    Suspended,
}

impl Part {
    /// Whether it takes part in deciding and doing what several instances have agreed on.
    #[must_use]
    pub fn is_member(self) -> bool {
        matches!(self, Part::Leader | Part::Follower)
    }
}
