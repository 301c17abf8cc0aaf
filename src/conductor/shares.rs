//! Which sets an aggregator fetches where it has only a part of a producer.

use std::collections::{BTreeMap, BTreeSet};

use super::Conductor;
use super::groups::GroupState;
use crate::cluster::AggregatorGroup;
use crate::desired::{Change, Parts, SchemaOfSet, Subject};
use crate::ldmsd::Verb;
use crate::notation::Name;
use crate::placement::Ownership;

impl Conductor {
    /// What the updaters of an aggregator have to name; `None` as long as it has no part of a producer, and its updaters
    /// fetch whatever its producers have.
    ///
    /// One that gives sets away goes on with all that it has until their new owners have taken over.
    pub(super) fn parts(&self, name: &Name, config: &AggregatorGroup, state: &GroupState) -> Option<Parts> {
        let mut shares: BTreeMap<Name, BTreeSet<String>> = BTreeMap::new();
        for (producer, owner) in state.owners() {
            let share = owner.share_of(name);
            match state.still_gives(producer, name).map(|leaving| &leaving.part) {
                None => shares.extend(share.map(|share| (producer.clone(), share.clone()))),
                Some(Some(had)) => {
                    let fetched = had.iter().chain(share.into_iter().flatten()).cloned();
                    shares.insert(producer.clone(), fetched.chain(self.ready_on(name, producer)).collect());
                }
                Some(None) => {}
            }
        }
        if shares.is_empty() {
            return None;
        }
        let schema_of = |producer: &Name, set: &str| {
            let known = state.sets.as_ref().and_then(|sets| sets.of(producer)).and_then(|known| known.get(set));
            known.map(|known| known.schema.clone()).unwrap_or_default()
        };
        let described = |producer: &Name, share: BTreeSet<String>| -> SchemaOfSet {
            share.into_iter().map(|set| (set.clone(), schema_of(producer, &set))).collect()
        };
        let mut parts = Parts::default();
        for (producer, share) in shares {
            let share = described(&producer, share);
            parts.split.insert(producer, share);
        }
        let all = config.producers.keys().chain(state.advertised.keys());
        let collected = self.collected(name, config, state);
        let is_other = |producer: &&Name| {
            !parts.split.contains_key(*producer) && collected.as_ref().is_none_or(|some| some.contains(*producer))
        };
        parts.others = all.filter(is_other).cloned().collect();
        // Not every instance knows the names of all sets, and none is to find the updaters of another wrong. What stands
        // by is listed in no updater.
        if !self.is_alone() || collected.is_some() {
            return Some(parts);
        }

        let mut sets_of_others = SchemaOfSet::new();
        let mut count: usize = parts.split.values().map(SchemaOfSet::len).sum();
        for producer in &parts.others {
            let fetched = self.sets_fetched(name, state, producer);
            count += fetched.len();
            if !Parts::fit_one_updater(count) {
                return Some(parts);
            }
            sets_of_others.extend(described(producer, fetched));
        }
        parts.sets_of_others = Some(sets_of_others);
        Some(parts)
    }

    /// The producers that an aggregator has to let go for a moment and of which it keeps a part.
    pub(super) fn keeps_a_part_of(&self, aggregator: &Name) -> BTreeSet<Name> {
        let group = self.relations.group_of(aggregator).and_then(|group| self.groups.get(group));
        let Some(state) = group else { return BTreeSet::new() };
        let keeps = |producer: &&Name| state.owners().get(*producer).is_some_and(|owner| owner.includes(aggregator));
        state.shrinking(aggregator).filter(keeps).cloned().collect()
    }

    /// The sets that an aggregator fetches of a producer that it has, or had and still gives away, as a whole.
    fn sets_fetched(&self, aggregator: &Name, state: &GroupState, producer: &Name) -> BTreeSet<String> {
        let is_whole = state.owners().get(producer).and_then(Ownership::whole) == Some(aggregator);
        if !is_whole && state.still_gives(producer, aggregator).is_none() {
            return BTreeSet::new();
        }
        let known = state.sets.as_ref().and_then(|sets| sets.of(producer)).into_iter().flatten();
        let found = self.daemons.get(aggregator).and_then(|daemon| daemon.observed.producers.get(producer));
        let seen = found.iter().flat_map(|found| &found.sets).map(|set| set.instance.clone());
        known.map(|(set, _)| set.clone()).chain(seen).collect()
    }

    /// The sets of a producer that an aggregator has ready.
    fn ready_on<'a>(&'a self, aggregator: &Name, producer: &Name) -> impl Iterator<Item = String> + 'a {
        let found = self.daemons.get(aggregator).and_then(|daemon| daemon.observed.producers.get(producer));
        found.into_iter().flat_map(|found| found.ready_sets()).map(str::to_owned)
    }
}

/// Takes out the stops of producers of which the daemon keeps a part, as long as an updater for just that part is not
/// there. Connected again it would fetch what it has been rid of, and would have to let go again, and again where it
/// refuses the updater.
pub(super) fn hold_until_narrowed(wanted: &mut Vec<Change>, kept: &BTreeSet<Name>) {
    let makes = |change: &Change| change.steps.iter().any(|step| step.command.verb == Verb::UpdtrStart);
    if wanted.iter().any(|change| matches!(change.subject, Subject::Updater(_)) && makes(change)) {
        wanted.retain(|change| !matches!(&change.subject, Subject::ProducerStopped(name) if kept.contains(name)));
    }
}
