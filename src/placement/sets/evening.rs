//! The moves that even out what the aggregators carry.
//!
//! Taking all that an aggregator has of a producer costs nothing on real daemons: the producer is started elsewhere, then
//! stopped here. Taking a part interrupts what stays, since stopping the producer is the only way to make an ldmsd drop
//! a set. And what has no place yet moves anyway. So steps are tried in this order, and a dearer one only when no cheaper
//! one helps anywhere.

use super::bounds::Corridor;
use super::holders::Holders;
use super::shares::{ByWeight, Shares};

/// When loads are even: a giant's aggregator may be as heavy as the giant, and nobody who has more than that may be far
/// above the lightest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    /// What the heaviest may carry at most.
    pub(super) ceiling: u64,
    /// How far the heaviest may be from the lightest.
    pub(super) spread: u64,
}

impl Goal {
    pub(super) fn is_reached(self, loads: &[u64], stuck: &[u64]) -> bool {
        let heaviest = loads.iter().copied().max().unwrap_or(0);
        let lightest = loads.iter().copied().min().unwrap_or(0);
        let could_be_lighter = loads.iter().zip(stuck).filter(|(load, stuck)| load > stuck).map(|(load, _)| *load);
        heaviest <= self.ceiling && could_be_lighter.max().unwrap_or(lightest) - lightest <= self.spread
    }

    pub(super) fn is_reached_by(self, shares: &Shares<'_>) -> bool {
        self.is_reached(shares.loads(), &shares.stuck())
    }
}

/// Which shares of an aggregator a step may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Those that have just come to it.
    Free,
    /// Those that it has had so far.
    Settled,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A share moves.
    Whole(Which),
    /// A share moves, and a smaller one comes back that is free.
    Exchange(Which),
    /// A part of a share moves.
    Part(Which),
    /// A set moves, or is exchanged for a smaller one, to make the heaviest lighter although nothing fits the corridor.
    Set(Which),
}

const FREELY: &[Step] =
    &[Step::Whole(Which::Free), Step::Exchange(Which::Free), Step::Part(Which::Free), Step::Set(Which::Free)];
const WITH_SETTLED: &[Step] = &[
    Step::Whole(Which::Free),
    Step::Exchange(Which::Free),
    Step::Part(Which::Free),
    Step::Whole(Which::Settled),
    Step::Exchange(Which::Settled),
    Step::Part(Which::Settled),
    Step::Set(Which::Free),
    Step::Set(Which::Settled),
];

/// How many aggregators are tried as the other side of a step, the lightest first.
const PARTNERS: usize = 8;
/// How many shares are tried for an exchange, or to be torn.
const CANDIDATES: usize = 256;
/// How many steps are made at most. Each narrows a gap, so that they come to an end; this is for what would take too long.
const MOST_STEPS: usize = 1_000_000;

/// Moves what has no place yet until the goal is reached, or nothing helps.
pub(super) fn even_out_freely(shares: &mut Shares<'_>, goal: Goal) {
    Evening { shares, goal, torn: Holders::default() }.run(FREELY);
}

/// Moves as few bytes as reach the goal, or come near it.
pub(super) fn even_out(shares: &mut Shares<'_>, goal: Goal, torn: Holders) {
    Evening { shares, goal, torn }.run(WITH_SETTLED);
}

struct Evening<'s, 'a> {
    shares: &'s mut Shares<'a>,
    goal: Goal,
    /// Who has something of the producers that are torn.
    torn: Holders,
}

/// From whom something goes to whom, and how much should.
#[derive(Clone, Copy)]
struct Pair {
    heavy: u16,
    light: u16,
    /// What brings the heavy one down into the corridor.
    need: u64,
    /// What the heavy one can lose and the light one can take without leaving the corridor.
    room: u64,
    gap: u64,
}

impl Evening<'_, '_> {
    fn run(&mut self, steps: &[Step]) {
        for _ in 0..MOST_STEPS {
            if self.goal.is_reached_by(self.shares) || !steps.iter().any(|step| self.make(*step)) {
                return;
            }
        }
    }

    /// Makes a step wherever it helps first: from the heaviest, to the lightest.
    fn make(&mut self, step: Step) -> bool {
        let (loads, stuck) = (self.shares.loads(), self.shares.stuck());
        let corridor = Corridor::between(loads, &stuck, 0, self.goal.spread, self.goal.ceiling);
        let mut by_load: Vec<(u64, u16)> = loads.iter().copied().zip(0..).collect();
        by_load.sort_unstable();
        for (heavy_load, heavy) in by_load.iter().rev() {
            let need = heavy_load.saturating_sub(corridor.high.max(stuck[usize::from(*heavy)]));
            if need == 0 {
                continue;
            }
            // What fits nobody well may suit one in the middle.
            let partners = if matches!(step, Step::Set(_)) { by_load.len() } else { PARTNERS };
            for (light_load, light) in by_load.iter().take(partners).take_while(|(load, _)| load < heavy_load) {
                let room = (heavy_load - corridor.low).min(corridor.high.saturating_sub(*light_load));
                let pair = Pair { heavy: *heavy, light: *light, need, room, gap: heavy_load - light_load };
                let is_made = match step {
                    Step::Whole(which) => self.move_whole(pair, which),
                    Step::Exchange(which) => self.exchange(pair, which),
                    Step::Part(which) => self.move_part(pair, which),
                    Step::Set(which) => self.move_set(pair, which),
                };
                if is_made {
                    return true;
                }
            }
            if matches!(step, Step::Set(_)) {
                return false;
            }
        }
        false
    }

    /// The lightest share that suffices or the heaviest that does not, whichever is nearer to what is needed; rather one
    /// whose producer the other has something of already, where that moves no more.
    fn move_whole(&mut self, pair: Pair, which: Which) -> bool {
        let Pair { heavy, light, need, room, .. } = pair;
        let list = self.list(heavy, which);
        let fitting = |from: u64, to: u64| list.range((from, 0)..=(to.max(from), u32::MAX));
        let sufficient = if need <= room { fitting(need, room).next() } else { None };
        let insufficient = fitting(1, need.min(room)).next_back().filter(|(weight, _)| *weight <= need.min(room));
        let nearest = sufficient.into_iter().chain(insufficient).min_by_key(|(weight, _)| weight.abs_diff(need));
        let Some((weight, share)) = nearest.copied() else { return false };
        let share = if which == Which::Settled {
            self.reuniting(heavy, light, weight.max(need.min(room))).unwrap_or(share)
        } else {
            share
        };
        self.give(share, light);
        true
    }

    /// A settled share that another one of its producer waits for.
    fn reuniting(&mut self, heavy: u16, light: u16, most: u64) -> Option<u32> {
        if self.torn.is_empty() {
            return None;
        }
        let list = self.shares.of(heavy).settled.range((1, 0)..=(most, u32::MAX)).rev().take(CANDIDATES);
        let shares: Vec<u32> = list.map(|(_, share)| *share).collect();
        shares.into_iter().find(|share| self.torn.has(self.shares.share(*share).producer, light))
    }

    /// Two shares that differ by what is needed: the lightest of the heavy one that there is such a partner for.
    fn exchange(&mut self, pair: Pair, which: Which) -> bool {
        let Pair { heavy, light, need, room, .. } = pair;
        if need > room || self.list(light, Which::Free).is_empty() {
            return false;
        }
        let gives: Vec<(u64, u32)> = self.list(heavy, which).range((need + 1, 0)..).take(CANDIDATES).copied().collect();
        for (weight, given) in gives {
            let (from, to) = (weight.saturating_sub(room).max(1), weight - need);
            let takes = self.list(light, Which::Free).range((from, 0)..=(to.max(from), u32::MAX)).next().copied();
            if let Some((_, taken)) = takes.filter(|(taken, _)| *taken <= to) {
                self.give(given, light);
                self.give(taken, heavy);
                return true;
            }
        }
        false
    }

    /// As much of the lightest share that is too heavy as a whole.
    fn move_part(&mut self, pair: Pair, which: Which) -> bool {
        let Pair { heavy, light, need, room, .. } = pair;
        if room == 0 {
            return false;
        }
        let wanted = need.min(room);
        let shares: Vec<u32> =
            self.list(heavy, which).range((room, u32::MAX)..).take(CANDIDATES).map(|(_, share)| *share).collect();
        let mut best: Option<(u64, u32, Vec<u32>)> = None;
        for share in shares {
            let sets = self.shares.portion(share, wanted, room);
            let weight: u64 = sets.iter().map(|set| self.shares.weight(*set)).sum();
            if weight > best.as_ref().map_or(0, |(most, _, _)| *most) {
                best = Some((weight, share, sets));
            }
            if weight >= wanted {
                break;
            }
        }
        let Some((_, share, sets)) = best else { return false };
        let part = self.shares.tear(share, &sets);
        self.give(part, light);
        true
    }

    /// The set, or the two to exchange, that make the heavy one as light as needed for the least weight moved, or else as
    /// light as they can.
    fn move_set(&mut self, pair: Pair, which: Which) -> bool {
        let Pair { heavy, light, need, gap, .. } = pair;
        let (gives, takes) = (self.sets(heavy, which), self.sets(light, which));
        let mut best = None;
        for (weight, share, set) in &gives {
            let mut consider = |taken: Option<&(u64, u32, u32)>| {
                let back = taken.map_or(0, |(back, _, _)| *back);
                let difference = weight - back;
                let helps = difference.min(gap.saturating_sub(difference)).min(need);
                let value = (helps, std::cmp::Reverse(weight.saturating_add(back)));
                if helps > 0 && best.as_ref().is_none_or(|(most, _, _)| value > *most) {
                    best = Some((value, (*share, *set), taken.map(|(_, share, set)| (*share, *set))));
                }
            };
            consider(None);
            // What differs by just what is needed, and what differs by as near to half the gap as there is.
            let differing = |difference: u64| {
                let wanted = weight.saturating_sub(difference);
                takes[..takes.partition_point(|(back, _, _)| *back <= wanted)].last()
            };
            consider(differing(need).filter(|(back, _, _)| back < weight));
            consider(differing(gap / 2).filter(|(back, _, _)| back < weight));
            let half = weight.saturating_sub(gap / 2);
            let above = takes.get(takes.partition_point(|(back, _, _)| *back < half));
            consider(above.filter(|(back, _, _)| back < weight));
        }
        let Some((_, (share, set), taken)) = best else { return false };
        self.give_set(share, set, light);
        if let Some((share, set)) = taken {
            self.give_set(share, set, heavy);
        }
        true
    }

    fn give_set(&mut self, share: u32, set: u32, to: u16) {
        let is_all = self.shares.sets_of(share).len() == 1;
        let part = if is_all { share } else { self.shares.tear(share, &[set]) };
        self.give(part, to);
    }

    fn give(&mut self, share: u32, to: u16) {
        self.torn.add(self.shares.share(share).producer, to);
        self.shares.give(share, to);
    }

    fn list(&mut self, index: u16, which: Which) -> &ByWeight {
        let listed = self.shares.of(index);
        match which {
            Which::Free => &listed.free,
            Which::Settled => &listed.settled,
        }
    }

    /// The sets that a step may move, or all of them where it may move settled ones, the lightest first, without those that
    /// weigh nothing.
    fn sets(&mut self, index: u16, which: Which) -> Vec<(u64, u32, u32)> {
        let listed = self.shares.of(index);
        let settled = listed.settled.iter().filter(|_| which == Which::Settled);
        let shares: Vec<u32> = listed.free.iter().chain(settled).map(|(_, share)| *share).collect();
        let sets = shares.iter().flat_map(|share| self.shares.sets_of(*share).iter().map(|set| (*share, *set)));
        let sets = sets.map(|(share, set)| (self.shares.weight(set), share, set));
        let mut sets: Vec<_> = sets.filter(|(weight, _, _)| *weight > 0).collect();
        sets.sort_unstable();
        sets
    }
}
