//! Subscriptions take hold when a connection is made, if the services of its source are on by then.

use std::collections::BTreeSet;

use maestro::cluster::Cluster;
use maestro::conductor::Notice;
use maestro::ldmsd::{Attribute, Command, Verb};
use maestro::notation::Name;

use super::clusters::fixture;
use super::scenarios::{calm, name, sent};
use super::world::{SECOND_US, World};
use crate::daemon::Imitation;

/// The aggregators' producers that run without the streams that they subscribed to.
fn without_streams(world: &mut World, aggregators: &[&str]) -> Vec<Name> {
    let mut without = Vec::new();
    for aggregator in aggregators.iter().map(|aggregator| name(aggregator)) {
        let started = world.producers_on(&aggregator).into_iter().filter(|(_, found)| found.state.is_started());
        let host = world.host(&aggregator).to_owned();
        without.extend(started.map(|(producer, _)| producer).filter(|name| !world.network.gets_streams(&host, name)));
    }
    without
}

#[test]
fn a_subscription_is_in_force_again_after_a_daemon_came_back_without_its_services() {
    const AGGREGATORS: [&str; 2] = ["l1-agg-1", "l1-agg-2"];
    let mut reconnected = 0;
    for seed in 0..8 {
        let mut world = calm(seed, fixture("streams-current"));
        assert_eq!(without_streams(&mut world, &AGGREGATORS), [""; 0]);
        let sampler = name("sampler-2");
        world.kill(&sampler);
        world.run_for((seed + 1) * SECOND_US / 2);
        let returned_us = world.now_us();
        world.restart(&sampler);
        world.run_for(20 * SECOND_US);
        assert_eq!(world.faults_of_state(), [""; 0]);
        assert_eq!(without_streams(&mut world, &AGGREGATORS), [""; 0], "seed {seed}");
        assert_eq!(without_messages(&mut world, &AGGREGATORS), [""; 0], "seed {seed}");
        let stopped = sent(&world, returned_us, Verb::PrdcrStop);
        assert!(stopped.iter().all(|(_, producer)| producer == "node-2-10002"), "{stopped:?}");
        reconnected += stopped.len();

        let begin_us = world.now_us();
        world.start_maestro();
        world.run_for(20 * SECOND_US);
        assert_eq!(sent(&world, begin_us, Verb::PrdcrStop), BTreeSet::new(), "a new maestro leaves connections alone");
    }
    assert!((1..8).contains(&reconnected), "only one that connected too early connects again: {reconnected} of 8");
}

/// The aggregators' producers that run without the messages that they subscribed to.
fn without_messages(world: &mut World, aggregators: &[&str]) -> Vec<String> {
    let mut without = Vec::new();
    for aggregator in aggregators.iter().map(|aggregator| name(aggregator)) {
        let started = world.producers_on(&aggregator).into_iter().filter(|(_, found)| found.state.is_started());
        let host = world.host(&aggregator).to_owned();
        for (producer, _) in started {
            let slurm = ["node-1-", "node-2-"].iter().any(|begin| producer.starts_with(begin)).then_some("slurm");
            let wanted: BTreeSet<String> = slurm.into_iter().chain(["darshan"]).map(str::to_owned).collect();
            let tags = world.network.tags_in_force(&host, &producer);
            if tags != wanted {
                without.push(format!("{producer} on {aggregator} has {tags:?}"));
            }
        }
    }
    without
}

/// The cluster before anybody subscribed to anything.
fn without_subscriptions() -> Cluster {
    let mut cluster = fixture("streams-current");
    cluster.groups.get_mut(&name("l1-agg-[1-2]")).unwrap().subscriptions.clear();
    cluster.daemons.values_mut().for_each(|daemon| {
        daemon.stream_enable = None;
        daemon.msg_enable = None;
    });
    cluster
}

#[test]
fn a_subscription_that_is_new_since_the_last_maestro_comes_into_force() {
    let mut world = calm(1, without_subscriptions());
    world.stop_maestro();
    world.configure(fixture("streams-current"));
    let begin_us = world.now_us();
    world.start_maestro();
    world.run_for(20 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
    assert_eq!(without_streams(&mut world, &["l1-agg-1", "l1-agg-2"]), [""; 0]);
    assert_eq!(without_messages(&mut world, &["l1-agg-1", "l1-agg-2"]), [""; 0]);
    assert_eq!(sent(&world, begin_us, Verb::PrdcrStop).len(), 4, "each is connected anew, once");
    let begin_us = world.now_us();
    world.start_maestro();
    world.run_for(20 * SECOND_US);
    assert_eq!(world.history.commands_since(begin_us).count(), 0, "the next maestro has nothing to do");
}

#[test]
fn subscriptions_that_a_daemon_counts_are_taken_for_nobody_elses_commands() {
    for seed in 0..8 {
        let mut world = World::new(seed, Imitation::Main, fixture("streams-current"));
        world.start_maestro();
        world.run_for(3 * SECOND_US);
        assert_eq!(world.faults_of_state(), [""; 0]);
        let settled_us = world.now_us();
        // Before anybody would have asked the samplers again, and long after.
        for rest in [SECOND_US, 60 * SECOND_US] {
            world.run_for(rest);
            world.start_maestro();
            world.run_for(3 * SECOND_US);
        }
        let sent: Vec<String> = world.history.commands_since(settled_us).map(|sent| sent.command.to_string()).collect();
        assert_eq!(sent, [""; 0], "seed {seed}");
        // A new connection counts again.
        world.kill(&name("l1-agg-1"));
        world.run_for(20 * SECOND_US);
        let to_samplers = |world: &World| -> Vec<String> {
            let sent = world.history.commands_since(settled_us);
            sent.filter(|sent| sent.daemon.starts_with("sampler")).map(|sent| sent.command.to_string()).collect()
        };
        assert_eq!(to_samplers(&world), [""; 0], "seed {seed}");
        let stop = Command::new(Verb::Stop).with(Attribute::Name, "meminfo1");
        world.meddle(&name("sampler-2"), &stop);
        world.run_for(20 * SECOND_US);
        let sent = to_samplers(&world);
        assert!(sent.iter().any(|line| line.starts_with("start name=meminfo1")), "somebody else is noticed: {sent:?}");
    }
}

#[test]
fn what_is_subscribed_to_no_more_is_told_of_once() {
    let mut world = calm(1, fixture("streams-current"));
    world.configure(without_subscriptions());
    world.run_for(20 * SECOND_US);
    let told = |world: &World| -> Vec<String> {
        let notices = world.history.notices.iter().map(|(_, notice)| notice);
        notices.filter(|n| matches!(n, Notice::Lingers { .. })).map(ToString::to_string).collect()
    };
    let first = told(&world);
    assert_eq!(first.len(), 2 * 3, "{first:#?}");
    let expected = "subscription stream kokkos-perf-data .* has left the configuration of l1-agg-2, which keeps it until it restarts";
    assert!(first.iter().any(|line| line == expected), "{first:#?}");
    world.run_for(100 * SECOND_US);
    assert_eq!(told(&world), first);
    // What comes back is not complained of any more, and sent again for those who have come meanwhile.
    world.configure(fixture("streams-current"));
    world.run_for(20 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
    assert_eq!(told(&world), first);
}

#[test]
fn a_subscription_that_is_new_in_the_configuration_comes_into_force() {
    let mut world = calm(1, without_subscriptions());
    let begin_us = world.now_us();
    world.configure(fixture("streams-current"));
    world.run_for(20 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
    assert_eq!(without_streams(&mut world, &["l1-agg-1", "l1-agg-2"]), [""; 0]);
    assert_eq!(without_messages(&mut world, &["l1-agg-1", "l1-agg-2"]), [""; 0]);
    assert_eq!(sent(&world, begin_us, Verb::PrdcrStop).len(), 4);
    // What goes on with the services on is left alone.
    let begin_us = world.now_us();
    world.configure({
        let mut cluster = fixture("streams-current");
        cluster.groups.get_mut(&name("l1-agg-[1-2]")).unwrap().subscriptions.truncate(1);
        cluster
    });
    world.run_for(20 * SECOND_US);
    assert_eq!(sent(&world, begin_us, Verb::PrdcrStop), BTreeSet::new());
}
