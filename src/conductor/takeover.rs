//! When a producer may be stopped on its former aggregator.
//!
//! The sequence that loses nothing (operations of a live ldmsd, section 2): start on the new
//! aggregator; wait until its sets are ready there *and have been updated once*, which a daemon does
//! only a second after the lookup; stop on the old one away from the ticks of the updater above,
//! because deleting a set while it is being fetched kills a storing daemon of the development line;
//! then let the level above look the sets up quickly.

use std::collections::{BTreeMap, BTreeSet};

use super::council::Hearing;
use super::notice::Notice;
use super::{Conductor, Now, Timer};
use crate::cluster::{AggregatorGroup, Updater};
use crate::notation::{Interval, Name};
use crate::placement::Ownership;

/// A set is not updated during its first second; a little more for the tick itself.
const FIRST_UPDATE_US: u64 = 1_200_000;
/// How long a new owner may take to become ready before it is thought unable.
const PATIENCE_US: u64 = 60_000_000;
/// How long a producer that could not be moved stays where it is.
const PINNED_US: u64 = 300_000_000;

/// How far from the ticks of updaters sets are deleted, at the middle of the interval where that is nearer. A fetch
/// may be outstanding for some 45 ms.
const FAR_FROM_A_TICK_US: u64 = 250_000;
/// How often the search for a calm moment goes on, at most.
const MOST_STEPS_TO_CALM: usize = 100;

/// A producer that still runs on a former owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaving {
    pub(super) since_us: u64,
    /// The number of the plan by which a leader has told the others of it.
    pub(super) plan: Option<u64>,
    /// It was planned, and is told; a stray is not.
    planned: bool,
    /// The sets that it had where it had a part of the producer only, and must not take others meanwhile.
    pub(super) part: Option<BTreeSet<String>>,
    /// The owner has taken over: it is to be stopped. It stays on the list until it is, so that a stop that
    /// fails is known for what it is.
    pub(super) taken_over: bool,
}

impl Leaving {
    pub(super) fn since(now: Now, planned: bool) -> Leaving {
        Leaving { since_us: now.mono_us, plan: None, planned, part: None, taken_over: false }
    }

    /// One that a leader has told of.
    pub(super) fn as_planned(now: Now, number: u64) -> Leaving {
        Leaving { plan: Some(number), ..Leaving::since(now, false) }
    }

    /// Of an aggregator that had these sets of the producer only.
    pub(super) fn of_part(self, part: Option<BTreeSet<String>>) -> Leaving {
        Leaving { part, ..self }
    }

    /// Another owner has to take over first.
    pub(super) fn wait_anew(&mut self, now: Now) {
        self.since_us = now.mono_us;
        self.plan = None;
        self.taken_over = false;
    }
}

/// What to do with one leaving producer.
enum Verdict {
    /// It runs there no more, or has nothing that is another's.
    Gone,
    /// It may be stopped now.
    Stop,
    /// It has been found that it may be stopped, and runs still.
    Stopping,
    /// It may not be stopped any more, and runs still.
    NotAnyMore,
    /// Not yet; look again at that time on the monotonic clock.
    Wait(u64),
    /// The new owner cannot collect it.
    Abandon,
}

impl Conductor {
    pub(super) fn review_takeovers(&mut self, name: &Name, config: &AggregatorGroup, now: Now) {
        let Some(state) = self.groups.get(name) else { return };
        let verdicts: Vec<(Name, Name, Ownership, Leaving, Verdict)> = state
            .leaving
            .iter()
            .filter_map(|((producer, from), leaving)| {
                let owner = state.owners().get(producer)?;
                let verdict = self.judge(config, producer, from, owner, leaving, now);
                Some((producer.clone(), from.clone(), owner.clone(), leaving.clone(), verdict))
            })
            .collect();

        let mut moved: BTreeMap<Name, BTreeSet<String>> = BTreeMap::new();
        let mut kept: Vec<(Name, Name)> = Vec::new();
        let mut told: BTreeMap<(Name, Name), usize> = BTreeMap::new();
        for (producer, from, owner, leaving, verdict) in verdicts {
            let given = self.given_away(&producer, &from, &owner);
            let Some(state) = self.groups.get_mut(name) else { return };
            let key = (producer.clone(), from.clone());
            match verdict {
                Verdict::Wait(at_us) => {
                    self.timers.insert((at_us, Timer::Group(name.clone())));
                }
                Verdict::Stopping => {}
                Verdict::NotAnyMore => {
                    if let Some(leaving) = state.leaving.get_mut(&key) {
                        leaving.wait_anew(now);
                    }
                }
                Verdict::Gone => {
                    state.leaving.remove(&key);
                    if leaving.taken_over && owner.includes(&from) {
                        kept.push((from, producer));
                    }
                }
                Verdict::Stop => {
                    // Who lets the producer go for a moment has none of its sets then.
                    let lets_go =
                        |to: &Name| state.leaving.get(&(producer.clone(), to.clone())).is_some_and(|l| l.taken_over);
                    if given.keys().any(lets_go) {
                        continue;
                    }
                    if let Some(leaving) = state.leaving.get_mut(&key) {
                        leaving.taken_over = true;
                    }
                    for (to, sets) in given {
                        if leaving.planned {
                            *told.entry((from.clone(), to.clone())).or_default() += 1;
                        }
                        moved.entry(to).or_default().extend(sets);
                    }
                }
                Verdict::Abandon => {
                    state.leaving.remove(&key);
                    // What cannot go by way of another goes straight on.
                    let pinned_us = if state.detours.remove(&producer).is_some() { 0 } else { PINNED_US };
                    let sets = given.values().flatten().cloned().collect();
                    state.give_back(&producer, &from, &sets);
                    state.pinned.insert(producer.clone(), now.mono_us + pinned_us);
                    self.timers.insert((now.mono_us + pinned_us, Timer::Group(name.clone())));
                    for to in given.into_keys() {
                        self.report(Notice::MoveAbandoned { producer: producer.clone(), from: from.clone(), to });
                    }
                }
            }
        }
        for ((from, to), producers) in told {
            self.report(Notice::Moved { from, to, producers });
        }
        for (to, sets) in moved {
            self.boost_above(&to, &sets, now);
        }
        for (aggregator, producer) in kept {
            self.boost_share(&aggregator, &producer, now);
        }
    }

    /// The sets that an aggregator has ready of a producer and that are others' now, by their owners.
    fn given_away(&self, producer: &Name, from: &Name, owner: &Ownership) -> BTreeMap<Name, BTreeSet<String>> {
        let mut given: BTreeMap<Name, BTreeSet<String>> = BTreeMap::new();
        for set in self.daemons.get(from).into_iter().flat_map(|daemon| daemon.ready_sets(producer)) {
            if let Some(to) = owner.owner_of(set).filter(|to| *to != from) {
                given.entry(to.clone()).or_default().insert(set.to_owned());
            }
        }
        given
    }

    fn judge(
        &self,
        config: &AggregatorGroup,
        producer: &Name,
        from: &Name,
        owner: &Ownership,
        leaving: &Leaving,
        now: Now,
    ) -> Verdict {
        let Some(source) = self.daemons.get(from).filter(|daemon| daemon.is_up()) else { return Verdict::Gone };
        if !source.runs(producer) {
            return Verdict::Gone;
        }
        if leaving.taken_over {
            // The stop may have to wait for an updater that is refused, and the new owner be rid of the sets meanwhile.
            let given = self.given_away(producer, from, owner);
            let is_safe = !owner.includes(from) || self.taken_over_since(producer, &given, leaving).is_some();
            return if is_safe { Verdict::Stopping } else { Verdict::NotAnyMore };
        }
        let Some(readiness) = source.readiness_for(producer, leaving) else {
            // Counts of producers do not tell that sets became ready: what is known may be old, and is asked for.
            return Verdict::Wait(now.mono_us + PATIENCE_US);
        };
        let stays = owner.includes(from);
        if readiness.sets == 0 && !stays {
            // Nothing is collected here, so there is nothing to lose.
            return Verdict::Stop;
        }
        let given = self.given_away(producer, from, owner);
        if given.is_empty() && stays {
            return Verdict::Gone;
        }
        // Of a split producer some may be so new that nobody has been given them.
        let all_have_owners = stays || source.ready_sets(producer).into_iter().all(|set| owner.owner_of(set).is_some());
        match self.taken_over_since(producer, &given, leaving).filter(|_| all_have_owners) {
            Some(since_us) => {
                let updated_us = since_us + FIRST_UPDATE_US.max(2 * slowest_interval_us(&config.updaters));
                let earliest_us = updated_us.max(now.mono_us);
                let stop_us = earliest_us + self.until_sets_may_go_us(from, now.wall_us + (earliest_us - now.mono_us));
                if stop_us <= now.mono_us { Verdict::Stop } else { Verdict::Wait(stop_us) }
            }
            None if now.mono_us >= leaving.since_us + PATIENCE_US => Verdict::Abandon,
            None => Verdict::Wait(leaving.since_us + PATIENCE_US),
        }
    }

    /// Since when all sets that are given away have been ready on their new owners.
    fn taken_over_since(
        &self,
        producer: &Name,
        given: &BTreeMap<Name, BTreeSet<String>>,
        leaving: &Leaving,
    ) -> Option<u64> {
        let since = |(to, sets): (&Name, &BTreeSet<String>)| {
            let owner = self.daemons.get(to).filter(|daemon| daemon.is_up())?;
            let readiness = match owner.hearing {
                Hearing::Directly => owner.readiness.get(producer)?,
                _ => owner.readiness_for(producer, leaving)?,
            };
            let ready = owner.ready_sets(producer);
            sets.iter().all(|set| ready.contains(set.as_str())).then_some(readiness.since_us)
        };
        // All of them, or none.
        given.iter().map(since).try_fold(0, |latest, since| Some(since?.max(latest)))
    }

    /// How long until sets of a daemon may be deleted: until the updaters that fetch them, on this level and all
    /// above, are far from their ticks.
    pub(super) fn until_sets_may_go_us(&self, daemon: &Name, wall_us: u64) -> u64 {
        let mut groups: BTreeSet<&Name> = self.relations.group_of(daemon).into_iter().collect();
        let mut level = vec![daemon];
        while let Some(daemon) = level.pop() {
            for (group, _) in self.relations.collected_by(daemon) {
                if groups.insert(group) {
                    level.extend(self.cluster.groups.get(group).into_iter().flat_map(|group| &group.aggregators));
                }
            }
        }
        let groups = groups.into_iter().filter_map(|group| self.cluster.groups.get(group));
        let ticks: BTreeSet<Ticks> = groups.flat_map(|group| &group.updaters).filter_map(ticks).collect();
        calm_in_us(wall_us, &ticks)
    }

    /// The same for a daemon that is being talked to. What others had asked of one that was held is answered when it goes
    /// on, so that it is left in peace at first.
    pub(super) fn until_sets_may_go_here_us(&self, daemon: &Name, now: Now) -> u64 {
        let up_since_us = self.daemons.get(daemon).map_or(0, |state| state.up_since_us);
        let rest_us = (up_since_us + FAR_FROM_A_TICK_US).saturating_sub(now.mono_us);
        rest_us + self.until_sets_may_go_us(daemon, now.wall_us + rest_us)
    }

    /// The sets of some producers, as their aggregator showed them last.
    pub(super) fn sets_on(&self, aggregator: &Name, producers: &[Name]) -> BTreeSet<String> {
        let Some(daemon) = self.daemons.get(aggregator) else { return BTreeSet::new() };
        producers.iter().flat_map(|producer| daemon.offered_sets(producer)).collect()
    }
}

fn slowest_interval_us(updaters: &[Updater]) -> u64 {
    updaters.iter().filter_map(|updater| updater.interval.us()).filter_map(|us| us.try_into().ok()).max().unwrap_or(0)
}

/// When an updater ticks: at the full multiples of the interval, plus the offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ticks {
    interval_us: u64,
    offset_us: u64,
}

/// By the wall clock; without an offset at full multiples.
fn ticks(updater: &Updater) -> Option<Ticks> {
    let interval_us = updater.interval.us().and_then(|us| u64::try_from(us).ok()).filter(|us| *us > 0)?;
    let offset_us = updater.offset.as_ref().map_or(Some(0), Interval::us)?;
    let offset_us = u64::try_from(offset_us.rem_euclid(i64::try_from(interval_us).ok()?)).ok()?;
    Some(Ticks { interval_us, offset_us })
}

impl Ticks {
    /// How long to wait at a moment that is too near a tick; `None` for one that is far enough.
    fn disturb_us(self, wall_us: u64) -> Option<u64> {
        let margin_us = FAR_FROM_A_TICK_US.min(self.interval_us / 4);
        let phase_us = (wall_us + self.interval_us - self.offset_us) % self.interval_us;
        if phase_us < margin_us {
            Some(margin_us - phase_us)
        } else if phase_us > self.interval_us - margin_us {
            Some(self.interval_us - phase_us + margin_us)
        } else {
            None
        }
    }
}

/// The time until a moment that is far from everybody's ticks. Where there is none soon, the fastest decides.
fn calm_in_us(wall_us: u64, ticks: &BTreeSet<Ticks>) -> u64 {
    let mut wait_us = 0;
    for _ in 0..MOST_STEPS_TO_CALM {
        match ticks.iter().filter_map(|ticks| ticks.disturb_us(wall_us + wait_us)).max() {
            Some(longer_us) => wait_us += longer_us,
            None => return wait_us,
        }
    }
    ticks.first().and_then(|fastest| fastest.disturb_us(wall_us)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_ticks() -> impl Strategy<Value = Ticks> {
        let intervals = prop_oneof![Just(200_000u64), Just(1_000_000), Just(2_000_000), 4u64..20_000_000];
        (intervals, 0u64..20_000_000)
            .prop_map(|(interval_us, offset)| Ticks { interval_us, offset_us: offset % interval_us })
    }

    fn distance_us(ticks: Ticks, wall_us: u64) -> u64 {
        let phase_us = (wall_us + ticks.interval_us - ticks.offset_us) % ticks.interval_us;
        phase_us.min(ticks.interval_us - phase_us)
    }

    #[test]
    fn a_stop_waits_for_the_slow_updater_above_too() {
        let fast = Ticks { interval_us: 1_000_000, offset_us: 100_000 };
        let slow = Ticks { interval_us: 5_000_000, offset_us: 600_000 };
        assert_eq!(calm_in_us(500_000, &[fast].into()), 0);
        let wait_us = calm_in_us(500_000, &[fast, slow].into());
        assert!(distance_us(fast, 500_000 + wait_us) >= 250_000, "{wait_us}");
        assert!(distance_us(slow, 500_000 + wait_us) >= 250_000, "{wait_us}");
    }

    proptest! {
        #[test]
        fn stops_fall_far_from_ticks(wall_us in 0u64..10_000_000_000, ticks in any_ticks()) {
            let wait_us = calm_in_us(wall_us, &[ticks].into());
            prop_assert!(wait_us < ticks.interval_us);
            let distance_us = distance_us(ticks, wall_us + wait_us);
            prop_assert!(distance_us >= 250_000.min(ticks.interval_us / 4), "{}", distance_us);
        }

        #[test]
        fn with_many_updaters_the_fastest_is_never_hit(
            wall_us in 0u64..10_000_000_000,
            ticks in proptest::collection::btree_set(any_ticks(), 1..6),
        ) {
            let wait_us = calm_in_us(wall_us, &ticks);
            let fastest = *ticks.first().unwrap();
            prop_assert!(distance_us(fastest, wall_us + wait_us) >= 250_000.min(fastest.interval_us / 4));
        }
    }
}
