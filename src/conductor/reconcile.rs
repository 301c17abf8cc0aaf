//! From what a daemon should be, and what it says it is, to what is sent to it.

use std::collections::BTreeSet;

use super::event::{Action, Scope};
use super::notice::Notice;
use super::replacement::goes_on_for_us;
use super::shares::hold_until_narrowed;
use super::standing::Part;
use super::{Conductor, Now, Timer};
use crate::cluster::UpdaterMode;
use crate::desired::{Change, Subject, changes, daemon_config, lingering, review};
use crate::ldmsd::Verb;
use crate::notation::Name;
use crate::placement::Ownership;

/// With more producers than this, asking for all of them costs less than asking for each.
pub(super) const MOST_PRODUCERS_BY_NAME: usize = 250;

impl Conductor {
    /// Sends the daemon what it lacks; nothing to one that is as it should be.
    pub(super) fn reconcile(&mut self, name: &Name, now: Now) {
        let Some(state) = self.daemons.get(name) else { return };
        if !state.is_connected() || state.in_flight.is_some() || self.council.part() == Part::Suspended {
            return;
        }
        self.doubt(name, now);
        self.review_connections(name);
        let roles = self.roles(name, now);
        let updaters_wait = self.leaves_updaters_alone(name);
        let narrowed = self.keeps_a_part_of(name);
        let busy_us = self.until_sets_may_go_here_us(name, now);
        let mut config = daemon_config(&self.cluster, &self.relations, name, &roles);
        let Some(state) = self.daemons.get_mut(name) else { return };
        if state.observed.development_line {
            let wanted = config.updaters.len();
            config.updaters.retain(|updater| !matches!(updater.mode, UpdaterMode::Push | UpdaterMode::OnChange));
            if config.updaters.len() < wanted && !std::mem::replace(&mut state.push_withheld, true) {
                self.actions.push(Action::Report(Notice::PushWithheld { daemon: name.clone() }));
            }
        }
        review(&config, &state.observed, &mut state.ledger);
        let lingering = lingering(&config, &state.ledger, state.numbering);
        for what in lingering.difference(&state.lingering) {
            self.actions.push(Action::Report(Notice::Lingers { daemon: name.clone(), what: what.clone() }));
        }
        state.lingering = lingering;
        let mut wanted = changes(&config, &state.observed, &state.ledger, state.numbering);

        if updaters_wait {
            wanted.retain(|change| !matches!(change.subject, Subject::Updater(_)));
        }
        hold_until_narrowed(&mut wanted, &narrowed);
        let subjects: BTreeSet<&Subject> = wanted.iter().map(|change| &change.subject).collect();
        state.attempts.retain(|subject, _| subjects.contains(subject));
        let (due, postponed): (Vec<Change>, Vec<Change>) = wanted.into_iter().partition(|change| {
            let attempt = state.attempts.get(&change.subject);
            attempt.is_none_or(|attempt| attempt.steps != change.steps || attempt.next_try_us <= now.mono_us)
        });
        let next_try = postponed.iter().filter_map(|change| state.attempts.get(&change.subject)).map(|a| a.next_try_us);
        if let Some(at_us) = next_try.min() {
            self.timers.insert((at_us, Timer::Daemon(name.clone())));
        }
        let waits_us = |change: &Change| match deletes_sets(change) {
            true => busy_us,
            false => goes_on_for_us(change, &config.updaters, now.wall_us),
        };
        let (due, untimely): (Vec<Change>, Vec<Change>) = due.into_iter().partition(|change| waits_us(change) == 0);
        if let Some(wait_us) = untimely.iter().map(waits_us).min() {
            state.settled = false;
            self.timers.insert((now.mono_us + wait_us, Timer::Daemon(name.clone())));
        }
        if !due.is_empty() {
            state.settled = false;
            let scope = scope_of(&due);
            state.in_flight = Some(due.clone());
            let session = state.session;
            self.actions.push(Action::Run { daemon: name.clone(), session, changes: due, scope });
            return;
        }
        if !untimely.is_empty() {
            self.remember(name, false);
            return;
        }
        let newly_configured = !std::mem::replace(&mut state.configured_once, true);
        let newly_settled = postponed.is_empty() && !std::mem::replace(&mut state.settled, true);
        if newly_configured {
            self.council.changed.insert(name.clone());
            self.release_waiting(name);
            self.note_news_of(name, now);
        }
        if newly_settled {
            self.dirty_groups.extend(self.relations.group_of(name).cloned());
            self.report(Notice::Settled { daemon: name.clone() });
            self.plan_groups(now);
        }
        if !self.look_again(name, now) && !self.count_again(name, now) {
            self.poll(name, now);
        }
    }

    /// Whether aggregators wait with their producers for this daemon's services.
    pub(super) fn is_waited_for(&self, name: &Name) -> bool {
        self.relations.collected_by(name).iter().any(|(group, _)| self.subscribes(group))
    }

    fn subscribes(&self, group: &Name) -> bool {
        self.cluster.groups.get(group).is_some_and(|group| !group.subscriptions.is_empty())
    }

    /// Aggregators whose producers wait for this daemon's services look again.
    pub(super) fn release_waiting(&mut self, name: &Name) {
        for (group, producer) in self.relations.collected_by(name) {
            let subscribes = self.subscribes(group);
            let owner = self.groups.get(group).and_then(|state| state.owners().get(producer));
            let aggregators = owner.filter(|_| subscribes).into_iter().flat_map(Ownership::aggregators);
            self.dirty_daemons.extend(aggregators.cloned());
        }
    }
}

fn producers_scope(producers: BTreeSet<Name>) -> Scope {
    if producers.len() > MOST_PRODUCERS_BY_NAME {
        Scope { all_producers: true, ..Scope::default() }
    } else {
        Scope { producers: producers.into_iter().collect(), ..Scope::default() }
    }
}

/// Whether sets go with it, which kills a storing aggregator of the development line that is fetching them
/// (operations of a live ldmsd, section 14): never near a tick.
fn deletes_sets(change: &Change) -> bool {
    change.steps.iter().any(|step| matches!(step.command.verb, Verb::PrdcrStop | Verb::Term))
}

/// What changes may have changed.
fn scope_of(changes: &[Change]) -> Scope {
    let mut scope = Scope::default();
    let mut producers = BTreeSet::new();
    for change in changes {
        match &change.subject {
            Subject::ProducerStopped(name) => {
                producers.insert(name.clone());
            }
            Subject::Producer(_) | Subject::ProducersStarted(_) | Subject::Advertiser(_) => scope.all_producers = true,
            Subject::Updater(_) | Subject::Boost(_) => scope.updaters = true,
            Subject::ProducerListener(_) => scope.listeners = true,
            Subject::StoragePolicy(_) => scope.policies = true,
            Subject::Plugin(_) => {
                scope.plugins = true;
                // A store that is made anew takes its policies with it.
                scope.policies |= change.steps.iter().any(|step| step.command.verb == Verb::StrgpDel);
            }
            Subject::AuthDomain(_)
            | Subject::Listener(_)
            | Subject::Environment(_)
            | Subject::Streams
            | Subject::Messages
            | Subject::Subscription(_) => {}
        }
    }
    if !scope.all_producers {
        let by_name = producers_scope(producers);
        scope.all_producers = by_name.all_producers;
        scope.producers = by_name.producers;
    }
    scope
}
