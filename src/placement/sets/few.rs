//! A few shares, each placed as a whole, by trying: where there is little to choose from, one step after the other often
//! ends far from the best.

use std::cmp::Reverse;

use super::bounds::Corridor;
use super::evening::Goal;
use super::holders::Holders;
use super::shares::{NOBODY, Shares};

/// More shares than this are many: of many, one fits nearly anywhere.
const MOST_SHARES: usize = 48;
/// How many places for shares are tried; the best way that was found by then is taken.
const MOST_TRIED: usize = 20_000;

/// Puts shares, each as a whole, where the goal is reached and the least weight moves; what has been nobody's rather to
/// who has nothing of its producer. What weighs nothing is left as it is. Says whether that was possible and found.
pub(super) fn place_few(shares: &mut Shares<'_>, mut units: Vec<u32>, goal: Goal, holders: &Holders) -> bool {
    units.retain(|share| shares.share(*share).weight > 0);
    if units.len() > MOST_SHARES {
        return false;
    }
    units.sort_by_key(|share| (Reverse(shares.share(*share).weight), *share));
    let Some(places) = Search::new(shares, units.clone(), goal, holders).best() else { return false };
    for (share, index) in units.into_iter().zip(places) {
        shares.give(share, index);
    }
    true
}

struct Search<'s, 'a> {
    shares: &'s Shares<'a>,
    goal: Goal,
    holders: &'s Holders,
    /// What is to be placed, the heaviest first.
    units: Vec<u32>,
    /// The heaviest giant in each of them.
    giants: Vec<u64>,
    /// What weighs all that is to be placed after each of them.
    later: Vec<u64>,
    mean: u64,
    loads: Vec<u64>,
    stuck: Vec<u64>,
    /// What each aggregator is still to get if nothing else moves.
    coming: Vec<u64>,
    places: Vec<u16>,
    tried: usize,
    best: Option<(u64, Vec<u16>)>,
}

impl<'s, 'a> Search<'s, 'a> {
    fn new(shares: &'s Shares<'a>, units: Vec<u32>, goal: Goal, holders: &'s Holders) -> Search<'s, 'a> {
        let (loads, stuck) = shares.without(&units);
        let weights = units.iter().map(|share| shares.share(*share).weight);
        let mut rest: u64 = weights.clone().sum();
        let mean = loads.iter().sum::<u64>().saturating_add(rest) / loads.len().max(1) as u64;
        let later = weights
            .map(|weight| {
                rest -= weight;
                rest
            })
            .collect();
        let mut coming = vec![0; loads.len()];
        for share in units.iter().map(|share| shares.share(*share)).filter(|share| share.home != NOBODY) {
            coming[usize::from(share.home)] += share.weight;
        }
        let giants = units.iter().map(|share| shares.giant_in(*share)).collect();
        Search {
            shares,
            goal,
            holders,
            units,
            giants,
            later,
            mean,
            loads,
            stuck,
            coming,
            places: Vec::new(),
            tried: 0,
            best: None,
        }
    }

    fn best(mut self) -> Option<Vec<u16>> {
        self.place_from(0, 0);
        self.best.map(|(_, places)| places)
    }

    fn place_from(&mut self, number: usize, moved: u64) {
        if self.best.as_ref().is_some_and(|(least, _)| moved >= *least) {
            return;
        }
        let Some(unit) = self.units.get(number) else {
            if self.goal.is_reached(&self.loads, &self.stuck) {
                self.best = Some((moved, self.places.clone()));
            }
            return;
        };
        let share = self.shares.share(*unit);
        let (weight, home) = (share.weight, share.home);
        if home != NOBODY {
            self.coming[usize::from(home)] -= weight;
        }
        for index in self.candidates(share.producer, home) {
            self.tried += 1;
            if self.tried > MOST_TRIED {
                break;
            }
            let place = usize::from(index);
            let stuck = self.stuck[place];
            self.loads[place] += weight;
            self.stuck[place] = stuck.max(self.giants[number]);
            let moved = if home != NOBODY && home != index { moved + weight } else { moved };
            if self.is_hopeful(self.later[number], moved) {
                self.places.push(index);
                self.place_from(number + 1, moved);
                self.places.pop();
            }
            self.loads[place] -= weight;
            self.stuck[place] = stuck;
        }
        if home != NOBODY {
            self.coming[usize::from(home)] += weight;
        }
    }

    /// Where a share may go: best it stays at home, else where there is least.
    fn candidates(&self, producer: u32, home: u16) -> Vec<u16> {
        let mut candidates: Vec<u16> = (0..).zip(&self.loads).map(|(index, _)| index).collect();
        candidates
            .sort_by_key(|index| (*index != home, self.holders.has(producer, *index), self.loads[usize::from(*index)]));
        candidates
    }

    /// Whether the goal can still be reached with what comes later, for less than the best way so far. Nobody gets lighter
    /// by what comes, and the lightest will carry no more than the mean.
    fn is_hopeful(&self, later: u64, moved: u64) -> bool {
        let could_be_lighter = self.loads.iter().zip(&self.stuck).filter(|(load, stuck)| load > stuck);
        let highest = could_be_lighter.map(|(load, _)| *load).max().unwrap_or(0);
        let at_least = highest.saturating_sub(self.goal.spread);
        let lack: u64 = self.loads.iter().map(|load| at_least.saturating_sub(*load)).sum();
        self.loads.iter().all(|load| *load <= self.goal.ceiling)
            && at_least <= self.mean
            && lack <= later
            && self.best.as_ref().is_none_or(|(least, _)| moved.saturating_add(self.still_moving(later)) < *least)
    }

    /// What still has to move at least.
    fn still_moving(&self, later: u64) -> u64 {
        let loads: Vec<u64> = self.loads.iter().zip(&self.coming).map(|(load, coming)| load + coming).collect();
        let unplaced = later - self.coming.iter().sum::<u64>();
        let corridor = Corridor::between(&loads, &self.stuck, unplaced, self.goal.spread, self.goal.ceiling);
        corridor.surplus(&loads, &self.stuck)
    }
}
