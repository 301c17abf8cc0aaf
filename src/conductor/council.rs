//! Several instances: the share of this one, what the others tell, and what becomes of it when its part changes.
//!
//! Each instance works with the daemons of its share and publishes of them what decisions need ([`Report`]). The leader
//! decides from that who collects what, and publishes it for each group ([`GroupPlan`]); the others do on their own daemons
//! what is published. What a leader decides counts for itself like for the others only once it is published: before, it
//! starts producers on its own daemons and stops none. So two leaders, of whom one does not know yet that it is none any
//! more, cannot stop a producer on both of its aggregators.
//!
//! Neither a change of leader nor one of shares is a cause to move anything. A daemon that nobody tells of for a moment,
//! because it goes from one instance to another, is presumed to be as it was last heard to be.

use std::collections::{BTreeMap, BTreeSet};

use super::daemons::{DaemonState, Health};
use super::event::{Action, DownReason};
use super::groups::GroupState;
use super::plan::GroupPlan;
use super::report::Report;
use super::standing::{Part, Standing};
use super::{Conductor, Now, Timer};
use crate::notation::Name;

/// What is known of the other instances and what they know of this one.
#[derive(Debug, Default)]
pub(super) struct Council {
    pub(super) standing: Standing,
    /// What others have published of each daemon, apart from what this instance has published in its place.
    pub(super) reports: BTreeMap<Name, Report>,
    /// What is published for each group.
    plans: BTreeMap<Name, GroupPlan>,
    /// What this instance has published of its own daemons.
    pub(super) published: BTreeMap<Name, Report>,
    /// Own daemons that may have something new to tell.
    pub(super) changed: BTreeSet<Name>,
}

/// From whom is known what is known of a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hearing {
    /// From itself.
    Directly,
    /// From the instance that has it in its share.
    ByReport,
    /// From nobody since then: it is on its way from one instance to another.
    NotSince(u64),
}

impl Council {
    pub(super) fn part(&self) -> Part {
        self.standing.part
    }

    pub(super) fn has(&self, daemon: &Name) -> bool {
        self.standing.has(daemon)
    }

    pub(super) fn plan(&self, group: &Name) -> Option<&GroupPlan> {
        self.plans.get(group)
    }
}

impl Standing {
    fn has(&self, daemon: &Name) -> bool {
        self.part == Part::Alone || self.mine.contains(daemon)
    }
}

impl Conductor {
    /// Whether this instance decides who collects what.
    pub(super) fn decides(&self) -> bool {
        matches!(self.council.part(), Part::Alone | Part::Leader)
    }

    /// Takes over another part, or another share.
    pub(super) fn stand(&mut self, standing: Standing, now: Now) {
        let before = std::mem::replace(&mut self.council.standing, standing);
        let daemons: Vec<Name> = self.daemons.keys().cloned().collect();
        for name in daemons {
            match (before.has(&name), self.council.has(&name)) {
                (true, false) => self.give_away(name, now),
                (false, true) => self.take_on(&name, now),
                _ => {}
            }
        }
        let (from, to) = (before.part, self.council.part());
        if from == to {
            return;
        }
        if from == Part::Suspended {
            self.council.published.clear();
            self.council.changed.extend(self.council.standing.mine.iter().cloned());
        }
        match to {
            Part::Leader => self.begin_to_lead(now),
            // What was decided and not published counts for nothing.
            _ if from == Part::Leader => self.follow_all(now),
            _ => {}
        }
        self.dirty_daemons.extend(self.daemons.keys().cloned());
        self.dirty_groups.extend(self.groups.keys().cloned());
    }

    /// A daemon has left the share.
    fn give_away(&mut self, name: Name, now: Now) {
        let known = self.known_of(&name);
        self.council.published.remove(&name);
        let Some(state) = self.daemons.get_mut(&name) else { return };
        state.leave_connection();
        state.told = known;
        state.hearing = Hearing::NotSince(now.mono_us);
        self.leave_notes(&name);
        self.actions.push(Action::Forget(name.clone()));
        self.expect_to_hear(&name, now);
        self.touch(&name);
        if let Some(report) = self.council.reports.get(&name).cloned() {
            self.daemon_reported(&name, Some(report), now);
        }
    }

    /// A daemon has come into the share.
    fn take_on(&mut self, name: &Name, now: Now) {
        let Some(state) = self.daemons.get_mut(name) else { return };
        state.readiness.clear();
        state.hearing = Hearing::NotSince(now.mono_us);
        let target = state.target.clone();
        self.recall(name);
        self.actions.push(Action::Connect(target));
        self.expect_to_hear(name, now);
        self.touch(name);
    }

    /// What is known of a daemon that has just come into the configuration, or has another address.
    pub(super) fn introduce(&mut self, name: &Name, now: Now) {
        if self.council.part() == Part::Alone {
            return;
        }
        if let Some(state) = self.daemons.get_mut(name) {
            state.hearing = Hearing::NotSince(now.mono_us);
        }
        self.expect_to_hear(name, now);
        if let Some(report) = self.council.reports.get(name).filter(|_| !self.council.has(name)).cloned() {
            self.daemon_reported(name, Some(report), now);
        }
    }

    /// The configuration has changed: what is published is seen in another light.
    pub(super) fn review_plans(&mut self, new_groups: &[Name], now: Now) {
        match self.council.part() {
            Part::Alone => {}
            Part::Leader => {
                for group in new_groups {
                    self.follow(group, now);
                    if let Some(state) = self.groups.get_mut(group) {
                        state.begin_to_lead(now, self.settings.settle_us);
                    }
                }
                self.retract_plans();
            }
            Part::Follower | Part::Suspended => self.follow_all(now),
        }
    }

    /// Another instance has published, or taken back, what it knows of a daemon.
    pub(super) fn daemon_reported(&mut self, name: &Name, report: Option<Report>, now: Now) {
        match &report {
            Some(report) => self.council.reports.insert(name.clone(), report.clone()),
            None => self.council.reports.remove(name),
        };
        if self.council.has(name) {
            // Somebody who had the daemon before was late.
            if self.council.published.get(name).is_some_and(|published| Some(published) != report.as_ref()) {
                self.council.published.remove(name);
                self.council.changed.insert(name.clone());
            }
            return;
        }
        let Some(report) = report else {
            if let Some(state) = self.daemons.get_mut(name) {
                state.hearing = Hearing::NotSince(now.mono_us);
            }
            return self.expect_to_hear(name, now);
        };
        let Some(state) = self.daemons.get_mut(name) else { return };
        let (before, told_before, configured_before) = (state.health, state.told.clone(), state.configured_once);
        state.hear_of(report.clone(), now);
        if report.configured && !configured_before {
            self.release_waiting(name);
        }
        let switched_on = |before: &Report| ![0, before.services_since_us].contains(&report.services_since_us);
        if told_before.as_ref().is_some_and(switched_on) {
            self.doubt_connections(name, now);
        }
        match (&report.down, before) {
            (Some(reason), _) => self.note_loss(name, before, reason.clone(), now),
            (None, Health::Up) => {}
            (None, _) => self.note_return(name, before, false, now),
        }
        self.boost_above_what_became_ready(name, told_before.as_ref(), &report, now);
        self.look_at_differing(name, told_before.as_ref(), &report);
        self.touch(name);
    }

    /// Where nobody tells of a daemon for long, a leader has to take it for lost.
    fn expect_to_hear(&mut self, name: &Name, now: Now) {
        self.timers.insert((now.mono_us + self.settings.settle_us, Timer::Unheard(name.clone())));
    }

    pub(super) fn review_hearing(&mut self, name: &Name, now: Now) {
        let settle_us = self.settings.settle_us;
        let leads = self.council.part() == Part::Leader;
        let Some(state) = self.daemons.get_mut(name).filter(|_| leads) else { return };
        let long_ago = matches!(state.hearing, Hearing::NotSince(since_us) if now.mono_us >= since_us + settle_us);
        if long_ago && state.health == Health::Up {
            state.health = Health::Down;
            let reason = DownReason::Silent("no maestro has it".to_owned());
            self.note_loss(name, Health::Up, reason, now);
            self.touch(name);
        }
    }

    /// From now on this instance decides, and goes on where the last leader was.
    fn begin_to_lead(&mut self, now: Now) {
        let unheard = self.daemons.iter_mut().filter(|(_, state)| matches!(state.hearing, Hearing::NotSince(_)));
        let unheard: Vec<Name> = unheard
            .map(|(name, state)| {
                state.hearing = Hearing::NotSince(now.mono_us);
                name.clone()
            })
            .collect();
        for name in unheard {
            self.expect_to_hear(&name, now);
        }
        self.follow_all(now);
        for state in self.groups.values_mut() {
            state.begin_to_lead(now, self.settings.settle_us);
        }
        self.retract_plans();
        self.trust_who_has_work(now);
    }

    /// A new leader does not know who has just returned. It is one that has not been given work, which waits once more.
    fn trust_who_has_work(&mut self, now: Now) {
        let delay_us = self.settings.return_delay_us;
        for (name, config) in &self.cluster.groups {
            let Some(group) = self.groups.get(name) else { continue };
            for aggregator in &config.aggregators {
                let Some(state) = self.daemons.get_mut(aggregator).filter(|state| state.is_up()) else { continue };
                state.trusted = !group.is_placed() || group.has_work_for(aggregator);
                if !state.trusted {
                    let timer = Timer::Trust(aggregator.clone(), state.up_since_us);
                    self.timers.insert((now.mono_us + delay_us, timer));
                }
            }
        }
    }

    /// The plans of groups that the configuration does not have are taken back.
    fn retract_plans(&mut self) {
        let gone = self.council.plans.keys().filter(|group| !self.cluster.groups.contains_key(*group));
        for group in gone.cloned().collect::<Vec<_>>() {
            self.actions.push(Action::PublishPlan { group, plan: None });
        }
    }

    /// Something has been published for a group, perhaps by this instance.
    pub(super) fn group_planned(&mut self, group: Name, plan: Option<GroupPlan>, now: Now) {
        match plan {
            Some(plan) => self.council.plans.insert(group.clone(), plan),
            None => self.council.plans.remove(&group),
        };
        if self.council.part() != Part::Leader {
            return self.follow(&group, now);
        }
        if let Some(state) = self.groups.get_mut(&group) {
            state.compare_with_published(self.council.plans.get(&group));
        }
        // What is to be stopped may be stopped now.
        let aggregators = self.cluster.groups.get(&group).map(|group| group.aggregators.clone()).unwrap_or_default();
        self.council.changed.extend(aggregators.iter().cloned());
        self.dirty_daemons.extend(aggregators);
        self.dirty_groups.insert(group);
    }

    fn follow_all(&mut self, now: Now) {
        for group in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.follow(&group, now);
        }
    }

    /// Takes what is published for a group for its state.
    pub(super) fn follow(&mut self, name: &Name, now: Now) {
        let cluster = std::sync::Arc::clone(&self.cluster);
        let Some(config) = cluster.groups.get(name) else { return };
        let Some(plan) = self.council.plans.get(name) else {
            if let Some(state) = self.groups.get_mut(name) {
                state.begin_anew(now);
            }
            return;
        };
        let Some(state) = self.groups.get_mut(name) else { return };
        let changes = state.take_plan(plan, config, now);
        if changes.first {
            self.expect_services(config, now);
        }
        for ((from, to), taken) in changes.lost_to {
            self.boost_after_loss(&from, &to, &taken, now);
        }
        for (to, producers) in changes.taken_over {
            let sets = self.sets_on(&to, &producers);
            self.boost_above(&to, &sets, now);
        }
        for (aggregator, producer) in changes.kept {
            self.boost_share(&aggregator, &producer, now);
        }
        for aggregator in &config.aggregators {
            if let Some(daemon) = self.daemons.get_mut(aggregator) {
                daemon.settled = false;
            }
        }
        self.council.changed.extend(config.aggregators.iter().cloned());
        self.dirty_daemons.extend(config.aggregators.iter().cloned());
    }

    /// Publishes what a leader has decided for a group, if that is not what is published.
    pub(super) fn publish_plan(&mut self, name: &Name) {
        if self.council.part() != Part::Leader {
            return;
        }
        let published = self.council.plans.get(name);
        let Some(state) = self.groups.get_mut(name) else { return };
        if let Some(plan) = state.plan_to_publish(published) {
            self.actions.push(Action::PublishPlan { group: name.clone(), plan: Some(plan) });
        }
    }

    /// Whether what is known of a group's owners is what is published, so that its daemons may stop what they do not own.
    pub(super) fn is_in_force(&self, name: &Name, state: &GroupState) -> bool {
        self.council.part() != Part::Leader || state.is_published(self.council.plan(name))
    }
}

impl DaemonState {
    /// What is known of the daemon is what another instance tells of it.
    fn hear_of(&mut self, report: Report, now: Now) {
        if report.down.is_none() && self.health != Health::Up {
            self.up_since_us = now.mono_us;
        }
        self.hearing = Hearing::ByReport;
        self.health = if report.down.is_some() { Health::Down } else { Health::Up };
        self.configured_once = report.configured;
        self.services_since_us = report.services_since_us;
        for (producer, sets) in report.awaited.iter().flat_map(|awaited| &awaited.ready) {
            self.note_ready(producer.clone(), sets.len(), now);
        }
        let told = |producer: &Name| report.awaited.as_ref().is_some_and(|told| told.ready.contains_key(producer));
        self.readiness.retain(|producer, _| told(producer));
        self.told = Some(report);
    }
}
