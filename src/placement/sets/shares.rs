//! Who has which shares of producers, while sets are being placed.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Range;

use super::PlacedSet;
use super::holders::Holders;

/// The index of no aggregator.
pub(super) const NOBODY: u16 = u16::MAX;

/// How many of the lightest aggregators are looked at for one who has nothing of the producer so far.
const ALTERNATIVES: usize = 8;
/// More sets than this are not looked through for how few shares they make.
const FEW_SETS: usize = 4_096;

/// What one aggregator has of a producer, or a part of it that moves for itself.
#[derive(Debug, Clone)]
pub(super) struct Share {
    /// Where its sets lie in [`Shares::order`].
    sets: Range<usize>,
    pub(super) weight: u64,
    pub(super) producer: u32,
    /// Who has had it so far.
    pub(super) home: u16,
    /// Who has it.
    pub(super) at: u16,
    /// Whether it is only a part of what its home had.
    pub(super) is_torn: bool,
}

/// A set so heavy that it is an aggregator's even share alone.
#[derive(Debug, Clone, Copy)]
struct Giant {
    set: u32,
    weight: u64,
    at: u16,
}

/// Shares by weight.
pub(super) type ByWeight = BTreeSet<(u64, u32)>;

/// The shares of one aggregator.
#[derive(Debug, Clone, Default)]
pub(super) struct Listed {
    /// Those that have just come, which may as well go elsewhere.
    pub(super) free: ByWeight,
    /// Those that have been here before.
    pub(super) settled: ByWeight,
}

/// The aggregators that may be used, by index, with what they carry. An aggregator's sets are grouped to shares when
/// somebody asks for them: most changes concern few of a million sets.
#[derive(Debug, Clone)]
pub(super) struct Shares<'a> {
    sets: &'a [PlacedSet],
    /// A weight counts up to here, so that the sum of all fits.
    most: u64,
    grain: u64,
    giants: Vec<Giant>,
    /// Who has had each set so far, by index.
    kept: Vec<u16>,
    shares: Vec<Share>,
    /// The sets of the shares, share by share.
    order: Vec<u32>,
    listed: Vec<Option<Listed>>,
    loads: Vec<u64>,
    counts: Vec<u32>,
}

impl<'a> Shares<'a> {
    /// Everything where it has been, by index, or [`NOBODY`]'s.
    pub(super) fn new(sets: &'a [PlacedSet], kept: Vec<u16>, aggregators: usize) -> Shares<'a> {
        let total: u128 = sets.iter().map(|set| u128::from(set.weight.0)).sum();
        let most = if u64::try_from(total).is_ok() { u64::MAX } else { u64::MAX / sets.len() as u64 };
        let (giants, grain) = giants(sets, most, &kept, aggregators);
        let mut shares = Shares {
            sets,
            most,
            grain,
            giants,
            kept,
            shares: Vec::new(),
            order: Vec::new(),
            listed: (0..aggregators).map(|_| None).collect(),
            loads: vec![0; aggregators],
            counts: vec![0; aggregators],
        };
        for (set, index) in sets.iter().zip(&shares.kept).filter(|(_, index)| **index != NOBODY) {
            shares.loads[usize::from(*index)] += set.weight.0.min(most);
            shares.counts[usize::from(*index)] += 1;
        }
        shares
    }

    pub(super) fn into_owners(self) -> Vec<u16> {
        let mut owners = self.kept;
        for share in &self.shares {
            for set in &self.order[share.sets.clone()] {
                owners[*set as usize] = share.at;
            }
        }
        owners
    }

    /// The index of who has had each set so far.
    pub(super) fn kept(&self) -> &[u16] {
        &self.kept
    }

    pub(super) fn loads(&self) -> &[u64] {
        &self.loads
    }

    pub(super) fn heaviest(&self) -> u64 {
        self.loads.iter().copied().max().unwrap_or(0)
    }

    pub(super) fn lightest(&self) -> u64 {
        self.loads.iter().copied().min().unwrap_or(0)
    }

    /// The heaviest set that is no giant.
    pub(super) fn grain(&self) -> u64 {
        self.grain
    }

    /// What each aggregator cannot get rid of: the giant that it has.
    pub(super) fn stuck(&self) -> Vec<u64> {
        let mut stuck = vec![0; self.loads.len()];
        for giant in self.giants.iter().filter(|giant| giant.at != NOBODY) {
            let stuck: &mut u64 = &mut stuck[usize::from(giant.at)];
            *stuck = giant.weight.max(*stuck);
        }
        stuck
    }

    pub(super) fn weight(&self, set: u32) -> u64 {
        self.sets[set as usize].weight.0.min(self.most)
    }

    pub(super) fn share(&self, share: u32) -> &Share {
        &self.shares[share as usize]
    }

    pub(super) fn sets_of(&self, share: u32) -> &[u32] {
        &self.order[self.share(share).sets.clone()]
    }

    /// Lets an aggregator have a set of nobody's, as if it had always been there.
    pub(super) fn settle(&mut self, set: u32, index: u16) {
        self.kept[set as usize] = index;
        for giant in self.giants.iter_mut().filter(|giant| giant.set == set) {
            giant.at = index;
        }
        self.loads[usize::from(index)] += self.weight(set);
        self.counts[usize::from(index)] += 1;
    }

    /// The shares of an aggregator.
    pub(super) fn of(&mut self, index: u16) -> &Listed {
        if self.listed[usize::from(index)].is_none() {
            self.group(index, |sets, set| sets[set as usize].producer);
            let mut listed = Listed::default();
            for (number, share) in (0..).zip(&self.shares).filter(|(_, share)| share.at == index) {
                let list = if share.home == index { &mut listed.settled } else { &mut listed.free };
                list.insert((share.weight, number));
            }
            self.listed[usize::from(index)] = Some(listed);
        }
        self.listed[usize::from(index)].get_or_insert_default()
    }

    /// Makes shares of what nobody has, by producer.
    pub(super) fn orphans(&mut self) -> Range<u32> {
        self.group(NOBODY, |sets, set| sets[set as usize].producer)
    }

    /// Makes a share of each set that nobody has.
    pub(super) fn single_orphans(&mut self) -> Range<u32> {
        self.group(NOBODY, |_, set| set)
    }

    /// All shares, unless there are many sets to make them of.
    pub(super) fn few(&mut self) -> Option<Vec<u32>> {
        if self.sets.len() > FEW_SETS {
            return None;
        }
        for (index, _) in (0..).zip(self.loads.clone()) {
            self.of(index);
        }
        Some((0..).zip(&self.shares).map(|(share, _)| share).collect())
    }

    /// All shares, each torn to single sets.
    pub(super) fn few_single(&mut self) -> Option<Vec<u32>> {
        for share in self.few()? {
            let sets = self.sets_of(share).to_vec();
            for set in &sets[1..] {
                self.tear(share, &[*set]);
            }
        }
        self.few()
    }

    /// What the aggregators would carry without some shares, and what of it would be stuck.
    pub(super) fn without(&self, shares: &[u32]) -> (Vec<u64>, Vec<u64>) {
        let mut without = self.clone();
        for share in shares.iter().map(|share| self.share(*share)).filter(|share| share.at != NOBODY) {
            without.loads[usize::from(share.at)] -= share.weight;
            without.giants.retain(|giant| !self.order[share.sets.clone()].contains(&giant.set));
        }
        let stuck = without.stuck();
        (without.loads, stuck)
    }

    /// The heaviest giant of a share.
    pub(super) fn giant_in(&self, share: u32) -> u64 {
        let giants = self.giants.iter().filter(|giant| self.sets_of(share).contains(&giant.set));
        giants.map(|giant| giant.weight).max().unwrap_or(0)
    }

    /// What a change costs: how many shares are torn that somebody keeps a part of, and the weight that moves.
    pub(super) fn cost(&self) -> (usize, u64) {
        let kept_parts = self.shares.iter().filter(|share| share.is_torn && share.at == share.home);
        let moved = self.shares.iter().filter(|share| share.home != NOBODY && share.at != share.home);
        (kept_parts.count(), moved.map(|share| share.weight).sum())
    }

    /// Gives each share that nobody has yet to whoever carries least, the heaviest share first, and of it only a part where the whole would
    /// lift him above the ceiling. He should rather have nothing of that producer yet: the day that the new share leaves
    /// again, the old one would be interrupted.
    pub(super) fn place(&mut self, shares: impl Iterator<Item = u32>, ceiling: u64, holders: &Holders) {
        let carried = self.loads.iter().zip(&self.counts).zip(0..);
        let mut by_load: BTreeSet<(u64, u32, u16)> =
            carried.map(|((load, count), index)| (*load, *count, index)).collect();
        let mut heaviest_first: Vec<u32> = shares.filter(|share| self.share(*share).at == NOBODY).collect();
        heaviest_first.sort_by_key(|share| Reverse(self.share(*share).weight));
        for share in heaviest_first {
            let mut is_placed = false;
            while !is_placed {
                let Some(lightest) = by_load.first().copied() else { return };
                let (producer, weight) = (self.share(share).producer, self.share(share).weight);
                let fits = |load: u64| load.saturating_add(weight) <= ceiling;
                let better = by_load.iter().take(ALTERNATIVES);
                let better = better.copied().find(|(load, _, index)| !holders.has(producer, *index) && fits(*load));
                let place = if holders.has(producer, lightest.2) { better.unwrap_or(lightest) } else { lightest };
                let (load, _, index) = place;
                let part = if fits(load) { None } else { self.tear_fitting(share, ceiling.saturating_sub(load)) };
                is_placed = part.is_none();
                self.give(part.unwrap_or(share), index);
                by_load.remove(&place);
                by_load.insert((self.loads[usize::from(index)], self.counts[usize::from(index)], index));
            }
        }
    }

    /// Tears off what there is room for, one set at least; nothing if that would be all.
    fn tear_fitting(&mut self, share: u32, room: u64) -> Option<u32> {
        let mut sets = self.portion(share, room, room);
        if sets.is_empty() {
            sets.extend(self.sets_of(share).iter().copied().max_by_key(|set| (self.weight(*set), Reverse(*set))));
        }
        (sets.len() < self.sets_of(share).len()).then(|| self.tear(share, &sets))
    }

    /// Sets of a share that weigh what is wanted, or little more, at most `most`; or as much less as there is.
    pub(super) fn portion(&self, share: u32, wanted: u64, most: u64) -> Vec<u32> {
        let mut sets: Vec<u32> = self.sets_of(share).iter().copied().filter(|set| self.weight(*set) > 0).collect();
        sets.sort_unstable_by_key(|set| (Reverse(self.weight(*set)), *set));
        let mut sum = 0;
        let (mut portion, rest): (Vec<u32>, Vec<u32>) = sets.into_iter().partition(|set| {
            let fits = self.weight(*set) <= wanted - sum;
            sum += if fits { self.weight(*set) } else { 0 };
            fits
        });
        if sum < wanted {
            let last = rest.iter().rev().find(|set| self.weight(**set) > wanted - sum);
            portion.extend(last.filter(|set| self.weight(**set) <= most - sum));
        }
        portion
    }

    /// Makes some sets of a share one of their own.
    pub(super) fn tear(&mut self, share: u32, sets: &[u32]) -> u32 {
        let whole = self.shares[share as usize].clone();
        let torn: BTreeSet<u32> = sets.iter().copied().collect();
        self.order[whole.sets.clone()].sort_unstable_by_key(|set| (torn.contains(set), *set));
        let cut = whole.sets.end - torn.len();
        let weight = torn.iter().map(|set| self.weight(*set)).sum();
        let part = Share { sets: cut..whole.sets.end, weight, is_torn: true, ..whole };
        let rest = Share { sets: whole.sets.start..cut, weight: whole.weight - weight, is_torn: true, ..whole };
        self.unlist(share);
        self.shares[share as usize] = rest;
        self.enlist(share);
        self.shares.push(part);
        let part = self.last();
        self.enlist(part);
        part
    }

    /// Moves a share to an aggregator.
    pub(super) fn give(&mut self, share: u32, index: u16) {
        let Share { sets, weight, at, .. } = self.shares[share as usize].clone();
        let count = u32::try_from(sets.len()).unwrap_or(u32::MAX);
        self.unlist(share);
        if at != NOBODY {
            self.loads[usize::from(at)] -= weight;
            self.counts[usize::from(at)] -= count;
        }
        self.shares[share as usize].at = index;
        if self.giants.last().is_some_and(|giant| giant.weight <= weight) {
            for giant in self.giants.iter_mut().filter(|giant| self.order[sets.clone()].contains(&giant.set)) {
                giant.at = index;
            }
        }
        self.loads[usize::from(index)] += weight;
        self.counts[usize::from(index)] += count;
        self.enlist(share);
    }

    /// Makes shares of all sets that somebody has had so far, by what they have in common.
    fn group(&mut self, home: u16, common: impl Fn(&[PlacedSet], u32) -> u32) -> Range<u32> {
        let first = self.shares.len();
        let of_home = (0..).zip(&self.kept).filter(|(_, index)| **index == home).map(|(set, _)| set);
        let mut sets: Vec<u32> = of_home.collect();
        sets.sort_by_key(|set| common(self.sets, *set));
        for share in sets.chunk_by(|a, b| common(self.sets, *a) == common(self.sets, *b)) {
            let weight = share.iter().map(|set| self.weight(*set)).sum();
            let producer = self.sets[share[0] as usize].producer;
            let begin = self.order.len();
            self.order.extend_from_slice(share);
            self.shares.push(Share { sets: begin..self.order.len(), weight, producer, home, at: home, is_torn: false });
        }
        u32::try_from(first).unwrap_or(u32::MAX)..u32::try_from(self.shares.len()).unwrap_or(u32::MAX)
    }

    fn last(&self) -> u32 {
        u32::try_from(self.shares.len() - 1).unwrap_or(u32::MAX)
    }

    fn enlist(&mut self, share: u32) {
        if let Some((list, entry)) = self.list_with(share) {
            list.insert(entry);
        }
    }

    fn unlist(&mut self, share: u32) {
        if let Some((list, entry)) = self.list_with(share) {
            list.remove(&entry);
        }
    }

    /// The list that a share belongs to, if somebody has asked for it, and what stands for it there.
    fn list_with(&mut self, share: u32) -> Option<(&mut ByWeight, (u64, u32))> {
        let Share { weight, home, at, .. } = self.shares[share as usize];
        let listed = self.listed.get_mut(usize::from(at))?.as_mut()?;
        Some((if home == at { &mut listed.settled } else { &mut listed.free }, (weight, share)))
    }
}

/// The giants, the heaviest first, and the weight of the heaviest other set. A set is one if it weighs at least the mean
/// of what there is besides heavier giants on the aggregators that have none.
fn giants(sets: &[PlacedSet], most: u64, kept: &[u16], aggregators: usize) -> (Vec<Giant>, u64) {
    let weight = |set: u32| sets[set as usize].weight.0.min(most);
    let mut heaviest: Vec<u32> = (0..).zip(sets).map(|(set, _)| set).collect();
    if aggregators < heaviest.len() {
        heaviest.select_nth_unstable_by_key(aggregators, |set| (Reverse(weight(*set)), *set));
        heaviest.truncate(aggregators);
    }
    heaviest.sort_unstable_by_key(|set| (Reverse(weight(*set)), *set));
    let mut rest: u64 = (0..).zip(sets).map(|(set, _)| weight(set)).sum();
    let mut giants = Vec::new();
    for (set, others) in heaviest.iter().copied().zip((1..=aggregators as u64).rev()) {
        if others == 1 || weight(set).saturating_mul(others) < rest || weight(set) == 0 {
            return (giants, weight(set));
        }
        rest -= weight(set);
        giants.push(Giant { set, weight: weight(set), at: kept[set as usize] });
    }
    (giants, 0)
}
