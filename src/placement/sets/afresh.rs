//! Placements that no earlier one counts for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::evening::{Goal, even_out_freely};
use super::holders::Holders;
use super::shares::{NOBODY, Shares};
use super::{Band, PlacedSet, Weight, place_orphans};

/// A placement from nothing is as good as this before sets of one producer are torn apart for it.
const FRESH: Band = Band { percent: 1 };

/// The sets of a producer together, as far as that costs little balance.
pub(super) fn from_nothing(sets: &[PlacedSet], aggregators: usize, bound: Weight) -> Vec<u16> {
    let mut together = Shares::new(sets, vec![NOBODY; sets.len()], aggregators);
    let goal = Goal { ceiling: FRESH.limit(bound.0), spread: together.grain() };
    place_orphans(&mut together, goal, bound, &Holders::default());
    if goal.is_reached_by(&together) {
        return together.into_owners();
    }
    let apart = each_set_for_itself(sets, aggregators, goal);
    // Connections are worth a little balance, as long as the heaviest is not far from what it could be.
    let is_worth_it = FRESH.limit(apart.heaviest()) < together.heaviest()
        || (together.heaviest() > apart.heaviest() && together.heaviest() / 4 * 3 > bound.0);
    if is_worth_it { apart.into_owners() } else { together.into_owners() }
}

/// The heaviest set first, to whoever carries least: never heavier than four thirds of the best there is.
pub(super) fn each_set_for_itself(sets: &[PlacedSet], aggregators: usize, goal: Goal) -> Shares<'_> {
    let mut apart = Shares::new(sets, vec![NOBODY; sets.len()], aggregators);
    let singles = apart.single_orphans();
    apart.place(singles, u64::MAX, &Holders::default());
    even_out_freely(&mut apart, goal);
    apart
}

/// The same placement with its parts dealt out so that each aggregator has much of what it has had.
pub(super) fn alike(sets: &[PlacedSet], kept: &[u16], owners: Vec<u16>, aggregators: usize) -> Vec<u16> {
    let mut common: BTreeMap<(u16, u16), u64> = BTreeMap::new();
    for ((set, had), part) in sets.iter().zip(kept).zip(&owners).filter(|((_, had), _)| **had != NOBODY) {
        let weight = common.entry((*part, *had)).or_default();
        *weight = weight.saturating_add(set.weight.0);
    }
    let mut most_first: Vec<((u16, u16), u64)> = common.into_iter().collect();
    most_first.sort_by_key(|(_, weight)| Reverse(*weight));
    let mut gets = vec![NOBODY; aggregators];
    let mut free: BTreeSet<u16> = (0..NOBODY).take(aggregators).collect();
    for ((part, had), _) in most_first {
        if gets[usize::from(part)] == NOBODY && free.remove(&had) {
            gets[usize::from(part)] = had;
        }
    }
    for gets in gets.iter_mut().filter(|gets| **gets == NOBODY) {
        *gets = free.pop_first().unwrap_or(NOBODY);
    }
    owners.into_iter().map(|part| gets[usize::from(part)]).collect()
}
