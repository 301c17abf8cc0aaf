//! Single faults, with what an operator may count on.

use std::collections::{BTreeMap, BTreeSet};

use maestro::cluster::{Cluster, PluginConfig};
use maestro::conductor::Notice;
use maestro::ldmsd::{Attribute, Command, Verb};
use maestro::notation::{Interval, Name};

use super::clusters::{fixture, generated};
use super::history::Sent;
use super::world::{SECOND_US, World};
use crate::daemon::Imitation;

/// A world in which all is well.
pub(super) fn calm(seed: u64, cluster: Cluster) -> World {
    let mut world = World::new(seed, Imitation::Main, cluster);
    world.start_maestro();
    world.run_for(20 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
    world
}

pub(super) fn name(text: &str) -> Name {
    Name::from(text)
}

/// How often each producer of a group runs on the aggregators that are up, and how many run on each of them.
pub(crate) fn running(world: &mut World, group: &str) -> (BTreeMap<Name, usize>, BTreeMap<Name, usize>) {
    let group = world.cluster.groups[&name(group)].clone();
    let (mut of_producer, mut of_aggregator) = (BTreeMap::new(), BTreeMap::new());
    for aggregator in group.aggregators.iter().filter(|aggregator| world.is_up(aggregator)).cloned().collect::<Vec<_>>()
    {
        let started = world.producers_on(&aggregator).into_iter().filter(|(_, found)| found.state.is_started());
        for (producer, _) in started {
            *of_producer.entry(producer).or_default() += 1;
            *of_aggregator.entry(aggregator.clone()).or_default() += 1;
        }
    }
    (of_producer, of_aggregator)
}

fn violations(world: &World) -> &[String] {
    &world.history.violations
}

#[test]
fn the_rest_of_a_large_group_shares_a_lost_aggregators_work_at_once() {
    let mut world = calm(1, generated(60, 5, 2));
    let begin_us = world.now_us();
    world.kill(&name("l1-agg-2"));
    world.run_for(SECOND_US);
    let (of_producer, of_aggregator) = running(&mut world, "l1-agg-[1-5]");
    assert_eq!(of_producer.len(), 60);
    assert!(of_producer.values().all(|count| *count == 1), "{of_producer:?}");
    assert_eq!(of_aggregator.values().copied().collect::<Vec<_>>(), [15, 15, 15, 15]);
    let stops = world.history.commands_since(begin_us).filter(|sent| sent.command.verb == Verb::PrdcrStop);
    assert_eq!(stops.count(), 0, "who is collected already stays where it is");
    assert_eq!(violations(&world), [""; 0]);
}

#[test]
fn an_aggregator_that_returns_gets_its_work_back_without_a_lost_sample() {
    for seed in 0..5 {
        let mut world = calm(seed, generated(12, 3, 1));
        world.kill(&name("l1-agg-1"));
        world.run_for(10 * SECOND_US);
        world.restart(&name("l1-agg-1"));
        let returned_us = world.now_us();
        world.run_for(30 * SECOND_US);
        assert_eq!(world.faults_of_state(), [""; 0]);
        assert_eq!(world.lost_samples(returned_us), [""; 0]);
        let moved: usize = world
            .history
            .notices
            .iter()
            .map(|(_, notice)| if let Notice::Moved { producers, .. } = notice { *producers } else { 0 })
            .sum();
        assert_eq!(moved, 4, "its own four, nobody else");
        assert_eq!(violations(&world), [""; 0]);
    }
}

#[test]
fn a_hung_aggregator_that_wakes_keeps_nothing_and_stops_nothing_early() {
    for seed in 0..5 {
        let mut world = calm(seed, fixture("basic-current"));
        let hung_us = world.now_us();
        world.hang(&name("l1-agg-1"));
        world.run_for(5 * SECOND_US);
        world.resume(&name("l1-agg-1"));
        world.run_for(3 * SECOND_US);
        let stops = world.history.commands_since(hung_us).filter(|sent| sent.command.verb == Verb::PrdcrStop);
        assert!(stops.map(|sent| &sent.daemon).all(|daemon| *daemon == name("l1-agg-1")));
        world.run_for(40 * SECOND_US);
        assert_eq!(world.faults_of_state(), [""; 0]);
        assert_eq!(violations(&world), [""; 0]);
    }
}

#[test]
fn an_aggregator_that_flaps_moves_its_producers_a_few_times_only() {
    let mut world = calm(1, fixture("basic-current"));
    let flapping = name("l1-agg-2");
    for _ in 0..60 {
        world.kill(&flapping);
        world.run_for(SECOND_US);
        world.restart(&flapping);
        world.run_for(9 * SECOND_US);
    }
    let moves = world.history.notices.iter().filter(|(_, notice)| matches!(notice, Notice::Moving { .. })).count();
    // Two aggregators hand over at each return, and the first few returns are forgiven.
    assert!(moves <= 8, "{moves} moves in ten minutes");
    let size = world.conductor_size();
    assert!(size < 300_000, "the conductor has grown to {size}");
    world.run_for(400 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
    assert_eq!(violations(&world), [""; 0]);
}

#[test]
fn what_a_daemon_refuses_is_told_once_tried_seldom_and_stops_nothing_else() {
    for verb in [Verb::StrgpAdd, Verb::UpdtrAdd, Verb::Load] {
        let mut world = World::new(1, Imitation::Main, fixture("basic-current"));
        let refusing = name("l2-agg");
        world.refuse(&refusing, verb);
        world.start_maestro();
        world.run_for(120 * SECOND_US);

        let refused = world.history.commands.iter().filter(|sent| sent.refused);
        let commands: Vec<String> = refused.map(|sent| sent.command.to_string()).collect();
        for command in commands.iter().collect::<BTreeSet<_>>() {
            let tries = commands.iter().filter(|tried| *tried == command).count();
            assert!((5..=8).contains(&tries), "{command}: {tries} tries in two minutes");
        }
        let told = world.history.notices.iter().filter(|(_, notice)| matches!(notice, Notice::Refused { .. })).count();
        assert!(told >= 1);
        let (of_producer, _) = running(&mut world, "l2-agg");
        assert_eq!(of_producer.len(), 3, "producers run in spite of {verb}");
        let others = world.faults_of_state();
        assert!(!others.is_empty() && others.iter().all(|fault| fault.contains("l2-agg")), "{others:?}");

        world.accept(&refusing);
        world.run_for(100 * SECOND_US);
        assert_eq!(world.faults_of_state(), [""; 0]);
        assert_eq!(violations(&world), [""; 0]);
    }
}

#[test]
fn an_address_that_a_daemon_cannot_listen_on_is_never_said_to_have_worked() {
    let mut world = World::new(1, Imitation::Main, fixture("multi-endpoint-current"));
    let endpoints = world.cluster.daemons.values().flat_map(|daemon| daemon.endpoints.iter().map(move |e| (daemon, e)));
    let (daemon, port) =
        endpoints.filter(|(_, e)| !e.maestro_comm).map(|(daemon, e)| (daemon.name.clone(), e.port)).next().unwrap();
    world.network.taken_ports.insert(port);
    world.start_maestro();
    world.run_for(100 * SECOND_US);
    let told = |world: &World| -> Vec<String> {
        let notices = world.history.notices.iter().map(|(_, notice)| notice.to_string());
        notices.filter(|line| line.starts_with(&*daemon) && line.contains("listener")).collect()
    };
    let first = told(&world);
    assert!(first.len() == 1 && first[0].contains("answered 8"), "{first:#?}");
    // The port is free again: only another run of the daemon listens there.
    world.network.taken_ports.clear();
    world.run_for(100 * SECOND_US);
    assert_eq!(told(&world), first);
    world.kill(&daemon);
    world.run_for(SECOND_US);
    world.restart(&daemon);
    let begin_us = world.now_us();
    world.run_for(20 * SECOND_US);
    assert_eq!(told(&world), first);
    let is_tried = |sent: &&Sent| sent.daemon == daemon && sent.command.verb == Verb::Listen;
    assert_eq!(world.history.commands_since(begin_us).filter(is_tried).count(), 1);
}

#[test]
fn a_new_maestro_adopts_what_it_finds_while_an_aggregator_is_down() {
    let mut world = calm(1, fixture("basic-current"));
    world.kill(&name("l1-agg-3"));
    world.run_for(20 * SECOND_US);
    let owners = world.owners();
    let begin_us = world.now_us();
    world.start_maestro();
    world.run_for(30 * SECOND_US);
    assert_eq!(world.owners(), owners);
    let moved = world.history.commands_since(begin_us).filter(|sent| {
        matches!(sent.command.verb, Verb::PrdcrStop | Verb::PrdcrStartRegex | Verb::PrdcrStart | Verb::UpdtrAdd)
    });
    assert_eq!(moved.count(), 0);
}

#[test]
fn a_producer_with_another_reconnect_interval_or_quota_is_made_anew_and_no_other_is_touched() {
    let mut world = calm(1, fixture("basic-current"));
    let mut cluster = (*world.cluster).clone();
    let group = cluster.groups.get_mut(&name("l1-agg-[1-3]")).unwrap();
    let changed = name("node-4-10002");
    let producer = group.producers.get_mut(&changed).unwrap();
    producer.reconnect = Interval::from_us(3_000_000);
    producer.quota = Some("1M".into());
    let begin_us = world.now_us();
    world.configure(cluster);
    world.run_for(20 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
    assert_eq!(violations(&world), [""; 0]);
    for aggregator in ["l1-agg-1", "l1-agg-2", "l1-agg-3"] {
        let found = world.producers_on(&name(aggregator)).remove(&changed).unwrap();
        assert_eq!((found.reconnect_us, found.quota.as_deref()), (Some(3_000_000), Some("1MB")), "{aggregator}");
    }
    let touched = |verb: Verb| -> BTreeSet<String> {
        let sent = world.history.commands_since(begin_us).filter(|sent| sent.command.verb == verb);
        sent.filter_map(|sent| sent.command.get(Attribute::Name).map(str::to_owned)).collect()
    };
    for verb in [Verb::PrdcrStop, Verb::PrdcrDel, Verb::PrdcrAdd] {
        assert_eq!(touched(verb), [changed.to_string()].into(), "{verb:?}");
    }
}

#[test]
fn a_producer_that_cannot_be_deleted_goes_on_as_it_is() {
    let mut world = calm(1, fixture("basic-current"));
    let changed = name("node-4-10002");
    // Who starts a producer by name makes it undeletable.
    let owner = name("l1-agg-2");
    let by_name = |verb| Command::new(verb).with(Attribute::Name, &changed);
    world.meddle(&owner, &by_name(Verb::PrdcrStop));
    world.run_for(SECOND_US / 10);
    world.meddle(&owner, &by_name(Verb::PrdcrStart));
    world.run_for(20 * SECOND_US);
    let mut cluster = (*world.cluster).clone();
    let group = cluster.groups.get_mut(&name("l1-agg-[1-3]")).unwrap();
    group.producers.get_mut(&changed).unwrap().reconnect = Interval::from_us(3_000_000);
    let begin_us = world.now_us();
    world.configure(cluster);
    world.run_for(60 * SECOND_US);
    let found = world.producers_on(&owner).remove(&changed).unwrap();
    assert!(found.state.is_started(), "{found:?}");
    let tries = world
        .history
        .commands_since(begin_us)
        .filter(|sent| sent.daemon == owner && sent.command.verb == Verb::PrdcrDel);
    assert!(tries.count() <= 5);
    let told = world.history.notices.iter().filter(|(_, notice)| matches!(notice, Notice::Refused { .. })).count();
    assert_eq!(told, 1);
}

/// The names that a verb has been sent with since then, by daemon.
pub(super) fn sent(world: &World, begin_us: u64, verb: Verb) -> BTreeSet<(String, String)> {
    let commands = world.history.commands_since(begin_us).filter(|sent| sent.command.verb == verb);
    let names =
        commands.filter_map(|sent| Some((sent.daemon.to_string(), sent.command.get(Attribute::Name)?.to_owned())));
    names.collect()
}

#[test]
fn a_plugin_and_a_policy_that_leave_the_configuration_leave_the_daemons() {
    let mut world = calm(1, fixture("basic-current"));
    let mut cluster = (*world.cluster).clone();
    for group in cluster.samplers.values_mut() {
        group.plugins.retain(|plugin| *plugin != name("loadavg1"));
    }
    cluster.groups.get_mut(&name("l2-agg")).unwrap().stores.remove(&name("csv-loadavg"));
    let begin_us = world.now_us();
    world.configure(cluster);
    world.run_for(20 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
    assert_eq!(violations(&world), [""; 0]);
    let everywhere: BTreeSet<(String, String)> =
        (1..=8).map(|number| (format!("sampler-{number}"), "loadavg1".to_owned())).collect();
    assert_eq!(sent(&world, begin_us, Verb::Term), everywhere);
    assert_eq!(sent(&world, begin_us, Verb::StrgpDel), [("l2-agg".to_owned(), "csv-loadavg".to_owned())].into());
    assert_eq!(world.plugins_on(&name("sampler-3")), ["meminfo1"]);
    assert_eq!(sent(&world, begin_us, Verb::Start), BTreeSet::new(), "nothing else is touched");
    assert_eq!(sent(&world, begin_us, Verb::StrgpAdd), BTreeSet::new());
}

#[test]
fn a_store_with_another_configuration_is_loaded_anew_with_its_policies() {
    let mut world = calm(1, fixture("basic-current"));
    let mut cluster = (*world.cluster).clone();
    let plugin = cluster.plugins.get_mut(&name("csv1")).unwrap();
    plugin.config = vec![PluginConfig::Line("path=/tmp/other".into())];
    let begin_us = world.now_us();
    world.configure(cluster);
    world.run_for(10 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
    let mut lines: Vec<String> =
        world.history.commands_since(begin_us).map(|sent| format!("{}: {}", sent.daemon, sent.command)).collect();
    lines.reverse();
    let index = |line: &str| {
        lines.iter().position(|sent| sent.starts_with(line)).unwrap_or_else(|| panic!("{line}: {lines:#?}"))
    };
    assert!(index("l2-agg: strgp_del name=csv-meminfo") < index("l2-agg: term name=csv1"));
    assert!(index("l2-agg: term name=csv1") < index("l2-agg: config name=csv1 path=/tmp/other"));
    assert!(index("l2-agg: config name=csv1") < index("l2-agg: strgp_add name=csv-meminfo"));
}

#[test]
fn a_group_that_leaves_the_configuration_collects_no_more() {
    let mut world = calm(1, fixture("three-levels-current"));
    let mut cluster = (*world.cluster).clone();
    cluster.groups.remove(&name("l3-agg"));
    world.configure(cluster);
    world.run_for(20 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
    assert_eq!(violations(&world), [""; 0]);
    let top = name("l3-agg");
    assert_eq!(world.producers_on(&top).len(), 0);
    assert_eq!(world.plugins_on(&top), [""; 0]);
}

/// The producers that advertised themselves, by the aggregators that run them.
fn advertised(world: &mut World, aggregators: &[&str]) -> BTreeMap<Name, Vec<Name>> {
    let mut owners: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
    for aggregator in aggregators.iter().map(|aggregator| name(aggregator)) {
        if !world.is_up(&aggregator) {
            continue;
        }
        for (producer, found) in world.producers_on(&aggregator) {
            let owners = owners.entry(producer).or_default();
            if found.state.is_started() {
                owners.push(aggregator.clone());
            }
        }
    }
    owners
}

fn loads(owners: &BTreeMap<Name, Vec<Name>>) -> Vec<usize> {
    let mut loads: BTreeMap<&Name, usize> = BTreeMap::new();
    for owner in owners.values().flatten() {
        *loads.entry(owner).or_default() += 1;
    }
    loads.into_values().collect()
}

#[test]
fn daemons_that_advertise_themselves_are_shared_out_taken_over_and_come_home() {
    const AGGREGATORS: [&str; 3] = ["l1-agg-1", "l1-agg-2", "l1-agg-3"];
    for seed in 0..5 {
        let mut world = calm(seed, fixture("advertise-current"));
        let first = advertised(&mut world, &AGGREGATORS);
        assert_eq!(first.len(), 6, "{first:?}");
        assert!(first.values().all(|owners| owners.len() == 1), "{first:?}");
        assert_eq!(loads(&first), [2, 2, 2]);

        world.kill(&name("l1-agg-2"));
        world.run_for(SECOND_US);
        let lost = advertised(&mut world, &AGGREGATORS);
        assert!(lost.values().all(|owners| owners.len() == 1), "{lost:?}");
        assert_eq!(loads(&lost), [3, 3]);
        for (producer, owners) in first.iter().filter(|(_, owners)| owners[0] != name("l1-agg-2")) {
            assert_eq!(lost[producer], *owners, "who stayed stays");
        }
        world.run_for(10 * SECOND_US);

        world.restart(&name("l1-agg-2"));
        let returned_us = world.now_us();
        world.run_for(30 * SECOND_US);
        let back = advertised(&mut world, &AGGREGATORS);
        assert!(back.values().all(|owners| owners.len() == 1), "{back:?}");
        assert_eq!(loads(&back), [2, 2, 2]);
        assert_eq!(world.lost_samples(returned_us), [""; 0]);
        assert_eq!(world.faults_of_state(), [""; 0]);
        assert_eq!(violations(&world), [""; 0]);

        let begin_us = world.now_us();
        world.start_maestro();
        world.run_for(20 * SECOND_US);
        assert_eq!(advertised(&mut world, &AGGREGATORS), back, "a restart of maestro moves nothing");
        let sent = world.history.commands_since(begin_us);
        let moved = sent.filter(|sent| matches!(sent.command.verb, Verb::PrdcrStop | Verb::PrdcrStartRegex));
        assert_eq!(moved.count(), 0);
    }
}

#[test]
fn aggregators_that_come_up_one_after_the_other_share_the_work_at_once() {
    let mut world = World::new(1, Imitation::Main, fixture("basic-current"));
    let aggregators = ["l1-agg-1", "l1-agg-2", "l1-agg-3"].map(name);
    for aggregator in &aggregators {
        world.kill(aggregator);
    }
    world.start_maestro();
    world.run_for(SECOND_US);
    for aggregator in &aggregators {
        world.restart(aggregator);
        world.run_for(SECOND_US / 2);
    }
    world.run_for(4 * SECOND_US);
    let (of_producer, of_aggregator) = running(&mut world, "l1-agg-[1-3]");
    assert_eq!(of_producer.len(), 8);
    assert_eq!(of_aggregator.values().copied().collect::<Vec<_>>(), [3, 3, 2]);
    world.run_for(20 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
}
