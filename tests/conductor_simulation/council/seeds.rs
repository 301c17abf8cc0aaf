//! Worlds with three instances, with faults of instances, of the board and of daemons drawn from seeds.

use super::super::seeds::{FAULTS_US, chosen_seeds, come_to_rest, stay_at_rest, try_all, world};
use super::super::world::{SECOND_US, World};

/// How many worlds are tried, and which one alone.
const SEEDS: &str = "MAESTRO_COUNCIL_SEEDS";
const SEED: &str = "MAESTRO_COUNCIL_SEED";
const USUAL_SEEDS: u64 = 30;
/// Worlds in which an instance stopped what nobody else collected yet, because the leader did not know yet that it ran
/// there, and in which an aggregator that came from one instance to another was never trusted again.
const REGRESSIONS: [u64; 4] = [10, 32, 35, 44];
/// The same, of worlds balanced by sets, whose updaters come and go with the parts of producers.
const REGRESSIONS_BY_SETS: [u64; 1] = [113];

#[test]
fn every_world_with_three_instances_comes_to_rest_and_nothing_is_lost_on_the_way() {
    try_all(&chosen_seeds((SEEDS, SEED), USUAL_SEEDS, &REGRESSIONS), live);
}

#[test]
fn balanced_by_sets_every_world_with_three_instances_comes_to_rest_with_one_owner_a_set() {
    try_all(&chosen_seeds((SEEDS, SEED), USUAL_SEEDS, &REGRESSIONS_BY_SETS), |seed| {
        live_in(super::super::by_sets::world(seed), seed)
    });
}

/// Runs the world of a seed; gives what went wrong.
fn live(seed: u64) -> Vec<String> {
    let mut world = world(seed);
    world.settings.standby = seed % 5 == 4;
    live_in(world, seed)
}

fn live_in(mut world: World, seed: u64) -> Vec<String> {
    world.start_council(3);
    if seed.is_multiple_of(2) {
        world.run_for(15 * SECOND_US);
    }
    // Every third world has its daemons in peace.
    if !seed.is_multiple_of(3) {
        world.draw_faults(FAULTS_US);
    }
    world.draw_council_faults(FAULTS_US);
    world.run_for(FAULTS_US + 5 * SECOND_US);
    world.end_faults();
    let ended_us = world.now_us();
    let mut failed = come_to_rest(&mut world);
    failed.append(&mut world.history.violations);
    if failed.is_empty() {
        failed.extend(stay_at_rest(&mut world, 20 * SECOND_US));
        failed.extend(world.lost_samples(ended_us + 1));
        failed.extend(world.samples_lost_at_rest());
    }
    failed
}
