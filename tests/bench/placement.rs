//! How even, how quick and how sparing the placement of sets is: `cargo bench --bench placement`.
//!
//! Each table puts one input to three algorithms: ours, plain LPT (each set, heaviest first, to whoever carries least), and
//! the Python maestro's (each aggregator takes sets in order up to its share of the *bytes*, whatever their frequency;
//! what fits nowhere is dropped).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use maestro::placement::sets::{Band, PlacedSet, SetPlacement, Weight, lower_bound, place_sets};
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
    println!("heaviest aggregator against the bound that nobody can beat; seconds from nothing and after a loss");
    println!(
        "{:<22} {:>9} {:>5} | {:>7} {:>7} {:>7} | {:>8} {:>8} | {:>12} {:>12}",
        "input", "sets", "aggs", "ours", "LPT", "Python", "place s", "loss s", "loss moved", "return moved"
    );
    for &count in sizes {
        for aggregators in [2, 8, 64] {
            for (name, input) in inputs(count) {
                row(name, &input, aggregators);
            }
        }
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

fn row(name: &str, input: &[Input], aggregators: usize) {
    let mut sets: Vec<PlacedSet> = input
        .iter()
        .map(|set| PlacedSet {
            producer: set.producer,
            weight: Weight::of(set.size_bytes, set.interval_us),
            owner: None,
        })
        .collect();
    let weights: Vec<Weight> = sets.iter().map(|set| set.weight).collect();
    let bound = lower_bound(weights.iter().copied(), aggregators).bytes_per_s();
    let mut usable = vec![true; aggregators];

    let begin = Instant::now();
    let first = place_sets(&sets, &usable, Band::default());
    let place_s = begin.elapsed().as_secs_f64();
    keep(&mut sets, &first);

    usable[1] = false;
    let begin = Instant::now();
    let lost = place_sets(&sets, &usable, Band::default());
    let loss_s = begin.elapsed().as_secs_f64();
    let orphaned = first.loads[1].bytes_per_s();
    let loss_moved = moved(&weights, &lost) / orphaned.max(1e-9);
    keep(&mut sets, &lost);
    usable[1] = true;
    let back = place_sets(&sets, &usable, Band::default());
    // What an even share of one aggregator is, is the least that has to move for perfect balance.
    let return_moved =
        moved(&weights, &back) / (weights.iter().copied().sum::<Weight>().bytes_per_s() / aggregators as f64);

    println!(
        "{:<22} {:>9} {:>5} | {:>7.4} {:>7.4} {:>7} | {:>8.4} {:>8.4} | {:>11.3}x {:>11.3}x",
        name,
        input.len(),
        aggregators,
        heaviest(&first.loads) / bound,
        lpt(&weights, aggregators) / bound,
        python(input, aggregators, bound),
        place_s,
        loss_s,
        loss_moved,
        return_moved,
    );
}

fn keep(sets: &mut [PlacedSet], placement: &SetPlacement) {
    for (set, owner) in sets.iter_mut().zip(&placement.owners) {
        set.owner = *owner;
    }
}

fn moved(weights: &[Weight], placement: &SetPlacement) -> f64 {
    placement.moves.iter().map(|moved| weights[moved.set].bytes_per_s()).sum()
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
