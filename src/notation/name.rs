//! Names of daemons, endpoints, producers and the rest, in the order in which people count.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name, cheap to clone, ordered as an operator counts: `node-2` comes before `node-10`.
///
/// Names that differ only in leading zeros (`node-1`, `node-01`) are different names; the shorter
/// one comes first. The order is total and agrees with equality, so that it can key a `BTreeMap`, which is then
/// asked with a `Name`: a plain `str` is ordered otherwise.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The name as part of a file's name, which holds no slash: `%` is escaped as well, so that no two names meet.
    #[must_use]
    pub fn file_stem(&self) -> String {
        self.replace('%', "%25").replace('/', "%2F")
    }

    /// The text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Name {
        Name(text.into())
    }
}

impl From<String> for Name {
    fn from(text: String) -> Name {
        Name(text.into())
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
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl std::ops::Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        natural(&self.0, &other.0)
    }
}

/// Compares two texts run by run: runs of digits as numbers, everything else byte by byte.
#[must_use]
pub fn natural(left: &str, right: &str) -> Ordering {
    let (mut a, mut b) = (left.as_bytes(), right.as_bytes());
    // Names have long beginnings in common. Only the number in which they part may have begun before.
    let common = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let number = a[..common].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    (a, b) = (&a[common - number..], &b[common - number..]);
    while let (Some(&x), Some(&y)) = (a.first(), b.first()) {
        let step = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (number_a, rest_a) = split_digits(a);
            let (number_b, rest_b) = split_digits(b);
            (a, b) = (rest_a, rest_b);
            number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b))
        } else {
            (a, b) = (&a[1..], &b[1..]);
            x.cmp(&y)
        };
        if step.is_ne() {
            return step;
        }
    }
    // Equal but for leading zeros, or one is the beginning of the other.
    a.len().cmp(&b.len()).then_with(|| left.len().cmp(&right.len())).then_with(|| left.cmp(right))
}

/// The leading digits without their leading zeros, and what follows them.
fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let zeros = digits.iter().position(|byte| *byte != b'0').unwrap_or(digits.len());
    (&digits[zeros..], rest)
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
            prop_assert_eq!(natural(&a, &b), naive(&a).cmp(&naive(&b)));
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
