//! Where a cluster is kept: in etcd, or in a plain file for running without etcd.
//!
//! The store carries a configuration as a [`Tree`] of keys and texts and decides nothing about it: what the keys mean
//! is said by [`layout`] alone. [`EtcdStore`] saves, loads and watches trees; [`watch_file`] follows a file. Beside the
//! configurations, [`StateStore`] keeps what maestro has to remember.

mod difference;
mod document;
mod error;
mod etcd;
mod file;
mod keys;
pub mod layout;
pub mod tree;

use std::sync::Arc;

pub use difference::{Change, Difference};
pub use error::StoreError;
pub use etcd::{
    EtcdOptions, EtcdStore, Guard, Login, Membership, Presence, Progress, Publication, SaveReport, State, StateChanges,
    StateKey, StateKind, StateStore, Terms, TlsFiles, Topic, WatchEvent,
};
pub use file::{FileEvent, watch_file};
pub use tree::Tree;

/// A whole configuration as one save left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The configuration; shared, because it is large.
    pub tree: Arc<Tree>,
    /// etcd's revision at which the save was completed; another save of the same cluster has another one.
    pub revision: i64,
}
