//! Somebody else changes what no daemon shows.

use maestro::ldmsd::{Attribute, Command, Verb};
use maestro::notation::Name;

use super::clusters::fixture;
use super::scenarios::{calm, name};
use super::world::{SECOND_US, World};

/// Samplers are probed every ten seconds.
const NOTICED_US: u64 = 11 * SECOND_US;

/// Whether the set of a schema of a daemon gets another sample within two intervals.
fn is_sampled(world: &mut World, daemon: &Name, schema: &str) -> bool {
    let sampled_us = |world: &World| {
        let sets = world.network.daemon(world.host(daemon)).unwrap().directory_sets(world.now_us());
        sets.iter().find(|set| set.schema == schema).unwrap().sampled_us
    };
    let before_us = sampled_us(world);
    world.run_for(2 * SECOND_US);
    sampled_us(world) > before_us
}

#[test]
fn a_sampler_plugin_that_somebody_stops_again_and_again_is_started_each_time() {
    let mut world = calm(1, fixture("basic-current"));
    let sampler = name("sampler-3");
    let stop = Command::new(Verb::Stop).with(Attribute::Name, "meminfo1");
    for round in 0..3 {
        world.meddle(&sampler, &stop);
        world.run_for(NOTICED_US);
        assert!(is_sampled(&mut world, &sampler, "meminfo"), "stopped {} times", round + 1);
    }
    // Who goes on so may be another maestro, and is answered once a minute; but is answered.
    for _ in 0..3 {
        world.meddle(&sampler, &stop);
        world.run_for(4 * SECOND_US);
    }
    world.run_for(60 * SECOND_US);
    assert!(is_sampled(&mut world, &sampler, "meminfo"));
    assert_eq!(world.faults_of_state(), [""; 0]);
    let begin_us = world.now_us();
    world.run_for(200 * SECOND_US);
    assert_eq!(world.history.commands_since(begin_us).count(), 0, "nothing is doubted any more");
}
