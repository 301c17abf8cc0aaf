//! Groups that are balanced by metric sets: what must hold, and what an operator may count on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use maestro::cluster::{AggregatorGroup, Cluster};
use maestro::conductor::{Notice, Rebalance};
use maestro::desired::BoostConfig;
use maestro::ldmsd::observation::ProducerState;
use maestro::ldmsd::{Attribute, Command, Verb};
use maestro::notation::Name;
use maestro::placement::sets::Weight;

use super::agent::PROBE_DEADLINE_US;
use super::clusters::{fixture, uneven};
use super::history::Sent;
use super::world::{SECOND_US, World};
use crate::daemon::Imitation;

/// What a set costs, and who has it ready.
pub(crate) struct FoundSet {
    weight: Weight,
    pub(crate) ready_on: Vec<Name>,
}

/// The world of a seed, balanced by sets.
pub(crate) fn world(seed: u64) -> World {
    let cluster = if (seed / 2).is_multiple_of(3) { fixture("sets-current") } else { uneven() };
    // On 4.4 a plugin has one instance, and these clusters need several.
    let mut world = by_sets(seed, [Imitation::Main, Imitation::V45][seed as usize % 2], cluster);
    world.settings.standby = seed % 5 == 3;
    world
}

pub(crate) fn by_sets(seed: u64, imitation: Imitation, cluster: Cluster) -> World {
    let mut world = World::new(seed, imitation, cluster);
    world.settings.rebalance = Rebalance::Sets;
    world
}

/// A world in which all is well.
fn calm(seed: u64, cluster: Cluster) -> World {
    let mut world = by_sets(seed, Imitation::Main, cluster);
    world.start_maestro();
    world.run_for(30 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
    world
}

/// The truth, and what must hold of it.
impl World {
    /// Groups that collect from aggregators go by producers all the same.
    pub(crate) fn goes_by_sets(&self, group: &AggregatorGroup) -> bool {
        let aggregates = |daemon: &Name| self.cluster.groups.values().any(|group| group.aggregators.contains(daemon));
        self.settings.rebalance == Rebalance::Sets && !group.producers.values().any(|p| aggregates(&p.daemon))
    }

    /// Every set of the samplers of a group, by its producer and name.
    pub(crate) fn sets_below(&mut self, group: &AggregatorGroup) -> BTreeMap<(Name, String), FoundSet> {
        let mut found = BTreeMap::new();
        for producer in group.producers.values() {
            let Some(daemon) = self.network.daemon(self.host(&producer.daemon)) else { continue };
            for set in daemon.directory_sets(self.now_us()) {
                let interval_us = set.hint.as_ref().and_then(|hint| hint.split(':').next()?.parse().ok());
                let weight = Weight::of(set.data_size_bytes.into(), interval_us.unwrap_or(SECOND_US));
                found.insert((producer.name.clone(), set.instance), FoundSet { weight, ready_on: Vec::new() });
            }
        }
        for aggregator in
            group.aggregators.iter().filter(|aggregator| self.is_up(aggregator)).cloned().collect::<Vec<_>>()
        {
            for (producer, shown) in self.producers_on(&aggregator) {
                for set in shown.ready_sets() {
                    if let Some(found) = found.get_mut(&(producer.clone(), set.to_owned())) {
                        found.ready_on.push(aggregator.clone());
                    }
                }
            }
        }
        found
    }

    /// Each set is collected by one aggregator, the one that the conductor says, and the loads are as even as the
    /// heaviest set allows.
    pub(crate) fn check_sets(&mut self, group: &AggregatorGroup, faults: &mut Vec<String>) {
        let sets = self.sets_below(group);
        let name = self.cluster.groups.iter().find(|(_, other)| *other == group).map(|(name, _)| name.clone()).unwrap();
        let owners = self.conductor().and_then(|conductor| conductor.owners(&name)).cloned().unwrap_or_default();
        let mut loads: BTreeMap<&Name, f64> = group.aggregators.iter().map(|aggregator| (aggregator, 0.0)).collect();
        let mut heaviest = 0f64;
        for ((producer, set), found) in &sets {
            let owner = owners.get(producer).and_then(|owner| owner.owner_of(set));
            if found.ready_on.iter().collect::<Vec<_>>() != owner.into_iter().collect::<Vec<_>>() {
                faults
                    .push(format!("{set} of {producer} is ready on {:?}, and its owner is {owner:?}", found.ready_on));
            }
            let weight = found.weight.bytes_per_s();
            heaviest = heaviest.max(weight);
            if let Some(load) = owner.and_then(|owner| loads.get_mut(owner)) {
                *load += weight;
            }
        }
        let (most, least) =
            loads.values().fold((0f64, f64::MAX), |(most, least), load| (most.max(*load), least.min(*load)));
        if most - least > heaviest + 0.5 {
            faults.push(format!("the loads are {loads:?}, the heaviest set {heaviest}"));
        }
        let mut standbys: BTreeMap<&Name, usize> = BTreeMap::new();
        for aggregator in &group.aggregators {
            let producers = self.producers_on(aggregator);
            let collected = self.collected_on(aggregator);
            for producer in group.producers.keys() {
                let wanted = owners.get(producer).is_some_and(|owner| owner.includes(aggregator));
                match producers.get(producer) {
                    Some(found) if found.state.is_started() == wanted => {}
                    Some(found) if self.keeps_standbys(group) && found.state == ProducerState::Connected => {
                        if collected.contains(producer) || found.ready_sets().next().is_some() {
                            faults.push(format!("{aggregator} collects {producer}, which stands by there"));
                        }
                        *standbys.entry(producer).or_default() += 1;
                    }
                    found => faults
                        .push(format!("{producer} on {aggregator}: {:?}, wanted {wanted}", found.map(|p| p.state))),
                }
            }
        }
        for producer in group.producers.keys().filter(|_| self.keeps_standbys(group)) {
            let wanted = usize::from(owners.get(producer).is_some_and(|owner| owner.whole().is_some()));
            let count = standbys.get(producer).copied().unwrap_or_default();
            if count != wanted {
                faults.push(format!("{producer} stands by {count} times instead of {wanted}"));
            }
        }
    }

    /// A producer is stopped only where everything that it gives away is collected elsewhere already.
    pub(crate) fn check_stop_by_sets(&mut self, aggregator: &Name, producer: &Name, group: &AggregatorGroup) {
        let source = group.producers.get(producer).map(|producer| producer.daemon.clone());
        let Some(source) = source.filter(|source| self.is_up(source) && !self.is_hung(source)) else { return };
        let outdated = self.has_other_attributes(aggregator, producer, group);
        let just_lost = self.now_us().saturating_sub(PROBE_DEADLINE_US + 2 * SECOND_US);
        let disturbed = group.aggregators.iter().any(|other| !self.history.undisturbed_since(other, just_lost));
        if outdated || disturbed || self.is_hung(aggregator) || !self.history.undisturbed_since(&source, just_lost) {
            return;
        }
        let name = self.cluster.groups.iter().find(|(_, other)| *other == group).map(|(name, _)| name.clone()).unwrap();
        let owner = self.conductor().and_then(|conductor| conductor.owners(&name)?.get(producer)).cloned();
        for ((of, set), found) in self.sets_below(group) {
            let stays = owner.as_ref().and_then(|owner| owner.owner_of(&set)) == Some(aggregator);
            let is_only_here = found.ready_on.iter().all(|other| other == aggregator) && !found.ready_on.is_empty();
            if of == *producer && is_only_here && !stays {
                self.violation(format!("{set} is dropped by {aggregator} while nobody else has it"));
            }
        }
    }

    /// Whether samples of a set were lost because its owner had to let its producer go for a moment: only so a daemon
    /// drops the sets that are not its own any more. That costs two samples, three where they are a second apart.
    pub(crate) fn is_let_go_for_a_moment(
        &self,
        group: &AggregatorGroup,
        instance: &str,
        gap_us: Range<u64>,
        step_us: u64,
    ) -> bool {
        let sampler = instance.split('/').next().unwrap_or_default();
        let Some(producer) = group.producers.values().find(|producer| *producer.daemon == *sampler) else {
            return false;
        };
        let is_short = gap_us.end - gap_us.start <= 3 * step_us + SECOND_US;
        let stopped = self.history.commands.iter().filter(|sent| {
            sent.command.verb == Verb::PrdcrStop && sent.command.get(Attribute::Name) == Some(producer.name.as_str())
        });
        let mut stopped = stopped.filter(|sent| (gap_us.start..gap_us.end + step_us).contains(&sent.at_us));
        is_short && self.goes_by_sets(group) && stopped.any(|stop| self.is_started_again(stop, &producer.name))
    }

    fn is_started_again(&self, stop: &Sent, producer: &Name) -> bool {
        let soon = stop.at_us..stop.at_us + SECOND_US / 2;
        let mut sent =
            self.history.commands.iter().filter(|sent| sent.daemon == stop.daemon && soon.contains(&sent.at_us));
        sent.any(|sent| {
            sent.command.verb == Verb::PrdcrStartRegex
                && sent.command.get(Attribute::Regex).is_some_and(|regex| regex.contains(producer.as_str()))
        })
    }

    /// Verbs that a daemon has been sent since then, temporary updaters apart.
    pub(crate) fn verbs_sent(&self, daemon: &Name, since_us: u64) -> BTreeSet<String> {
        let sent = self.history.commands_since(since_us).filter(|sent| sent.daemon == *daemon);
        let lasting =
            sent.filter(|sent| !sent.command.get(Attribute::Name).is_some_and(|n| n.starts_with(BoostConfig::PREFIX)));
        let blind = [Verb::AuthAdd, Verb::Env, Verb::Listen];
        lasting
            .map(|sent| sent.command.verb)
            .filter(|verb| !blind.contains(verb))
            .map(|verb| verb.to_string())
            .collect()
    }
}

fn name(text: &str) -> Name {
    Name::from(text)
}

pub(crate) fn split_producers(world: &World) -> BTreeSet<Name> {
    let owners = world.owners().into_iter().filter(|(_, owner)| owner.whole().is_none());
    owners.map(|((_, producer), _)| producer).collect()
}

#[test]
fn only_what_is_too_heavy_for_one_aggregator_is_split() {
    let world = calm(1, uneven());
    assert!(
        split_producers(&world).iter().all(|producer| producer.starts_with("big")),
        "{:?}",
        split_producers(&world)
    );
    assert!(!split_producers(&world).is_empty());
    let text = world.history.notices.iter().map(|(_, notice)| notice.to_string());
    let balanced: Vec<String> = text.filter(|text| text.contains("balanced by metric sets")).collect();
    assert_eq!(balanced.len(), 1, "{balanced:?}");
    assert!(balanced[0].contains("kB/s ("), "{balanced:?}");
}

#[test]
fn a_lost_aggregators_sets_are_taken_over_and_nobody_else_is_interrupted() {
    for seed in 0..3 {
        let mut world = calm(seed, fixture("sets-current"));
        let lost_us = world.now_us();
        world.kill(&name("l1-agg-2"));
        world.run_for(20 * SECOND_US);
        assert_eq!(world.verbs_sent(&name("l1-agg-1"), lost_us), [Verb::PrdcrStartRegex.to_string()].into());
        world.restart(&name("l1-agg-2"));
        let returned_us = world.now_us();
        world.run_for(40 * SECOND_US);
        assert_eq!(world.faults_of_state(), [""; 0]);
        assert_eq!(world.lost_samples(returned_us), [""; 0]);
        assert_eq!(world.history.violations, [""; 0]);
    }
}

#[test]
fn an_uneven_cluster_is_balanced_again_after_loss_and_return() {
    for seed in 0..5 {
        let mut world = calm(seed, uneven());
        world.kill(&name("l1-agg-1"));
        world.run_for(40 * SECOND_US);
        world.restart(&name("l1-agg-1"));
        world.run_for(60 * SECOND_US);
        assert_eq!(world.faults_of_state(), [""; 0]);
        assert_eq!(world.history.violations, [""; 0]);
    }
}

#[test]
fn a_new_maestro_reads_back_who_has_which_sets() {
    for cluster in [uneven(), fixture("sets-current")] {
        let mut world = calm(1, cluster);
        let owners = world.owners();
        let begin_us = world.now_us();
        world.start_maestro();
        world.run_for(90 * SECOND_US);
        assert_eq!(world.owners(), owners);
        for aggregator in ["l1-agg-1", "l1-agg-2", "l1-agg-3"] {
            assert_eq!(world.verbs_sent(&name(aggregator), begin_us), BTreeSet::new());
        }
    }
}

#[test]
fn a_set_that_appears_is_collected_within_a_probe_interval() {
    for seed in 0..3 {
        let mut world = calm(seed, uneven());
        // Samplers are probed every ten seconds, and not now.
        world.run_for((2 + seed) * SECOND_US);
        a_set_appears(world);
    }
}

fn a_set_appears(mut world: World) {
    let split = split_producers(&world).pop_first().unwrap();
    publish(&mut world, split.trim_end_matches("-ep"), "more", "another/set");
    // A probe, the sampler's answer, and what a daemon takes for its first update.
    world.run_for(2 * SECOND_US);
    let group = world.cluster.groups[&name("l1-agg-[1-3]")].clone();
    let owner = world.owners()[&(name("l1-agg-[1-3]"), split.clone())].owner_of("another/set").cloned();
    assert!(owner.is_some());
    world.run_for(3 * SECOND_US);
    let sets = world.sets_below(&group);
    assert_eq!(sets[&(split, "another/set".to_owned())].ready_on, [owner.unwrap()]);
    world.run_for(30 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
    let moved = world.history.notices.iter().filter(|(_, notice)| matches!(notice, Notice::Moving { .. }));
    assert!(moved.count() <= 1);
}

#[test]
fn a_producer_that_became_too_heavy_for_one_is_split_without_a_lost_sample() {
    let mut world = calm(1, fixture("sets-current"));
    let begin_us = world.now_us();
    for number in 1..=4 {
        publish(&mut world, "sampler-1", &format!("more-{number}"), &format!("sampler-1/more-{number}"));
    }
    world.run_for(60 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
    assert_eq!(world.history.violations, [""; 0]);
    assert_eq!(split_producers(&world), [name("node-1-10002")].into());
    let stops = world.history.commands_since(begin_us).filter(|sent| {
        sent.command.verb == Verb::PrdcrStop && sent.command.get(Attribute::Name) == Some("node-1-10002")
    });
    assert_eq!(stops.count(), 2, "who keeps a part lets the producer go once, and who had it meanwhile");
    assert_eq!(world.lost_samples(begin_us), [""; 0]);
    assert_eq!(lost_of(&world, "sampler-1/", begin_us), [""; 0]);
}

/// Sets of which no aggregator got a sample for more than a second longer than they take, whatever for.
fn lost_of(world: &World, sampler: &str, since_us: u64) -> Vec<String> {
    let mut times: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for ((_, instance), sampled_us) in &world.history.series {
        if instance.starts_with(sampler) {
            times.entry(instance).or_default().extend(sampled_us.iter().filter(|at_us| **at_us >= since_us));
        }
    }
    let longest = |times: &BTreeSet<u64>| times.iter().zip(times.iter().skip(1)).map(|(a, b)| b - a).max();
    let shortest = |times: &BTreeSet<u64>| times.iter().zip(times.iter().skip(1)).map(|(a, b)| b - a).min();
    let has_gap = |times: &BTreeSet<u64>| longest(times) > shortest(times);
    times.iter().filter(|(_, times)| has_gap(times)).map(|(instance, _)| (*instance).to_owned()).collect()
}

/// Of two aggregators there is none that could have meanwhile what stays.
fn with_two_aggregators() -> Cluster {
    let mut cluster = fixture("sets-current");
    let group = cluster.groups.get_mut(&name("l1-agg-[1-3]")).unwrap();
    group.aggregators.pop();
    cluster.groups.get_mut(&name("l2-agg")).unwrap().producers.remove(&name("node-13-10101"));
    cluster
}

#[test]
fn where_everybody_has_a_part_the_rest_is_let_go_for_a_moment() {
    let mut world = calm(1, with_two_aggregators());
    let begin_us = world.now_us();
    for number in 1..=8 {
        publish(&mut world, "sampler-1", &format!("more-{number}"), &format!("sampler-1/more-{number}"));
    }
    world.run_for(60 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
    assert_eq!(world.history.violations, [""; 0]);
    assert_eq!(split_producers(&world), [name("node-1-10002")].into());
    let stops = world.history.commands_since(begin_us).filter(|sent| {
        sent.command.verb == Verb::PrdcrStop && sent.command.get(Attribute::Name) == Some("node-1-10002")
    });
    assert_eq!(stops.count(), 1, "whether that costs samples is a matter of the moment");
    assert_eq!(world.lost_samples(begin_us), [""; 0], "apart from that moment");
}

#[test]
fn who_stands_by_takes_over_from_a_lost_one() {
    let lost = name("l1-agg-2");
    for seed in 0..6 {
        let cluster = if seed % 2 == 0 { fixture("sets-current") } else { uneven() };
        let mut world = by_sets(seed, Imitation::Main, cluster);
        world.settings.standby = true;
        world.start_maestro();
        world.run_for(30 * SECOND_US);
        assert_eq!(world.faults_of_state(), [""; 0]);
        // Somebody becomes heavier, so that another aggregator has least than when the standbys were placed.
        let heavier = if seed % 2 == 0 { format!("sampler-{}", seed + 1) } else { format!("small-{}", seed + 1) };
        for number in 0..2 {
            publish(&mut world, &heavier, &format!("more-{number}"), &format!("{heavier}/more-{number}"));
        }
        world.run_for(30 * SECOND_US);
        let before = world.owners();
        let orphans: Vec<&(Name, Name)> =
            before.iter().filter(|(_, owner)| owner.whole() == Some(&lost)).map(|(key, _)| key).collect();
        let connected: BTreeMap<Name, BTreeSet<Name>> = ["l1-agg-1", "l1-agg-3"]
            .map(|on| {
                (
                    name(on),
                    world
                        .producers_on(&name(on))
                        .into_iter()
                        .filter(|(_, found)| found.state.is_started())
                        .map(|(producer, _)| producer)
                        .collect(),
                )
            })
            .into();
        // From just after a sample, before the tick that fetches it, on.
        let phase_us = world.now_us() % SECOND_US;
        world.run_for(SECOND_US - phase_us + (20 + seed * 100) * SECOND_US / 1_000);
        world.kill(&lost);
        world.run_for(SECOND_US / 2);
        let owners = world.owners();
        assert!(!orphans.is_empty());
        for key in orphans {
            let to = owners[key].whole().unwrap();
            assert!(connected[to].contains(&key.1), "{} was not connected to {to}", key.1);
        }
        world.run_for(40 * SECOND_US);
        world.restart(&lost);
        world.run_for(60 * SECOND_US);
        assert_eq!(world.faults_of_state(), [""; 0]);
        assert_eq!(world.history.violations, [""; 0]);

        // Without them again, and with them: nothing moves.
        for standby in [false, true] {
            let (owners, begin_us) = (world.owners(), world.now_us());
            world.settings.standby = standby;
            world.start_maestro();
            world.run_for(90 * SECOND_US);
            assert_eq!(world.owners(), owners);
            assert_eq!(world.faults_of_state(), [""; 0]);
            assert_eq!(world.lost_samples(begin_us - 5 * SECOND_US), [""; 0]);
            assert_eq!(world.history.violations, [""; 0]);
        }
    }
}

#[test]
fn a_producer_is_not_let_go_before_the_daemon_has_taken_an_updater_for_what_stays() {
    let mut world = calm(1, with_two_aggregators());
    let producer = name("node-1-10002");
    let owner = world.owners()[&(name("l1-agg-[1-3]"), producer.clone())].whole().unwrap().clone();
    world.refuse(&owner, Verb::UpdtrAdd);
    let begin_us = world.now_us();
    let stops = |world: &World| {
        let sent = world.history.commands_since(begin_us);
        let stops = sent.filter(|sent| sent.command.verb == Verb::PrdcrStop && sent.daemon == owner);
        stops.filter(|stop| stop.command.get(Attribute::Name) == Some(producer.as_str())).count()
    };
    for number in 1..=8 {
        publish(&mut world, "sampler-1", &format!("more-{number}"), &format!("sampler-1/more-{number}"));
    }
    world.run_for(60 * SECOND_US);
    assert_eq!(split_producers(&world), [producer.clone()].into());
    assert_eq!(stops(&world), 0);
    world.accept(&owner);
    world.run_for(120 * SECOND_US);
    assert_eq!(stops(&world), 1);
    assert_eq!(world.faults_of_state(), [""; 0]);
    assert_eq!(world.history.violations, [""; 0]);
}

/// A daemon holds a name once: of two sets of one name an aggregator collects the one that it looked up first, and both
/// are collected where they have different owners.
#[test]
fn sets_of_the_same_name_have_an_owner_each_and_disturb_nobody() {
    let mut world = calm(1, fixture("sets-current"));
    for sampler in ["sampler-1", "sampler-2", "sampler-3", "sampler-4"] {
        publish(&mut world, sampler, "more", "shared/set");
    }
    world.run_for(60 * SECOND_US);
    let group = world.cluster.groups[&name("l1-agg-[1-3]")].clone();
    let sets = world.sets_below(&group);
    let shared: Vec<_> = sets.iter().filter(|((_, set), _)| set == "shared/set").collect();
    assert_eq!(shared.len(), 4);
    let owners = world.owners();
    let owner_of = |producer: &Name| owners[&(name("l1-agg-[1-3]"), producer.clone())].owner_of("shared/set").cloned();
    let wanted: BTreeSet<Option<Name>> = shared.iter().map(|((producer, _), _)| owner_of(producer)).collect();
    assert!(!wanted.contains(&None));
    let collecting: BTreeSet<Option<Name>> =
        shared.iter().flat_map(|(_, found)| &found.ready_on).map(|aggregator| Some(aggregator.clone())).collect();
    assert_eq!(collecting, wanted);
    let begin_us = world.now_us();
    world.run_for(90 * SECOND_US);
    for aggregator in ["l1-agg-1", "l1-agg-2", "l1-agg-3"] {
        assert_eq!(world.verbs_sent(&name(aggregator), begin_us), BTreeSet::new());
    }
}

/// Somebody makes a sampler publish one more set.
pub(crate) fn publish(world: &mut World, sampler: &str, plugin: &str, set: &str) {
    let options = format!("producer={sampler} instance={set}");
    for (verb, words) in [
        (Verb::Load, [(Attribute::Name, plugin), (Attribute::Plugin, "procnetdev2")]),
        (Verb::Config, [(Attribute::Name, plugin), (Attribute::String, options.as_str())]),
        (Verb::Start, [(Attribute::Name, plugin), (Attribute::Interval, "1000000")]),
    ] {
        let command = words.iter().fold(Command::new(verb), |command, (key, word)| command.with(*key, word));
        world.meddle(&name(sampler), &command);
    }
}
