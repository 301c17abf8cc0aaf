//! Single faults of instances, with what an operator may count on.

use std::collections::BTreeSet;

use maestro::conductor::Part;
use maestro::ldmsd::Verb;

use super::super::clusters::{fixture, generated};
use super::super::history::Sent;
use super::super::scenarios::{name, running};
use super::super::world::{MS_US, SECOND_US, World};
use super::faults::CouncilFault;
use crate::daemon::Imitation;

/// Three instances with all at rest.
fn calm_council(seed: u64) -> World {
    let mut world = World::new(seed, Imitation::Main, fixture("basic-current"));
    world.start_council(3);
    world.run_for(20 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
    assert_eq!(leaders(&mut world).len(), 1);
    world
}

fn leaders(world: &mut World) -> Vec<usize> {
    (1..=3).filter(|seat| world.part_of(*seat) == Some(Part::Leader)).collect()
}

fn leader(world: &mut World) -> usize {
    let leaders = leaders(world);
    assert_eq!(leaders.len(), 1);
    leaders[0]
}

/// Starts and stops of producers since then.
fn moves(world: &World, since_us: u64) -> Vec<String> {
    let is_move = |sent: &&Sent| {
        matches!(sent.command.verb, Verb::PrdcrStart | Verb::PrdcrStartRegex | Verb::PrdcrStop | Verb::PrdcrStopRegex)
    };
    world.history.commands_since(since_us).filter(is_move).map(|s| format!("{}: {}", s.daemon, s.command)).collect()
}

fn at_home_and_nothing_lost(world: &mut World, since_us: u64) {
    assert_eq!(world.faults_of_state(), [""; 0]);
    assert_eq!(world.lost_samples(since_us), [""; 0]);
    assert_eq!(world.history.violations, [""; 0]);
}

#[test]
fn each_instance_has_its_block_of_daemons() {
    let mut world = calm_council(1);
    let mut all = BTreeSet::new();
    for seat in 1..=3 {
        world.sit(seat);
        let mine = world.conductor_here().unwrap().standing().mine.clone();
        assert_eq!(mine.len(), [5, 4, 3][seat - 1], "{mine:?}");
        assert!(mine.iter().all(|daemon| world.agents.contains_key(daemon)));
        assert_eq!(world.agents.len(), mine.len());
        all.extend(mine);
    }
    assert_eq!(all.len(), 12);
}

#[test]
fn another_leader_sends_nothing_whichever_way_the_last_one_went() {
    for (seed, resigns) in [(1, false), (2, true), (3, false), (4, true)] {
        let mut world = calm_council(seed);
        let begin_us = world.now_us();
        let first = leader(&mut world);
        world.stop_member(first, resigns);
        world.run_for(if resigns { SECOND_US / 5 } else { 4 * SECOND_US });
        let second = leader(&mut world);
        assert_ne!(first, second);
        world.run_for(20 * SECOND_US);
        world.start_member(first);
        world.run_for(20 * SECOND_US);
        assert_eq!(leader(&mut world), second, "who returns follows");
        let sent = world.history.commands_since(begin_us).map(|s| format!("{}: {}", s.daemon, s.command));
        assert_eq!(sent.collect::<Vec<_>>(), [""; 0], "who gets a daemon knows what it was sent");
        at_home_and_nothing_lost(&mut world, begin_us);
    }
}

#[test]
fn a_leader_that_sleeps_finds_another_when_it_wakes_and_sends_nothing_in_between() {
    for seed in 0..5 {
        let mut world = calm_council(seed);
        let first = leader(&mut world);
        world.pause(first);
        world.run_for(4 * SECOND_US);
        // While it sleeps an aggregator falls, which it must not take for its own affair when it wakes.
        world.kill(&name("l1-agg-2"));
        world.run_for(6 * SECOND_US);
        let woken_us = world.now_us();
        world.wake(first);
        world.run_for(30 * MS_US);
        let by_woken = world.history.commands_since(woken_us).filter(|sent| sent.seat == first);
        assert_eq!(by_woken.count(), 0);
        world.run_for(SECOND_US);
        assert_ne!(leader(&mut world), first);
        world.restart(&name("l1-agg-2"));
        world.run_for(40 * SECOND_US);
        at_home_and_nothing_lost(&mut world, woken_us);
    }
}

#[test]
fn whichever_instance_has_the_lost_aggregator_the_others_take_over_within_half_a_second() {
    for aggregator in ["l1-agg-1", "l1-agg-2", "l1-agg-3"] {
        let mut world = calm_council(1);
        world.kill(&name(aggregator));
        world.run_for(500 * MS_US);
        let (of_producer, of_aggregator) = running(&mut world, "l1-agg-[1-3]");
        assert!(of_producer.len() == 8 && of_producer.values().all(|count| *count == 1), "{of_producer:?}");
        assert_eq!(of_aggregator.values().copied().collect::<Vec<_>>(), [4, 4]);
        world.run_for(10 * SECOND_US);
        let returned_us = world.now_us();
        world.restart(&name(aggregator));
        world.run_for(30 * SECOND_US);
        at_home_and_nothing_lost(&mut world, returned_us);
    }
}

#[test]
fn a_leader_and_an_aggregator_that_fall_together_cost_the_lease_and_no_more() {
    for seed in 0..5 {
        let mut world = calm_council(seed);
        let first = leader(&mut world);
        world.kill(&name("l1-agg-1"));
        world.stop_member(first, false);
        world.run_for(4 * SECOND_US);
        let (of_producer, _) = running(&mut world, "l1-agg-[1-3]");
        assert!(of_producer.len() == 8 && of_producer.values().all(|count| *count == 1), "{of_producer:?}");
        world.restart(&name("l1-agg-1"));
        let returned_us = world.now_us();
        world.run_for(30 * SECOND_US);
        at_home_and_nothing_lost(&mut world, returned_us);
    }
}

#[test]
fn without_quorum_nothing_is_sent_whatever_happens_to_the_daemons() {
    for fault in 0..2 {
        let mut world = calm_council(fault);
        let begin_us = world.now_us();
        if fault == 0 {
            world.suffer_in_council(CouncilFault::BoardDown);
        } else {
            world.stop_member(1, false);
            world.stop_member(2, false);
        }
        world.run_for(4 * SECOND_US);
        world.kill(&name("l1-agg-2"));
        world.kill(&name("sampler-5"));
        world.run_for(20 * SECOND_US);
        world.restart(&name("sampler-5"));
        world.run_for(20 * SECOND_US);
        let sent: Vec<String> =
            world.history.commands_since(begin_us).map(|s| format!("{}: {}", s.daemon, s.command)).collect();
        assert_eq!(sent, [""; 0]);

        world.end_council_faults();
        world.run_for(5 * SECOND_US);
        let (of_producer, _) = running(&mut world, "l1-agg-[1-3]");
        assert!(of_producer.len() == 8 && of_producer.values().all(|count| *count == 1), "{of_producer:?}");
        world.restart(&name("l1-agg-2"));
        let returned_us = world.now_us();
        world.run_for(40 * SECOND_US);
        at_home_and_nothing_lost(&mut world, returned_us);
    }
}

#[test]
fn who_is_cut_off_from_the_others_sends_nothing_once_another_may_lead() {
    for seed in 0..5 {
        let mut world = calm_council(seed);
        let first = leader(&mut world);
        world.suffer_in_council(CouncilFault::CutFromBoard(first));
        world.run_for(3 * SECOND_US + 200 * MS_US);
        // What it would make good at once: it reaches all of its daemons.
        let begin_us = world.now_us();
        world.kill(&name("l1-agg-3"));
        world.run_for(10 * SECOND_US);
        assert_eq!(world.history.commands_since(begin_us).filter(|sent| sent.seat == first).count(), 0);
        let (of_producer, _) = running(&mut world, "l1-agg-[1-3]");
        assert!(of_producer.len() == 8 && of_producer.values().all(|count| *count == 1), "{of_producer:?}");
        world.restart(&name("l1-agg-3"));
        world.suffer_in_council(CouncilFault::ReachBoard(first));
        let returned_us = world.now_us();
        world.run_for(40 * SECOND_US);
        at_home_and_nothing_lost(&mut world, returned_us);
    }
}

#[test]
fn an_instance_that_loses_sight_of_its_daemons_does_not_lead_to_a_stop_there() {
    for seed in 0..5 {
        let mut world = calm_council(seed);
        let begin_us = world.now_us();
        let seat = leader(&mut world);
        world.suffer_in_council(CouncilFault::Blind(seat));
        world.run_for(30 * SECOND_US);
        let stops = world.history.commands_since(begin_us).filter(|sent| sent.command.verb == Verb::PrdcrStop);
        assert_eq!(stops.count(), 0);
        world.suffer_in_council(CouncilFault::See(seat));
        world.run_for(60 * SECOND_US);
        at_home_and_nothing_lost(&mut world, begin_us);
    }
}

#[test]
fn all_instances_may_end_and_come_back_without_a_move() {
    for aggregator_is_down in [false, true] {
        let mut world = calm_council(1);
        if aggregator_is_down {
            world.kill(&name("l1-agg-3"));
            world.run_for(20 * SECOND_US);
        }
        let begin_us = world.now_us();
        for seat in 1..=3 {
            world.stop_member(seat, false);
        }
        world.run_for(5 * SECOND_US);
        for seat in 1..=3 {
            world.start_member(seat);
        }
        world.run_for(30 * SECOND_US);
        assert_eq!(moves(&world, begin_us), [""; 0]);
        assert_eq!(world.history.violations, [""; 0]);
    }
}

#[test]
fn what_is_published_is_little_and_nothing_at_rest() {
    let mut world = World::new(1, Imitation::Main, generated(60, 5, 2));
    world.start_council(3);
    world.run_for(20 * SECOND_US);
    let (reports, plans) = world.board().bytes;
    println!("60 samplers, 5 + 2 aggregators: {reports} bytes of reports and {plans} of plans at the start");
    assert!(reports < 4_000 && plans < 2_000, "{reports} and {plans}");
    world.run_for(200 * SECOND_US);
    assert_eq!(world.board().bytes, (reports, plans));
    world.kill(&name("l1-agg-2"));
    world.run_for(20 * SECOND_US);
    let lost = world.board().bytes;
    println!("{} and {} at a loss", lost.0 - reports, lost.1 - plans);
    world.restart(&name("l1-agg-2"));
    world.run_for(40 * SECOND_US);
    let back = world.board().bytes;
    println!("{} and {} at the return", back.0 - lost.0, back.1 - lost.1);
    assert!(back.0 - reports < 30_000 && back.1 - plans < 10_000, "{back:?}");
    assert_eq!(world.faults_of_state(), [""; 0]);
}
