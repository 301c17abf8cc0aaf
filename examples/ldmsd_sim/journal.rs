//! What was sampled and what was collected, over the whole simulation: the ground truth about gaps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use maestro::notation::Name;

use crate::daemon::last_multiple_us;

/// How many samples are remembered for each set and each daemon that collects it: some hours at one a second.
const SAMPLES_MAX: usize = 20_000;

/// The journal, shared by all daemons.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    /// By set instance: when it was sampled.
    sampled: BTreeMap<String, Vec<Period>>,
    /// By daemon and set instance: the times of the samples that it collected.
    collected: BTreeMap<(Name, String), VecDeque<u64>>,
    /// By daemon: who it collected from, as host and port.
    sources: BTreeMap<Name, BTreeMap<String, (String, u16)>>,
    /// By daemon: how many samples it collected since it was started.
    counts: BTreeMap<Name, u64>,
    /// By daemon: when it collected last.
    latest_us: BTreeMap<Name, u64>,
}

/// A time in which a sampler sampled a set.
#[derive(Debug, Clone)]
struct Period {
    node: Name,
    interval_us: u64,
    offset_us: i64,
    from_us: u64,
    /// `None` while it goes on.
    to_us: Option<u64>,
}

/// What became of the samples of one set at one level of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct SetGaps {
    /// The daemon that samples it.
    pub(crate) sampler: String,
    pub(crate) instance: String,
    /// 1 for those who collect from samplers, 2 for those above.
    pub(crate) level: usize,
    /// How many samples were taken.
    pub(crate) samples: usize,
    /// How many of them nobody collected.
    pub(crate) missed: usize,
    /// How many more than one daemon of the level collected.
    pub(crate) doubled: usize,
    /// Who collected them.
    pub(crate) collectors: Vec<String>,
}

/// A metric set that is being sampled.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct SampledSet {
    sampler: String,
    instance: String,
    interval_us: u64,
    offset_us: i64,
    /// When its sampler plugin was started so, in microseconds since 1970.
    since_us: u64,
}

/// What a daemon has collected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collection {
    pub(crate) samples: u64,
    pub(crate) latest_us: Option<u64>,
    pub(crate) level: usize,
}

impl Journal {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sampling_started(&self, node: &Name, instance: &str, interval_us: u64, offset_us: i64, now_us: u64) {
        let period = Period { node: node.clone(), interval_us, offset_us, from_us: now_us, to_us: None };
        let mut entries = self.entries();
        let periods = entries.sampled.entry(instance.to_owned()).or_default();
        close(periods, now_us);
        periods.push(period);
    }

    pub(crate) fn sampling_stopped(&self, instance: &str, now_us: u64) {
        if let Some(periods) = self.entries().sampled.get_mut(instance) {
            close(periods, now_us);
        }
    }

    /// The sets that are being sampled now.
    pub(crate) fn sampled_sets(&self) -> Vec<SampledSet> {
        let entries = self.entries();
        let running = entries.sampled.iter().filter_map(|(instance, periods)| Some((instance, periods.last()?)));
        running
            .filter(|(_, period)| period.to_us.is_none())
            .map(|(instance, period)| SampledSet {
                sampler: period.node.to_string(),
                instance: instance.clone(),
                interval_us: period.interval_us,
                offset_us: period.offset_us,
                since_us: period.from_us,
            })
            .collect()
    }

    /// A daemon has ended or hangs: it samples nothing more.
    pub(crate) fn node_stopped(&self, node: &Name, now_us: u64) {
        for periods in self.entries().sampled.values_mut() {
            if periods.last().is_some_and(|period| period.node == *node) {
                close(periods, now_us);
            }
        }
    }

    /// A daemon that hung goes on with what it was doing when it was stopped at `stopped_us`.
    pub(crate) fn node_resumed(&self, node: &Name, stopped_us: u64, now_us: u64) {
        for periods in self.entries().sampled.values_mut() {
            let resumed = periods.last().filter(|last| last.node == *node && last.to_us == Some(stopped_us));
            if let Some(last) = resumed {
                let period = Period { from_us: now_us, to_us: None, ..last.clone() };
                periods.push(period);
            }
        }
    }

    pub(crate) fn collected(
        &self,
        node: &Name,
        producer: &str,
        source: Option<(String, u16)>,
        instance: &str,
        sampled_us: u64,
    ) {
        let mut entries = self.entries();
        *entries.counts.entry(node.clone()).or_default() += 1;
        entries.latest_us.insert(node.clone(), sampled_us);
        if let Some(source) = source {
            entries.sources.entry(node.clone()).or_default().insert(producer.to_owned(), source);
        }
        let samples = entries.collected.entry((node.clone(), instance.to_owned())).or_default();
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sampled_us);
    }

    /// What each daemon has collected, with its level; `node_at` tells who listens on an address.
    pub(crate) fn collections(&self, node_at: &dyn Fn(&str, u16) -> Option<Name>) -> BTreeMap<Name, Collection> {
        let entries = self.entries();
        let levels = entries.levels(node_at);
        let collection = |node: &Name| Collection {
            samples: entries.counts.get(node).copied().unwrap_or(0),
            latest_us: entries.latest_us.get(node).copied(),
            level: levels.get(node).copied().unwrap_or(0),
        };
        entries.counts.keys().map(|node| (node.clone(), collection(node))).collect()
    }

    /// For each set and each level, what became of the samples that were taken from `since_us` on. The youngest ones,
    /// taken after `until_us`, do not count: they may be on their way.
    pub(crate) fn gaps(
        &self,
        since_us: u64,
        until_us: u64,
        node_at: &dyn Fn(&str, u16) -> Option<Name>,
    ) -> Vec<SetGaps> {
        let entries = self.entries();
        let levels = entries.levels(node_at);
        let all_levels: BTreeSet<usize> = levels.values().copied().filter(|level| *level > 0).collect();
        let mut gaps = Vec::new();
        for (instance, periods) in &entries.sampled {
            let samples: BTreeSet<u64> = periods.iter().flat_map(|period| period.samples(since_us, until_us)).collect();
            let Some(sampler) = periods.last().map(|period| period.node.to_string()) else { continue };
            for level in &all_levels {
                let mut times: BTreeMap<u64, usize> = samples.iter().map(|sampled_us| (*sampled_us, 0)).collect();
                let mut collectors = Vec::new();
                for ((node, _), collected) in entries.collected.iter().filter(|((_, name), _)| name == instance) {
                    if levels.get(node) != Some(level) {
                        continue;
                    }
                    let mut took_part = false;
                    for sampled_us in collected {
                        if let Some(count) = times.get_mut(sampled_us) {
                            *count += 1;
                            took_part = true;
                        }
                    }
                    if took_part {
                        collectors.push(node.to_string());
                    }
                }
                gaps.push(SetGaps {
                    sampler: sampler.clone(),
                    instance: instance.clone(),
                    level: *level,
                    samples: times.len(),
                    missed: times.values().filter(|count| **count == 0).count(),
                    doubled: times.values().filter(|count| **count > 1).count(),
                    collectors,
                });
            }
        }
        gaps
    }
}

fn close(periods: &mut [Period], now_us: u64) {
    if let Some(period) = periods.last_mut().filter(|period| period.to_us.is_none()) {
        period.to_us = Some(now_us);
    }
}

impl Period {
    /// The samples of the period between two times.
    fn samples(&self, since_us: u64, until_us: u64) -> impl Iterator<Item = u64> {
        let last_us = last_multiple_us(self.interval_us, self.offset_us, self.to_us.unwrap_or(until_us).min(until_us));
        let first_us = self.from_us.max(since_us);
        let interval_us = self.interval_us;
        std::iter::successors(Some(last_us), move |us| us.checked_sub(interval_us))
            .take_while(move |sampled_us| *sampled_us > first_us)
    }
}

impl Entries {
    /// The level of each daemon: 0 for samplers, otherwise one more than the highest that it collects from.
    fn levels(&self, node_at: &dyn Fn(&str, u16) -> Option<Name>) -> BTreeMap<Name, usize> {
        let mut levels: BTreeMap<Name, usize> = self.sources.keys().map(|node| (node.clone(), 1)).collect();
        // Each pass settles one level more; daemons that collect from each other in a circle end it too.
        for _ in 0..self.sources.len() {
            let before = levels.clone();
            for (node, sources) in &self.sources {
                let below = sources.values().filter_map(|(host, port)| node_at(host, *port));
                let highest = below.filter_map(|source| before.get(&source)).max().copied().unwrap_or(0);
                levels.insert(node.clone(), highest + 1);
            }
            if levels == before {
                break;
            }
        }
        levels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;

    fn sampler_at(host: &str, _port: u16) -> Option<Name> {
        Some(Name::from(host))
    }

    #[test]
    fn missed_and_doubled_samples_are_counted_by_level() {
        let journal = Journal::default();
        journal.sampling_started(&"s1".into(), "s1/meminfo", SECOND_US, 0, 10 * SECOND_US);
        let source = |host: &str| Some((host.to_owned(), 1));
        for (node, from, seconds) in [("a", "s1", 11..14), ("b", "s1", 13..15), ("top", "a", 11..13)] {
            for second in seconds {
                journal.collected(&node.into(), "p", source(from), "s1/meminfo", second * SECOND_US);
            }
        }
        let gaps = journal.gaps(0, 16 * SECOND_US, &sampler_at);
        let counts: Vec<_> = gaps.iter().map(|gap| (gap.level, gap.samples, gap.missed, gap.doubled)).collect();
        assert_eq!(counts, [(1, 6, 2, 1), (2, 6, 4, 0)]);
        assert_eq!(gaps[0].collectors, ["a", "b"]);
        let later = journal.gaps(14 * SECOND_US, 16 * SECOND_US, &sampler_at);
        assert_eq!((later[0].samples, later[0].missed), (2, 2));
    }

    #[test]
    fn a_sampler_that_is_dead_or_hangs_takes_no_samples() {
        let journal = Journal::default();
        journal.sampling_started(&"s1".into(), "s1/meminfo", SECOND_US, 0, 0);
        journal.collected(&"a".into(), "p", Some(("s1".into(), 1)), "s1/meminfo", SECOND_US);
        journal.node_stopped(&"s1".into(), 3 * SECOND_US);
        journal.node_resumed(&"s1".into(), 3 * SECOND_US, 6 * SECOND_US);
        let gaps = journal.gaps(0, 8 * SECOND_US, &sampler_at);
        assert_eq!((gaps[0].samples, gaps[0].missed), (5, 4), "seconds 1 to 3, 7 and 8");
    }
}
