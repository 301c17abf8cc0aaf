//! What the leader has decided for a group.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Now;
use super::groups::GroupState;
use super::handover::{Gift, Taken, gifts};
use super::standby::Standbys;
use super::takeover::Leaving;
use crate::cluster::AggregatorGroup;
use crate::notation::{Name, NameSet};
use crate::placement::Ownership;

/// Who collects what in a group, and what is being handed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlan {
    /// Counts the plans of the group, over all leaders.
    pub number: u64,
    /// The producers that each aggregator owns as a whole.
    pub owners: BTreeMap<Name, NameSet>,
    /// The producers that several aggregators collect, with the sets that each has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub split: BTreeMap<Name, BTreeMap<Name, BTreeSet<String>>>,
    /// By aggregator, the producers that stand by there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub standbys: BTreeMap<Name, NameSet>,
    /// The producers of the group that have advertised themselves.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub advertised: NameSet,
    /// By former owner, the producers that it goes on with until their owners are ready.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub leaving: BTreeMap<Name, NameSet>,
    /// By former owner, the producers that it may stop: their owners have taken over.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub taken_over: BTreeMap<Name, NameSet>,
    /// By former owner, those of them of which it had a part only: it must not take other sets meanwhile.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<Name, NameSet>,
}

fn is_empty(names: &NameSet) -> bool {
    names.is_empty()
}

impl GroupPlan {
    fn of(state: &GroupState, number: u64) -> GroupPlan {
        let mut plan =
            GroupPlan { number, advertised: state.advertised.keys().cloned().collect(), ..GroupPlan::default() };
        for (producer, ownership) in &state.owners {
            match ownership {
                Ownership::Whole(owner) => {
                    plan.owners.entry(owner.clone()).or_default().insert(producer.clone());
                }
                Ownership::Split(shares) => {
                    plan.split.insert(producer.clone(), shares.clone());
                }
            }
        }
        for (producer, standby) in state.standbys.on() {
            plan.standbys.entry(standby.clone()).or_default().insert(producer.clone());
        }
        for ((producer, from), leaving) in &state.leaving {
            let list = if leaving.taken_over { &mut plan.taken_over } else { &mut plan.leaving };
            list.entry(from.clone()).or_default().insert(producer.clone());
            if leaving.part.is_some() {
                plan.parts.entry(from.clone()).or_default().insert(producer.clone());
            }
        }
        plan
    }

    fn says_the_same(&self, other: &GroupPlan) -> bool {
        GroupPlan { number: other.number, ..self.clone() } == *other
    }

    /// Who collects the producers that this instance knows: the leader may have another configuration for a moment.
    fn ownerships(&self, config: &AggregatorGroup) -> BTreeMap<Name, Ownership> {
        let whole = self.owners.iter().flat_map(|(owner, producers)| {
            producers.iter().map(|producer| (producer.clone(), Ownership::Whole(owner.clone())))
        });
        let split = self.split.iter().map(|(producer, shares)| (producer.clone(), Ownership::Split(shares.clone())));
        let is_known = |producer: &Name| config.producers.contains_key(producer) || self.advertised.contains(producer);
        whole.chain(split).filter(|(producer, _)| is_known(producer)).collect()
    }

    fn is_part(&self, producer: &Name, from: &Name) -> bool {
        self.parts.get(from).is_some_and(|producers| producers.contains(producer))
    }

    /// Producers with their former owners, and whether they may be stopped there.
    fn leaving(&self) -> impl Iterator<Item = ((Name, Name), bool)> {
        let listed = |list: &BTreeMap<Name, NameSet>, may_stop: bool| -> Vec<((Name, Name), bool)> {
            let pairs = list.iter().flat_map(|(from, producers)| producers.iter().map(move |p| (p, from)));
            pairs.map(|(producer, from)| ((producer.clone(), from.clone()), may_stop)).collect()
        };
        listed(&self.leaving, false).into_iter().chain(listed(&self.taken_over, true))
    }
}

/// What a plan has changed that temporary updaters may follow.
#[derive(Debug, Default)]
pub(super) struct PlanChanges {
    /// There was none before.
    pub(super) first: bool,
    /// What its owner collects no more, by the former and the new owner.
    pub(super) lost_to: BTreeMap<(Name, Name), Taken>,
    /// Producers that their new owners have taken over, by new owner.
    pub(super) taken_over: BTreeMap<Name, Vec<Name>>,
    /// Aggregators that have let go a producer to get rid of what is another's, and go on with the rest of it.
    pub(super) kept: Vec<(Name, Name)>,
}

impl GroupState {
    /// Becomes what the plan says.
    pub(super) fn take_plan(&mut self, plan: &GroupPlan, config: &AggregatorGroup, now: Now) -> PlanChanges {
        let mut changes = PlanChanges { first: !self.is_placed(), ..PlanChanges::default() };
        self.placed_at_us.get_or_insert(now.mono_us);
        let owners_before = std::mem::replace(&mut self.owners, plan.ownerships(config));
        let standbys =
            plan.standbys.iter().flat_map(|(standby, names)| names.iter().map(|name| (name.clone(), standby.clone())));
        self.standbys = Standbys::adopted(standbys.filter(|(name, _)| self.owners.contains_key(name)).collect());
        let leaving_before = std::mem::take(&mut self.leaving);
        let is_same_owner = |producer: &Name| owners_before.get(producer) == self.owners.get(producer);
        for (key, taken_over) in plan.leaving().filter(|((producer, _), _)| self.owners.contains_key(producer)) {
            let before = leaving_before.get(&key).filter(|_| is_same_owner(&key.0));
            if taken_over && before.is_some_and(|before| !before.taken_over) {
                let owners = self.owners.get(&key.0).into_iter().flat_map(Ownership::aggregators);
                for owner in owners.filter(|owner| **owner != key.1) {
                    changes.taken_over.entry(owner.clone()).or_default().push(key.0.clone());
                }
            }
            // Who comes to it only now goes on with what is ready there.
            let part = || {
                let part = leaving_before.get(&key).and_then(|before| before.part.as_ref());
                let share = || owners_before.get(&key.0).and_then(|owner| owner.share_of(&key.1));
                plan.is_part(&key.0, &key.1).then(|| part.or_else(share).cloned().unwrap_or_default())
            };
            let mut leaving = before.cloned().unwrap_or_else(|| Leaving::as_planned(now, plan.number).of_part(part()));
            leaving.taken_over = taken_over;
            self.leaving.insert(key, leaving);
        }
        for (producer, ownership) in self.owners.iter().filter(|_| !changes.first) {
            let before = owners_before.get(producer).filter(|before| *before != ownership);
            for Gift { from, to, sets } in before.map(|before| gifts(before, ownership)).unwrap_or_default() {
                let runs_there = leaving_before.contains_key(&(producer.clone(), to.clone()));
                if !runs_there && !self.leaving.contains_key(&(producer.clone(), from.clone())) {
                    changes.lost_to.entry((from, to)).or_default().add(producer, sets);
                }
            }
        }
        for ((producer, from), _) in leaving_before.iter().filter(|(_, before)| before.taken_over) {
            let keeps = self.owners.get(producer).is_some_and(|owner| owner.includes(from));
            if keeps && !self.leaving.contains_key(&(producer.clone(), from.clone())) {
                changes.kept.push((from.clone(), producer.clone()));
            }
        }
        let advertised_before = std::mem::take(&mut self.advertised);
        for producer in plan.advertised.iter().filter(|producer| !config.producers.contains_key(*producer)) {
            let since_us = advertised_before.get(producer).copied().unwrap_or(now.mono_us);
            self.advertised.insert(producer.clone(), since_us);
        }
        changes
    }

    /// This instance decides from now on: for a moment, nothing is decided in the absence of what others may tell.
    pub(super) fn begin_to_lead(&mut self, now: Now, settle_us: u64) {
        self.sent = None;
        self.hold_until_us = Some(now.mono_us + settle_us);
        self.lost.clear();
        if !self.is_placed() {
            self.known_since_us = now.mono_us;
        }
    }

    /// What a leader has to publish, if that is not what it has published last.
    pub(super) fn plan_to_publish(&mut self, published: Option<&GroupPlan>) -> Option<GroupPlan> {
        if !self.is_placed() {
            return None;
        }
        let latest = self.sent.as_ref().or(published);
        let number = self.sent.iter().chain(published).map(|plan| plan.number).max().unwrap_or(0) + 1;
        let plan = GroupPlan::of(self, number);
        let asks_anew = self.leaving.values().any(|leaving| leaving.plan.is_none());
        if !asks_anew && latest.is_some_and(|latest| latest.says_the_same(&plan)) {
            self.sent = latest.cloned();
            return None;
        }
        for leaving in self.leaving.values_mut() {
            leaving.plan.get_or_insert(number);
        }
        self.sent = Some(plan.clone());
        Some(plan)
    }

    pub(super) fn is_published(&self, published: Option<&GroupPlan>) -> bool {
        self.sent.is_some() && self.sent.as_ref() == published
    }

    /// Something has been published: where it is neither this leader's last plan nor one before it, that has to be
    /// published again.
    pub(super) fn compare_with_published(&mut self, published: Option<&GroupPlan>) {
        let comes_later = |published: &GroupPlan| self.sent.as_ref().is_some_and(|sent| published.number < sent.number);
        if !self.is_published(published) && !published.is_some_and(comes_later) {
            self.sent = None;
        }
    }
}
