//! The control loop, as a state machine without clock and without I/O.
//!
//! [`Conductor::handle`] takes an [`Event`] and the time and gives [`Action`]s; [`Conductor::next_wake_us`]
//! says when it wants a [`Event::Wake`]. Around it, the runtime does the talking. What is sent
//! is always computed from what a daemon last said of itself, so a lost reply, a restarted ldmsd and
//! somebody's `ldmsd_controller` session are all the same case.
//!
//! - `configuring`: what a configuration changes as a whole; `rescheduling`: other times of plugins, and nothing else.
//! - `daemons`: what is known of each ldmsd: health, last observation, what is in flight.
//! - `attempts`: how changes went, and when they are tried again.
//! - `groups`: who owns which producer, and who must keep running it until its new owner is ready.
//! - `advertised`: producers that nobody configured, because they announce themselves.
//! - `handover`: from who collects what to who is to collect it.
//! - `known_sets`, `by_sets`, `shares`: balancing by metric sets: what is known of them, who is given which, and what an
//!   aggregator fetches that has only a part of a producer.
//! - `detour`: how an aggregator gives away a part of a producer without a break in the rest.
//! - `takeover`: the conditions under which a producer may be stopped on its former aggregator.
//! - `standby`: where producers are connected for the case that their owner is lost.
//! - `boosts`: the temporary fast updaters that shorten the hole after a move.
//! - `late_services`: producers that connected before what they subscribe to could be had.
//! - `told_sets`: what several instances tell each other of metric sets.
//! - `subscribers`: what aggregators that subscribe to a daemon do to its configuration counter.
//! - `council`: several instances, of whom one decides; `standing`, `report` and `plan` are what they know of each other.
//! - `shown`: what a daemon shows of its producers, to this instance or to another.
//! - `replacement`: when an updater may go that another one has taken the place of.
//! - `doubt`: whether what cannot be observed is still so after somebody else has changed a daemon.
//! - `roles`: what the plan of its group gives to one daemon.
//! - `reconcile`: from roles to changes to actions.
//! - `polling`: asking again while something waits for what a daemon will say.
//! - `memory`: what the next maestro has to know.

mod advertised;
mod attempts;
mod boosts;
mod by_sets;
mod configuring;
mod council;
#[cfg(test)]
mod council_tests;
mod daemons;
mod detour;
mod doubt;
mod event;
mod groups;
mod handover;
mod known_sets;
mod late_services;
mod memory;
mod notice;
mod plan;
mod polling;
mod reconcile;
mod replacement;
mod report;
mod rescheduling;
mod roles;
mod shares;
mod shown;
mod standby;
mod standing;
mod subscribers;
mod takeover;
#[cfg(test)]
mod tests;
mod told_sets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use event::{Action, DownReason, Event, Observed, Outcome, Scope, Sections, Target};
pub use memory::{Memo, Memory};
pub use notice::{Notice, Severity};
pub use plan::GroupPlan;
pub use report::{Awaited, Report};
pub use standing::{Part, Standing};

use crate::cluster::{Cluster, Relations};
use crate::desired::AdvertiserWanted;
use crate::notation::Name;
use crate::placement::Ownership;
use crate::placement::sets::Band;

/// How many daemons are looked at before their actions are handed out. Some milliseconds' worth.
const MOST_DAEMONS_AT_ONCE: usize = 256;

/// A moment, as the runtime tells it: the core reads no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Microseconds on a clock that never jumps; all deadlines are on it.
    pub mono_us: u64,
    /// Microseconds since the epoch, by which daemons with offsets tick.
    pub wall_us: u64,
}

/// By what a group of aggregators is balanced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rebalance {
    /// By the number of producers.
    #[default]
    Producers,
    /// By the bytes per second of the metric sets, in groups that collect from samplers; others by producers.
    Sets,
}

/// What an operator can set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long the first placement waits for aggregators that neither answer nor refuse.
    pub settle_us: u64,
    /// How long a returned aggregator must stay up before it gets work back.
    pub return_delay_us: u64,
    /// Whether each producer is kept connected on the aggregator that would take it over.
    pub standby: bool,
    /// By what groups are balanced.
    pub rebalance: Rebalance,
    /// How uneven the load may be before metric sets move for the balance alone.
    pub band: Band,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            settle_us: 3_000_000,
            return_delay_us: 5_000_000,
            standby: false,
            rebalance: Rebalance::default(),
            band: Band::default(),
        }
    }
}

/// The state machine.
#[derive(Debug)]
pub struct Conductor {
    settings: Settings,
    cluster: Arc<Cluster>,
    relations: Relations,
    /// By which connections each daemon advertises itself.
    advertisers: BTreeMap<Name, BTreeMap<Name, AdvertiserWanted>>,
    daemons: BTreeMap<Name, daemons::DaemonState>,
    groups: BTreeMap<Name, groups::GroupState>,
    notes: memory::Notes,
    boosts: boosts::Boosts,
    late_services: late_services::LateServices,
    council: council::Council,
    timers: BTreeSet<(u64, Timer)>,
    dirty_daemons: BTreeSet<Name>,
    /// Daemons that have told something of themselves.
    heard: BTreeSet<Name>,
    dirty_groups: BTreeSet<Name>,
    actions: Vec<Action>,
}

/// What to look at again when a time comes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Daemon(Name),
    Group(Name),
    /// An aggregator that returned has stayed up, if it has been up since then.
    Trust(Name, u64),
    /// Somebody should have told of a daemon by now.
    Unheard(Name),
    Boosts,
}

impl Conductor {
    /// A conductor without a cluster, which waits for [`Event::Configured`].
    #[must_use]
    pub fn new(settings: Settings) -> Conductor {
        Conductor {
            settings,
            cluster: Arc::default(),
            relations: Relations::default(),
            advertisers: BTreeMap::new(),
            daemons: BTreeMap::new(),
            groups: BTreeMap::new(),
            notes: memory::Notes::default(),
            boosts: boosts::Boosts::default(),
            late_services: late_services::LateServices::default(),
            council: council::Council::default(),
            timers: BTreeSet::new(),
            dirty_daemons: BTreeSet::new(),
            heard: BTreeSet::new(),
            dirty_groups: BTreeSet::new(),
            actions: Vec::new(),
        }
    }

    /// Takes in what happened and says what to do.
    pub fn handle(&mut self, event: Event, now: Now) -> Vec<Action> {
        match event {
            Event::Remembered(memory) => self.remembered(memory, now),
            Event::Configured(cluster) => {
                if !self.reschedule(&cluster) {
                    self.configure(cluster, now);
                }
            }
            Event::Up { daemon, session, pid, numbering, observed } => {
                self.daemon_up(&daemon, session, pid, numbering, observed, now);
            }
            Event::Observed { daemon, session, observed } => self.daemon_observed(&daemon, session, observed, now),
            Event::Done { daemon, session, outcomes, observed } => {
                self.daemon_done(&daemon, session, outcomes, observed, now);
            }
            Event::Down { daemon, reason } => self.daemon_down(&daemon, reason, now),
            Event::Standing(standing) => self.stand(standing, now),
            Event::Reported { daemon, report } => self.daemon_reported(&daemon, report, now),
            Event::Planned { group, plan } => self.group_planned(group, plan, now),
            Event::Wake => {}
        }
        self.fire_timers(now);
        self.note_sets(now);
        self.plan_groups(now);
        self.reconcile_daemons(now);
        self.publish_reports(now);
        std::mem::take(&mut self.actions)
    }

    /// When to send an [`Event::Wake`], on the monotonic clock.
    #[must_use]
    pub fn next_wake_us(&self) -> Option<u64> {
        if !self.dirty_daemons.is_empty() {
            return Some(0);
        }
        self.timers.first().map(|(at, _)| *at)
    }

    /// Who collects which producer in a group, for status pages and tests.
    #[must_use]
    pub fn owners(&self, group: &Name) -> Option<&BTreeMap<Name, Ownership>> {
        self.groups.get(group).map(groups::GroupState::owners)
    }

    /// The part of this instance among several, and its share of the daemons, as the conductor was last told.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.council.standing
    }

    fn fire_timers(&mut self, now: Now) {
        while let Some((at, timer)) = self.timers.pop_first() {
            if at > now.mono_us {
                self.timers.insert((at, timer));
                break;
            }
            match timer {
                Timer::Daemon(daemon) => {
                    self.dirty_daemons.insert(daemon);
                }
                Timer::Group(group) => {
                    self.dirty_groups.insert(group);
                }
                Timer::Trust(daemon, up_since_us) => self.trust(&daemon, up_since_us),
                Timer::Unheard(daemon) => self.review_hearing(&daemon, now),
                Timer::Boosts => self.review_boosts(now),
            }
        }
    }

    fn plan_groups(&mut self, now: Now) {
        while let Some(group) = self.dirty_groups.pop_first() {
            if self.decides() {
                self.plan_group(&group, now);
                self.publish_plan(&group);
            } else {
                let cluster = Arc::clone(&self.cluster);
                if let Some(config) = cluster.groups.get(&group) {
                    self.review_sets(&group, config, now);
                }
            }
        }
    }

    /// Looks at some of the daemons of which something has changed: what the first of thousands are to be sent is on its
    /// way while the next are looked at.
    fn reconcile_daemons(&mut self, now: Now) {
        for _ in 0..MOST_DAEMONS_AT_ONCE {
            let Some(daemon) = self.dirty_daemons.pop_first() else { return };
            self.reconcile(&daemon, now);
        }
    }

    fn report(&mut self, notice: Notice) {
        self.actions.push(Action::Report(notice));
    }
}
