//! Worlds with faults drawn from seeds.

use std::num::NonZero;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use maestro::ldmsd::Verb;

use super::clusters::{fixture, generated};
use super::world::{SECOND_US, World};
use crate::daemon::Imitation;

/// How many worlds are tried, and which one alone.
const SEEDS: &str = "MAESTRO_SIMULATION_SEEDS";
const SEED: &str = "MAESTRO_SIMULATION_SEED";
const USUAL_SEEDS: u64 = 60;

/// Faults happen during this time.
pub(crate) const FAULTS_US: u64 = 90 * SECOND_US;
/// Afterwards a world must have come to rest: the longest wait for trust, and what follows from it.
const REST_US: u64 = 700 * SECOND_US;
/// Rest is when nothing has happened for so long.
const CALM_US: u64 = 15 * SECOND_US;
/// Every so many worlds are watched for ten minutes once they are at rest, the others for less.
const LONG_WATCH_EVERY: u64 = 40;

/// Failing worlds, and what is wrong with each, are shown up to this number.
const MOST_SHOWN: usize = 8;

/// Worlds beyond the usual ones that once failed: a refused stop was told and tried again and again, and a refusal was
/// told again when the change had grown by another configuration; a stray was stopped as its sets became ready.
const REGRESSIONS: [u64; 4] = [282, 410, 477, 478];

#[test]
fn every_world_comes_to_rest_and_nothing_is_lost_on_the_way() {
    try_all(&seeds(), live);
}

#[test]
fn balanced_by_sets_every_world_comes_to_rest_with_one_owner_a_set() {
    try_all(&seeds(), |seed| live_in(&mut super::by_sets::world(seed), seed));
}

pub(crate) fn try_all(seeds: &[u64], live: impl Fn(u64) -> Vec<String> + Sync) {
    let begin = Instant::now();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let work = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let failed = std::panic::catch_unwind(AssertUnwindSafe(|| live(*seed)))
                .unwrap_or_else(|_| vec!["a panic, see above".into()]);
            let mut failures = failures.lock().unwrap();
            if !failed.is_empty() {
                let text = format!("seed {seed}: {:#?}", &failed[..failed.len().min(MOST_SHOWN)]);
                println!("{text}");
                failures.push(text);
            }
            if failures.len() >= MOST_SHOWN {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    println!("{} worlds in {:.1} s", seeds.len(), begin.elapsed().as_secs_f64());
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

pub(crate) fn seeds() -> Vec<u64> {
    chosen_seeds((SEEDS, SEED), USUAL_SEEDS, &REGRESSIONS)
}

/// The seeds that the environment asks for: by the first variable a number of them, or a range as `5000..6000`, by the
/// second a single one. Otherwise so many as usual, after those that once failed.
pub(crate) fn chosen_seeds((several, single): (&str, &str), usual: u64, regressions: &[u64]) -> Vec<u64> {
    let number = |text: &str| text.trim().parse::<u64>().unwrap();
    if let Ok(seed) = std::env::var(single) {
        return vec![number(&seed)];
    }
    let range = match std::env::var(several) {
        Err(_) => 0..usual,
        Ok(text) => match text.split_once("..") {
            Some((first, end)) => number(first)..number(end),
            None => 0..number(&text),
        },
    };
    regressions.iter().copied().chain(range).collect()
}

pub(crate) fn world(seed: u64) -> World {
    let imitation = [Imitation::Main, Imitation::V45, Imitation::V44][seed as usize % 3];
    let cluster = match seed / 3 % 16 {
        0..5 => fixture("basic-current"),
        5..9 => fixture("three-levels-current"),
        9..14 => fixture("two-groups-current"),
        14 => generated(12, 4, 2),
        _ => generated(24, 5, 2),
    };
    World::new(seed, imitation, cluster)
}

/// Runs the world of a seed; gives what went wrong.
fn live(seed: u64) -> Vec<String> {
    live_in(&mut world(seed), seed)
}

/// Runs a world through the faults of its seed; gives what went wrong.
pub(crate) fn live_in(world: &mut World, seed: u64) -> Vec<String> {
    world.start_maestro();
    let calm_begin = seed.is_multiple_of(2);
    if calm_begin {
        world.run_for(15 * SECOND_US);
    }
    world.draw_faults(FAULTS_US);
    world.run_for(FAULTS_US + 5 * SECOND_US);
    world.end_faults();
    let ended_us = world.now_us();
    let mut failed = come_to_rest(world);
    failed.append(&mut world.history.violations);
    if failed.is_empty() {
        let long = seed.is_multiple_of(LONG_WATCH_EVERY);
        failed.extend(stay_at_rest(world, if long { 600 * SECOND_US } else { 20 * SECOND_US }));
        failed.extend(restart_maestro(world));
        failed.extend(world.lost_samples(ended_us + 1));
        failed.extend(world.samples_lost_at_rest());
    }
    failed
}

pub(crate) fn come_to_rest(world: &mut World) -> Vec<String> {
    let begin_us = world.now_us();
    loop {
        world.run_for(5 * SECOND_US);
        let now_us = world.now_us();
        if !world.history.violations.is_empty() {
            return Vec::new();
        }
        let calm = world.all_connected() && now_us - world.history.last_act_us() >= CALM_US;
        let faults = if calm || now_us - begin_us >= REST_US { world.faults_of_state() } else { Vec::new() };
        if calm && faults.is_empty() {
            return Vec::new();
        }
        if now_us - begin_us >= REST_US {
            let last: Vec<String> = world
                .history
                .commands_since(now_us - CALM_US)
                .take(5)
                .map(|sent| format!("{}: {}", sent.daemon, sent.command))
                .collect();
            return faults.into_iter().chain([format!("no rest after the faults; last commands: {last:?}")]).collect();
        }
    }
}

/// At rest there are questions only, and nothing to tell.
pub(crate) fn stay_at_rest(world: &mut World, us: u64) -> Vec<String> {
    let begin_us = world.now_us();
    let size = world.conductor_size();
    world.run_for(us);
    let commands = world.history.commands_since(begin_us).map(|sent| format!("{}: {}", sent.daemon, sent.command));
    let notices = world.history.notices.iter().filter(|(at_us, _)| *at_us >= begin_us);
    let mut failed: Vec<String> = commands.chain(notices.map(|(_, notice)| notice.to_string())).collect();
    let grown = world.conductor_size();
    if grown > size + size / 10 {
        failed.push(format!("the conductor has grown from {size} to {grown}"));
    }
    failed
}

/// A new maestro finds everything as it is: it may send what no daemon shows, and nothing else.
fn restart_maestro(world: &mut World) -> Vec<String> {
    let owners = world.owners();
    let begin_us = world.now_us();
    world.start_maestro();
    world.run_for(20 * SECOND_US);
    // That includes whether a sampler runs, and a start changes nothing where it does.
    let blind = [Verb::AuthAdd, Verb::Listen, Verb::Env, Verb::StreamEnable, Verb::MsgEnable, Verb::Start];
    let commands = world.history.commands_since(begin_us).filter(|sent| !blind.contains(&sent.command.verb));
    let mut failed: Vec<String> =
        commands.map(|sent| format!("a new maestro sends {}: {}", sent.daemon, sent.command)).collect();
    if world.owners() != owners {
        failed.push("a new maestro sees another placement".into());
    }
    failed
}
