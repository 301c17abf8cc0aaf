//! A tree of texts as flat keys and values, as a key-value store keeps it.
//!
//! The steps of a path are joined by `/`. A `/` within a step is written `%2F`, and so a `%` is written `%25`.
//! Lists are branches with the steps `000000`, `000001`, ….

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Keys and values. Keys are relative to the prefix of the cluster, without a leading slash.
pub type Tree = BTreeMap<String, String>;

/// The most steps of a key that are read: more than any cluster has, and few enough to walk the tree by recursion.
const MAX_DEPTH: usize = 100;

/// Keys that are no tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A key that is a value and a branch at once.
    #[error("the key `{0}` has a value and also keys below it")]
    ValueAndBranch(String),
    /// A key with so many steps that it is none of ours.
    #[error("the key `{0}` has more than {MAX_DEPTH} steps")]
    TooDeep(String),
}

/// A tree whose paths are taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A value.
    Leaf(String),
    /// Further nodes by their step of the path, un-escaped.
    Branch(BTreeMap<String, Node>),
}

/// Takes the paths of keys apart, which are in order.
pub(crate) fn unflatten<'t>(entries: impl IntoIterator<Item = (&'t String, &'t String)>) -> Result<Node, TreeError> {
    let mut root = BTreeMap::new();
    let mut entries = entries.into_iter().peekable();
    while let Some((key, value)) = entries.next() {
        if key.matches('/').count() >= MAX_DEPTH {
            return Err(TreeError::TooDeep(key.chars().take(200).collect()));
        }
        let path = path_of(key);
        let branch = branch_at(&mut root, path).ok_or_else(|| TreeError::ValueAndBranch(key.clone()))?;
        insert(branch, key, value)?;
        // The way to most keys is that of the one before.
        while let Some((key, value)) = entries.next_if(|(next, _)| path_of(next) == path) {
            insert(branch, key, value)?;
        }
    }
    Ok(Node::Branch(root))
}

/// All steps of a key but the last; `None` where there is but one.
fn path_of(key: &str) -> Option<&str> {
    key.rsplit_once('/').map(|(path, _)| path)
}

/// The branch to which a path leads; `None` where a value is in the way.
fn branch_at<'n>(root: &'n mut BTreeMap<String, Node>, path: Option<&str>) -> Option<&'n mut BTreeMap<String, Node>> {
    path.into_iter().flat_map(|path| path.split('/')).map(unescape).try_fold(root, |branch, step| {
        if !branch.contains_key(&*step) {
            branch.insert(step.clone().into_owned(), Node::Branch(BTreeMap::new()));
        }
        match branch.get_mut(&*step) {
            Some(Node::Branch(below)) => Some(below),
            _ => None,
        }
    })
}

/// Puts the value of a key into the branch that its path leads to.
fn insert(branch: &mut BTreeMap<String, Node>, key: &str, value: &str) -> Result<(), TreeError> {
    let last = key.rsplit_once('/').map_or(key, |(_, last)| last);
    // Two keys can be the same path where one of them is not escaped as we do.
    match branch.insert(unescape(last).into_owned(), Node::Leaf(value.to_owned())) {
        None => Ok(()),
        Some(_) => Err(TreeError::ValueAndBranch(key.to_owned())),
    }
}

/// A place in a tree that is being written.
pub(crate) struct Place<'t> {
    tree: &'t mut Tree,
    path: String,
}

impl<'t> Place<'t> {
    pub(crate) fn root(tree: &'t mut Tree) -> Place<'t> {
        Place { tree, path: String::new() }
    }

    /// The place one step below.
    pub(crate) fn at(&mut self, step: &str) -> Place<'_> {
        let path = self.key(step);
        Place { tree: self.tree, path }
    }

    /// The place of an item of a list.
    pub(crate) fn item(&mut self, index: usize) -> Place<'_> {
        self.at(&item_step(index))
    }

    /// Writes a value one step below.
    pub(crate) fn put(&mut self, step: &str, value: impl Into<String>) {
        let key = self.key(step);
        self.tree.insert(key, value.into());
    }

    /// Writes a value one step below, if there is one.
    pub(crate) fn put_some(&mut self, step: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.put(step, value.to_string());
        }
    }

    /// Writes a list of values one step below.
    pub(crate) fn put_list<T: AsRef<str>>(&mut self, step: &str, values: impl IntoIterator<Item = T>) {
        let mut list = self.at(step);
        for (index, value) in values.into_iter().enumerate() {
            list.put(&item_step(index), value.as_ref());
        }
    }

    fn key(&self, step: &str) -> String {
        let step = escape(step);
        if self.path.is_empty() { step } else { format!("{}/{step}", self.path) }
    }
}

fn item_step(index: usize) -> String {
    format!("{index:06}")
}

/// A step as it is written between slashes.
pub(super) fn escape(step: &str) -> String {
    step.replace('%', "%25").replace('/', "%2F")
}

/// The step that was written so. Other sequences with `%` are left alone: the Python maestro does not escape.
pub(super) fn unescape(step: &str) -> Cow<'_, str> {
    if step.contains('%') { step.replace("%2F", "/").replace("%25", "%").into() } else { step.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flatten(node: &Node) -> Tree {
        fn write(node: &BTreeMap<String, Node>, place: &mut Place<'_>) {
            for (step, node) in node {
                match node {
                    Node::Leaf(value) => place.put(step, value.as_str()),
                    Node::Branch(below) => write(below, &mut place.at(step)),
                }
            }
        }
        let mut tree = Tree::new();
        let Node::Branch(root) = node else { panic!("a branch") };
        write(root, &mut Place::root(&mut tree));
        tree
    }

    #[test]
    fn a_slash_in_a_name_is_no_step() {
        let mut tree = Tree::new();
        Place::root(&mut tree).at("node-1-10002/rdma").put("100%", "x");
        assert_eq!(tree.into_iter().collect::<Vec<_>>(), [("node-1-10002%2Frdma/100%25".into(), "x".into())]);
    }

    #[test]
    fn a_value_with_keys_below_it_is_an_error() {
        for keys in [["a", "a/b"], ["a/b", "a/b/c"]] {
            let tree: Tree = keys.iter().map(|key| ((*key).into(), "x".into())).collect();
            assert_eq!(unflatten(&tree), Err(TreeError::ValueAndBranch(keys[1].into())));
        }
        let between: Tree = ["a", "a-", "a/b"].iter().map(|key| ((*key).into(), "x".into())).collect();
        assert!(unflatten(&between).is_err());
    }

    #[test]
    fn a_key_of_very_many_steps_is_an_error() {
        let tree: Tree = [("a/".repeat(1_000_000), "x".into())].into();
        assert!(matches!(unflatten(&tree), Err(TreeError::TooDeep(_))));
    }

    fn branch() -> impl Strategy<Value = Node> {
        let leaf = "[a-z/%]{0,4}".prop_map(Node::Leaf);
        let nodes = leaf.prop_recursive(4, 24, 4, |inner| {
            prop::collection::btree_map("[a-b/%25F]{1,4}", inner, 1..4).prop_map(Node::Branch)
        });
        prop::collection::btree_map("[a-b/%25F]{1,4}", nodes, 0..4).prop_map(Node::Branch)
    }

    proptest! {
        #[test]
        fn what_is_flattened_unflattens_again(node in branch()) {
            prop_assert_eq!(unflatten(&flatten(&node)), Ok(node));
        }
    }
}
