//! Updaters of an aggregator that collects only a part of some producers.
//!
//! An updater fetches every set of its producers that its match list lets through, and such a list costs the daemon
//! entries × sets at every tick (operations of a live ldmsd, section 7). Where that is little, the updaters of the cluster
//! stay the only ones, with the exact names of everything that they are to fetch. Beyond that they leave the split
//! producers out, and each of these has an updater of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::config::UpdaterWanted;
use super::regex::NAMES_IN_ONE;
use crate::cluster::{MatchField, Updater};
use crate::notation::Name;

/// Set instances with their schemas; an empty schema is not known.
pub type SchemaOfSet = BTreeMap<String, String>;

/// Comparisons of set names with expressions at each tick, up to which one updater is enough: some milliseconds.
const MOST_COMPARISONS: usize = 20_000;

/// What an aggregator fetches that has only a part of some producers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// The producers of which it fetches only these sets.
    pub split: BTreeMap<Name, SchemaOfSet>,
    /// All other producers of the group, those included that do not run here, unless only some are to be collected.
    pub others: BTreeSet<Name>,
    /// The sets of the others that it fetches; `None` where there are so many that they have to go without names.
    pub sets_of_others: Option<SchemaOfSet>,
}

impl Parts {
    /// Whether so many sets can be named in the match list of one updater.
    #[must_use]
    pub fn fit_one_updater(sets: usize) -> bool {
        sets.div_ceil(NAMES_IN_ONE).saturating_mul(sets) <= MOST_COMPARISONS
    }

    /// The updaters that fetch these parts and nothing else, in place of those of the cluster.
    pub(super) fn updaters(&self, updaters: &[Updater]) -> Vec<UpdaterWanted> {
        updaters.iter().flat_map(|updater| self.parts_of(updater)).collect()
    }

    fn parts_of(&self, updater: &Updater) -> Vec<UpdaterWanted> {
        let filter = SetFilter::of(updater);
        if let Some(others) = &self.sets_of_others {
            let all = self.split.values().chain([others]).flatten();
            let only_sets = Some(filter.names(all));
            return vec![UpdaterWanted { updater: updater.clone(), only_producers: None, only_sets }];
        }
        let whole =
            UpdaterWanted { updater: updater.clone(), only_producers: Some(self.others.clone()), only_sets: None };
        let parts = self.split.iter().map(|(producer, sets)| UpdaterWanted {
            updater: updater.clone(),
            only_producers: Some([producer.clone()].into()),
            only_sets: Some(filter.names(sets)),
        });
        std::iter::once(whole).chain(parts).collect()
    }
}

/// The match list of an updater, to be applied by name.
struct SetFilter(Vec<(regex::Regex, MatchField)>);

impl SetFilter {
    /// Of a list with an expression that is beyond us, everything passes: the daemon knows better.
    fn of(updater: &Updater) -> SetFilter {
        let compiled: Result<Vec<_>, _> =
            updater.sets.iter().map(|set| Ok::<_, regex::Error>((regex::Regex::new(&set.regex)?, set.field))).collect();
        SetFilter(compiled.unwrap_or_default())
    }

    fn names<'a>(&self, sets: impl IntoIterator<Item = (&'a String, &'a String)>) -> BTreeSet<String> {
        let passing = sets.into_iter().filter(|(instance, schema)| self.lets_through(instance, schema));
        passing.map(|(instance, _)| instance.clone()).collect()
    }

    fn lets_through(&self, instance: &str, schema: &str) -> bool {
        let matches = |(expression, field): &(regex::Regex, MatchField)| match field {
            MatchField::Instance => expression.is_match(instance),
            MatchField::Schema => schema.is_empty() || expression.is_match(schema),
        };
        self.0.is_empty() || self.0.iter().any(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{SetMatch, UpdaterMode};
    use crate::notation::Interval;

    fn updater(name: &str, matches: &[(&str, MatchField)]) -> Updater {
        Updater {
            name: name.into(),
            mode: UpdaterMode::Pull,
            interval: Interval::from_us(1_000_000),
            offset: None,
            perm: None,
            producers: vec![".*".into()],
            sets: matches.iter().map(|(regex, field)| SetMatch { regex: (*regex).into(), field: *field }).collect(),
        }
    }

    fn sets(names: &[&str]) -> SchemaOfSet {
        let schema = |name: &str| name.split('/').nth(1).unwrap_or_default().to_owned();
        names.iter().map(|name| ((*name).to_owned(), schema(name))).collect()
    }

    fn names(updater: &UpdaterWanted) -> Vec<&str> {
        updater.only_sets.iter().flatten().map(String::as_str).collect()
    }

    fn parts(sets_of_others: Option<SchemaOfSet>) -> Parts {
        Parts {
            split: [("n1".into(), sets(&["n1/mem", "n1/net"])), ("n2".into(), sets(&["n2/cpu"]))].into(),
            others: ["n3".into(), "n4".into()].into(),
            sets_of_others,
        }
    }

    #[test]
    fn few_sets_are_named_in_the_updater_of_the_cluster() {
        let wanted = parts(Some(sets(&["n3/mem"]))).updaters(&[updater("updtr_0", &[])]);
        assert_eq!(wanted.len(), 1);
        assert_eq!(names(&wanted[0]), ["n1/mem", "n1/net", "n2/cpu", "n3/mem"]);
        assert_eq!(wanted[0].only_producers, None);
    }

    #[test]
    fn what_the_yaml_matches_is_kept_by_instance_and_by_schema() {
        let fast = updater("updtr_0", &[("^n[13]/mem$", MatchField::Instance)]);
        let slow = updater("updtr_1", &[("^(net|cpu)$", MatchField::Schema)]);
        let wanted = parts(Some(sets(&["n3/mem"]))).updaters(&[fast, slow]);
        assert_eq!(names(&wanted[0]), ["n1/mem", "n3/mem"]);
        assert_eq!(names(&wanted[1]), ["n1/net", "n2/cpu"]);
    }

    #[test]
    fn with_many_sets_only_split_producers_are_named() {
        assert!(Parts::fit_one_updater(2_000) && !Parts::fit_one_updater(3_000));
        let wanted = parts(None).updaters(&[updater("updtr_0", &[])]);
        let producers: Vec<Vec<&str>> =
            wanted.iter().map(|updater| updater.only_producers.iter().flatten().map(Name::as_str).collect()).collect();
        assert_eq!(producers, [vec!["n3", "n4"], vec!["n1"], vec!["n2"]]);
        assert_eq!((wanted[0].only_sets.as_ref(), names(&wanted[1])), (None, vec!["n1/mem", "n1/net"]));
    }
}
