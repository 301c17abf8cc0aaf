//! What no placement can beat: how light the heaviest can be, and how little can move.

use std::cmp::Reverse;

use super::Weight;

/// What the heaviest of `aggregators` carries at least: the mean, the heaviest set, and, since of the `k·m + 1` heaviest
/// sets some `k + 1` share one of `m` aggregators, the lightest `k + 1` of these.
#[must_use]
pub fn lower_bound(weights: impl Iterator<Item = Weight>, aggregators: usize) -> Weight {
    let mut weights: Vec<u64> = weights.map(|weight| weight.0).collect();
    let aggregators = aggregators.max(1);
    let total: u64 = weights.iter().fold(0, |sum, weight| sum.saturating_add(*weight));
    let mean = total.div_ceil(aggregators as u64);
    // Beyond a few sets an aggregator this says less than the mean.
    let heaviest = weights.len().min(aggregators.saturating_mul(8) + 1);
    if heaviest < weights.len() {
        weights.select_nth_unstable_by_key(heaviest, |weight| Reverse(*weight));
        weights.truncate(heaviest);
    }
    weights.sort_unstable_by_key(|weight| Reverse(*weight));
    let together = (0..).map(|k| (k, k * aggregators + 1)).take_while(|(_, count)| *count <= weights.len());
    let together =
        together.map(|(k, count)| weights[count - 1 - k..count].iter().fold(0u64, |sum, w| sum.saturating_add(*w)));
    Weight(together.max().unwrap_or(0).max(mean))
}

/// The least weight that has to move until these loads differ by no more than the heaviest set: as much as if sets could
/// be cut at will.
#[must_use]
pub fn least_moved(loads: &[Weight], heaviest_set: Weight) -> Weight {
    let loads: Vec<u64> = loads.iter().map(|load| load.0).collect();
    let corridor = Corridor::between(&loads, heaviest_set.0, u64::MAX);
    let surplus = loads.iter().map(|load| load.saturating_sub(corridor.high)).fold(0, u64::saturating_add);
    // Between two whole numbers the other end of the corridor may ask for a little more.
    Weight(surplus)
}

/// Where all loads should come to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Corridor {
    pub(super) low: u64,
    pub(super) high: u64,
}

impl Corridor {
    /// The corridor of this width, below the ceiling, that the least weight has to move for: what those above it have too
    /// much is what those below it lack.
    pub(super) fn between(loads: &[u64], width: u64, ceiling: u64) -> Corridor {
        let sum = |parts: &mut dyn Iterator<Item = u64>| parts.fold(0, u64::saturating_add);
        let surplus = |low: u64| sum(&mut loads.iter().map(|load| load.saturating_sub(low.saturating_add(width))));
        let lack = |low: u64| sum(&mut loads.iter().map(|load| low.saturating_sub(*load)));
        // The higher the corridor, the smaller the surplus: the highest one with at least as much surplus as lack.
        let (mut low, mut too_high) =
            (loads.iter().copied().min().unwrap_or(0), loads.iter().copied().max().unwrap_or(0));
        while too_high.saturating_sub(low) > 1 {
            let middle = low + (too_high - low) / 2;
            if surplus(middle) >= lack(middle) {
                low = middle;
            } else {
                too_high = middle;
            }
        }
        let high = low.saturating_add(width).min(ceiling);
        Corridor { low: high.saturating_sub(width), high }
    }
}
