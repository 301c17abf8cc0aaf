//! What a maestro knows of what an earlier one has done.

use std::collections::BTreeSet;

use maestro::cluster::{Cluster, PluginConfig};
use maestro::conductor::Memory;
use maestro::ldmsd::{Attribute, Verb};
use maestro::notation::{Name, Permission};

use super::clusters::{fixture, generated};
use super::faults::without;
use super::world::{SECOND_US, World};
use crate::daemon::Imitation;

/// A world in which maestro has done its work and is gone.
fn left_alone(imitation: Imitation, cluster: Cluster) -> World {
    let mut world = World::new(1, imitation, cluster);
    world.start_maestro();
    world.run_for(20 * SECOND_US);
    assert_eq!(world.faults_of_state(), [""; 0]);
    world.stop_maestro();
    world
}

/// maestro comes back, perhaps with another configuration: what it sends, as `daemon verb name`.
fn sent_at_return(world: &mut World, change: impl FnOnce(&mut Cluster)) -> BTreeSet<String> {
    let mut cluster = (*world.cluster).clone();
    change(&mut cluster);
    world.configure(cluster);
    let begin_us = world.now_us();
    world.start_maestro();
    world.run_for(20 * SECOND_US);
    assert_eq!(world.history.violations, [""; 0]);
    sent_since(world, begin_us)
}

fn sent_since(world: &World, begin_us: u64) -> BTreeSet<String> {
    let sent = world.history.commands_since(begin_us).map(|sent| {
        let subject = sent.command.get(Attribute::Name).or(sent.command.get(Attribute::Regex)).unwrap_or_default();
        format!("{} {} {subject}", sent.daemon, sent.command.verb)
    });
    sent.collect()
}

fn name(text: &str) -> Name {
    Name::from(text)
}

fn lines(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn a_restart_sends_nothing_again() {
    for imitation in [Imitation::Main, Imitation::V45, Imitation::V44] {
        for case in ["basic-current", "auth-current", "advertise-current", "streams-current"] {
            let mut world = left_alone(imitation, fixture(case));
            assert_eq!(sent_at_return(&mut world, |_| {}), lines(&[]), "{case} on {imitation:?}");
        }
    }
}

#[test]
fn after_a_takeover_a_restart_sends_nothing_again() {
    let mut world = World::new(1, Imitation::Main, generated(12, 3, 1));
    world.start_maestro();
    world.run_for(20 * SECOND_US);
    world.kill(&name("l1-agg-2"));
    world.run_for(20 * SECOND_US);
    world.stop_maestro();
    assert_eq!(sent_at_return(&mut world, |_| {}), lines(&[]));
}

#[test]
fn a_takeover_of_producers_notes_none_of_them() {
    let mut world = World::new(1, Imitation::Main, generated(12, 3, 1));
    world.start_maestro();
    world.run_for(20 * SECOND_US);
    let before = world.memory.clone();
    world.kill(&name("l1-agg-2"));
    world.run_for(20 * SECOND_US);
    assert_eq!(world.memory.producers, before.producers);
    for (daemon, mut record) in world.memory.daemons.clone() {
        record.cfg_cntr = before.daemons[&daemon].cfg_cntr;
        assert_eq!(record, before.daemons[&daemon], "{daemon}");
    }
}

#[test]
fn a_plugin_configured_otherwise_meanwhile_is_made_anew_and_no_other() {
    for imitation in [Imitation::Main, Imitation::V45] {
        let mut world = left_alone(imitation, fixture("basic-current"));
        let sent = sent_at_return(&mut world, |cluster| {
            let meminfo = cluster.plugins.get_mut(&name("meminfo1")).unwrap();
            let [PluginConfig::Attributes(attributes)] = &mut meminfo.config[..] else { panic!("attributes") };
            attributes.insert("component_id".into(), vec!["7".into()]);
        });
        let each = |number: usize| {
            ["stop", "term", "load", "config", "start"].map(|v| format!("sampler-{number} {v} meminfo1"))
        };
        assert_eq!(sent, (1..=8).flat_map(each).collect(), "{imitation:?}");
        assert_eq!(world.faults_of_state(), [""; 0]);
    }
}

#[test]
fn a_store_configured_otherwise_meanwhile_is_made_anew_with_its_policies() {
    let mut world = left_alone(Imitation::Main, fixture("basic-current"));
    let sent = sent_at_return(&mut world, |cluster| {
        let store = cluster.plugins.values_mut().find(|plugin| plugin.plugin == "store_csv").unwrap();
        store.config = vec![PluginConfig::Line("path=/elsewhere".into())];
    });
    assert!(sent.iter().all(|line| line.starts_with("l2-agg ")), "{sent:?}");
    let verbs: BTreeSet<&str> = sent.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    let expected = ["config", "load", "strgp_add", "strgp_del", "strgp_prdcr_add", "strgp_start", "strgp_stop", "term"];
    assert_eq!(verbs, expected.into());
    assert_eq!(world.faults_of_state(), [""; 0]);
}

#[test]
fn an_authentication_domain_with_other_options_and_another_environment_reach_the_daemons() {
    let mut world = left_alone(Imitation::Main, fixture("auth-current"));
    let sent = sent_at_return(&mut world, |cluster| {
        let domains =
            cluster.daemons.values_mut().flat_map(|daemon| &mut daemon.endpoints).map(|point| &mut point.auth);
        for domain in domains.filter(|domain| domain.name == "ovis1") {
            domain.options.insert("conf".into(), "/tmp/maestro-lab-secret/another.conf".into());
        }
        let sampler = cluster.daemons.get_mut(&name("sampler-1")).unwrap();
        sampler.environment.insert("LDMS_COMPONENT_ID".into(), "7".into());
    });
    for line in ["l1-agg-1 auth_del ovis1", "l1-agg-1 auth_add ovis1", "sampler-1 env"] {
        assert!(sent.iter().any(|sent| sent.trim_end() == line), "no {line:?} in {sent:#?}");
    }
    assert!(sent.iter().all(|line| !line.contains("naive1") && !line.contains("plugin")), "{sent:#?}");
}

/// Others permissions for a producer, a storage policy and an updater.
fn permit_otherwise(cluster: &mut Cluster) {
    let other = Some(Permission(0o700));
    for group in cluster.groups.values_mut() {
        group.producers.get_mut(&name("node-3-10002")).into_iter().for_each(|producer| producer.perm = other);
        group.stores.get_mut(&name("csv-loadavg")).into_iter().for_each(|policy| policy.perm = other);
    }
    cluster.groups.get_mut(&name("l2-agg")).unwrap().updaters[0].perm = other;
}

/// What an edit of permissions has to send: for each object the command that adds it, and to those of an aggregator that
/// no other of them is stopped or made anew.
fn check_permissions(sent: &BTreeSet<String>) {
    for aggregator in ["l1-agg-1", "l1-agg-2", "l1-agg-3"] {
        for verb in ["prdcr_del", "prdcr_add"] {
            assert!(sent.contains(&format!("{aggregator} {verb} node-3-10002")), "{aggregator} {verb}: {sent:#?}");
        }
    }
    let of = |verb: Verb| sent.iter().filter(|line| line.split(' ').nth(1) == Some(&verb.to_string())).count();
    assert_eq!((of(Verb::PrdcrAdd), of(Verb::PrdcrStop)), (3, 1), "{sent:#?}");
    assert_eq!((of(Verb::StrgpAdd), of(Verb::StrgpDel)), (1, 1), "{sent:#?}");
    assert!(sent.contains("l2-agg strgp_add csv-loadavg"), "{sent:#?}");
    let top = |line: &&String| line.starts_with("l2-agg updtr_");
    assert_eq!(sent.iter().filter(top).filter(|line| line.contains("updtr_add ")).count(), 1, "{sent:#?}");
    assert!(!sent.iter().any(|line| line.starts_with("sampler-")), "{sent:#?}");
}

#[test]
fn permissions_that_changed_meanwhile_reach_what_they_are_of_and_nothing_else() {
    for imitation in [Imitation::Main, Imitation::V44] {
        let mut world = left_alone(imitation, fixture("basic-current"));
        check_permissions(&sent_at_return(&mut world, permit_otherwise));
        assert_eq!(world.faults_of_state(), [""; 0]);
        world.stop_maestro();
        assert_eq!(sent_at_return(&mut world, |_| {}), lines(&[]), "the next one knows");
    }
}

#[test]
fn permissions_that_change_reach_what_they_are_of_and_nothing_else() {
    let mut world = left_alone(Imitation::Main, fixture("basic-current"));
    world.memory = Memory::default();
    // This one has found everything as it is, and made nothing.
    assert!(!sent_at_return(&mut world, |_| {}).iter().any(|line| line.contains("_add node")));
    let begin_us = world.now_us();
    let mut cluster = (*world.cluster).clone();
    permit_otherwise(&mut cluster);
    world.configure(cluster);
    world.run_for(20 * SECOND_US);
    assert_eq!(world.history.violations, [""; 0]);
    check_permissions(&sent_since(&world, begin_us));
    assert_eq!(world.faults_of_state(), [""; 0]);
    let begin_us = world.now_us();
    world.run_for(20 * SECOND_US);
    assert_eq!(sent_since(&world, begin_us), lines(&[]));
}

#[test]
fn a_variable_that_left_the_environment_is_told_of_and_one_that_came_is_sent() {
    let edited = |variables: &[(&str, &str)]| {
        let mut cluster = fixture("basic-current");
        let sampler = cluster.daemons.get_mut(&name("sampler-1")).unwrap();
        sampler.environment = variables.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        cluster
    };
    let told = |world: &World| {
        let notices = world.history.notices.iter().map(|(_, notice)| notice.to_string());
        notices.filter(|line| line.contains("has left")).collect::<Vec<_>>()
    };
    let mut world = left_alone(Imitation::Main, edited(&[("A", "1"), ("B", "2")]));
    let sent = sent_at_return(&mut world, |cluster| *cluster = edited(&[("B", "2"), ("C", "3")]));
    assert_eq!(sent, lines(&["sampler-1 env "]));
    assert_eq!(
        told(&world),
        ["environment variable A has left the configuration of sampler-1, which keeps it until it restarts"]
    );
    world.run_for(100 * SECOND_US);
    world.kill(&name("sampler-1"));
    world.run_for(SECOND_US);
    world.restart(&name("sampler-1"));
    world.run_for(20 * SECOND_US);
    assert_eq!(told(&world).len(), 1);
    world.stop_maestro();
    sent_at_return(&mut world, |_| {});
    assert_eq!(told(&world).len(), 1, "it has restarted without the variable");
}

#[test]
fn what_left_the_configuration_meanwhile_leaves_the_daemons() {
    let mut world = left_alone(Imitation::Main, fixture("basic-current"));
    let sent = sent_at_return(&mut world, |cluster| {
        without(cluster, &name("sampler-3"));
        for group in cluster.samplers.values_mut() {
            group.plugins.retain(|plugin| *plugin != name("loadavg1"));
        }
        cluster.groups.get_mut(&name("l2-agg")).unwrap().stores.remove(&name("csv-loadavg"));
    });
    assert_eq!(world.faults_of_state(), [""; 0]);
    for aggregator in ["l1-agg-1", "l1-agg-2", "l1-agg-3"] {
        assert_eq!(world.producers_on(&name(aggregator)).len(), 7, "{aggregator}");
        assert!(sent.contains(&format!("{aggregator} prdcr_del node-3-10002")), "{sent:?}");
    }
    assert_eq!(world.plugins_on(&name("sampler-1")), ["meminfo1"]);
    assert!(sent.contains("l2-agg strgp_del csv-loadavg"), "{sent:?}");
    assert!(!sent.iter().any(|line| line.starts_with("sampler-") && line.contains("meminfo1")), "{sent:?}");
    // The next one has nothing to do, and nothing is kept of what is gone.
    world.stop_maestro();
    assert_eq!(sent_at_return(&mut world, |_| {}), lines(&[]));
    let noted = format!("{:?}", world.memory);
    for gone in ["sampler-3", "node-3-10002", "csv-loadavg"] {
        assert!(!noted.contains(gone), "{gone} in {noted}");
    }
}

#[test]
fn an_aggregator_that_was_down_is_rid_of_what_left_when_it_is_back() {
    // Its process goes on, cut off from maestro, over two restarts.
    let mut world = left_alone(Imitation::Main, fixture("basic-current"));
    let away = name("l1-agg-2");
    world.cut(&away, true);
    let mut cluster = (*world.cluster).clone();
    without(&mut cluster, &name("sampler-3"));
    world.configure(cluster);
    world.start_maestro();
    world.run_for(20 * SECOND_US);
    world.stop_maestro();
    world.start_maestro();
    world.run_for(5 * SECOND_US);
    assert_eq!(world.producers_on(&away).len(), 8);
    world.heal(&away);
    world.run_for(30 * SECOND_US);
    assert_eq!(world.producers_on(&away).len(), 7);
    assert_eq!(world.faults_of_state(), [""; 0]);
}

#[test]
fn a_group_that_left_meanwhile_leaves_its_aggregators_empty() {
    let mut world = left_alone(Imitation::Main, fixture("three-levels-current"));
    sent_at_return(&mut world, |cluster| {
        cluster.groups.remove(&name("l3-agg"));
    });
    assert_eq!(world.faults_of_state(), [""; 0]);
    let top = name("l3-agg");
    assert_eq!(world.producers_on(&top).len(), 0);
    assert_eq!(world.plugins_on(&top), [""; 0]);
    assert!(world.memory.producers.keys().all(|(group, _)| *group != top), "{:?}", world.memory.producers);
}

#[test]
fn advertisers_and_listeners_that_left_meanwhile_are_stopped() {
    let mut world = left_alone(Imitation::Main, fixture("advertise-current"));
    let sent = sent_at_return(&mut world, |cluster| {
        for group in cluster.samplers.values_mut() {
            group.advertisers.clear();
        }
        for group in cluster.groups.values_mut() {
            group.listeners.clear();
        }
    });
    let of = |verb: Verb| sent.iter().filter(|line| line.split(' ').nth(1) == Some(&verb.to_string())).count();
    assert!(of(Verb::AdvertiserStop) > 0 && of(Verb::PrdcrListenStop) == 3, "{sent:?}");
}

#[test]
fn a_daemon_that_restarted_meanwhile_is_configured_anew() {
    for imitation in [Imitation::Main, Imitation::V44] {
        let mut world = left_alone(imitation, fixture("basic-current"));
        for restarted in ["sampler-2", "l2-agg"] {
            world.kill(&name(restarted));
            world.restart(&name(restarted));
        }
        let sent = sent_at_return(&mut world, |_| {});
        let (top, sampler): (Vec<&str>, Vec<&str>) =
            sent.iter().map(String::as_str).partition(|line| line.starts_with("l2-agg "));
        assert!(sampler.iter().all(|line| line.starts_with("sampler-2 ")), "{sent:?}");
        assert!(sampler.iter().any(|line| line.contains(" config ")), "{sent:?}");
        // What no daemon shows as well.
        assert!(top.contains(&"l2-agg auth_add none"), "{sent:?}");
        assert_eq!(world.faults_of_state(), [""; 0]);
    }
}

#[test]
fn a_sampler_that_somebody_stopped_meanwhile_is_started() {
    let mut world = left_alone(Imitation::Main, fixture("basic-current"));
    let stop = maestro::ldmsd::Command::new(Verb::Stop).with(Attribute::Name, "meminfo1");
    world.meddle(&name("sampler-2"), &stop);
    let sent = sent_at_return(&mut world, |_| {});
    assert!(
        sent.contains("sampler-2 start meminfo1") && sent.iter().all(|line| line.starts_with("sampler-2 ")),
        "{sent:?}"
    );
}

#[test]
fn notes_that_are_lost_cost_nothing_but_some_commands_that_change_nothing() {
    let mut world = left_alone(Imitation::Main, fixture("basic-current"));
    world.memory = Memory::default();
    let sent = sent_at_return(&mut world, |_| {});
    let is_harmless = |line: &String| [" auth_add ", " start ", " config csv1"].iter().any(|verb| line.contains(verb));
    assert!(!sent.is_empty() && sent.iter().all(is_harmless), "{sent:?}");
    assert_eq!(world.faults_of_state(), [""; 0]);
}
