//! Which aggregators have something of a producer.

use super::PlacedSet;
use super::shares::NOBODY;

/// Who has how much of the producers that somebody wants to know about.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// Producer, who has something of it, how much: in this order, each pair once.
    held: Vec<(u32, u16, u64)>,
}

impl Holders {
    /// Who has something of the producers that have a set which nobody has.
    pub(super) fn of_orphaned(sets: &[PlacedSet], kept: &[u16]) -> Holders {
        let mut marked = Marks::new(sets);
        for (set, _) in sets.iter().zip(kept).filter(|(_, index)| **index == NOBODY) {
            marked.mark(set.producer);
        }
        Holders::of(sets, kept, &marked)
    }

    /// Who has something of the producers that more than one has something of.
    pub(super) fn of_torn(sets: &[PlacedSet], kept: &[u16]) -> Holders {
        let mut marked = Marks::new(sets);
        let mut first = vec![NOBODY; marked.0.len()];
        for (set, index) in sets.iter().zip(kept).filter(|(_, index)| **index != NOBODY) {
            match first.get_mut(set.producer as usize) {
                Some(first) if *first == NOBODY => *first = *index,
                Some(first) if *first == *index => {}
                _ => marked.mark(set.producer),
            }
        }
        Holders::of(sets, kept, &marked)
    }

    fn of(sets: &[PlacedSet], kept: &[u16], marked: &Marks) -> Holders {
        let held = sets.iter().zip(kept).filter(|(set, index)| **index != NOBODY && marked.has(set.producer));
        let mut held: Vec<_> = held.map(|(set, index)| (set.producer, *index, set.weight.0)).collect();
        held.sort_unstable();
        held.dedup_by(|(producer, index, weight), kept| {
            let is_same = (kept.0, kept.1) == (*producer, *index);
            kept.2 = if is_same { kept.2.saturating_add(*weight) } else { kept.2 };
            is_same
        });
        Holders { held }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether an aggregator has something of a producer.
    pub(super) fn has(&self, producer: u32, index: u16) -> bool {
        let place = self.held.partition_point(|(other, holder, _)| (*other, *holder) < (producer, index));
        self.held.get(place).is_some_and(|(other, holder, _)| (*other, *holder) == (producer, index))
    }

    /// Who has something of a producer, and how much.
    pub(super) fn holding(&self, producer: u32) -> impl Iterator<Item = (u16, u64)> {
        let begin = self.held.partition_point(|(other, _, _)| *other < producer);
        let of_producer = self.held[begin..].iter().take_while(move |(other, _, _)| *other == producer);
        of_producer.map(|(_, index, weight)| (*index, *weight))
    }

    /// Adds that an aggregator has something of a producer.
    pub(super) fn add(&mut self, producer: u32, index: u16) {
        if self.holding(producer).next().is_some() && !self.has(producer, index) {
            let place = self.held.partition_point(|(other, holder, _)| (*other, *holder) < (producer, index));
            self.held.insert(place, (producer, index, 0));
        }
    }
}

/// Marks for producers. Numbers far above the count of the sets have no place in the table and count as marked.
struct Marks(Vec<bool>);

impl Marks {
    fn new(sets: &[PlacedSet]) -> Marks {
        let producers = sets.iter().map(|set| set.producer as usize + 1).max().unwrap_or(0);
        Marks(vec![false; producers.min(sets.len() * 4)])
    }

    fn mark(&mut self, producer: u32) {
        if let Some(mark) = self.0.get_mut(producer as usize) {
            *mark = true;
        }
    }

    fn has(&self, producer: u32) -> bool {
        self.0.get(producer as usize).copied().unwrap_or(true)
    }
}
