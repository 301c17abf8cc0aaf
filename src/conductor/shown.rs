//! What a daemon shows of its producers: to this instance, or to the one that tells of it.

use std::collections::BTreeSet;

use super::council::Hearing;
use super::daemons::{DaemonState, Readiness};
use super::takeover::Leaving;
use crate::ldmsd::observation::ObservedProducer;
use crate::notation::Name;

impl DaemonState {
    /// The producers that it has started.
    pub(super) fn running(&self) -> impl Iterator<Item = &Name> {
        let told = self.told.iter().flat_map(|report| &report.started);
        told.chain(self.seen().filter(|(_, found)| found.state.is_started()).map(|(producer, _)| producer))
    }

    /// Whether it has started a producer.
    pub(super) fn runs(&self, producer: &Name) -> bool {
        match &self.told {
            Some(report) => report.started.contains(producer),
            None => self.observed.producers.get(producer).is_some_and(|found| found.state.is_started()),
        }
    }

    /// Whether it has started a producer and does not collect it: no updater, whoever made it, is for it.
    pub(super) fn is_idle(&self, producer: &Name) -> bool {
        match &self.told {
            Some(report) => report.idle.contains(producer),
            None => {
                let is_listed = || self.observed.updaters.values().any(|updater| updater.producers.contains(producer));
                let found = self.observed.producers.get(producer).filter(|found| found.state.is_started());
                found.is_some_and(|found| found.ready_sets().next().is_none()) && !is_listed()
            }
        }
    }

    /// The producers that have advertised themselves to it.
    pub(super) fn advertised(&self) -> impl Iterator<Item = &Name> {
        let told = self.told.iter().flat_map(|report| &report.advertised);
        told.chain(self.seen().filter(|(_, found)| found.is_advertised()).map(|(producer, _)| producer))
    }

    /// Whether a producer has advertised itself to it.
    pub(super) fn knows_advertised(&self, producer: &Name) -> bool {
        match &self.told {
            Some(report) => report.advertised.contains(producer),
            None => self.observed.producers.contains_key(producer),
        }
    }

    /// The sets of a producer that are ready.
    pub(super) fn ready_sets(&self, producer: &Name) -> BTreeSet<&str> {
        match &self.told {
            Some(report) => {
                let awaited = report.awaited.as_ref().and_then(|awaited| awaited.ready.get(producer));
                awaited.into_iter().flatten().map(String::as_str).collect()
            }
            None => self.observed.producers.get(producer).into_iter().flat_map(ObservedProducer::ready_sets).collect(),
        }
    }

    /// The names of the sets of a producer, whether they are ready or not; of another instance's daemon only of those.
    pub(super) fn offered_sets(&self, producer: &Name) -> Vec<String> {
        if self.told.is_some() {
            return self.ready_sets(producer).into_iter().map(str::to_owned).collect();
        }
        let found = self.observed.producers.get(producer);
        found.into_iter().flat_map(|found| &found.sets).map(|set| set.instance.clone()).collect()
    }

    /// How many sets of a producer it has shown last, whether they are ready or not, and whether it is still there.
    pub(super) fn count_offered(&self, producer: &Name) -> usize {
        match &self.told {
            Some(_) => self.ready_sets(producer).len(),
            None => self.observed.producers.get(producer).map_or(0, |found| found.sets.len()),
        }
    }

    /// What it has shown of a producer since that was to be moved; `None` while it has shown nothing.
    pub(super) fn readiness_for(&self, producer: &Name, leaving: &Leaving) -> Option<&Readiness> {
        let is_fresh = match self.hearing {
            Hearing::Directly => self.readiness.get(producer)?.seen_us >= leaving.since_us,
            Hearing::ByReport => self.told.as_ref()?.awaited.as_ref()?.plan >= leaving.plan?,
            Hearing::NotSince(_) => false,
        };
        self.readiness.get(producer).filter(|_| is_fresh)
    }

    fn seen(&self) -> impl Iterator<Item = (&Name, &ObservedProducer)> {
        self.told.is_none().then_some(&self.observed.producers).into_iter().flatten()
    }
}
