//! What is known of each daemon, and how events change it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::attempts::Attempt;
use super::council::Hearing;
use super::doubt::Doubts;
use super::event::{Action, DownReason, Observed, Outcome, Target};
use super::groups::GroupState;
use super::notice::Notice;
use super::polling::Polling;
use super::report::Report;
use super::standing::Part;
use super::{Conductor, Now, Timer, late_services};
use crate::desired::{Change, DaemonRecord, Ledger, Retired, Subject};
use crate::ldmsd::observation::ProducerState;
use crate::ldmsd::{Numbering, Observation};
use crate::notation::Name;

/// Losses that are remembered, and for how long: a daemon that flaps waits longer for its work. A few
/// within minutes are a restart, or an operator at work.
const LOSSES_KEPT: usize = 10;
const LOSSES_FORGIVEN: usize = 3;
const LOSS_WINDOW_US: u64 = 600_000_000;
/// How long after the first placement an aggregator that is seen for the first time gets work at once: a site that
/// starts brings all of them up at about the same time.
const STARTING_US: u64 = 10_000_000;
/// The longest that a flapping aggregator waits.
const LONGEST_TRUST_DELAY_US: u64 = 300_000_000;

/// One daemon.
#[derive(Debug)]
pub(super) struct DaemonState {
    pub(super) target: Target,
    pub(super) health: Health,
    /// From whom its health is known.
    pub(super) hearing: Hearing,
    /// What another instance has told of it, where that is what is known of it.
    pub(super) told: Option<Report>,
    /// Why it went down.
    pub(super) down: Option<DownReason>,
    /// When it was last found to be up after it had not been.
    pub(super) up_since_us: u64,
    pub(super) session: u64,
    pub(super) numbering: Numbering,
    pub(super) observed: Observation,
    pub(super) ledger: Ledger,
    /// The changes that are being applied, or none during a mere observation.
    pub(super) in_flight: Option<Vec<Change>>,
    /// What has left its configuration.
    pub(super) retired: Retired,
    pub(super) attempts: BTreeMap<Subject, Attempt>,
    /// It was as configured when last looked at.
    pub(super) settled: bool,
    /// It has been as configured, as far as it lets itself be, since it last came up.
    pub(super) configured_once: bool,
    /// The operator knows that it is not given its push updaters.
    pub(super) push_withheld: bool,
    /// What has left its configuration and stays, as the operator knows.
    pub(super) lingering: BTreeSet<String>,
    /// How far it has been asked for what is waited for.
    pub(super) polling: Polling,
    /// A service that is asked of it has not been switched on in this run of it.
    pub(super) lacks_services: bool,
    /// When one was last switched on, by the wall clock; 0 for never.
    pub(super) services_since_us: u64,
    /// What has been seen of the sets of each producer.
    pub(super) readiness: BTreeMap<Name, Readiness>,
    /// Whether it may be given work; an aggregator that returned has to stay first.
    pub(super) trusted: bool,
    /// The producers that it has shown since that was last looked at.
    pub(super) shown: BTreeSet<Name>,
    /// Others see different sets of it than it told of, and it is to be asked.
    pub(super) look_again: bool,
    /// When it was last asked for that reason.
    pub(super) looked_us: u64,
    /// When its configuration counter is to be read again, because an aggregator subscribes to it.
    pub(super) count_again_us: Option<u64>,
    pid: Option<u32>,
    cfg_cntr: Option<u64>,
    losses: VecDeque<u64>,
    /// Whether somebody else has changed it.
    pub(super) doubts: Doubts,
}

/// How far a daemon has come with the sets of a producer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Readiness {
    /// How many sets are ready.
    pub(super) sets: usize,
    /// Since when so many have been ready, without a break.
    pub(super) since_us: u64,
    /// When the daemon last told.
    pub(super) seen_us: u64,
}

/// Whether a daemon can be worked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// Nothing has been heard yet, neither an answer nor a refusal.
    Unknown,
    Up,
    Down,
}

impl DaemonState {
    pub(super) fn new(target: Target) -> DaemonState {
        DaemonState {
            target,
            health: Health::Unknown,
            hearing: Hearing::Directly,
            told: None,
            down: None,
            up_since_us: 0,
            session: 0,
            numbering: Numbering::V45,
            observed: Observation::default(),
            ledger: Ledger::default(),
            in_flight: None,
            retired: Retired::default(),
            attempts: BTreeMap::new(),
            settled: false,
            configured_once: false,
            push_withheld: false,
            lingering: BTreeSet::new(),
            polling: Polling::default(),
            lacks_services: false,
            services_since_us: 0,
            readiness: BTreeMap::new(),
            trusted: false,
            shown: BTreeSet::new(),
            look_again: false,
            looked_us: 0,
            count_again_us: None,
            pid: None,
            cfg_cntr: None,
            losses: VecDeque::new(),
            doubts: Doubts::default(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.health == Health::Up
    }

    /// Whether it is up and this instance is connected to it.
    pub(super) fn is_connected(&self) -> bool {
        self.is_up() && self.hearing == Hearing::Directly
    }

    /// There is no connection to it any more, or a new one is being made.
    pub(super) fn leave_connection(&mut self) {
        let target = self.target.clone();
        let kept = std::mem::replace(self, DaemonState::new(target));
        self.health = kept.health;
        self.hearing = kept.hearing;
        self.told = kept.told;
        self.down = kept.down;
        self.up_since_us = kept.up_since_us;
        self.retired = kept.retired;
        self.trusted = kept.trusted;
        self.losses = kept.losses;
        self.configured_once = kept.configured_once;
        self.services_since_us = kept.services_since_us;
    }

    /// What is known of its present run, as far as the daemon itself does not show it.
    pub(super) fn to_record(&self) -> DaemonRecord {
        DaemonRecord {
            address: self.address(),
            pid: self.pid,
            cfg_cntr: self.cfg_cntr,
            sent: self.ledger.to_remember(),
            ..DaemonRecord::default()
        }
    }

    /// Takes over what is known of a daemon that has not been seen yet, or not over this connection. Whether it is still
    /// the same run is found when it answers.
    pub(super) fn recall(&mut self, record: &DaemonRecord) {
        // Without either of the two, no run is told from another.
        let tells_its_run = record.pid.is_some() || record.cfg_cntr.is_some();
        if self.session == 0 && tells_its_run && record.address == self.address() {
            self.pid = record.pid;
            self.cfg_cntr = record.cfg_cntr;
            self.ledger = record.sent.clone();
        }
    }

    fn address(&self) -> String {
        format!("{}:{}", self.target.host, self.target.port)
    }

    /// What is under way will not be answered.
    pub(super) fn break_off(&mut self) {
        if let Some(changes) = self.in_flight.take().filter(|changes| !changes.is_empty()) {
            self.ledger.break_off(&changes);
        }
    }

    /// Takes in what it has told. Gives the producers that are connected now and were not before.
    fn take_in(&mut self, observed: Observed, now: Now) -> Vec<Name> {
        if let Some(cfg_cntr) = observed.cfg_cntr {
            self.cfg_cntr = Some(cfg_cntr);
        }
        let told: Vec<Name> = match &observed.producers {
            Some(producers) => producers.keys().cloned().collect(),
            None => observed.some_producers.keys().cloned().collect(),
        };
        let connected = |observed: &Observation, name: &Name| {
            observed.producers.get(name).is_some_and(|found| found.state == ProducerState::Connected)
        };
        let mut new: Vec<Name> = told.iter().filter(|name| !connected(&self.observed, name)).cloned().collect();
        observed.update(&mut self.observed);
        new.retain(|name| connected(&self.observed, name));
        for name in told {
            self.shown.insert(name.clone());
            self.note_readiness(name, now);
        }
        let known = &self.observed.producers;
        self.readiness.retain(|name, _| known.contains_key(name));
        new
    }

    fn note_readiness(&mut self, name: Name, now: Now) {
        let sets = self.observed.producers.get(&name).map_or(0, |producer| producer.ready_sets().count());
        self.note_ready(name, sets, now);
    }

    /// So many sets of a producer are ready now.
    pub(super) fn note_ready(&mut self, name: Name, sets: usize, now: Now) {
        let same = |before: &Readiness| sets > 0 && sets <= before.sets;
        let since_us = self.readiness.get(&name).filter(|before| same(before)).map_or(now.mono_us, |b| b.since_us);
        self.readiness.insert(name, Readiness { sets, since_us, seen_us: now.mono_us });
    }

    /// How long it has to stay up before it is trusted: doubled for each loss of the last minutes beyond a few.
    fn trust_delay_us(&mut self, base_us: u64, now: Now) -> u64 {
        while self.losses.front().is_some_and(|at| now.mono_us.saturating_sub(*at) > LOSS_WINDOW_US) {
            self.losses.pop_front();
        }
        let doublings = self.losses.len().saturating_sub(LOSSES_FORGIVEN);
        base_us.saturating_mul(1 << doublings).min(LONGEST_TRUST_DELAY_US.max(base_us))
    }
}

impl Conductor {
    pub(super) fn daemon_up(
        &mut self,
        name: &Name,
        session: u64,
        pid: Option<u32>,
        numbering: Numbering,
        observed: Observed,
        now: Now,
    ) {
        if !self.council.has(name) {
            return;
        }
        let Some(state) = self.daemons.get_mut(name) else { return };
        let other_process = matches!((state.pid, pid), (Some(before), Some(after)) if before != after);
        let counts_anew = matches!((state.cfg_cntr, observed.cfg_cntr), (Some(before), Some(after)) if after < before);
        let restarted = other_process || counts_anew;
        if restarted {
            state.ledger = Ledger::default();
            state.doubts.settle();
        } else if state.cfg_cntr.is_some() && observed.cfg_cntr != state.cfg_cntr {
            // It has been changed while nobody looked, by somebody else or by a maestro that could not note it any more.
            state.ledger.doubt();
        }
        let before = std::mem::replace(&mut state.health, Health::Up);
        state.hearing = Hearing::Directly;
        state.told = None;
        state.down = None;
        state.up_since_us = now.mono_us;
        state.session = session;
        state.pid = pid;
        state.numbering = numbering;
        state.in_flight = None;
        state.attempts.clear();
        state.settled = false;
        state.configured_once = false;
        state.observed = Observation::default();
        state.readiness.clear();
        // How long they have been connected nobody knows.
        let _connected = state.take_in(observed, now);
        state.lacks_services = late_services::is_empty(&state.observed)
            || late_services::never_had(&state.ledger, late_services::wanted(&self.cluster, &self.relations, name));
        self.note_return(name, before, restarted, now);
        self.touch(name);
    }

    /// A daemon answers that did not, or that was not heard of: whether it may be given work at once.
    pub(super) fn note_return(&mut self, name: &Name, before: Health, restarted: bool, now: Now) {
        let (is_mine, decides) = (self.council.has(name), self.decides());
        let group = self.relations.group_of(name).cloned();
        let group_state = group.as_ref().and_then(|group| self.groups.get(group));
        let placed = decides && group_state.is_some_and(GroupState::is_placed);
        let just_placed = placed && group_state.is_some_and(|group| group.was_placed_since(now, STARTING_US));
        let leads = self.council.part() == Part::Leader;
        let has_work = leads && group_state.is_some_and(|group| group.has_work_for(name));
        let others_up = group.as_ref().and_then(|group| self.cluster.groups.get(group)).is_some_and(|config| {
            config.aggregators.iter().any(|other| other != name && self.health(other) == Health::Up)
        });
        let base_us = self.settings.return_delay_us;
        let Some(state) = self.daemons.get_mut(name) else { return };
        if leads && before != Health::Down && (state.trusted || has_work) {
            // It has not been away, another instance has it.
            state.trusted = true;
        } else if placed && !others_up {
            state.trusted = true;
            self.report(Notice::OnlyOneBack { aggregator: name.clone() });
            self.dirty_groups.extend(group);
        } else if just_placed && state.losses.is_empty() {
            // It did not return, it comes up with the others.
            state.trusted = true;
            self.report(Notice::DaemonUp { daemon: name.clone(), restarted: false });
            self.dirty_groups.extend(group);
        } else if placed {
            let delay_us = state.trust_delay_us(base_us, now);
            if let Some(group) = group {
                self.timers.insert((now.mono_us + delay_us, Timer::Trust(name.clone(), state.up_since_us)));
                self.dirty_groups.insert(group);
            }
            self.report(Notice::AggregatorBack {
                aggregator: name.clone(),
                trusted_in_s: delay_us.div_ceil(1_000_000),
            });
        } else {
            state.trusted = true;
            if is_mine && (before == Health::Down || restarted) {
                self.report(Notice::DaemonUp { daemon: name.clone(), restarted });
            }
        }
    }

    /// An aggregator has stayed up for as long as it had to.
    pub(super) fn trust(&mut self, name: &Name, up_since_us: u64) {
        if let Some(state) = self.daemons.get_mut(name)
            && state.is_up()
            && state.up_since_us == up_since_us
        {
            state.trusted = true;
            self.touch(name);
        }
    }

    pub(super) fn daemon_observed(&mut self, name: &Name, session: u64, observed: Observed, now: Now) {
        let subscriptions = self.subscriptions_under_way(name);
        let Some(state) = self.daemons.get_mut(name).filter(|state| state.session == session) else { return };
        // Our own commands are counted in what was observed after them, so these are somebody else's.
        if let (Some(counted), before) = (observed.cfg_cntr, state.cfg_cntr)
            && !before.is_some_and(|before| (before..=before + subscriptions).contains(&counted))
        {
            state.doubts.raise();
        }
        let connected = state.take_in(observed, now);
        self.expect_subscriptions(name, &connected, now);
        self.touch(name);
    }

    pub(super) fn daemon_done(
        &mut self,
        name: &Name,
        session: u64,
        outcomes: Vec<Outcome>,
        observed: Observed,
        now: Now,
    ) {
        let Some(state) = self.daemons.get_mut(name).filter(|state| state.session == session) else { return };
        let connected = state.take_in(observed, now);
        let changes = state.in_flight.take().unwrap_or_default();
        let switched_on = state.lacks_services && late_services::switch_on(&changes, &outcomes);
        state.lacks_services &= !switched_on;
        if switched_on {
            state.services_since_us = now.wall_us;
        }
        let mut notices = Vec::new();
        for (change, outcome) in changes.into_iter().zip(outcomes) {
            notices.extend(state.note(name, change, outcome, now));
        }
        self.actions.extend(notices.into_iter().map(Action::Report));
        if switched_on {
            self.doubt_connections(name, now);
        }
        self.expect_subscriptions(name, &connected, now);
        self.touch(name);
    }

    pub(super) fn daemon_down(&mut self, name: &Name, reason: DownReason, now: Now) {
        if !self.council.has(name) {
            return;
        }
        let Some(state) = self.daemons.get_mut(name) else { return };
        let before = std::mem::replace(&mut state.health, Health::Down);
        state.hearing = Hearing::Directly;
        state.told = None;
        if before != Health::Down || state.down.is_none() {
            state.down = Some(reason.clone());
        }
        state.break_off();
        self.note_loss(name, before, reason, now);
        if before != Health::Down {
            self.touch(name);
        }
        self.council.changed.insert(name.clone());
    }

    /// A daemon is down that was not, or that was not heard of.
    pub(super) fn note_loss(&mut self, name: &Name, before: Health, reason: DownReason, now: Now) {
        let (is_mine, decides) = (self.council.has(name), self.decides());
        let group = self.relations.group_of(name).cloned();
        let Some(state) = self.daemons.get_mut(name) else { return };
        state.settled = false;
        state.trusted = false;
        state.configured_once = false;
        state.readiness.clear();
        if before == Health::Down {
            return;
        }
        if before == Health::Up {
            state.losses.push_back(now.mono_us);
            if state.losses.len() > LOSSES_KEPT {
                state.losses.pop_front();
            }
        }
        match group.as_ref().and_then(|group| self.groups.get_mut(group)) {
            Some(group) if decides && group.is_placed() => group.lose(name.clone(), reason),
            _ if is_mine => self.report(Notice::DaemonDown { daemon: name.clone(), reason }),
            _ => {}
        }
    }

    /// Whether somebody subscribes to what a daemon sends.
    pub(super) fn subscribes_to(&self, name: &Name) -> bool {
        self.relations.carries_streams(&self.cluster, name) || self.relations.carries_messages(&self.cluster, name)
    }

    /// Something about a daemon has changed: look at it again, and at its group.
    pub(super) fn touch(&mut self, name: &Name) {
        self.council.changed.insert(name.clone());
        self.heard.insert(name.clone());
        self.dirty_daemons.insert(name.clone());
        self.dirty_groups.extend(self.relations.group_of(name).cloned());
    }
}
