//! Names of daemons, endpoints, producers and the rest, in the order in which people count.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name, cheap to clone, ordered as an operator counts: `node-2` comes before `node-10`.
///
/// Names that differ only in leading zeros (`node-1`, `node-01`) are different names; the shorter
/// one comes first. The order is total and agrees with equality, so that it can key a `BTreeMap`, which is then
/// asked with a `Name`: a plain `str` is ordered otherwise.
#[derive(Clone)]
pub struct Name {
    /// The [`sort_key`], and behind it the text; for a text that is its own sort key, that alone. Names are compared by the
    /// million when a large cluster changes, and so each comparison is one of bytes.
    key_and_text: Arc<str>,
    /// Where the text begins.
    text_at: usize,
}

impl Name {
    /// The name as part of a file's name, which holds no slash: `%` is escaped as well, so that no two names meet.
    #[must_use]
    pub fn file_stem(&self) -> String {
        self.replace('%', "%25").replace('/', "%2F")
    }

    /// The text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.key_and_text[self.text_at..]
    }

    fn sort_key(&self) -> &[u8] {
        let bytes = self.key_and_text.as_bytes();
        if self.text_at == 0 { bytes } else { &bytes[..self.text_at] }
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Name {
        match sort_key(text) {
            None => Name { key_and_text: text.into(), text_at: 0 },
            Some(key) => Name { text_at: key.len(), key_and_text: (key + text).into() },
        }
    }
}

impl From<String> for Name {
    fn from(text: String) -> Name {
        Name::from(text.as_str())
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.text_at == other.text_at && self.key_and_text == other.key_and_text
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        String::deserialize(deserializer).map(Name::from)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl std::ops::Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        // Names that differ in leading zeros only have one sort key.
        let by_text = || self.len().cmp(&other.len()).then_with(|| self.as_str().cmp(other));
        self.sort_key().cmp(other.sort_key()).then_with(by_text)
    }
}

/// What stands for a text where bytes are compared: of each number, how many digits it has, and then these. Without the
/// leading zeros, the number of more digits is the greater one. `None` where nothing in the text is a number.
fn sort_key(text: &str) -> Option<String> {
    /// A digit, so that a number comes where its first digit would.
    const NUMBER: char = '0';
    /// The most digits that one byte counts, so that the key is a text too.
    const MOST: u8 = 127;
    let mut key = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(start);
        let (number, after) = number.split_at(number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len()));
        let digits = number.trim_start_matches('0');
        key += before;
        key.push(NUMBER);
        let mut count = digits.len();
        while count >= usize::from(MOST) {
            key.push(char::from(MOST));
            count -= usize::from(MOST);
        }
        key.extend(u8::try_from(count).map(char::from));
        key += digits;
        rest = after;
    }
    (rest.len() < text.len()).then(|| key + rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_as_people_do() {
        let mut names: Vec<Name> =
            ["node-10", "node-2", "node-1", "node-01", "node", "n1-b2", "n1-b10", "a"].map(Name::from).to_vec();
        names.sort();
        let sorted: Vec<&str> = names.iter().map(Name::as_str).collect();
        assert_eq!(sorted, ["a", "n1-b2", "n1-b10", "node", "node-1", "node-01", "node-2", "node-10"]);
    }

    /// Runs of digits as numbers, everything else as text, taken apart before anything is compared.
    fn naive(text: &str) -> (Vec<(String, u64)>, usize, &str) {
        let mut runs: Vec<(String, u64)> = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let word = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let number = rest[word..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |end| word + end);
            // A number comes before any letter, and after the end of the text.
            runs.extend(rest[..word].chars().map(|c| (c.to_string(), 0)));
            runs.extend(rest[word..number].parse().ok().map(|number| ("0".into(), number)));
            rest = &rest[number..];
        }
        (runs, text.len(), text)
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_order(a in "[a-b0-2]{0,8}", b in "[a-b0-2]{0,8}") {
            prop_assert_eq!(Name::from(&*a).cmp(&Name::from(&*b)), naive(&a).cmp(&naive(&b)));
        }

        /// Also numbers of hundreds of digits.
        #[test]
        fn numbers_of_any_length_are_in_order(a in "[0-1]{1,400}", b in "[0-1]{1,400}") {
            let (digits_a, digits_b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
            let by_value = digits_a.len().cmp(&digits_b.len()).then(digits_a.cmp(digits_b));
            prop_assert_eq!(Name::from(&*a).cmp(&Name::from(&*b)), by_value.then(a.len().cmp(&b.len())));
        }

        #[test]
        fn a_name_is_its_text(a in "\\PC{0,8}", b in "[a0-1]{0,3}", c in "[a0-1]{0,3}") {
            prop_assert_eq!(Name::from(&*a).to_string(), a);
            let (name, other) = (Name::from(&*b), Name::from(&*c));
            prop_assert_eq!(name == other, b == c);
        }

        #[test]
        fn the_order_is_total_and_agrees_with_equality(a in "[a0-1]{0,6}", b in "[a0-1]{0,6}", c in "[a0-1]{0,6}") {
            let (a, b, c) = (Name::from(a), Name::from(b), Name::from(c));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }
    }
}
