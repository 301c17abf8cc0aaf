//! What a maestro tells the others of a daemon that it works with.
//!
//! A report holds what decisions need and no more, and says the same while that stays the same: what is stored for tens of
//! thousands of daemons must change only with them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::council::Hearing;
use super::daemons::Health;
use super::event::{Action, DownReason};
use super::{Conductor, Now};
use crate::notation::{Name, NameSet};
use crate::placement::Load;
use crate::placement::sets::Weight;

/// With more sets than this, those of further producers are told when the first have been moved: a report has to stay
/// far below the 1.5 MiB that etcd takes.
const MOST_SETS_TOLD: usize = 5_000;

/// What the others are told of one daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Why it cannot be reached; `None` for one that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<DownReason>,
    /// It has been as configured since it came up, as far as it lets itself be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub configured: bool,
    /// When its stream or message service was last switched on after somebody may have connected, in microseconds since
    /// the epoch; 0 for never.
    #[serde(default, skip_serializing_if = "is_never")]
    pub services_since_us: u64,
    /// The producers that it has started.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub started: NameSet,
    /// Of these, the ones that it does not collect: they stand by there, or should not run there.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub idle: NameSet,
    /// The producers that have advertised themselves to it, whether it has started them or not.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub advertised: NameSet,
    /// How far it has come with producers that are being moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaited: Option<Awaited>,
    /// Of a sampler whose metric sets are weighed: all of them together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sets: Option<Load>,
    /// The schema and the weight of each set, where the producer is so heavy that it may have to be split.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub each: BTreeMap<String, (String, Weight)>,
    /// Of an aggregator: the producers of which it sees other sets than another instance tells.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub differing: NameSet,
}

/// How far a daemon has come with producers that are being moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// The number of the plan that its maestro had when it told: what is older says nothing of a later move.
    pub plan: u64,
    /// The names of the set instances that are ready, of each producer that has been looked at since.
    pub ready: BTreeMap<Name, BTreeSet<String>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_never(at_us: &u64) -> bool {
    *at_us == 0
}

fn is_empty(names: &NameSet) -> bool {
    names.is_empty()
}

impl Conductor {
    /// Tells the others what is new of this instance's daemons.
    pub(super) fn publish_reports(&mut self, now: Now) {
        for name in std::mem::take(&mut self.council.changed) {
            let heard = self.daemons.get(&name).is_some_and(|state| state.hearing == Hearing::Directly);
            if !heard || !self.council.part().is_member() || !self.council.has(&name) {
                continue;
            }
            let report = self.report_of(&name);
            let before = self.council.published.get(&name).cloned();
            if report == before {
                continue;
            }
            match &report {
                Some(report) => {
                    self.council.reports.remove(&name);
                    self.council.published.insert(name.clone(), report.clone());
                    self.boost_above_what_became_ready(&name, before.as_ref(), report, now);
                }
                None => {
                    self.council.published.remove(&name);
                }
            }
            self.actions.push(Action::Publish { daemon: name, report });
        }
    }

    /// What is known of a daemon that this instance has, or else of one that it does not have yet.
    pub(super) fn known_of(&self, name: &Name) -> Option<Report> {
        let state = self.daemons.get(name)?;
        if state.hearing == Hearing::Directly { self.report_of(name) } else { state.told.clone() }
    }

    /// What the others have to know of a daemon; `None` for one that nothing is decided by, or nothing is known of.
    fn report_of(&self, name: &Name) -> Option<Report> {
        let state = self.daemons.get(name).filter(|state| state.health != Health::Unknown)?;
        let group = self.relations.group_of(name);
        let is_waited_for = self.is_waited_for(name);
        let weighed = self.sets_to_tell(name);
        // What is known of its sets stays true while a sampler is down. Else nobody is to wait for it.
        let is_waited_for_in_vain = self.is_weighed(name) && weighed.is_none() && !state.is_up();
        if group.is_none() && !is_waited_for && weighed.is_none() && !is_waited_for_in_vain {
            return None;
        }
        let tells_whether_up = group.is_some() || is_waited_for || is_waited_for_in_vain;
        let (sets, each) = weighed.unzip();
        let mut report = Report {
            down: state.down.clone().filter(|_| tells_whether_up && !state.is_up()),
            sets,
            each: each.unwrap_or_default(),
            configured: is_waited_for && state.configured_once,
            services_since_us: if is_waited_for { state.services_since_us } else { 0 },
            ..Report::default()
        };
        let Some(group) = group.filter(|_| state.is_up()) else { return Some(report) };
        report.started = state.running().cloned().collect();
        report.idle = state.running().filter(|producer| state.is_idle(producer)).cloned().collect();
        report.advertised = state.advertised().cloned().collect();
        report.differing = self.told_otherwise(name, group);
        let ready = self.ready_of(name);
        if !ready.is_empty() {
            let plan = self.council.plan(group).map_or(0, |plan| plan.number);
            report.awaited = Some(Awaited { plan, ready });
        }
        Some(report)
    }

    /// The ready sets of the producers that somebody waits for on a daemon.
    fn ready_of(&self, name: &Name) -> BTreeMap<Name, BTreeSet<String>> {
        let Some(state) = self.daemons.get(name) else { return BTreeMap::new() };
        let group = self.relations.group_of(name).and_then(|group| self.groups.get(group));
        let asked = group.map(|group| group.asked_since()).unwrap_or_default();
        let mut ready = BTreeMap::new();
        let mut sets_told = 0;
        let awaited = self.awaited_moves(name);
        for producer in awaited.into_iter().chain(self.held_in_part(name)).collect::<BTreeSet<Name>>() {
            let asked_us = asked.get(&producer).copied().unwrap_or(0);
            let is_fresh = state.readiness.get(&producer).is_some_and(|readiness| readiness.seen_us >= asked_us);
            if is_fresh && sets_told < MOST_SETS_TOLD {
                let sets: BTreeSet<String> = state.ready_sets(&producer).into_iter().map(str::to_owned).collect();
                sets_told += sets.len();
                ready.insert(producer, sets);
            }
        }
        ready
    }
}
