//! Several instances that balance by metric sets.

use std::collections::{BTreeMap, BTreeSet};

use maestro::cluster::Cluster;
use maestro::conductor::Part;
use maestro::ldmsd::{Attribute, Verb};
use maestro::notation::Name;

use super::super::by_sets::{by_sets, publish, split_producers};
use super::super::clusters::{fixture, generated, uneven};
use super::super::scenarios::name;
use super::super::world::{SECOND_US, World};
use super::faults::CouncilFault;
use crate::daemon::Imitation;

const AGGREGATORS: [&str; 3] = ["l1-agg-1", "l1-agg-2", "l1-agg-3"];

/// Three instances with all at rest.
fn calm(seed: u64, cluster: Cluster) -> World {
    let mut world = by_sets(seed, Imitation::Main, cluster);
    world.start_council(3);
    world.run_for(30 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
    world
}

fn leader(world: &mut World) -> usize {
    (1..=3).find(|seat| world.part_of(*seat) == Some(Part::Leader)).unwrap()
}

/// What the aggregators were sent since then, temporary updaters apart.
fn sent(world: &World, since_us: u64) -> Vec<BTreeSet<String>> {
    AGGREGATORS.iter().map(|aggregator| world.verbs_sent(&name(aggregator), since_us)).collect()
}

#[test]
fn the_giants_are_split_although_no_instance_sees_all_of_their_sets() {
    for seed in 0..3 {
        let world = calm(seed, uneven());
        let split = split_producers(&world);
        assert!(!split.is_empty() && split.iter().all(|producer| producer.starts_with("big")), "{split:?}");
    }
}

#[test]
fn neither_another_leader_nor_another_share_moves_a_set() {
    for (seed, resigns) in [(1, false), (2, true), (3, false)] {
        let mut world = calm(seed, uneven());
        let (owners, begin_us) = (world.owners(), world.now_us());
        for _ in 0..3 {
            let first = leader(&mut world);
            world.stop_member(first, resigns);
            world.run_for(25 * SECOND_US);
            assert_ne!(leader(&mut world), first);
            assert_eq!(world.owners(), owners);
            world.start_member(first);
            world.run_for(90 * SECOND_US);
            assert_eq!(world.owners(), owners);
        }
        assert_eq!(sent(&world, begin_us), [const { BTreeSet::new() }; 3]);
        assert_eq!(world.lost_samples(begin_us), [""; 0]);
        assert_eq!(world.faults_of_state(), [""; 0]);
    }
}

#[test]
fn all_instances_may_end_and_find_who_has_which_sets() {
    for seed in 0..3 {
        let mut world = calm(seed, uneven());
        let (owners, begin_us) = (world.owners(), world.now_us());
        for seat in 1..=3 {
            world.stop_member(seat, false);
        }
        world.run_for(5 * SECOND_US);
        for seat in 1..=3 {
            world.start_member(seat);
        }
        world.run_for(100 * SECOND_US);
        assert_eq!(world.owners(), owners);
        assert_eq!(sent(&world, begin_us), [const { BTreeSet::new() }; 3]);
    }
}

/// Another number of instances than before knows nothing of what these have decided.
#[test]
fn several_read_back_what_one_has_left_and_one_what_several_have() {
    for seed in 0..3 {
        let mut world = by_sets(seed, Imitation::Main, uneven());
        world.start_maestro();
        world.run_for(30 * SECOND_US);
        let (owners, begin_us) = (world.owners(), world.now_us());
        assert!(!split_producers(&world).is_empty());
        world.stop_maestro();
        world.start_council(3);
        world.run_for(100 * SECOND_US);
        assert_eq!(world.owners(), owners);
        assert_eq!(world.faults_of_state(), [""; 0]);
        assert_eq!(world.lost_samples(begin_us), [""; 0]);
        let moves = [Verb::PrdcrStart, Verb::PrdcrStartRegex, Verb::PrdcrStop].map(|verb| verb.to_string());
        for sent in sent(&world, begin_us) {
            assert!(moves.iter().all(|verb| !sent.contains(verb)), "{sent:?}");
        }
    }
}

#[test]
fn whichever_aggregator_is_lost_its_sets_are_taken_over_and_come_back() {
    for aggregator in AGGREGATORS {
        for (seed, cluster) in [(1, uneven()), (2, fixture("sets-current"))] {
            let mut world = calm(seed, cluster);
            let lost_us = world.now_us();
            world.kill(&name(aggregator));
            world.run_for(2 * SECOND_US);
            let config = world.cluster.groups[&name("l1-agg-[1-3]")].clone();
            let collected = world.sets_below(&config);
            assert!(collected.values().all(|set| set.ready_on.len() == 1), "{seed}: {aggregator}");
            world.run_for(40 * SECOND_US);
            world.restart(&name(aggregator));
            world.run_for(60 * SECOND_US);
            assert_eq!(world.faults_of_state(), [""; 0]);
            assert_eq!(world.history.violations, [""; 0]);
            let stays = AGGREGATORS.iter().filter(|other| **other != aggregator);
            for other in stays.filter(|_| seed == 2) {
                let stops = world.history.commands_since(lost_us).filter(|sent| {
                    sent.daemon == name(other) && matches!(sent.command.verb, Verb::UpdtrStop | Verb::UpdtrAdd)
                });
                let lasting = stops.filter(|sent| sent.command.get(Attribute::Name) == Some("updtr_0"));
                assert_eq!(lasting.count(), 0, "whole producers need no other updaters");
            }
        }
    }
}

#[test]
fn a_set_that_appears_is_told_by_who_sees_it_and_weighed_by_who_leads() {
    for seed in 0..4 {
        let mut world = calm(seed, uneven());
        // Samplers are probed every ten seconds, and not now.
        world.run_for((2 + seed) * SECOND_US);
        let split = split_producers(&world).pop_first().unwrap();
        publish(&mut world, split.trim_end_matches("-ep"), "more", "another/set");
        // A probe, what the instances tell each other, and what a daemon takes for its first update.
        world.run_for(3 * SECOND_US);
        let owner = world.owners()[&(name("l1-agg-[1-3]"), split.clone())].owner_of("another/set").cloned();
        assert!(owner.is_some(), "seed {seed}");
        world.run_for(3 * SECOND_US);
        let config = world.cluster.groups[&name("l1-agg-[1-3]")].clone();
        assert_eq!(world.sets_below(&config)[&(split, "another/set".to_owned())].ready_on, [owner.unwrap()]);
        world.run_for(30 * SECOND_US);
        assert_eq!(world.faults_of_state(), [""; 0]);
    }
}

#[test]
fn a_sampler_is_asked_when_another_instances_aggregator_sees_other_sets() {
    // The third instance has no aggregator of the first level.
    let sampler = name("small-8");
    for seed in 0..6 {
        let mut world = calm(seed, uneven());
        // Samplers are probed every ten seconds, and not now.
        world.run_for((2 + seed) * SECOND_US);
        assert_eq!(world.board().sets_told_of(&sampler), Some(2));
        publish(&mut world, "small-8", "more", "another/set");
        world.run_for(2 * SECOND_US);
        assert_eq!(world.board().sets_told_of(&sampler), Some(3), "seed {seed}");
        world.run_for(30 * SECOND_US);
        assert_eq!(world.faults_of_state(), [""; 0]);
    }
}

#[test]
fn a_producer_that_became_too_heavy_for_one_is_split_for_the_price_of_a_moment() {
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
    assert_eq!(stops.count(), 1, "who keeps a part lets the producer go once");
    assert_eq!(world.lost_samples(begin_us), [""; 0]);
}

#[test]
fn a_leader_that_falls_with_an_aggregator_of_parts_costs_the_lease_and_no_more() {
    for seed in 0..5 {
        let mut world = calm(seed, uneven());
        let first = leader(&mut world);
        world.kill(&name("l1-agg-1"));
        world.stop_member(first, false);
        world.run_for(7 * SECOND_US);
        let config = world.cluster.groups[&name("l1-agg-[1-3]")].clone();
        let collected = world.sets_below(&config);
        assert!(collected.values().all(|set| set.ready_on.len() == 1), "{seed}");
        world.restart(&name("l1-agg-1"));
        world.start_member(first);
        world.run_for(100 * SECOND_US);
        assert_eq!(world.faults_of_state(), [""; 0]);
        assert_eq!(world.history.violations, [""; 0]);
    }
}

#[test]
fn who_loses_sight_of_its_samplers_takes_no_weight_away() {
    for seed in 0..3 {
        let mut world = calm(seed, uneven());
        let (owners, begin_us) = (world.owners(), world.now_us());
        let seat = leader(&mut world) % 3 + 1;
        for sampler in ["big-1", "big-2", "small-1", "small-5"] {
            world.cut(&name(sampler), true);
        }
        world.stop_member(seat, false);
        world.run_for(100 * SECOND_US);
        assert_eq!(world.owners(), owners);
        assert_eq!(sent(&world, begin_us), [const { BTreeSet::new() }; 3]);
        world.suffer_in_council(CouncilFault::Start(seat));
        for sampler in ["big-1", "big-2", "small-1", "small-5"] {
            world.heal(&name(sampler));
        }
        world.run_for(60 * SECOND_US);
        assert_eq!(world.owners(), owners);
        assert_eq!(world.faults_of_state(), [""; 0]);
    }
}

#[test]
fn what_is_told_of_sets_is_little_and_nothing_at_rest() {
    let mut world = by_sets(1, Imitation::Main, generated(120, 2, 1));
    world.start_council(3);
    world.run_for(20 * SECOND_US);
    let (reports, plans) = world.board().bytes;
    println!("120 samplers, 2 + 1 aggregators: {reports} bytes of reports and {plans} of plans at the start");
    assert!(reports < 120 * 60 + 2_000 && plans < 2_000, "{reports} and {plans}");
    world.run_for(200 * SECOND_US);
    assert_eq!(world.board().bytes, (reports, plans));
    // Who gets samplers of another tells the same of them.
    world.stop_member(2, false);
    world.run_for(30 * SECOND_US);
    let (reports_again, plans_again) = world.board().bytes;
    println!("{} and {} more when an instance is lost", reports_again - reports, plans_again - plans);
    assert!(reports_again - reports < 60 * 60 + 2_000 && plans_again == plans, "{reports_again} and {plans_again}");
}

#[test]
fn who_gives_a_part_away_takes_no_other_meanwhile() {
    for seed in 0..4 {
        let mut world = calm(seed, uneven());
        let group = name("l1-agg-[1-3]");
        let config = world.cluster.groups[&group].clone();
        world.kill(&name("l1-agg-2"));
        world.run_for(40 * SECOND_US);
        world.restart(&name("l1-agg-2"));
        let mut owners: BTreeMap<(Name, String), BTreeSet<Name>> = BTreeMap::new();
        for _ in 0..200 {
            for ((producer, set), found) in world.sets_below(&config) {
                let owner = world.owners()[&(group.clone(), producer.clone())].owner_of(&set).cloned();
                let so_far = owners.entry((producer.clone(), set.clone())).or_default();
                so_far.extend(owner);
                assert!(found.ready_on.iter().all(|on| so_far.contains(on)), "{set} on {:?}", found.ready_on);
            }
            world.run_for(SECOND_US / 5);
        }
        assert!(owners.values().any(|owners| owners.len() > 1));
    }
}
