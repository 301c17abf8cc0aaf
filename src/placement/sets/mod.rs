//! Placement of single metric sets by weight, for groups whose daemons differ.
//!
//! The weight of a set is what it costs its aggregator: bytes per second. The heaviest aggregator is to be as light as
//! can be, measured against a [`lower_bound`] that no placement can beat, and no two are to differ by more than the
//! heaviest set weighs, which single sets can always reach.
//!
//! - *From nothing*: sets of one producer stay together as long as that costs no balance, since each aggregator that
//!   has one of them needs a connection to the producer; parts of producers then even out what is left.
//! - *Later*: a set stays where it is. A new set goes to who has its producer; sets that lost their owner go, a
//!   producer's together, where there is least. Only if the heaviest is then outside the band do others move, as few
//!   bytes as make everybody even again.
//! - *What moves* is all that an aggregator has of a producer, as long as such moves suffice: to take a part away
//!   interrupts the part that stays.
//!
//! All of it is a pure function of numbers; the same ones give the same placement.

mod bounds;
mod evening;
mod holders;
mod shares;
mod weight;

use std::cmp::Reverse;

use evening::{Goal, even_out, even_out_freely};
use holders::Holders;
use shares::{NOBODY, Shares};

pub use bounds::{least_moved, lower_bound};
pub use weight::Weight;

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
    let numbers: Vec<u16> = (0..NOBODY).zip(usable).filter(|(_, usable)| **usable).map(|(number, _)| number).collect();
    if numbers.is_empty() {
        let owners = vec![None; sets.len()];
        return SetPlacement { owners, loads: vec![Weight::default(); usable.len()], ..SetPlacement::default() };
    }
    let bound = lower_bound(sets.iter().map(|set| set.weight), numbers.len());
    let kept = kept(sets, usable, &numbers);
    let indices = if kept.iter().all(|index| *index == NOBODY) {
        from_nothing(sets, numbers.len(), bound)
    } else {
        keeping(sets, kept, numbers.len(), bound, band)
    };
    let owners = indices.into_iter().map(|index| numbers[usize::from(index)]).collect();
    summary(sets, usable, owners, bound)
}

/// The index of each set's owner among those that may be used.
fn kept(sets: &[PlacedSet], usable: &[bool], numbers: &[u16]) -> Vec<u16> {
    let mut index_of = vec![NOBODY; usable.len()];
    for (index, number) in (0..).zip(numbers) {
        index_of[usize::from(*number)] = index;
    }
    let index = |owner: u16| index_of.get(usize::from(owner)).copied().unwrap_or(NOBODY);
    sets.iter().map(|set| set.owner.map_or(NOBODY, index)).collect()
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

fn from_nothing(sets: &[PlacedSet], aggregators: usize, bound: Weight) -> Vec<u16> {
    let nobody = || Shares::new(sets, vec![NOBODY; sets.len()], aggregators);
    let mut together = nobody();
    let goal = Goal { ceiling: FRESH.limit(bound.0), spread: together.heaviest_set() };
    together.place_together(bound.0, &Holders::default());
    even_out_freely(&mut together, goal);
    if goal.is_reached(&together) {
        return together.into_owners();
    }
    let mut apart = nobody();
    apart.place_apart();
    even_out_freely(&mut apart, goal);
    // Connections are worth a little balance, as long as the heaviest is not far from what it could be.
    let is_worth_it = FRESH.limit(apart.heaviest()) < together.heaviest()
        || (together.heaviest() > apart.heaviest() && together.heaviest() / 4 * 3 > bound.0);
    if is_worth_it { apart.into_owners() } else { together.into_owners() }
}

fn keeping(sets: &[PlacedSet], kept: Vec<u16>, aggregators: usize, bound: Weight, band: Band) -> Vec<u16> {
    let holders = Holders::of_orphaned(sets, &kept);
    let mut shares = Shares::new(sets, kept, aggregators);
    let goal = Goal { ceiling: band.limit(bound.0), spread: shares.heaviest_set() };
    let tolerated = Goal { spread: goal.spread.max(goal.ceiling - bound.0), ..goal };
    join_their_producers(&mut shares, sets, &holders, tolerated);
    shares.place_together(bound.0, &holders);
    even_out_freely(&mut shares, goal);
    if !tolerated.is_reached(&shares) {
        let torn = Holders::of_torn(sets, shares.kept());
        even_out(&mut shares, goal, torn);
    }
    shares.into_owners()
}

/// Gives new sets to who has most of their producer, unless that alone would be reason enough to move some.
fn join_their_producers(shares: &mut Shares<'_>, sets: &[PlacedSet], holders: &Holders, tolerated: Goal) {
    let is_new = |(_, set): &(u32, &PlacedSet)| set.owner.is_none();
    for (number, set) in (0..).zip(sets).filter(is_new) {
        let holder = holders.holding(set.producer).max_by_key(|(index, weight)| (*weight, Reverse(*index)));
        let Some((index, _)) = holder else { continue };
        let load = shares.loads()[usize::from(index)].saturating_add(shares.weight(number));
        if load <= tolerated.ceiling && load - shares.lightest().min(load) <= tolerated.spread {
            shares.settle(number, index);
        }
    }
}

#[cfg(test)]
mod tests;
