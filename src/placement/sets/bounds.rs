//! What no placement can beat: how light the heaviest can be, and how little can move.

use std::cmp::Reverse;

use super::Weight;

/// What the heaviest of `aggregators` carries at least: the mean; the heaviest set; since of the `k·m + 1` heaviest sets
/// some `k + 1` share one of `m` aggregators, the lightest `k + 1` of these; and the least under which the sets that
/// are heavier than a third of it have room.
///
/// The heaviest set first, to whoever carries least, is never more than four thirds of this: who is heavier than that got
/// the last of his sets while everybody carried more than the bound less a third, so this set and all before it are
/// heavier than a third, and of these, two to an aggregator, no order makes better pairs.
#[must_use]
pub fn lower_bound(weights: impl Iterator<Item = Weight>, aggregators: usize) -> Weight {
    let mut weights: Vec<u64> = weights.map(|weight| weight.0).collect();
    let aggregators = aggregators.max(1);
    let total: u64 = weights.iter().fold(0, |sum, weight| sum.saturating_add(*weight));
    let mean = total.div_ceil(aggregators as u64);
    // Beyond some dozens of sets an aggregator this says hardly more than the mean.
    let heaviest = weights.len().min(aggregators.saturating_mul(32) + 1);
    if heaviest < weights.len() {
        weights.select_nth_unstable_by_key(heaviest, |weight| Reverse(*weight));
        weights.truncate(heaviest);
    }
    weights.sort_unstable_by_key(|weight| Reverse(*weight));
    let together = (0..).map(|k| (k, k * aggregators + 1)).take_while(|(_, count)| *count <= weights.len());
    let together =
        together.map(|(k, count)| weights[count - 1 - k..count].iter().fold(0u64, |sum, w| sum.saturating_add(*w)));
    let bound = together.max().unwrap_or(0).max(mean);
    Weight(room_for_large(&weights, aggregators, bound))
}

/// The least weight, not below `bound`, under which the sets heavier than a third of it have room, with the heaviest sets
/// in descending order. Three of them are too many for an aggregator.
fn room_for_large(descending: &[u64], aggregators: usize, bound: u64) -> u64 {
    let has_room = |limit: u64| {
        let is_large = |weight: &&u64| **weight > limit / 3;
        let large = &descending[..descending.iter().take_while(is_large).count()];
        let Some(alone) = (2 * aggregators).checked_sub(large.len()) else { return false };
        // As many as can be are alone, the heaviest of them; of the rest the heaviest goes with the lightest.
        let pairs = &large[alone.min(large.len())..];
        let (heavy, light) = pairs.split_at(pairs.len() / 2);
        large.first().is_none_or(|heaviest| *heaviest <= limit)
            && heavy.iter().zip(light.iter().rev()).all(|(heavy, light)| heavy.saturating_add(*light) <= limit)
    };
    let (mut too_little, mut enough) = (bound.saturating_sub(1), bound);
    while !has_room(enough) {
        too_little = enough;
        let Some(doubled) = enough.checked_mul(2) else { return bound };
        enough = doubled;
    }
    while enough - too_little > 1 {
        let middle = too_little + (enough - too_little) / 2;
        if has_room(middle) {
            enough = middle;
        } else {
            too_little = middle;
        }
    }
    enough
}

/// Where all loads should come to lie, but for those that cannot be lighter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Corridor {
    pub(super) low: u64,
    pub(super) high: u64,
}

impl Corridor {
    /// The corridor of this width, below the ceiling, that the least weight has to move for: what those above it have too
    /// much, and what has no place yet, is what those below it lack. Of each load some is stuck.
    pub(super) fn between(loads: &[u64], stuck: &[u64], unplaced: u64, width: u64, ceiling: u64) -> Corridor {
        let at = |low: u64| Corridor { low, high: low.saturating_add(width) };
        let offered = |low: u64| at(low).surplus(loads, stuck).saturating_add(unplaced);
        let lack = |low: u64| loads.iter().map(|load| low.saturating_sub(*load)).fold(0, u64::saturating_add);
        // The higher it is, the less is offered and the more is lacking.
        let mut low = loads.iter().copied().min().unwrap_or(0);
        let mut too_high = loads.iter().copied().max().unwrap_or(0).saturating_add(unplaced).saturating_add(1);
        while too_high - low > 1 {
            let middle = low + (too_high - low) / 2;
            if offered(middle) >= lack(middle) {
                low = middle;
            } else {
                too_high = middle;
            }
        }
        let high = at(low).high.min(ceiling);
        Corridor { low: high.saturating_sub(width), high }
    }

    /// What the loads have too much.
    pub(super) fn surplus(self, loads: &[u64], stuck: &[u64]) -> u64 {
        let above = loads.iter().zip(stuck).map(|(load, stuck)| load.saturating_sub(self.high.max(*stuck)));
        above.fold(0, u64::saturating_add)
    }
}
