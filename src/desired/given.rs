//! What producers and updaters were given that their daemon does not show (operations of a live ldmsd, section 13).
//!
//! Thousands of them are given the same, mostly: that is kept once, and by name only what others were given. So a note
//! of it is short, and does not change when a producer is added like the others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::ProducerWanted;
use crate::cluster::Updater;
use crate::notation::{Name, NameSet, Permission};

/// Attributes of a producer or an updater that no daemon shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Unshown {
    #[serde(skip_serializing_if = "Option::is_none")]
    perm: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_ip: Option<bool>,
}

impl Unshown {
    pub(super) fn of_producer(wanted: &ProducerWanted) -> Unshown {
        let producer = &wanted.producer;
        Unshown { perm: producer.perm.map(|Permission(bits)| bits), cache_ip: producer.cache_ip }
    }

    pub(super) fn of_updater(updater: &Updater) -> Unshown {
        Unshown { perm: updater.perm.map(|Permission(bits)| bits), cache_ip: None }
    }
}

/// What the objects of one kind were given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub(super) struct Given {
    /// All but the others; `None` where nothing is known.
    most: Option<Unshown>,
    others: BTreeMap<Name, Unshown>,
}

impl Given {
    pub(super) fn is_empty(&self) -> bool {
        self.most.is_none()
    }

    /// What an object was given, as far as that is known.
    pub(super) fn of(&self, name: &Name) -> Option<Unshown> {
        self.others.get(name).copied().or(self.most)
    }

    pub(super) fn enter(&mut self, name: &Name, given: Unshown) {
        if *self.most.get_or_insert(given) == given {
            self.others.remove(name);
        } else {
            self.others.insert(name.clone(), given);
        }
    }

    /// Forgets those that are not there any more.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&Name) -> bool) {
        self.others.retain(|name, _| !is_gone(name));
    }

    /// Brings it up to date with the objects that there are: what was never known of them counts as wanted, since
    /// nothing tells otherwise and making them anew costs samples.
    pub(super) fn review<'a>(&mut self, there: impl Iterator<Item = (&'a Name, Unshown)> + Clone) {
        let count = there.clone().count();
        if self.most.is_some() && self.others.len() <= count / 2 {
            return;
        }
        let known: BTreeMap<&Name, Unshown> =
            there.map(|(name, wanted)| (name, self.of(name).unwrap_or(wanted))).collect();
        let mut numbers: BTreeMap<Unshown, usize> = BTreeMap::new();
        for given in known.values() {
            *numbers.entry(*given).or_default() += 1;
        }
        self.most = numbers.into_iter().max_by_key(|(_, number)| *number).map(|(given, _)| given);
        let others = known.into_iter().filter(|(_, given)| Some(*given) != self.most);
        self.others = others.map(|(name, given)| (name.clone(), given)).collect();
    }
}

/// How it is written down.
#[derive(Serialize, Deserialize)]
struct Written {
    most: Option<Unshown>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<(Unshown, NameSet)>,
}

impl From<Given> for Written {
    fn from(given: Given) -> Written {
        let mut others: BTreeMap<Unshown, NameSet> = BTreeMap::new();
        for (name, unshown) in given.others {
            others.entry(unshown).or_default().insert(name);
        }
        Written { most: given.most, others: others.into_iter().collect() }
    }
}

impl From<Written> for Given {
    fn from(written: Written) -> Given {
        let others = written.others.iter().flat_map(|(given, names)| names.iter().map(|name| (name.clone(), *given)));
        Given { most: written.most, others: others.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn perm(perm: u32) -> Unshown {
        Unshown { perm: Some(perm), cache_ip: None }
    }

    fn names(numbers: std::ops::RangeInclusive<u32>) -> Vec<Name> {
        numbers.map(|number| Name::from(format!("node-{number}"))).collect()
    }

    #[test]
    fn what_most_are_given_is_noted_once() {
        let mut given = Given::default();
        for name in names(1..=1000) {
            given.enter(&name, perm(0o700));
        }
        for name in names(100..=200) {
            given.enter(&name, perm(0o770));
        }
        let text = serde_json::to_string(&given).unwrap();
        assert_eq!(text, r#"{"most":{"perm":448},"others":[[{"perm":504},[["node-","100","200",""]]]]}"#);
        assert_eq!(serde_json::from_str::<Given>(&text).unwrap(), given);
        assert_eq!(
            [99, 100, 201].map(|n| given.of(&names(n..=n)[0])),
            [perm(0o700), perm(0o770), perm(0o700)].map(Some)
        );
    }

    #[test]
    fn when_most_have_been_given_something_else_the_rest_are_the_others() {
        let all = names(1..=9);
        let mut given = Given::default();
        all.iter().for_each(|name| given.enter(name, perm(0o700)));
        all[..7].iter().for_each(|name| given.enter(name, perm(0o770)));
        let before: Vec<_> = all.iter().map(|name| given.of(name)).collect();
        given.review(all.iter().map(|name| (name, perm(0o770))));
        assert_eq!(given.most, Some(perm(0o770)));
        assert_eq!(all.iter().map(|name| given.of(name)).collect::<Vec<_>>(), before);
        assert_eq!(given.others.len(), 2);
    }

    #[test]
    fn what_is_not_known_counts_as_wanted() {
        let all = names(1..=3);
        let wanted = |name: &Name| if *name == "node-2" { perm(0o700) } else { Unshown::default() };
        let mut given = Given::default();
        given.review(all.iter().map(|name| (name, wanted(name))));
        assert!(all.iter().all(|name| given.of(name) == Some(wanted(name))), "{given:?}");
    }
}
