//! Who carries how much, while sets are being placed, and the moves that even it out.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::PlacedSet;

/// A set with its weight, ordered by weight.
type Weighed = (u64, u32);

/// How many of the lightest aggregators are tried for a move or an exchange with the heaviest.
const PARTNERS: usize = 8;
/// How many moves and exchanges are made only to come nearer to the bound.
const MOST_REFINEMENTS: usize = 20_000;

pub(super) struct Loads<'a> {
    sets: &'a [PlacedSet],
    /// The number of each aggregator that may be used.
    numbers: &'a [u16],
    /// The index in `numbers` of each set's owner.
    owners: Vec<u16>,
    loads: Vec<u64>,
    counts: Vec<u32>,
    /// The sets of an aggregator, once somebody has asked.
    members: Vec<Option<BTreeSet<Weighed>>>,
    largest: u64,
}

/// A set that has no owner yet.
const NOBODY: u16 = u16::MAX;

/// What evens out the loads of two aggregators: what goes from the heavier to the lighter, and what back.
struct Exchange {
    gives: Weighed,
    takes: Option<Weighed>,
}

impl<'a> Loads<'a> {
    pub(super) fn new(sets: &'a [PlacedSet], numbers: &'a [u16]) -> Loads<'a> {
        Loads {
            sets,
            numbers,
            owners: vec![NOBODY; sets.len()],
            loads: vec![0; numbers.len()],
            counts: vec![0; numbers.len()],
            members: vec![None; numbers.len()],
            largest: sets.iter().map(|set| set.weight.0).max().unwrap_or(0),
        }
    }

    pub(super) fn into_owners(self) -> Vec<u16> {
        self.owners.iter().map(|index| self.numbers[usize::from(*index)]).collect()
    }

    pub(super) fn heaviest(&self) -> u64 {
        self.loads.iter().copied().max().unwrap_or(0)
    }

    /// Whether nobody is above the limit, and nobody far below the others, as far as the size of the sets allows.
    pub(super) fn is_even(&self, limit: u64, slack: u64) -> bool {
        self.excess(limit, slack) == 0
    }

    /// By how much the heaviest is above the limit, or further from the lightest than it should be.
    fn excess(&self, limit: u64, slack: u64) -> u64 {
        let (heaviest, lightest) = (self.heaviest(), self.loads.iter().copied().min().unwrap_or(0));
        let spread = (heaviest - lightest).saturating_sub(slack.max(self.largest));
        heaviest.saturating_sub(limit).max(spread)
    }

    /// Takes over the owners that stay, by number.
    pub(super) fn keep(&mut self, kept: &[Option<u16>]) {
        let highest = self.numbers.iter().copied().max().map_or(0, usize::from);
        let mut index_of = vec![NOBODY; highest + 1];
        for (index, number) in (0..).zip(self.numbers) {
            index_of[usize::from(*number)] = index;
        }
        for (set, owner) in (0..).zip(kept) {
            if let Some(owner) = owner {
                self.give(set, index_of[usize::from(*owner)]);
            }
        }
    }

    /// Gives each bundle to whoever carries least, the heaviest bundle first; one that would lift him above the limit
    /// is torn apart.
    pub(super) fn fill<'b>(&mut self, bundles: impl IntoIterator<Item = &'b [u32]>, limit: u64) {
        let carried = self.loads.iter().zip(&self.counts).zip(0..);
        let mut by_load: BinaryHeap<Reverse<(u64, u32, u16)>> =
            carried.map(|((load, count), index)| Reverse((*load, *count, index))).collect();
        let mut alone = Vec::new();
        for bundle in bundles {
            let weight: u64 = bundle.iter().map(|set| self.weight(*set)).sum();
            let Some(Reverse((load, _, _))) = by_load.peek() else { return };
            if bundle.len() > 1 && load + weight > limit {
                alone.clear();
                alone.extend_from_slice(bundle);
                alone.sort_by_key(|set| Reverse(self.weight(*set)));
                for set in &alone {
                    self.give_to_lightest(std::slice::from_ref(set), &mut by_load);
                }
            } else {
                self.give_to_lightest(bundle, &mut by_load);
            }
        }
    }

    fn give_to_lightest(&mut self, sets: &[u32], by_load: &mut BinaryHeap<Reverse<(u64, u32, u16)>>) {
        let Some(mut lightest) = by_load.peek_mut() else { return };
        let index = lightest.0.2;
        for set in sets {
            self.give(*set, index);
        }
        lightest.0.0 = self.loads[usize::from(index)];
        lightest.0.1 = self.counts[usize::from(index)];
    }

    /// Takes sets away from their owners again.
    pub(super) fn take_back(&mut self, sets: impl Iterator<Item = u32>) {
        for set in sets {
            self.take(set);
        }
    }

    /// Moves and exchanges sets between the heaviest and the lightest until nobody is above `target`, or nothing helps.
    pub(super) fn even_out(&mut self, target: u64) {
        for _ in 0..MOST_REFINEMENTS {
            if self.heaviest() <= target || !self.improve(u64::MAX) {
                return;
            }
        }
    }

    /// Moves as few bytes as bring everybody within the limit.
    pub(super) fn shift(&mut self, limit: u64, slack: u64) {
        // Each move narrows a gap; the count is a bound for what cannot be even.
        for _ in 0..self.sets.len().saturating_mul(2) {
            let excess = self.excess(limit, slack);
            if excess == 0 || !self.improve(excess) {
                return;
            }
        }
    }

    /// Makes the heaviest lighter, by at least `excess` where one move can do it, by much where none can.
    fn improve(&mut self, excess: u64) -> bool {
        let mut by_load: Vec<u16> = (0..).zip(&self.loads).map(|(index, _)| index).collect();
        by_load.sort_by_key(|index| self.loads[usize::from(*index)]);
        let Some((heaviest, others)) = by_load.split_last() else { return false };
        for other in others.iter().take(PARTNERS) {
            let gap = self.loads[usize::from(*heaviest)] - self.loads[usize::from(*other)];
            if gap == 0 {
                return false;
            }
            self.list_members(*heaviest);
            self.list_members(*other);
            if let Some(exchange) = self.best_exchange(*heaviest, *other, gap, excess) {
                self.take(exchange.gives.1);
                self.give(exchange.gives.1, *other);
                if let Some((_, set)) = exchange.takes {
                    self.take(set);
                    self.give(set, *heaviest);
                }
                return true;
            }
        }
        false
    }

    fn best_exchange(&self, heavy: u16, light: u16, gap: u64, excess: u64) -> Option<Exchange> {
        let (heavy, light) = (self.members[usize::from(heavy)].as_ref()?, self.members[usize::from(light)].as_ref()?);
        // Less than the gap is an improvement, half of it the best there is.
        let fitting = |from: u64, below: u64| heavy.range((from.clamp(1, below), 0)..(below, 0));
        let sufficient = fitting(excess, gap).next();
        let half = gap / 2 + 1;
        if let Some(gives) = sufficient.or_else(|| fitting(1, half).next_back()).or_else(|| fitting(half, gap).next()) {
            return Some(Exchange { gives: *gives, takes: None });
        }
        // Nothing is small enough: two that differ by little change places.
        let mut best: Option<(u64, Exchange)> = None;
        for gives in heavy.iter().rev().take_while(|(weight, _)| *weight > 0) {
            let wanted = gives.0.saturating_sub(half);
            let takes = light.range((wanted, 0)..(gives.0, 0)).next();
            let Some(takes) = takes.filter(|takes| gives.0 - takes.0 < gap) else { continue };
            let narrows = gives.0 - takes.0;
            if best.as_ref().is_none_or(|(most, _)| narrows > *most) {
                best = Some((narrows, Exchange { gives: *gives, takes: Some(*takes) }));
            }
        }
        best.map(|(_, exchange)| exchange)
    }

    fn list_members(&mut self, index: u16) {
        if self.members[usize::from(index)].is_none() {
            let owned = (0..).zip(&self.owners).filter(|(_, owner)| **owner == index);
            let members = owned.map(|(set, _): (u32, _)| (self.weight(set), set)).collect();
            self.members[usize::from(index)] = Some(members);
        }
    }

    fn weight(&self, set: u32) -> u64 {
        self.sets[set as usize].weight.0
    }

    fn give(&mut self, set: u32, index: u16) {
        let weight = self.weight(set);
        self.owners[set as usize] = index;
        self.loads[usize::from(index)] += weight;
        self.counts[usize::from(index)] += 1;
        if let Some(members) = &mut self.members[usize::from(index)] {
            members.insert((weight, set));
        }
    }

    fn take(&mut self, set: u32) {
        let weight = self.weight(set);
        let index = usize::from(std::mem::replace(&mut self.owners[set as usize], NOBODY));
        self.loads[index] -= weight;
        self.counts[index] -= 1;
        if let Some(members) = &mut self.members[index] {
            members.remove(&(weight, set));
        }
    }
}
