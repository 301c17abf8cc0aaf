//! How even, how quick and how sparing the placement of sets is: `cargo bench --bench placement`.
//!
//! Each table puts one input to three algorithms: ours, plain LPT (each set, heaviest first, to whoever carries least), and
//! the Python maestro's (each aggregator takes sets in order up to its share of the *bytes*, whatever their frequency;
//! what fits nowhere is dropped: `-n` says how many sets). Then an aggregator is lost, returns, and one more is added; the
//! least that has to move is that of sets that could be cut at will. Recorded inputs are of `tests/fixtures/placement`.

#![expect(clippy::expect_used, reason = "what fails here fails the run")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use maestro::placement::sets::{Band, PlacedSet, SetPlacement, Weight, least_moved, lower_bound, place_sets};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A set of the input: its producer, its size, how often it is collected.
#[derive(Clone, Copy)]
struct Input {
    producer: u32,
    size_bytes: u64,
    interval_us: u64,
}

fn main() {
    // As a test it only shows that it runs.
    let full = std::env::args().any(|argument| argument == "--bench");
    let sizes: &[usize] = if full { &[100, 10_000, 1_000_000] } else { &[100] };
    println!(
        "{:<24} {:>7} {:>4} | {:^23} | {:^23} | {:^23} |",
        "", "", "", "heaviest / bound", "seconds", "moved / least"
    );
    println!(
        "{:<24} {:>7} {:>4} | {:>7} {:>7} {:>7} | {:>7} {:>7} {:>7} | {:>7} {:>7} {:>7} | {:>5}",
        "input", "sets", "aggs", "ours", "LPT", "Python", "start", "loss", "return", "loss", "return", "growth", "torn"
    );
    for &count in sizes {
        for (name, input) in inputs(count) {
            for aggregators in [2, 8, 64] {
                row(name, &input, aggregators);
            }
        }
    }
    row("recorded: sets-current", &recorded("sets-current.txt", 6), 3);
    let daemons: &[(u32, usize)] = if full { &[(40, 4), (1_000, 8), (80_000, 64)] } else { &[(40, 4)] };
    for (count, aggregators) in daemons {
        row("recorded: real daemons", &recorded("daemon.txt", *count), *aggregators);
    }
}

/// The size of a set in bytes, by its number.
type Size = Box<dyn FnMut(&mut StdRng, usize) -> u64>;

fn inputs(count: usize) -> Vec<(&'static str, Vec<Input>)> {
    let mut random = StdRng::seed_from_u64(7);
    let mut make = |mut size: Size, intervals: &[u64]| -> Vec<Input> {
        (0..count)
            .map(|number| Input {
                producer: number as u32 / 4,
                size_bytes: size(&mut random, number),
                interval_us: intervals[random.random_range(0..intervals.len())],
            })
            .collect()
    };
    vec![
        ("uniform", make(Box::new(|random, _| random.random_range(500..5_000)), &[1_000_000])),
        ("many equal", make(Box::new(|_, _| 1_000), &[1_000_000])),
        (
            "heavy-tailed",
            make(
                Box::new(|random, _| (200.0 / random.random_range(0.001f64..1.0).powf(0.8)) as u64),
                &[1_000_000, 10_000_000, 60_000_000],
            ),
        ),
        (
            "giants, some at 10 Hz",
            make(
                Box::new(|_, number| if number % 1_000 == 3 { 200_000 } else { 900 }),
                &[1_000_000, 1_000_000, 1_000_000, 100_000],
            ),
        ),
    ]
}

/// Producers that all have the sets which a file lists.
fn recorded(file: &str, producers: u32) -> Vec<Input> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/placement").join(file);
    let text = std::fs::read_to_string(path).expect("the sizes are there");
    let sets = text.lines().map(|line| {
        let mut numbers = line.split_whitespace().skip(1).map(|number| number.parse().expect("a number"));
        (numbers.next().expect("a size"), numbers.next().expect("an interval"))
    });
    let sets: Vec<(u64, u64)> = sets.collect();
    let of = |producer| {
        sets.iter().map(move |(size_bytes, interval_us)| Input {
            producer,
            size_bytes: *size_bytes,
            interval_us: *interval_us,
        })
    };
    (0..producers).flat_map(of).collect()
}

fn row(name: &str, input: &[Input], aggregators: usize) {
    let weights: Vec<Weight> = input.iter().map(|set| Weight::of(set.size_bytes, set.interval_us)).collect();
    let bound = lower_bound(weights.iter().copied(), aggregators).bytes_per_s();
    let fresh = |(set, weight): (&Input, &Weight)| PlacedSet { producer: set.producer, weight: *weight, owner: None };
    let mut sets: Vec<PlacedSet> = input.iter().zip(&weights).map(fresh).collect();
    // One more can be added.
    let mut usable = vec![true; aggregators];
    usable.push(false);

    let start = change(&mut sets, &usable);
    let heaviest = heaviest(&start.placement.loads);
    usable[1] = false;
    let loss = change(&mut sets, &usable);
    usable[1] = true;
    let back = change(&mut sets, &usable);
    usable[aggregators] = true;
    let growth = change(&mut sets, &usable);

    println!(
        "{:<24} {:>7} {:>4} | {:>7.4} {:>7.4} {:>7} | {:>7.4} {:>7.4} {:>7.4} | {:>7.3} {:>7.3} {:>7.3} | {:>5}",
        name,
        input.len(),
        aggregators,
        heaviest / bound,
        lpt(&weights, aggregators) / bound,
        python(input, aggregators, bound),
        start.seconds,
        loss.seconds,
        back.seconds,
        loss.moved,
        back.moved,
        growth.moved,
        torn(&sets)
    );
}

/// What a change of the aggregators has led to.
struct Change {
    placement: SetPlacement,
    seconds: f64,
    /// The weight that has moved, in parts of the least that would have had to if sets could be cut at will.
    moved: f64,
}

fn change(sets: &mut [PlacedSet], usable: &[bool]) -> Change {
    let least = least_moved(sets, usable).bytes_per_s();
    let begin = Instant::now();
    let placement = place_sets(sets, usable, Band::default());
    let seconds = begin.elapsed().as_secs_f64();
    let moved: f64 = placement.moves.iter().map(|moved| sets[moved.set].weight.bytes_per_s()).sum();
    for (set, owner) in sets.iter_mut().zip(&placement.owners) {
        set.owner = *owner;
    }
    Change { placement, seconds, moved: if moved > 0.0 { moved / least } else { 0.0 } }
}

/// How many producers more than one aggregator has something of.
fn torn(sets: &[PlacedSet]) -> usize {
    let mut held: Vec<(u32, Option<u16>)> = sets.iter().map(|set| (set.producer, set.owner)).collect();
    held.sort_unstable();
    held.dedup();
    held.chunk_by(|a, b| a.0 == b.0).filter(|holders| holders.len() > 1).count()
}

fn heaviest(loads: &[Weight]) -> f64 {
    loads.iter().map(|load| load.bytes_per_s()).fold(0.0, f64::max)
}

/// Longest processing time first.
fn lpt(weights: &[Weight], aggregators: usize) -> f64 {
    let mut order: Vec<Weight> = weights.to_vec();
    order.sort_unstable_by_key(|weight| Reverse(*weight));
    let mut loads = vec![Weight::default(); aggregators];
    let mut by_load: BinaryHeap<Reverse<(Weight, usize)>> = (0..aggregators).map(|a| Reverse((loads[a], a))).collect();
    for weight in order {
        if let Some(mut lightest) = by_load.peek_mut() {
            let index = lightest.0.1;
            loads[index] = [loads[index], weight].into_iter().sum();
            lightest.0.0 = loads[index];
        }
    }
    heaviest(&loads)
}

/// The Python maestro's: shares of bytes, in order. How much of the true load it leaves uncollected is shown as well.
fn python(input: &[Input], aggregators: usize, bound: f64) -> String {
    let share = input.iter().map(|set| set.size_bytes).sum::<u64>() / aggregators as u64;
    let mut is_placed = vec![false; input.len()];
    let mut heaviest: f64 = 0.0;
    for _ in 0..aggregators {
        let (mut bytes, mut load) = (0, 0.0);
        for (set, is_placed) in input.iter().zip(&mut is_placed).filter(|(_, is_placed)| !**is_placed) {
            if bytes + set.size_bytes <= share && set.size_bytes != 0 {
                bytes += set.size_bytes;
                load += Weight::of(set.size_bytes, set.interval_us).bytes_per_s();
                *is_placed = true;
            }
        }
        heaviest = heaviest.max(load);
    }
    let dropped = is_placed.iter().filter(|is_placed| !**is_placed).count();
    if dropped == 0 { format!("{:.4}", heaviest / bound) } else { format!("-{dropped}") }
}
