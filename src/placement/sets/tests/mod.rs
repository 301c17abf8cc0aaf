//! Placement of sets: who gets what, how even it is, and how little moves.

mod moving;
mod placing;
mod properties;

use std::collections::BTreeSet;

use super::*;

fn set(producer: u32, weight: u64) -> PlacedSet {
    PlacedSet { producer, weight: Weight(weight), owner: None }
}

/// The sets as they are after a placement.
fn placed(sets: &[PlacedSet], placement: &SetPlacement) -> Vec<PlacedSet> {
    sets.iter().zip(&placement.owners).map(|(set, owner)| PlacedSet { owner: *owner, ..*set }).collect()
}

fn heaviest(placement: &SetPlacement) -> u64 {
    placement.loads.iter().map(|load| load.0).max().unwrap()
}

/// Who has something of a producer.
fn holders(sets: &[PlacedSet], placement: &SetPlacement, producer: u32) -> BTreeSet<u16> {
    let of_producer = sets.iter().zip(&placement.owners).filter(|(set, _)| set.producer == producer);
    of_producer.map(|(_, owner)| owner.unwrap()).collect()
}

fn torn_producers(sets: &[PlacedSet], placement: &SetPlacement) -> Vec<u32> {
    let producers: BTreeSet<u32> = sets.iter().map(|set| set.producer).collect();
    producers.into_iter().filter(|producer| holders(sets, placement, *producer).len() > 1).collect()
}

/// How far the heaviest of those that may be used is from the lightest.
fn spread(placement: &SetPlacement, usable: &[bool]) -> u64 {
    let loads = || placement.loads.iter().zip(usable).filter(|(_, usable)| **usable).map(|(load, _)| load.0);
    loads().max().unwrap() - loads().min().unwrap()
}

/// The heaviest set.
fn heaviest_set(sets: &[PlacedSet]) -> u64 {
    sets.iter().map(|set| set.weight.0).max().unwrap_or(0)
}

/// Every combination of a few sets: the heaviest aggregator of the best placement.
fn optimum(weights: &[u64], aggregators: usize) -> u64 {
    fn search(weights: &[u64], loads: &mut [u64], best: &mut u64) {
        let Some((first, rest)) = weights.split_first() else {
            *best = (*best).min(loads.iter().copied().max().unwrap());
            return;
        };
        for index in 0..loads.len() {
            if loads[index] + first < *best && !loads[..index].contains(&loads[index]) {
                loads[index] += first;
                search(rest, loads, best);
                loads[index] -= first;
            }
        }
    }
    let mut best = weights.iter().sum::<u64>() + 1;
    search(weights, &mut vec![0; aggregators], &mut best);
    best
}

/// As many producers as said, each with the same sets of different weights.
fn equal_producers(producers: u32) -> Vec<PlacedSet> {
    (0..producers).flat_map(|producer| [500, 250, 120, 80, 30, 20].map(|weight| set(producer, weight))).collect()
}
