//! What people are told of this instance and the others: in the log, and on the status page.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use tracing::{info, warn};

use super::{Seat, View};
use crate::conductor::Conductor;
use crate::members::Role;
use crate::notation::Name;
use crate::placement::Ownership;

impl Seat {
    /// How we are, for people to read.
    pub(in crate::runtime) fn status(&self, conductor: &Conductor) -> String {
        let view = self.view();
        let mut text = format!("maestro {} is {}\n", self.me, view.role);
        if view.role == Role::Suspended {
            let reason = if view.reason.is_empty() { "it is just starting" } else { &view.reason };
            let _ = writeln!(text, "{reason}; nothing is sent, every ldmsd stays as it is, until this is over");
        }
        text.push_str("\nmembers\n");
        let leader = view.live.iter().min_by_key(|member| member.since_revision).map(|member| &member.name);
        for member in &self.members {
            let is_alive = view.live.iter().any(|live| live.name == *member);
            let leads = leader == Some(member) && view.role != Role::Suspended;
            let remarks = [
                (is_alive, "alive"),
                (!is_alive, "not alive"),
                (leads, "leads"),
                (self.blind.contains(member), "reaches none of its daemons"),
                (*member == self.me, "this one"),
            ];
            let remarks: Vec<&str> =
                remarks.into_iter().filter(|(holds, _)| *holds).map(|(_, remark)| remark).collect();
            let _ = writeln!(text, "  {member}  {}", remarks.join(", "));
        }
        let (ours, unreachable) = (self.standing.mine.len(), self.sight.unreachable(&self.standing.mine));
        let all = self.cluster.daemons.len();
        let _ = writeln!(text, "\ndaemons\n  {ours} of {all} are ours, {unreachable} of these cannot be reached");
        text.push_str("\nproducers\n");
        for (name, group) in &self.cluster.groups {
            let mut loads: BTreeMap<&Name, usize> =
                group.aggregators.iter().map(|aggregator| (aggregator, 0)).collect();
            for owner in conductor.owners(name).into_iter().flat_map(BTreeMap::values).flat_map(Ownership::aggregators)
            {
                loads.entry(owner).and_modify(|load| *load += 1);
            }
            let loads: Vec<String> = loads.iter().map(|(aggregator, load)| format!("{aggregator} {load}")).collect();
            let _ = writeln!(text, "  {name}: {}", loads.join(", "));
        }
        text
    }

    /// Tells the operator what has changed among the members. Scripts look for `state changed A => B`.
    pub(super) fn tell(&mut self, view: &View, live: &BTreeSet<Name>) {
        if view.role == Role::Suspended && view.reason.is_empty() {
            return;
        }
        let before = self.told.map_or_else(|| "STARTING".to_owned(), |role| role.to_string());
        let (me, alive, all) = (&self.me, live.len(), self.members.len());
        if view.role == Role::Suspended {
            if self.told != Some(Role::Suspended) {
                warn!(
                    "{me} state changed {before} => SUSPENDED: {}; nothing is sent, every ldmsd stays as it is, until \
                     this is over",
                    view.reason
                );
            } else if self.reason != view.reason {
                warn!("still suspended: {}", view.reason);
            }
        } else if self.told != Some(view.role) {
            info!("{me} state changed {before} => {} ({alive} of {all} maestro members alive)", view.role);
        } else {
            for gone in self.live.difference(live) {
                warn!("maestro member {gone} is gone: the others share its daemons ({alive} of {all} alive)");
            }
            for new in live.difference(&self.live) {
                info!("maestro member {new} is there and gets its share of the daemons ({alive} of {all} alive)");
            }
        }
        self.told = Some(view.role);
        if self.live != *live {
            self.live.clone_from(live);
        }
        self.reason.clone_from(&view.reason);
    }
}
