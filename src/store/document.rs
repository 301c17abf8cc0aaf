//! Larger values in parts, so that a change of a part is written as that part and no key exceeds what etcd takes.
//!
//! A value is a JSON object. Its fields that are large objects themselves are cut into parts of some dozens of entries,
//! everything else is in the head. Where a part ends depends on the names of its entries and not on their count, so
//! that one more or one less changes a single part. The head is written last and knows the others by their digest: a
//! reader takes a value that is whole, or none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The id of the part that is written last.
pub(super) const HEAD: &str = "head";

/// What is smaller is not cut.
const WHOLE_BELOW_BYTES: usize = 8 << 10;

/// On average, a part ends after so many entries.
const ENTRIES_PER_PART: u8 = 64;

/// A part of more text ends, wherever it is; etcd refuses a request of more than 1.5 MiB.
const PART_SIZE_BYTES: usize = 128 << 10;

/// The parts of a value by their ids, which are fit for a key.
pub(super) type Parts = BTreeMap<String, String>;

/// The part that names the value and tells whether the others are complete.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// The name of the value; its key only has it escaped.
    name: String,
    /// The digest of all other parts; none where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// What is not in another part.
    value: Value,
}

/// Cuts a value.
pub(super) fn cut(name: &str, mut value: Value) -> Parts {
    let mut parts = Parts::new();
    if let Value::Object(fields) = &mut value {
        for (field, content) in fields {
            if let Value::Object(entries) = content
                && size_bytes(entries) >= WHOLE_BELOW_BYTES
            {
                cut_field(field, std::mem::take(entries), &mut parts);
            }
        }
    }
    let head = Head { name: name.to_owned(), digest: digest(&parts), value };
    parts.insert(HEAD.to_owned(), text_of(&head));
    parts
}

/// Puts the parts of a value together again: its name and itself; none while they do not belong together.
pub(super) fn join(parts: &Parts) -> Option<(String, Value)> {
    let head: Head = serde_json::from_str(parts.get(HEAD)?).ok()?;
    let others: Parts =
        parts.iter().filter(|(id, _)| *id != HEAD).map(|(id, text)| (id.clone(), text.clone())).collect();
    if digest(&others) != head.digest {
        return None;
    }
    let mut value = head.value;
    for text in others.values() {
        let part: Map<String, Value> = serde_json::from_str(text).ok()?;
        for (field, entries) in part {
            match (value.get_mut(&field)?, entries) {
                (Value::Object(whole), Value::Object(entries)) => whole.extend(entries),
                _ => return None,
            }
        }
    }
    Some((head.name, value))
}

fn cut_field(field: &str, entries: Map<String, Value>, parts: &mut Parts) {
    let mut part = Map::new();
    let mut part_bytes = 0;
    let mut id = format!("{field}.");
    let mut finish = |id: &str, entries: Map<String, Value>| {
        parts.insert(id.to_owned(), text_of(&Map::from_iter([(field.to_owned(), Value::Object(entries))])));
    };
    for (name, entry) in entries {
        let digest = Sha256::digest(name.as_bytes());
        let begins = digest.first().is_some_and(|byte| byte % ENTRIES_PER_PART == 0);
        if !part.is_empty() && (begins || part_bytes > PART_SIZE_BYTES) {
            finish(&id, std::mem::take(&mut part));
            part_bytes = 0;
            id = format!("{field}.{}", hexadecimal(&digest));
        }
        part_bytes += name.len() + text_of(&entry).len();
        part.insert(name, entry);
    }
    finish(&id, part);
}

fn digest(parts: &Parts) -> Option<String> {
    if parts.is_empty() {
        return None;
    }
    let mut hash = Sha256::new();
    for (id, text) in parts {
        for field in [id, text] {
            hash.update(field.len().to_le_bytes());
            hash.update(field);
        }
    }
    Some(hexadecimal(&hash.finalize()))
}

/// The beginning of a digest: enough to tell one from another.
fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

fn size_bytes(entries: &Map<String, Value>) -> usize {
    entries.iter().map(|(name, entry)| name.len() + text_of(entry).len() + 4).sum()
}

fn text_of(value: &impl Serialize) -> String {
    #[expect(clippy::expect_used, reason = "neither writing to a string nor JSON with text as keys can fail")]
    serde_json::to_string(value).expect("JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// A plan for some producers, each with an owner.
    fn plan(producers: std::ops::Range<usize>) -> Value {
        let owners = producers.map(|n| (format!("sampler-{n}"), json!(format!("aggregator-{}", n / 100))));
        json!({ "revision": 7, "owners": Map::from_iter(owners), "few": { "a": 1 } })
    }

    #[test]
    fn a_small_value_is_one_part() {
        let parts = cut("a/b", plan(0..10));
        assert_eq!(parts.keys().collect::<Vec<_>>(), [HEAD]);
        assert_eq!(join(&parts), Some(("a/b".into(), plan(0..10))));
    }

    #[test]
    fn one_more_entry_changes_one_part_and_the_head() {
        let whole = cut("g", plan(0..10_000));
        assert!((100..300).contains(&whole.len()), "{} parts", whole.len());
        let largest = whole.values().map(String::len).max().unwrap();
        assert!(largest < 64 << 10, "{largest} bytes");
        for less in [plan(1..10_000), plan(0..9_999)] {
            let less = cut("g", less);
            let differ = whole.iter().filter(|(id, text)| less.get(*id) != Some(text)).count();
            assert!(differ <= 3, "{differ} parts differ");
        }
    }

    #[test]
    fn a_part_is_no_larger_than_etcd_takes() {
        let entries = (0..60).map(|n| (n.to_string(), json!("x".repeat(100_000))));
        let parts = cut("g", json!({ "all": Map::from_iter(entries) }));
        assert!(parts.values().all(|text| text.len() < 300_000), "{:?}", parts.values().map(String::len));
        assert_eq!(join(&parts).unwrap().1["all"].as_object().unwrap().len(), 60);
    }

    #[test]
    fn parts_of_two_values_are_none() {
        let (one, other) = (cut("g", plan(0..2_000)), cut("g", plan(0..2_001)));
        let mixed: Parts =
            other.into_iter().filter(|(id, _)| *id != HEAD).chain([(HEAD.into(), one[HEAD].clone())]).collect();
        assert_eq!(join(&mixed), None);
        let id = one.keys().next().unwrap();
        let less: Parts = one.clone().into_iter().filter(|(other, _)| other != id).collect();
        assert_eq!(join(&less), None);
        assert!(join(&one).is_some());
    }

    proptest! {
        #[test]
        fn what_is_cut_is_joined_again(
            small in proptest::collection::btree_map("[a-z/.]{0,5}", any::<i32>(), 0..5),
            large in proptest::collection::btree_map("[a-z/.\"]{1,40}", "[a-z]{0,80}", 0..400),
        ) {
            let value = json!({ "small": small, "large": large, "list": [1, 2], "nothing": null });
            let parts = cut("x", value.clone());
            prop_assert!(parts.keys().all(|id| !id.contains('/')));
            prop_assert_eq!(join(&parts), Some(("x".to_owned(), value)));
        }
    }
}
