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
//!   interrupts the part that stays. Where there are few shares, all ways to move them are tried.
//! - *A giant*, a set as heavy as the even share of an aggregator, makes its aggregator as heavy as it is. The others are
//!   to be even among themselves.
//! - *Out of reach* of the band, the heaviest is at most four thirds of the best there is.
//!
//! All of it is a pure function of numbers; the same ones give the same placement.

mod afresh;
mod bounds;
mod evening;
mod few;
mod holders;
mod shares;
mod weight;

use std::cmp::Reverse;

use afresh::{alike, each_set_for_itself, from_nothing};
use bounds::Corridor;
use evening::{Goal, even_out, even_out_freely};
use few::place_few;
use holders::Holders;
use shares::{NOBODY, Shares};

pub use bounds::lower_bound;
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
        let percent = u128::from(self.percent);
        u64::try_from(u128::from(bound) * (100 + percent) / 100).unwrap_or(u64::MAX)
    }
}

/// Nothing may be further above the bound than this, if it can be helped.
const FAR: Band = Band { percent: 33 };
/// How often a placement is looked at again that cannot be within the band. Each time the loads come closer together.
const MOST_ROUNDS: usize = 100;

/// Places every set on one of the aggregators that `usable` allows, which are numbered by it.
#[must_use]
pub fn place_sets(sets: &[PlacedSet], usable: &[bool], band: Band) -> SetPlacement {
    let numbers = numbers(usable);
    if numbers.is_empty() {
        let owners = vec![None; sets.len()];
        return SetPlacement { owners, loads: vec![Weight::default(); usable.len()], ..SetPlacement::default() };
    }
    let bound = lower_bound(sets.iter().map(|set| set.weight), numbers.len());
    let mut indices = kept(sets, usable, &numbers);
    if indices.iter().all(|index| *index == NOBODY) {
        indices = from_nothing(sets, numbers.len(), bound);
    }
    // Once is enough, unless what the band asks for cannot be had: then until a second look would move nothing.
    for _ in 0..MOST_ROUNDS {
        let before = indices.clone();
        let is_tolerable;
        (indices, is_tolerable) = keeping(sets, indices, numbers.len(), bound, band);
        if is_tolerable || indices == before {
            break;
        }
    }
    let owners = indices.into_iter().map(|index| numbers[usize::from(index)]).collect();
    summary(sets, usable, owners, bound)
}

/// The weight that has to move at least until everybody is even, given that what has no owner moves anyway: as much as if
/// sets could be cut at will.
#[must_use]
pub fn least_moved(sets: &[PlacedSet], usable: &[bool]) -> Weight {
    let numbers = numbers(usable);
    let shares = Shares::new(sets, kept(sets, usable, &numbers), numbers.len());
    let orphans = sets.iter().zip(shares.kept()).filter(|(_, index)| **index == NOBODY);
    let unplaced: Weight = orphans.map(|(set, _)| set.weight).sum();
    let stuck = shares.stuck();
    let corridor = Corridor::between(shares.loads(), &stuck, unplaced.0, shares.grain(), u64::MAX);
    Weight(unplaced.0.saturating_add(corridor.surplus(shares.loads(), &stuck)))
}

/// The numbers of those that may be used.
fn numbers(usable: &[bool]) -> Vec<u16> {
    (0..NOBODY).zip(usable).filter(|(_, usable)| **usable).map(|(number, _)| number).collect()
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
        let load = &mut loads[usize::from(*owner)];
        *load = load.saturating_add(set.weight.0);
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

/// What has an owner stays there, unless that is beyond the band. Says whether the result is within it.
fn keeping(sets: &[PlacedSet], kept: Vec<u16>, aggregators: usize, bound: Weight, band: Band) -> (Vec<u16>, bool) {
    let holders = Holders::of_orphaned(sets, &kept);
    let mut shares = Shares::new(sets, kept, aggregators);
    let goal = Goal { ceiling: band.limit(bound.0), spread: shares.grain() };
    let tolerated = Goal { spread: goal.spread.max(goal.ceiling - bound.0), ..goal };
    join_their_producers(&mut shares, sets, &holders, tolerated);
    place_orphans(&mut shares, goal, bound, &holders);
    if !tolerated.is_reached_by(&shares) {
        move_settled(&mut shares, sets, goal, bound);
    }
    let is_tolerable = tolerated.is_reached_by(&shares);
    if !is_tolerable && shares.heaviest() > FAR.limit(bound.0) {
        let afresh = each_set_for_itself(sets, aggregators, goal);
        if afresh.heaviest() < shares.heaviest() {
            return (alike(sets, shares.kept(), afresh.into_owners(), aggregators), false);
        }
    }
    (shares.into_owners(), is_tolerable)
}

/// Places what has no owner, without moving anything else.
fn place_orphans(shares: &mut Shares<'_>, goal: Goal, bound: Weight, holders: &Holders) {
    let orphans = shares.orphans();
    let is_even = place_few(shares, orphans.clone().collect(), goal, holders);
    shares.place(orphans, bound.0, holders);
    if !is_even {
        even_out_freely(shares, goal);
    }
}

/// Moves what has an owner as well: whole shares where that suffices, or else, where no step helps any more, single sets.
fn move_settled(shares: &mut Shares<'_>, sets: &[PlacedSet], goal: Goal, bound: Weight) {
    let torn = Holders::of_torn(sets, shares.kept());
    let before = shares.clone();
    even_out(shares, goal, torn);
    let whole = evened_by_trying(&before, Shares::few, goal);
    if let Some(whole) = whole.filter(|whole| !goal.is_reached_by(shares) || whole.cost() < shares.cost()) {
        *shares = whole;
    }
    for ceiling in [goal.ceiling, FAR.limit(bound.0)] {
        let goal = Goal { ceiling, ..goal };
        if !goal.is_reached_by(shares)
            && let Some(single) = evened_by_trying(&before, Shares::few_single, goal)
        {
            *shares = single;
        }
    }
}

fn evened_by_trying<'a>(
    before: &Shares<'a>,
    units: impl FnOnce(&mut Shares<'a>) -> Option<Vec<u32>>,
    goal: Goal,
) -> Option<Shares<'a>> {
    let mut shares = before.clone();
    let units = units(&mut shares)?;
    place_few(&mut shares, units, goal, &Holders::default()).then_some(shares)
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
