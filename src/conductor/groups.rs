//! Which aggregator of a group owns which producer.
//!
//! The owner is who is to collect a producer from now on. Another aggregator that still runs it keeps
//! it (it is *leaving*) until the owner is ready: see [`super::takeover`].

use std::collections::{BTreeMap, BTreeSet};

use super::by_sets::PlacedBySets;
use super::council::Hearing;
use super::daemons::Health;
use super::event::DownReason;
use super::handover::Taken;
use super::known_sets::KnownSets;
use super::notice::Notice;
use super::plan::GroupPlan;
use super::roles::SERVICES_FIRST_US;
use super::standby::Standbys;
use super::takeover::Leaving;
use super::{Conductor, Now, Timer};
use crate::cluster::{AggregatorGroup, Producer};
use crate::notation::Name;
use crate::placement::{Ownership, home_blocks, place_on_standbys};

/// One group.
#[derive(Debug)]
pub(super) struct GroupState {
    pub(super) owners: BTreeMap<Name, Ownership>,
    /// Producers that still run on a former owner: producer and former owner.
    pub(super) leaving: BTreeMap<(Name, Name), Leaving>,
    /// Producers that are collected by others for a while, and who is to have them then.
    pub(super) detours: BTreeMap<Name, Ownership>,
    /// Where producers stand by.
    pub(super) standbys: Standbys,
    /// Producers that could not be moved, and until when they stay where they are.
    pub(super) pinned: BTreeMap<Name, u64>,
    /// Producers that have advertised themselves, and since when they have been seen.
    pub(super) advertised: BTreeMap<Name, u64>,
    /// What is known of its metric sets, if it is balanced by them.
    pub(super) sets: Option<KnownSets>,
    pub(super) placed_by_sets: Option<PlacedBySets>,
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
            detours: BTreeMap::new(),
            standbys: Standbys::default(),
            pinned: BTreeMap::new(),
            advertised: BTreeMap::new(),
            sets: None,
            placed_by_sets: None,
            lost: Vec::new(),
            known_since_us: now.mono_us,
            placed_at_us: None,
            announced: false,
            sent: None,
            hold_until_us: None,
        }
    }

    /// Nothing is decided any more. What is known of the metric sets stays.
    pub(super) fn begin_anew(&mut self, now: Now) {
        let sets = self.sets.take();
        *self = GroupState { sets, ..GroupState::new(now) };
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

    /// Whether the first placement was at least so long ago.
    pub(super) fn was_placed_before(&self, now: Now, ago_us: u64) -> bool {
        self.placed_at_us.is_some_and(|at_us| now.mono_us >= at_us + ago_us)
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

    /// An aggregator goes on with all that it still has of a producer.
    pub(super) fn give_back(&mut self, producer: &Name, to: &Name, sets: &BTreeSet<String>) {
        let Some(owner) = self.owners.get_mut(producer) else { return };
        match owner {
            Ownership::Whole(_) => *owner = Ownership::Whole(to.clone()),
            Ownership::Split(_) => owner.give_back(to, sets),
        }
    }

    /// Whether an aggregator goes on with sets of a producer that are others' now, because they are not ready yet.
    pub(super) fn still_gives(&self, producer: &Name, aggregator: &Name) -> Option<&Leaving> {
        self.leaving.get(&(producer.clone(), aggregator.clone())).filter(|leaving| !leaving.taken_over)
    }

    /// Producers that an aggregator has to let go for a moment, because only so it drops the sets that are not its own
    /// any more.
    pub(super) fn shrinking<'a>(&'a self, aggregator: &'a Name) -> impl Iterator<Item = &'a Name> {
        let taken_over =
            self.leaving.iter().filter(move |((_, from), leaving)| from == aggregator && leaving.taken_over);
        taken_over.map(|((producer, _), _)| producer)
    }

    /// Takes over who collects what from now on, and gives what was lost since the last time.
    pub(super) fn take_over(
        &mut self,
        owners: BTreeMap<Name, Ownership>,
        leaving: BTreeMap<(Name, Name), Leaving>,
    ) -> Vec<(Name, DownReason)> {
        self.owners = owners;
        self.leaving = leaving;
        std::mem::take(&mut self.lost)
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
        if let Some(sets) = &mut self.sets {
            sets.forget_all_but(wanted);
        }
        self.announced = false;
    }

    /// Balances the group by metric sets from now on, or by producers.
    pub(super) fn balance_by_sets(&mut self, by_sets: bool) {
        if by_sets != self.sets.is_some() {
            self.sets = by_sets.then(KnownSets::default);
            self.placed_by_sets = None;
            self.detours.clear();
        }
    }

    /// An aggregator was lost; the next plan says who takes its work.
    pub(super) fn lose(&mut self, aggregator: Name, reason: DownReason) {
        self.lost.push((aggregator, reason));
    }
}

impl Conductor {
    pub(super) fn plan_group(&mut self, name: &Name, now: Now) {
        let cluster = std::sync::Arc::clone(&self.cluster);
        let Some(config) = cluster.groups.get(name) else { return };
        self.review_sets(name, config, now);
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
        self.go_on_with_detours(name);
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
        let mut someone_unknown = config.aggregators.iter().any(|a| self.health(a) == Health::Unknown);
        if self.groups.get(name).is_some_and(|state| state.sets.is_some() && !state.is_placed()) {
            // By what nobody has told yet, nothing can be weighed.
            someone_unknown |= !self.all_sets_are_known(name, config);
        }
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
        // Until now each was left as it is.
        self.dirty_daemons.extend(config.aggregators.iter().cloned());
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
        if self.groups.get(name).is_some_and(|state| state.sets.is_some()) {
            let owners = self.adopt_by_sets(config);
            let standbys = self.adopt_standbys(config);
            if let Some(state) = self.groups.get_mut(name) {
                state.owners = owners;
                state.standbys = Standbys::adopted(standbys);
            }
            return;
        }
        let names: Vec<Name> = config.producers.keys().cloned().collect();
        let homes = home_blocks(&names, &config.aggregators);
        let mut owners = BTreeMap::new();
        for producer in &names {
            let running: Vec<&Name> = config.aggregators.iter().filter(|a| self.runs(a, producer)).collect();
            let collecting = self.collecting(producer, running);
            let at_home = collecting.iter().find(|aggregator| homes.get(producer) == Some(aggregator));
            if let Some(owner) = at_home.or(collecting.first()) {
                owners.insert(producer.clone(), Ownership::Whole((*owner).clone()));
            }
        }
        let standbys = self.adopt_standbys(config);
        if let Some(state) = self.groups.get_mut(name) {
            state.owners = owners;
            state.standbys = Standbys::adopted(standbys);
        }
    }

    /// Whether an aggregator that is up has started a producer.
    pub(super) fn runs(&self, aggregator: &Name, producer: &Name) -> bool {
        self.daemons.get(aggregator).is_some_and(|state| state.is_up() && state.runs(producer))
    }

    /// Producers that run where they do not belong: a hung aggregator woke, or somebody started them.
    /// Their owner must be ready before they are stopped there.
    fn find_strays(&mut self, name: &Name, config: &AggregatorGroup, now: Now) {
        let Some(state) = self.groups.get(name) else { return };
        let mut strays = Vec::new();
        for aggregator in &config.aggregators {
            let Some(daemon) = self.daemons.get(aggregator).filter(|daemon| daemon.is_up()) else { continue };
            for producer in daemon.running() {
                let Some(owner) = state.owners.get(producer) else { continue };
                let split = owner.whole().is_none();
                // Or it has sets of another's share.
                let has_others = || {
                    let ready = daemon.ready_sets(producer);
                    ready.into_iter().any(|set| owner.owner_of(set).is_some_and(|owner| owner != aggregator))
                };
                let is_elsewhere = !owner.includes(aggregator) && !self.stands_by(producer, aggregator, state);
                if is_elsewhere || (split && has_others()) {
                    strays.push(((producer.clone(), aggregator.clone()), split));
                }
            }
        }
        if let Some(state) = self.groups.get_mut(name) {
            for (stray, part) in strays {
                state
                    .leaving
                    .entry(stray)
                    .or_insert_with(|| Leaving::since(now, false).of_part(part.then(BTreeSet::new)));
            }
        }
    }

    /// Where the owner is lost while the former owner still collects, the former one stays the owner.
    fn follow_survivors(&mut self, name: &Name) {
        let Some(state) = self.groups.get(name) else { return };
        let still_has = |(producer, from): &(Name, Name)| {
            let owner = state.owners.get(producer)?;
            let former = self.daemons.get(from).filter(|daemon| daemon.is_up() && daemon.runs(producer))?;
            let is_lost = |owner: &Name| self.health(owner) != Health::Up;
            match owner {
                Ownership::Whole(owner) => is_lost(owner).then(BTreeSet::new),
                Ownership::Split(_) => {
                    let ready = former.ready_sets(producer).into_iter();
                    let orphans = ready.filter(|set| owner.owner_of(set).is_some_and(is_lost)).map(str::to_owned);
                    Some(orphans.collect()).filter(|orphans: &BTreeSet<String>| !orphans.is_empty())
                }
            }
        };
        let keys = state.leaving.keys();
        let back: Vec<((Name, Name), BTreeSet<String>)> =
            keys.filter_map(|key| Some((key.clone(), still_has(key)?))).collect();
        if let Some(state) = self.groups.get_mut(name) {
            for ((producer, from), sets) in back {
                state.leaving.remove(&(producer.clone(), from.clone()));
                state.give_back(&producer, &from, &sets);
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
        let by_sets = self.place_by_sets(name, config, &usable, now);
        let Some(state) = self.groups.get(name) else { return };
        let mut target = by_sets.unwrap_or_else(|| {
            let producers: Vec<Name> = config.producers.keys().cloned().collect();
            let (owners, standbys) = (state.whole_owners(), state.standbys.on());
            let placed = place_on_standbys(&producers, &config.aggregators, &usable, &owners, standbys);
            placed.into_iter().map(|(producer, owner)| (producer, Ownership::Whole(owner))).collect()
        });
        let held = target.iter().filter_map(|(name, owner)| Some((name.clone(), owner.aggregators().next()?.clone())));
        let advertised = self.place_advertised(state, &usable, &held.collect(), now);
        target.extend(advertised.into_iter().map(|(producer, owner)| (producer, Ownership::Whole(owner))));
        self.hand_over(name, target, usable.is_empty(), now);
    }

    pub(super) fn tell_losses(
        &mut self,
        group: &Name,
        lost: Vec<(Name, DownReason)>,
        lost_to: &BTreeMap<(Name, Name), Taken>,
        nobody_left: bool,
    ) {
        for (aggregator, reason) in lost {
            if nobody_left {
                let producers = self.groups.get(group).map_or(0, |state| state.owners.len());
                self.report(Notice::NobodyLeft { aggregator, reason, group: group.clone(), producers });
                continue;
            }
            let mut taken_by = BTreeMap::new();
            for ((from, to), taken) in lost_to {
                if *from == aggregator {
                    *taken_by.entry(to.clone()).or_default() += taken.count();
                }
            }
            self.report(Notice::AggregatorLost { aggregator, reason, taken_by });
        }
    }

    /// Says once that a group is at rest: nobody leaves or is about to get work back, and its aggregators
    /// are as configured.
    fn announce(&mut self, name: &Name, config: &AggregatorGroup) {
        let Some(state) = self.groups.get(name) else { return };
        if state.announced || !state.leaving.is_empty() || !state.detours.is_empty() || state.owners.is_empty() {
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
        let by_sets = self.loads_by_sets(name, config);
        if let Some(state) = self.groups.get_mut(name) {
            state.announced = true;
        }
        self.report(match by_sets {
            Some(loads) => Notice::BalancedBySets { group: name.clone(), loads },
            None => Notice::Balanced { group: name.clone(), loads },
        });
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
