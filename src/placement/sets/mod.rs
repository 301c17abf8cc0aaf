//! Placement of single metric sets by weight, for groups whose daemons differ.
//!
//! The weight of a set is what it costs its aggregator: bytes per second. The heaviest aggregator is to be as light as
//! can be, measured against a [`lower_bound`] that no placement can beat.
//!
//! - *From nothing*: sets of one producer stay together as long as that costs no balance, since each aggregator that
//!   has one of them needs a connection to the producer; single sets then even out what is left.
//! - *Later*: a set stays where it is. Sets without an owner (new ones, a lost aggregator's) go where there is least.
//!   Only if the heaviest is then outside the band do others move, as few bytes as bring it back.
//!
//! All of it is a pure function of numbers; the same ones give the same placement.

mod loads;

use std::cmp::Reverse;
use std::ops::Range;

use loads::Loads;

/// What collecting a set costs: thousandths of a byte per second, so that slow sets count as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u64);

/// A single weight is cut off here, so that sums of millions cannot overflow.
const HEAVIEST: u64 = 1 << 40;

impl Weight {
    /// The weight of a set of so many bytes that is collected every `interval_us`.
    #[must_use]
    pub fn of(data_size_bytes: u64, interval_us: u64) -> Weight {
        let per_second = u128::from(data_size_bytes) * 1_000_000_000 / u128::from(interval_us.max(1));
        Weight(u64::try_from(per_second).unwrap_or(u64::MAX).min(HEAVIEST))
    }

    /// Bytes per second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    pub fn bytes_per_s(self) -> f64 {
        self.0 as f64 / 1e3
    }
}

impl std::iter::Sum for Weight {
    fn sum<I: Iterator<Item = Weight>>(weights: I) -> Weight {
        Weight(weights.map(|weight| weight.0).fold(0, u64::saturating_add))
    }
}

/// A set that is to be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedSet {
    /// The number of its producer.
    pub producer: u32,
    /// What it costs.
    pub weight: Weight,
    /// The number of the aggregator that owns it now.
    pub owner: Option<u16>,
}

/// Why a set has another owner than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It had none.
    New,
    /// Its owner may not be used.
    OwnerLost,
    /// The heaviest aggregator was outside the band.
    Imbalance,
}

/// A set that gets another owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    /// The number of the set.
    pub set: usize,
    /// The number of the aggregator that had it.
    pub from: Option<u16>,
    /// The number of the aggregator that gets it.
    pub to: u16,
    /// Why.
    pub reason: Reason,
}

/// Who owns which set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetPlacement {
    /// The owner of each set, by its number; `None` for all where no aggregator may be used.
    pub owners: Vec<Option<u16>>,
    /// What each aggregator carries, by its number.
    pub loads: Vec<Weight>,
    /// What the heaviest carries at least, whoever places.
    pub lower_bound: Weight,
    /// The sets that have another owner than before, in their order.
    pub moves: Vec<Move>,
}

/// How far the heaviest aggregator may be above the lower bound before sets move for the balance alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Band {
    /// In hundredths.
    pub percent: u64,
}

impl Default for Band {
    fn default() -> Band {
        Band { percent: 10 }
    }
}

impl Band {
    fn limit(self, bound: u64) -> u64 {
        bound.saturating_add(bound / 100 * self.percent + bound % 100 * self.percent / 100)
    }
}

/// A placement from nothing is as good as this before sets of one producer are torn apart for it.
const FRESH: Band = Band { percent: 1 };

/// Places every set on one of the aggregators that `usable` allows, which are numbered by it.
#[must_use]
pub fn place_sets(sets: &[PlacedSet], usable: &[bool], band: Band) -> SetPlacement {
    let owned = |set: &PlacedSet| set.owner.filter(|owner| usable.get(usize::from(*owner)) == Some(&true));
    let numbers: Vec<u16> =
        (0..=u16::MAX).zip(usable).filter(|(_, usable)| **usable).map(|(number, _)| number).collect();
    if numbers.is_empty() {
        let owners = vec![None; sets.len()];
        return SetPlacement { owners, loads: vec![Weight::default(); usable.len()], ..SetPlacement::default() };
    }
    let bound = lower_bound(sets.iter().map(|set| set.weight), numbers.len());
    let kept: Vec<Option<u16>> = sets.iter().map(owned).collect();
    let owners = if kept.iter().all(Option::is_none) {
        from_nothing(sets, &numbers, bound)
    } else {
        keeping(sets, &kept, &numbers, bound, band)
    };
    summary(sets, usable, owners, bound)
}

fn summary(sets: &[PlacedSet], usable: &[bool], owners: Vec<u16>, bound: Weight) -> SetPlacement {
    let mut loads = vec![0u64; usable.len()];
    let mut moves = Vec::new();
    for (number, (set, owner)) in sets.iter().zip(&owners).enumerate() {
        loads[usize::from(*owner)] += set.weight.0;
        if set.owner != Some(*owner) {
            let reason = match set.owner {
                None => Reason::New,
                Some(from) if usable.get(usize::from(from)) == Some(&true) => Reason::Imbalance,
                Some(_) => Reason::OwnerLost,
            };
            moves.push(Move { set: number, from: set.owner, to: *owner, reason });
        }
    }
    SetPlacement {
        owners: owners.into_iter().map(Some).collect(),
        loads: loads.into_iter().map(Weight).collect(),
        lower_bound: bound,
        moves,
    }
}

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
    let together = together.map(|(k, count)| weights[count - 1 - k..count].iter().sum::<u64>());
    Weight(together.max().unwrap_or(0).max(mean))
}

fn from_nothing(sets: &[PlacedSet], numbers: &[u16], bound: Weight) -> Vec<u16> {
    let mut together = Loads::new(sets, numbers);
    together.fill(Bundles::by_producer(sets, |_| true).iter(), FRESH.limit(bound.0));
    together.even_out(FRESH.limit(bound.0));
    let slack = FRESH.limit(bound.0) - bound.0;
    if !together.is_even(FRESH.limit(bound.0), slack) {
        together.shift(FRESH.limit(bound.0), slack);
    }
    if together.heaviest() <= FRESH.limit(bound.0) {
        return together.into_owners();
    }
    let mut apart = Loads::new(sets, numbers);
    apart.fill(Bundles::single(sets, |_| true).iter(), bound.0);
    apart.even_out(bound.0);
    if apart.heaviest() < together.heaviest() { apart.into_owners() } else { together.into_owners() }
}

fn keeping(sets: &[PlacedSet], kept: &[Option<u16>], numbers: &[u16], bound: Weight, band: Band) -> Vec<u16> {
    let limit = band.limit(bound.0);
    let slack = limit - bound.0;
    let is_orphan = |set: u32| kept[set as usize].is_none();
    let mut loads = Loads::new(sets, numbers);
    loads.keep(kept);
    loads.fill(Bundles::by_producer(sets, is_orphan).iter(), FRESH.limit(bound.0));
    if !loads.is_even(limit, slack) {
        // Those that move anyway may as well move elsewhere.
        let orphans = Bundles::single(sets, is_orphan);
        loads.take_back(orphans.iter().flatten().copied());
        loads.fill(orphans.iter(), limit);
    }
    loads.shift(limit, slack);
    loads.into_owners()
}

/// Sets that are placed together, heaviest bundle first.
struct Bundles {
    /// The sets, bundle by bundle.
    order: Vec<u32>,
    /// Where each bundle lies in the order, heaviest first.
    ranges: Vec<Range<usize>>,
}

impl Bundles {
    fn iter(&self) -> impl Iterator<Item = &[u32]> {
        self.ranges.iter().map(|range| &self.order[range.clone()])
    }

    /// Sets of one producer.
    fn by_producer(sets: &[PlacedSet], wanted: impl Fn(u32) -> bool) -> Bundles {
        let mut order: Vec<u32> = (0..).zip(sets).map(|(set, _)| set).filter(|set| wanted(*set)).collect();
        order.sort_by_key(|set| sets[*set as usize].producer);
        let mut ranges: Vec<(u64, Range<usize>)> = Vec::new();
        let mut begin = 0;
        for bundle in order.chunk_by(|a, b| sets[*a as usize].producer == sets[*b as usize].producer) {
            let weight = bundle.iter().map(|set| sets[*set as usize].weight.0).sum();
            ranges.push((weight, begin..begin + bundle.len()));
            begin += bundle.len();
        }
        ranges.sort_by_key(|(weight, _)| Reverse(*weight));
        Bundles { order, ranges: ranges.into_iter().map(|(_, range)| range).collect() }
    }

    /// Each set for itself.
    fn single(sets: &[PlacedSet], wanted: impl Fn(u32) -> bool) -> Bundles {
        let mut order: Vec<u32> = (0..).zip(sets).map(|(set, _)| set).filter(|set| wanted(*set)).collect();
        order.sort_by_key(|set| Reverse(sets[*set as usize].weight));
        let ranges = (0..order.len()).map(|place| place..place + 1).collect();
        Bundles { order, ranges }
    }
}

#[cfg(test)]
mod tests;
