//! Worlds in which each producer stands by on a second aggregator.

use std::collections::{BTreeMap, BTreeSet};

use maestro::cluster::{AggregatorGroup, Cluster};
use maestro::ldmsd::Verb;
use maestro::ldmsd::observation::ProducerState;
use maestro::notation::Name;

use super::clusters::{fixture, generated};
use super::seeds::{live_in, seeds, try_all, world};
use super::world::{MS_US, SECOND_US, World};
use crate::daemon::Imitation;

impl World {
    pub(crate) fn keeps_standbys(&self, group: &AggregatorGroup) -> bool {
        self.settings.standby && group.aggregators.len() > 1 && group.subscriptions.is_empty()
    }

    /// Each producer is connected on one aggregator besides its home and collected there by nobody, and those of one
    /// home are spread evenly.
    pub(crate) fn check_standbys(&mut self, group: &AggregatorGroup, faults: &mut Vec<String>) {
        let homes = self.homes(group);
        let mut standbys: BTreeMap<Name, Vec<&Name>> = BTreeMap::new();
        for aggregator in &group.aggregators {
            let collected = self.collected_on(aggregator);
            for (producer, found) in self.producers_on(aggregator) {
                if homes.get(&producer).is_none_or(|home| home == aggregator) || !found.state.is_started() {
                    continue;
                }
                if collected.contains(&producer) || found.sets.iter().any(|set| set.ready) {
                    faults.push(format!("{aggregator} collects {producer}, which stands by there: {found:?}"));
                }
                if found.state != ProducerState::Connected || found.sets.is_empty() {
                    faults.push(format!("{producer} is not connected to {aggregator}, where it stands by: {found:?}"));
                }
                standbys.entry(producer).or_default().push(aggregator);
            }
        }
        for home in &group.aggregators {
            let others = group.aggregators.iter().filter(|other| *other != home);
            let mut loads: BTreeMap<&Name, usize> = others.map(|other| (other, 0)).collect();
            for producer in group.producers.keys().filter(|producer| homes[*producer] == *home) {
                match standbys.get(producer).map(Vec::as_slice) {
                    Some([aggregator]) => *loads.entry(aggregator).or_default() += 1,
                    other => faults.push(format!("{producer} stands by on {other:?}")),
                }
            }
            // The one that has one producer less takes one more.
            if loads.values().max() > loads.values().min().map(|least| least + 2).as_ref() {
                faults.push(format!("the standbys of {home} are spread as {loads:?}"));
            }
        }
    }
}

fn name(text: &str) -> Name {
    Name::from(text)
}

fn calm(seed: u64, cluster: Cluster, standby: bool) -> World {
    let mut world = World::new(seed, Imitation::Main, cluster);
    world.settings.standby = standby;
    world.start_maestro();
    world.run_for(20 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
    world
}

/// Starts maestro again with the option set otherwise; nothing may move and nothing be lost.
fn switch(world: &mut World, standby: bool) -> Vec<String> {
    let owners = world.owners();
    let begin_us = world.now_us();
    world.settings.standby = standby;
    world.start_maestro();
    world.run_for(20 * SECOND_US);
    let mut failed = world.faults_of_state();
    if world.owners() != owners {
        failed.push("another owner".into());
    }
    failed.extend(world.lost_samples(begin_us - 5 * SECOND_US));
    failed.append(&mut world.history.violations);
    failed
}

#[test]
fn every_world_with_standbys_comes_to_rest_and_nothing_is_lost_on_the_way() {
    try_all(&seeds(), |seed| {
        let mut world = world(seed);
        world.settings.standby = true;
        let mut failed = live_in(&mut world, seed);
        if failed.is_empty() {
            failed.extend(switch(&mut world, false).into_iter().map(|fault| format!("switched off: {fault}")));
            failed.extend(switch(&mut world, true).into_iter().map(|fault| format!("switched on: {fault}")));
        }
        failed
    });
}

/// Samples that reached no first-level aggregator, of each set that misses some: each is sampled every second.
fn missed(world: &World) -> BTreeMap<&str, usize> {
    let mut union: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for ((collector, instance), times) in &world.history.series {
        if collector.starts_with("agg-") {
            union.entry(instance).or_default().extend(times);
        }
    }
    let missed = |times: BTreeSet<u64>| {
        let (first_us, last_us) = (times.first().unwrap(), times.last().unwrap());
        usize::try_from((last_us - first_us) / SECOND_US).unwrap() + 1 - times.len()
    };
    union.into_iter().map(|(instance, times)| (instance, missed(times))).filter(|(_, count)| *count > 0).collect()
}

#[test]
fn a_loss_costs_fewer_samples_and_a_return_none() {
    let lost = name("l1-agg-2");
    let mut costs = [0, 0];
    for seed in 0..10 {
        for standby in [false, true] {
            let mut world = calm(seed, generated(12, 3, 1), standby);
            // From just after a sample, before the tick that fetches it, on.
            let phase_us = world.now_us() % SECOND_US;
            world.run_for(SECOND_US - phase_us + (20 + seed * 100) * MS_US);
            assert_eq!(missed(&world), BTreeMap::new());
            let killed_us = world.now_us();
            world.kill(&lost);
            world.run_for(100 * MS_US);
            let collected: usize = ["l1-agg-1", "l1-agg-3"].map(|on| world.collected_on(&name(on)).len()).iter().sum();
            assert_eq!(collected, 12);
            let survivor = name("l1-agg-1");
            let sent = world.history.commands_since(killed_us).filter(|sent| sent.daemon == survivor);
            let mut verbs: Vec<Verb> = sent.map(|sent| sent.command.verb).collect();
            verbs.reverse();
            let boosted = verbs.iter().position(|verb| *verb == Verb::UpdtrAdd).unwrap();
            let starts_first = verbs[..boosted].contains(&Verb::PrdcrStartRegex);
            assert_eq!(starts_first, !standby, "{verbs:?}");
            world.run_for(10 * SECOND_US);
            let cost = missed(&world);
            let orphans = ["sampler-5", "sampler-6", "sampler-7", "sampler-8"];
            assert!(cost.keys().all(|instance| orphans.contains(&instance.split('/').next().unwrap())), "{cost:?}");
            assert!(!standby || cost.values().all(|count| *count == 1), "{cost:?}");
            costs[usize::from(standby)] += cost.values().sum::<usize>();

            world.restart(&lost);
            let returned_us = world.now_us();
            world.run_for(30 * SECOND_US);
            assert_eq!(world.faults_of_state(), [""; 0]);
            assert_eq!(world.lost_samples(returned_us), [""; 0]);
            assert_eq!(world.history.violations, [""; 0]);
        }
    }
    let [without, with] = costs;
    println!("{without} samples lost without and {with} with standbys");
    assert!(with * 2 <= without, "{without} samples lost without and {with} with standbys");
}

#[test]
fn a_restart_of_maestro_with_an_aggregator_down_moves_neither_owners_nor_standbys() {
    let mut world = calm(3, fixture("basic-current"), true);
    world.kill(&name("l1-agg-3"));
    world.run_for(20 * SECOND_US);
    let owners = world.owners();
    let begin_us = world.now_us();
    world.start_maestro();
    world.run_for(30 * SECOND_US);
    assert_eq!(world.owners(), owners);
    let moved = world.history.commands_since(begin_us).filter(|sent| {
        matches!(sent.command.verb, Verb::PrdcrStop | Verb::PrdcrStartRegex | Verb::UpdtrAdd | Verb::UpdtrDel)
    });
    assert_eq!(moved.map(|sent| format!("{}: {}", sent.daemon, sent.command)).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_new_maestro_leaves_an_aggregator_alone_where_nothing_stands_by() {
    // The third of three with one producer each takes over from nobody.
    let mut world = calm(1, generated(3, 3, 1), true);
    let begin_us = world.now_us();
    world.start_maestro();
    world.run_for(20 * SECOND_US);
    let changed = world.history.commands_since(begin_us).filter(|sent| sent.command.verb == Verb::UpdtrAdd);
    assert_eq!(changed.count(), 0);
}

#[test]
fn the_option_can_be_taken_back_while_an_aggregator_is_down() {
    for seed in 0..5 {
        let mut world = calm(seed, generated(12, 4, 1), true);
        world.kill(&name("l1-agg-1"));
        world.run_for(20 * SECOND_US);
        let (owners, begin_us) = (world.owners(), world.now_us());
        world.settings.standby = false;
        world.start_maestro();
        world.run_for(20 * SECOND_US);
        assert_eq!(world.owners(), owners);
        let running: usize = ["l1-agg-2", "l1-agg-3", "l1-agg-4"]
            .map(|on| world.producers_on(&name(on)))
            .iter()
            .flat_map(|on| on.values())
            .filter(|found| found.state.is_started())
            .count();
        assert_eq!(running, 12, "each producer once");
        assert_eq!(world.lost_samples(begin_us - 5 * SECOND_US), [""; 0]);
        world.restart(&name("l1-agg-1"));
        world.run_for(30 * SECOND_US);
        assert_eq!(world.faults_of_state(), [""; 0]);
        assert_eq!(world.history.violations, [""; 0]);
    }
}
