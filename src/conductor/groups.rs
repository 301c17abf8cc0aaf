//! Which aggregator of a group owns which producer.
//!
//! The owner is who is to collect a producer from now on. Another aggregator that still runs it keeps
//! it (it is *leaving*) until the owner is ready: see [`super::takeover`].

use std::collections::{BTreeMap, BTreeSet};

use super::council::Hearing;
use super::daemons::Health;
use super::event::DownReason;
use super::notice::Notice;
use super::plan::GroupPlan;
use super::standby::Standbys;
use super::takeover::Leaving;
use super::{Conductor, Now, Timer};
use crate::cluster::{AggregatorGroup, Producer};
use crate::desired::{Advertising, Roles, Run};
use crate::notation::Name;
use crate::placement::{Ownership, home_blocks, place_on_standbys};

/// Producers of a group that are handed over at the same time, at most.
const HANDED_OVER_AT_ONCE: usize = 500;
/// How long the start of producers waits for their daemons to be configured, where a subscription
/// needs their services switched on before the connection is made.
const SERVICES_FIRST_US: u64 = 3_000_000;

/// One group.
#[derive(Debug)]
pub(super) struct GroupState {
    pub(super) owners: BTreeMap<Name, Ownership>,
    /// Producers that still run on a former owner: producer and former owner.
    pub(super) leaving: BTreeMap<(Name, Name), Leaving>,
    /// Where producers stand by.
    pub(super) standbys: Standbys,
    /// Producers that could not be moved, and until when they stay where they are.
    pub(super) pinned: BTreeMap<Name, u64>,
    /// Producers that have advertised themselves, and since when they have been seen.
    pub(super) advertised: BTreeMap<Name, u64>,
    pub(super) lost: Vec<(Name, DownReason)>,
    pub(super) known_since_us: u64,
    pub(super) placed_at_us: Option<u64>,
    announced: bool,
    /// What this instance has published last since it leads.
    pub(super) sent: Option<GroupPlan>,
    /// Until when a new leader waits for what others may tell of the aggregators.
    pub(super) hold_until_us: Option<u64>,
}

/// What a plan may change that daemons have to know.
#[derive(PartialEq, Eq)]
struct Snapshot {
    owners: BTreeMap<Name, Ownership>,
    leaving: BTreeMap<(Name, Name), Leaving>,
    standbys: BTreeMap<Name, Name>,
}

impl GroupState {
    pub(super) fn new(now: Now) -> GroupState {
        GroupState {
            owners: BTreeMap::new(),
            leaving: BTreeMap::new(),
            standbys: Standbys::default(),
            pinned: BTreeMap::new(),
            advertised: BTreeMap::new(),
            lost: Vec::new(),
            known_since_us: now.mono_us,
            placed_at_us: None,
            announced: false,
            sent: None,
            hold_until_us: None,
        }
    }

    pub(super) fn owners(&self) -> &BTreeMap<Name, Ownership> {
        &self.owners
    }

    /// The producers that one aggregator has as a whole, with their owners.
    pub(super) fn whole_owners(&self) -> BTreeMap<Name, Name> {
        let whole = |(producer, ownership): (&Name, &Ownership)| Some((producer.clone(), ownership.whole()?.clone()));
        self.owners.iter().filter_map(whole).collect()
    }

    pub(super) fn is_placed(&self) -> bool {
        self.placed_at_us.is_some()
    }

    /// Whether the first placement was so recent.
    pub(super) fn was_placed_since(&self, now: Now, ago_us: u64) -> bool {
        self.placed_at_us.is_some_and(|at_us| now.mono_us < at_us + ago_us)
    }

    pub(super) fn set_owner(&mut self, producer: Name, owner: Name) {
        self.owners.insert(producer, Ownership::Whole(owner));
    }

    /// Whether an aggregator owns a producer.
    pub(super) fn has_work_for(&self, aggregator: &Name) -> bool {
        self.owners.values().any(|ownership| ownership.includes(aggregator))
    }

    /// Since when somebody waits for what becomes of the producers that are to be moved.
    pub(super) fn asked_since(&self) -> BTreeMap<&Name, u64> {
        let mut asked = BTreeMap::new();
        for ((producer, _), leaving) in &self.leaving {
            let since_us = asked.entry(producer).or_default();
            *since_us = leaving.since_us.max(*since_us);
        }
        asked
    }

    /// A producer that advertised itself is known to no aggregator any more.
    pub(super) fn forget_advertised(&mut self, producer: &Name) {
        self.advertised.remove(producer);
        self.owners.remove(producer);
        self.leaving.retain(|(leaving, _), _| leaving != producer);
    }

    /// Drops producers that the configuration no longer has.
    pub(super) fn drop_all_but(&mut self, wanted: &BTreeMap<Name, Producer>) {
        let known = |name: &Name| wanted.contains_key(name) || self.advertised.contains_key(name);
        let gone: Vec<Name> = self.owners.keys().filter(|name| !known(name)).cloned().collect();
        self.leaving.retain(|(producer, _), _| known(producer));
        for name in &gone {
            self.owners.remove(name);
        }
        self.announced = false;
    }

    /// An aggregator was lost; the next plan says who takes its work.
    pub(super) fn lose(&mut self, aggregator: Name, reason: DownReason) {
        self.lost.push((aggregator, reason));
    }
}

impl Conductor {
    /// What placement has given to a daemon.
    pub(super) fn roles(&self, name: &Name, now: Now) -> Roles {
        let retired = self.daemons.get(name).map(|daemon| daemon.retired.clone()).unwrap_or_default();
        let advertising = Advertising {
            advertisers: self.advertisers.get(name).cloned().unwrap_or_default(),
            // Started by maestro, on one aggregator.
            starts_what_comes: false,
        };
        let mut roles =
            Roles { boosts: self.boosts.of(name), retired, advertising: Some(advertising), ..Roles::default() };
        let Some(group) = self.relations.group_of(name) else { return roles };
        let (Some(state), Some(config)) = (self.groups.get(group), self.cluster.groups.get(group)) else {
            return roles;
        };
        let owned = state.owners.iter().filter(|(_, owner)| owner.includes(name)).map(|(producer, _)| producer);
        let (startable, held_back): (BTreeSet<&Name>, BTreeSet<&Name>) =
            owned.partition(|producer| self.may_start(config, state, producer, now));
        roles.started = startable.into_iter().cloned().collect();
        // One that is held back may run since an earlier maestro, and then goes on.
        roles.as_they_are = held_back.into_iter().cloned().collect();
        let may_stop = state.is_placed() && self.is_in_force(group, state);
        if may_stop {
            let leaving = state.leaving.iter().filter(|((_, from), leaving)| from == name && !leaving.taken_over);
            roles.as_they_are.extend(leaving.map(|((producer, _), _)| producer.clone()));
            // A leader with an older configuration has not decided on all of them.
            let undecided = config.producers.keys().filter(|producer| !state.owners.contains_key(*producer));
            roles.as_they_are.extend(undecided.cloned());
        } else {
            // Nothing is known yet of the others, or they do not know yet: nobody is to stop anything.
            roles.as_they_are.extend(config.producers.keys().cloned());
        }
        self.late_services.hold_back(name, &mut roles);
        roles.standbys = self.standing_by(name, state);
        roles.collected = self.collected(name, config, state);
        let advertised = state.advertised.keys().map(|producer| (producer.clone(), roles.run_of(producer)));
        roles.advertised = advertised.collect();
        for (producer, run) in &mut roles.advertised {
            // Where nobody owns it yet it may run since an earlier maestro.
            if *run == Run::Stopped && (!may_stop || !state.owners.contains_key(producer)) {
                *run = Run::AsItIs;
            }
        }
        roles
    }

    /// A subscription takes hold when the connection is made, if the services are on by then
    /// (operations of a live ldmsd, section 11): so the producer's own daemon comes first, for a while.
    fn may_start(&self, group: &AggregatorGroup, state: &GroupState, producer: &Name, now: Now) -> bool {
        if group.subscriptions.is_empty() || state.placed_at_us.is_none_or(|at| now.mono_us >= at + SERVICES_FIRST_US) {
            return true;
        }
        let source = group.producers.get(producer).and_then(|producer| self.daemons.get(&producer.daemon));
        source.is_none_or(|daemon| daemon.configured_once || daemon.health == Health::Down)
    }

    pub(super) fn plan_group(&mut self, name: &Name, now: Now) {
        let cluster = std::sync::Arc::clone(&self.cluster);
        let Some(config) = cluster.groups.get(name) else { return };
        if !self.ready_to_place(name, config, now) {
            return;
        }
        let before = self.snapshot(name);
        self.note_advertised(name, config, now);
        self.find_strays(name, config, now);
        self.follow_survivors(name);
        self.assign(name, config, now);
        self.plan_standbys(name, config);
        self.review_takeovers(name, config, now);
        if self.snapshot(name) != before {
            if let Some(state) = self.groups.get_mut(name) {
                state.announced = false;
            }
            for aggregator in &config.aggregators {
                if let Some(daemon) = self.daemons.get_mut(aggregator) {
                    daemon.settled = false;
                }
            }
            self.dirty_daemons.extend(config.aggregators.iter().cloned());
        }
        self.announce(name, config);
    }

    fn snapshot(&self, name: &Name) -> Option<Snapshot> {
        let state = self.groups.get(name)?;
        Some(Snapshot {
            owners: state.owners.clone(),
            leaving: state.leaving.clone(),
            standbys: state.standbys.on().clone(),
        })
    }

    pub(super) fn health(&self, aggregator: &Name) -> Health {
        // A daemon without a control endpoint is never heard of, and never waited for.
        self.daemons.get(aggregator).map_or(Health::Down, |state| state.health)
    }

    /// The first placement waits until every aggregator has answered or refused, or long enough:
    /// it must not take from a slow one what it already collects.
    fn ready_to_place(&mut self, name: &Name, config: &AggregatorGroup, now: Now) -> bool {
        let someone_unknown = config.aggregators.iter().any(|a| self.health(a) == Health::Unknown);
        let someone_up = config.aggregators.iter().any(|a| self.health(a) == Health::Up);
        let Some(state) = self.groups.get_mut(name) else { return false };
        if state.is_placed() {
            let Some(until_us) = state.hold_until_us.filter(|until_us| someone_unknown && now.mono_us < *until_us)
            else {
                state.hold_until_us = None;
                return true;
            };
            self.timers.insert((until_us, Timer::Group(name.clone())));
            return false;
        }
        let deadline_us = state.known_since_us + self.settings.settle_us;
        if someone_unknown && now.mono_us < deadline_us {
            self.timers.insert((deadline_us, Timer::Group(name.clone())));
            return false;
        }
        if !someone_up {
            return false;
        }
        state.placed_at_us = Some(now.mono_us);
        self.adopt(name, config);
        self.expect_services(config, now);
        true
    }

    /// Producers that wait for services are started without them when these do not come.
    pub(super) fn expect_services(&mut self, config: &AggregatorGroup, now: Now) {
        if !config.subscriptions.is_empty() {
            let late_us = now.mono_us + SERVICES_FIRST_US;
            self.timers.extend(config.aggregators.iter().map(|a| (late_us, Timer::Daemon(a.clone()))));
        }
    }

    /// Takes over the placement that the aggregators have: a restart of maestro changes nothing.
    fn adopt(&mut self, name: &Name, config: &AggregatorGroup) {
        let names: Vec<Name> = config.producers.keys().cloned().collect();
        let homes = home_blocks(&names, &config.aggregators);
        let mut owners = BTreeMap::new();
        let mut standbys = BTreeMap::new();
        for producer in &names {
            let running: Vec<&Name> = config.aggregators.iter().filter(|a| self.runs(a, producer)).collect();
            let collecting = self.collecting(producer, running.clone());
            let at_home = collecting.iter().find(|aggregator| homes.get(producer) == Some(aggregator));
            if let Some(owner) = at_home.or(collecting.first()) {
                owners.insert(producer.clone(), Ownership::Whole((*owner).clone()));
            }
            let idle = running.into_iter().find(|aggregator| !collecting.contains(aggregator));
            if let Some(standby) = idle.filter(|_| self.keeps_standbys(config)) {
                standbys.insert(producer.clone(), standby.clone());
            }
        }
        if let Some(state) = self.groups.get_mut(name) {
            state.owners = owners;
            state.standbys = Standbys::adopted(standbys);
        }
    }

    /// Whether an aggregator that is up has started a producer.
    fn runs(&self, aggregator: &Name, producer: &Name) -> bool {
        self.daemons.get(aggregator).is_some_and(|state| state.is_up() && state.runs(producer))
    }

    /// Producers that run where they do not belong: a hung aggregator woke, or somebody started them.
    /// Their owner must be ready before they are stopped there.
    fn find_strays(&mut self, name: &Name, config: &AggregatorGroup, now: Now) {
        let Some(state) = self.groups.get(name) else { return };
        let mut strays = Vec::new();
        for aggregator in &config.aggregators {
            let Some(daemon) = self.daemons.get(aggregator).filter(|daemon| daemon.is_up()) else { continue };
            let is_stray = |producer: &&Name| {
                let elsewhere = state.owners.get(*producer).is_some_and(|owner| !owner.includes(aggregator));
                elsewhere && !self.stands_by(producer, aggregator, state)
            };
            strays.extend(daemon.running().filter(is_stray).map(|producer| (producer.clone(), aggregator.clone())));
        }
        if let Some(state) = self.groups.get_mut(name) {
            for stray in strays {
                state.leaving.entry(stray).or_insert_with(|| Leaving::since(now, false));
            }
        }
    }

    /// Where the owner is lost while the former owner still collects, the former one stays the owner.
    fn follow_survivors(&mut self, name: &Name) {
        let Some(state) = self.groups.get(name) else { return };
        let back: Vec<(Name, Name)> = state
            .leaving
            .keys()
            .filter(|(producer, from)| {
                let is_lost = |owner: &Ownership| owner.aggregators().all(|owner| self.health(owner) != Health::Up);
                let lost = state.owners.get(producer).is_none_or(is_lost);
                lost && self.runs(from, producer)
            })
            .cloned()
            .collect();
        if let Some(state) = self.groups.get_mut(name) {
            for (producer, from) in back {
                state.leaving.remove(&(producer.clone(), from.clone()));
                state.owners.insert(producer, Ownership::Whole(from));
            }
        }
    }

    pub(super) fn usable(&self, config: &AggregatorGroup) -> BTreeSet<Name> {
        let up = |aggregator: &&Name| self.health(aggregator) == Health::Up;
        let trusted = |aggregator: &&Name| self.daemons.get(*aggregator).is_some_and(|state| state.trusted);
        let trusted: BTreeSet<Name> = config.aggregators.iter().filter(up).filter(trusted).cloned().collect();
        if trusted.is_empty() { config.aggregators.iter().filter(up).cloned().collect() } else { trusted }
    }

    fn assign(&mut self, name: &Name, config: &AggregatorGroup, now: Now) {
        let usable = self.usable(config);
        let producers: Vec<Name> = config.producers.keys().cloned().collect();
        let Some(state) = self.groups.get(name) else { return };
        let mut target =
            place_on_standbys(&producers, &config.aggregators, &usable, &state.whole_owners(), state.standbys.on());
        let advertised = self.place_advertised(state, &usable, &target, now);
        target.extend(advertised);
        let mut lost_to: BTreeMap<(Name, Name), Vec<Name>> = BTreeMap::new();
        let mut moving: BTreeMap<(Name, Name), usize> = BTreeMap::new();
        let mut moved = BTreeSet::new();
        let mut owners = state.owners.clone();
        let mut leaving = state.leaving.clone();
        for (producer, to) in target {
            match owners.get(&producer).and_then(Ownership::whole).cloned() {
                Some(owner) if owner == to => continue,
                None => {}
                Some(owner) if self.health(&owner) != Health::Up => {
                    lost_to.entry((owner, to.clone())).or_default().push(producer.clone());
                }
                Some(owner) => {
                    let pinned = state.pinned.get(&producer).is_some_and(|until| now.mono_us < *until);
                    if pinned || leaving.len() >= HANDED_OVER_AT_ONCE {
                        continue;
                    }
                    if self.runs(&owner, &producer) {
                        leaving.insert((producer.clone(), owner.clone()), Leaving::since(now, true));
                        *moving.entry((owner, to.clone())).or_default() += 1;
                    }
                }
            }
            leaving.remove(&(producer.clone(), to.clone()));
            owners.insert(producer.clone(), Ownership::Whole(to));
            moved.insert(producer);
        }
        leaving.retain(|(_, from), _| self.health(from) == Health::Up);
        for (_, leaving) in leaving.iter_mut().filter(|((producer, _), _)| moved.contains(producer)) {
            leaving.wait_anew(now);
        }
        let mut lost = Vec::new();
        if let Some(state) = self.groups.get_mut(name) {
            state.owners = owners;
            state.leaving = leaving;
            lost = std::mem::take(&mut state.lost);
        }
        for ((from, to), producers) in moving {
            self.report(Notice::Moving { from, to, producers });
        }
        self.tell_losses(name, lost, &lost_to, usable.is_empty());
        for ((from, to), producers) in lost_to {
            self.boost_after_loss(&from, &to, &producers, now);
        }
    }

    fn tell_losses(
        &mut self,
        group: &Name,
        lost: Vec<(Name, DownReason)>,
        lost_to: &BTreeMap<(Name, Name), Vec<Name>>,
        nobody_left: bool,
    ) {
        for (aggregator, reason) in lost {
            if nobody_left {
                let producers = self.groups.get(group).map_or(0, |state| state.owners.len());
                self.report(Notice::NobodyLeft { aggregator, reason, group: group.clone(), producers });
                continue;
            }
            let mut taken_by = BTreeMap::new();
            for ((from, to), producers) in lost_to {
                if *from == aggregator {
                    *taken_by.entry(to.clone()).or_default() += producers.len();
                }
            }
            self.report(Notice::AggregatorLost { aggregator, reason, taken_by });
        }
    }

    /// Says once that a group is at rest: nobody leaves or is about to get work back, and its aggregators
    /// are as configured.
    fn announce(&mut self, name: &Name, config: &AggregatorGroup) {
        let Some(state) = self.groups.get(name) else { return };
        if state.announced || !state.leaving.is_empty() || state.owners.is_empty() {
            return;
        }
        if !config.aggregators.iter().all(|aggregator| self.is_at_rest(aggregator, state)) {
            return;
        }
        let mut loads: BTreeMap<Name, usize> =
            config.aggregators.iter().filter(|a| self.health(a) == Health::Up).map(|a| (a.clone(), 0)).collect();
        for owner in state.owners.values().flat_map(Ownership::aggregators) {
            if let Some(load) = loads.get_mut(owner) {
                *load += 1;
            }
        }
        if loads.is_empty() {
            return;
        }
        if let Some(state) = self.groups.get_mut(name) {
            state.announced = true;
        }
        self.report(Notice::Balanced { group: name.clone(), loads });
    }

    fn is_at_rest(&self, aggregator: &Name, group: &GroupState) -> bool {
        let Some(daemon) = self.daemons.get(aggregator).filter(|daemon| daemon.is_up()) else { return true };
        let is_settled = || match daemon.hearing {
            Hearing::Directly => daemon.settled,
            // Another instance makes it so.
            _ => group.owners.iter().all(|(producer, owner)| !owner.includes(aggregator) || daemon.runs(producer)),
        };
        daemon.trusted && is_settled()
    }
}
