//! What distinguishes two configurations.

use super::Tree;

/// What has to be done to one tree to get another. Every list is in key order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference<'a> {
    /// Keys that only the new tree has, with their texts.
    pub added: Vec<(&'a str, &'a str)>,
    /// Keys that both trees have with different texts.
    pub changed: Vec<Change<'a>>,
    /// Keys that only the old tree has, with their texts.
    pub removed: Vec<(&'a str, &'a str)>,
}

/// A key whose text differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// The key, relative to the cluster's prefix.
    pub key: &'a str,
    /// Its text in the old tree.
    pub old: &'a str,
    /// Its text in the new tree.
    pub new: &'a str,
}

impl<'a> Difference<'a> {
    /// What leads from `old` to `new`.
    #[must_use]
    pub fn between(old: &'a Tree, new: &'a Tree) -> Difference<'a> {
        let mut difference = Difference::default();
        for (key, new_text) in new {
            match old.get(key) {
                None => difference.added.push((key, new_text)),
                Some(old_text) if old_text != new_text => {
                    difference.changed.push(Change { key, old: old_text, new: new_text });
                }
                Some(_) => {}
            }
        }
        difference.removed =
            old.iter().filter(|(key, _)| !new.contains_key(*key)).map(|(key, text)| (&**key, &**text)).collect();
        difference
    }

    /// Whether the two trees are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of keys that differ.
    #[must_use]
    pub fn len(&self) -> usize {
        self.added.len() + self.changed.len() + self.removed.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree(entries: &[(&str, &str)]) -> Tree {
        entries.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
    }

    /// Few keys and few texts, so that two trees have some of both in common.
    fn any_tree() -> impl Strategy<Value = Tree> {
        proptest::collection::btree_map("[a-d]/[a-d]", "[xyz]", 0..16)
    }

    fn apply(difference: &Difference<'_>, tree: &Tree) -> Tree {
        let mut tree = tree.clone();
        for (key, text) in &difference.added {
            assert!(tree.insert((*key).to_owned(), (*text).to_owned()).is_none(), "{key} was there already");
        }
        for change in &difference.changed {
            assert_eq!(tree.insert(change.key.to_owned(), change.new.to_owned()).as_deref(), Some(change.old));
        }
        for (key, text) in &difference.removed {
            assert_eq!(tree.remove(*key).as_deref(), Some(*text));
        }
        tree
    }

    #[test]
    fn names_what_was_added_changed_and_removed() {
        let old = tree(&[("addr", "node-1"), ("port", "411"), ("xprt", "sock")]);
        let new = tree(&[("addr", "node-1"), ("port", "412"), ("auth", "munge")]);
        let difference = Difference::between(&old, &new);
        assert_eq!(difference.added, [("auth", "munge")]);
        assert_eq!(difference.changed, [Change { key: "port", old: "411", new: "412" }]);
        assert_eq!(difference.removed, [("xprt", "sock")]);
        assert_eq!(difference.len(), 3);
    }

    proptest! {
        #[test]
        fn applied_to_the_old_tree_gives_the_new_one(old in any_tree(), new in any_tree()) {
            prop_assert_eq!(apply(&Difference::between(&old, &new), &old), new);
        }

        #[test]
        fn is_empty_between_equal_trees_only(old in any_tree(), new in any_tree()) {
            prop_assert_eq!(Difference::between(&old, &new).is_empty(), old == new);
        }
    }
}
