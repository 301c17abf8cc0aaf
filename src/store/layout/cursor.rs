//! A place in a tree that is being read, which knows its key for messages.

use std::collections::BTreeMap;

use super::LayoutError;
use crate::notation::{Interval, Name, Permission, hostlist};
use crate::store::tree::Node;

/// A place in a tree.
#[derive(Clone)]
pub(super) struct Cursor<'t> {
    key: String,
    /// `None` where the tree has nothing.
    node: Option<&'t Node>,
}

impl<'t> Cursor<'t> {
    pub(super) fn root(node: &'t Node) -> Cursor<'t> {
        Cursor { key: String::new(), node: Some(node) }
    }

    /// The place one step below.
    pub(super) fn at(&self, step: &str) -> Cursor<'t> {
        let node = self.node_at(step);
        let key = if self.key.is_empty() { step.to_owned() } else { format!("{}/{step}", self.key) };
        Cursor { key, node }
    }

    fn node_at(&self, step: &str) -> Option<&'t Node> {
        match self.node {
            Some(Node::Branch(below)) => below.get(step),
            _ => None,
        }
    }

    /// The value one step below, without the key that only messages need.
    fn leaf_at(&self, step: &str) -> Option<&'t str> {
        match self.node_at(step) {
            Some(Node::Leaf(value)) => Some(value),
            _ => None,
        }
    }

    /// The places below with their steps, in the order of the steps.
    pub(super) fn children(&self) -> impl Iterator<Item = (&'t str, Cursor<'t>)> {
        let below: Option<&'t BTreeMap<String, Node>> = match self.node {
            Some(Node::Branch(below)) => Some(below),
            _ => None,
        };
        below.into_iter().flat_map(BTreeMap::keys).map(|step| (step.as_str(), self.at(step)))
    }

    /// The places below by their names.
    pub(super) fn named(&self) -> impl Iterator<Item = (Name, Cursor<'t>)> {
        self.children().map(|(step, place)| (Name::from(step), place))
    }

    pub(super) fn exists(&self) -> bool {
        self.node.is_some()
    }

    /// The value, where the place has one and no branch.
    pub(super) fn leaf(&self) -> Option<&'t str> {
        match self.node {
            Some(Node::Leaf(value)) => Some(value),
            _ => None,
        }
    }

    pub(super) fn text(&self, step: &str) -> Option<String> {
        self.leaf_at(step).map(str::to_owned)
    }

    pub(super) fn required(&self, step: &str) -> Result<String, LayoutError> {
        self.text(step).ok_or_else(|| LayoutError::Missing { key: self.at(step).key })
    }

    pub(super) fn interval(&self, step: &str) -> Result<Option<Interval>, LayoutError> {
        self.parse(step, |text| Interval::parse(text).map_err(|error| error.to_string()))
    }

    pub(super) fn permission(&self, step: &str) -> Result<Option<Permission>, LayoutError> {
        // The Python maestro writes `None` in some places.
        if self.leaf_at(step) == Some("None") {
            return Ok(None);
        }
        self.parse(step, |text| Permission::parse(text).map_err(|error| error.to_string()))
    }

    pub(super) fn boolean(&self, step: &str) -> Result<Option<bool>, LayoutError> {
        self.parse(step, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" | "none" => Ok(false),
            _ => Err(format!("`{text}` is neither true nor false")),
        })
    }

    pub(super) fn port(&self, step: &str) -> Result<u16, LayoutError> {
        let port = self.parse(step, |text| text.parse().map_err(|_| format!("`{text}` is not a port")))?;
        port.ok_or_else(|| LayoutError::Missing { key: self.at(step).key })
    }

    /// The names of a hostlist; none where the key is missing.
    pub(super) fn names(&self, step: &str) -> Result<Vec<Name>, LayoutError> {
        let expand = |text: &str| hostlist::expand(text).map_err(|error| format!("{error} in `{text}`"));
        let names = self.parse(step, expand)?.unwrap_or_default();
        Ok(names.into_iter().map(Name::from).collect())
    }

    /// Every value directly below but those of the steps in `except`.
    pub(super) fn map_except(&self, except: &[&str]) -> BTreeMap<String, String> {
        let values = self.children().filter(|(step, _)| !except.contains(step));
        values.filter_map(|(step, place)| Some((step.to_owned(), place.leaf()?.to_owned()))).collect()
    }

    /// What this place should not be.
    pub(super) fn invalid(&self, message: impl Into<String>) -> LayoutError {
        LayoutError::Invalid { key: self.key.clone(), message: message.into() }
    }

    fn parse<T>(&self, step: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, LayoutError> {
        self.leaf_at(step).map(parse).transpose().map_err(|message| self.at(step).invalid(message))
    }
}
