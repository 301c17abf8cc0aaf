//! Sets of names as JSON, in which names that count up take the space of one.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Name;

/// Names in counting order, of which thousands may be as good as consecutive.
///
/// As JSON it is a list in which a text is a name, and a list `["node-","9","12","-10002"]` stands for `node-9-10002`
/// to `node-12-10002`: what comes before the number, the first and the last number, what comes after. Numbers with
/// leading zeros keep their width.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameSet(BTreeSet<Name>);

/// Fewer names than this are written one by one.
const SHORTEST_RUN: usize = 3;
/// Longer runs are a mistake, or an attempt on the memory of the reader.
const LONGEST_RUN: u64 = 10_000_000;
/// Longer numbers are taken for text.
const MOST_DIGITS: usize = 18;

impl Deref for NameSet {
    type Target = BTreeSet<Name>;

    fn deref(&self) -> &BTreeSet<Name> {
        &self.0
    }
}

impl DerefMut for NameSet {
    fn deref_mut(&mut self) -> &mut BTreeSet<Name> {
        &mut self.0
    }
}

impl FromIterator<Name> for NameSet {
    fn from_iter<I: IntoIterator<Item = Name>>(names: I) -> NameSet {
        NameSet(names.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a NameSet {
    type Item = &'a Name;
    type IntoIter = std::collections::btree_set::Iter<'a, Name>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl Serialize for NameSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names: Vec<&Name> = self.0.iter().collect();
        let mut items = Vec::new();
        let mut rest = names.as_slice();
        while let [first, others @ ..] = rest {
            let run = Run::that_begins(first, others);
            let length = run.as_ref().map_or(1, |run| run.length_in(rest));
            match run {
                Some(run) if length >= SHORTEST_RUN => {
                    let last = run.nth(length - 1);
                    items.push(Item::Run(run.before, run.first, last, run.after));
                    rest = &rest[length..];
                }
                _ => {
                    items.push(Item::One(first.to_string()));
                    rest = others;
                }
            }
        }
        items.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for NameSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NameSet, D::Error> {
        let mut names = BTreeSet::new();
        for item in Vec::<Item>::deserialize(deserializer)? {
            match item {
                Item::One(name) => {
                    names.insert(Name::from(name));
                }
                Item::Run(before, first, last, after) => {
                    let length = run_length(&first, &last).ok_or_else(|| {
                        de::Error::custom(format!("{first:?} to {last:?} are no numbers to count through"))
                    })?;
                    let run = Run { before, first, after };
                    names.extend((0..length).map(|index| Name::from(run.name(index))));
                }
            }
        }
        Ok(NameSet(names))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Item {
    One(String),
    Run(String, String, String, String),
}

/// Names that differ in one number, which counts up.
struct Run {
    before: String,
    first: String,
    after: String,
}

impl Run {
    /// The run of `name` with the next of the names that follow it.
    fn that_begins(name: &Name, others: &[&Name]) -> Option<Run> {
        let next = others.first()?;
        let common = name.bytes().zip(next.bytes()).take_while(|(a, b)| a == b).count();
        let is_digit = |byte: &u8| byte.is_ascii_digit();
        let begin = common - name.as_bytes()[..common].iter().rev().take_while(|byte| is_digit(byte)).count();
        let digits = name.as_bytes()[begin..].iter().take_while(|byte| is_digit(byte)).count();
        // Digits are characters of one byte each, so both cuts fall between characters.
        let (before, first, after) = (&name[..begin], &name[begin..begin + digits], &name[begin + digits..]);
        let run = Run { before: before.to_owned(), first: first.to_owned(), after: after.to_owned() };
        (1..=MOST_DIGITS).contains(&digits).then_some(run)
    }

    /// How many of the names, from the first on, belong to it.
    fn length_in(&self, names: &[&Name]) -> usize {
        names.iter().enumerate().take_while(|(index, name)| name.as_str() == self.name(*index)).count()
    }

    fn name(&self, index: usize) -> String {
        format!("{}{}{}", self.before, self.nth(index), self.after)
    }

    /// The number of the name at `index`.
    fn nth(&self, index: usize) -> String {
        let number = self.first.parse::<u64>().unwrap_or(0) + index as u64;
        let width = if self.first.starts_with('0') { self.first.len() } else { 0 };
        format!("{number:0width$}")
    }
}

/// How many numbers there are from the first to the last, which are as [`Run::nth`] writes them.
fn run_length(first: &str, last: &str) -> Option<usize> {
    let number = |text: &str| {
        let is_number = (1..=MOST_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| is_number)
    };
    let more = number(last)?.checked_sub(number(first)?).filter(|more| *more < LONGEST_RUN)?;
    usize::try_from(more + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(names: &[&str]) -> NameSet {
        names.iter().map(|name| Name::from(*name)).collect()
    }

    fn json(names: &[&str]) -> String {
        serde_json::to_string(&set(names)).unwrap()
    }

    #[test]
    fn names_that_count_up_are_written_as_their_ends() {
        let names: Vec<String> = (8..=11).map(|number| format!("node-{number}-10002")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(json(&names), r#"[["node-","8","11","-10002"]]"#);
        assert_eq!(json(&["n008", "n009", "n010", "n012"]), r#"[["n","008","010",""],"n012"]"#);
        assert_eq!(json(&["a-1", "a-2"]), r#"["a-1","a-2"]"#, "two are shorter as they are");
        assert_eq!(json(&["r1-n9", "r1-n10", "r1-n11", "r2-n9"]), r#"[["r1-n","9","11",""],"r2-n9"]"#);
        assert_eq!(json(&[]), "[]");
    }

    #[test]
    fn thirty_thousand_names_take_no_more_than_three() {
        let names: NameSet = (1..=30_000).map(|number| Name::from(format!("node-{number}"))).collect();
        assert_eq!(serde_json::to_string(&names).unwrap(), r#"[["node-","1","30000",""]]"#);
    }

    #[test]
    fn what_is_no_run_is_refused() {
        for text in [
            r#"[["n","3","1",""]]"#,
            r#"[["n","a","b",""]]"#,
            r#"[["n","","",""]]"#,
            r#"[["n","1","999999999999",""]]"#,
            r#"[["n","1","+2",""]]"#,
            r#"[["n","1","2"]]"#,
        ] {
            assert!(serde_json::from_str::<NameSet>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn come_back_as_they_were(names in proptest::collection::btree_set("[a-b]?-?[0-9]{0,2}[-x]?[0-9]{0,4}(é|\\[1)?", 0..60)) {
            let set: NameSet = names.iter().map(|name| Name::from(name.as_str())).collect();
            let text = serde_json::to_string(&set).unwrap();
            prop_assert_eq!(serde_json::from_str::<NameSet>(&text).unwrap(), set, "{}", text);
        }

        #[test]
        fn reading_anything_is_harmless(text in "\\[(\"[a-z0-9]{0,3}\"|\\[\"n\",\"[0-9]{0,4}\",\"[0-9]{0,4}\",\"\"\\]|,){0,5}\\]") {
            let _ = serde_json::from_str::<NameSet>(&text);
        }
    }
}
